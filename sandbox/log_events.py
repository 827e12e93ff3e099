"""Log events read without a query: the `events` relation of a time window, and what lists it plainly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.insights.values import text_literal
from sandbox.logs import Snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Window:
    """Which events a query reads: groups, event times (both ends inclusive), and what was visible when."""

    groups: tuple[str, ...]
    start_ms: int
    end_ms: int
    visible_ms: int


def show_events(cursor: DuckDBPyConnection, snapshot: Snapshot, window: Window) -> None:
    """Make `events` mean the events of the window."""
    cursor.register("tail_events", snapshot.tail())
    groups = ", ".join(text_literal(group) for group in window.groups)
    visible = (
        f"WHERE log_group IN ({groups}) AND at_ms BETWEEN {window.start_ms} AND {window.end_ms}"
        f" AND ingested_ms <= {window.visible_ms}"
    )
    parts = [f"SELECT * FROM tail_events {visible}"]
    if snapshot.segments:
        paths = ", ".join(map(text_literal, snapshot.paths))
        parts.append(f"SELECT * FROM read_parquet([{paths}]) {visible}")
    cursor.execute("CREATE OR REPLACE TEMP VIEW events AS " + " UNION ALL ".join(parts))


@dataclass(frozen=True)
class LogEvent:
    seq: int
    stream: str
    at_ms: int
    ingested_ms: int
    size: int
    message: str


@dataclass(frozen=True)
class LogStream:
    name: str
    events: int
    first_ms: int
    last_ms: int
    last_ingested_ms: int


@dataclass(frozen=True)
class FilterPattern:
    """Terms that must all, must in part, and must not be in a message."""

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    @classmethod
    def read(cls, pattern: str) -> FilterPattern:
        """From CloudWatch's notation: all terms that stand alone, any of those with `?`, none of those with `-`;
        phrases are quoted. Raises ValueError for patterns of JSON, of space-delimited events, and of regular
        expressions (AWS documentation, "Filter pattern syntax")."""
        pattern = pattern.strip()
        if pattern[:1] in ("{", "[", "%"):
            raise ValueError("The sandbox knows filter patterns of terms only")
        terms: dict[str, list[str]] = {"": [], "?": [], "-": []}
        at = 0
        while at < len(pattern):
            found = _PATTERN_TERM.match(pattern, at)
            if found is None:
                raise ValueError("Invalid filter pattern")
            phrase = found["phrase"]
            terms[found["sign"]].append(found["word"] if phrase is None else re.sub(r"\\(.)", r"\1", phrase))
            at = found.end()
        return cls(tuple(terms[""]), tuple(terms["?"]), tuple(terms["-"]))

    def condition(self) -> str:
        """As SQL."""
        tests = [f"contains(message, {text_literal(term)})" for term in self.all]
        tests += [f"NOT contains(message, {text_literal(term)})" for term in self.none]
        if self.any:
            tests.append(f"({' OR '.join(f'contains(message, {text_literal(term)})' for term in self.any)})")
        return " AND ".join(tests) or "true"


_PATTERN_TERM = re.compile(r"""(?P<sign>[-?]?)(?:"(?P<phrase>(?:[^"\\]|\\.)*)"|(?P<word>[^\s"]+))(?:\s+|$)""")


class Events:
    """The events of a window, oldest first, by position."""

    def __init__(
        self,
        cursor: DuckDBPyConnection,
        snapshot: Snapshot,
        window: Window,
        *,
        streams: Sequence[str] = (),
        stream_prefix: str = "",
        pattern: FilterPattern | None = None,
    ) -> None:
        """`streams`: of these only; of all where there are none."""
        tests = [f"starts_with(log_stream, {text_literal(stream_prefix)})"]
        if streams:
            tests.append(f"log_stream IN ({', '.join(map(text_literal, streams))})")
        if pattern is not None:
            tests.append(pattern.condition())
        self._cursor = cursor
        self._condition = " AND ".join(tests)
        show_events(cursor, snapshot, window)

    def count(self) -> int:
        [(count,)] = self._cursor.sql(f"SELECT count(*) FROM events WHERE {self._condition}").fetchall()
        return int(count)

    def read(self, start: int, count: int) -> list[LogEvent]:
        rows = self._cursor.sql(
            "SELECT seq, log_stream, at_ms, ingested_ms, size, message FROM events"
            f" WHERE {self._condition} ORDER BY at_ms, seq LIMIT {count} OFFSET {start}"
        ).fetchall()
        return [LogEvent(*row) for row in rows]

    def streams(self) -> list[LogStream]:
        """The streams they are in."""
        rows = self._cursor.sql(
            "SELECT log_stream, count(*), min(at_ms), max(at_ms), max(ingested_ms) FROM events"
            f" WHERE {self._condition} GROUP BY log_stream"
        ).fetchall()
        return [LogStream(*row) for row in rows]
