"""What a pull asks for: whole events, picked by the least of the query language that does it, fields and filter.

One query brings the REPORT lines, error lines and correlation lines of all functions, so that a log is scanned (and on
AWS paid for) once, and few are used of the calls that an account may make in a second. Events come whole and are read
by our own parser: third-party emulators understand little of the language, and the fields that Logs Insights discovers
lack half of what a REPORT says.

The patterns are regular expressions that mean the same to Logs Insights and to DuckDB's RE2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.slices import ENDED, OTHER

REPORT = r'^REPORT RequestId: |"platform\.report"'
"""REPORT lines, as text or JSON."""

ERROR = r'^\[ERROR\] |Task timed out after |^RequestId: |"errorType"|\sERROR\s'
"""What may say that an invocation failed: tracebacks, old-style timeouts and crashes, JSON payloads, Node.js. Whether
it does, the parser decides."""

INIT = r'^INIT_(START|REPORT) |"platform\.init(Start|Report)"'
"""Beginnings of environments, and inits that failed or are always told (SnapStart, provisioned concurrency)."""

CORRELATION = r'swarmscope\\?": ?1'
"""Correlation lines; within a JSON log record their quotes are escaped."""


_REQUEST_ID = r'(RequestId: |"requestI[dD]\\?": ?\\?"|"request_id\\?": ?\\?")'
"""What stands before a request id in an event. One may name several: its own, and that of a call which AWS refused."""
_FIRST_ID = re.compile(_REQUEST_ID + "(?P<digits>[0-9a-f]+)")


@dataclass(frozen=True)
class LogQuery:
    """A query for events of several log groups."""

    name: str
    patterns: Sequence[str]
    """Events that match one of them are asked for; all, where there is none."""
    before_stream_id: str
    """Regular expression of what stands before the id in the name of a log stream."""

    def text(self, request_prefix: str = "", stream_prefix: str = "") -> str:
        """The query; with prefixes, for events whose ids begin with those hex digits (see `analysis.slices`)."""
        lines = ["fields @timestamp, @log, @logStream, @message"]
        if self.patterns:
            lines.append(f"filter @message like /{'|'.join(self.patterns)}/")
        lines += _filter("@message", _REQUEST_ID, request_prefix)
        lines += _filter("@logStream", self.before_stream_id, stream_prefix)
        return " | ".join(lines)


def _filter(field: str, before_id: str, prefix: str) -> list[str]:
    if prefix == OTHER:
        return [f"filter {field} not like /{before_id}[0-9a-f]/"]
    digits = prefix.replace(ENDED, "([^0-9a-f]|$)")
    return [f"filter {field} like /{before_id}{digits}/"] if prefix else []


def belongs(message: str, request_prefix: str) -> bool:
    """Whether an event that a query with the prefix found is in that part: one that names several request ids is found
    by the prefix of each, and belongs to the first."""
    if not request_prefix:
        return True
    first = _FIRST_ID.search(message)
    return (first["digits"] + ENDED if first else OTHER).startswith(request_prefix)


EVENTS = LogQuery("events", (REPORT, ERROR, INIT, CORRELATION), before_stream_id=r"\]")
"""Of functions, whose streams are `2026/11/21/[$LATEST]<32 hex>`, one per execution environment."""

ACCESS = LogQuery("access", (), before_stream_id="^")
"""Of an API's access log, whose streams are 32 hex digits."""

EVENTS_PER_REQUEST = 4
"""To be expected: a REPORT and a correlation line each of two functions. More make a query's answer longer than planned
and leave it below its limit."""
