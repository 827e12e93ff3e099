"""The HTTP client against servers that say exactly what the test wants, byte by byte."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from loadgen import transport
from loadgen.tls import tls_context
from loadgen.transport import Connection, Endpoint, Timeouts, TransportError, parse_endpoint

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class ScriptedServer:
    """Runs one function per accepted connection, in order; counts connections."""

    def __init__(self, *scripts: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> None:
        self.accepted = 0
        self._scripts = scripts
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def endpoint(self) -> Endpoint:
        return parse_endpoint(f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}")

    def _run(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            with connection:
                connection.settimeout(5)
                try:
                    if self._context is not None:
                        connection = self._context.wrap_socket(connection, server_side=True)
                    script(connection)
                except OSError:
                    pass
                finally:
                    connection.close()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(*scripts: Callable[[socket.socket], None], **options) -> ScriptedServer:
        servers.append(ScriptedServer(*scripts, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        received = connection.recv(4096)
        if not received:
            raise OSError("closed")
        data += received
    return data


def answer(*pieces: bytes) -> Callable[[socket.socket], None]:
    """Answer one request with these pieces, each in a packet of its own, then close."""

    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_request(connection)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.01)

    return script


def answer_all(connection: socket.socket) -> None:
    while True:
        read_request(connection)
        connection.sendall(OK)


@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        ([OK], 200, b"hi"),
        ([OK[:10], OK[10:25], OK[25:]], 200, b"hi"),
        ([OK[index : index + 1] for index in range(len(OK))], 200, b"hi"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", b"1\r\n!\r\n0\r\n\r\n"], 200, b"hi!"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], 200, b""),
        ([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nun", b"til the end"], 200, b"until the end"),
        ([b"HTTP/1.0 502 Bad\r\nContent-Length: 1\r\n\r\n!"], 502, b"!"),
        ([b"HTTP/1.1 100 Continue\r\nX: 1\r\n\r\n", OK], 200, b"hi"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", b"x" * 300_000], 200, b"x" * 300_000),
    ],
    ids=["plain", "pieces", "bytes", "chunked", "204", "empty", "until close", "1.0", "after 100", "large"],
)
def test_answers_come_whole(serve, pieces, status, body):
    response = Connection(serve(answer(*pieces)).endpoint).exchange(REQUEST)
    assert (response.status, bytes(response.body)) == (status, body)


def test_headers_by_lower_case_name(serve):
    response = Connection(
        serve(
            answer(
                b"HTTP/1.1 200 OK\r\nX-Amzn-Requ",
                b"estId: abc",
                b"def\r\nEmpty:\r\nLatin: \xe9\r\nTwice: 1\r\ntwice: 2\r\nContent-Length: 0\r\n\r\n",
            )
        ).endpoint
    ).exchange(REQUEST)
    assert response.headers == {
        "x-amzn-requestid": "abcdef",
        "empty": "",
        "latin": "é",
        "twice": "2",
        "content-length": "0",
    }


def test_connection_is_kept(serve):
    server = serve(answer_all)
    connection = Connection(server.endpoint)
    for _ in range(5):
        assert connection.exchange(REQUEST).body == b"hi"
    assert server.accepted == 1
    connection.close()


def test_connection_closes_when_the_server_says_so(serve):
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    server = serve(answer(closing), answer(closing))
    connection = Connection(server.endpoint)
    assert [connection.exchange(REQUEST).status for _ in range(2)] == [200, 200]
    assert server.accepted == 2


def test_kept_connection_that_the_server_closed_is_replaced_silently(serve):
    """No `Connection: close`: the server hangs up after its answer without a word."""
    server = serve(answer(OK), answer(OK))
    connection = Connection(server.endpoint)
    connection.exchange(REQUEST)
    time.sleep(0.05)
    assert connection.exchange(REQUEST).body == b"hi"
    assert server.accepted == 2


def hang_up_on_second(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(OK)
    read_request(connection)


def test_request_that_a_busy_connection_swallowed_is_a_failure_and_not_sent_again(serve):
    server = serve(hang_up_on_second, answer_all)
    connection = Connection(server.endpoint)
    connection.exchange(REQUEST)
    with pytest.raises(TransportError, match="closed before the answer"):
        connection.exchange(REQUEST)
    assert server.accepted == 1


def test_request_that_met_an_idle_connection_being_closed_goes_out_again_once(serve, monkeypatch):
    monkeypatch.setattr(transport, "_IDLE_S", 0.0)
    server = serve(hang_up_on_second, answer_all)
    connection = Connection(server.endpoint)
    connection.exchange(REQUEST)
    assert connection.exchange(REQUEST).body == b"hi"
    assert server.accepted == 2
    connection.close()


def test_fresh_connection_that_is_closed_without_an_answer_is_a_failure(serve):
    server = serve(read_request, answer(OK))
    with pytest.raises(TransportError, match="closed before the answer"):
        Connection(server.endpoint).exchange(REQUEST)
    assert server.accepted == 1


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi"], "closed in the middle of the answer"),
        ([b"HTTP/1.1 200 OK\r\nContent-"], "closed in the middle of the answer"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], "closed in the middle of the answer"),
        ([b"SSH-2.0-OpenSSH\r\n"], "malformed answer"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"], "malformed answer"),
        ([OK + OK], "malformed answer: more than one answer"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"], "malformed answer"),
    ],
    ids=["short body", "half a head", "only 100", "not HTTP", "two lengths", "two answers", "bad chunk"],
)
def test_answers_that_are_not_whole_are_failures(serve, pieces, reason):
    with pytest.raises(TransportError, match=reason):
        Connection(serve(answer(*pieces)).endpoint).exchange(REQUEST)


def test_silence_ends_at_the_read_time_out_and_the_next_request_gets_a_fresh_connection(serve):
    waiting = threading.Event()

    def late(connection: socket.socket) -> None:
        read_request(connection)
        waiting.wait(5)
        connection.sendall(OK)

    server = serve(late, answer(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"))
    connection = Connection(server.endpoint, Timeouts(first_byte_s=0.1))
    with pytest.raises(TransportError, match=r"no answer within 0\.1 s"):
        connection.exchange(REQUEST)
    waiting.set()
    assert connection.exchange(REQUEST).status == 201, "not the late answer to the request before"


def test_refused_connection_says_where_and_why():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(TransportError, match=f"cannot connect to 127.0.0.1:{port}: connection refused"):
        Connection(parse_endpoint(f"http://127.0.0.1:{port}")).exchange(REQUEST)


def test_name_that_does_not_resolve_says_so():
    with pytest.raises(TransportError, match=r"cannot connect to no\.such\.host\.invalid:80: "):
        Connection(parse_endpoint("http://no.such.host.invalid")).exchange(REQUEST)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + signed.public_bytes(Encoding.PEM))
    return path


def tls_server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_tls_connection_is_kept_and_replaced_once_closed(serve, certificate, monkeypatch):
    context = tls_context.__wrapped__()
    context.load_verify_locations(certificate)
    monkeypatch.setattr(transport, "tls_context", lambda: context)

    def two_answers(connection: socket.socket) -> None:
        for _ in range(2):
            read_request(connection)
            connection.sendall(OK)

    server = serve(two_answers, answer_all, context=tls_server(certificate))
    connection = Connection(server.endpoint)
    for _ in range(2):
        assert connection.exchange(REQUEST).body == b"hi"
    time.sleep(0.05)
    assert connection.exchange(REQUEST).body == b"hi"
    assert server.accepted == 2
    connection.close()


def test_unknown_certificate_is_refused(serve, certificate):
    server = serve(answer(OK), context=tls_server(certificate))
    with pytest.raises(TransportError, match=r"certificate not accepted: self.signed certificate"):
        Connection(server.endpoint).exchange(REQUEST)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://127.0.0.1:8080", Endpoint("http", "127.0.0.1", 8080, "")),
        (
            "https://abc.execute-api.eu-west-1.amazonaws.com/prod/",
            Endpoint("https", "abc.execute-api.eu-west-1.amazonaws.com", 443, "/prod"),
        ),
        ("http://[::1]:80/a/b", Endpoint("http", "::1", 80, "/a/b")),
    ],
)
def test_endpoints(url, endpoint):
    assert parse_endpoint(url) == endpoint


@pytest.mark.parametrize(
    ("url", "authority"),
    [("http://h:80", "h"), ("https://h:8443", "h:8443"), ("http://[::1]:8080", "[::1]:8080")],
)
def test_authority_leaves_the_default_port_out(url, authority):
    assert parse_endpoint(url).authority == authority


@pytest.mark.parametrize(
    "url", ["", "host/path", "ftp://h", "http://", "http://h:99999", "http://h/a b", "http://u:p@h"]
)
def test_what_is_no_base_url_is_refused(url):
    with pytest.raises(ValueError, match=r"is not a URL|no valid port|percent-encoded|nothing else"):
        parse_endpoint(url)
