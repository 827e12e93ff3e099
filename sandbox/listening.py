"""Where the sandbox listens. Light to import, so that wrong usage is told at once."""

from __future__ import annotations

import ipaddress
import socket

ACCEPTED_A_TURN = 16
"""Connections that are accepted in one turn of the event loop."""


class PortTaken(Exception):
    """Nothing can listen there."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def endpoint(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def descriptors(listener: socket.socket) -> list[socket.socket]:
    """A listening socket, through as many descriptors as connections are to be accepted in one turn of uvloop's loop.

    It accepts one of each descriptor in a turn, however many wait. In a busy sandbox a turn takes a tenth of a second:
    through a single descriptor the first requests of new users waited for up to twenty.
    """
    return [listener, *(listener.dup() for _ in range(ACCEPTED_A_TURN - 1))]
