"""The share of cold starts, over the time of the run and by how many invocations of the function were under way.

A function that is warm at ten at once has no environment for the eleventh: cold starts belong to steps of concurrency,
and to the first moments of the run. Counted are REPORT lines with an Init or a Restore Duration, as everywhere.
"""

from __future__ import annotations

from typing import Any

import duckdb

from analysis.formatting import ratio
from analysis.functions import COLD, OCCUPIED_FROM

PARTS = 10
"""Equal parts of the time in which a function was invoked."""


def cold_start_shares(db: duckdb.DuckDBPyConnection) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The summary's `cold_start_shares`, of functions that had any cold start:

    function -> `by_concurrency`: for each doubling of the invocations that were under way when one began (itself
    included; `at_least` 1, 2, 4, ...), and `over_time`: for each of PARTS equal parts (`from_s`, `to_s` since the first
    invocation), the invocations, the cold starts and their share.
    """
    db.execute(
        f"""CREATE OR REPLACE TEMP TABLE begun AS
            WITH changes AS (
                SELECT inv, function, {OCCUPIED_FROM} AS moment, 1 AS change,
                       {COLD} AS cold
                FROM invocations
                UNION ALL SELECT NULL, function, reported_at, -1, false FROM invocations
            ), running AS (
                SELECT *, sum(change) OVER (PARTITION BY function ORDER BY moment) AS busy FROM changes
            )
            SELECT function, moment, cold, greatest(busy, 1) AS busy FROM running WHERE inv IS NOT NULL
              AND function IN (SELECT function FROM invocations WHERE {COLD})"""
    )
    by_concurrency = db.execute(
        """SELECT function, (2 ** floor(log2(busy)))::BIGINT AS at_least, count(*), count(*) FILTER (WHERE cold)
           FROM begun GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    over_time = db.execute(
        f"""WITH spans AS (
                SELECT function, min(moment) AS first, greatest(max(moment) - min(moment), 1e-3) / {PARTS} AS width
                FROM begun GROUP BY function
            )
            SELECT function, least(floor((moment - first) / width), {PARTS - 1})::BIGINT AS part, any_value(width),
                   count(*), count(*) FILTER (WHERE cold)
            FROM begun JOIN spans USING (function) GROUP BY function, part ORDER BY function, part"""
    ).fetchall()
    shares: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for function, at_least, invocations, cold in by_concurrency:
        of_function = shares.setdefault(function, {"by_concurrency": [], "over_time": []})
        of_function["by_concurrency"].append({"at_least": at_least, **_counts(invocations, cold)})
    for function, part, width_s, invocations, cold in over_time:
        span = {"from_s": round(part * width_s, 3), "to_s": round((part + 1) * width_s, 3)}
        shares[function]["over_time"].append({**span, **_counts(invocations, cold)})
    return shares


def _counts(invocations: int, cold: int) -> dict[str, Any]:
    return {"invocations": invocations, "cold_starts": cold, "cold_start_rate": ratio(cold, invocations)}
