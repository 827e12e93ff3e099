"""Housekeeping waits until no arrival is near, but not for ever. Times in seconds, of a clock that stands still."""

from __future__ import annotations

import math

import gevent
import pytest

from loadgen import lulls
from loadgen.lulls import Lulls

NOW = 10.0


@pytest.fixture
def at_ten() -> Lulls:
    return Lulls(lambda: NOW)


@pytest.fixture
def _patient(monkeypatch):
    monkeypatch.setattr(lulls, "PATIENCE_S", 60.0)


def waiting(moments: Lulls) -> gevent.Greenlet:
    """A greenlet that waits for a lull."""
    greenlet = gevent.spawn(moments.wait)
    gevent.sleep(0)
    return greenlet


@pytest.mark.usefixtures("_patient")
def test_where_nothing_is_announced_it_is_always_a_lull(at_ten):
    assert waiting(at_ten).dead


@pytest.mark.usefixtures("_patient")
def test_lull_that_goes_on_long_enough_is_taken_at_once(at_ten):
    at_ten.announce(NOW - 0.1, NOW + 0.1)
    assert waiting(at_ten).dead


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize(
    ("begins_at", "ends_at"),
    [
        pytest.param(NOW - 0.1, NOW + 0.0001, id="nearly over"),
        pytest.param(NOW + 0.0001, NOW + 0.1, id="an arrival comes first"),
        pytest.param(NOW - 0.2, NOW - 0.1, id="arrivals are overdue"),
    ],
)
def test_next_lull_is_waited_for(at_ten, begins_at, ends_at):
    at_ten.announce(begins_at, ends_at)
    greenlet = waiting(at_ten)
    assert not greenlet.dead
    at_ten.announce(NOW, NOW + 0.0001)
    gevent.sleep(0)
    assert not greenlet.dead, "too short"
    at_ten.announce(NOW + 0.0001, math.inf)
    greenlet.join(5)
    assert greenlet.dead


@pytest.mark.usefixtures("_patient")
def test_each_lull_is_for_one(at_ten):
    at_ten.announce(NOW - 0.2, NOW - 0.1)
    first, second = waiting(at_ten), waiting(at_ten)
    at_ten.announce(NOW + 0.1, NOW + 0.2)
    first.join(5)
    gevent.sleep(0)
    assert (first.dead, second.dead) == (True, False)
    second.kill()


@pytest.mark.usefixtures("_patient")
def test_who_was_killed_takes_no_lull(at_ten):
    at_ten.announce(NOW - 0.2, NOW - 0.1)
    first, second = waiting(at_ten), waiting(at_ten)
    first.kill()
    at_ten.announce(NOW + 0.1, NOW + 0.2)
    second.join(5)
    assert second.dead


def test_work_is_done_even_where_there_is_no_lull(at_ten, monkeypatch):
    monkeypatch.setattr(lulls, "PATIENCE_S", 0.001)
    at_ten.announce(NOW - 0.2, NOW - 0.1)
    greenlet = gevent.spawn(at_ten.wait)
    greenlet.join(5)
    assert greenlet.dead
