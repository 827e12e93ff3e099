"""Who sends which rows of a payload file: leases of pieces of it, so that no two workers send the same.

The lessor (the master, or the lone process itself) goes through the file and hands its rows out, a piece at a time; the
tenant (each process that sends) asks for more before it runs out, for about as many as it uses in a second. Pure: what
is sent goes through functions, time is an argument. Questions and answers may be lost, or come twice.

    sequential   the rows in the file's order, over and over
    random       the same in a random order: the chunks of the file, and the rows in each, are shuffled anew each time
    once         each row once, or not at all: rows that were with a worker that was killed are not handed out again,
                 for they may have been sent

In each pass over the file a row is handed out once, whoever joins and leaves meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from random import Random
from typing import NamedTuple, Protocol

from loadgen.payload_file import Chunk

ORDERS = ("sequential", "random", "once")
MAX_WANTED = 20_000
ASK_AGAIN_AFTER_S = 2.0
_SHORTEST_S = 0.05
"""A rate is not measured over less."""


class Piece(NamedTuple):
    """Rows of one chunk, from `first` up to `last` (excluded) in the order that `shuffle` makes of its rows."""

    start: int
    end: int
    line: int
    rows: int
    """Of the whole chunk; see `payload_file.Chunk`."""
    shuffle: str
    """Seed of the order; empty: the file's own."""
    first: int
    last: int

    @property
    def chunk(self) -> Chunk:
        return Chunk(self.start, self.end, self.line, self.rows)

    def sequence(self) -> Sequence[int]:
        """The rows of the whole chunk, by their places in the file, in the order in which they are used."""
        places = list(range(self.rows))
        if self.shuffle:
            Random(self.shuffle).shuffle(places)
        return places


class _Chunks(Protocol):
    total_rows: int

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Chunk: ...


@dataclass
class _Tenancy:
    """What the lessor remembers of one tenant."""

    number: int = 0
    granted: list[Piece] = field(default_factory=list)
    """The answer to the question of that number, in case it has to be given again."""
    rows: int = 0
    """Handed to it and not given back."""


class Lessor:
    """Hands out the rows of one file in one run."""

    def __init__(self, chunks: _Chunks, order: str, seed: int) -> None:
        self._chunks = chunks
        self._order = order
        self._seed = seed
        self._tenants: dict[str, _Tenancy] = {}
        self._given_back: deque[Piece] = deque()
        self._pass = 0
        self._pass_rows_left = chunks.total_rows
        self._sequence: Sequence[int] = ()
        self._at = self._offset = 0
        self._begin_pass()

    @property
    def exhausted(self) -> bool:
        """Whether no row is left; never so where the file is gone through over and over."""
        return self._order == "once" and not self.unsent

    @property
    def tenants(self) -> list[str]:
        """All that ever asked."""
        return list(self._tenants)

    @property
    def handed_out(self) -> int:
        """Rows with the tenants, or sent by them."""
        return sum(tenancy.rows for tenancy in self._tenants.values())

    @property
    def unsent(self) -> int:
        """Rows of this pass over the file that no tenant has: never handed out, or given back."""
        return self._pass_rows_left + _count(self._given_back)

    def rows_with(self, tenant: str) -> int:
        """Rows that a tenant was given and did not give back: it sent them, or has them still."""
        return self._tenants[tenant].rows if tenant in self._tenants else 0

    def complaints(self, file: str, lost: Iterable[str], *, ended: bool) -> list[str]:
        """What a record of the run should say of rows of `file` that were to be sent once.

        `lost`: tenants that were killed; `ended`: nobody asks for rows any more, since there were none.
        """
        if self._order != "once":
            return []
        found = []
        if held := sum(map(self.rows_with, lost)):
            found.append(
                f"{held} rows of {file} were with a worker that was lost; those of them that it had not sent yet were "
                "not sent at all"
            )
        if ended and self.unsent:
            found.append(
                f"{self.unsent} rows of {file} were not sent: a worker gave them back when no other asked for rows "
                "any more"
            )
        return found

    def ask(self, tenant: str, number: int, wanted: int) -> list[Piece]:
        """The answer to a tenant's question: about as many rows as wanted; none where none is left.

        Questions are numbered from 1. The last one may be asked again, and gets the same answer; one before it is
        answered with nothing, for its answer has arrived.
        """
        tenancy = self._tenants.setdefault(tenant, _Tenancy())
        if number == tenancy.number:
            return tenancy.granted
        if number < tenancy.number:
            return []
        limit = max(1, min(wanted, MAX_WANTED))
        if self._order == "once":
            # The fewer rows are left, the fewer at a time: all tenants come to the end together.
            limit = min(limit, max(1, self.unsent // (2 * len(self._tenants))))
        granted: list[Piece] = []
        while limit > 0 and (piece := self._take(limit)) is not None:
            granted.append(piece)
            limit -= piece.last - piece.first
        tenancy.number, tenancy.granted = number, granted
        tenancy.rows += _count(granted)
        return granted

    def give_back(self, tenant: str, pieces: Sequence[Piece]) -> None:
        """A tenant leaves, and has not used these."""
        if tenant in self._tenants:
            self._tenants[tenant].rows -= _count(pieces)
            self._tenants[tenant].granted = []
            self._given_back.extend(pieces)

    def _take(self, limit: int) -> Piece | None:
        if self._given_back:
            piece = self._given_back.popleft()
            taken = piece._replace(last=min(piece.last, piece.first + limit))
            if taken.last < piece.last:
                self._given_back.appendleft(piece._replace(first=taken.last))
            return taken
        if not self._pass_rows_left:
            if self._order == "once":
                return None
            self._begin_pass()
        index = self._sequence[self._at]
        chunk = self._chunks[index]
        first, self._offset = self._offset, min(chunk.rows, self._offset + limit)
        self._pass_rows_left -= self._offset - first
        shuffle = f"{self._seed}-{self._pass}-{index}" if self._order == "random" else ""
        piece = Piece(*chunk, shuffle, first, self._offset)
        if self._offset == chunk.rows:
            self._at, self._offset = self._at + 1, 0
        return piece

    def _begin_pass(self) -> None:
        self._pass += 1
        self._pass_rows_left = self._chunks.total_rows
        self._at = self._offset = 0
        self._sequence = range(len(self._chunks))
        if self._order == "random":
            self._sequence = list(self._sequence)
            Random(f"{self._seed}-{self._pass}").shuffle(self._sequence)


class Question(NamedTuple):
    """What a tenant asks its lessor."""

    number: int
    wanted: int


class Tenant:
    """The rows that one process has of one file, and when it asks for more. Times are seconds, monotonic."""

    def __init__(self) -> None:
        self.exhausted = False
        """No row is left anywhere, once those here are used."""
        self.closed = False
        self.rows = 0
        """Rows at hand."""
        self._pieces: deque[Piece] = deque()
        self._number = 0
        self._wanted = 0
        self._waits = False
        self._asked_at = 0.0
        self._used = 0

    @property
    def low(self) -> bool:
        """Whether it is time to look for a question."""
        return self.rows <= self._wanted // 2

    @property
    def over(self) -> bool:
        """Whether there is and will be no row to take."""
        return self.closed or (self.exhausted and not self._pieces)

    def take(self) -> tuple[Piece, int] | None:
        """The next row, as a piece and a place in its sequence; None where none is at hand."""
        if self.closed or not self._pieces:
            return None
        piece = self._pieces[0]
        if piece.first + 1 == piece.last:
            self._pieces.popleft()
        else:
            self._pieces[0] = piece._replace(first=piece.first + 1)
        self._used += 1
        self.rows -= 1
        return piece, piece.first

    def question(self, now: float, waiting: int = 0) -> Question | None:
        """What to ask now, if anything; `waiting`: users that wait for a row.

        A question without an answer is repeated.
        """
        if self.closed or self.exhausted:
            return None
        if self._waits:
            if now - self._asked_at < ASK_AGAIN_AFTER_S:
                return None
            self._asked_at = now
            return Question(self._number, self._wanted)
        if not self.low:
            return None
        rate = self._used / max(now - self._asked_at, _SHORTEST_S) if self._number else 0.0
        self._wanted = max(1, min(MAX_WANTED, ceil(rate) + waiting))
        self._number += 1
        self._waits, self._asked_at, self._used = True, now, 0
        return Question(self._number, self._wanted)

    def answered(self, number: int, pieces: Sequence[Piece], exhausted: bool) -> Sequence[Piece]:
        """The answer to question `number`; one that came already changes nothing.

        -> what is to be given back: the answer came too late.
        """
        if not self._waits or number != self._number:
            return ()
        self._waits = False
        if self.closed:
            return pieces
        self._pieces.extend(pieces)
        self.rows += _count(pieces)
        self.exhausted = exhausted
        return ()

    def close(self) -> list[Piece]:
        """No row is taken any more; -> what was not used."""
        self.closed = True
        unused = list(self._pieces)
        self._pieces.clear()
        self.rows = 0
        return unused


def _count(pieces: Sequence[Piece] | deque[Piece]) -> int:
    return sum(piece.last - piece.first for piece in pieces)
