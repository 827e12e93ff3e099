"""A threshold's metric over sliding windows of a run, from its rows: the worst window is what counts.

There is one every tenth of its length, from the first measured request to the last one's start; a run shorter than that
has the one that covers it. A request counts where it ended (one without an answer where it started), a dropped arrival
where it was due; what ended after the last start, when there was no load any more, counts in the last window. What was
timed by a clock that did not work (`analysis.clocks`) is in none.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from analysis.clocks import near_the_others
from analysis.requests_table import literal
from config.thresholds import Threshold

STEPS = 10
"""Windows that a moment lies in."""

_LATENCY = "quantile_cont(response_ms, {})"
_SENT, _FAILED = "count(*) FILTER (WHERE sent)", "count(*) FILTER (WHERE sent AND NOT ok)"
_METRICS = {
    "mean_ms": "avg(response_ms)",
    "p50_ms": _LATENCY.format(0.5),
    "p90_ms": _LATENCY.format(0.9),
    "p95_ms": _LATENCY.format(0.95),
    "p99_ms": _LATENCY.format(0.99),
    "max_ms": "max(response_ms)",
    "error_rate": f"{_FAILED} / nullif({_SENT}, 0)",
    "success_rate": f"1 - {_FAILED} / nullif({_SENT}, 0)",
    "dropped_rate": "count(*) FILTER (WHERE NOT sent) / nullif(count(seen_at), 0)",
    "requests": _SENT,
    "failures": _FAILED,
    "dropped": "count(*) FILTER (WHERE NOT sent)",
    "rps": f"{_SENT} / nullif(least({{window_s}}, any_value(last - first)), 0)",
}
"""`config.thresholds.CLIENT_METRICS` in SQL, over the rows of a window; one without any has a row of NULLs."""
_COUNTED_AMONG = {"failures": "sent"}
"""Metric -> the rows (any where none are named) without which nothing was measured in the whole run: a count is 0 in a
window without requests, and not known of an endpoint that was never called, or is misspelled."""


@dataclass(frozen=True)
class Window:
    """A stretch of a run and what was measured in it."""

    started_at: float
    """Epoch seconds."""
    value: float


def worst_window(db: duckdb.DuckDBPyConnection, threshold: Threshold) -> Window | None:
    """The window that keeps least to the threshold, the first of several; None where nothing was measured in any.

    `db` holds the table `requests` (`analysis.requests_table`); the threshold has a window.
    """
    window_s = threshold.window_s
    assert window_s is not None
    step_s = window_s / STEPS
    scope = "true"
    if threshold.scope is not None:
        name = literal(threshold.scope)
        known = db.execute(f"SELECT count(*) > 0 FROM requests WHERE endpoint = {name}").fetchone()
        scope = f"{'endpoint' if known and known[0] else 'flow'} = {name}"
    metric = _METRICS[threshold.metric].format(window_s=window_s)
    begun_at = "coalesce(started_at, scheduled_at)"
    db.execute(f"CREATE OR REPLACE TEMP VIEW begun_rows AS SELECT *, {begun_at} AS begun_at FROM requests")
    near = near_the_others(db, "begun_rows", "begun_at")
    # Steps are counted back from the end; a window's number is that of its last step, and a row lies in STEPS windows.
    found = db.execute(
        f"""WITH bounds AS (
                SELECT min(begun_at) AS first, max(begun_at) AS last FROM begun_rows WHERE measured AND {near}
            ), counted AS (
                SELECT sent, ok, response_ms, least(coalesce(ended_at, begun_at), last) AS seen_at,
                       floor((last - seen_at) / {step_s})::BIGINT AS step
                FROM begun_rows, bounds WHERE measured AND {near} AND {scope}
            ), windows AS (
                SELECT first, last, unnest(range(
                    greatest(1, floor((last - first - {window_s}) / {step_s} + 1e-6)::BIGINT + 1))) AS number
                FROM bounds WHERE EXISTS (FROM counted WHERE {_COUNTED_AMONG.get(threshold.metric, "true")})
            ), placed AS (
                SELECT *, unnest(range(step - {STEPS - 1}, step + 1)) AS number FROM counted
            ), judged AS (
                SELECT number, {metric} AS value,
                       any_value(greatest(first, last - number * {step_s} - {window_s})) AS begins
                FROM windows LEFT JOIN placed USING (number) GROUP BY number
            )
            SELECT begins, value FROM judged
            WHERE value IS NOT NULL ORDER BY {_worst_first(threshold)}, begins LIMIT 1"""
    ).fetchone()
    return None if found is None else Window(started_at=found[0], value=found[1])


def _worst_first(threshold: Threshold) -> str:
    """What to sort windows by, so that the one that keeps least to the limit comes first."""
    return {
        "<": "value DESC",
        "<=": "value DESC",
        ">": "value",
        ">=": "value",
        "==": f"abs(value - {threshold.limit!r}) DESC",
        "!=": f"abs(value - {threshold.limit!r})",
    }[threshold.operator]
