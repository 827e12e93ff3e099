"""When requests of the open model are due: arrival times from a rate that changes over time. Pure.

The expected number of arrivals up to a time is the integral of the rate. Even arrivals come where it passes 1, 2, 3,
...; those of a Poisson process where it passes the sums of exponentially distributed gaps with mean 1. So each arrival
time is the inverse of the integral, exact however the rate climbs and falls, and nothing depends on when it is asked.

A rate of 0 to 1 a second over 5 s, 1 s at 1, back to 0 over 5 s: even arrivals at 3.162 (t²/10 = 1), 4.472, 5.5,
6.528, 7.838 and 11 s.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from random import Random

from config.load_curve import RateRamp

_ROUNDING = 1e-9
"""Arrivals: an arrival due at the very end is not lost to a last digit."""

_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


class RateCurve:
    """A rate that is linear between its ramps' ends, with its integral and the inverse of that. Times in seconds."""

    def __init__(self, ramps: Sequence[RateRamp], afterwards: float = 0.0) -> None:
        """`afterwards`: the rate from the end of the last ramp on."""
        self._ramps = [ramp for ramp in ramps if ramp.duration_s > 0]
        self._afterwards = afterwards
        self._begins = [0.0]
        self._amounts = [0.0]
        for ramp in self._ramps:
            self._begins.append(self._begins[-1] + ramp.duration_s)
            self._amounts.append(self._amounts[-1] + ramp.duration_s * (ramp.from_rate + ramp.to_rate) / 2)

    def amount_until(self, at: float) -> float:
        """The integral of the rate from 0 to `at`."""
        index = bisect_right(self._begins, at) - 1
        since = at - self._begins[index]
        if index == len(self._ramps):
            return self._amounts[index] + self._afterwards * since
        ramp = self._ramps[index]
        slope = (ramp.to_rate - ramp.from_rate) / ramp.duration_s
        return self._amounts[index] + since * (ramp.from_rate + slope * since / 2)

    def time_of(self, amount: float) -> float | None:
        """The first time at which the integral reaches `amount`; None where it never does."""
        index = bisect_left(self._amounts, amount - _ROUNDING) - 1
        if index < 0:
            return 0.0
        more = amount - self._amounts[index]
        if index == len(self._ramps):
            return self._begins[index] + more / self._afterwards if self._afterwards else None
        ramp = self._ramps[index]
        slope = (ramp.to_rate - ramp.from_rate) / ramp.duration_s
        # more = from_rate x + slope x² / 2, solved so that nothing cancels and a slope of 0 needs no case of its own.
        root = math.sqrt(max(0.0, ramp.from_rate**2 + 2 * slope * more))
        return self._begins[index] + min(ramp.duration_s, 2 * more / (ramp.from_rate + root))


class ArrivalClock:
    """The arrivals of one process: its number of users times a rate per user that changes over time."""

    def __init__(self, rate_per_user: RateCurve, gap: Callable[[], float], first: float = 1.0) -> None:
        """`gap` gives the next gap between two arrivals, `first` the one before the first, in units of the mean gap."""
        self._curve = rate_per_user
        self._gap = gap
        self._next = first
        self._users = 0
        # Arrivals (a real number) that were due by `_at`, and the curve's integral there.
        self._passed = 0.0
        self._at = 0.0
        self._amount = 0.0

    def set_users(self, users: int, now: float) -> None:
        """From `now` on there are so many users. Arrivals due before must have been taken."""
        amount = self._curve.amount_until(now)
        self._passed += self._users * (amount - self._amount)
        self._users, self._at, self._amount = users, now, amount

    def due(self) -> float | None:
        """When the next arrival is due; None where none is to come."""
        if self._users == 0:
            return None
        missing = self._next - self._passed
        return self._at if missing <= 0 else self._curve.time_of(self._amount + missing / self._users)

    def take(self) -> None:
        """The next arrival has come."""
        self._next += self._gap()


def even_clock(rate_per_user: RateCurve, process: int) -> ArrivalClock:
    """Even arrivals. Processes are out of step with one another, so that those of all together spread evenly too."""
    return ArrivalClock(rate_per_user, lambda: 1.0, first=1.0 - process * _GOLDEN_RATIO % 1.0)


def poisson_clock(rate_per_user: RateCurve, source: Random) -> ArrivalClock:
    """Arrivals of a Poisson process: independent of one another, as those of many people are."""

    def gap() -> float:
        return source.expovariate(1.0)

    return ArrivalClock(rate_per_user, gap, first=gap())
