"""One HTTP/1.1 connection on a gevent socket: what every request of a load test goes through.

It sends what it is given and returns what came back, whole. No redirects, no cookies, no retries: a load test must see
every failure. The one exception is a kept-alive connection that the server closed while it lay idle, which says
nothing about the server's health; see `Connection.exchange`.

Not here: proxies, HTTP/2, streaming, compressed bodies (none is asked for, so none comes).
"""

from __future__ import annotations

import socket as stdlib_socket
import ssl as stdlib_ssl
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from urllib.parse import urlsplit

import certifi
import gevent.socket
import gevent.ssl
from geventhttpclient._parser import HTTPParseError, HTTPResponseParser

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 32.0
"""Longest silence while waiting for an answer: above the 29 s after which API Gateway answers 504."""

_IDLE_S = 1.0
_CUT_OFF = "connection closed in the middle of the answer"
_READ_BYTES = 65536


class TransportError(Exception):
    """There is no whole answer; the text says why, in words that are the same for every request it happens to."""


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
    parts = urlsplit(url.strip())
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"{url!r} has no valid port") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL such as https://host/stage")
    if parts.query or parts.fragment or parts.username:
        raise ValueError(f"{url!r}: a base URL has a host, a port and a path, nothing else")
    if not (parts.path.isascii() and parts.path.isprintable()) or " " in parts.path:
        raise ValueError(f"{url!r}: its path must be percent-encoded")
    return Endpoint(parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.path.rstrip("/"))


class Response(HTTPResponseParser):
    """One answer: the parser that reads it, and what it read.

    `headers` maps lower-case names to values; of a repeated header the last value is kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.complete = False
        self._on_message_begin()

    @property
    def status(self) -> int:
        return int(self.get_code())

    # llhttp's callbacks. A name or a value comes in pieces where it is cut by the end of what was read.

    def _on_message_begin(self) -> None:
        if self.complete:
            raise HTTPParseError("more than one answer to one request")
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self._names: list[str] = []
        self._values: list[str] = []

    def _on_status(self, text: str) -> None:
        """The reason phrase says nothing that the number does not."""

    def _on_header_field(self, text: str) -> None:
        if len(self._names) > len(self._values):
            self._names[-1] += text
        else:
            self._names.append(text)

    def _on_header_value(self, text: str) -> None:
        if len(self._values) == len(self._names):
            self._values[-1] += text
        else:
            self._values.append(text)

    def _on_headers_complete(self) -> None:
        self.headers = dict(zip([name.lower() for name in self._names], self._values, strict=True))

    def _on_body(self, data: bytearray) -> None:
        self.body += data

    def _on_message_complete(self) -> None:
        # 1xx answers are followed by the real one on the same connection.
        self.complete = self.get_code() >= 200


class Connection:
    """A connection to one endpoint, opened when first needed and kept while the server lets it."""

    def __init__(
        self, endpoint: Endpoint, connect_timeout_s: float = CONNECT_TIMEOUT_S, read_timeout_s: float = READ_TIMEOUT_S
    ) -> None:
        self.endpoint = endpoint
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._socket: gevent.socket.socket | None = None
        self._used_at = 0.0

    def exchange(self, request: bytes) -> Response:
        """Send a whole request and wait for its whole answer. Raises TransportError.

        A kept connection that turns out closed before anything was sent is opened anew without a word. So is one that
        had lain idle for a second and is closed before anything of the answer came: the server hung up while the
        request was on its way. Closed at once after an answer it is a failure, for then the server may well have
        taken the request.
        """
        if self._socket is not None:
            if not self._hung_up():
                was_idle = perf_counter() - self._used_at > _IDLE_S
                try:
                    return self._exchange(request)
                except _HungUpError as hung_up:
                    if not was_idle:
                        raise TransportError(str(hung_up)) from None
            self.close()
        self._connect()
        try:
            return self._exchange(request)
        except _HungUpError as hung_up:
            raise TransportError(str(hung_up)) from None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _hung_up(self) -> bool:
        """Whether the server has closed a kept connection, or has sent what nobody asked for."""
        assert self._socket is not None
        self._socket.settimeout(0.0)
        try:
            self._socket.recv(1)
        except (BlockingIOError, gevent.ssl.SSLWantReadError):
            self._socket.settimeout(self._read_timeout_s)
            return False
        except OSError:
            return True
        return True

    def _connect(self) -> None:
        where = f"{self.endpoint.host}:{self.endpoint.port}"
        plain = None
        try:
            plain = gevent.socket.create_connection(
                (self.endpoint.host, self.endpoint.port), timeout=self._connect_timeout_s
            )
            plain.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, 1)
            if self.endpoint.scheme == "https":
                # The handshake, too, has the connect time-out.
                self._socket = tls_context().wrap_socket(plain, server_hostname=self.endpoint.host)
            else:
                self._socket = plain
        except BaseException as failure:
            if plain is not None:
                plain.close()
            if isinstance(failure, OSError):
                raise TransportError(f"cannot connect to {where}: {_reason(failure)}") from None
            raise
        self._socket.settimeout(self._read_timeout_s)

    def _exchange(self, request: bytes) -> Response:
        try:
            response = self._converse(request)
        except BaseException:
            # Also where the user was stopped: what comes on this connection later would answer the wrong request.
            self.close()
            raise
        if response.should_keep_alive():
            self._used_at = perf_counter()
        else:
            self.close()
        return response

    def _converse(self, request: bytes) -> Response:
        connection = self._socket
        assert connection is not None
        response = Response()
        data = b""
        started = False
        try:
            connection.sendall(request)
            while not response.complete:
                data = connection.recv(_READ_BYTES)
                if not data and not started:
                    raise _HungUpError("connection closed before the answer")
                started = True
                # An empty read is fed too: it ends an answer that has no length.
                response.feed(data)
                if not data and not response.complete:
                    raise TransportError(_CUT_OFF)
        except HTTPParseError as malformed:
            raise TransportError(f"malformed answer: {malformed.args[0]}" if data else _CUT_OFF) from None
        except TimeoutError:
            raise TransportError(f"no answer within {self._read_timeout_s:g} s") from None
        except OSError as failure:
            if isinstance(failure, ConnectionError) and not started:
                raise _HungUpError(f"{_reason(failure)} before the answer") from None
            raise TransportError(_reason(failure)) from None
        return response


class _HungUpError(TransportError):
    """The connection was closed before anything of an answer came."""


@cache
def tls_context() -> stdlib_ssl.SSLContext:
    """One context per process: the system's certificates and certifi's, names checked."""
    context: stdlib_ssl.SSLContext = gevent.ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _reason(failure: OSError) -> str:
    """The reason in the words of the system, without numbers that differ from request to request."""
    if isinstance(failure, stdlib_ssl.SSLCertVerificationError):
        return f"certificate not accepted: {failure.verify_message}"
    if isinstance(failure, TimeoutError):
        return "timed out"
    return (failure.strerror or str(failure) or type(failure).__name__).lower()
