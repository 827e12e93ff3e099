"""Every function of the run: what it did, how long it took, what it occupied.

Counts and sums, memory and the limits cover all REPORT lines; the other statistics of durations leave warm-up out: an
invocation counts as warm-up where its request does (its own, or the one its correlation id leads to), or, where no
request is known, where it started before the first measured request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from analysis.distributions import distribution, struct
from analysis.formatting import ratio
from analysis.statistics_table import DURATION_LIMIT_MS, MEMORY_HEADROOM_MB
from analysis.timestamps import iso_utc


@dataclass(frozen=True)
class Limits:
    """The limits that invocations are counted under and over, as in `analysis.statistics_table`."""

    duration_ms: float = DURATION_LIMIT_MS
    """Under: a smaller duration; over: the rest."""
    memory_headroom_mb: float = MEMORY_HEADROOM_MB
    """Under: less than this was left between the most memory used and the memory configured; over: the rest."""


# AWS: Init Duration stands in the REPORT of a cold start on demand, Restore Duration in that of SnapStart, neither with
# provisioned concurrency, which only published versions have. What kind of start it was: `analysis.starts`.
COLD = "init_ms IS NOT NULL OR restore_ms IS NOT NULL"

OCCUPIED_FROM = "started_at - coalesce(init_ms, restore_ms, 0) / 1000"
"""SQL: since when an invocation held its environment. The init counts: it is a place of the concurrency, too."""


def create_measured_invocations(db: duckdb.DuckDBPyConnection) -> None:
    """Make the table `measured_invocations`: inv of those that are no warm-up. Needs the tables of `analysis.join`."""
    db.execute(
        """CREATE TABLE measured_invocations AS
           WITH works_for AS (
               SELECT i.inv, j.measured FROM joined j
               JOIN invocations i ON i.function = j.inv_function AND i.request_id = j.inv_request_id
               UNION ALL
               SELECT c.inv, r.measured FROM invocation_correlations c
               JOIN requests r ON r.correlation_id = c.correlation_id WHERE r.sent
           ), known AS (SELECT inv, bool_or(measured) AS measured FROM works_for GROUP BY inv)
           SELECT inv FROM invocations LEFT JOIN known USING (inv)
           WHERE coalesce(measured, started_at >= (SELECT min(started_at) FROM requests WHERE measured),
                          (SELECT bool_or(measured) FROM requests), true)"""
    )


def create_calls(db: duckdb.DuckDBPyConnection, *, starts_told: bool = True) -> None:
    """Make the view `calls` of the measured invocations: function, ended_at (epoch seconds), duration_ms, failed,
    timed_out, cold. `starts_told`: as in `functions`; `cold` is NULL where it is false. Needs `measured_invocations`.
    """
    db.execute(
        f"""CREATE OR REPLACE TEMP VIEW calls AS
            SELECT function, reported_at AS ended_at, duration_ms, f.inv IS NOT NULL AS failed,
                   coalesce(f.timed_out, false) AS timed_out, {COLD if starts_told else "NULL::BOOLEAN"} AS cold
            FROM invocations SEMI JOIN measured_invocations USING (inv) LEFT JOIN invocation_failures f USING (inv)"""
    )


def functions(
    db: duckdb.DuckDBPyConnection,
    names: Iterable[str],
    metrics: Mapping[str, Any],
    limits: Limits,
    *,
    starts_told: bool = True,
) -> dict[str, dict[str, Any]]:
    """The summary's `functions`, in the order of `names` (logical), then whatever else left a REPORT line.

    `metrics` is metrics.json's `functions`: throttled invocations write no log, so without it `throttles` is None.
    `starts_told` (`analysis.starts`): where it is false, starts of every kind are None, not 0.
    """
    found = db.execute(
        f"""SELECT function AS name, count(*) AS invocations,
                count(f.inv) AS errors,
                count(*) FILTER (WHERE f.timed_out) AS timeouts,
                count(*) FILTER (WHERE {COLD}) AS cold_starts,
                count(*) FILTER (WHERE s.suppressed) AS suppressed_inits,
                {
            struct(
                (
                    ("cold", "count(*) FILTER (WHERE s.class = 'cold')"),
                    ("proactive", "CASE WHEN begun THEN count(*) FILTER (WHERE s.class = 'proactive') END"),
                    (
                        "provisioned",
                        "CASE WHEN begun OR bool_and(version IS NULL OR version = '$LATEST') "
                        "THEN count(*) FILTER (WHERE s.class = 'provisioned') END",
                    ),
                    ("snapstart", "count(*) FILTER (WHERE s.class = 'snapstart')"),
                )
            )
        } AS starts,
                {distribution("duration_ms", "min mean p50 p90 p95 p99 max", where="measured")} AS duration_ms,
                round(sum(duration_ms), 3) AS duration_sum,
                sum(billed_ms) AS billed_sum,
                {distribution("billed_ms", "min mean max", where="measured")} AS billed_ms,
                {distribution("init_ms", "p50 p95 max", where="measured")} AS init_ms,
                arg_max(memory_mb, reported_at) AS memory_configured,
                {distribution("max_memory_mb", "min mean max")} AS memory_mb,
                count(*) FILTER (WHERE duration_ms < {limits.duration_ms}) AS under_limit_duration,
                count(*) FILTER (WHERE duration_ms >= {limits.duration_ms}) AS over_limit_duration,
                count(*) FILTER (WHERE memory_mb - max_memory_mb < {limits.memory_headroom_mb}) AS under_limit_memory,
                count(*) FILTER (WHERE memory_mb - max_memory_mb >= {limits.memory_headroom_mb}) AS over_limit_memory,
                min(reported_at) AS first_at, max(reported_at) AS last_at,
                {
            struct(
                (
                    ("invocations", "count(*) FILTER (WHERE measured)"),
                    ("errors", "count(f.inv) FILTER (WHERE measured)"),
                    ("timeouts", "count(*) FILTER (WHERE measured AND f.timed_out)"),
                    ("cold_starts", f"count(*) FILTER (WHERE measured AND ({COLD}))"),
                )
            )
        } AS measured
            FROM (SELECT *, inv IN (FROM measured_invocations) AS measured FROM invocations) i
            LEFT JOIN invocation_failures f USING (inv)
            LEFT JOIN starts s USING (inv)
            LEFT JOIN (SELECT DISTINCT function, true AS begun FROM inits WHERE kind = 'init_start') USING (function)
            GROUP BY function, begun ORDER BY function"""
    )
    columns = [column[0] for column in found.description or ()]
    seen = {row[0]: dict(zip(columns, row, strict=True)) for row in found.fetchall()}
    if not starts_told:
        seen = {name: _without_starts(row) for name, row in seen.items()}
    return {name: _block(seen.get(name), metrics.get(name) or {}, limits) for name in dict.fromkeys((*names, *seen))}


def _without_starts(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "cold_starts": None,
        "suppressed_inits": None,
        "starts": dict.fromkeys(row["starts"]),
        "measured": {**row["measured"], "cold_starts": None},
    }


def _block(row: Mapping[str, Any] | None, metrics: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """One function's block. `row` None: its log was read and holds no REPORT."""
    row = _NO_REPORT if row is None else row
    invocations, throttles = row["invocations"], metrics.get("Throttles")
    measured = row["measured"]
    offered = None if throttles is None else invocations + throttles
    return {
        "invocations": invocations,
        "errors": row["errors"],
        "timeouts": row["timeouts"],
        "throttles": whole(throttles),
        "cold_starts": row["cold_starts"],
        "starts": dict(row["starts"]),
        "suppressed_inits": row["suppressed_inits"],
        "duration_ms": {**row["duration_ms"], "sum": row["duration_sum"]},
        "billed_ms": {**row["billed_ms"], "sum": whole(row["billed_sum"])},
        "init_ms": dict(row["init_ms"]),
        "memory_mb": {"configured": whole(row["memory_configured"]), **row["memory_mb"]},
        "limits": {"duration_ms": limits.duration_ms, "memory_headroom_mb": limits.memory_headroom_mb},
        "under_limit_duration": row["under_limit_duration"],
        "over_limit_duration": row["over_limit_duration"],
        "under_limit_memory": row["under_limit_memory"],
        "over_limit_memory": row["over_limit_memory"],
        "first_at": iso_utc(row["first_at"]),
        "last_at": iso_utc(row["last_at"]),
        "error_rate": ratio(measured["errors"], measured["invocations"]),
        "cold_start_rate": ratio(measured["cold_starts"], measured["invocations"]),
        "throttle_rate": ratio(throttles, offered),
        "measured": dict(measured),
    }


_NO_REPORT: Mapping[str, Any] = {
    **dict.fromkeys(("duration_sum", "billed_sum", "memory_configured", "first_at", "last_at")),
    **dict.fromkeys(("invocations", "errors", "timeouts", "cold_starts", "suppressed_inits"), 0),
    **dict.fromkeys(("under_limit_duration", "over_limit_duration", "under_limit_memory", "over_limit_memory"), 0),
    "starts": {"cold": 0, "proactive": None, "provisioned": 0, "snapstart": 0},
    "duration_ms": dict.fromkeys(("min", "mean", "p50", "p90", "p95", "p99", "max")),
    "billed_ms": dict.fromkeys(("min", "mean", "max")),
    "init_ms": dict.fromkeys(("p50", "p95", "max")),
    "memory_mb": dict.fromkeys(("min", "mean", "max")),
    "measured": dict.fromkeys(("invocations", "errors", "timeouts", "cold_starts"), 0),
}


def whole(number: float | None) -> int | float | None:
    """A whole number as an int: what AWS counts in whole numbers is written without a fraction."""
    return int(number) if number is not None and number == int(number) else number
