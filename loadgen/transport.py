"""One HTTP/1.1 connection on a non-blocking socket: what every request of a load test goes through.

It sends what it is given and returns what came back, whole. No redirects, no cookies, no retries: a load test must see
every failure. The one exception is a kept-alive connection that the server closed while it lay idle, which says
nothing about the server's health; see `Connection.exchange`.

A greenlet that waits here is resumed by the event loop itself; the time it may wait is the watchdog's business.

Not here: HTTP/2, streaming, compressed bodies (none is asked for, so none comes).
"""

from __future__ import annotations

import os
import socket as stdlib_socket
import ssl as stdlib_ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from errno import EINPROGRESS, EWOULDBLOCK
from math import inf
from select import POLLIN
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import gevent
import gevent.socket
from gevent.monkey import get_original

from config.settings import shown_url
from loadgen.answers import AnswerReader, MalformedAnswerError, Response
from loadgen.tls import TlsSocket, tls_context
from loadgen.watchdog import watchdog_of

if TYPE_CHECKING:
    from loadgen.proxies import Proxy

_IDLE_S = 1.0
_READ_BYTES = 65536
_READABLE, _WRITABLE = 1, 2

# Locust has gevent replace what waits in the standard library. Here nothing blocks, and the replacements cost time.
_socket_class: type[stdlib_socket.socket] = get_original("socket", "socket")
_getaddrinfo = get_original("socket", "getaddrinfo")
_poll_class: Callable[[], Any] = get_original("select", "poll")


class TransportError(Exception):
    """There is no whole answer; the text says why, in words that are the same for every request it happens to."""


class _HungUpError(TransportError):
    """The connection was closed before anything of an answer came."""


class _NoTunnelError(Exception):
    """A proxy does not pass on what comes; the text says why."""


class _OverdueError(Exception):
    """A wait has reached its deadline."""


@dataclass(frozen=True)
class Timeouts:
    """What each phase of a request may take, in seconds."""

    connect_s: float = 5.0
    """To look up the name and reach one of its addresses."""
    tls_s: float = 5.0
    """To agree on keys."""
    first_byte_s: float = 32.0
    """From the request to the first byte of its answer: above the 29 s after which API Gateway answers 504."""
    whole_s: float = 34.0
    """All of it, to the last byte: below what a drain waits for open requests, so that every one ends by itself."""


DEFAULT_TIMEOUTS = Timeouts()


@dataclass
class ConnectionCounts:
    """What became of the connections of a process."""

    opened: int = 0
    reopened: int = 0
    """Of these, how many took the place of one that the server had closed while it lay idle."""


@dataclass(frozen=True)
class Endpoint:
    """Where requests go."""

    scheme: str
    host: str
    """Name or address, without brackets."""
    port: int
    base_path: str
    """What comes before every path, without a slash at the end: the stage of an API."""

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_endpoint(url: str) -> Endpoint:
    """`https://abc.execute-api.eu-west-1.amazonaws.com/prod` -> an Endpoint. Raises ValueError naming the URL."""
    shown = shown_url(url)
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        raise ValueError(f"{shown!r} is not a URL such as https://host/stage") from None
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"{shown!r} has no valid port") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{shown!r} is not a URL such as https://host/stage")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{shown!r}: a base URL has a host, a port and a path, nothing else")
    if not (parts.path.isascii() and parts.path.isprintable()) or " " in parts.path:
        raise ValueError(f"{shown!r}: its path must be percent-encoded")
    return Endpoint(parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.path.rstrip("/"))


class Connection:
    """A connection to one endpoint, opened when first needed and kept while the server lets it."""

    def __init__(
        self,
        endpoint: Endpoint,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        counts: ConnectionCounts | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.deadline = inf
        """When the wait that goes on must end (`perf_counter`); infinite while there is none."""
        self._proxy = proxy
        self._proxy_wants_url = proxy is not None and endpoint.scheme == "http"
        self._timeouts = timeouts
        self._counts = ConnectionCounts() if counts is None else counts
        self._hub = gevent.get_hub()
        self._watchdog = watchdog_of(self._hub)
        self._watchdog.watch(self)
        self._resume: Callable[[bool], None] | None = None
        self._socket: stdlib_socket.socket | None = None
        self._send: Callable[[Any], int]
        self._recv: Callable[[int], bytes]
        self._poll: Callable[[int], list[Any]]
        self._used_at = 0.0

    def exchange(self, request: bytes) -> Response:
        """Send a whole request and wait for its whole answer. Raises TransportError.

        A kept connection that turns out closed before anything was sent is opened anew without a word. So is one that
        had lain idle for a second and is closed before anything of the answer came: the server hung up while the
        request was on its way. Closed at once after an answer it is a failure, for then the server may well have
        taken the request. `ConnectionCounts.reopened` counts both.
        """
        started = perf_counter()
        end = started + self._timeouts.whole_s
        if self._proxy_wants_url:
            request = self._with_url(request)
        if self._socket is not None:
            if not self._poll(0) or not self._hung_up():
                was_idle = started - self._used_at > _IDLE_S
                try:
                    return self._exchange(request, end)
                except _HungUpError:
                    if not was_idle:
                        raise
            self.close()
            self._counts.reopened += 1
        self._connect(end)
        return self._exchange(request, end)

    def close(self) -> None:
        if self._socket is not None:
            self._readable.stop()
            self._socket.close()
            self._socket = None

    def overdue(self) -> None:
        """The watchdog's call: the wait that goes on has reached its deadline."""
        if self._resume is not None:
            self._resume(False)

    def _hung_up(self) -> bool:
        """Whether the server has closed a kept connection that something has come on, or says what nobody asked for."""
        try:
            self._recv(_READ_BYTES)
        except BlockingIOError:
            # TLS talks to itself.
            return False
        except OSError:
            pass
        return True

    # ------------------------------------------------------------------ opening

    def _connect(self, end: float) -> None:
        where, first = f"{self.endpoint.host}:{self.endpoint.port}", self.endpoint
        if self._proxy is not None:
            first = self._proxy.endpoint
            where = f"{where} through the proxy {first.host}:{first.port}"
        plain = None
        try:
            connect_end = min(end, perf_counter() + self._timeouts.connect_s)
            plain = self._reach(first, connect_end)
            plain.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, 1)
            readable = self._hub.loop.io(plain.fileno(), _READABLE)
            if self._proxy is not None and self.endpoint.scheme == "https":
                self._tunnel(plain, self._proxy, readable, connect_end)
            if self.endpoint.scheme == "https":
                tls_end = min(end, perf_counter() + self._timeouts.tls_s)
                secure = TlsSocket(plain, tls_context(), self.endpoint.host)
                try:
                    secure.handshake(lambda: self._wait(readable, tls_end))
                except _OverdueError:
                    raise TransportError(f"cannot connect to {where}: TLS handshake timed out") from None
                self._send, self._recv = secure.send, secure.recv
            else:
                self._send, self._recv = plain.send, plain.recv
        except BaseException as failure:
            if plain is not None:
                plain.close()
            if isinstance(failure, OSError | _OverdueError):
                raise TransportError(f"cannot connect to {where}: {_reason(failure)}") from None
            if isinstance(failure, _NoTunnelError):
                raise TransportError(f"cannot connect to {where}: {failure}") from None
            raise
        self._socket = plain
        self._readable = readable
        self._reader = AnswerReader()
        poll = _poll_class()
        poll.register(plain.fileno(), POLLIN)
        self._poll = poll.poll
        self._counts.opened += 1

    def _tunnel(self, plain: stdlib_socket.socket, proxy: Proxy, readable: Any, end: float) -> None:
        """Have a proxy pass on what comes, unread (RFC 9110, 9.3.6).

        Raises OSError, _OverdueError or _NoTunnelError.
        """
        host = f"[{self.endpoint.host}]" if ":" in self.endpoint.host else self.endpoint.host
        authority = f"{host}:{self.endpoint.port}"
        # A few hundred bytes on a connection that has sent nothing yet: they fit.
        plain.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{proxy.authorization}\r\n".encode())
        reader = AnswerReader()
        # What says yes has no body, whatever its headers say.
        reader.begin(to_head=True)
        response = None
        while response is None:
            self._wait(readable, end)
            with suppress(BlockingIOError):
                try:
                    response = reader.feed(plain.recv(_READ_BYTES))
                except MalformedAnswerError as malformed:
                    raise _NoTunnelError(str(malformed)) from None
        if not 200 <= response.status < 300:
            raise _NoTunnelError(f"the proxy says HTTP {response.status}")

    def _with_url(self, request: bytes) -> bytes:
        """A request as a proxy wants it (RFC 9112, 3.2.2): with the whole URL, and who asks."""
        assert self._proxy is not None
        method, path, rest = request.split(b" ", 2)
        version, _, rest = rest.partition(b"\r\n")
        url = f"http://{self.endpoint.authority}".encode() + path
        return b"%b %b %b\r\n%b%b" % (method, url, version, self._proxy.authorization.encode(), rest)

    def _reach(self, endpoint: Endpoint, end: float) -> stdlib_socket.socket:
        """A connected socket: the first of the endpoint's addresses, looked up anew, that can be reached.

        Each address may take its share of the time that is left. Raises OSError or _OverdueError.
        """
        addresses = _look_up(endpoint, end)
        for number, (family, kind, protocol, _, address) in enumerate(addresses, 1):
            now = perf_counter()
            plain = _socket_class(family, kind, protocol)
            try:
                plain.setblocking(False)
                error = plain.connect_ex(address)
                if error in (EINPROGRESS, EWOULDBLOCK):
                    share = (end - now) / (len(addresses) - number + 1)
                    self._wait(self._hub.loop.io(plain.fileno(), _WRITABLE), now + share)
                    error = plain.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                return plain
            except (OSError, _OverdueError):
                plain.close()
                if number == len(addresses):
                    raise
            except BaseException:
                plain.close()
                raise
        raise OSError("the name has no address")

    # ------------------------------------------------------------------ talking

    def _exchange(self, request: bytes, end: float) -> Response:
        try:
            response = self._converse(request, end)
        except BaseException:
            # Also where the user was stopped: what comes on this connection later would answer the wrong request.
            self.close()
            raise
        if self._reader.keep_alive:
            self._used_at = perf_counter()
        else:
            self.close()
        return response

    def _converse(self, request: bytes, end: float) -> Response:
        reader, first_byte_end, early = self._reader, end, b""
        reader.begin(request.startswith(b"HEAD "))
        try:
            try:
                sent = self._send(request)
            except BlockingIOError:
                sent = 0
            if sent < len(request):
                early = self._send_rest(request, sent, end)
            data = early
            if not data:
                first_byte_end = perf_counter() + self._timeouts.first_byte_s
                data = self._receive(first_byte_end if first_byte_end < end else end)
                if not data:
                    raise _HungUpError("connection closed before the answer")
            first_byte_end = inf
            while (response := reader.feed(data)) is None:
                data = self._receive(end)
        except MalformedAnswerError as malformed:
            raise TransportError(str(malformed)) from None
        except _OverdueError:
            if first_byte_end < end:
                raise TransportError(f"no answer within {self._timeouts.first_byte_s:g} s") from None
            raise TransportError(f"no whole answer within {self._timeouts.whole_s:g} s") from None
        except OSError as failure:
            if isinstance(failure, ConnectionError) and first_byte_end < inf:
                raise _HungUpError(f"{_reason(failure)} before the answer") from None
            raise TransportError(_reason(failure)) from None
        if early:
            reader.keep_alive = False
        return response

    def _receive(self, end: float) -> bytes:
        """What comes next, empty at the end of the connection."""
        while True:
            self._wait(self._readable, end)
            try:
                return self._recv(_READ_BYTES)
            except BlockingIOError:
                pass

    def _send_rest(self, request: bytes, sent: int, end: float) -> bytes:
        """Send what the socket did not take at once.

        A server may answer before it has read everything, to refuse it: then the rest is not sent, and what was
        received is returned. The connection cannot be used again, as the server will say or show.
        """
        assert self._socket is not None
        either = self._hub.loop.io(self._socket.fileno(), _READABLE | _WRITABLE)
        rest = memoryview(request)
        while sent < len(request):
            self._wait(either, end)
            try:
                early = self._recv(_READ_BYTES)
                if not early:
                    raise _HungUpError("connection closed before the answer")
                return early
            except BlockingIOError:
                pass
            with suppress(BlockingIOError):
                sent += self._send(rest[sent:])
        return b""

    def _wait(self, watcher: Any, end: float) -> None:
        """Let others run until the loop sees what `watcher` looks for. Raises _OverdueError at `end`."""
        resume = self._resume = gevent.getcurrent().switch
        self.deadline = end
        if end < self._watchdog.looks_at:
            self._watchdog.look_at(end)
        watcher.start(resume, True)
        try:
            if not self._hub.switch():
                raise _OverdueError
        finally:
            watcher.stop()
            self.deadline = inf
            self._resume = None


def _look_up(endpoint: Endpoint, end: float) -> list[Any]:
    """The addresses of an endpoint, in the resolver's order. Raises OSError or _OverdueError."""
    host, port, kind = endpoint.host, endpoint.port, stdlib_socket.SOCK_STREAM
    try:
        # An address needs no resolver, nor its thread.
        return _getaddrinfo(host, port, 0, kind, 0, stdlib_socket.AI_NUMERICHOST)
    except stdlib_socket.gaierror:
        with gevent.Timeout(max(0.0, end - perf_counter()), _OverdueError()):
            return gevent.socket.getaddrinfo(host, port, 0, kind)


def _reason(failure: OSError | _OverdueError) -> str:
    """The reason in the words of the system, without numbers that differ from request to request."""
    if isinstance(failure, stdlib_ssl.SSLCertVerificationError):
        return f"certificate not accepted: {failure.verify_message}"
    if isinstance(failure, TimeoutError | _OverdueError):
        return "timed out"
    if isinstance(failure, stdlib_ssl.SSLEOFError):
        return "connection closed during the TLS handshake"
    if isinstance(failure, stdlib_ssl.SSLError) and failure.reason:
        return f"TLS: {failure.reason.replace('_', ' ').lower()}"
    return (failure.strerror or str(failure) or type(failure).__name__).lower()
