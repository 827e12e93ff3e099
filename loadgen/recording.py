"""One row per request, in the columns of `runstore.columns`, appended to one file per process.

A row is made soon after its request ends and written when `flush` is next called, ten times a second: a killed process
loses no more. Every row is one line, whatever servers and payloads put into it.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from loadgen.live import LiveCounter
from runstore.columns import DROPPED, HEADER

logger = logging.getLogger(__name__)

_DROPPED_FIELDS = f",,,,0,{DROPPED},".encode()
"""In the row of a dropped arrival and in no other: a request has a name."""
_SPECIAL = bytes(byte for byte in range(256) if not 0x20 <= byte < 0x7F or byte in b',"')
_SPECIAL_IN_A_ROW = HEADER.count(b",") + 1
"""The commas and the line's end of a row in which nothing else is special."""

TOGETHER = 16
"""Rows that are made one after another. Each by itself, between two requests, costs three times as much: what the
processor had at hand of it is gone by then. So many hold up others for a tenth of a millisecond or two.
"""
FEW_TOGETHER = 4
"""In the open model: an arrival that is due meanwhile is late by what they take."""

MAX_UNWRITTEN_BYTES = 64 * 1024 * 1024
"""What is kept for later while a disk takes nothing; beyond it rows are dropped and counted."""


Sink = Callable[[int, bytes], None]
"""Gets each flush of a log: the number of rows, and the rows as UTF-8 lines."""


class RowFile:
    """A file of rows that is only ever appended to, whole rows or nothing.

    What the disk does not take is kept and tried again with the next rows; nothing is raised. `problem` says what is
    wrong, None where all is written; `lost_rows` counts what had to be given up. `dropped_arrivals` counts those among
    all rows that stand for arrivals, not for requests.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost_rows = 0
        self.dropped_arrivals = 0
        self.problem: str | None = None
        self._descriptor: int | None = None
        self._written = 0
        self._unwritten = bytearray(HEADER)

    def append(self, rows: bytes) -> None:
        """Append whole lines."""
        self._unwritten += rows
        self.dropped_arrivals += rows.count(_DROPPED_FIELDS)
        try:
            self._write()
            self.problem = None
        except OSError as failure:
            if self.problem is None:
                logger.error(f"Cannot write request rows to {self.path}: {failure.strerror}. They are kept for later.")
            self.problem = f"{self.path.name}: {failure.strerror}"
            if len(self._unwritten) > MAX_UNWRITTEN_BYTES:
                self._drop()

    def close(self) -> None:
        """Write what is left, or count it as lost."""
        self.append(b"")
        self._drop()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def complaints(self) -> list[str]:
        """What a manifest should warn of, once the file is closed."""
        return [f"request rows could not be written: {self.problem}"] if self.problem is not None else []

    def _write(self) -> None:
        if self._descriptor is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if not self._unwritten:
            return
        taken = os.write(self._descriptor, self._unwritten)
        whole = taken if taken == len(self._unwritten) else self._unwritten.rfind(b"\n", 0, taken) + 1
        if whole < taken:
            os.ftruncate(self._descriptor, self._written + whole)
        self._written += whole
        del self._unwritten[:whole]
        if self._unwritten:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _drop(self) -> None:
        header_bytes = 0 if self._written else len(HEADER)
        self.lost_rows += self._unwritten.count(b"\n", header_bytes)
        del self._unwritten[header_bytes:]


class EndedRequest(NamedTuple):
    """What is recorded of a request, in the order and the words of `runstore.columns`."""

    scheduled_at: float | None
    started_at: float
    response_ms: float | None
    flow: str
    name: str
    method: str
    status: int | None
    error: str
    """Empty where it succeeded."""
    function_error: str
    request_id: str
    lambda_request_id: str
    trace_id: str
    correlation_id: str
    executed_version: str
    bytes_sent: int
    bytes_received: int
    init_ms: float | None


class RequestLog:
    """The rows of one process in one run."""

    def __init__(self, worker: int, measure_from: float, sink: Sink, together: int = TOGETHER) -> None:
        """`measure_from`: requests started earlier (epoch seconds) are marked `warmup`; `together`: rows are made so
        many at a time."""
        self.rows = 0
        self.together = together
        self.live = LiveCounter()
        """Every row is counted there, when it is made: at the latest with the next flush."""
        self._worker = worker
        self._measure_from = measure_from
        self._sink = sink
        self._ended: list[EndedRequest] = []
        self._unflushed: list[bytes] = []
        self._flushed_rows = 0

    def add(self, ended: EndedRequest) -> None:
        """Add the row of a request."""
        self.rows += 1
        self._ended.append(ended)
        if len(self._ended) == self.together:
            self._make_rows()

    def add_dropped(self, scheduled_at: float, flow: str) -> None:
        """Add the row of an arrival that was never sent: which request it would have been is not known."""
        self._make_rows()
        self.rows += 1
        measured = scheduled_at >= self._measure_from
        self.live.add_dropped(measured, flow)
        self._unflushed.append(
            f"{self._worker},{self.rows},{scheduled_at:.6f},,,{csv_field(flow)},,,,0,{DROPPED},,,,,,,,,"
            f"{'measure' if measured else 'warmup'},\n".encode()
        )

    def flush(self) -> None:
        """Hand the rows since the last flush to the sink."""
        self._make_rows()
        if self._unflushed:
            text, self._unflushed = b"".join(self._unflushed), []
            rows, self._flushed_rows = self.rows - self._flushed_rows, self.rows
            self._sink(rows, text)

    def _make_rows(self) -> None:
        """Make the rows of the requests that have ended since the last time, and count them."""
        if not self._ended:
            return
        ended, self._ended = self._ended, []
        first = self.rows - len(ended) + 1
        for scheduled_at, started_at, response_ms, flow, name, method, status, error, function_error, *_ in ended:
            lag_s = None if scheduled_at is None else started_at - scheduled_at
            self.live.add(
                started_at >= self._measure_from, flow, name, method, status, error, function_error, response_ms, lag_s
            )
        text = _plain("".join(self._lines(ended, first)), len(ended))
        if text is None:
            text = "".join(self._lines([tuple(map(_safe, fields)) for fields in ended], first)).encode()
        self._unflushed.append(text)

    def _lines(self, ended: Iterable[tuple[Any, ...]], first: int) -> list[str]:
        """Requests as lines, numbered from `first`."""
        worker, measure_from = self._worker, self._measure_from
        return [
            # Times as `:.6f`, at half the price.
            f"{worker},{seq},{'' if scheduled_at is None else f'{scheduled_at:.6f}'},"
            f"{(started_us := str(int(started_at * 1e6 + 0.5)))[:-6]}.{started_us[-6:]},"
            f"{'' if response_ms is None else f'{response_ms:.3f}'},"
            f"{flow},{name},{method},{'' if status is None else status},{'0' if error else '1'},{error},"
            f"{function_error},{request_id},{lambda_request_id},{trace_id},{correlation_id},{executed_version},"
            f"{bytes_sent},{bytes_received},{'warmup' if started_at < measure_from else 'measure'},"
            f"{'' if init_ms is None else f'{init_ms:.3f}'}\n"
            for seq, (
                scheduled_at,
                started_at,
                response_ms,
                flow,
                name,
                method,
                status,
                error,
                function_error,
                request_id,
                lambda_request_id,
                trace_id,
                correlation_id,
                executed_version,
                bytes_sent,
                bytes_received,
                init_ms,
            ) in enumerate(ended, first)
        ]


def _plain(text: str, rows: int) -> bytes | None:
    """Rows as bytes; None where something in them must be quoted or blanked out.

    One look at all of them: there is nearly always nothing.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return None
    special = len(encoded) - len(encoded.translate(None, _SPECIAL))
    return encoded if special == rows * _SPECIAL_IN_A_ROW else None


def _safe(value: Any) -> Any:
    return csv_field(value) if isinstance(value, str) else value


def csv_field(text: str) -> str:
    """A text as one field on one line (RFC 4180): what cannot be printed becomes a blank, quotes only where needed."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    if "," in text or '"' in text:
        return '"' + text.replace('"', '""') + '"'
    return text
