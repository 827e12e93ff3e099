"""How far the servers' clock is ahead of this process's, by the Date header of their answers.

An answer's Date is the second of the server's clock in which the answer was made (RFC 9110, 6.6.1): between the start
of the request and the end of the answer, by our clock. With the server's clock ahead by `offset`, each answer says

    date - ended_at <= offset < date + 1 s - started_at

One answer leaves more than a second open. Many do not: those that were made just after a second began and just before
it ended bound the offset by little more than a round trip.

Not for servers that round the second or remember it for a while. Answers out of a cache (those that have an Age) carry
the date at which they were put there, and are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import inf
from typing import Any


class ServerClock:
    """The bounds of one process, narrowed with each answer."""

    def __init__(self) -> None:
        self.answers = 0
        self.low_s = -inf
        self.high_s = inf
        self._date = ""
        self._second: int | None = None

    def saw(self, headers: Mapping[str, str], started_at: float, ended_at: float) -> None:
        """An answer has come; `headers` with lower-case names, times in epoch seconds by our clock."""
        date = headers.get("date")
        if date is None or "age" in headers:
            return
        if date != self._date:  # once a second
            self._date, self._second = date, _epoch(date)
        second = self._second
        if second is None:
            return
        self.answers += 1
        if second - ended_at > self.low_s:
            self.low_s = second - ended_at
        if second + 1.0 - started_at < self.high_s:
            self.high_s = second + 1.0 - started_at

    def as_dict(self) -> dict[str, Any] | None:
        """The manifest's `date_offset` of a worker, None where no answer had a date: `answers`, `low_s`, `high_s`.

        `low_s` above `high_s`: the clocks did not keep step, or the dates are no such seconds.
        """
        if not self.answers:
            return None
        return {"answers": self.answers, "low_s": round(self.low_s, 6), "high_s": round(self.high_s, 6)}


def _epoch(date: str) -> int | None:
    """`Sat, 21 Nov 2026 10:00:00 GMT` -> epoch seconds; None for what is no date."""
    try:
        at = parsedate_to_datetime(date)
    except (OverflowError, ValueError):
        return None
    return None if at.tzinfo is None else int(at.timestamp())
