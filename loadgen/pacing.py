"""When a user of the closed model sends its next request."""

from __future__ import annotations


class Pacer:
    """One request every `interval_s`, start to start. Pure: the clock is an argument, in seconds, monotonic.

    Starts lie on a grid, so that small delays do not add up. Where an answer takes longer than the interval, the next
    request starts at once; once that is a whole interval late, the grid begins anew there. Slots that were missed are
    not caught up: a burst after every slow answer would be load that nobody asked for.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due: float | None = None

    def schedule_first(self, at: float) -> None:
        """The first start is planned for `at`."""
        self._due = at

    def started(self, now: float) -> float:
        """A request starts `now`: returns when it was planned, and plans the next one."""
        planned = now if self._due is None else self._due
        late = now - planned >= self._interval_s
        self._due = (now if late else planned) + self._interval_s
        return planned

    def wait_s(self, now: float) -> float:
        """Seconds until the next start; 0 where it is due."""
        return 0.0 if self._due is None else max(0.0, self._due - now)
