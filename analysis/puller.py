"""Reads the log groups of a run until everything is there, or time is up.

The window of the run is cut by the client's own counts (`analysis.slices`), each slice is fetched by row-level queries
over all functions' groups at once (`analysis.log_queries`) and saved as it arrives (`analysis.slice_files`); what an
interrupted pull has saved is taken over. Slices are planned to give half of what a query can; where an answer is full
all the same, its slice is cut again, by time and then by request ids. A slice of which a part is saved was full, and is
not asked for again.

Logs trail what they tell, and background functions go on after the client's last request. So an answer counts only when
it was asked for later than the end of its slice plus the time logs take to appear; the stretch after the run is read
until no function has written anything for a while; and as long as something is absent that the logs must hold
(`analysis.expected_logs`), they take longer than was thought. Either all of that comes true, or the deadline passes and
the doubts that are left are said.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from analysis.expected_logs import Absent, ExpectedLogs
from analysis.insights import (
    MAX_ROWS,
    LogGroupNotFoundError,
    Pace,
    QueryFailedError,
    QueryResult,
    Window,
    epoch_s,
    group_exists,
    run_query,
)
from analysis.log_queries import ACCESS, EVENTS, EVENTS_PER_REQUEST, LogQuery
from analysis.slice_files import Fetched, Piece, save, saved
from analysis.slices import Slice, comes_of, cut, plan

ACCESS_LOG = "access"
"""Stands for a function's name where the API's access log is meant."""

FILL = 0.5
"""Share of a query's limit that a slice is planned to give: the plan knows requests and guesses at their events."""
GROUPS_PER_QUERY = 50
"""AWS API reference, StartQuery: logGroupNames, at most 50."""

_QUERIES = {query.name: query for query in (EVENTS, ACCESS)}


@dataclass(frozen=True)
class Patience:
    """How long a pull waits, in seconds."""

    lag_s: float
    """Time after which an event should be readable; grows when the pull finds that it takes longer."""
    quiet_s: float
    """No function wrote anything for so long after the run: background work is over."""
    retry_s: float
    """The same after a background function failed: longer than the longest wait before another attempt."""
    poll_s: float
    """Least time between two readings."""
    deadline_s: float
    """Time after which the pull ends with what it has."""
    metrics_s: float
    """How long metrics that count less than the logs are waited for."""


REAL = Patience(lag_s=60.0, quiet_s=60.0, retry_s=150.0, poll_s=15.0, deadline_s=900.0, metrics_s=225.0)
"""AWS documents 5 to 10 minutes until logs appear, a minute is usual; a failed asynchronous invocation is tried again
after one minute and after two."""
SIMULATED = Patience(lag_s=3.0, quiet_s=3.0, retry_s=3.0, poll_s=1.0, deadline_s=120.0, metrics_s=5.0)


@dataclass(frozen=True)
class Scope:
    """Which logs of which time belong to a run. Times are epoch seconds."""

    groups: Mapping[str, str]
    """Logical function name -> log group."""
    access_log_group: str | None
    required: frozenset[str]
    """Groups that must exist. The others may be missing: Lambda makes a group at the first invocation."""
    started_at: float
    ended_at: float
    ends_before: float
    """No later event belongs to the run: another one began, or it is too long after."""
    settled_at: float | None
    """When background work was over, where that is known: then only its logs must be waited for."""
    overlapping: Sequence[Mapping[str, Any]] = ()
    """Other runs that wrote to these logs at the same time: run_id, started_at, ended_at."""


@dataclass(frozen=True)
class Reading:
    """What was read, and how far it can be trusted."""

    answers: Sequence[Fetched]
    doubts: Sequence[str]
    """Why something may be missing from the answers; empty: they are complete."""
    missing_groups: Sequence[str]
    progress: Progress
    """All that it took."""
    watched_until: float
    """Epoch seconds: what was logged later may be absent."""
    lag_s: float
    """Time that logs were given to appear."""

    def files(self, query: LogQuery) -> list[Path]:
        return [one.path for one in self.answers if one.piece.query == query.name and one.rows]


@dataclass
class Progress:
    """How far a pull is."""

    slices: int = 0
    """To be asked for, as far as is known by now."""
    done: int = 0
    """Of these, how many are here."""
    rows: int = 0
    """In the answers that are held."""
    queries: int = 0
    """Started by this pull."""
    wasted: int = 0
    """Of these, how many gave nothing that could be used: their answer was full, or they took too long."""
    replaced: int = 0
    """Of these, how many were asked before everything in their slice had time to appear, and were asked again."""
    bytes_scanned: int | None = None
    """By these and by those whose answers were taken over; None where the target does not say."""
    waiting_s: float | None = None
    """For logs to appear; None while it asks."""

    def scanned(self, more: int | None) -> None:
        if more is not None:
            self.bytes_scanned = (self.bytes_scanned or 0) + more


class _StoppedError(Exception):
    """Raised in a worker thread that is to end."""


@dataclass(frozen=True)
class _Answer:
    """What became of a piece: what was fetched, the parts to ask for instead, or nothing where its group is missing."""

    parts: Sequence[Piece] = ()
    fetched: Fetched | None = None
    bytes_scanned: int | None = None
    queries: int = 0


class Puller:
    """One pull of one run, into Parquet files in `folder`.

    `calls_per_s` is for StartQuery and for GetQueryResults: an account may call each 10 times a second.

    `requests` is a database with the table `requests` of `analysis.requests_table`; `counts`: epoch second -> requests
    that were answered in it.
    """

    def __init__(
        self,
        client: Any,
        scope: Scope,
        folder: Path,
        requests: duckdb.DuckDBPyConnection,
        counts: Mapping[int, int],
        patience: Patience,
        *,
        limit: int = MAX_ROWS,
        concurrency: int = 5,
        calls_per_s: float = 9.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] | None = None,
        watch: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        if not 1 <= limit <= MAX_ROWS:
            raise ValueError(f"a query gives 1 to {MAX_ROWS} rows, not {limit}")
        self._client, self._scope, self._folder = client, scope, folder
        self._expected = ExpectedLogs(requests, folder)
        self._counts = counts
        self._patience, self._limit, self._concurrency = patience, limit, concurrency
        self._clock, self._watch = clock, watch
        self._progress = Progress()
        """Of the calling thread: the others hand their results over."""
        self._stop = threading.Event()
        self._sleep = sleep or self._sleep_until_stopped
        self._starts, self._polls = (Pace(calls_per_s, clock, self._sleep) for _ in range(2))
        self._query_s = 0.0
        """What the query that ended last took: the next one is not asked about much earlier."""
        self._lag_s = patience.lag_s
        self._saved = {one.piece: one for one in saved(folder)}
        self._missing_groups: set[str] = set()
        self._truncated: set[Piece] = set()
        self._full: set[Piece] = set()
        """What no one query gives whole: its parts are asked for instead."""
        self._matched: dict[Piece, int | None] = {}
        self._body_answers: dict[Piece, list[Fetched]] = {}
        self._tail_answers: dict[Piece, list[Fetched]] = {}

    def read(self) -> Reading:
        """Read until nothing is in doubt or the deadline has passed.

        Raises LogGroupNotFoundError for a group that must exist, and what `analysis.insights.run_query` raises. What
        was fetched until then stays in the folder.
        """
        give_up_at = self._clock() + self._patience.deadline_s
        body, tail = self._body_answers, self._tail_answers
        body |= {piece: [] for piece in self._body()}
        while True:
            now = self._clock()
            last_time = now >= give_up_at
            ready_at = self._ready_at(body, tail)
            if last_time or now >= ready_at:
                self._missing_groups = {name for name in self._missing_groups if not group_exists(self._client, name)}
                self._fetch([piece for piece, answers in body.items() if not self._final(answers)], body)
                self._drop(tail.values())
                tail.clear()
                self._fetch(self._tail(now), tail)
                ready_at = self._ready_at(body, tail)
                absent = self._absent(body, tail)
                doubts = [one.described(now) for one in absent] or self._unsettled(ready_at, now)
                if last_time or not doubts:
                    break
                self._mistrust(body, absent, now)
            else:
                ripe = [p for p, answers in body.items() if not answers and now >= p.slice.end + self._lag_s]
                self._fetch(ripe, body)
            pause_s = max(min(max(ready_at - self._clock(), self._patience.poll_s), give_up_at - now), 0.01)
            self._progress.waiting_s = pause_s
            self._watch(self._progress)
            self._sleep(pause_s)
            self._progress.waiting_s = None
        answers = _all(body, tail)
        self._drop_others(answers)
        doubts += self._cut_off() + self._lost_in_cutting()
        missing = sorted(self._missing_groups)
        return Reading(answers, doubts, missing, self._progress, now - self._lag_s, self._lag_s)

    def so_far(self) -> Reading:
        """What a reading that was ended early had got until then."""
        return Reading(
            _all(self._body_answers, self._tail_answers),
            ["fetching the logs ended before everything was there; the next pull goes on where it stopped"],
            sorted(self._missing_groups),
            self._progress,
            self._scope.started_at,
            self._lag_s,
        )

    # --- what to ask ----------------------------------------------------------------------------------------------

    def _body(self) -> list[Piece]:
        """The window of the run itself."""
        end = max(math.ceil(self._scope.ended_at), math.floor(self._scope.started_at) + 1)
        counts = {second: count * EVENTS_PER_REQUEST for second, count in self._counts.items()}
        slices = plan(counts, math.floor(self._scope.started_at), end, round(self._limit * FILL))
        return [piece for one in slices for piece in self._pieces(one)]

    def _tail(self, now: float) -> list[Piece]:
        """What came after it, until now."""
        start = max(math.ceil(self._scope.ended_at), math.floor(self._scope.started_at) + 1)
        end = math.ceil(min(now + 1, self._scope.ends_before))
        return self._pieces(Slice(start, end)) if end > start else []

    def _pieces(self, one: Slice) -> list[Piece]:
        groups = list(self._scope.groups.items())
        asked = [(EVENTS, groups[at : at + GROUPS_PER_QUERY]) for at in range(0, len(groups), GROUPS_PER_QUERY)]
        if self._scope.access_log_group:
            asked.append((ACCESS, [(ACCESS_LOG, self._scope.access_log_group)]))
        return [Piece(query.name, tuple(named), one, query.text(), self._limit) for query, named in asked]

    # --- what can be trusted --------------------------------------------------------------------------------------

    def _final(self, answers: Sequence[Fetched]) -> bool:
        """Whether a slice was read after everything in it had time to appear."""
        return bool(answers) and all(one.read_at >= one.piece.slice.end + self._lag_s for one in answers)

    def _ready_at(self, body: Mapping[Piece, Sequence[Fetched]], tail: Mapping[Piece, Sequence[Fetched]]) -> float:
        """When a reading can be complete, by what is known now."""
        scope, patience = self._scope, self._patience
        over_at = max(scope.ended_at, scope.settled_at or 0.0)
        if scope.settled_at is None:
            written = [one for one in _all(tail) if _is_function(one)]
            over_at = max([over_at, *_newest(written)]) + patience.quiet_s
            over_at = max([over_at, *(at + patience.retry_s for at in self._background_failures(body, tail))])
        return min(over_at, max(scope.ends_before, scope.ended_at)) + self._lag_s

    def _unsettled(self, ready_at: float, now: float) -> list[str]:
        if now >= ready_at:
            return []
        return [f"functions were still writing logs {now - self._scope.ended_at:.0f} s after the run"]

    def _cut_off(self) -> list[str]:
        return [
            f"the {piece.query} of {_named(piece.groups)} between {piece.slice.start} and {piece.slice.end} are cut "
            "off: no query gives them all"
            for piece in _in_order(self._truncated)
        ]

    def _lost_in_cutting(self) -> list[str]:
        """Where the parts of a slice match less than the slice did; more is no loss: they share seconds, and logs come
        late."""
        doubts = []
        for piece in _in_order(self._full):
            matched, *of_parts = (self._matched.get(one) for one in (piece, *self._parts(piece)))
            known = [one for one in of_parts if one is not None]
            if matched is not None and len(known) == len(of_parts) and sum(known) < matched:
                doubts.append(
                    f"{matched - sum(known):,} of the {piece.query} of {_named(piece.groups)} between "
                    f"{piece.slice.start} and {piece.slice.end} are in no part of that slice"
                )
        return doubts

    def _absent(self, body: Mapping[Piece, Sequence[Fetched]], tail: Mapping[Piece, Sequence[Fetched]]) -> list[Absent]:
        """What is known to have happened, and is in no log. Raises LogGroupNotFoundError: see `_check_groups`."""
        answers = [one for one in _all(body, tail) if one.rows]
        functions, access = ([one.path for one in answers if _is_function(one) == of] for of in (True, False))
        absent = self._expected.absent(functions, access)
        self._check_groups(bool(absent))
        return absent

    def _mistrust(self, body: Mapping[Piece, list[Fetched]], absent: Sequence[Absent], now: float) -> None:
        """Where something is absent, logs take longer than was thought: forget what was read since it was due."""
        if not absent:
            return
        earliest = min(one.earliest for one in absent)
        self._lag_s = max(self._lag_s, now - earliest)
        for piece, answers in body.items():
            if piece.slice.end >= earliest:
                self._drop([answers])
                answers.clear()
                self._saved.pop(piece, None)

    def _background_failures(
        self, body: Mapping[Piece, Sequence[Fetched]], tail: Mapping[Piece, Sequence[Fetched]]
    ) -> list[float]:
        """When functions last failed of which the client knows no invocation: what invokes them may do so again."""
        since = self._scope.ended_at - self._patience.retry_s
        recent = [one for one in _all(body, tail) if _is_function(one) and one.newest and epoch_s(one.newest) > since]
        files = [one.path for one in recent]
        return [epoch_s(newest) for newest in self._expected.uncalled_failures(files)]

    def _check_groups(self, absent: bool) -> None:
        """Raise LogGroupNotFoundError where a missing group is more than a function that was never invoked."""
        functions = set(self._scope.groups.values())
        missing = self._missing_groups & functions
        fatal = missing if absent or missing == functions else missing & self._scope.required
        if fatal:
            region = getattr(self._client.meta, "region_name", None)
            names = ", ".join(sorted(fatal))
            raise LogGroupNotFoundError(
                f"no log group {names} in region {region}",
                "check LOG_GROUPS, STACK_NAME and AWS_REGION in .env, and that the functions were deployed",
            )

    # --- asking ---------------------------------------------------------------------------------------------------

    def _fetch(self, pieces: Sequence[Piece], into: dict[Piece, list[Fetched]]) -> None:
        """Put the answers to each piece `into`: of several parts where it overflowed, none where its group is missing.

        One that is ended early leaves there what it got.
        """
        found: dict[Piece, list[Fetched]] = {piece: [] for piece in pieces}
        progress = self._progress
        progress.slices, progress.done = len(found), 0
        with ThreadPoolExecutor(self._concurrency, "pull") as pool:
            running: dict[Future[_Answer], Piece] = {}
            try:
                running = {pool.submit(self._ask, piece): piece for piece in found}
                while running:
                    self._watch(progress)
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        whole, answer = running.pop(future), future.result()
                        running |= {pool.submit(self._ask, part): whole for part in answer.parts}
                        if answer.fetched is not None:
                            if not found[whole]:
                                self._drop([into.get(whole, [])])
                            found[whole].append(answer.fetched)
                            progress.rows += answer.fetched.rows
                        progress.scanned(answer.bytes_scanned)
                        progress.queries += answer.queries
                        progress.wasted += answer.queries if answer.parts else 0
                        progress.slices += max(0, len(answer.parts) - 1)
                        progress.done += not answer.parts
            except BaseException:
                self._stop.set()
                for future in running:
                    future.cancel()
                into |= {piece: answers for piece, answers in found.items() if answers}
                raise
        into |= found
        self._watch(progress)

    def _drop(self, dropped: Iterable[Sequence[Fetched]]) -> None:
        """Count as replaced what was read too early; what an earlier pull asked for is none of this one's queries."""
        for one in itertools.chain.from_iterable(dropped):
            self._progress.rows -= one.rows
            self._progress.replaced += one is not self._saved.get(one.piece)

    def _ask(self, piece: Piece) -> _Answer:
        known = self._saved.get(piece)
        if known is not None and self._final([known]):
            self._matched[piece] = known.matched
            return _Answer(fetched=known, bytes_scanned=known.bytes_scanned)
        if piece in self._full or self._was_cut(piece):
            return _Answer(self._parts(piece))
        asked_at = self._clock()
        try:
            result = self._run(piece)
        except QueryFailedError as failed:
            parts = self._cut(piece) if failed.status == "Timeout" else []
            if not parts:
                raise
            self._full.add(piece)
            return _Answer(parts, queries=1)
        if result is None:
            return _Answer()
        self._matched[piece] = result.matched
        self._truncated.discard(piece)
        if len(result.rows) >= piece.limit or (result.matched or 0) > len(result.rows):
            if parts := self._parts(piece):
                self._full.add(piece)
                return _Answer(parts, bytes_scanned=result.bytes_scanned, queries=1)
            self._truncated.add(piece)
        fetched = save(self._folder, piece, result.rows, asked_at, result.matched, result.bytes_scanned)
        return _Answer(fetched=fetched, bytes_scanned=result.bytes_scanned, queries=1)

    def _run(self, piece: Piece) -> QueryResult | None:
        """The answer of the groups that exist; None where none does."""
        while names := [group for _, group in piece.groups if group not in self._missing_groups]:
            try:
                result = run_query(
                    self._client,
                    names,
                    piece.text,
                    Window(piece.slice.start, piece.slice.end),
                    limit=piece.limit,
                    clock=self._clock,
                    sleep=self._sleep,
                    starts=self._starts,
                    polls=self._polls,
                    expected_s=self._query_s,
                )
                self._query_s = result.took_s
                return result
            except LogGroupNotFoundError:
                # one that is missing spoils the query of all
                missing = {name for name in names if not group_exists(self._client, name)} if names[1:] else {*names}
                if not missing:
                    raise
                self._missing_groups |= missing
        return None

    def _parts(self, piece: Piece) -> list[Piece]:
        """What to ask for where an answer is full; where the piece cannot be cut any further, more rows."""
        return self._cut(piece) or ([replace(piece, limit=MAX_ROWS)] if piece.limit < MAX_ROWS else [])

    def _cut(self, piece: Piece) -> list[Piece]:
        return [_part(piece, part) for part in cut(piece.slice)]

    def _was_cut(self, piece: Piece) -> bool:
        """Whether an earlier pull has saved any part of a piece: it found the piece's own answer full."""
        return any(
            one != piece
            and comes_of(one.slice, piece.slice)
            and one in (part := _part(piece, one.slice), replace(part, limit=MAX_ROWS))
            for one in self._saved
        )

    def _drop_others(self, answers: Sequence[Fetched]) -> None:
        """Delete what earlier readings saved and this one has no use for."""
        used = {one.path for one in answers}
        for path in self._folder.glob("*.parquet"):
            if path not in used:
                path.unlink()

    def _sleep_until_stopped(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _StoppedError


def _all(*readings: Mapping[Piece, Sequence[Fetched]]) -> list[Fetched]:
    return [one for reading in readings for answers in reading.values() for one in answers]


def _part(piece: Piece, part: Slice) -> Piece:
    return replace(piece, slice=part, text=_QUERIES[piece.query].text(part.request_prefix, part.stream_prefix))


def _is_function(answer: Fetched) -> bool:
    return answer.piece.query == EVENTS.name


def _in_order(pieces: Iterable[Piece]) -> list[Piece]:
    return sorted(pieces, key=lambda piece: (piece.query, piece.groups, piece.slice))


def _named(groups: Sequence[tuple[str, str]]) -> str:
    """One group by its name, several by the first."""
    first = groups[0][1]
    return first if len(groups) == 1 else f"{first} and {len(groups) - 1} others"


def _newest(answers: Iterable[Fetched]) -> list[float]:
    """Epoch seconds of the newest event of each answer that has any."""
    return [epoch_s(one.newest) for one in answers if one.newest is not None]
