"""`joined.parquet`: each request with what is known of the invocation that answered it.

It has the columns of the requests files, then JOINED_COLUMNS, then `row` and `inv`, the numbers of the request and of
its line in invocations.parquet; its rows are in no certain order. Absent values are NULL, times epoch seconds.

`inv_init_ms` is the REPORT line's; where the logs lack that line, what the answer itself told (`init_ms`).

Which invocation answered a request is a number, and so is the place of its values: they are taken from there while the
requests pass by. A hash table of them would take as much memory as the requests, and longer than writing them.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analysis.arrow_arrays import numbers_array, texts_array
from analysis.requests_table import PARQUET, RequestRows, create_requests_view, literal
from runstore.columns import REQUEST_COLUMNS

JOINED_COLUMNS: tuple[str, ...] = (
    "matched_by",
    "inv_function",
    "inv_request_id",
    "inv_started_at",
    "inv_reported_at",
    "inv_duration_ms",
    "inv_billed_ms",
    "inv_init_ms",
    "inv_memory_mb",
    "inv_max_memory_mb",
    "inv_status",
    "inv_error_type",
    "inv_log_stream",
    "gateway_integration_latency_ms",
    "gateway_response_latency_ms",
)

MATCHED_BY: tuple[str, ...] = ("lambda_request_id", "access_log", "correlation_line", "trace_id")
"""Values of `matched_by`: by what the invocation was found, the strongest evidence first."""
_NAMED_BY_ANSWER = MATCHED_BY.index("lambda_request_id")

_REPEATED: tuple[str, ...] = ("function", "status", "error_type", "log_stream")
"""Text columns of the invocations that have few different values: a number for each will do."""
_ALONE: tuple[str, ...] = (
    "started_at",
    "reported_at",
    "duration_ms",
    "billed_ms",
    "init_ms",
    "memory_mb",
    "max_memory_mb",
)
_ROWS_AT_ONCE = 65_536


def write_joined(
    db: duckdb.DuckDBPyConnection,
    requests: RequestRows,
    inv: npt.NDArray[np.int64],
    matched_by: npt.NDArray[np.int8],
    file: Path,
) -> None:
    """Write it; the views `requests` and `joined` are of the file from then on, and the rows are kept no longer.

    Of each request, by its number: `inv` is the invocation that answered it, -1 where none is known; `matched_by`,
    which counts only where one is, a place in MATCHED_BY.
    """
    invocations = _Invocations(db, inv[(inv >= 0) & (matched_by != _NAMED_BY_ANSWER)])
    names = texts_array(MATCHED_BY)

    def joined(batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = np.from_dlpack(batch.column("row"))
        absent = inv[rows] < 0
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        columns["inv"] = numbers_array(inv[rows], absent)
        columns["matched_by"] = pa.DictionaryArray.from_arrays(numbers_array(matched_by[rows], absent), names)
        return pa.RecordBatch.from_pydict(columns | invocations.of(inv[rows]))

    batches = map(joined, requests.batches(_ROWS_AT_ONCE))
    first = next(batches)
    db.register("request_batches", pa.RecordBatchReader.from_batches(first.schema, chain([first], batches)))
    db.execute("SET preserve_insertion_order = false")
    db.execute(f"COPY ({_SELECT}) TO {literal(str(file))} ({PARQUET})")
    db.execute("RESET preserve_insertion_order")
    db.unregister("request_batches")
    create_requests_view(db, f"read_parquet({literal(str(file))})")
    db.execute("CREATE OR REPLACE VIEW joined AS FROM requests")
    requests.forget()


_SELECT = f"""
    SELECT {", ".join(f"r.{column}" for column in REQUEST_COLUMNS)}, r.matched_by, r.inv_function,
           CASE WHEN r.inv IS NOT NULL
                THEN coalesce(r.inv_request_id, r.lambda_request_id, r.request_id) END AS inv_request_id,
           r.inv_started_at, r.inv_reported_at, r.inv_duration_ms, r.inv_billed_ms,
           coalesce(r.inv_init_ms, r.init_ms) AS inv_init_ms, r.inv_memory_mb, r.inv_max_memory_mb,
           r.inv_status, r.inv_error_type, r.inv_log_stream,
           g.integration_latency_ms AS gateway_integration_latency_ms,
           g.response_latency_ms AS gateway_response_latency_ms, r.row, r.inv
    FROM request_batches r LEFT JOIN gateway g ON g.request_id = r.request_id"""


class _Invocations:
    """What the invocations have to say, each found by its number."""

    def __init__(self, db: duckdb.DuckDBPyConnection, named: npt.NDArray[np.int64]) -> None:
        """`named`: those whose request ids are wanted; the ids of the others are what the answers said."""
        for column in _REPEATED:
            different = f"SELECT DISTINCT {column} FROM invocations WHERE {column} IS NOT NULL"
            db.execute(f"CREATE TYPE inv_{column} AS ENUM ({different})")
        db.register("named", {"inv": named})
        values = [f"{column}::inv_{column} AS inv_{column}" for column in _REPEATED]
        values += [f"{column} AS inv_{column}" for column in _ALONE]
        wanted = "inv IN (FROM named)" if len(named) else "false"
        values.append(f"CASE WHEN {wanted} THEN request_id END AS inv_request_id")
        table = db.sql(f"SELECT inv, {', '.join(values)} FROM invocations").to_arrow_table()
        db.unregister("named")
        numbers = np.from_dlpack(table.column("inv").combine_chunks())
        self._table = table.drop_columns("inv").combine_chunks()
        # They come in order, unless a query of many has to put some aside; and one more for what is nowhere, -1.
        self._places = np.zeros(len(numbers) + 1, np.int64)
        self._places[numbers] = np.arange(len(numbers))

    def of(self, inv: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
        """The columns `inv_...` of joined.parquet; NULL where a number is -1."""
        taken = self._table.take(numbers_array(self._places[inv], inv < 0))
        return {name: column.combine_chunks() for name, column in zip(taken.schema.names, taken.columns, strict=True)}
