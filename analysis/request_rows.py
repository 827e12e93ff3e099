"""The rows of requests files as the join takes them: from memory, from a Parquet file, or from the files themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analysis import interruption
from analysis.arrow_arrays import flags_array, numbers_array
from analysis.whole_lines import DamagedLineError, WholeLines
from runstore.columns import DROPPED, REQUEST_COLUMNS

KEYS: tuple[str, ...] = ("method", "error", "request_id", "lambda_request_id", "correlation_id", "trace_id")
"""Columns by which the invocation of a request is found."""

SENT = f"error IS DISTINCT FROM '{DROPPED}'"
"""SQL: whether an arrival became a request."""

NAMED = "coalesce(lambda_request_id, CASE WHEN method = 'Invoke' THEN request_id END)"
"""SQL: the id of the invocation that the answer named."""

_TABLE, _FILES, _INDEX, _PART = "request_rows", "request_lines", "request_index", "some_requests"
_FEW = 1_000_000


def hashes(text: str) -> str:
    """SQL: the columns `hash` and `other_hash` of a text, by which a join needs not hold the texts of millions of rows.

    NULL has no `hash`. Two different texts have both in common in one of 10^24 joins of ten million.
    """
    return f"CASE WHEN {text} IS NOT NULL THEN hash({text}) END AS hash, hash({text} || '.') AS other_hash"


class RequestRows:
    """Those of the view `requests`, whatever that is a view of."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        self._db = db

    @property
    def named(self) -> str:
        """SQL for the FROM of a query: `row` of the sent requests, and the `hashes` of NAMED."""
        return f"(SELECT row, {hashes(NAMED)} FROM requests WHERE {SENT})"

    def keys(self, wanted: npt.NDArray[np.bool_] | None = None) -> str:
        """SQL for the FROM of a query: `row` and at least KEYS, read no slower than they need. Until the next call.

        `wanted`: of each row, by its number, whether it is to be among them; None for all.
        """
        if wanted is None:
            return "requests"
        self._db.register(_PART, {"row": np.flatnonzero(wanted)})
        return f"(FROM requests SEMI JOIN {_PART} USING (row))"

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """All of them, about so many `rows` at once: the columns of a requests file, and `row`.

        An empty batch goes first, which shows the columns' types. A query of the same connection may use what comes
        while it runs.
        """
        cursor = self._db.cursor()
        interruption.watch(cursor)
        reader = cursor.sql(f"SELECT {', '.join(_COLUMNS)} FROM requests").to_arrow_reader(rows)
        yield _empty(reader.schema)
        yield from reader

    def forget(self) -> None:
        """Free the memory, once the view `requests` is of something else."""


class RowsInMemory(RequestRows):
    """All of a table, of which the connection knows as `source`."""

    source = _TABLE

    def __init__(self, db: duckdb.DuckDBPyConnection, table: pa.Table) -> None:
        super().__init__(db)
        self._table = table
        db.register(_TABLE, table)

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        kept = self._table.select(_COLUMNS)
        yield _empty(kept.schema)
        yield from kept.to_batches(max_chunksize=rows)

    def forget(self) -> None:
        del self._table
        self._db.unregister(_TABLE)


class RowsInFiles(RequestRows):
    """All of files whose lines are whole, of which the connection knows as `source`: each query reads them again.

    What a join asks for first is kept from the first time that they are read: the table `index`, in which a row's
    `rowid` is its number.

    | column | meaning |
    |---|---|
    | file | place among `files` |
    | seq | as in the file |
    | cut | whether the line is no row |
    | hash, other_hash | of NAMED, where the request was sent (`hashes`) |
    """

    source = _FILES
    index = _INDEX

    def __init__(self, db: duckdb.DuckDBPyConnection, lines: WholeLines, cut: str) -> None:
        """`cut`: SQL, whether a line is no row. Raises DamagedLineError where a line is not whole."""
        super().__init__(db)
        self._lines = lines
        first = _FirstReading(lines.only([name for name in lines.columns if name not in _ONLY_SHOWN]))
        db.register(_PART, pa.RecordBatchReader.from_batches(first.schema, first.batches()))
        db.execute(
            f"""CREATE TEMP TABLE {_INDEX} AS
                SELECT file_number AS file, seq, cut, {hashes("named")}
                FROM (SELECT *, ({cut}) IS TRUE AS cut, CASE WHEN {SENT} THEN {NAMED} END AS named FROM {_PART})"""
        )
        db.unregister(_PART)
        if first.damaged is not None:
            db.execute(f"DROP TABLE {_INDEX}")
            raise first.damaged
        self.files: Sequence[str] = first.files
        self._nameless = first.nameless
        db.register(_FILES, lines)

    @property
    def has_cut(self) -> bool:
        """Whether some line is no row."""
        return bool(self._db.execute(f"SELECT 1 FROM {_INDEX} WHERE cut LIMIT 1").fetchall())

    @property
    def named(self) -> str:
        return f"(SELECT rowid AS row, hash, other_hash FROM {_INDEX})"

    def keys(self, wanted: npt.NDArray[np.bool_] | None = None) -> str:
        if wanted is not None and self._nameless is not None:
            nameless = np.from_dlpack(self._nameless.column("row").combine_chunks())
            among = wanted[nameless]
            if np.count_nonzero(wanted) == np.count_nonzero(among):
                self._db.register(_PART, self._nameless.filter(flags_array(among)))
                return _PART
        self._db.register(_PART, self._lines.only(KEYS, wanted))
        return _PART

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        yield _empty(pa.schema([self._lines.schema.field(name) for name in _COLUMNS]))
        for batch in self._lines.batches():
            yield batch.select(_COLUMNS)

    def forget(self) -> None:
        self._db.execute(f"DROP TABLE {_INDEX}")
        self._db.unregister(_FILES)


class _FirstReading:
    """What is kept of all rows while they pass by for the first time."""

    def __init__(self, lines: WholeLines) -> None:
        self._lines = lines
        self.schema = lines.schema.append(pa.field("file_number", pa.int16()))
        self.files: list[str] = []
        self.damaged: DamagedLineError | None = None
        self._nameless: list[pa.RecordBatch] = []
        self._nameless_rows = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All up to the first line that is not whole."""
        try:
            for batch in self._lines.batches():
                (name,) = batch.column("file").dictionary.to_pylist()
                if self.files[-1:] != [name]:
                    self.files.append(name)
                self._keep(batch)
                number = numbers_array(np.full(len(batch), len(self.files) - 1, np.int16))
                yield pa.RecordBatch.from_arrays([*batch.columns, number], schema=self.schema)
        except DamagedLineError as damaged:
            self.damaged = damaged

    def _keep(self, batch: pa.RecordBatch) -> None:
        ids = batch.column("lambda_request_id")
        self._nameless_rows += ids.null_count
        if self._nameless_rows > _FEW:
            self._nameless.clear()
        elif ids.null_count:
            self._nameless.append(batch.select([*KEYS, "row"]).filter(ids.is_null()))

    @property
    def nameless(self) -> pa.Table | None:
        """KEYS and `row` of the requests whose answer named no invocation; None where they are many."""
        if self._nameless_rows > _FEW:
            return None
        schema = pa.schema([self.schema.field(name) for name in (*KEYS, "row")])
        return pa.Table.from_batches(self._nameless, schema)


_COLUMNS = [*REQUEST_COLUMNS, "row"]
_ONLY_SHOWN = ("worker", "flow", "name", "function_error", "executed_version")
"""Texts that nobody looks for."""


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
