"""When work that is not a request's own holds up no arrival of the open model: right after one, before the next."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

from gevent.event import Event

LONG_ENOUGH_S = 0.25e-3
"""What one piece of such work takes, on a slow machine, or less."""
PATIENCE_S = 0.005
"""Arrivals may be so close to one another that there is no lull: then the work is done all the same."""


class Lulls:
    """The lulls of one process in one run. Where nobody tells of any, as in the closed model, it is always one."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._begins_at, self._ends_at = -math.inf, math.inf
        self._waiting: deque[Event] = deque()

    def announce(self, begins_at: float, ends_at: float) -> None:
        """From `begins_at` to `ends_at` (by the clock) nothing is due. One of those that wait gets it, in this turn of
        the loop, after all that was to run before."""
        self._begins_at, self._ends_at = begins_at, ends_at
        if self._waiting and ends_at - begins_at >= LONG_ENOUGH_S:
            self._waiting.popleft().set()

    def wait(self) -> None:
        """Return where a piece of work may begin; after PATIENCE_S at the latest."""
        now = self._clock()
        if self._begins_at <= now and self._ends_at - now >= LONG_ENOUGH_S:
            return
        turn = Event()
        self._waiting.append(turn)
        try:
            turn.wait(PATIENCE_S)
        finally:
            with suppress(ValueError):
                self._waiting.remove(turn)
