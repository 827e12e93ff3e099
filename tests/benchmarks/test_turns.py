"""Processes that take turns."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from benchmarks.processes import cores, cpu_s
from benchmarks.turns import Turn, TurnTaker


@contextmanager
def running(script: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sh", "-c", script])
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def test_it_runs_in_its_turns_and_not_between_them() -> None:
    with running("while :; do :; done") as process:
        taker = TurnTaker(process, cores()[0], count().__next__)
        taker.stop()
        used_s = cpu_s(process.pid)
        assert cpu_s(process.pid) == used_s
        # On a busy core it may get nothing in a turn.
        assert any(taker.turn(0.05).cpu_s > 0 for _ in range(1000))
        assert cpu_s(process.pid) > used_s


def test_requests_are_those_that_the_server_was_sent_meanwhile() -> None:
    """By others it was sent 5 before, and 100 between the turns."""
    at_server = iter([5, 12, 112, 142, 242, 243])
    with running("trap exit INT; while :; do :; done") as process:
        taker = TurnTaker(process, cores()[0], at_server.__next__)
        taker.stop()
        assert taker.requests == 7
        assert taker.turn(0.01).requests == 30
        taker.end(signal.SIGINT)
        assert taker.requests == 7 + 30 + 1


def test_a_process_that_ended_by_itself_has_no_turn() -> None:
    with running("exit 1") as process:
        taker = TurnTaker(process, cores()[0], count().__next__)
        process.wait(60)
        with pytest.raises(ChildProcessError):
            taker.stop()


def test_turns_are_added_up() -> None:
    both = Turn(requests=100, took_s=0.25, cpu_s=0.002, stolen_s=0.01) + Turn(300, 0.75, 0.004, 0.0)
    assert both == Turn(400, 1.0, 0.006, 0.01)
    assert (both.requests_per_s, both.cpu_us_per_request) == (400.0, pytest.approx(15.0))
