"""What was planned while a worker was gone, and what there was."""

from __future__ import annotations

import pytest

from loadgen.shortfall import Gone, Ledger


def ledger(*notes: tuple[float, int, dict[str, int]]) -> Ledger[str]:
    """User-seconds; notes are (from when on, users planned, users by worker)."""
    made: Ledger[str] = Ledger("user_seconds", lambda at: at)
    for at, planned, users in notes:
        made.note(at, planned, users)
    return made


THREE = {"a": 10, "b": 10, "c": 10}


def test_users_of_a_lost_worker_are_missing_from_when_it_was_last_heard_until_others_have_them():
    took_over = ledger((0, 30, THREE), (24, 30, {"a": 15, "c": 15}), (60, 0, {}))
    short = took_over.shortfall("b", {"b": Gone(20, 24)})
    assert short is not None
    assert short.as_dict() == {
        "unit": "user_seconds",
        "planned": 120.0,
        "delivered": 80.0,
        "share": 0.3333,
        "from": 20,
        "until": 24,
    }


def test_without_rebalancing_they_are_missing_to_the_end():
    short = ledger((0, 30, THREE), (24, 30, {"a": 10, "c": 10}), (60, 0, {})).shortfall("b", {"b": Gone(20, 24)})
    assert short is not None
    assert (short.planned, short.delivered, short.until) == (1200, 800, 60)


def test_load_that_has_ended_lacks_nothing():
    assert ledger((0, 30, THREE), (19, 0, {})).shortfall("b", {"b": Gone(20, 24)}) is None


def test_worker_that_is_lost_while_nobody_looks_any_more_lacks_until_the_end():
    made = ledger((0, 30, THREE))
    made.note(22, 30, THREE)
    short = made.shortfall("b", {"b": Gone(20, 99)})
    assert short is not None
    assert (short.planned, short.delivered, short.until) == (60, 40, 22)


def test_two_lost_one_after_the_other_each_see_what_was_missing_of_all():
    made = ledger((0, 30, THREE), (24, 30, {"a": 15, "c": 15}), (26, 30, {"a": 30}), (60, 0, {}))
    gone = {"b": Gone(20, 24), "c": Gone(22, 26)}
    first, second = made.shortfall("b", gone), made.shortfall("c", gone)
    assert first is not None
    assert second is not None
    # 20..22 s: 20 of 30; 22..24 s: 10 of 30; 24..26 s: 15 of 30; then all again.
    assert (first.delivered, first.until) == (40 + 20 + 30, 26)
    assert (second.delivered, second.until) == (20 + 30, 26)


def test_worker_killed_before_it_had_users_lacks_those_that_are_given_to_it():
    ramp = ledger((0, 0, {}), (5, 20, {"a": 10}), (9, 20, {"a": 20}), (30, 0, {}))
    short = ramp.shortfall("b", {"b": Gone(4, 9)})
    assert short is not None
    assert (short.planned, short.delivered, short.until) == (80, 40, 9)


def test_more_users_than_planned_make_up_for_nothing():
    falling = ledger((0, 30, THREE), (21, 12, THREE), (60, 0, {}))
    short = falling.shortfall("b", {"b": Gone(20, 24)})
    assert short is not None
    assert (short.planned, short.delivered, short.until) == (30, 20, 21)


def test_arrivals_are_weighed_by_the_rate_at_the_time():
    made: Ledger[str] = Ledger("arrivals", lambda at: at**2)
    made.note(0, 2, {"a": 1, "b": 1})
    made.note(10, 0, {})
    short = made.shortfall("b", {"b": Gone(6, 99)})
    assert short is not None
    assert short.planned == pytest.approx(2 * (100 - 36))
    assert short.share == pytest.approx(0.5)


def test_a_clock_that_is_set_back_stands_still_meanwhile():
    made = ledger((0, 30, THREE), (24, 30, {"a": 15, "c": 15}), (14, 20, {"a": 10, "c": 10}), (60, 0, {}))
    short = made.shortfall("b", {"b": Gone(20, 24)})
    assert short is not None
    assert (short.planned, short.delivered, short.until) == (120, 80, 24)


def test_a_load_that_ends_before_the_loss_is_noticed_was_short_until_its_end_only():
    short = ledger((0, 30, THREE), (21, 0, THREE), (25, 0, {})).shortfall("b", {"b": Gone(20, 24)})
    assert short is not None
    assert (short.planned, short.delivered, short.until) == (30, 20, 21)
