"""Runs compiled queries over a snapshot of the log store, in DuckDB."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from sandbox.insights import fields, values
from sandbox.insights.compiler import DEFAULT_RESULTS, CompiledQuery, compile_query
from sandbox.insights.errors import MalformedQuery, QueryFailed
from sandbox.insights.values import text_literal
from sandbox.logs import EVENT_SCHEMA, Snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Window:
    """Which events a query reads: groups, event times (both ends inclusive), and what was visible when."""

    groups: tuple[str, ...]
    start_ms: int
    end_ms: int
    visible_ms: int


@dataclass(frozen=True)
class QueryResult:
    """`rows`: each row as JSON text, [{"field": "level", "value": "INFO"}, …], absent values left out."""

    rows: pa.ChunkedArray
    records_matched: int
    records_scanned: int
    bytes_scanned: int

    def page(self, start: int, count: int) -> str:
        """Rows as one JSON list."""
        return "[" + ",".join(self.rows.slice(start, count).to_pylist()) + "]"


class Engine:
    """One embedded database. `compile` and `run` may be called from any thread; each run has its own cursor."""

    def __init__(self, memory_limit: str = "600MB") -> None:
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": "1",
            "memory_limit": memory_limit,
            "python_enable_replacements": "false",
        }
        self._database = duckdb.connect(":memory:", config=config)
        self._database.create_function("first_json_object", _first_json_object, ["VARCHAR"], "VARCHAR")
        for macro in (*values.MACROS, *fields.MACROS):
            self._database.execute(macro)
        self._checker = self._database.cursor()
        self._checker.register("no_events", EVENT_SCHEMA.empty_table())
        self._checker.execute("CREATE TEMP TABLE events AS SELECT * FROM no_events")
        self._checking = threading.Lock()
        self.compile("fields @message", now=0)  # builds the parser: 80 ms that the first query need not wait

    def compile(self, text: str, *, now: float, limit: int = DEFAULT_RESULTS) -> CompiledQuery:
        """Raises MalformedQuery also for what only the database can judge, such as a regular expression."""
        compiled = compile_query(text, now=now, limit=limit)
        with self._checking:
            try:
                self._checker.execute(compiled.sql).fetchall()
            except (duckdb.Error, UnicodeError) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise MalformedQuery(reason, 0, len(text)) from None
        return compiled

    def cursor(self) -> DuckDBPyConnection:
        """To hand to `run`; `interrupt` on it from another thread stops the run."""
        return self._database.cursor()

    def run(
        self, cursor: DuckDBPyConnection, compiled: CompiledQuery, snapshot: Snapshot, window: Window
    ) -> QueryResult:
        """Takes as long as it takes: for a worker thread. Raises QueryFailed, also when interrupted."""
        try:
            _show_events(cursor, snapshot, window)
            [(scanned, size)] = cursor.sql("SELECT count(*), coalesce(sum(size), 0) FROM events").fetchall()
            rows = cursor.sql(compiled.sql).to_arrow_table().column(0)
            [(matched,)] = cursor.sql(compiled.matched_sql).fetchall()
        except duckdb.Error as error:
            raise QueryFailed(str(error)) from error
        finally:
            cursor.close()
        return QueryResult(rows, matched, scanned, int(size))

    def events(
        self,
        snapshot: Snapshot,
        window: Window,
        *,
        stream: str | None = None,
        streams: Sequence[str] | None = None,
        stream_prefix: str | None = None,
        pattern: FilterPattern | None = None,
    ) -> Events:
        """The events of a window, oldest first, without a query."""
        tests = ["true"]
        if stream is not None:
            tests.append(f"log_stream = {text_literal(stream)}")
        if streams:
            tests.append(f"log_stream IN ({', '.join(map(text_literal, streams))})")
        if stream_prefix:
            tests.append(f"starts_with(log_stream, {text_literal(stream_prefix)})")
        if pattern is not None:
            tests += [f"contains(message, {text_literal(term)})" for term in pattern.all]
            tests += [f"NOT contains(message, {text_literal(term)})" for term in pattern.none]
            if pattern.any:
                tests.append(f"({' OR '.join(f'contains(message, {text_literal(term)})' for term in pattern.any)})")
        cursor = self._database.cursor()
        _show_events(cursor, snapshot, window)
        return Events(cursor, " AND ".join(tests))

    def streams(self, snapshot: Snapshot, window: Window, prefix: str = "") -> list[LogStream]:
        """The log streams that have an event in a window."""
        cursor = self._database.cursor()
        _show_events(cursor, snapshot, window)
        rows = cursor.sql(
            "SELECT log_stream, count(*), min(at_ms), max(at_ms), max(ingested_ms) FROM events"
            f" WHERE starts_with(log_stream, {text_literal(prefix)}) GROUP BY log_stream"
        ).fetchall()
        cursor.close()
        return [LogStream(*row) for row in rows]

    def close(self) -> None:
        self._database.close()


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


class Events:
    """Events by their position in time."""

    def __init__(self, cursor: DuckDBPyConnection, condition: str) -> None:
        self._cursor = cursor
        self._condition = condition
        self._count: int | None = None

    def count(self) -> int:
        if self._count is None:
            [(self._count,)] = self._cursor.sql(f"SELECT count(*) FROM events WHERE {self._condition}").fetchall()
        return self._count

    def read(self, start: int, count: int) -> list[LogEvent]:
        rows = self._cursor.sql(
            "SELECT seq, log_stream, at_ms, ingested_ms, size, message FROM events"
            f" WHERE {self._condition} ORDER BY at_ms, seq LIMIT {count} OFFSET {start}"
        ).fetchall()
        return [LogEvent(*row) for row in rows]


def interrupt(cursor: DuckDBPyConnection) -> None:
    """Stop what runs on a cursor, if anything still does."""
    with suppress(duckdb.ConnectionException):
        cursor.interrupt()


def _show_events(cursor: DuckDBPyConnection, snapshot: Snapshot, window: Window) -> None:
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


def _first_json_object(message: str) -> str:
    """The first JSON object in a text of several; empty where there is none."""
    decoder = json.JSONDecoder()
    start = message.find("{")
    for _ in range(20):  # a text of nothing but braces is not worth more
        if start < 0:
            break
        try:
            _, end = decoder.raw_decode(message, start)
            return message[start:end]
        except (ValueError, RecursionError):
            start = message.find("{", start + 1)
    return ""
