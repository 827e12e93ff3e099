"""Whether a run is going to reach what it needs: asked once, before anything is started."""

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


def check_known(host: str, variable: str) -> None:
    """Raise ConfigError, naming the variable to mend, where the host's name stands for no address."""
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise ConfigError(f"{variable}: there is no host {host} ({error})") from None
