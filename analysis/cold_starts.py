"""The share of cold starts, over the time of the run and by how many invocations of the function were under way.

A function that is warm at ten at once has no environment for the eleventh: cold starts belong to steps of concurrency,
and to the first moments of the run. Counted are REPORT lines with an Init or a Restore Duration, as everywhere.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from analysis.formatting import ratio
from analysis.functions import COLD, OCCUPIED_FROM

PARTS = 10
"""Equal parts of the time in which a function was invoked."""


def cold_start_shares(db: duckdb.DuckDBPyConnection) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The summary's `cold_start_shares`, of functions that had any cold start:

    function -> `by_concurrency`: for each doubling of the invocations that were under way when one began (itself
    included; `at_least` 1, 2, 4, ...), and `over_time`: for each of PARTS equal parts (`from_s`, `to_s` since the first
    invocation), the invocations, the cold starts and their share. Invocations without a time are in neither.
    """
    functions = db.execute(
        f"""CREATE OR REPLACE TEMP TABLE starting AS
            SELECT function, row_number() OVER (ORDER BY function) AS number
            FROM (SELECT DISTINCT function FROM invocations WHERE ({COLD}) AND started_at IS NOT NULL);
            CREATE OR REPLACE TEMP TABLE begun AS
            SELECT number::USMALLINT AS number, {OCCUPIED_FROM} AS begun_at, reported_at, {COLD} AS cold
            FROM invocations JOIN starting USING (function) WHERE started_at IS NOT NULL;
            SELECT number, function FROM starting ORDER BY number"""
    ).fetchall()
    shares = {}
    for number, function in functions:
        # in arrays, one function after the other: a window over all of them sorts rows with all their columns
        columns = db.execute(
            "SELECT begun_at, reported_at, cold FROM begun WHERE number = $number", {"number": number}
        ).fetchnumpy()
        order = np.argsort(np.asarray(columns["begun_at"]))
        begun_at, cold = (np.asarray(columns.pop(name))[order] for name in ("begun_at", "cold"))
        del order
        ended_at = np.sort(np.asarray(columns.pop("reported_at")))
        shares[function] = {
            "by_concurrency": _by_concurrency(begun_at, ended_at, cold),
            "over_time": _over_time(begun_at, cold),
        }
    db.execute("DROP TABLE begun; DROP TABLE starting")
    return shares


def _by_concurrency(
    begun_at: NDArray[np.float64], ended_at: NDArray[np.float64], cold: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Times are sorted. What ends at the moment when another begins has made room for it."""
    busy = np.searchsorted(begun_at, begun_at, "right")
    busy -= np.searchsorted(ended_at, begun_at, "right")
    doublings = np.log2(np.maximum(busy, 1)).astype(np.int64)
    return [{"at_least": 2**doubling, **counts} for doubling, counts in _counts(doublings, cold)]


def _over_time(begun_at: NDArray[np.float64], cold: NDArray[np.bool_]) -> list[dict[str, Any]]:
    first, last = float(begun_at[0]), float(begun_at[-1])
    width_s = max(last - first, 1e-3) / PARTS
    parts = np.minimum(np.floor((begun_at - first) / width_s), PARTS - 1).astype(np.int64)
    return [
        {"from_s": round(part * width_s, 3), "to_s": round((part + 1) * width_s, 3), **counts}
        for part, counts in _counts(parts, cold)
    ]


def _counts(group: NDArray[np.int64], cold: NDArray[np.bool_]) -> list[tuple[int, dict[str, Any]]]:
    """Of each group that has any: invocations, cold starts and their share."""
    invocations, cold_starts = np.bincount(group).tolist(), np.bincount(group[cold], minlength=group.max() + 1).tolist()
    return [
        (number, {"invocations": of, "cold_starts": starts, "cold_start_rate": ratio(starts, of)})
        for number, (of, starts) in enumerate(zip(invocations, cold_starts, strict=True))
        if of
    ]
