"""TLS over a socket that never blocks, with the same two calls: `send` and `recv`.

OpenSSL works on memory here, as under asyncio, and the socket is read and written beside it: one read of the socket
brings whole records, where OpenSSL itself would read each record's header and content apart.
"""

from __future__ import annotations

import ssl as stdlib_ssl
from collections.abc import Callable
from functools import cache
from socket import SHUT_RD, socket

import certifi
import gevent.ssl

_READ_BYTES = 65536
_CHUNK_BYTES = 65536


@cache
def tls_context() -> stdlib_ssl.SSLContext:
    """One context per process: the system's certificates and certifi's, names checked."""
    context: stdlib_ssl.SSLContext = gevent.ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


class TlsSocket:
    """The encrypted side of a connected, non-blocking socket, which stays the caller's to close."""

    def __init__(self, plain: socket, context: stdlib_ssl.SSLContext, server_hostname: str) -> None:
        self._socket = plain
        self._incoming = stdlib_ssl.MemoryBIO()
        self._outgoing = stdlib_ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._unsent = memoryview(b"")
        self._accepted = 0

    def handshake(self, wait_readable: Callable[[], None]) -> None:
        """Agree on keys and check the certificate. Raises OSError, of which ssl.SSLError is one."""
        while True:
            try:
                self._tls.do_handshake()
                return
            except stdlib_ssl.SSLWantReadError:
                pass
            finally:
                # Also what says why this side gives up.
                self._flush_handshake()
            wait_readable()
            try:
                received = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()

    def send(self, data: bytes | memoryview) -> int:
        """As `socket.send`. Raises BlockingIOError where it must be called again, with the same data, once the socket
        can be written.
        """
        if not self._unsent:
            chunk = data if len(data) <= _CHUNK_BYTES else data[:_CHUNK_BYTES]
            self._accepted = self._tls.write(chunk)
            self._unsent = memoryview(self._outgoing.read())
        self._unsent = self._unsent[self._socket.send(self._unsent) :]
        if self._unsent:
            raise BlockingIOError
        return self._accepted

    def recv(self, size: int) -> bytes:
        """All that can be read now, empty at the end; about `size` bytes. Raises BlockingIOError where nothing came.

        Nothing that was received is held back, so that to wait for the socket is to wait for more.
        """
        received = self._socket.recv(size)
        if not received:
            # Without a farewell of TLS's own: the answer's framing tells whether it was whole.
            return b""
        self._incoming.write(received)
        data = b""
        try:
            while True:
                record = self._tls.read(size)
                data += record
                if not record:
                    # The peer's farewell. The next look at the socket shall find the end, even if it is kept open.
                    self._socket.shutdown(SHUT_RD)
                    break
                if not (self._incoming.pending or self._tls.pending()):
                    break
        except stdlib_ssl.SSLWantReadError:
            if not data:
                # Half a record, or a session ticket.
                raise BlockingIOError from None
        return data

    def _flush_handshake(self) -> None:
        if self._outgoing.pending:
            # A few hundred bytes on a connection that has sent nothing yet: they fit.
            self._socket.send(self._outgoing.read())
