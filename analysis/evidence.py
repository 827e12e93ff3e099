"""Everything that is known about a run, as tables of one DuckDB database in memory.

| table | from | one row per |
|---|---|---|
| requests | requests-*.csv | request or dropped arrival (`analysis.requests_table`) |
| invocations | invocations.parquet | REPORT line; `inv` numbers them. A retried event has several with one request id |
| log_errors | log_errors.parquet | error, timeout or crash line of a function; `line` numbers them |
| inits | inits.parquet | beginning of an environment, or what became of its init |
| correlations | correlations.parquet | correlation line; `line` numbers them |
| access_log | access_log.parquet | line of the API's access log |
| unanswered | both | line of it of a request that got no answer: the connection broke, or the client gave up |

What the pull wrote stays in its files, of which DuckDB reads the columns it needs. A file that is not there is an empty
table: a run without an access log, or one of Locust's CSVs only, is analysed as far as it goes. Times are epoch
seconds, everything absent is NULL.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from analysis import interruption
from analysis.errors import DataFormatError
from analysis.requests_table import RequestsRead, create_requests, literal
from runstore.rundir import RunDir

INVOCATIONS: Mapping[str, str] = {
    "function": "VARCHAR",
    "log_group": "VARCHAR",
    "log_stream": "VARCHAR",
    "request_id": "VARCHAR",
    "version": "VARCHAR",
    "reported_at": "DOUBLE",
    "started_at": "DOUBLE",
    "duration_ms": "DOUBLE",
    "billed_ms": "BIGINT",
    "memory_mb": "BIGINT",
    "max_memory_mb": "BIGINT",
    "init_ms": "DOUBLE",
    "restore_ms": "DOUBLE",
    "billed_restore_ms": "BIGINT",
    "status": "VARCHAR",
    "error_type": "VARCHAR",
    "xray_trace_id": "VARCHAR",
    "segment_id": "VARCHAR",
    "sampled": "BOOLEAN",
    "ptr": "VARCHAR",
}
LOG_ERRORS: Mapping[str, str] = {
    "function": "VARCHAR",
    "log_group": "VARCHAR",
    "log_stream": "VARCHAR",
    "logged_at": "DOUBLE",
    "request_id": "VARCHAR",
    "kind": "VARCHAR",
    "error_type": "VARCHAR",
    "error_message": "VARCHAR",
    "operation": "VARCHAR",
    "resource": "VARCHAR",
    "frame": "VARCHAR",
    "message": "VARCHAR",
    "ptr": "VARCHAR",
}
INITS: Mapping[str, str] = {
    "function": "VARCHAR",
    "log_group": "VARCHAR",
    "log_stream": "VARCHAR",
    "logged_at": "DOUBLE",
    "kind": "VARCHAR",
    "init_ms": "DOUBLE",
    "phase": "VARCHAR",
    "status": "VARCHAR",
    "error_type": "VARCHAR",
    "initialization_type": "VARCHAR",
    "ptr": "VARCHAR",
}
CORRELATIONS: Mapping[str, str] = {
    "function": "VARCHAR",
    "log_group": "VARCHAR",
    "log_stream": "VARCHAR",
    "logged_at": "DOUBLE",
    "correlation_id": "VARCHAR",
    "gateway_request_id": "VARCHAR",
    "request_id": "VARCHAR",
    "hop": "VARCHAR",
    "message_id": "VARCHAR",
    "failed": "BOOLEAN",
    "ptr": "VARCHAR",
}
ACCESS_LOG: Mapping[str, str] = {
    "at": "DOUBLE",
    "at_is_logged": "BOOLEAN",
    "request_id": "VARCHAR",
    "extended_request_id": "VARCHAR",
    "lambda_request_id": "VARCHAR",
    "status": "SMALLINT",
    "integration_status": "SMALLINT",
    "handler_status": "SMALLINT",
    "integration_latency_ms": "DOUBLE",
    "response_latency_ms": "DOUBLE",
    "path": "VARCHAR",
    "method": "VARCHAR",
    "xray_trace_id": "VARCHAR",
    "error_type": "VARCHAR",
    "error_message": "VARCHAR",
    "ptr": "VARCHAR",
}
_PULLED: Mapping[str, tuple[Mapping[str, str], str | None]] = {
    "invocations": (INVOCATIONS, "inv"),
    "log_errors": (LOG_ERRORS, "line"),
    "inits": (INITS, None),
    "correlations": (CORRELATIONS, "line"),
    "access_log": (ACCESS_LOG, None),
}


MEMORY_LIMIT = "2500MB"
"""For tables and what queries need: the process has a few hundred MB beside it. Ten million requests keep to it."""


@dataclass(frozen=True)
class Evidence:
    """The database and how whole the request files were."""

    db: duckdb.DuckDBPyConnection
    read: RequestsRead


def open_evidence(run: RunDir) -> Evidence:
    """Read a run directory. Raises DataFormatError where a file is not what its name says."""
    db = connect(run.file(".spill"))
    read = create_requests(db, run.requests_files(), run.path, few_queries=True)
    for table, (columns, number) in _PULLED.items():
        _create_pulled(db, run, table, columns, number)
    db.execute(
        """CREATE VIEW unanswered AS FROM access_log
           SEMI JOIN (SELECT request_id FROM requests WHERE sent AND status IS NULL) USING (request_id)"""
    )
    return Evidence(db, read)


def connect(spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """An empty database in memory that never reaches out, and keeps to MEMORY_LIMIT.

    What goes beyond is put into the directory `spill` (the system's temporary one, where it is None), which is there
    only as long as something is in it.
    """
    db = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(spill or Path(tempfile.gettempdir()) / f"swarmscope-{os.getpid()}"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    interruption.watch(db)
    return db


def _create_pulled(
    db: duckdb.DuckDBPyConnection, run: RunDir, table: str, columns: Mapping[str, str], number: str | None
) -> None:
    """A view of one Parquet file. A column that the file lacks is NULL, one that is not ours is passed over."""
    file = run.file(f"{table}.parquet")
    if not file.exists():
        defined = ({number: "BIGINT"} if number else {}) | dict(columns)
        db.execute(f"CREATE TABLE {table} ({', '.join(f'{quoted(name)} {kind}' for name, kind in defined.items())})")
        return
    source = f"read_parquet({literal(str(file))}, file_row_number = true)"
    try:
        there = {row[0] for row in db.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    except duckdb.Error as unreadable:
        reason = str(unreadable).splitlines()[0]
        raise DataFormatError(f"{file}: {reason}", "let the logs be fetched again: delete it and pull.json") from None
    selected = [f"file_row_number AS {number}"] if number else []
    selected += [
        f"CAST({quoted(name) if name in there else 'NULL'} AS {kind}) AS {quoted(name)}"
        for name, kind in columns.items()
    ]
    db.execute(f"CREATE VIEW {table} AS SELECT {', '.join(selected)} FROM {source}")


def quoted(name: str) -> str:
    """An SQL identifier that may be a reserved word, such as `at`."""
    return f'"{name}"'
