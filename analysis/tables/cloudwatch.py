"""CloudWatch's metrics: those with a target and an alert limit, and the functions' own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from analysis.formatting import NOTHING, count, decimal, milliseconds, plural, share, short_name, visible
from analysis.tables.table import Column, Row, Summary, Table, Tone, plain_rows, text


def metrics(summary: Summary) -> Table:
    """Every metric that CloudWatch has data of, those that are out of their limits first."""
    tones: Mapping[str, Tone] = {"ok": "good", "target missed": "warn", "alert": "bad"}
    order = ("alert", "target missed", "ok")
    found = summary.get("metrics") or []
    known = [one for one in found if one.get("verdict") in order]
    without = sorted({visible(one.get("name")) for one in found} - {visible(one.get("name")) for one in known})
    return Table(
        "CloudWatch metrics",
        (text("metric"), text("of"), Column("value"), text("target"), text("alert", wide=True), text("verdict")),
        tuple(
            Row(
                (
                    visible(one.get("name")),
                    _measured_at(one),
                    _metric_value(one),
                    visible(one.get("target")),
                    visible(one.get("alert")),
                    visible(one.get("verdict")),
                ),
                tones.get(one.get("verdict", "")),
            )
            for one in sorted(known, key=lambda one: order.index(one["verdict"]))
        ),
        "Sums over the run, of concurrency, durations and ages the greatest, of latencies the mean."
        + (f" No data: {', '.join(without)}." if without else ""),
    )


def metrics_out_of_limits(summary: Summary) -> Table:
    """Those of `metrics` that miss their target, for where there is little room; its note counts the others."""
    whole = metrics(summary)
    rows = tuple(row for row in whole.rows if row.tone != "good")
    return replace(whole, rows=rows, note=metrics_in_words(summary) or "")


def metrics_in_words(summary: Summary) -> str | None:
    """`41 of 44 CloudWatch metrics hold their targets`; None where there are none."""
    verdicts = [one.get("verdict") for one in summary.get("metrics") or []]
    known = [verdict for verdict in verdicts if verdict != "no data"]
    if not known:
        return None
    return f"{count(known.count('ok'))} of {plural(len(known), 'CloudWatch metric')} hold their targets"


def _measured_at(metric: Mapping[str, Any]) -> str:
    if metric.get("function"):
        return short_name(metric["function"])
    return {"account": "account", "api": "API"}.get(metric.get("group", ""), NOTHING)


_TIMES = ("Duration", "Latency", "IntegrationLatency", "IteratorAge", "AsyncEventAge")
"""Metrics in milliseconds; the others are counts."""


def _metric_value(metric: Mapping[str, Any]) -> str:
    """`312.4 ms (2.08 %)`: the value, and what its limits are held against; `12 (not 10)`: what it should match."""
    value = metric.get("value")
    words = f"{milliseconds(value)} ms" if metric.get("name") in _TIMES else count(value)
    if metric.get("share") is not None:
        return f"{words} ({share(metric['share'])})"
    if metric.get("left") is not None:
        return f"{words} ({count(metric['left'])} left)"
    least, most = metric.get("reference"), metric.get("reference_most")
    if least is None or metric.get("verdict") != "target missed":
        return words
    return (
        f"{words} (not {count(least)})" if most in (None, least) else f"{words} (not {count(least)} to {count(most)})"
    )


def custom_metrics(summary: Summary) -> Table:
    return Table(
        "Metrics of the functions' own",
        (
            text("namespace"),
            text("metric"),
            text("dimensions"),
            Column("samples"),
            Column("sum"),
            Column("mean"),
            Column("min", wide=True),
            Column("max"),
        ),
        plain_rows(
            (
                visible(one.get("namespace"), 60),
                visible(one.get("name"), 60),
                visible(", ".join(f"{name}={value}" for name, value in (one.get("dimensions") or {}).items()), 80),
                count(one.get("count")),
                *(decimal(one.get(key)) for key in ("sum", "mean", "min", "max")),
            )
            for one in summary.get("custom_metrics") or []
        ),
        "Over the minutes of the run, as CloudWatch has them.",
    )
