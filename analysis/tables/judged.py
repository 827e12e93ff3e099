"""What a run was held against: its thresholds, and the search for its breakpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from analysis.formatting import NOTHING, count, decimal, milliseconds, share, usd, visible
from analysis.tables.table import Column, Row, Summary, Table, Tone, section, text
from config.thresholds import parse_threshold


def thresholds(summary: Summary) -> Table:
    tones: Mapping[str, Tone] = {"pass": "good", "fail": "bad", "no data": "bad"}
    return Table(
        "Thresholds",
        (text("verdict"), text("threshold"), Column("measured")),
        tuple(
            Row(
                (
                    "fail, aborted" if one.get("aborted") else visible(one.get("verdict")),
                    visible(one.get("expression"), 200),
                    _measured(one),
                ),
                tones.get(one.get("verdict", "")),
            )
            for one in summary.get("thresholds") or []
        ),
        "Measured over the requests of phase measure, or the worst window of them. A threshold without data counts as "
        "broken.",
    )


def measured(expression: str, value: float | None) -> str:
    """A threshold's measured value in the unit of its metric: `812 ms`, `4.02 %`, `17`.

    What would read as the limit, and is not, has as many digits as show it: `999.96 ms` passed `p95_ms < 1000`.
    """
    if value is None:
        return "no data"
    try:
        threshold = parse_threshold(expression)
    except ValueError:
        return decimal(value)  # written by another version, or by hand
    metric, limit = threshold.metric, threshold.limit
    before, scale, after = next((unit for ending, unit in _UNITS.items() if metric.endswith(ending)), ("", 1, ""))
    written = _in_unit(metric, value)
    number = re.sub(r"[^\d.]", "", written)
    if value == limit or not number or float(number) != round(scale * limit, 9):
        return written
    digits = next((n for n in range(2, 9) if round(scale * value, n) != round(scale * limit, n)), 9)
    return f"{before}{scale * value:,.{digits}f}{after}"


_UNITS: Mapping[str, tuple[str, int, str]] = {"_ms": ("", 1, " ms"), "_usd": ("$", 1, ""), "_rate": ("", 100, " %")}
"""Ending of a metric -> what stands before its value, how much of its unit one is, and what stands after it."""


def _in_unit(metric: str, value: float) -> str:
    if metric.endswith("_ms"):
        return f"{milliseconds(value)} ms"
    if metric.endswith("_usd"):
        return usd(value)
    return share(value) if metric.endswith("_rate") else decimal(value)


def measured_in_words(threshold: Mapping[str, Any]) -> str:
    """`measured 4.02 %`, of a threshold that does not hold."""
    if threshold.get("value") is None:
        return "nothing was measured for it"
    words = f"measured {_measured(threshold)}"
    return f"{words}, which aborted the run" if threshold.get("aborted") else words


def _measured(threshold: Mapping[str, Any]) -> str:
    words = measured(threshold.get("expression", ""), threshold.get("value"))
    return f"≥ {words}" if threshold.get("lower_bound") else words


def breakpoint(summary: Summary) -> Table:
    """The steps of a search for the breakpoint."""
    tones: Mapping[str, Tone] = {"held": "good", "broke": "bad", "capped": "bad", "saturated": "warn"}
    found = section(summary, "breakpoint")
    return Table(
        "Breakpoint",
        (
            Column("rate", "/s"),
            text("outcome"),
            text("what broke"),
            Column("measured"),
            Column("offered", "/s"),
            Column("failed", "%"),
            Column("p50", "ms", wide=True),
            Column("p95", "ms"),
            Column("p99", "ms", wide=True),
            Column("dropped", wide=True),
            Column("in flight", wide=True),
            Column("sent late", "p99 ms", wide=True),
            Column("CPU", "%", wide=True),
        ),
        tuple(
            Row(
                (
                    decimal(step.get("rate")),
                    visible(step.get("outcome")),
                    visible(step.get("reason"), 60),
                    measured(step.get("reason") or "", step.get("value"))
                    if step.get("outcome") == "broke"
                    else NOTHING,
                    decimal(step.get("offered_rps")),
                    share(step.get("error_rate")),
                    milliseconds(step.get("p50_ms")),
                    milliseconds(step.get("p95_ms")),
                    milliseconds(step.get("p99_ms")),
                    count(step.get("dropped")),
                    count(step.get("in_flight")),
                    milliseconds(step.get("lag_p99_ms")),
                    decimal(step.get("cpu_percent")),
                ),
                tones.get(step.get("outcome", "")),
            )
            for step in found.get("steps") or []
        ),
        "Each row is a try of a rate, in the order of time, seen while the run went: percentiles are within 1 %. Sent "
        "late and CPU are the load generator's own.",
    )
