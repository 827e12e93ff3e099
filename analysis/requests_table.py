"""`requests-*.csv`, the client's side of a run, as the DuckDB view `requests`.

Beside the columns of `runstore.columns` (NULL where empty) the view has

| column | meaning |
|---|---|
| row | number of the line within the run, from 0, file by file; those left out have one too |
| file | name of the file it comes from |
| endpoint | what the summary calls it: the method and Locust's name, `POST /vote` |
| sent | false for an arrival that was dropped |
| measured | whether its phase is `measure` |
| ended_at | epoch seconds of the last byte; NULL where no response ended |

A file whose writer was killed may end in half a line: that line is left out and reported, never guessed at. The line
end shows that a line is whole; where `phase` is the last column, as it was in earlier versions, its value does, too. A
line with a number that no writer of ours can have written is left out like it: one time of 1e308 ms spoils every sum.

A line longer than LONGEST_LINE_BYTES (an error message that holds the whole answer) is read with its texts cut to
LONGEST_TEXT characters.
"""

from __future__ import annotations

import csv
import io
import mmap
import os
import tempfile
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa

from analysis.errors import DataFormatError
from analysis.request_rows import SENT, RequestRows, RowsInFiles, RowsInMemory
from analysis.whole_lines import LONGEST_LINE_BYTES, DamagedLineError, WholeLines
from runstore.columns import ADDED_COLUMNS, CHECK_FAILED, REQUEST_COLUMNS

_NOT_TEXT: Mapping[str, str] = {
    "seq": "BIGINT",
    "scheduled_at": "DOUBLE",
    "started_at": "DOUBLE",
    "response_ms": "DOUBLE",
    "status": "SMALLINT",
    "ok": "BOOLEAN",
    "bytes_sent": "BIGINT",
    "bytes_received": "BIGINT",
    "init_ms": "DOUBLE",
}
COLUMN_TYPES: Mapping[str, str] = {column: _NOT_TEXT.get(column, "VARCHAR") for column in REQUEST_COLUMNS}
"""DuckDB's type of each column of a requests file. Ids are text: those of an HTTP API are no UUIDs."""

_REPEATED = ("worker", "flow", "name", "method", "error", "function_error", "executed_version", "phase")
"""Texts of which a file has few different ones: as numbers they take less memory, and less time to write."""
_ARROW_TYPES = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "SMALLINT": pa.int16(), "BOOLEAN": pa.bool_()}
_ARROW_COLUMNS = {name: _ARROW_TYPES.get(kind, pa.string()) for name, kind in COLUMN_TYPES.items()} | dict.fromkeys(
    _REPEATED, pa.dictionary(pa.int32(), pa.string())
)
_DUCKDB_READS_BYTES = 1 << 22
"""An eighth of DuckDB's own choice, of which it has several: half as many pages are taken for them."""

HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
"""Methods of requests to an API; those to an AWS service are named after their operation."""

UNINVOKED = "(status IS NULL OR status IN (403, 429) OR method = 'Invoke' AND (status = 204 OR status >= 400))"
"""SQL: whether no invocation is to be expected of a request that was sent. It got no answer, or was refused for its
rate or its credentials; or Lambda refused a direct Invoke, or only checked it (a function that fails answers 200)."""

TAKEN = f"(ok OR starts_with(error, '{CHECK_FAILED}'))"
"""SQL: whether a service took a message of an answered call, whatever a check of the client said of the answer."""

LONGEST_TEXT = 4000

LATEST_S = 253_402_300_800
"""The year 10000, from which on there are no dates. A clock that is not set begins at 0, in 1970."""
LONGEST_MS = 1e9
"""Eleven days: nobody waited longer for an answer."""
_RANGES: Mapping[str, tuple[float, float]] = {
    "seq": (1, 1e12),
    "scheduled_at": (0, LATEST_S),
    "started_at": (0, LATEST_S),
    "response_ms": (0, LONGEST_MS),
    "bytes_sent": (0, 1e12),
    "bytes_received": (0, 1e12),
    "init_ms": (0, LONGEST_MS),
}
"""Least and greatest value."""

ENDPOINT = "CASE WHEN method IS NULL OR starts_with(name, method || ' ') THEN name ELSE method || ' ' || name END"
"""SQL for the name of a request's endpoint, whether its Locust name holds the method already or not."""


IN_MEMORY_BYTES = 750_000_000
"""Of requests files. Three million rows take about 1 GB in memory; ten million would leave no room to join them."""
READ_AGAIN_BYTES = 100_000_000
"""Of requests files. For those of two million rows, 0.5 GB, the pages of memory take longer than to read them again
where a processor is idle, while joined.parquet is written."""

PARQUET = (
    "FORMAT parquet, PARQUET_VERSION V2, COMPRESSION zstd, COMPRESSION_LEVEL 1, DICTIONARY_SIZE_LIMIT 4096, "
    "WRITE_BLOOM_FILTER false, ROW_GROUP_SIZE 40960"
)
"""How tables are written. They are mostly ids of hexadecimal digits: Zstandard's lowest level halves them for less time
than the pages take that it saves, which LZ4 and Snappy do not. What repeats is in dictionaries, and a column of ids
soon shows that it has no use for one. Each thread keeps a group of rows in memory, twice: a third of DuckDB's own size
saves two thirds of the pages that are taken for it."""


@dataclass(frozen=True)
class RequestsRead:
    """What reading the files came to."""

    rows: int
    numbers: int
    """As many as there are numbers of rows: those of lines that were left out, too."""
    unreadable: Mapping[str, int]
    """File name -> lines that could not be read; only files that have some."""
    missing: Mapping[str, int]
    """File name -> sequence numbers that are missing in between; only files that miss some."""
    repeated: Mapping[str, int]
    """File name -> rows whose sequence number an earlier row has; only files that have some."""
    copies: Mapping[str, str]
    """File name -> the file before it that begins with the same row: a copy, whose rows count again."""
    kept: RequestRows = field(compare=False, repr=False)


def create_requests(
    db: duckdb.DuckDBPyConnection, files: Sequence[Path], folder: Path | None = None, *, few_queries: bool = False
) -> RequestsRead:
    """Read all requests files; makes the view `requests`. No file, or only empty ones, give an empty view.

    Where who asks has only a `few_queries`, files beyond READ_AGAIN_BYTES, if all their lines are whole, are left as
    they are, and each query reads them again. Otherwise the rows are kept in memory up to IN_MEMORY_BYTES, and beyond
    in a Parquet file, of which a query reads the columns it needs. It lies in a directory of its own below `folder`
    (the system's temporary one, where that is None or cannot be written to), which goes with the connection; so do
    copies of files that must be mended.

    Raises DataFormatError where the header of a file lacks a column or is none.
    """
    below = folder if folder is not None and os.access(folder, os.W_OK) else None

    @cache
    def directory() -> Path:
        made = tempfile.TemporaryDirectory(prefix=".requests-", dir=below)
        weakref.finalize(db, made.cleanup)
        return Path(made.name)

    size = sum(file.stat().st_size for file in files)
    in_memory = size <= IN_MEMORY_BYTES
    of_headers = _by_header(files)
    cut = _cut(files)
    kept = None
    if of_headers:
        kept = _keep_whole(db, of_headers, cut, in_memory, few_queries and size > READ_AGAIN_BYTES)
    if kept is not None:
        source, unreadable = kept.source, Counter[str]()
    else:
        source, unreadable = _readable_rows(db, of_headers, in_memory, directory)
    counted = _count_index(db, kept) if isinstance(kept, RowsInFiles) else _count(db, source, cut)
    if any(file.cut for file in counted):
        unreadable.update({file.name: file.cut for file in counted if file.cut})
        source, kept = f"(FROM {source} WHERE ({cut}) IS NOT TRUE)", None
    if in_memory and kept is None:
        kept = RowsInMemory(db, db.sql(f"FROM {source}").to_arrow_table())
        source = kept.source
        db.execute("DROP TABLE IF EXISTS readable_rows")
    create_requests_view(db, source)
    different = {file.name: file.rows for file in counted}
    if not all(file.in_order for file in counted):
        different |= dict(db.execute("SELECT file, count(DISTINCT seq) FROM requests GROUP BY file").fetchall())
    return RequestsRead(
        rows=sum(file.rows for file in counted),
        numbers=sum(file.rows + file.cut for file in counted),
        unreadable=dict(sorted(unreadable.items())),
        missing={file.name: file.last - different[file.name] for file in counted if file.last > different[file.name]},
        repeated={file.name: file.rows - different[file.name] for file in counted if file.rows > different[file.name]},
        copies=_copies(files),
        kept=kept or RequestRows(db),
    )


def create_requests_view(db: duckdb.DuckDBPyConnection, source: str) -> None:
    """Make the view `requests` of an SQL source that has the columns of a requests file and `row`."""
    db.execute(
        f"""CREATE OR REPLACE VIEW requests AS
            SELECT *, {ENDPOINT} AS endpoint, {SENT} AS sent, phase = 'measure' AS measured,
                   started_at + response_ms / 1000 AS ended_at
            FROM {source}"""
    )


def _cut(files: Sequence[Path]) -> str:
    """SQL: whether a row is none: it lacks a value that each has, holds a number that no writer of ours has written, or
    was cut inside its last column, where it still has all of them."""
    cut = "seq IS NULL OR ok IS NULL OR phase IS NULL OR phase NOT IN ('warmup', 'measure')"
    cut += f" OR started_at IS NULL AND (scheduled_at IS NULL OR {SENT})"
    cut += "".join(f" OR {name} NOT BETWEEN {least} AND {most}" for name, (least, most) in _RANGES.items())
    for file in files:
        if (seq := _unended_line(file)) is not None:
            cut += f" OR file = {literal(file.name)} AND seq = {seq}"
    return cut


def _unended_line(file: Path) -> int | None:
    """The `seq` of a last line that has all columns but no line end, and may have lost some of its last value."""
    with file.open("rb") as lines:
        columns = lines.readline().decode(errors="replace").rstrip("\n").split(",")
        lines.seek(max(0, lines.seek(0, os.SEEK_END) - LONGEST_LINE_BYTES))
        last = lines.read().rpartition(b"\n")[2].decode(errors="replace")
    if not last or columns[-1] == "phase":
        return None
    try:
        values = next(csv.reader([last]), [])
    except csv.Error:
        return None
    row = dict(zip(columns, values, strict=False))
    return int(row["seq"]) if len(values) == len(columns) and row["seq"].isdecimal() else None


def _by_header(files: Sequence[Path]) -> dict[tuple[str, ...], list[str]]:
    """Header -> the files that have it. A file without a row is left out: nothing had been written yet."""
    found = defaultdict(list)
    for file in files:
        with file.open(newline="", encoding="utf-8", errors="replace") as lines:
            try:
                header = tuple(next(csv.reader(lines), ()))
            except csv.Error as unreadable:
                raise DataFormatError(f"{file}: {unreadable}", "its first line must name the columns") from None
            has_rows = lines.read(1) != ""
        if not header:
            continue
        absent = [column for column in REQUEST_COLUMNS if column not in header and column not in ADDED_COLUMNS]
        if absent:
            raise DataFormatError(f"{file}: no column {', '.join(absent)}", "its first line must name the columns")
        if has_rows:
            found[header].append(str(file))
    return found


def _copies(files: Sequence[Path]) -> dict[str, str]:
    """See RequestsRead. No two requests begin in the same microsecond with the same ids."""
    found, seen = {}, dict[bytes, str]()
    for file in files:
        with file.open("rb") as lines:
            lines.readline()
            first = lines.readline()
        if first and seen.setdefault(first, file.name) != file.name:
            found[file.name] = seen[first]
    return found


def _keep_whole(
    db: duckdb.DuckDBPyConnection,
    of_headers: Mapping[tuple[str, ...], Sequence[str]],
    cut: str,
    in_memory: bool,
    read_again: bool,
) -> RowsInMemory | RowsInFiles | None:
    """None where a line is not whole, or the rows are to be kept in a file of their own. Rows beside a line that is no
    row are not read again."""
    try:
        lines = WholeLines.of(of_headers, _ARROW_COLUMNS)
        if read_again:
            rows = RowsInFiles(db, lines, cut)
            if not rows.has_cut:
                return rows
            rows.forget()
        return RowsInMemory(db, lines.table()) if in_memory else None
    except DamagedLineError:
        return None


def _readable_rows(
    db: duckdb.DuckDBPyConnection,
    of_headers: Mapping[tuple[str, ...], Sequence[str]],
    in_memory: bool,
    directory: Callable[[], Path],
) -> tuple[str, Counter[str]]:
    """SQL for the rows of all lines that can be read, and file name -> lines that cannot."""
    target = None if in_memory else directory() / "requests.parquet"
    files = [Path(file) for same in of_headers.values() for file in same]
    mended, left_out = _mended([file for file in files if _has_long_line(file)], directory)
    try:
        unreadable = _keep_rows(db, of_headers, mended, target)
    except duckdb.InvalidInputException:  # which does not say where: at a carriage return inside a line, for one
        for table in _REJECTS:
            db.execute(f"DROP TABLE IF EXISTS {table}")
        mended, left_out = _mended(files, directory)
        unreadable = _keep_rows(db, of_headers, mended, target)
    also_mended, also_left_out = _mended([file for file in files if file.name in unreadable], directory)
    if also_mended:
        mended, left_out = mended | also_mended, left_out | also_left_out
        unreadable = _keep_rows(db, of_headers, mended, target)
    source = "(SELECT *, rowid AS row FROM readable_rows)"
    if target is not None:
        rows = f"read_parquet({literal(str(target))}, file_row_number = true)"
        source = f"(SELECT * RENAME (file_row_number AS row) FROM {rows})"
    return source, unreadable + left_out


def _keep_rows(
    db: duckdb.DuckDBPyConnection,
    of_headers: Mapping[tuple[str, ...], Sequence[str]],
    mended: Mapping[str, str],
    target: Path | None,
) -> Counter[str]:
    """Put the rows of all files, or of their mended copies, into a Parquet file, or without one into the table
    `readable_rows`.

    -> file name -> lines that could not be read.
    """
    queries = [_read(header, [mended.get(file, file) for file in same]) for header, same in of_headers.items()]
    query = " UNION ALL ".join(queries) or _NO_ROWS
    if target is None:
        db.execute(f"CREATE OR REPLACE TABLE readable_rows AS {query}")
    else:
        db.execute(f"COPY ({query}) TO {literal(str(target))} ({PARQUET})")
    return _unreadable_lines(db) if queries else Counter()


def _has_long_line(file: Path) -> bool:
    """Whether a line may be longer than LONGEST_LINE_BYTES: then some half of that has no line end in it."""
    size, half = file.stat().st_size, LONGEST_LINE_BYTES // 2
    if size <= LONGEST_LINE_BYTES:
        return False
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return any(text.find(b"\n", start, start + half) < 0 for start in range(0, size - half, half))


def _mended(files: Sequence[Path], folder: Callable[[], Path]) -> tuple[dict[str, str], Counter[str]]:
    """Copies of those files that have long lines, which are shortened, or lines with an open quote, or with a carriage
    return in the middle, which are left out.

    -> (file -> its copy below `folder`, file name -> lines left out). A reader of CSV takes all from an open quote up
    to the next one, or to the end of the file, for one value; a row of ours is one line, which has all its quotes or is
    damaged.
    """
    copies, left_out = {}, Counter[str]()
    for file in files:
        copy = Path(tempfile.mkdtemp(dir=folder())) / file.name
        changed = False
        with file.open("rb") as lines, copy.open("wb") as kept:
            for line in lines:
                long = len(line) > LONGEST_LINE_BYTES
                broken = line.count(b'"') % 2 or (b"\r" in line[:-2] and b'"' not in line)
                whole = b"" if broken else _shortened(line) if long else line
                left_out[file.name] += not whole
                changed |= whole != line
                kept.write(whole)
        if changed:
            copies[str(file)] = str(copy)
    return copies, +left_out


def _shortened(line: bytes) -> bytes:
    """A row with its texts cut to LONGEST_TEXT characters; nothing where it is damaged."""
    longest = csv.field_size_limit(len(line))
    try:
        values = next(csv.reader([line.decode(errors="replace")]))
    except csv.Error:
        return b""
    finally:
        csv.field_size_limit(longest)
    row = io.StringIO(newline="")
    csv.writer(row, lineterminator="\n").writerow([value[:LONGEST_TEXT] for value in values])
    return row.getvalue().encode() if line.endswith(b"\n") else b""


def _read(header: Sequence[str], files: Sequence[str]) -> str:
    """A query of the files of one header.

    Columns that are none of ours (of a later version, or the user's own) are passed over; those of ours that an earlier
    version did not have are NULL.
    """
    values = (name if name in header else f"NULL::{kind} AS {name}" for name, kind in COLUMN_TYPES.items())
    types = "{" + ", ".join(f"{literal(name)}: '{COLUMN_TYPES.get(name, 'VARCHAR')}'" for name in header) + "}"
    return f"""
        SELECT parse_filename(filename) AS file, {", ".join(values)}
        FROM read_csv([{", ".join(map(literal, files))}], columns = {types}, header = true, auto_detect = false,
                      delim = ',', quote = '"', escape = '"', nullstr = '', filename = true,
                      buffer_size = {_DUCKDB_READS_BYTES}, ignore_errors = true, store_rejects = true)"""


_NO_ROWS = "SELECT NULL::VARCHAR AS file, {} WHERE false".format(
    ", ".join(f"NULL::{kind} AS {name}" for name, kind in COLUMN_TYPES.items())
)


_REJECTS = ("reject_errors", "reject_scans")
"""Where DuckDB keeps what `store_rejects` is about."""


def _unreadable_lines(db: duckdb.DuckDBPyConnection) -> Counter[str]:
    """File name -> lines that the queries of `_read` passed over."""
    found = db.execute(
        """SELECT parse_filename(file_path), count(DISTINCT line)
           FROM reject_errors JOIN reject_scans USING (scan_id, file_id) GROUP BY file_path"""
    ).fetchall()
    for table in _REJECTS:
        db.execute(f"DROP TABLE {table}")
    return Counter(dict(found))


@dataclass(frozen=True)
class _Counted:
    """Of one file, as a query found it."""

    name: str
    rows: int
    cut: int
    """Lines that are no rows (`_cut`)."""
    last: int
    """The last sequence number of the rows; 0 where there are none."""
    in_order: bool
    """Whether each row's number follows that of the one before: then they are different."""


def _count(db: duckdb.DuckDBPyConnection, source: str, cut: str) -> list[_Counted]:
    rows = f"(SELECT file, seq, row, ({cut}) IS TRUE AS cut FROM {source})"
    return [_Counted(*values) for values in db.execute(_COUNT.format(rows=rows)).fetchall()]


def _count_index(db: duckdb.DuckDBPyConnection, kept: RowsInFiles) -> list[_Counted]:
    rows = f"(SELECT file, seq, rowid AS row, cut FROM {kept.index})"
    return [_Counted(kept.files[file], *counts) for file, *counts in db.execute(_COUNT.format(rows=rows)).fetchall()]


_COUNT = """
    SELECT file, count(*) FILTER (NOT cut), count(*) FILTER (cut), coalesce(max(seq) FILTER (NOT cut), 0),
           coalesce(min(seq - row) FILTER (NOT cut) = max(seq - row) FILTER (NOT cut), true)
    FROM {rows} GROUP BY file ORDER BY file"""


def literal(text: str) -> str:
    """An SQL string literal: for the places, such as a table function's options, that take no parameter."""
    return "'" + text.replace("'", "''") + "'"
