"""How far the load fell short of its plan while a worker was gone. Pure: times are arguments, in epoch seconds.

The master notes how many users are planned, and how many each worker says it has. A worker that was killed says nothing
any more, and that is noticed only seconds later: its users count as gone from when it was last heard.

Three workers with 10 users each, one of them last heard at 20 s; at 24 s the others have taken its users over. From 20
to 24 s, 120 user-seconds were planned and 80 delivered: the load fell short by a third for 4 s.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, TypeVar

Worker = TypeVar("Worker")


@dataclass(frozen=True)
class Shortfall:
    """What all workers together offered while one of them was missing."""

    unit: str
    """`user_seconds`, or `arrivals` in the open model."""
    planned: float
    delivered: float
    since: float
    until: float
    """When as many users as planned were there again, or fewer were planned; else the end of the load."""

    @property
    def share(self) -> float:
        """What was missing of what was planned, 0 to 1."""
        return 1 - self.delivered / self.planned

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {
            "unit": self.unit,
            "planned": round(self.planned, 1),
            "delivered": round(self.delivered, 1),
            "share": round(self.share, 4),
            "from": self.since,
            "until": self.until,
        }


@dataclass(frozen=True)
class Gone:
    """A worker that does not take part any more."""

    at: float
    """When it was last heard: what it had said was true until then."""
    noticed_at: float
    """From then on nothing more was asked of it; the end of the load where nobody noticed."""


@dataclass(frozen=True)
class _Note(Generic[Worker]):
    at: float
    planned: int
    users: Mapping[Worker, int]


class Ledger(Generic[Worker]):
    """Planned users and those there were, over one run."""

    def __init__(self, unit: str, amount_until: Callable[[float], float]) -> None:
        """`amount_until`: what one user amounts to up to a time, in the unit; only differences of it count."""
        self._unit = unit
        self._amount_until = amount_until
        self._notes: list[_Note[Worker]] = []
        self._ends_at = 0.0

    def note(self, at: float, planned: int, users: Mapping[Worker, int]) -> None:
        """So many users are planned from `at` on, and so many each worker has. A clock that was set back stands still
        here until it is where it was."""
        self._ends_at = at = max(at, self._ends_at)
        if not self._notes or (self._notes[-1].planned, self._notes[-1].users) != (planned, users):
            self._notes.append(_Note(at, planned, dict(users)))

    def shortfall(self, worker: Worker, gone: Mapping[Worker, Gone]) -> Shortfall | None:
        """What all workers fell short by from when `worker` went; None where they did not.

        `gone`: every worker that has gone, this one among them.
        """
        since = gone[worker].at
        short: Shortfall | None = None
        planned = delivered = 0.0
        times = [note.at for note in self._notes]
        known = (time for one in gone.values() for time in (one.at, one.noticed_at))
        edges = sorted(edge for edge in {self._ends_at, *times, *known} if since <= edge <= self._ends_at)
        for begin, end in pairwise(edges):
            index = bisect_right(times, begin) - 1
            if index < 0:
                continue
            note = self._notes[index]
            there = sum(users for who, users in note.users.items() if who not in gone or begin < gone[who].at)
            amount = self._amount_until(end) - self._amount_until(begin)
            planned += amount * note.planned
            delivered += amount * min(there, note.planned)
            if there < note.planned and delivered < planned:
                short = Shortfall(self._unit, planned, delivered, since, end)
            elif begin >= gone[worker].noticed_at:
                break
        return short
