"""Ends waits that take too long: one timer for all connections of a process, where one per wait would be dear.

The timer stands at the earliest deadline known. A wait that begins costs a comparison; connections are looked at only
when that deadline has come, which for time-outs of 30 s is twice a minute.
"""

from __future__ import annotations

from math import inf
from time import perf_counter
from typing import Protocol
from weakref import WeakKeyDictionary, WeakSet

from gevent.hub import Hub

_LATE_S = 0.001
"""The loop's clock and ours differ by less."""


class Waiting(Protocol):
    """Something that may be waiting."""

    deadline: float
    """`perf_counter` seconds; infinite while it is not waiting."""

    def overdue(self) -> None:
        """Called in the hub once the deadline has passed: must end the wait."""


class Watchdog:
    """The waits of one hub."""

    def __init__(self, hub: Hub) -> None:
        self.looks_at = inf
        """When the connections are looked at next."""
        self._watched: WeakSet[Waiting] = WeakSet()
        self._timer = hub.loop.timer(0.0, ref=False)
        self._loop = hub.loop

    def watch(self, waiting: Waiting) -> None:
        """For as long as it lives."""
        self._watched.add(waiting)

    def look_at(self, deadline: float) -> None:
        """Whoever is watched and begins to wait for less than `looks_at` says so."""
        self.looks_at = deadline
        self._timer.stop()
        self._timer = self._loop.timer(max(0.0, deadline - perf_counter()) + _LATE_S, ref=False)
        self._timer.start(self._look)

    def _look(self) -> None:
        self.looks_at = inf
        now = perf_counter()
        for waiting in list(self._watched):
            if waiting.deadline <= now:
                waiting.overdue()
        earliest = min((waiting.deadline for waiting in self._watched), default=inf)
        if earliest < self.looks_at:
            self.look_at(earliest)


_WATCHDOGS: WeakKeyDictionary[Hub, Watchdog] = WeakKeyDictionary()


def watchdog_of(hub: Hub) -> Watchdog:
    """The one watchdog of a hub."""
    watchdog = _WATCHDOGS.get(hub)
    if watchdog is None:
        watchdog = _WATCHDOGS[hub] = Watchdog(hub)
    return watchdog
