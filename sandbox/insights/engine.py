"""Runs compiled queries over a snapshot of the log store, in DuckDB."""

from __future__ import annotations

import json
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from sandbox.insights import fields, values
from sandbox.insights.compiler import DEFAULT_RESULTS, CompiledQuery, compile_query
from sandbox.insights.errors import MalformedQuery, QueryFailed
from sandbox.log_events import Window, show_events
from sandbox.logs import EVENT_SCHEMA, Snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


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
        self._spill = tempfile.TemporaryDirectory(prefix="sandbox-insights-")
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": 1,
            "memory_limit": memory_limit,
            "temp_directory": self._spill.name,
            "python_enable_replacements": False,
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
            show_events(cursor, snapshot, window)
            [(scanned, size)] = cursor.sql("SELECT count(*), coalesce(sum(size), 0) FROM events").fetchall()
            rows = cursor.sql(compiled.sql).to_arrow_table().column(0)
            [(matched,)] = cursor.sql(compiled.matched_sql).fetchall()
        except duckdb.Error as error:
            raise QueryFailed(str(error)) from error
        finally:
            cursor.close()
        return QueryResult(rows, matched, scanned, int(size))

    def close(self) -> None:
        self._database.close()
        self._spill.cleanup()


def interrupt(cursor: DuckDBPyConnection) -> None:
    """Stop what runs on a cursor, if anything still does."""
    with suppress(duckdb.ConnectionException):
        cursor.interrupt()


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
