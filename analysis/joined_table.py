"""`joined.parquet`: each request with what is known of the invocation that answered it.

It has the columns of the requests files, then JOINED_COLUMNS, then `row` and `inv`, the numbers of the request and of
its line in invocations.parquet; its rows are in no certain order. Absent values are NULL, times epoch seconds.

`inv_init_ms` is the REPORT line's; where the logs lack that line, what the answer itself told (`init_ms`).

Which invocation answered a request is a number, and so is the place of its values: they are taken from there while the
requests pass by. A hash table of them would take as much memory as the requests, and longer than writing them.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrow_arrays import numbers_array, texts_array, without
from analysis.errors import IncompleteError
from analysis.parquet_writer import write_table
from analysis.request_rows import RequestRows
from analysis.requests_table import create_requests_view, literal
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
_ALIKE: tuple[str, ...] = ("trace_id",)
"""It begins with the second of the request."""
_ROWS_AT_ONCE = 65_536


def write_joined(
    db: duckdb.DuckDBPyConnection,
    requests: RequestRows,
    invocations: InvocationValues,
    inv: npt.NDArray[np.int64],
    matched_by: npt.NDArray[np.int8],
    file: Path,
) -> None:
    """Write it; the views `requests` and `joined` are of the file from then on, and the rows are kept no longer.

    Of each request, by its number: `inv` is the invocation that answered it, -1 where none is known; `matched_by`,
    which counts only where one is, a place in MATCHED_BY. Raises IncompleteError where it cannot be written.
    """
    ids = _RequestIds(db, inv, matched_by == _NAMED_BY_ANSWER)
    gateway = _Gateway(db, requests, len(inv))
    names = texts_array(MATCHED_BY)

    def joined(batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = np.from_dlpack(batch.column("row")).astype(np.int64, copy=False)
        invs = inv[rows]
        absent = invs < 0
        columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | invocations.of(invs) | gateway.of(rows)
        named = pc.coalesce(ids.of(invs), columns["lambda_request_id"], columns["request_id"])
        columns["inv_request_id"] = without(named, absent)
        columns["inv_init_ms"] = pc.coalesce(columns["inv_init_ms"], columns["init_ms"])
        columns["inv"] = numbers_array(invs, absent)
        columns["matched_by"] = pa.DictionaryArray.from_arrays(numbers_array(matched_by[rows], absent), names)
        return pa.RecordBatch.from_arrays([columns[name] for name in _COLUMNS], _COLUMNS)

    try:
        write_table(map(joined, requests.batches(_ROWS_AT_ONCE)), file, alike=_ALIKE)
    except OSError as error:
        raise IncompleteError(f"{file}: {error}", "is there room on the disk, and may it be written to?") from error
    create_requests_view(db, f"read_parquet({literal(str(file))})")
    db.execute("CREATE OR REPLACE VIEW joined AS FROM requests")
    requests.forget()


_COLUMNS = [*REQUEST_COLUMNS, *JOINED_COLUMNS, "row", "inv"]


class InvocationValues:
    """What the invocations have to say, each found by its number."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        for column in _REPEATED:
            different = f"SELECT DISTINCT {column} FROM invocations WHERE {column} IS NOT NULL"
            db.execute(f"CREATE TYPE inv_{column} AS ENUM ({different})")
        values = [f"{column}::inv_{column} AS inv_{column}" for column in _REPEATED]
        values += [f"{column} AS inv_{column}" for column in _ALONE]
        table = db.sql(f"SELECT inv, {', '.join(values)} FROM invocations").to_arrow_table()
        numbers = np.from_dlpack(table.column("inv").combine_chunks())
        self._table = table.drop_columns("inv").combine_chunks()
        # They come in order, unless a query of many has to put some aside; and one more for what is nowhere, -1.
        self._places = np.zeros(len(numbers) + 1, np.int64)
        self._places[numbers] = np.arange(len(numbers))

    def of(self, inv: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
        """The columns `inv_...` of joined.parquet; NULL where a number is -1."""
        taken = self._table.take(numbers_array(self._places[inv], inv < 0))
        return {name: column.combine_chunks() for name, column in zip(taken.schema.names, taken.columns, strict=True)}


class _RequestIds:
    """Those of the invocations that an answer did not name, each found by its number."""

    def __init__(self, db: duckdb.DuckDBPyConnection, inv: npt.NDArray[np.int64], named: npt.NDArray[np.bool_]) -> None:
        """Of each request: its invocation or -1, and whether its answer named it."""
        wanted = inv[(inv >= 0) & ~named]
        self._ids: pa.Array | None = None
        if not len(wanted):
            return
        db.register("wanted", {"inv": wanted})
        table = db.sql("SELECT inv, request_id FROM invocations SEMI JOIN wanted USING (inv)").to_arrow_table()
        db.unregister("wanted")
        self._ids = table.column("request_id").combine_chunks()
        self._places = np.full(int(inv.max()) + 2, -1)  # the last is that of -1
        self._places[np.from_dlpack(table.column("inv").combine_chunks())] = np.arange(len(table))

    def of(self, inv: npt.NDArray[np.int64]) -> pa.Array:
        """NULL where an invocation is none of them."""
        if self._ids is None:
            return pa.nulls(len(inv), pa.string())
        places = self._places[inv]
        return self._ids.take(numbers_array(places, places < 0))


class _Gateway:
    """What the access log says of each request, found by its number."""

    _COLUMNS = ("integration_latency_ms", "response_latency_ms")

    def __init__(self, db: duckdb.DuckDBPyConnection, requests: RequestRows, numbers: int) -> None:
        self._values: dict[str, npt.NDArray[np.float64]] | None = None
        if not db.execute("SELECT 1 FROM gateway LIMIT 1").fetchall():
            return
        found = db.execute(
            f"SELECT row, {', '.join(self._COLUMNS)} FROM {requests.keys()} JOIN gateway USING (request_id)"
        ).fetchnumpy()
        self._values = {name: np.full(numbers, np.nan) for name in self._COLUMNS}
        for name, values in self._values.items():
            values[found["row"]] = np.ma.filled(found[name], np.nan)

    def of(self, rows: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
        """The columns `gateway_...` of joined.parquet."""
        if self._values is None:
            return {f"gateway_{name}": pa.nulls(len(rows), pa.float64()) for name in self._COLUMNS}
        taken = {name: values[rows] for name, values in self._values.items()}
        return {f"gateway_{name}": numbers_array(values, np.isnan(values)) for name, values in taken.items()}
