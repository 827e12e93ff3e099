"""Through a proxy that really passes requests on, and which one that is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from config.errors import ConfigError
from loadgen.proxies import Proxy, check_proxies, proxy_for
from loadgen.transport import Connection, ConnectionCounts, Endpoint, Timeouts, TransportError, parse_endpoint
from tests.loadgen.scripted_server import REQUEST, answer_all, read_request, tls_server
from tests.ports import refusing_port

API = parse_endpoint("https://api.example")
PLAIN_API = parse_endpoint("http://api.example")


class PassingProxy:
    """Passes on what it is asked to, and keeps the head of each request."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint("http", "127.0.0.1", self._listener.getsockname()[1], "")
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(60)
                self._start(self._serve, client)

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments))
        self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = read_request(client)
            self.heads.append(head)
            method, target, _ = head.split(b" ", 2)
            authority = target if method == b"CONNECT" else target.removeprefix(b"http://").partition(b"/")[0]
            host, _, port = authority.decode().rpartition(":")
            with socket.create_connection((host, int(port)), 60) as server:
                if method == b"CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\nContent-Length: 7\r\n\r\n")
                else:
                    server.sendall(head)
                self._start(self._pass_on, server, client)
                self._pass_on(client, server)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while received := source.recv(65536):
                sink.sendall(received)
            sink.shutdown(socket.SHUT_WR)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def proxy() -> Iterator[PassingProxy]:
    running = PassingProxy()
    yield running
    running.stop()


def test_plain_requests_name_the_whole_url_and_the_connection_is_kept(serve, proxy):
    server = serve(answer_all)
    counts = ConnectionCounts()
    connection = Connection(server.endpoint, counts=counts, proxy=Proxy(proxy.endpoint, "Proxy-Authorization: x\r\n"))
    for _ in range(2):
        assert connection.exchange(b"POST /v?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").body == b"hi"
    connection.close()
    url = f"http://127.0.0.1:{server.port}/v?a=b"
    assert proxy.heads == [
        f"POST {url} HTTP/1.1\r\nProxy-Authorization: x\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
    ]
    assert counts == ConnectionCounts(opened=1)


def test_tls_goes_through_a_tunnel_to_the_server_itself(serve, proxy, certificate, trusted):
    server = serve(answer_all, context=tls_server(certificate))
    connection = Connection(server.endpoint, proxy=Proxy(proxy.endpoint, "Proxy-Authorization: x\r\n"))
    for _ in range(2):
        assert connection.exchange(REQUEST).body == b"hi"
    connection.close()
    where = f"127.0.0.1:{server.port}"
    assert proxy.heads == [f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\nProxy-Authorization: x\r\n\r\n".encode()]


def test_certificate_is_that_of_the_server_and_is_looked_at(serve, proxy, certificate):
    server = serve(answer_all, context=tls_server(certificate))
    with pytest.raises(TransportError, match=f"through the proxy 127.0.0.1:{proxy.endpoint.port}: certificate not acc"):
        Connection(server.endpoint, proxy=Proxy(proxy.endpoint)).exchange(REQUEST)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 100\r\n\r\n", "the proxy says HTTP 407"),
        (b"SSH-2.0-OpenSSH\r\n", "malformed answer"),
        (b"HTTP/1.1 200", "connection closed in the middle of the answer"),
        (b"", "connection closed in the middle of the answer"),
    ],
    ids=["refusal", "no HTTP", "half an answer", "nothing"],
)
def test_proxy_that_opens_no_tunnel_is_a_failure_with_its_reason(serve, said, reason):
    def say(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(said)

    where = serve(say).endpoint
    with pytest.raises(TransportError, match=f"api.example:443 through the proxy 127.0.0.1:{where.port}: {reason}"):
        Connection(API, proxy=Proxy(where, "Proxy-Authorization: secret\r\n")).exchange(REQUEST)


def test_silent_proxy_is_given_up(serve):
    over = threading.Event()
    where = serve(lambda connection: over.wait(60)).endpoint
    with pytest.raises(TransportError, match=r"through the proxy .*: timed out"):
        Connection(API, Timeouts(connect_s=0.1), proxy=Proxy(where)).exchange(REQUEST)
    over.set()


def test_proxy_that_is_not_there():
    with (
        refusing_port() as port,
        pytest.raises(TransportError, match=f"api.example:80 through the proxy 127.0.0.1:{port}: connection refused"),
    ):
        Connection(PLAIN_API, proxy=Proxy(Endpoint("http", "127.0.0.1", port, ""))).exchange(REQUEST)


@pytest.mark.parametrize(
    ("endpoint", "environ", "proxy"),
    [
        (API, {}, None),
        (API, {"HTTPS_PROXY": "http://p:3128"}, ("p", 3128, "")),
        (API, {"HTTP_PROXY": "http://p:3128"}, None),
        (PLAIN_API, {"HTTP_PROXY": "http://p:3128"}, ("p", 3128, "")),
        (API, {"HTTPS_PROXY": "http://p", "https_proxy": "q:1"}, ("q", 1, "")),
        (API, {"HTTPS_PROXY": "http://p", "NO_PROXY": "other, example"}, None),
        (API, {"HTTPS_PROXY": "http://p", "NO_PROXY": ".api.example"}, None),
        (API, {"HTTPS_PROXY": "http://p", "NO_PROXY": "*.example:443"}, None),
        (API, {"HTTPS_PROXY": "http://p", "no_proxy": "*"}, None),
        (API, {"HTTPS_PROXY": "http://p", "NO_PROXY": "i.example,example:80,"}, ("p", 80, "")),
        (API, {"HTTPS_PROXY": "http://me:p%40ss@p:1"}, ("p", 1, "Proxy-Authorization: Basic bWU6cEBzcw==\r\n")),
        (parse_endpoint("http://127.0.0.1:1"), {"HTTP_PROXY": "http://p"}, None),
        (parse_endpoint("https://localhost:1"), {"HTTPS_PROXY": "http://p"}, None),
        (parse_endpoint("http://[::1]:1"), {"HTTP_PROXY": "http://p"}, None),
    ],
)
def test_which_proxy(endpoint, environ, proxy):
    found = proxy_for(endpoint, environ)
    assert (found and (found.endpoint.host, found.endpoint.port, found.authorization)) == proxy


@pytest.mark.parametrize("url", ["socks5://me:secret@p:1080", "https://p", "http://", "http://p:99999", "http://[::1"])
def test_what_is_no_http_proxy_is_refused_without_showing_it(url):
    with pytest.raises(ConfigError) as refused:
        check_proxies("aws", {"HTTP_PROXY": url, "https_proxy": url})
    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["HTTP_PROXY", "https_proxy"]
    assert "secret" not in str(refused.value)
    check_proxies("sandbox", {"HTTP_PROXY": url})
