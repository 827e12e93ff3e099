"""The rows of the tab "Serverless": flows as this load generator sees them, functions as CloudWatch does.

Locust draws the tab as one table, so both kinds of rows share its columns; what has no meaning for a row is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from loadgen.live import LiveFigures, LiveWindow
from loadgen.webui.cloudwatch import CloudWatchFigures

KEY = "serverless"
TITLE = "Serverless"
RECENT_S = 10.0
"""What a rate or a percentile is taken of while the run goes."""

COLUMNS: Mapping[str, str] = {
    "where": "Where",
    "requests": "Requests, invocations",
    "per_second": "Per second",
    "statuses": "Status",
    "throttles": "Throttles",
    "function_errors": "Function errors",
    "cold_starts": "Cold starts",
    "in_flight": "In flight, concurrency",
    "lag_p50_ms": "Schedule lag p50 ms",
    "lag_p99_ms": "Schedule lag p99 ms",
    "dropped": "Dropped arrivals",
}
"""Key -> heading. Counts are of the whole run; rate and lag of its last ten seconds while it goes."""

Row = dict[str, Any]


def structure() -> list[dict[str, str]]:
    """The columns, as Locust's template takes them."""
    return [{"key": key, "title": title} for key, title in COLUMNS.items()]


def rows(live: LiveFigures | None, now: float, *, running: bool, cloudwatch: CloudWatchFigures | None) -> list[Row]:
    """All rows; `now` by the clock of `live`; `cloudwatch` None where it is not asked."""
    found: list[Row] = []
    if live is not None:
        window_s = RECENT_S if running else None
        found += [_flow(f"flow {flow}", live, now, window_s, flow) for flow in live.flows]
        found.append(_flow("all flows", live, now, window_s, None))
    if cloudwatch is not None:
        found += [
            _row(
                f"function {name}",
                requests=figures.invocations,
                throttles=figures.throttles,
                function_errors=figures.errors,
                cold_starts=figures.cold_starts,
                in_flight=figures.concurrency,
            )
            for name, figures in cloudwatch.functions.items()
            if figures.invocations or figures.throttles
        ]
        found.append(_row("CloudWatch", statuses=_when(cloudwatch)))
    return found


def _flow(where: str, live: LiveFigures, now: float, window_s: float | None, scope: str | None) -> Row:
    whole = live.over(now, None, scope)
    recent = whole if window_s is None else live.over(now, window_s, scope)
    return _row(
        where,
        requests=whole.requests,
        per_second=_rounded(recent.rps),
        statuses=_statuses(whole),
        throttles=whole.throttles,
        function_errors=whole.function_errors,
        in_flight=live.in_flight(now, scope),
        lag_p50_ms=_rounded(recent.lag_percentile_ms(0.5)),
        lag_p99_ms=_rounded(recent.lag_percentile_ms(0.99)),
        dropped=whole.dropped,
    )


def _statuses(window: LiveWindow) -> str:
    return ", ".join(f"{status}: {count:,}" for status, count in sorted(window.statuses.items()))


def _when(figures: CloudWatchFigures) -> str:
    asked = "" if figures.at is None else f"as of {datetime.fromtimestamp(figures.at, UTC):%H:%M:%S} UTC"
    if figures.problem is not None:
        return f"no data: {figures.problem}" + (f"; {asked}" if asked else "")
    return asked or "not asked yet"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _row(where: str, **cells: float | str | None) -> Row:
    """Whole numbers as such; what is absent stays empty in the table."""
    shown = {key: int(cell) if isinstance(cell, float) and cell.is_integer() else cell for key, cell in cells.items()}
    return {"where": where, **dict.fromkeys(COLUMNS.keys() - {"where"}), **shown}
