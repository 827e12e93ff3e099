"""The raw log events of a pull: one Parquet file per slice, saved as it arrives, so that an interrupted pull resumes.

Columns, all text as Logs Insights gave it: `function` (logical name), `log_group`, `log_stream`, `timestamp`,
`message`, `ptr`. What the file holds is said in its own metadata, so that no second file can disagree with it.

Each event is in one file, once: neighbouring slices both ask for the second at which they meet, and the earlier one
drops it on arrival; of those cut by request ids, the part of the first id that an event names has it; of rows with one
`@ptr` in an answer the first is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import PullError
from analysis.insights import Row, epoch_s
from analysis.log_queries import belongs
from analysis.slices import Slice

SCHEMA = pa.schema(
    [
        ("function", pa.dictionary(pa.int32(), pa.string())),
        ("log_group", pa.dictionary(pa.int32(), pa.string())),
        ("log_stream", pa.string()),
        ("timestamp", pa.string()),
        ("message", pa.string()),
        ("ptr", pa.string()),
    ]
)
_METADATA_KEY = b"swarmscope.slice"
_ACCOUNT = re.compile(r"^\d{12}:")


@dataclass(frozen=True)
class Piece:
    """What to ask: one query for one slice of some log groups."""

    query: str
    """Name of the query."""
    groups: tuple[tuple[str, str], ...]
    """Each with the logical name of its function before it, or `access` before the API's access log."""
    slice: Slice
    text: str
    """The query as sent; a piece asked with another text is another piece."""
    limit: int

    @property
    def file_name(self) -> str:
        one = self.slice
        groups = hashlib.blake2b(repr(self.groups).encode(), digest_size=4).hexdigest()
        prefixes = filter(None, (one.request_prefix, one.stream_prefix))
        return "-".join([self.query, groups, str(one.start), str(one.end), *prefixes]) + ".parquet"


@dataclass(frozen=True)
class Fetched:
    """A piece whose answer is on the disk."""

    piece: Piece
    path: Path
    read_at: float
    """Epoch seconds at which the query was started: later events are not in it."""
    rows: int
    """Those that belong to the slice."""
    matched: int | None
    """What the target says the filter matched; None where it does not say."""
    bytes_scanned: int | None
    newest: str | None
    """The newest @timestamp, as text that sorts by time; None without rows."""


def save(
    folder: Path, piece: Piece, rows: Sequence[Row], read_at: float, matched: int | None, bytes_scanned: int | None
) -> Fetched:
    """Write the rows that belong to a piece, whole or not at all.

    Raises PullError for a row of a group that was not asked for, or without a time that can be read.
    """
    rows, pointers = _own(piece, rows)
    groups = [_group_of(row, piece) for row in rows]
    functions = {group: function for function, group in piece.groups}
    timestamps = [row.get("@timestamp") for row in rows]
    fetched = Fetched(
        piece,
        folder / piece.file_name,
        read_at,
        len(rows),
        matched,
        bytes_scanned,
        max((timestamp for timestamp in timestamps if timestamp is not None), default=None),
    )
    described = json.dumps({key: value for key, value in asdict(fetched).items() if key != "path"})
    columns = [
        pa.array([functions[group] for group in groups], pa.string()).dictionary_encode(),
        pa.array(groups, pa.string()).dictionary_encode(),
        pa.array([row.get("@logStream") for row in rows], pa.string()),
        pa.array(timestamps, pa.string()),
        # a lone surrogate, possible in a JSON answer, has no UTF-8 form
        pa.array([row.get("@message", "").encode("utf-8", "replace").decode() for row in rows], pa.string()),
        pa.array(pointers, pa.string()),
    ]
    table = pa.Table.from_arrays(columns, schema=SCHEMA.with_metadata({_METADATA_KEY: described.encode()}))
    folder.mkdir(parents=True, exist_ok=True)
    temporary = fetched.path.with_suffix(".partial")
    pq.write_table(table, temporary, compression="lz4")
    temporary.replace(fetched.path)
    return fetched


def saved(folder: Path) -> Iterator[Fetched]:
    """What earlier pulls have saved. Files that are not whole or not ours are passed over."""
    for path in sorted(folder.glob("*.parquet")) if folder.is_dir() else ():
        try:
            described = json.loads((pq.read_schema(path).metadata or {})[_METADATA_KEY])
            asked = described.pop("piece")
            groups = tuple((function, group) for function, group in asked.pop("groups"))
            yield Fetched(Piece(slice=Slice(**asked.pop("slice")), groups=groups, **asked), path, **described)
        except (KeyError, TypeError, ValueError, pa.ArrowException):
            continue


def _own(piece: Piece, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows from the beginning of the slice up to, not including, its last second, whose first request id has its
    prefix, each once, and their ids."""
    slice_ = piece.slice
    own: dict[str, Row] = {}
    inside: dict[str, bool] = {}
    for row, pointer in zip(rows, _pointers(rows), strict=True):
        second = row.get("@timestamp", "")[:19]
        if second not in inside:
            try:
                inside[second] = slice_.start <= epoch_s(row["@timestamp"]) < slice_.end
            except (KeyError, ValueError):
                at = row.get("@timestamp", "absent")
                raise PullError(f"query {piece.query} gave a row whose @timestamp is no time: {at}") from None
        if inside[second] and belongs(row.get("@message", ""), slice_.request_prefix):
            own.setdefault(pointer, row)
    return list(own.values()), list(own)


def _group_of(row: Row, piece: Piece) -> str:
    """By @log, which is the account and the group; some emulators leave the account out, or all of it."""
    log = row.get("@log")
    groups = [group for _, group in piece.groups]
    if log is None and len(groups) == 1:
        return groups[0]
    group = _ACCOUNT.sub("", log or "")
    if group not in groups:
        raise PullError(f"query {piece.query} gave a row of log group {log!r}, which it was not asked for")
    return group


def _pointers(rows: Sequence[Row]) -> list[str]:
    """The @ptr of each row; where a target gives none, an id made of what the row says.

    Events that are equal in everything are told apart by their number.
    """
    pointers: list[str] = []
    equal: Counter[str] = Counter()
    for row in rows:
        pointer = row.get("@ptr")
        if pointer is None:
            said = "\0".join(row.get(field, "") for field in ("@log", "@logStream", "@timestamp", "@message"))
            digest = hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=16).hexdigest()
            pointer = f"{digest}-{equal[digest]}"
            equal[digest] += 1
        pointers.append(pointer)
    return pointers
