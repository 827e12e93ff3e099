"""What Date headers say of the server's clock. Times are seconds after 2026-11-21 10:00:00 UTC."""

from __future__ import annotations

from email.utils import formatdate
from random import Random

import pytest

from loadgen.server_clock import ServerClock

START = 1_795_255_200.0


def saw(clock: ServerClock, started: float, ended: float, made: float, ahead: float = 0.0) -> None:
    """An answer made at a moment of our time by a server whose clock is ahead."""
    clock.saw({"date": formatdate(int(START + made + ahead), usegmt=True)}, START + started, START + ended)


def test_one_answer_bounds_the_offset_by_a_second_and_its_own_time():
    clock = ServerClock()
    saw(clock, 0.20, 0.30, made=0.25)
    assert clock.as_dict() == {
        "answers": 1,
        "low_s": pytest.approx(-0.3, abs=1e-6),
        "high_s": pytest.approx(0.8, abs=1e-6),
    }


def test_answers_around_the_turn_of_a_second_leave_their_round_trips_open():
    clock = ServerClock()
    saw(clock, 0.975, 0.985, made=0.980)
    saw(clock, 1.000, 1.010, made=1.005)
    assert (clock.low_s, clock.high_s) == pytest.approx((-0.010, 0.025), abs=1e-6)


@pytest.mark.parametrize("ahead_s", [-3.7, -0.02, 0.0, 0.4, 86_400.25])
def test_the_offset_lies_within_the_bounds_which_many_answers_bring_together(ahead_s):
    clock, random = ServerClock(), Random(1)
    for _ in range(2000):
        started = random.uniform(0, 60)
        ended = started + random.uniform(0.02, 0.2)
        saw(clock, started, ended, made=random.uniform(started, ended), ahead=ahead_s)
    assert clock.low_s <= ahead_s < clock.high_s
    assert clock.high_s - clock.low_s < 0.2


def test_a_clock_that_was_set_leaves_bounds_that_contradict_each_other():
    clock = ServerClock()
    saw(clock, 0.1, 0.2, made=0.15)
    saw(clock, 5.1, 5.2, made=5.15, ahead=4.0)
    assert clock.low_s > clock.high_s


@pytest.mark.parametrize(
    "headers",
    [{}, {"date": "yesterday"}, {"date": "Sat, 99 Nov 2026 99:00:00 GMT"}, {"date": ""},
     {"date": "Sat, 21 Nov 2026 10:00:00 GMT", "age": "7"}],
)  # fmt: skip
def test_what_names_no_second_of_the_servers_clock_says_nothing(headers):
    clock = ServerClock()
    clock.saw(headers, START, START + 0.1)
    assert clock.as_dict() is None
