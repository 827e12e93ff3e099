"""What a failure is called in Locust's statistics, which keep every name that they ever heard, on the master too.

The message of an exception is the function's own, and may differ with every request: its ids, times and numbers are
masked there (`no vote 4711` is `no vote <n>`), and beyond MOST_NAMES different ones of a process the rest share a name.
The rows keep the text as it was.
"""

from __future__ import annotations

import re

from loadgen.checks import FUNCTION_ERROR

MOST_NAMES = 500
OTHERS = f"another failure: {MOST_NAMES} different ones are told apart, the rows have them all"

_VARYING = (
    (
        re.compile(
            r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b1-[0-9a-f]{8}-[0-9a-f]{24}\b|\b[0-9a-f]{16,}\b"
            # A time, and a word in which letters and digits take turns twice.
            r"|\b\d{4}-\d\d-\d\dT[\d:.]+Z|\b(?:[a-z_]+\d+){2,}[a-z_]*\b|\b(?:\d+[a-z_]+){2,}\d*\b",
            re.IGNORECASE,
        ),
        "<id>",
    ),
    (re.compile(r"\d+(?:[.,]\d+)*"), "<n>"),
)


class FailureNames:
    """The names of one process in one run."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def name_of(self, error: str) -> str:
        """`error` as in the request's row."""
        if error.startswith(FUNCTION_ERROR):
            for pattern, mask in _VARYING:
                error = pattern.sub(mask, error)
        if error not in self._known:
            if len(self._known) == MOST_NAMES:
                return OTHERS
            self._known.add(error)
        return error
