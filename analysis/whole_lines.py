"""Requests files whose lines are all whole, read by Arrow as often as their rows are wanted.

To read a row again takes less time than to keep it somewhere: ten million take 4 s on two cores, and as many in a table
or a file three times that, and gigabytes. DuckDB takes such files for a table (`duckdb.DuckDBPyConnection.register`):
each query of it reads them from the beginning.

Arrow does not say which line it could not read, and would, like others, take all from an open quote up to the next one
for one value: files with such lines are left to `analysis.requests_table`.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv as arrow_csv

from analysis.arrow_arrays import flags_array, numbers_array, texts_array
from analysis.errors import DataFormatError

PIECE_BYTES = 1 << 22
"""Of a file, which a thread reads at once."""
LONGEST_LINE_BYTES = 64 * 1024
"""Of files that are read here. A query holds 2,048 rows at a time: with some MB in each they would not fit into its
memory."""
_BLOCK_BYTES = 1 << 21
"""What Arrow turns into values at once: as much as a processor keeps near."""
_MOST_THREADS = 8
_ROW, _FILE = pa.field("row", pa.int64()), pa.field("file", pa.dictionary(pa.int32(), pa.string()))
_LINES = arrow_csv.ParseOptions(ignore_empty_lines=False)
_POOLS = {name: getattr(pa, f"{name}_memory_pool")() for name in pa.supported_memory_backends()}
_PASSED_ON = _POOLS.get("mimalloc", pa.default_memory_pool())
"""It gives the pages of one piece to the next."""
_KEPT = _POOLS.get("jemalloc", pa.default_memory_pool())
"""It does not ask for huge pages, which are slow to come by where memory is in pieces."""


class DamagedLineError(DataFormatError):
    """A line is none (cut off, with an open quote, with a text for a number), or too long."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem, "if the file was altered while it was read, analyse the run again")


@dataclass(frozen=True)
class _File:
    path: str
    header: Sequence[str]
    begin: int
    """The first byte behind the header."""
    end: int
    """Of what is read: a file that grows meanwhile has the same rows each time."""


@dataclass(frozen=True)
class WholeLines:
    """Rows with `columns` (name -> type), `file` and `row`: their numbers, from 0, file by file."""

    files: Sequence[_File]
    columns: Mapping[str, pa.DataType]
    wanted: npt.NDArray[np.bool_] | None = None
    """Of each row, by its number, whether it is one of these; None where all are."""

    @classmethod
    def of(cls, headers: Mapping[tuple[str, ...], Sequence[str]], columns: Mapping[str, pa.DataType]) -> WholeLines:
        """`headers`: header -> the files that begin with it, and have rows. What a file has no column of is NULL.

        Raises DamagedLineError where nothing follows the first line feed.
        """
        files = []
        for header, paths in headers.items():
            for path in paths:
                with Path(path).open("rb") as lines:
                    begin, end = len(lines.readline()), os.fstat(lines.fileno()).st_size
                if begin == end:
                    raise DamagedLineError(f"{path}: its only line ends in no line feed, or is the header")
                files.append(_File(path, header, begin, end))
        return cls(files, columns)

    def only(self, names: Sequence[str], wanted: npt.NDArray[np.bool_] | None = None) -> WholeLines:
        """Those rows that are `wanted` (see there), with these columns: they take less time than all do."""
        return replace(self, columns={name: self.columns[name] for name in names}, wanted=wanted)

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([_FILE, *(pa.field(name, kind) for name, kind in self.columns.items()), _ROW])

    def batches(self, pool: pa.MemoryPool = _PASSED_ON) -> Iterator[pa.RecordBatch]:
        """The rows in their order, some thousand at once. Raises DamagedLineError in the middle of it."""
        threads = min(os.cpu_count() or 1, _MOST_THREADS)
        # Threads of our own: a process that ended soon after Arrow's had read was seen to abort (apache/arrow#34314).
        with ThreadPoolExecutor(threads) as readers:
            buffers = threading.local()
            reading = deque[tuple[_File, Future[pa.Table]]]()

            def pieces() -> Iterator[tuple[_File, Future[pa.Table]]]:
                for file in self.files:
                    for begin in range(file.begin, file.end, PIECE_BYTES):
                        yield file, readers.submit(self._read, file, begin, buffers, pool)

            coming, row = pieces(), 0
            reading.extend(islice(coming, threads))
            while reading:
                file, read = reading.popleft()
                table = read.result()
                reading.extend(islice(coming, 1))
                name = texts_array([Path(file.path).name])
                for batch in table.to_batches():
                    rows = len(batch)
                    names = pa.DictionaryArray.from_arrays(numbers_array(np.zeros(rows, np.int32)), name)
                    columns = [names, *batch.columns, numbers_array(np.arange(row, row + rows))]
                    found = pa.RecordBatch.from_arrays(columns, schema=self.schema)
                    yield found if self.wanted is None else found.filter(flags_array(self.wanted[row : row + rows]))
                    row += rows

    def table(self) -> pa.Table:
        """The rows at once. Raises DamagedLineError."""
        return pa.Table.from_batches(self.batches(_KEPT), self.schema)

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The Arrow PyCapsule interface, by which DuckDB asks for the rows once for each query."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches()).__arrow_c_stream__(requested_schema)

    def _read(self, file: _File, begin: int, buffers: threading.local, pool: pa.MemoryPool) -> pa.Table:
        """Those rows whose lines begin in the piece that begins there."""
        if not hasattr(buffers, "bytes"):
            buffers.bytes = bytearray(1 + PIECE_BYTES + LONGEST_LINE_BYTES)
        lines: bytearray = buffers.bytes
        # from the byte before, which tells whether a line begins with the piece
        wanted = min(len(lines), file.end - begin + 1)
        with Path(file.path).open("rb", buffering=0) as opened:
            opened.seek(begin - 1)
            got = 0
            while got < wanted:
                more = opened.readinto(memoryview(lines)[got:wanted])
                if not more:
                    raise DamagedLineError(f"{file.path} has become shorter")
                got += more
        unended = wanted if begin - 1 + wanted == file.end else 0
        first = lines.find(b"\n", 0, wanted) + 1 or unended
        last = lines.find(b"\n", PIECE_BYTES, wanted) + 1 or unended
        if not (first and last and _are_whole(lines, first, last)):
            raise DamagedLineError(f"{file.path}: a line from byte {begin} on is damaged")
        if first == last:
            return pa.table([pa.nulls(0, kind) for kind in self.columns.values()], list(self.columns))
        try:
            return arrow_csv.read_csv(
                pa.BufferReader(pa.py_buffer(memoryview(lines)[first:last])),
                arrow_csv.ReadOptions(column_names=file.header, use_threads=False, block_size=_BLOCK_BYTES),
                _LINES,
                arrow_csv.ConvertOptions(
                    include_columns=list(self.columns),
                    include_missing_columns=True,
                    check_utf8=False,  # value by value it takes much longer than for all of them
                    column_types=dict(self.columns),
                    null_values=[""],
                    strings_can_be_null=True,
                    true_values=["1"],
                    false_values=["0"],
                ),
                memory_pool=pool,
            )
        except pa.ArrowInvalid as damaged:
            raise DamagedLineError(f"{file.path}: {damaged}") from None


def _are_whole(lines: bytearray, first: int, last: int) -> bool:
    """Whether those in between have all their quotes, are UTF-8, and not too long."""
    # nearly always there is no quote at all
    if lines.find(b'"', first, last) >= 0 and any(line.count(b'"') % 2 for line in lines[first:last].split(b"\n")):
        return False
    # a line that is too long has some half of that without an end
    half = LONGEST_LINE_BYTES // 2
    if any(lines.find(b"\n", at, at + half) < 0 for at in range(first, last - half, half)):
        return False
    if not lines.isascii():
        try:
            str(memoryview(lines)[first:last], "utf-8")
        except UnicodeDecodeError:
            return False
    return True
