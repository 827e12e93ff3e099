"""TLS over a socket that never blocks, with the same two calls: `send` and `recv`."""

from __future__ import annotations

import ssl as stdlib_ssl
from collections.abc import Callable
from functools import cache
from socket import socket
from typing import Any

import certifi
import gevent.ssl

_AGAIN = (stdlib_ssl.SSLWantReadError, stdlib_ssl.SSLWantWriteError)


@cache
def tls_context() -> stdlib_ssl.SSLContext:
    """One context per process: the system's certificates and certifi's, names checked."""
    context: stdlib_ssl.SSLContext = gevent.ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


class TlsSocket:
    """The encrypted side of a connected, non-blocking socket, which stays the caller's to close."""

    def __init__(self, plain: socket, context: stdlib_ssl.SSLContext, server_hostname: str) -> None:
        # What `SSLSocket`, the standard library's and gevent's, is built on. Those wait by themselves and cost time;
        # an `SSLObject`, which does not, copies all that goes through it.
        self._tls: Any = context._wrap_socket(plain, False, server_hostname)  # type: ignore[attr-defined]

    def handshake(self, wait_readable: Callable[[], None]) -> None:
        """Agree on keys and check the certificate. Raises OSError, of which ssl.SSLError is one."""
        while True:
            try:
                self._tls.do_handshake()
                return
            except stdlib_ssl.SSLWantReadError:
                wait_readable()

    def send(self, data: bytes | memoryview) -> int:
        """As `socket.send`. Raises BlockingIOError where it must be called again, with the same data, once the socket
        can be written.
        """
        try:
            sent: int = self._tls.write(data)
            return sent
        except _AGAIN:
            raise BlockingIOError from None

    def recv(self, size: int) -> bytes:
        """As `socket.recv`: one record, empty at the end. Raises BlockingIOError where nothing came, or half a record,
        or what TLS says to itself.

        Nothing that was received is held back as long as `size` is that of a whole record (16 KB) or more, so that to
        wait for the socket is to wait for more.
        """
        try:
            received: bytes = self._tls.read(size)
            return received
        except _AGAIN:
            raise BlockingIOError from None
        except stdlib_ssl.SSLEOFError:
            # Without a farewell of TLS's own: the answer's framing tells whether it was whole.
            return b""
