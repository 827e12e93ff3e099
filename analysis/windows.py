"""A threshold's metric over sliding windows of a run, from its rows: the worst window is what counts.

There is one every tenth of its length, from the first measured row to the last; a run shorter than that has the one
that covers it. Which rows:

- of the client, requests: one counts where it ended (one without an answer where it started), a dropped arrival where
  it was due. The last window ends with the last request's start: what ended after that, when there was no load any
  more, counts in it.
- of functions, invocations (REPORT lines): one counts where it ended.
- of chains, messages: one counts where its request started, however late it came to its end.

What was timed by a clock that did not work (`analysis.clocks`) is in none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb

from analysis.clocks import near_the_others
from analysis.requests_table import literal
from config.thresholds import CHAIN_COUNTS, CLIENT_METRICS, Threshold

STEPS = 10
"""Windows that a moment lies in."""


def _latencies(column: str) -> dict[str, str]:
    percentiles = {f"p{percent}_ms": f"quantile_cont({column}, 0.{percent})" for percent in (50, 90, 95, 99)}
    return {"mean_ms": f"avg({column})", **percentiles, "max_ms": f"max({column})"}


_COUNTED = "count(row_at)"
_SENT, _NOT_OK = "count(*) FILTER (WHERE sent)", "count(*) FILTER (WHERE sent AND NOT ok)"
_ERRORS, _COLD = "count(*) FILTER (WHERE failed)", "count(*) FILTER (WHERE cold)"


@dataclass(frozen=True)
class _Rows:
    """One sort of measured rows."""

    query: str
    """Rows with begun_at and row_at (the moment at which one counts), epoch seconds, and what metrics are made of."""
    in_scope: str
    """SQL, whether a row is of the scope `name`."""
    metrics: Mapping[str, str]
    """In SQL, over the rows of a window; one without any has a row of NULLs."""
    known: Mapping[str, str]
    """Metric -> SQL over all rows of the scope: whether it was measured at all; else it was where there is any row.
    A count is 0 in a window without rows, and not known of a name that is misspelled."""


_CLIENT = _Rows(
    query="SELECT *, coalesce(ended_at, begun_at) AS row_at FROM begun_rows WHERE measured AND {near}",
    in_scope="CASE WHEN EXISTS (FROM requests WHERE endpoint = {name}) THEN endpoint ELSE flow END = {name}",
    metrics={
        **_latencies("response_ms"),
        "error_rate": f"{_NOT_OK} / nullif({_SENT}, 0)",
        "success_rate": f"1 - {_NOT_OK} / nullif({_SENT}, 0)",
        "dropped_rate": f"count(*) FILTER (WHERE NOT sent) / nullif({_COUNTED}, 0)",
        "requests": _SENT,
        "failures": _NOT_OK,
        "dropped": "count(*) FILTER (WHERE NOT sent)",
        "rps": f"{_SENT} / nullif(least({{window_s}}, any_value(last - first)), 0)",
    },
    known={"failures": "bool_or(sent)"},
)
_FUNCTIONS = _Rows(
    query="SELECT *, ended_at AS begun_at, ended_at AS row_at FROM calls",
    in_scope="function = {name}",
    metrics={
        **_latencies("duration_ms"),
        "error_rate": f"{_ERRORS} / nullif({_COUNTED}, 0)",
        "success_rate": f"1 - {_ERRORS} / nullif({_COUNTED}, 0)",
        "cold_start_rate": f"{_COLD} / nullif({_COUNTED}, 0)",
        "invocations": _COUNTED,
        "errors": _ERRORS,
        "timeouts": "count(*) FILTER (WHERE timed_out)",
        "cold_starts": _COLD,
    },
    known=dict.fromkeys(("cold_start_rate", "cold_starts"), "bool_and(cold IS NOT NULL)"),
)
_CHAINS = _Rows(
    query="SELECT *, entered_at AS begun_at, entered_at AS row_at FROM measured_messages",
    in_scope="chain = {name}",
    metrics={
        **_latencies("end_to_end_ms"),
        **{f"end_to_end_{name}": sql for name, sql in _latencies("end_to_end_ms").items()},
        **{name: f"count(*) FILTER (WHERE {name})" for name in CHAIN_COUNTS},
    },
    known={name: f"bool_and({name} IS NOT NULL)" for name in CHAIN_COUNTS},
)


@dataclass(frozen=True)
class Window:
    """A stretch of a run and what was measured in it."""

    started_at: float
    """Epoch seconds."""
    value: float


def worst_window(db: duckdb.DuckDBPyConnection, threshold: Threshold) -> Window | None:
    """The window that keeps least to the threshold, the first of several; None where nothing was measured in any.

    `db` holds the table `requests` (`analysis.requests_table`) and what is made of the logs: `calls`
    (`analysis.functions`) and `measured_messages` (`analysis.chains`). The threshold has a window. Whose metric it is:
    as in `analysis.thresholds`.
    """
    begun_at = "coalesce(started_at, scheduled_at)"
    db.execute(f"CREATE OR REPLACE TEMP VIEW begun_rows AS SELECT *, {begun_at} AS begun_at FROM requests")
    near = near_the_others(db, "begun_rows", "begun_at")
    for rows in _rows_of(threshold):
        found = _worst_of(db, threshold, rows, near)
        if found is not None:
            return found
    return None


def _rows_of(threshold: Threshold) -> Iterator[_Rows]:
    """Whose metric it may be."""
    if threshold.scope is None and threshold.metric in CLIENT_METRICS:
        yield _CLIENT  # functions have others of that name
        return
    for rows in (_CLIENT, _FUNCTIONS, _CHAINS):
        if threshold.metric in rows.metrics:
            yield rows


def _worst_of(db: duckdb.DuckDBPyConnection, threshold: Threshold, rows: _Rows, near: str) -> Window | None:
    window_s = threshold.window_s
    assert window_s is not None
    step_s = window_s / STEPS
    metric = rows.metrics[threshold.metric].format(window_s=window_s)
    known = rows.known.get(threshold.metric, "count(*) > 0")
    in_scope = "true" if threshold.scope is None else rows.in_scope.format(name=literal(threshold.scope))
    # Steps are counted back from the end; a window's number is that of its last step, and a row lies in STEPS windows.
    found = db.execute(
        f"""WITH measured_rows AS (FROM ({rows.query.format(near=near)}) WHERE row_at IS NOT NULL), bounds AS (
                SELECT min(begun_at) AS first, max(begun_at) AS last FROM measured_rows
            ), counted AS (
                SELECT r.* REPLACE (least(row_at, last) AS row_at),
                       floor((last - least(row_at, last)) / {step_s})::BIGINT AS step
                FROM measured_rows r, bounds WHERE {in_scope}
            ), windows AS (
                SELECT first, last, unnest(range(
                    greatest(1, floor((last - first - {window_s}) / {step_s} + 1e-6)::BIGINT + 1))) AS number
                FROM bounds WHERE (SELECT {known} FROM counted)
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
