"""The HTTP client against servers that say exactly what the test wants, byte by byte."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from contextlib import suppress

import gevent
import gevent.socket
import pytest

from loadgen import transport
from loadgen.transport import Connection, ConnectionCounts, Endpoint, Timeouts, TransportError, parse_endpoint
from tests.loadgen.scripted_server import OK, REQUEST, answer, answer_all, read_request, tls_server
from tests.ports import free_port, refusing_port


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
        ([b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK], 200, b"hi"),
        ([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"], 304, b""),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\nTrailer: 1\r\n\r\n"], 200, b"hi"),
        ([b"HTTP/1.1 200 OK\r\n\r\n"], 200, b""),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", b"x" * 300_000], 200, b"x" * 300_000),
    ],
    ids=[
        "plain",
        "pieces",
        "bytes",
        "chunked",
        "204",
        "empty",
        "until close",
        "1.0",
        "after 100",
        "after 103 and 100",
        "304",
        "trailer",
        "nothing until close",
        "large",
    ],
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


def test_folded_header_is_one_value(serve):
    head = b"HTTP/1.1 200 OK\r\nFolded: one\r\n two\r\n\tthree\r\nContent-Length: 0\r\n\r\n"
    response = Connection(serve(answer(head)).endpoint).exchange(REQUEST)
    assert response.headers["folded"].split() == ["one", "two", "three"]


def test_head_as_large_as_servers_send_is_read_and_one_without_end_is_not(serve):
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + b"x" * 60_000 + b"\r\n\r\n"
    assert len(Connection(serve(answer(large)).endpoint).exchange(REQUEST).headers["x"]) == 60_000
    endless = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000
    with pytest.raises(TransportError, match="a head of more than 262144 bytes"):
        Connection(serve(answer(endless)).endpoint).exchange(REQUEST)


def test_answer_to_head_has_no_body_and_the_connection_is_kept(serve):
    def head_then_get(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        answer_all(connection)

    server = serve(head_then_get)
    connection = Connection(server.endpoint)
    response = connection.exchange(REQUEST.replace(b"GET", b"HEAD"))
    assert (response.status, response.headers, response.body) == (200, {"content-length": "1000"}, b"")
    assert connection.exchange(REQUEST).body == b"hi"
    assert server.accepted == 1
    connection.close()


MEGABYTES_10 = bytes(range(256)) * 40 * 1024


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_ten_megabytes_there_and_back(serve, scheme, certificate, trusted):
    def echo(connection: socket.socket) -> None:
        head, body = b"", b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        head, _, body = head.partition(b"\r\n\r\n")
        received = [body]
        missing = len(MEGABYTES_10) - len(body)
        while missing:
            received.append(connection.recv(65536))
            missing -= len(received[-1])
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(MEGABYTES_10))
        connection.sendall(b"".join(received))
        answer_all(connection)

    server = serve(echo, context=tls_server(certificate) if scheme == "https" else None)
    connection = Connection(server.endpoint)
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(MEGABYTES_10)
    assert connection.exchange(head + MEGABYTES_10).body == MEGABYTES_10
    assert connection.exchange(REQUEST).body == b"hi"
    assert server.accepted == 1
    connection.close()


def test_server_may_refuse_a_large_body_before_it_has_read_it(serve):
    refused = threading.Event()

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        refused.wait(60)

    server = serve(refuse, answer(OK))
    connection = Connection(server.endpoint)
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(MEGABYTES_10)
    assert connection.exchange(head + MEGABYTES_10).status == 413
    refused.set()
    assert connection.exchange(REQUEST).body == b"hi", "on a new connection: the old one is full of half a request"
    assert server.accepted == 2


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
    counts = ConnectionCounts()
    connection = Connection(server.endpoint, counts=counts)
    connection.exchange(REQUEST)
    server.wait_for_close()
    assert connection.exchange(REQUEST).body == b"hi"
    assert server.accepted == 2
    assert counts == ConnectionCounts(opened=2, reopened=1)


def test_what_nobody_asked_for_is_not_taken_for_an_answer(serve):
    answered, timed_out = threading.Event(), threading.Event()

    def answer_and_time_out(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        answered.wait(60)
        connection.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        timed_out.set()
        connection.recv(1)

    connection = Connection(serve(answer_and_time_out, answer(OK)).endpoint)
    assert connection.exchange(REQUEST).status == 200
    answered.set()
    assert timed_out.wait(60)
    assert connection.exchange(REQUEST).status == 200


def hang_up_on_second(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(OK)
    read_request(connection)


def test_request_that_a_busy_connection_swallowed_is_a_failure_and_not_sent_again(serve, monkeypatch):
    monkeypatch.setattr(transport, "_IDLE_S", 60.0)
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
        waiting.wait(60)
        connection.sendall(OK)

    server = serve(late, answer(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"))
    connection = Connection(server.endpoint, Timeouts(first_byte_s=0.1))
    with pytest.raises(TransportError, match=r"no answer within 0\.1 s"):
        connection.exchange(REQUEST)
    waiting.set()
    connection._timeouts = Timeouts()
    assert connection.exchange(REQUEST).status == 201, "not the late answer to the request before"


def test_answer_that_never_ends_is_given_up(serve):
    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    connection = Connection(serve(drip).endpoint, Timeouts(whole_s=0.3))
    started = time.monotonic()
    with pytest.raises(TransportError, match=r"no whole answer within 0\.3 s"):
        connection.exchange(REQUEST)
    assert time.monotonic() - started > 0.28


def test_server_that_reads_nothing_is_given_up(serve):
    given_up = threading.Event()
    connection = Connection(serve(lambda connection: given_up.wait(60)).endpoint, Timeouts(whole_s=0.2))
    with pytest.raises(TransportError, match=r"no whole answer within 0\.2 s"):
        connection.exchange(b"POST / HTTP/1.1\r\nContent-Length: 10485760\r\n\r\n" + MEGABYTES_10)
    given_up.set()


def test_each_wait_has_its_own_deadline(serve):
    """Those that wait longer are looked at again when the first is over, and one that comes later may be due first:
    none has to wait for the one of a minute, which began before them all."""
    over = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        over.wait(60)

    def wait(timeout_s: float, endpoint: Endpoint) -> float:
        began = time.monotonic()
        with pytest.raises(TransportError, match="no answer within"):
            Connection(endpoint, Timeouts(first_byte_s=timeout_s)).exchange(REQUEST)
        return time.monotonic() - began

    minute, *waits = [gevent.spawn(wait, timeout_s, serve(silent).endpoint) for timeout_s in (60, 0.3, 0.1, 0.2)]
    gevent.sleep(0.01)
    waits.append(gevent.spawn(wait, 0.05, serve(silent).endpoint))
    gevent.joinall(waits, raise_error=True)
    assert not minute.ready()
    minute.kill()
    over.set()
    for wanted_s, waited in zip((0.3, 0.1, 0.2, 0.05), waits, strict=True):
        assert waited.value > 0.98 * wanted_s


def test_killed_request_leaves_no_connection_behind(serve):
    arrived = threading.Event()

    def late(connection: socket.socket) -> None:
        read_request(connection)
        arrived.set()
        assert connection.recv(1) == b"", "the client has hung up"

    server = serve(late, answer(OK))
    connection = Connection(server.endpoint)
    request = gevent.spawn(connection.exchange, REQUEST)
    with gevent.Timeout(60):
        while not arrived.is_set():
            gevent.sleep(0.01)
    request.kill()
    assert connection.exchange(REQUEST).body == b"hi"
    assert server.accepted == 2


@pytest.mark.parametrize(
    ("before", "reason"),
    [(b"", "connection reset by peer before the answer"), (OK[:-1], "connection reset by peer")],
    ids=["nothing", "half an answer"],
)
def test_reset_is_a_failure_with_its_reason(serve, before, reason):
    def reset(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(before)
        time.sleep(0.02)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with pytest.raises(TransportError, match=f"^{reason}$"):
        Connection(serve(reset).endpoint).exchange(REQUEST)


def test_ipv6(serve):
    try:
        server = serve(answer(OK), host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert Connection(server.endpoint).exchange(REQUEST).body == b"hi"


class Names:
    """A resolver that gives the addresses of its next answer."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = iter(answers)

    def __call__(self, host: str, port: int, *_: object) -> list[tuple]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(self._answers)]


def test_name_is_looked_up_for_every_connection(serve, monkeypatch):
    first = serve(answer(OK), port=free_port())
    second = serve(answer(OK), host="127.0.0.2", port=first.port)
    monkeypatch.setattr(gevent.socket, "getaddrinfo", Names(["127.0.0.1"], ["127.0.0.2"]))
    connection = Connection(parse_endpoint(f"http://rotating.test:{first.port}"))
    for server in (first, second):
        assert connection.exchange(REQUEST).body == b"hi"
        server.wait_for_close()
    assert (first.accepted, second.accepted) == (1, 1)


def test_address_that_refuses_is_passed_over(serve, monkeypatch):
    with refusing_port("127.0.0.1", free_port()) as port:
        serve(answer(OK), host="127.0.0.2", port=port)
        monkeypatch.setattr(gevent.socket, "getaddrinfo", Names(["127.0.0.1", "127.0.0.2"]))
        assert Connection(parse_endpoint(f"http://two.test:{port}")).exchange(REQUEST).body == b"hi"


def test_address_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        with pytest.raises(TransportError, match=f"cannot connect to 127.0.0.1:{port}: timed out"):
            Connection(parse_endpoint(f"http://127.0.0.1:{port}"), Timeouts(connect_s=0.1)).exchange(REQUEST)
        for client in waiting:
            client.close()


def test_slow_resolver_is_given_up(monkeypatch):
    monkeypatch.setattr(gevent.socket, "getaddrinfo", lambda *_: gevent.sleep(5))
    with pytest.raises(TransportError, match=r"cannot connect to slow\.test:80: timed out"):
        Connection(parse_endpoint("http://slow.test"), Timeouts(connect_s=0.05)).exchange(REQUEST)


def test_refused_connection_says_where_and_why():
    with (
        refusing_port() as port,
        pytest.raises(TransportError, match=f"cannot connect to 127.0.0.1:{port}: connection refused"),
    ):
        Connection(parse_endpoint(f"http://127.0.0.1:{port}")).exchange(REQUEST)


def test_name_that_does_not_resolve_says_so():
    with pytest.raises(TransportError, match=r"cannot connect to no\.such\.host\.invalid:80: "):
        Connection(parse_endpoint("http://no.such.host.invalid")).exchange(REQUEST)


def test_tls_connection_is_kept_and_replaced_once_closed(serve, certificate, trusted):
    def two_answers(connection: socket.socket) -> None:
        for _ in range(2):
            read_request(connection)
            connection.sendall(OK)

    server = serve(two_answers, answer_all, context=tls_server(certificate))
    connection = Connection(server.endpoint)
    for _ in range(2):
        assert connection.exchange(REQUEST).body == b"hi"
    server.wait_for_close()
    assert connection.exchange(REQUEST).body == b"hi"
    assert server.accepted == 2
    connection.close()


@pytest.mark.parametrize(
    "pieces",
    [
        [OK[index : index + 1] for index in range(len(OK))],
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"h", b"i"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", b"0\r\n\r\n"],
    ],
    ids=["bytes", "until close", "chunked"],
)
@pytest.mark.parametrize("farewell", [True, False])
def test_answers_over_tls(serve, certificate, trusted, pieces, farewell):
    def say(connection: socket.socket) -> None:
        answer(*pieces)(connection)
        if farewell:
            connection.unwrap()

    server = serve(say, context=tls_server(certificate))
    assert Connection(server.endpoint).exchange(REQUEST).body == b"hi"


def test_farewell_ends_an_answer_though_the_server_keeps_the_socket_open(serve, certificate, trusted):
    over = threading.Event()

    def say(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi")
        connection.settimeout(0.1)
        with suppress(OSError):
            connection.unwrap()
        over.wait(60)

    connection = Connection(serve(say, context=tls_server(certificate)).endpoint, Timeouts(whole_s=30))
    assert connection.exchange(REQUEST).body == b"hi"
    over.set()


def test_server_that_does_not_speak_tls(serve):
    server = serve(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(TransportError, match=r"cannot connect to .*: TLS: (wrong version number|record layer failure)"):
        Connection(parse_endpoint(f"https://127.0.0.1:{server.port}")).exchange(REQUEST)


def test_server_that_says_nothing_to_the_handshake(serve):
    over = threading.Event()
    server = serve(lambda connection: over.wait(60))
    connection = Connection(parse_endpoint(f"https://127.0.0.1:{server.port}"), Timeouts(tls_s=0.1))
    with pytest.raises(TransportError, match=r"cannot connect to .*: TLS handshake timed out"):
        connection.exchange(REQUEST)
    over.set()


def test_server_that_hangs_up_during_the_handshake(serve):
    server = serve(lambda connection: connection.recv(1000))
    with pytest.raises(TransportError, match=r"cannot connect to .*: connection (closed during the TLS|reset by peer)"):
        Connection(parse_endpoint(f"https://127.0.0.1:{server.port}")).exchange(REQUEST)


def test_server_that_refuses_the_client_s_tls_says_why(serve, certificate, trusted, monkeypatch):
    context = tls_server(certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    old = transport.tls_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    server = serve(answer(OK), context=context)
    with pytest.raises(TransportError, match=r"cannot connect to .*: TLS: tlsv1 alert protocol version"):
        Connection(server.endpoint).exchange(REQUEST)


def test_certificate_of_another_host_is_refused(serve, certificate, trusted):
    server = serve(answer(OK), host="127.0.0.2", context=tls_server(certificate))
    with pytest.raises(TransportError, match="certificate not accepted: IP address mismatch"):
        Connection(server.endpoint).exchange(REQUEST)


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
    "url",
    [
        "",
        "host/path",
        "ftp://h",
        "http://",
        "http://h:99999",
        "http://[::1",
        "http://h/a b",
        "http://u:p@h",
        "http://@h",
    ],
)
def test_what_is_no_base_url_is_refused(url):
    with pytest.raises(ValueError, match=r"is not a URL|no valid port|percent-encoded|nothing else"):
        parse_endpoint(url)


def test_a_refused_base_url_does_not_show_its_password():
    with pytest.raises(ValueError, match=r"https://\*\*\*@h") as caught:
        parse_endpoint("https://me:s3cret@h?key=s3cret")
    assert "s3cret" not in str(caught.value)
