"""Time as the sandbox sees it: one scheduler interface, two implementations.

Everything in the sandbox that waits (an invocation that takes 200 ms, a retry after a minute, a log line that
becomes visible late) asks a `Scheduler`. The server runs on `LoopScheduler`, which rings by the event loop's timers;
tests and virtual-time experiments run the very same code on `VirtualScheduler`, where an hour takes as long as the
work in it.

All instants are epoch seconds (float), so that they can go into log lines, headers and metrics unchanged.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
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

    def catch_up(self) -> None:
        """Run now what is overdue, in the order of time: for whoever asks what the world is like at this moment."""
        ...


_HALF_A_TICK_S = 0.0005
"""Of uvloop's timers, which know whole milliseconds."""


def _epoch_of_the_monotonic_clock() -> float:
    """When the monotonic clock stood at nothing, epoch seconds.

    Who has to wait for the processor between the looks at the two clocks finds it earlier than it was: of several
    answers the latest is right.
    """
    return max(time.time() - time.monotonic() for _ in range(10))


class LoopScheduler:
    """The real clock: an asyncio event loop's timers.

    `now` follows the wall clock as it stood at the start plus the monotonic time since, so that a clock step during
    a run cannot turn a duration negative. It is not the loop's own time, which is the same clock but cut to whole
    milliseconds, and as old as the loop's last look: requests would seem to arrive before they were sent.

    Actions wait in a queue of our own, with one timer of the loop for the first of them. A loop with a hundred requests
    to read looks at no timer until it has read them all: whoever needs to know what ended meanwhile calls `catch_up`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._offset = _epoch_of_the_monotonic_clock()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._catching_up = False

    def now(self) -> float:
        return time.monotonic() + self._offset

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._order), action))
        if when < self._alarm_at and not self._catching_up:
            self._set_alarm()

    def catch_up(self) -> None:
        # An action that asks for it is a part of the catching up that goes on.
        if self._catching_up or not self._queue or self._queue[0][0] > (now := self.now()):
            return
        self._catching_up = True
        try:
            # No more than there are now: actions may add others that are overdue, and these others again.
            for _ in range(len(self._queue)):
                if not self._queue or self._queue[0][0] > now:
                    break
                self._run(heapq.heappop(self._queue)[2])
        finally:
            self._catching_up = False

    def _run(self, action: Callable[[], None]) -> None:
        """As the loop would: an action that fails keeps no other from running, least of all who caught up with it."""
        try:
            action()
        except Exception as failure:  # noqa: BLE001 -- see above
            self._loop.call_exception_handler({"message": f"scheduled {action!r} failed", "exception": failure})

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        self.catch_up()
        if self._queue:
            self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = self._queue[0][0]
        # Rounded to the nearest millisecond, an alarm might ring before its time, and find nothing due.
        self._alarm = self._loop.call_at(self._alarm_at - self._offset + _HALF_A_TICK_S, self._ring)


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

    def catch_up(self) -> None:
        """Nothing: this clock is never late."""

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
