"""What is wrong with a query."""

from __future__ import annotations


class MalformedQuery(Exception):
    """The text is no query of the supported subset. `start` and `end` are character offsets into it."""

    def __init__(self, message: str, start: int = 0, end: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = start if end is None else end


class QueryFailed(Exception):
    """A sound query that could not be carried out on these events."""
