"""The moment at which the arrivals of all workers begin: late enough that all of them are ready.

A worker says that it is ready; once all that were there when the test started are, or the limit is over, each is told
how long ago the arrivals began, by the master's clock alone. Who was late has missed arrivals, and who joined has not:
until then they were others'. Pure: times are seconds of the master's monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

WAIT_S = 2.0
"""For a worker that is not ready, from when the first was."""


class Begin(NamedTuple):
    """What one worker is told."""

    worker: str
    elapsed_s: float
    """Since the arrivals of the run began."""
    joined: bool
    """Whether it was not there when the test started."""


class StartingLine:
    """Of one run."""

    def __init__(self, expected: Iterable[str]) -> None:
        """`expected`: the workers that are there when the test starts."""
        self.began_at: float | None = None
        self._expected = frozenset(expected)
        self._first_ready_at: float | None = None
        self._waiting: set[str] = set()

    def ready(self, worker: str, now: float) -> None:
        """A worker waits to begin; said again where it has heard nothing."""
        self._waiting.add(worker)
        if self._first_ready_at is None:
            self._first_ready_at = now

    def begin(self, now: float) -> list[Begin]:
        """Those that wait and may begin now."""
        if self._first_ready_at is None:
            return []
        if self.began_at is None:
            if not self._expected <= self._waiting and now - self._first_ready_at < WAIT_S:
                return []
            self.began_at = now
        told, self._waiting = self._waiting, set()
        return [Begin(worker, now - self.began_at, worker not in self._expected) for worker in sorted(told)]
