"""Arrival times by arithmetic that a reader can redo. Rates per second, times in seconds."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from statistics import mean, pstdev

import pytest

from config.load_curve import RateRamp
from loadgen.arrivals import ArrivalClock, RateCurve, even_clock, poisson_clock

UP_HOLD_DOWN = (RateRamp(5, 0, 1), RateRamp(1, 1, 1), RateRamp(5, 1, 0))


def all_of(clock: ArrivalClock, until: float = 1e9) -> list[float]:
    times = []
    while (due := clock.due()) is not None and due <= until:
        times.append(due)
        clock.take()
    return times


def even(*ramps: RateRamp, users: int = 1, afterwards: float = 0.0) -> ArrivalClock:
    clock = even_clock(RateCurve(ramps, afterwards), process=0)
    clock.set_users(users, 0.0)
    return clock


def test_even_arrivals_of_a_rate_that_climbs_holds_and_falls():
    expected = [10**0.5, 20**0.5, 5.5, 6 + 5 - 20**0.5, 6 + 5 - 10**0.5, 11.0]
    assert all_of(even(*UP_HOLD_DOWN)) == pytest.approx(expected)


def test_constant_rate_is_a_grid():
    assert all_of(even(RateRamp(2, 4, 4))) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0])


def test_rate_of_zero_in_between_holds_arrivals_back():
    ramps = (RateRamp(1, 1.5, 1.5), RateRamp(10, 0, 0), RateRamp(1, 1, 1))
    assert all_of(even(*ramps)) == pytest.approx([2 / 3, 11.5])


def test_rate_that_holds_for_ever_never_ends():
    assert all_of(even(afterwards=2.0), until=3.0) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5, 3.0])


@pytest.mark.parametrize("at", [0.0, 2.5, 5.0, 5.5, 6.0, 9.0, 11.0])
def test_time_of_an_amount_is_the_inverse_of_the_amount_until_a_time(at):
    curve = RateCurve(UP_HOLD_DOWN)
    assert curve.time_of(curve.amount_until(at)) == pytest.approx(at)


def test_amount_that_is_never_reached_has_no_time():
    assert RateCurve(UP_HOLD_DOWN).time_of(6.001) is None
    assert RateCurve(UP_HOLD_DOWN).amount_until(100.0) == pytest.approx(6.0)


def test_long_steep_ramp_keeps_its_count():
    assert len(all_of(even(RateRamp(60, 0, 2000)))) == 60_000


def test_users_multiply_the_rate():
    assert all_of(even(RateRamp(1, 2, 2), users=2)) == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_change_of_users_changes_the_rate_and_keeps_what_was_on_its_way():
    clock = even(afterwards=1.0)
    clock.set_users(2, 0.5)
    assert all_of(clock, until=2.0) == pytest.approx([0.75, 1.25, 1.75]), "half an arrival had passed"


def test_without_users_nothing_is_due_and_time_that_passes_is_not_made_up_for():
    clock = even(afterwards=1.0)
    clock.set_users(0, 0.25)
    assert clock.due() is None
    clock.set_users(1, 100.25)
    assert clock.due() == pytest.approx(101.0)


def test_processes_together_offer_the_rate_of_all_their_users():
    curve = RateCurve((RateRamp(10, 1, 1),))
    times = []
    for process, users in enumerate((4, 3, 3)):
        clock = even_clock(curve, process)
        clock.set_users(users, 0.0)
        times += all_of(clock)
    assert len(times) == pytest.approx(100, abs=1)


def test_processes_do_not_march_in_step():
    firsts = []
    for process in range(4):
        clock = even_clock(RateCurve((), 1.0), process)
        clock.set_users(1, 0.0)
        firsts.append(clock.due())
    assert min(b - a for a, b in pairwise(sorted(firsts))) > 0.1


def test_poisson_gaps_are_exponential():
    clock = poisson_clock(RateCurve((), 100.0), Random(1))
    clock.set_users(1, 0.0)
    gaps = [b - a for a, b in pairwise(all_of(clock, until=100.0))]
    assert mean(gaps) == pytest.approx(0.01, rel=0.05)
    assert pstdev(gaps) / mean(gaps) == pytest.approx(1.0, abs=0.05)
    assert sum(gap > 0.01 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.02), "1/e"


def test_poisson_arrivals_of_one_seed_are_the_same():
    def first_ten() -> list[float | None]:
        clock = poisson_clock(RateCurve((), 1.0), Random(7))
        clock.set_users(1, 0.0)
        return [(clock.due(), clock.take())[0] for _ in range(10)]

    assert first_ten() == first_ten()
