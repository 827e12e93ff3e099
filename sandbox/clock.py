"""Time as the sandbox sees it: one scheduler interface, two implementations.

Everything in the sandbox that waits (an invocation that takes 200 ms, a retry after a minute, a log line that
becomes visible late) asks a `Scheduler`. The server runs on `LoopScheduler`, which is the event loop's own timer
wheel; tests and virtual-time experiments run the very same code on `VirtualScheduler`, where an hour takes as long
as the work in it.

All instants are epoch seconds (float), so that they can go into log lines, headers and metrics unchanged.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol


class Scheduler(Protocol):
    """A clock with an alarm."""

    def now(self) -> float:
        """The present instant, epoch seconds."""
        ...

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Run `action` at `when` (epoch seconds), or as soon as possible where that is past."""
        ...


_HALF_A_TICK_S = 0.0005
"""Of uvloop's timers, which know whole milliseconds."""


class LoopScheduler:
    """The real clock: an asyncio event loop's timers.

    `now` follows the wall clock as it stood at the start plus the monotonic time since, so that a clock step during
    a run cannot turn a duration negative. It is not the loop's own time, which is the same clock but cut to whole
    milliseconds, and as old as the loop's last look: requests would seem to arrive before they were sent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return time.monotonic() + self._offset

    def at(self, when: float, action: Callable[[], None]) -> None:
        # Rounded to the nearest millisecond, an alarm might ring before its time, and whoever set it find it too early.
        self._loop.call_at(when - self._offset + _HALF_A_TICK_S, action)


class VirtualScheduler:
    """A clock that moves only when told to; actions at the same instant run in the order they were asked for."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (max(when, self._now), next(self._order), action))

    def run_until(self, when: float) -> None:
        """Run every action due at or before `when`, then stand at `when`."""
        while self._queue and self._queue[0][0] <= when:
            self._now, _, action = heapq.heappop(self._queue)
            action()
        self._now = max(self._now, when)

    def run_all(self) -> None:
        """Run until nothing is left to do. Never returns while an action keeps asking for another."""
        while self._queue:
            self._now, _, action = heapq.heappop(self._queue)
            action()
