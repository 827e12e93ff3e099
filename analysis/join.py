"""Requests joined to the invocations that answered them, in the order of the evidence.

1. `lambda_request_id`: the answer named the invocation (`X-Lambda-Request-Id`, or a direct Invoke's own request id)
2. `access_log`: the API's access log names it beside the request's id
3. `correlation_line`: the function logged the request's id, or else the correlation id of its payload, which the later
   invocations of a chain log too: the first answered
4. `trace_id`: both carry the same X-Ray Root; of a chain of invocations under one Root the first answered

A pair is made only where the key leads to one invocation and that invocation to one request. Requests with a
duplicated key are set aside as ambiguous: paired by chance, they would lend their figures to each other. What
stronger evidence has paired, weaker evidence does not touch; nor what the answer or the access log names, where the
logs lack that invocation's REPORT: weaker evidence could only lead to another one, of a function further down. Only an
Invoke's answer does not count here, for an emulator may give it an id of its own.

An asynchronous event that failed is invoked again under the same request id: its attempts are one answer, of which the
last counts, and all of them are the request's (`retries`). Two requests under one id (a client that repeated one) are
ambiguous.

What a step leaves is all that the next one looks at, and only ids take part: the other columns are put together once,
in `joined.parquet` (`analysis.joined_table`).

`unjoined.csv` has what found no partner on either side, with the reason, in UNJOINED_COLUMNS.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from analysis import interruption
from analysis.attribution import attribute_lines
from analysis.evidence import Evidence
from analysis.joined_table import MATCHED_BY, InvocationValues, write_joined
from analysis.request_rows import KEYS, SENT, RequestRows, hashes
from analysis.requests_table import literal

SENDING_OPERATIONS: tuple[str, ...] = (
    "SendMessage",
    "SendMessageBatch",
    "Publish",
    "PublishBatch",
    "PutEvents",
    "PutRecord",
    "PutRecords",
)
"""Methods of the requests that send messages."""
_SENDING = ", ".join(map(literal, SENDING_OPERATIONS))

UNJOINED_COLUMNS: tuple[str, ...] = (
    "side",  # request, invocation
    "reason",
    "worker",
    "seq",
    "at",  # epoch seconds: the start of the request, the REPORT of the invocation
    "name",  # endpoint, function
    "status",
    "request_id",
    "lambda_request_id",
    "trace_id",
    "log_stream",
)

_NAMED = f"""
    SELECT row, inv FROM named_requests
    JOIN (SELECT inv, {hashes("request_id")} FROM answers) USING (hash, other_hash)"""

# Each a query over `open_requests` (sent, and named by no answer; what is paired or set aside by now does not count),
# `answers` (the invocations that may have answered a request: of a retried event the last attempt) and what leads from
# the one to the other, a table that may be empty. `inv` -1: named, but the logs lack its REPORT.
_WEAKER: Mapping[str, tuple[str, str]] = {
    "access_log": (
        "access_log",
        """
        SELECT DISTINCT row, coalesce(inv, -1) AS inv FROM open_requests r
        JOIN access_log l ON l.request_id = r.request_id AND l.lambda_request_id IS NOT NULL
        LEFT JOIN answers a ON a.request_id = l.lambda_request_id""",
    ),
    "correlation_line": (
        "invocation_correlations",
        f"""
        WITH calls AS (
            SELECT row, request_id, correlation_id FROM open_requests WHERE coalesce(method, '') NOT IN ({_SENDING})
        ), by_request AS (
            SELECT DISTINCT row, inv FROM calls c
            JOIN invocation_correlations l ON l.gateway_request_id = c.request_id
            JOIN answers USING (inv)
        ), others AS (
            SELECT row, correlation_id FROM calls ANTI JOIN by_request USING (row)
        ), logged AS (
            SELECT DISTINCT correlation_id, inv, function, started_at
            FROM invocation_correlations JOIN answers USING (inv)
            WHERE correlation_id IN (SELECT correlation_id FROM others)
              AND inv NOT IN (SELECT inv FROM invocation_correlations WHERE message_id IS NOT NULL)
        ), first AS (
            SELECT correlation_id, arg_min(function, started_at) AS function FROM logged GROUP BY correlation_id
        )
        FROM by_request
        UNION ALL
        SELECT row, inv FROM others JOIN first USING (correlation_id) JOIN logged USING (correlation_id, function)""",
    ),
    # What a message started answered no request, even where it kept the trace of the one that sent the message.
    "trace_id": (
        "invocations",
        """
        WITH traced AS (
            SELECT xray_trace_id, inv, function, started_at FROM answers
            WHERE xray_trace_id IN (SELECT trace_id FROM open_requests)
              AND inv NOT IN (SELECT inv FROM invocation_correlations WHERE message_id IS NOT NULL)
        ), first AS (SELECT xray_trace_id, arg_min(function, started_at) AS function FROM traced GROUP BY xray_trace_id)
        SELECT row, inv FROM open_requests r
        JOIN first f ON f.xray_trace_id = r.trace_id
        JOIN traced t ON t.xray_trace_id = f.xray_trace_id AND t.function = f.function""",
    ),
}
_UNNAMED = "(method = 'Invoke' OR lambda_request_id IS NULL)"
_FEW = 1_000_000
_Numbers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Coverage:
    """How much of both sides found the other."""

    requests: int
    """Sent requests. requests = matched + unmatched_requests + ambiguous."""
    matched: int
    by: Mapping[str, int]
    unmatched_requests: int
    ambiguous: int
    """Requests set aside because a key was duplicated."""
    reached: int
    """Requests that reached a function, as far as the client or the access log can tell: those that were refused
    before it (429, 403, a Lambda throttle) are not among them."""
    reached_matched: int
    """Those of them that were matched."""
    invocations: int
    """REPORT lines. invocations = those of a matched request + chain + background + unmatched."""
    chain_invocations: int
    """Later hops: their correlation id is a request's."""
    background_invocations: int
    """Of functions that answered none of the run's requests, such as the consumer of a stream."""
    unmatched_invocations: int
    retries: int
    """REPORT lines that repeat the request id of another one of their function: further attempts at one event."""

    def as_dict(self) -> dict[str, Any]:
        """The summary's `join`."""
        return {**vars(self), "by": dict(self.by)}


def join(evidence: Evidence, file: Path) -> Coverage:
    """Pair requests with invocations, and write `joined.parquet` to `file`, of which `requests` is a view from then on.

    Makes the tables of `analysis.attribution` and

    | table | columns |
    |---|---|
    | set_aside | row, reason |
    | gateway | request_id and what the access log says of it; ids that occur twice are left out |
    | joined | the columns of joined.parquet, and endpoint, sent, measured, ended_at |
    """
    db = evidence.db
    with ThreadPoolExecutor(1) as beside:
        # Most of what is between here and there leaves a processor idle.
        cursor = db.cursor()
        interruption.watch(cursor)
        invocations = beside.submit(InvocationValues, cursor)
        attribute_lines(db)
        _create_gateway(db)
        _create_answers(db)
        db.execute("CREATE TABLE set_aside (row BIGINT, reason VARCHAR)")
        pairs = _pairs(evidence)
        write_joined(db, evidence.read.kept, invocations.result(), pairs.inv, pairs.matched_by, file)
    _create_numbers(db, "unpaired_requests", row=np.flatnonzero(pairs.inv < 0))
    _create_numbers(db, "unanswering", inv=np.flatnonzero(~pairs.answering))
    return _coverage(db, pairs)


def _pairs(evidence: Evidence) -> _Pairs:
    """All that the evidence leads to; what is ambiguous is in `set_aside`."""
    db, kept = evidence.db, evidence.read.kept
    pairs = _Pairs.none(evidence)
    if _any(db, "invocations"):
        db.execute(f"CREATE VIEW named_requests AS FROM {kept.named}")
        _pair(db, "lambda_request_id", _NAMED, pairs)
    few = False
    for key, (leading, query) in _WEAKER.items():
        if _any(db, leading):
            few = few or _open(db, kept, pairs.open)
            if _any(db, "open_requests"):
                _pair(db, key, query, pairs)
    return pairs


def _open(db: duckdb.DuckDBPyConnection, kept: RequestRows, wanted: npt.NDArray[np.bool_]) -> bool:
    """Make `open_requests`, of those that are sent among the `wanted`, and named by no answer. Returns whether they are
    few: then they are a table, for which the others are not read again."""
    every = bool(wanted.all())
    few = not every and int(np.count_nonzero(wanted)) <= _FEW
    rows = kept.keys(None if every else wanted)
    kind = "TEMP TABLE" if few else "VIEW"
    db.execute("DROP VIEW IF EXISTS open_requests")
    keys = ", ".join(KEYS)
    db.execute(f"CREATE {kind} open_requests AS SELECT row, {keys} FROM {rows} WHERE {SENT} AND {_UNNAMED}")
    return few


def _any(db: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall())


def _create_gateway(db: duckdb.DuckDBPyConnection) -> None:
    db.execute(
        """CREATE TEMP TABLE repeated_lines AS
           SELECT request_id FROM access_log WHERE request_id IS NOT NULL GROUP BY request_id HAVING count(*) > 1"""
    )
    once = "request_id NOT IN (FROM repeated_lines)" if _any(db, "repeated_lines") else "request_id IS NOT NULL"
    db.execute(f"CREATE VIEW gateway AS FROM access_log WHERE {once}")


def _create_answers(db: duckdb.DuckDBPyConnection) -> None:
    """The view `answers`: function, request_id, inv, xray_trace_id, started_at.

    Hardly any id comes twice; only those that do are grouped, by a hash first: two that share one by chance are told
    apart afterwards.
    """
    (ids,) = _numbers(db, "SELECT hash(function, request_id) AS id FROM invocations WHERE request_id IS NOT NULL")
    ids.sort()
    _create_numbers(db, "repeated_ids", id=np.unique(ids[1:][ids[1:] == ids[:-1]]))
    invocations = "SELECT function, request_id, inv, xray_trace_id, started_at FROM invocations"
    if not _any(db, "repeated_ids"):
        db.execute(f"CREATE VIEW answers AS {invocations} WHERE request_id IS NOT NULL")
        return
    repeated = "hash(function, request_id) IN (FROM repeated_ids)"
    db.execute(
        f"""CREATE VIEW answers AS
            {invocations} WHERE request_id IS NOT NULL AND NOT {repeated}
            UNION ALL
            SELECT function, request_id, coalesce(arg_max(inv, reported_at), max(inv)),
                   arg_max(xray_trace_id, reported_at), max(started_at)
            FROM invocations WHERE request_id IS NOT NULL AND {repeated} GROUP BY function, request_id"""
    )


@dataclass(frozen=True)
class _Pairs:
    """What became of the requests and the invocations, by their numbers.

    These are dense: an array finds in a moment what a hash table of ten million would be built for.
    """

    inv: npt.NDArray[np.int64]
    """Of each request the invocation that answered it; -1 where none is known."""
    matched_by: npt.NDArray[np.int8]
    """Of each request that has one the place in MATCHED_BY."""
    open: npt.NDArray[np.bool_]
    """Whether a request is neither paired nor set aside, nor named by the access log."""
    answering: npt.NDArray[np.bool_]
    """Whether an invocation is paired."""

    @classmethod
    def none(cls, evidence: Evidence) -> _Pairs:
        requests = evidence.read.numbers
        invocations = counts(evidence.db, "SELECT coalesce(max(inv) + 1, 0) FROM invocations")[0]
        return cls(
            np.full(requests, -1), np.zeros(requests, np.int8), np.ones(requests, bool), np.zeros(invocations, bool)
        )


def _pair(db: duckdb.DuckDBPyConnection, key: str, query: str, pairs: _Pairs) -> None:
    row, inv = _numbers(db, f"SELECT row, inv FROM ({query})")
    found = inv >= 0
    lacking, row, inv = row[~found], row[found], inv[found]
    free = pairs.open[row] & ~pairs.answering[inv]
    row, inv = row[free], inv[free]
    several = _repeated(row, len(pairs.inv))
    shared = ~several & _repeated(inv, len(pairs.answering))
    sure = ~several & ~shared
    pairs.open[row] = False
    pairs.open[lacking] = False
    pairs.inv[row[sure]] = inv[sure]
    pairs.matched_by[row[sure]] = MATCHED_BY.index(key)
    pairs.answering[inv[sure]] = True
    for doubtful, reason in (
        (np.unique(row[several]), f"ambiguous: its {key} leads to several invocations"),
        (row[shared], f"ambiguous: another request has the same {key}"),
    ):
        _create_numbers(db, "found", row=doubtful)
        db.execute(f"INSERT INTO set_aside SELECT row, {literal(reason)} FROM found")


def _repeated(numbers: _Numbers, limit: int) -> npt.NDArray[np.bool_]:
    """Which of `numbers`, all below `limit`, are among them more than once."""
    return np.bincount(numbers, minlength=limit)[numbers] > 1


def _numbers(db: duckdb.DuckDBPyConnection, query: str) -> tuple[_Numbers, ...]:
    """The columns of a query of whole numbers, none of them NULL."""
    return tuple(np.asarray(column) for column in db.execute(query).fetchnumpy().values())


def _create_numbers(db: duckdb.DuckDBPyConnection, table: str, **columns: _Numbers) -> None:
    db.register("numbers", columns)
    db.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS FROM numbers")
    db.unregister("numbers")


def _coverage(db: duckdb.DuckDBPyConnection, pairs: _Pairs) -> Coverage:
    by = np.bincount(pairs.matched_by[pairs.inv >= 0], minlength=len(MATCHED_BY)).tolist()
    matched = sum(by)
    requests, ambiguous, reached = counts(
        db,
        """SELECT (SELECT count(*) FROM requests WHERE sent), (SELECT count(*) FROM set_aside),
                  count(*) FILTER (WHERE coalesce(r.status, 0) <> 429 AND coalesce(g.integration_status, 0) < 400 AND (
                      r.lambda_request_id IS NOT NULL OR g.lambda_request_id IS NOT NULL
                      OR r.status IN (502, 504) OR r.method = 'Invoke' AND r.status IN (200, 202)
                  ))
           FROM requests r SEMI JOIN unpaired_requests USING (row)
           LEFT JOIN gateway g ON g.request_id = r.request_id
           WHERE r.sent""",
    )
    # An attempt of an invocation that answered a request is its own, whichever of them was paired.
    attempts = """
               ANTI JOIN (
                   SELECT function, request_id FROM invocations ANTI JOIN unanswering USING (inv)
                   WHERE hash(function, request_id) IN (FROM repeated_ids)
               ) USING (function, request_id)"""
    db.execute(
        f"""CREATE TEMP TABLE unpaired_invocations AS
           WITH others AS (
               SELECT inv, function FROM invocations SEMI JOIN unanswering USING (inv)
               {attempts if _any(db, "repeated_ids") else ""}
           ), answering AS (
               SELECT DISTINCT function FROM invocations ANTI JOIN unanswering USING (inv) WHERE function IS NOT NULL
           ), partnerless AS (
               -- who answered a request that has no partner is no later hop of it
               SELECT inv FROM invocation_correlations c JOIN (others SEMI JOIN answering USING (function)) USING (inv)
               SEMI JOIN (
                   SELECT correlation_id FROM requests SEMI JOIN unpaired_requests USING (row)
                   WHERE sent AND coalesce(method, '') NOT IN ({_SENDING})
               ) USING (correlation_id)
               GROUP BY inv HAVING count(message_id) = 0
           ), hops AS (
               SELECT DISTINCT inv FROM invocation_correlations c SEMI JOIN others USING (inv)
               SEMI JOIN requests r ON r.correlation_id = c.correlation_id AND r.sent
               WHERE inv NOT IN (FROM partnerless)
           )
           SELECT inv, inv IN (FROM hops) AS hop, function NOT IN (FROM answering) AS background FROM others"""
    )
    invocations, retries, chain, background, unmatched = counts(
        db,
        """SELECT (SELECT count(*) FROM invocations),
                  (SELECT count(request_id) FROM invocations) - (SELECT count(*) FROM answers),
                  count(*) FILTER (WHERE hop),
                  count(*) FILTER (WHERE background AND NOT hop), count(*) FILTER (WHERE NOT background AND NOT hop)
           FROM unpaired_invocations""",
    )
    return Coverage(
        requests=requests,
        matched=matched,
        by=dict(zip(MATCHED_BY, by, strict=True)),
        unmatched_requests=requests - matched - ambiguous,
        ambiguous=ambiguous,
        reached=matched + reached,
        reached_matched=matched,
        invocations=invocations,
        chain_invocations=chain,
        background_invocations=background,
        unmatched_invocations=unmatched,
        retries=retries,
    )


def counts(db: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The one row of a query of aggregates."""
    row = db.execute(query).fetchone()
    assert row is not None, "an aggregate without groups has one row"
    return tuple(row)


def write_unjoined(db: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Write `unjoined.csv`: requests and invocations without a partner, and why.

    Invocations that no request of the client answers for (later hops of a chain, consumers of streams) are not in it.
    """
    db.execute(
        f"""COPY (
            SELECT 'request' AS side,
                   CASE WHEN s.reason IS NOT NULL THEN s.reason
                        WHEN r.status IS NULL THEN 'no answer came, so nothing names an invocation'
                        WHEN r.method IN ({_SENDING})
                             THEN 'a message: no invocation answers it, see chains'
                        WHEN r.method = 'Invoke' AND r.status = 204 THEN 'a dry run: nothing was invoked'
                        WHEN r.status = 429 OR g.integration_status >= 400
                             OR r.method = 'Invoke' AND r.status >= 400 THEN 'refused before a function ran'
                        WHEN coalesce(r.lambda_request_id, g.lambda_request_id) IS NOT NULL
                             THEN 'the logs have no REPORT of its invocation'
                        WHEN r.status BETWEEN 400 AND 499 AND g.request_id IS NOT NULL
                             THEN 'refused by the gateway'
                        ELSE 'nothing names its invocation' END AS reason,
                   r.worker, r.seq, r.started_at AS "at", r.endpoint AS name, r.status::VARCHAR AS status, r.request_id,
                   coalesce(r.lambda_request_id, g.lambda_request_id) AS lambda_request_id, r.trace_id,
                   NULL AS log_stream
            FROM requests r SEMI JOIN unpaired_requests USING (row) LEFT JOIN set_aside s USING (row)
            LEFT JOIN gateway g ON g.request_id = r.request_id
            WHERE r.sent
            UNION ALL
            SELECT 'invocation',
                   CASE WHEN i.request_id IS NULL THEN 'its REPORT has no request id'
                        ELSE 'no request of the run leads to it, or several do' END,
                   NULL, NULL, i.reported_at, i.function, i.status, NULL, i.request_id, i.xray_trace_id, i.log_stream
            FROM invocations i JOIN unpaired_invocations u USING (inv) WHERE NOT u.hop AND NOT u.background
            ORDER BY side DESC, reason, "at"
        ) TO {literal(str(file))} (FORMAT csv, HEADER)"""
    )
