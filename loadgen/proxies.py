"""Which proxy requests go through: what HTTP_PROXY, HTTPS_PROXY and NO_PROXY say, as everywhere.

This machine is never reached through a proxy, and so neither is the sandbox.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from config.errors import ConfigError
from config.settings import is_loopback
from loadgen.transport import Endpoint


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy."""

    endpoint: Endpoint
    authorization: str = ""
    """The header line that it wants to see, empty where it wants none."""


def proxy_for(endpoint: Endpoint, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy between here and an endpoint; None where there is none. Raises ConfigError.

    A variable in lower case goes before the same one in capitals. NO_PROXY: hosts, each with all below it and where it
    names one with its port only, separated by commas; `*` means all.
    """
    if is_loopback(endpoint.host):
        return None
    url, variable = _value(f"{endpoint.scheme}_proxy", environ)
    excepted, _ = _value("no_proxy", environ)
    if not url or any(_covers(entry.strip(), endpoint) for entry in excepted.split(",")):
        return None
    return _parse(url, variable)


def check_proxies(target: str, environ: Mapping[str, str]) -> None:
    """Check what a run against `target` may need. Raises ConfigError with every problem."""
    problems: list[str] = []
    for name in () if target == "sandbox" else ("http_proxy", "https_proxy"):
        url, variable = _value(name, environ)
        try:
            if url:
                _parse(url, variable)
        except ConfigError as invalid:
            problems += invalid.problems
    if problems:
        raise ConfigError(problems)


def _covers(entry: str, endpoint: Endpoint) -> bool:
    host, _, port = entry.lower().removeprefix("*.").removeprefix(".").partition(":")
    if port not in ("", str(endpoint.port)):
        return False
    return host == "*" or host == endpoint.host or bool(host and endpoint.host.endswith(f".{host}"))


def _value(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """(value, the variable that has it)"""
    variable = name if environ.get(name) else name.upper()
    return environ.get(variable, ""), variable


def _parse(url: str, variable: str) -> Proxy:
    """`http://user:password@proxy.example:3128`; without a scheme it is HTTP."""
    # Not the URL itself: it may have a password.
    unusable = ConfigError(f"{variable}: it is not the URL of an HTTP proxy such as http://proxy.example:3128")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or 80
    except ValueError:
        raise unusable from None
    if parts.scheme != "http" or not parts.hostname:
        raise unusable
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}\r\n"
    return Proxy(Endpoint("http", parts.hostname, port, ""), authorization)
