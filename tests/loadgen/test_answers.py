"""The reader of answers, however they are cut, and whatever comes instead of one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.answers import AnswerReader, MalformedAnswerError

ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    "empty": b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
    "none": b"HTTP/1.1 204 No Content\r\nX-Amzn-RequestId: 1\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: 1\r\n\r\n",
    "until the end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    "1.0": b"HTTP/1.0 502 Bad Gateway\r\n\r\n{}",
    "after others": b"HTTP/1.1 100 Continue\r\nX: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"
    b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nhi",
    "folded": b"HTTP/1.1 200 OK\r\nFolded: one\r\n two\r\n\tthree\r\nEmpty:\r\nContent-Length: 1\r\n\r\n!",
    "close": b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
}

Outcome = tuple[int, dict[str, str], bytes, bool] | str


def read(pieces: list[bytes]) -> Outcome:
    """The answer in pieces that are followed by the end of the connection, and whether the connection may be kept; or
    the reason why there is none.
    """
    reader = AnswerReader()
    try:
        for piece in [*filter(None, pieces), b""]:
            if (response := reader.feed(piece)) is not None:
                return response.status, response.headers, response.body, reader.keep_alive
    except MalformedAnswerError as malformed:
        return str(malformed)
    raise AssertionError("the end of the connection leaves nothing to wait for")


def cut(data: bytes, *cuts: int) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answer_cut_in_two_at_any_byte_is_the_same(answer):
    whole = read([answer])
    assert not isinstance(whole, str)
    assert [read(cut(answer, at)) for at in range(1, len(answer))] == [whole] * (len(answer) - 1)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answer_that_ends_at_any_byte_is_whole_or_a_failure(answer):
    """Only what ends with its connection may end early, and nobody can tell."""
    whole = read([answer])
    assert not isinstance(whole, str)
    for end in range(1, len(answer)):
        found = read([answer[:end]])
        if not isinstance(found, str):
            assert (found[0], found[1]) == whole[:2]
            assert b"Content-Length" not in answer
            assert b"Transfer-Encoding" not in answer


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(0, 200), max_size=30))
def test_answer_cut_anywhere_is_the_same(name, cuts):
    answer = ANSWERS[name]
    assert read(cut(answer, *(at for at in cuts if at <= len(answer)))) == read([answer])


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_garbage_is_a_failure_and_nothing_else(pieces):
    assert isinstance(read([b"", *pieces]), str)


@given(
    st.sampled_from(sorted(ANSWERS)),
    st.integers(0, 200),
    st.integers(0, 20),
    st.binary(max_size=20) | st.sampled_from([b"\r\n\r\n", b"0\r\n", b"101", b"99999999999999999999", b"\r\n :"]),
    st.integers(0, 200),
)
def test_answer_that_was_tampered_with_is_read_or_refused(name, at, removed, inserted, cut_at):
    tampered = ANSWERS[name][:at] + inserted + ANSWERS[name][at + removed :]
    outcome = read(cut(tampered, min(cut_at, len(tampered))))
    assert isinstance(outcome, str) or outcome[0] >= 200
