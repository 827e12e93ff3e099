"""Tables that come as Arrow's batches, written as Parquet.

Arrow's writer takes half the processor's time that DuckDB's takes, for it writes what is in a dictionary already as it
is, but works in one thread: the next rows are made in another meanwhile.

They are compressed as DuckDB's are (`analysis.requests_table.PARQUET` says why). A least and greatest id says nothing,
and is not looked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 65_536
"""Rows of a group, which are in memory twice."""


def write_table(batches: Iterator[pa.RecordBatch], file: Path, alike: Collection[str] = ()) -> None:
    """Write them, in groups of at least GROUP_ROWS but for the last one. The first one shows the types.

    `alike`: columns of texts that begin as the one before does, of which only the rest is written.
    """
    first = next(batches)
    with (
        pq.ParquetWriter(file, first.schema, **_options(first.schema, alike)) as writer,
        ThreadPoolExecutor(1) as pool,
    ):
        writing: Future[None] | None = None
        for group in _groups(first, batches):
            if writing is not None:
                writing.result()
            writing = pool.submit(writer.write_table, group, len(group))
        if writing is not None:
            writing.result()


def _groups(first: pa.RecordBatch, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting, rows = [first], len(first)
    for batch in batches:
        waiting.append(batch)
        rows += len(batch)
        if rows >= GROUP_ROWS:
            yield _table(waiting)
            waiting, rows = [], 0
    if rows:
        yield _table(waiting)


def _table(batches: list[pa.RecordBatch]) -> pa.Table:
    """Each with dictionaries of its own would be written value by value."""
    return pa.Table.from_batches(batches).unify_dictionaries()


def _options(schema: pa.Schema, alike: Collection[str]) -> dict[str, object]:
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    numbers = [field.name for field in schema if pa.types.is_integer(field.type)]
    return {
        "compression": "zstd",
        "compression_level": 1,
        "data_page_version": "2.0",
        "store_schema": False,
        "use_dictionary": [field.name for field in schema if pa.types.is_dictionary(field.type)],
        "column_encoding": dict.fromkeys(texts, "DELTA_LENGTH_BYTE_ARRAY")
        | dict.fromkeys(alike, "DELTA_BYTE_ARRAY")
        | dict.fromkeys(floats, "BYTE_STREAM_SPLIT")
        | dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
        "write_statistics": [name for name in schema.names if name not in texts],
    }
