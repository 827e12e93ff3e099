"""What the master knows of one worker in one run: its rows, whether it is there, how it ended. Time is an argument."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadgen.recording import RowFile
from loadgen.shipping import Batch, Inbox
from loadgen.shortfall import Gone, Shortfall
from runstore.rundir import RunDir
from runstore.spool import recover_rows

logger = logging.getLogger(__name__)

CLOCK_TOLERANCE_S = 0.5
"""Clocks that differ by more are worth a warning."""


@dataclass
class KnownWorker:
    """Times are epoch seconds of the master's clock."""

    index: int
    client_id: str
    file: RowFile
    inbox: Inbox
    seen_at: float
    """When it was last heard."""
    sent_rows: int | None = None
    """Rows it says it sent; None until it has drained."""
    reopened_connections: int = 0
    date_offset: dict[str, Any] | None = None
    """The target's clock against its own, by its `server_clock.ServerClock`."""
    complaints: list[str] = field(default_factory=list)
    """What the worker itself has to complain about."""
    failure: str | None = None
    """Why its users could not send."""
    missed_at: float | None = None
    """When it was noticed that nothing comes from it any more; None while something does."""
    silent_since: float = 0.0
    """When it had been heard last, of one that is missed."""
    silences: list[tuple[float, float]] = field(default_factory=list)
    """From when until when it was not heard, where it was missed and came back."""
    least_delay_s: float = math.inf
    """From sending to receipt of a batch, at best, each by its machine's clock: little but the clocks' difference."""
    left_at: float | None = None
    """When it said that it had stopped, if nobody had asked it to."""

    @property
    def host(self) -> str:
        # Locust makes the id of a worker from its host's name and a UUID.
        return self.client_id.rpartition("_")[0]

    @property
    def settled(self) -> bool:
        return self.sent_rows is not None and self.inbox.rows >= self.sent_rows

    @property
    def gone(self) -> Gone | None:
        """Since when it has taken no part in the run any more; None where it did to the end."""
        if self.left_at is not None:
            return Gone(self.left_at, self.left_at)
        if self.sent_rows is None:
            return Gone(self.seen_at, self.missed_at or math.inf)
        return None

    def receive(self, batch: Batch, sent_at: float, now: float) -> None:
        """Rows came; `sent_at` by the worker's clock."""
        self.seen_at = now
        self.least_delay_s = min(self.least_delay_s, now - sent_at)
        self.inbox.receive(batch)

    def drained(self, told: Mapping[str, Any], now: float) -> None:
        """It has nothing more to send, and tells what it sent (`messages.DRAINED`)."""
        self.seen_at = now
        self.sent_rows = told["rows"]
        self.reopened_connections = told["reopened_connections"]
        self.date_offset = told["date_offset"]
        self.complaints = told["complaints"]
        self.failure = told["failure"]

    def missed(self, now: float) -> None:
        """Nothing comes from it any more."""
        self.missed_at, self.silent_since = now, self.seen_at

    def came_back(self, now: float) -> float:
        """It was missed and is there again; -> for how many seconds it was not heard."""
        self.missed_at = None
        self.silences.append((self.silent_since, now))
        return now - self.silent_since

    def close(self, directory: RunDir, shortfall: Shortfall | None) -> tuple[dict[str, Any], list[str]]:
        """Write what is left; returns the worker's entry in the manifest, and what there is to complain about.

        `shortfall`: of the load, from when it went.
        """
        self.inbox.give_up_waiting()
        self.file.close()
        rows = self.inbox.rows - self.file.lost_rows
        if not self.settled:
            rows += recover_rows(directory, self.index, rows)
        entry = self._entry(rows, shortfall)
        for loss in self._losses(entry, shortfall):
            logger.warning(loss)
        return entry, list(self._warnings())

    @property
    def clock_offset_s(self) -> float | None:
        """By how much its clock is ahead of the master's; None where that is not known, or too little to matter."""
        differs = CLOCK_TOLERANCE_S < abs(self.least_delay_s) < math.inf
        return -self.least_delay_s if differs else None

    def _entry(self, rows: int, shortfall: Shortfall | None) -> dict[str, Any]:
        """See `session.RecordingSession.close_record`."""
        # Of a lost worker it is known only how many there were up to the last batch that came.
        known_rows = self.inbox.known_rows if self.sent_rows is None else self.sent_rows
        found = {
            "dropped": self.file.dropped_arrivals or None,
            "reopened_connections": self.reopened_connections or None,
            "date_offset": self.date_offset,
            "lost_at": self.seen_at if self.sent_rows is None else None,
            "left_at": None if self.sent_rows is None else self.left_at,
            "failed": self.failure,
            "missing_rows": known_rows - rows if rows < known_rows else None,
            "clock_offset_s": None if self.clock_offset_s is None else round(self.clock_offset_s, 3),
            "shortfall": None if shortfall is None else shortfall.as_dict(),
        }
        known = {name: value for name, value in found.items() if value is not None}
        return {"index": self.index, "host": self.host, "rows": rows, **known}

    def _losses(self, entry: Mapping[str, Any], shortfall: Shortfall | None) -> Iterator[str]:
        """What the log says of it; the summary makes sentences of its own of the entry."""
        if "lost_at" in entry:
            yield f"Worker {self.index} was lost: requests of the second before may be missing"
        if "missing_rows" in entry:
            yield f"Worker {self.index}: {entry['missing_rows']} of its rows are missing"
        if shortfall is not None:
            yield (
                f"Without worker {self.index} the load was {shortfall.share:.1%} below the plan for "
                f"{shortfall.until - shortfall.since:.1f} s"
            )

    def _warnings(self) -> Iterator[str]:
        yield from self.file.complaints()
        yield from (f"worker {self.index}: {complaint}" for complaint in self.complaints)
        for since, until in self.silences:
            at = time.strftime("%H:%M:%S UTC", time.gmtime(since))
            yield (
                f"worker {self.index} was not heard for {until - since:.1f} s from {at} on, and came back: there may "
                "have been less load than planned meanwhile, and more once others had taken it over"
            )
        if self.clock_offset_s is not None:
            side = "ahead of" if self.clock_offset_s > 0 else "behind"
            yield (
                f"the clock of worker {self.index} is {abs(self.clock_offset_s):.1f} s {side} the master's, and its "
                "rows go by it"
            )
