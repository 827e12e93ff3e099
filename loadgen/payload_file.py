"""Payload files: JSONL or CSV, one row a request, read in chunks and never whole.

A file is surveyed once, from end to end, before any load: every row is checked, and what is wrong with the file is said
with line numbers while nothing has been sent. What stays in memory is where its chunks begin: 24 bytes for every
quarter of a megabyte. Afterwards a chunk is read when its turn comes, and a row is parsed when it is used.

JSONL: one JSON object a line. CSV: RFC 4180, with a header; fields are strings and may hold line breaks in quotes.
Both in UTF-8, with LF or CRLF, with or without a line's end after the last row; empty lines are passed over.
"""

from __future__ import annotations

import csv
import hashlib
import io
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

CHUNK_BYTES = 256 * 1024
MAX_ROW_BYTES = 10 * 1024 * 1024
"""What API Gateway takes as a body (AWS documentation, quotas)."""
KINDS = (".jsonl", ".csv")
_MAX_PROBLEMS = 20
_BOM = b"\xef\xbb\xbf"

Row = dict[str, Any]

csv.field_size_limit(MAX_ROW_BYTES)


class PayloadFileError(Exception):
    """A payload file cannot be used; `problems` name the file and, where there is one, the line."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Chunk(NamedTuple):
    """Whole rows that stand side by side in the file."""

    start: int
    end: int
    """Offsets in bytes."""
    line: int
    """Number of its first line in the file, from 1."""
    rows: int


class Record(NamedTuple):
    """One row as it stands in the file."""

    line: int
    text: bytes


class Chunks:
    """Where the chunks of a file are."""

    def __init__(self) -> None:
        self._starts, self._lines, self._rows = array("Q"), array("Q"), array("Q")
        self._end = 0
        self.total_rows = 0

    def append(self, chunk: Chunk) -> None:
        """Chunks are appended in the file's order."""
        self._starts.append(chunk.start)
        self._lines.append(chunk.line)
        self._rows.append(chunk.rows)
        self._end = chunk.end
        self.total_rows += chunk.rows

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Chunk:
        end = self._starts[index + 1] if index + 1 < len(self._starts) else self._end
        return Chunk(self._starts[index], end, self._lines[index], self._rows[index])


@dataclass(frozen=True)
class PayloadFile:
    """A file whose rows are all sound."""

    path: Path
    size: int
    sha256: str
    columns: tuple[str, ...]
    """Of a CSV file; empty for JSONL."""
    chunks: Chunks = field(repr=False)

    @property
    def rows(self) -> int:
        return self.chunks.total_rows


def survey(path: Path) -> PayloadFile:
    """Read a file once and check every row. Raises PayloadFileError with the first problems, each with its line."""
    if path.suffix not in KINDS:
        raise PayloadFileError([f"{path}: a payload file is called *.jsonl or *.csv"])
    is_csv = path.suffix == ".csv"
    problems: list[str] = []
    digest, chunks = hashlib.sha256(), Chunks()
    columns: tuple[str, ...] | None = None if is_csv else ()
    try:
        with path.open("rb") as file:
            for start, line, data in _blocks(file, is_csv, digest.update):
                if columns is None:
                    header = next(records(data, line, is_csv), None)
                    if header is None:
                        continue
                    columns = _header(path, header)
                    begins = data.index(header.text) + len(header.text) + 1
                    start, data = start + begins, data[begins:]
                    line = header.line + header.text.count(b"\n") + 1
                rows, unsound = _check(data, line, columns)
                problems += [f"{path}:{problem}" for problem in unsound]
                if len(problems) >= _MAX_PROBLEMS:
                    raise PayloadFileError(problems[:_MAX_PROBLEMS])
                if rows:
                    chunks.append(Chunk(start, start + len(data), line, rows))
            size = file.tell()
    except OSError as failure:
        raise PayloadFileError([f"{path}: {(failure.strerror or str(failure)).lower()}"]) from None
    except _TooLongError as too_long:
        problems.append(f"{path}:{too_long}")
    if not problems and not chunks.total_rows:
        problems.append(f"{path}: there is no row in it")
    if problems:
        raise PayloadFileError(problems)
    return PayloadFile(path, size, digest.hexdigest(), columns or (), chunks)


def sha256_of(path: Path, pause: Callable[[], None]) -> str:
    """The digest of a file; `pause` is called between its chunks. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
            pause()
    return digest.hexdigest()


def read_chunk(path: Path, chunk: Chunk) -> list[Record]:
    """The rows of a chunk. Raises PayloadFileError where the file is not what was surveyed any more."""
    try:
        with path.open("rb") as file:
            file.seek(chunk.start)
            data = file.read(chunk.end - chunk.start)
    except OSError as failure:
        raise PayloadFileError([f"{path}: {(failure.strerror or str(failure)).lower()}"]) from None
    found = list(records(data, chunk.line, path.suffix == ".csv"))
    if len(found) != chunk.rows:
        raise PayloadFileError([f"{path}: it has changed since the run began"])
    return found


def records(data: bytes, line: int, is_csv: bool) -> Iterator[Record]:
    """The rows in a piece of a file that begins with line number `line`; empty lines are no rows."""
    if not (is_csv and b'"' in data):
        for text in data.split(b"\n"):
            if text and not text.isspace():
                yield Record(line, text)
            line += 1
        return
    # A line break in quotes belongs to its field: there has been an odd number of quotes by then.
    held: list[bytes] = []
    quotes = 0
    for text in data.split(b"\n"):
        quotes += text.count(b'"')
        held.append(text)
        if quotes % 2 == 0:
            whole = b"\n".join(held)
            if whole and not whole.isspace():
                yield Record(line, whole)
            line += len(held)
            held = []
    if held and (whole := b"\n".join(held)).strip():
        yield Record(line, whole)


def parse(text: bytes, columns: tuple[str, ...]) -> Row:
    """The row in a record. Raises ValueError saying what is wrong with it."""
    if columns:
        fields = _fields(text)
        if len(fields) != len(columns):
            raise ValueError(f"{len(fields)} fields, and the header has {len(columns)}")
        return dict(zip(columns, fields, strict=True))
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as malformed:
        raise ValueError(f"not valid JSON: {malformed.msg} (column {malformed.colno})") from None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return row


def _check(data: bytes, line: int, columns: tuple[str, ...]) -> tuple[int, list[str]]:
    """How many rows there are in a piece of a file, and what is wrong with them: `<line>: <what>`."""
    found = list(records(data, line, bool(columns)))
    if columns and _is_sound(data, len(found), len(columns)):
        return len(found), []
    problems = []
    for record in found:
        try:
            parse(record.text, columns)
        except ValueError as unsound:
            problems.append(f"{record.line}: {unsound}")
    return len(found), problems


def _is_sound(data: bytes, rows: int, columns: int) -> bool:
    """Whether the reader of the standard library finds so many rows of so many fields, all at once: row by row it takes
    five times as long. False says nothing yet."""
    try:
        lengths = Counter(map(len, csv.reader(io.StringIO(data.decode(), newline=""), strict=True)))
    except (UnicodeDecodeError, csv.Error):
        return False
    del lengths[0]
    return lengths == Counter({columns: rows})


def _header(path: Path, record: Record) -> tuple[str, ...]:
    try:
        columns = tuple(name.strip() for name in _fields(record.text))
    except ValueError as unsound:
        raise PayloadFileError([f"{path}:{record.line}: {unsound}"]) from None
    if not all(columns) or len(set(columns)) != len(columns):
        raise PayloadFileError([f"{path}:{record.line}: the header names a column twice, or one not at all"])
    return columns


def _fields(text: bytes) -> list[str]:
    try:
        decoded = text.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    try:
        rows = list(csv.reader([decoded], strict=True))
    except csv.Error as malformed:
        # What its reader takes for the beginning of a second row.
        said = "a quote in a field that is not quoted" if "new-line" in str(malformed) else str(malformed)
        raise ValueError(f"not valid CSV: {said}") from None
    [row] = rows
    return row


class _TooLongError(Exception):
    """A row is too long to be one; the text is `<line>: <what>`."""


def _blocks(file: Any, is_csv: bool, digest: Callable[[bytes], object]) -> Iterator[tuple[int, int, bytes]]:
    """Offset, line number and bytes of pieces that end with a row, each about CHUNK_BYTES long."""
    held, start, line = b"", 0, 1
    while data := file.read(CHUNK_BYTES):
        digest(data)
        if not start and not held and data.startswith(_BOM):
            data, start = data[len(_BOM) :], len(_BOM)
        held += data
        end = _last_row_end(held, is_csv)
        if end:
            yield start, line, held[:end]
            line += held.count(b"\n", 0, end)
            start, held = start + end, held[end:]
        elif len(held) > MAX_ROW_BYTES:
            raise _TooLongError(f"{line}: a row of more than {MAX_ROW_BYTES} bytes" + (_UNCLOSED if is_csv else ""))
    if held:
        yield start, line, held


_UNCLOSED = ", or a quote that is never closed"


def _last_row_end(data: bytes, is_csv: bool) -> int:
    """Where the last row that ends in `data` does, 0 where none does. `data` begins with a row."""
    end = data.rfind(b"\n")
    if is_csv:
        quotes = data.count(b'"', 0, end + 1)
        while end >= 0 and quotes % 2:
            before = data.rfind(b"\n", 0, end)
            quotes -= data.count(b'"', before + 1, end)
            end = before
    return end + 1
