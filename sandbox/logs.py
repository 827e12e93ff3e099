"""Every log event the sandbox wrote, cheap to append and small to keep.

The data path appends (about a microsecond); when enough has gathered, a worker thread turns the chunk into a Parquet
segment in a temporary folder. Whoever reads takes a `Snapshot`: the segments that can hold events of a time window
plus what has not reached the disk yet. This module knows nothing of queries (see `sandbox.insights`) or of the API
(see `sandbox.logs_api`).

An event becomes visible at its ingestion time, which is its own time plus a lag: as on AWS, logs trail what they tell.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

EVENT_SCHEMA = pa.schema(
    [
        ("seq", pa.int64()),  # order of appending, unique in the store
        ("log_group", pa.string()),
        ("log_stream", pa.string()),
        ("at_ms", pa.int64()),  # the event's own time, epoch milliseconds
        ("ingested_ms", pa.int64()),  # visible from here on
        ("size", pa.int32()),  # UTF-8 bytes of the message
        ("message", pa.string()),
    ]
)
"""Columns of an event, in memory and on disk."""

_CONVERT_ROWS = 4_096  # turned into Arrow in one go: some 0.5 ms during which no other thread runs

Lag = Callable[[str, str, float], float]
"""(log group, log stream, timestamp) -> seconds until the event is visible."""


def no_lag(group: str, stream: str, timestamp: float) -> float:
    return 0.0


class _Chunk:
    """Events in memory, column by column."""

    __slots__ = ("first_seq", "groups", "ingested", "messages", "streams", "timestamps")

    def __init__(self, first_seq: int) -> None:
        self.first_seq = first_seq
        self.groups: list[str] = []
        self.streams: list[str] = []
        self.timestamps: list[float] = []
        self.ingested: list[float] = []
        self.messages: list[str] = []

    def __len__(self) -> int:
        return len(self.messages)  # the column appended last: every row below this length is whole

    def copy(self) -> _Chunk:
        rows = len(self)
        chunk = _Chunk(self.first_seq)
        chunk.groups = self.groups[:rows]
        chunk.streams = self.streams[:rows]
        chunk.timestamps = self.timestamps[:rows]
        chunk.ingested = self.ingested[:rows]
        chunk.messages = self.messages[:rows]
        return chunk

    def to_arrow(self) -> pa.Table:
        batches = [self._batch(at, at + _CONVERT_ROWS) for at in range(0, len(self), _CONVERT_ROWS)]
        return pa.Table.from_batches(batches, EVENT_SCHEMA)

    def _batch(self, start: int, stop: int) -> pa.RecordBatch:
        messages = _strings(self.messages[start:stop])
        columns = [
            np.arange(self.first_seq + start, self.first_seq + start + len(messages)),
            _strings(self.groups[start:stop]),
            _strings(self.streams[start:stop]),
            _milliseconds(self.timestamps[start:stop]),
            _milliseconds(self.ingested[start:stop]),
            pc.binary_length(messages),
            messages,
        ]
        return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=EVENT_SCHEMA)


def _strings(texts: list[str]) -> pa.StringArray:
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:  # lone surrogates: a log line that has one loses only that character
        return pa.array([text.encode("utf-8", "replace").decode() for text in texts], pa.string())


def _milliseconds(seconds: list[float]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.rint(np.array(seconds) * 1000).astype(np.int64)


def _ingested(events: pa.Table) -> dict[tuple[str, int], int]:
    """(log group, minute since the epoch) -> bytes that arrived."""
    minutes = pc.divide(events.column("ingested_ms"), 60_000)
    table = pa.table({"group": events.column("log_group"), "minute": minutes, "size": events.column("size")})
    totals = table.group_by(["group", "minute"]).aggregate([("size", "sum")]).to_pylist()
    return {(row["group"], row["minute"]): row["size_sum"] for row in totals}


@dataclass(frozen=True)
class Segment:
    """One Parquet file of events."""

    path: Path
    groups: frozenset[str]
    first_ms: int
    last_ms: int
    ingested: Mapping[tuple[str, int], int]
    """(log group, minute since the epoch) -> bytes that arrived."""


@dataclass(frozen=True)
class Snapshot:
    """What the store held at one moment: later events do not show in it.

    The files stay where they are until the store is closed or cleared.
    """

    segments: tuple[Segment, ...]
    chunks: tuple[_Chunk, ...]

    @property
    def paths(self) -> list[str]:
        return [str(segment.path) for segment in self.segments]

    def tail(self) -> pa.Table:
        """The events that are in no segment yet, in EVENT_SCHEMA. Takes some milliseconds: not for the event loop."""
        return pa.concat_tables([EVENT_SCHEMA.empty_table(), *(chunk.to_arrow() for chunk in self.chunks)])


class LogStore:
    """Log events of all groups. `append` belongs to one thread; every other method may be called from any."""

    def __init__(
        self,
        lag: Lag = no_lag,
        *,
        folder: Path | None = None,
        executor: Executor | None = None,
        chunk_rows: int = 50_000,
        chunk_characters: int = 32_000_000,
        max_waiting_chunks: int = 4,
    ) -> None:
        """`folder`: where segments go (a temporary folder that goes with the process where None). `executor` writes
        them (one thread of our own where None). Memory is bounded by `max_waiting_chunks` chunks of `chunk_rows`
        events or `chunk_characters` characters each; should the disk fall behind that far, `append` waits for it."""
        self.lag = lag
        self._temporary = tempfile.TemporaryDirectory(prefix="sandbox-logs-")
        self._folder = folder or Path(self._temporary.name)
        self._owns_executor = executor is None
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="log-segments")
        self._chunk_rows = chunk_rows
        self._chunk_characters = chunk_characters
        self._max_waiting = max_waiting_chunks
        self._numbers = count()
        self._lock = threading.Lock()
        self._segments: list[Segment] = []
        self._waiting: dict[_Chunk, Future[None]] = {}
        self._open = _Chunk(0)
        self._characters = 0
        _strings([""])  # the first conversion makes pyarrow import pandas: 0.2 s, better now than under load

    def append(self, group: str, stream: str, timestamp: float, message: str) -> None:
        """Write one event. `timestamp`: epoch seconds; kept to the millisecond, as CloudWatch Logs does."""
        chunk = self._open
        chunk.groups.append(group)
        chunk.streams.append(stream)
        chunk.timestamps.append(timestamp)
        chunk.ingested.append(timestamp + self.lag(group, stream, timestamp))
        chunk.messages.append(message)
        self._characters += len(message)
        if len(chunk.messages) >= self._chunk_rows or self._characters >= self._chunk_characters:
            self._seal()

    def __len__(self) -> int:
        return self._open.first_seq + len(self._open)

    def snapshot(self, groups: Collection[str], start_ms: int, end_ms: int) -> Snapshot:
        """What can hold events of these groups between two instants (both inclusive); quick enough for the event loop.
        It may hold others too: the reader filters."""
        wanted = frozenset(groups)
        with self._lock:
            segments = tuple(
                segment
                for segment in self._segments
                if segment.first_ms <= end_ms and segment.last_ms >= start_ms and segment.groups & wanted
            )
            chunks = (*self._waiting, self._open.copy())
        return Snapshot(segments, tuple(chunk for chunk in chunks if len(chunk)))

    def ingested_bytes(self, group: str) -> dict[int, float]:
        """Minute since the epoch -> bytes of messages that arrived for a group in it."""
        with self._lock:
            tallies = [segment.ingested for segment in self._segments]
            chunks = (*self._waiting, self._open.copy())
        tallies += [_ingested(chunk.to_arrow()) for chunk in chunks if group in chunk.groups]
        total: dict[int, float] = {}
        for tally in tallies:
            for (of, minute), size in tally.items():
                if of == group:
                    total[minute] = total.get(minute, 0.0) + size
        return total

    def flush(self) -> None:
        """Put everything on disk and wait for it."""
        if len(self._open):
            self._seal()
        for future in self._futures():
            future.result()

    def clear(self) -> None:
        """Forget every event."""
        for future in self._futures():
            future.result()
        with self._lock:
            gone, self._segments = self._segments, []
            self._open = _Chunk(self._open.first_seq + len(self._open))
            self._characters = 0
        for segment in gone:
            segment.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop the writer and remove the temporary folder."""
        if self._owns_executor:
            self._executor.shutdown(wait=True)
        self._temporary.cleanup()

    def _futures(self) -> Sequence[Future[None]]:
        with self._lock:
            return list(self._waiting.values())

    def _seal(self) -> None:
        waiting = self._futures()
        if len(waiting) >= self._max_waiting:
            waiting[0].result()
        chunk, self._characters = self._open, 0
        path = self._folder / f"events-{next(self._numbers):06d}.parquet"
        written: Future[None] = Future()
        with self._lock:
            self._waiting[chunk] = written
            self._open = _Chunk(chunk.first_seq + len(chunk))
        self._executor.submit(self._write, chunk, path, written)

    def _write(self, chunk: _Chunk, path: Path, written: Future[None]) -> None:
        try:
            # ordered by group, so that a query for one function skips the rows of the others
            table = chunk.to_arrow().sort_by([("log_group", "ascending"), ("seq", "ascending")])
            pq.write_table(table, path, compression="zstd", compression_level=1, row_group_size=16_384)
            at_ms = table.column("at_ms").to_numpy()
            segment = Segment(path, frozenset(chunk.groups), int(at_ms.min()), int(at_ms.max()), _ingested(table))
            with self._lock:
                self._segments.append(segment)
                del self._waiting[chunk]
        except BaseException as error:  # the chunk stays in memory and stays readable; whoever waits is told
            written.set_exception(error)
            raise
        written.set_result(None)
