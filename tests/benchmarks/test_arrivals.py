"""The figures of arrivals, and which rounds they are of. Times in seconds, by arithmetic."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from itertools import pairwise

import pytest

from benchmarks.arrivals import _REQUEST, _answer, counting, evenness, send_evenly, serve, stolen_ms, undisturbed
from benchmarks.processes import cores


def rounds(*stolen: float) -> list[dict[str, float]]:
    """Rounds with their number."""
    return [{"number": number, "stolen_ms": ms} for number, ms in enumerate(stolen, 1)]


def numbers(chosen) -> list[float]:
    return [of_round["number"] for of_round in chosen]


def test_first_undisturbed_rounds_count():
    assert numbers(counting(rounds(40, 0, 10, 5, 0), 3, allowed_ms=10)) == [2, 3, 4]


def test_least_disturbed_rounds_count_where_too_few_are_not():
    assert numbers(counting(rounds(400, 30, 0, 20), 3, allowed_ms=10)) == [3, 4, 2]


def test_round_of_a_kernel_that_tells_nothing_counts():
    assert numbers(counting(rounds(float("nan"), 0), 1, allowed_ms=10)) == [1]
    assert undisturbed(rounds(float("nan")), allowed_ms=10) == 1


def test_undisturbed_is_up_to_what_is_allowed():
    assert undisturbed(rounds(0, 10, 10.1, 50), allowed_ms=10) == 2


def test_time_stolen_in_the_second_that_is_left_out_does_not_count():
    assert stolen_ms([(5.0, 7.00), (5.5, 7.50), (6.0, 7.51), (6.5, 7.51), (7.0, 7.53)]) == 20


def test_even_arrivals_are_even_and_one_that_is_late_is_seen():
    times = [number / 100 for number in range(300)]
    assert evenness(times, 100)["gap_cv"] == pytest.approx(0.0, abs=1e-3)
    times[200] += 0.005
    figures = evenness(times, 100)
    assert figures["requests"] == 200
    # Two of 199 gaps are half a gap off.
    assert figures["gap_cv"] == pytest.approx((2 * 0.5**2 / 199) ** 0.5, abs=1e-3)
    assert figures["late_max_ms"] == pytest.approx(5.0)


def test_request_that_the_kernel_has_not_noted_came_when_it_is_read():
    client, server = socket.socketpair()
    with client, server:
        client.sendall(_REQUEST)
        before = time.time()
        [came] = _answer(server)
        assert before <= came <= time.time()
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


def test_server_tells_when_requests_came_and_what_was_stolen_until_then():
    channel, theirs = multiprocessing.Pipe()
    server = threading.Thread(target=serve, args=(theirs, cores()[0], cores()[0]), daemon=True)
    server.start()
    send_evenly(channel.recv(), rate=200, seconds=0.25)
    channel.send("times")
    times, looks = channel.recv()
    channel.close()
    server.join(60)
    assert len(times) == 50
    assert looks[0][0] == times[0]
    assert all(later >= earlier + 0.1 for (earlier, _), (later, _) in pairwise(looks))
    assert {at for at, _ in looks} <= set(times)
    assert not server.is_alive()
