"""The rows of one payload file for the users of one process: taken one at a time, waited for where none is at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gevent.event import Event

from loadgen.leases import ASK_AGAIN_AFTER_S, Piece, Question, Tenant
from loadgen.payload_file import PayloadFileError, Record, Row, parse, read_chunk


class OutOfRowsError(Exception):
    """There is and will be no row to take."""


class RowSupply:
    """Holds one chunk of the file at a time."""

    def __init__(self, path: Path, columns: tuple[str, ...], ask: Callable[[RowSupply, Question], None]) -> None:
        """`ask` sends a question; the answer comes to `answered`, at once or later."""
        self.path = path
        self.tenant = Tenant()
        self._columns = columns
        self._ask = ask
        self._answered = Event()
        self._waiting = 0
        self._chunk_at: int | None = None
        self._records: Sequence[Record] = ()
        self._shuffle: str | None = None
        self._sequence: Sequence[int] = ()

    def take(self) -> tuple[Row, int]:
        """The next row and its line in the file. Raises OutOfRowsError, PayloadFileError."""
        tenant = self.tenant
        while (taken := tenant.take()) is None:
            if tenant.over:
                raise OutOfRowsError
            self._waiting += 1
            try:
                self._look_ahead()
                if not tenant.rows and not tenant.over:
                    self._answered.wait(ASK_AGAIN_AFTER_S)
            finally:
                self._waiting -= 1
        if tenant.low:
            self._look_ahead()
        record = self._record(*taken)
        try:
            return parse(record.text, self._columns), record.line
        except ValueError as unsound:
            # Every row was sound when the run began.
            raise PayloadFileError([f"{self.path}:{record.line}: {unsound}; it was changed meanwhile"]) from None

    def answered(self, number: int, pieces: Sequence[Piece], exhausted: bool) -> Sequence[Piece]:
        """The lessor's answer; -> what is to be given back, see `Tenant.answered`."""
        surplus = self.tenant.answered(number, pieces, exhausted)
        self._wake()
        return surplus

    def close(self) -> list[Piece]:
        """Nobody takes rows any more; -> those that were not used."""
        unused = self.tenant.close()
        self._wake()
        return unused

    def _look_ahead(self) -> None:
        question = self.tenant.question(time.monotonic(), self._waiting)
        if question is not None:
            self._ask(self, question)

    def _wake(self) -> None:
        self._answered.set()
        self._answered.clear()

    def _record(self, piece: Piece, place: int) -> Record:
        if piece.start != self._chunk_at:
            self._records, self._shuffle = read_chunk(self.path, piece.chunk), None
            self._chunk_at = piece.start
        if piece.shuffle != self._shuffle:
            self._sequence, self._shuffle = piece.sequence(), piece.shuffle
        return self._records[self._sequence[place]]
