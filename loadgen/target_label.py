"""What a run calls its target, and whether it calls its figures simulated.

The sandbox is the target where nobody names one, also of a run against some other server of this machine, whose figures
no model has made.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from config.settings import Settings, is_loopback

LOCAL = "local server"
"""The target of a run whose requests went to a server on this machine that is no sandbox."""
_SANDBOX_API = re.compile(r"/restapis/[^/]+/[^/]+/_user_request_(/|$)")
"""The path of an API's stage in a sandbox, as in other local AWS."""


def label(settings: Settings, host: str | None, services: Collection[str]) -> tuple[str, bool]:
    """(target, simulated) as the manifest has them. `host`: where API requests go; `services`: those of AWS that are
    called, which in a run on a sandbox are the sandbox's."""
    if settings.target == "sandbox" and host and not services and not _is_of_sandbox(host, settings):
        return LOCAL, False
    return settings.target, settings.simulated


def _is_of_sandbox(host: str, settings: Settings) -> bool:
    url, sandbox = urlsplit(host), urlsplit(settings.endpoint_url or "")
    at_its_port = url.port == sandbox.port and is_loopback(url.hostname) == is_loopback(sandbox.hostname)
    return at_its_port or _SANDBOX_API.match(url.path) is not None
