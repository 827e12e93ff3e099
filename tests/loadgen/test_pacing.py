"""Start to start, on a grid, without catching up. Times in seconds, by arithmetic."""

from __future__ import annotations

import pytest

from loadgen.pacing import Pacer


def test_starts_lie_on_the_grid_of_the_first():
    pacer = Pacer(0.5)
    pacer.schedule_first(10.2)
    planned = [pacer.started(start) for start in (10.2, 10.7, 11.2, 11.7)]
    assert planned == pytest.approx([10.2, 10.7, 11.2, 11.7])


def test_small_delays_do_not_add_up():
    pacer = Pacer(1.0)
    pacer.schedule_first(0.0)
    assert [pacer.started(start) for start in (0.01, 1.02, 2.03)] == [0.0, 1.0, 2.0]
    assert pacer.wait_s(2.5) == pytest.approx(0.5)


def test_slow_answer_delays_the_next_start_and_moves_the_grid_without_catching_up():
    pacer = Pacer(1.0)
    pacer.schedule_first(0.0)
    pacer.started(0.0)
    assert pacer.wait_s(3.4) == 0.0
    assert pacer.started(3.4) == 1.0, "planned long ago: the lag is in the record"
    assert pacer.wait_s(3.4) == pytest.approx(1.0)
    assert pacer.started(4.4) == pytest.approx(4.4)


def test_answer_a_little_late_keeps_the_grid():
    pacer = Pacer(1.0)
    pacer.schedule_first(0.0)
    pacer.started(0.0)
    assert pacer.started(1.3) == 1.0
    assert pacer.wait_s(1.3) == pytest.approx(0.7)


def test_first_start_without_a_plan_is_its_own_plan():
    pacer = Pacer(1.0)
    assert pacer.wait_s(5.0) == 0.0
    assert pacer.started(5.0) == 5.0
    assert pacer.wait_s(5.25) == pytest.approx(0.75)


def test_offered_rate_holds_with_answers_quicker_than_the_interval():
    pacer, now, starts = Pacer(0.96), 0.0, []
    pacer.schedule_first(0.3)
    while now < 96.0:
        now += pacer.wait_s(now)
        pacer.started(now)
        starts.append(now)
        now += 0.2
    assert sum(start < 96.0 for start in starts) == 100
