"""The row-level queries of a pull, in the least of the query language that does it: fields and filter.

Whole events are fetched and read by our own parser: third-party emulators understand little of the language, and the
fields that Logs Insights discovers lack half of what a REPORT says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.slices import OTHER

_FIELDS = "fields @timestamp, @logStream, @message"
_ANY_DIGIT = "[0-9a-fA-F]"


@dataclass(frozen=True)
class LogQuery:
    """A query for the events of one kind in a function's log group, or in the API's access log."""

    name: str
    filters: Sequence[str]
    id_field: str
    """The field in which the id stands by which a crowded second is cut."""
    id_lead: str
    """Regular expression of what stands right before that id."""

    def text(self, prefix: str = "") -> str:
        """The query, limited to ids that begin with `prefix` (see `analysis.slices`)."""
        lines = [_FIELDS, *(f"filter {condition}" for condition in self.filters)]
        if prefix == OTHER:
            lines.append(f"filter {self.id_field} not like /{self.id_lead}{_ANY_DIGIT}/")
        elif prefix:
            digits = "".join(digit if digit.isdigit() else f"[{digit}{digit.upper()}]" for digit in prefix)
            lines.append(f"filter {self.id_field} like /{self.id_lead}{digits}/")
        return " | ".join(lines)


_STREAM_LEAD = r"(^|\])"
"""A function's streams are `2026/11/21/[$LATEST]<32 hex>`, one per execution environment; the access log's are hex."""

REPORTS = LogQuery(
    "reports",
    [r'@message like /^REPORT RequestId: |"platform\.report"/'],
    "@message",
    r'(RequestId: |"requestId": ?")',
)
ERRORS = LogQuery(
    "errors",
    # Python and JSON tracebacks, old-style timeouts, old-style crashes, Node.js; the parser decides what they are
    [r'@message like /^\[ERROR\] |Task timed out after |^RequestId: |"errorType"|\sERROR\s/'],
    "@logStream",
    _STREAM_LEAD,
)
CORRELATIONS = LogQuery(
    "correlations",
    # also as a string within a JSON log record, where its quotes are escaped
    [r'@message like /swarmscope\\?": ?1/'],
    "@logStream",
    _STREAM_LEAD,
)
ACCESS = LogQuery("access", [], "@logStream", _STREAM_LEAD)

FUNCTION_QUERIES = (REPORTS, ERRORS, CORRELATIONS)
