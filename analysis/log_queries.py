"""What a pull asks for: whole events, picked by the least of the query language that does it, fields and filter.

One query per log group brings its REPORT lines, its error lines and its correlation lines, so that a log is scanned
(and on AWS paid for) once. Events come whole and are read by our own parser: third-party emulators understand little of
the language, and the fields that Logs Insights discovers lack half of what a REPORT says.

The patterns are regular expressions that mean the same to Logs Insights and to DuckDB's RE2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.slices import OTHER

REPORT = r'^REPORT RequestId: |"platform\.report"'
"""REPORT lines, as text or JSON."""

ERROR = r'^\[ERROR\] |Task timed out after |^RequestId: |"errorType"|\sERROR\s'
"""What may say that an invocation failed: tracebacks, old-style timeouts and crashes, JSON payloads, Node.js. Whether
it does, the parser decides."""

CORRELATION = r'swarmscope\\?": ?1'
"""Correlation lines; within a JSON log record their quotes are escaped."""


@dataclass(frozen=True)
class LogQuery:
    """A query for events of one log group."""

    name: str
    patterns: Sequence[str]
    """Events that match one of them are asked for; all, where there is none."""
    before_id: str
    """Regular expression of what stands before the id in the name of a log stream."""

    def text(self, prefix: str = "") -> str:
        """The query; with `prefix`, for log streams whose id begins with those hex digits (see `analysis.slices`)."""
        lines = ["fields @timestamp, @logStream, @message"]
        if self.patterns:
            lines.append(f"filter @message like /{'|'.join(self.patterns)}/")
        if prefix == OTHER:
            lines.append(f"filter @logStream not like /{self.before_id}[0-9a-f]/")
        elif prefix:
            lines.append(f"filter @logStream like /{self.before_id}{prefix}/")
        return " | ".join(lines)


EVENTS = LogQuery("events", (REPORT, ERROR, CORRELATION), before_id=r"\]")
"""Of a function, whose streams are `2026/11/21/[$LATEST]<32 hex>`, one per execution environment."""

ACCESS = LogQuery("access", (), before_id="^")
"""Of an API's access log, whose streams are 32 hex digits."""

EVENTS_PER_INVOCATION = 2
"""To be expected: a REPORT and a correlation line."""
