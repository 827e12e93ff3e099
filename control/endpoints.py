"""Whether something listens where a run is going to send requests: asked once, before anything is started."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from config.errors import ConfigError

CONNECT_TIMEOUT_S = 10.0


def check_reachable(url: str, variable: str, hint: str = "", timeout_s: float = CONNECT_TIMEOUT_S) -> None:
    """Raise ConfigError, naming the variable to mend, where nothing accepts a connection at the URL's host and port."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((str(parts.hostname), port), timeout_s).close()
    except OSError as error:
        also = f"; {hint}" if hint else ""
        raise ConfigError(f"{variable}: nothing answers at {parts.hostname}:{port} ({error}){also}") from None
