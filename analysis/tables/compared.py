"""Run B against run A, as a table and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from analysis.comparison import METRICS, Compared, Comparison, Difference, Kind
from analysis.formatting import NOTHING, count, milliseconds, percent, plural, share, usd, visible
from analysis.tables.table import Column, Row, Table, Tone, text

_METRICS = {metric.name: metric for metric in METRICS}


def comparison(found: Comparison) -> Table:
    """Run B against run A, figure by figure."""
    tones: Mapping[str, Tone] = {"worse": "bad", "better": "good", "inconclusive": "warn", "no data": "warn"}

    def row(one: Compared) -> Row:
        kind = _METRICS[one.metric].kind
        cells = (
            _METRICS[one.metric].label,
            _figure(kind, one.a),
            _figure(kind, one.b),
            _change(kind, one.change),
            NOTHING if one.low is None else f"{_change(kind, one.low)} to {_change(kind, one.high)}",
            one.verdict,
            count(one.requests_to_decide),
        )
        return Row(cells, tones.get(one.verdict))

    unknown = (f"{_METRICS[one.metric].label}: {visible(one.why)}" for one in found.metrics if one.why is not None)
    return Table(
        "Run against run",
        (
            text("figure"),
            Column("A"),
            Column("B"),
            Column("change"),
            Column(f"{percent(found.confidence)} interval"),
            Column("verdict", f"within {percent(found.within)}", numeric=False),
            Column("to decide", "requests"),
        ),
        tuple(map(row, found.metrics)),
        ". ".join(unknown),
    )


def comparison_in_words(found: Comparison) -> str:
    """`Worse: p95 by +9.8 % (+8.1 % to +11.6 %)`, what it all comes to."""
    named = [
        (_METRICS[one.metric], one)
        for one in found.metrics
        if one.verdict == found.verdict and found.verdict in ("worse", "better", "inconclusive")
    ]
    if not named:
        return {"no difference": f"No difference within {percent(found.within)}"}.get(found.verdict, "No data")
    if found.verdict == "inconclusive":
        return f"Inconclusive: {', '.join(metric.label for metric, _ in named)}"
    changes = (
        f"{metric.label} by {_change(metric.kind, one.change)} "
        f"({_change(metric.kind, one.low)} to {_change(metric.kind, one.high)})"
        for metric, one in named
    )
    return f"{found.verdict.capitalize()}: {', '.join(changes)}"


def about_comparison(found: Comparison) -> Iterable[str]:
    """What a reader of a comparison has to know: which runs, what was resampled, what differs."""
    for side, of in (("A", found.a), ("B", found.b)):
        units = of.resampled
        words = f"{side}: {visible(of.label)}, {plural(units['requests'], 'request')}"
        words += f", {plural(units['environments'], 'environment')}"
        if units["requests_without_environment"]:
            words += f", {count(units['requests_without_environment'])} requests of none"
        words += ", SIMULATED, not AWS" if of.simulated else ""
        yield words + ("" if of.complete else ", INCOMPLETE")
    for difference in found.differences:
        yield f"Not the same in both: {difference_in_words(difference)}"


def difference_in_words(difference: Difference) -> str:
    """`region: us-east-1 in A, eu-west-1 in B`."""
    a, b = (visible(_listed(value), 80) for value in (difference.a, difference.b))
    return f"{visible(difference.fact)}: {a} in A, {b} in B"


def _listed(value: Any) -> str:
    """A fact of a manifest: `duration_s 30, users 200; duration_s 60, users 0` for the stages of a profile."""
    if value is None:
        return "not set"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_listed(one)}" for name, one in value.items() if one is not None)
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(one, Mapping) for one in value) else ", ").join(map(_listed, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _figure(kind: Kind, value: float | None) -> str:
    if value is None:
        return NOTHING
    return {"ms": f"{milliseconds(value)} ms", "rate": share(value), "usd": usd(value)}[kind]


def _change(kind: Kind, change: float | None) -> str:
    """`+9.8 %`; of a rate, in percentage points, `+0.21 pp`."""
    if change is None:
        return NOTHING
    return f"{100 * change:+.2f} pp" if kind == "rate" else f"{100 * change:+,.1f} %"
