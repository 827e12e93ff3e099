"""The tables of a run, as text: what stands in them is decided here once, how they look is the renderers' business.

Each function takes `summary.json`'s dictionary and gives one Table, with no rows where the summary has nothing to say.
Columns marked `wide` need more room than a terminal of 100 columns has; only the HTML report shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from analysis.comparison import METRICS, Compared, Comparison, Difference, Kind
from analysis.formatting import (
    NOTHING,
    count,
    date_and_time,
    decimal,
    milliseconds,
    percent,
    plural,
    ratio,
    share,
    timespan,
    usd,
    visible,
)
from analysis.latency import ALL, TABLE_LEVELS, Latency
from config.thresholds import parse_threshold

Summary = Mapping[str, Any]
Tone = Literal["good", "bad", "warn"]


@dataclass(frozen=True)
class Column:
    header: str
    unit: str = ""
    numeric: bool = True
    wide: bool = False


@dataclass(frozen=True)
class Row:
    cells: tuple[str, ...]
    tone: Tone | None = None


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def first(self, number: int) -> Table:
        """The table with so many rows at most: where there are more, those that call for attention before the others.
        Its note says how many were left out."""
        if len(self.rows) <= number:
            return self
        order = {"bad": 0, "warn": 1}
        worst = sorted(range(len(self.rows)), key=lambda index: order.get(self.rows[index].tone or "", 2))[:number]
        left_out = f"{count(len(self.rows) - number)} more rows are in summary.json."
        rows = tuple(self.rows[index] for index in sorted(worst))
        return replace(self, rows=rows, note=f"{self.note} {left_out}".strip())

    def narrow(self) -> Table:
        """The table without its wide columns."""
        keep = [index for index, column in enumerate(self.columns) if not column.wide]
        return replace(
            self,
            columns=tuple(self.columns[index] for index in keep),
            rows=tuple(Row(tuple(row.cells[index] for index in keep), row.tone) for row in self.rows),
        )


def text(header: str, wide: bool = False) -> Column:
    return Column(header, numeric=False, wide=wide)


def _section(summary: Summary, *names: str) -> Mapping[str, Any]:
    """A nested object of the summary; an empty one where it is absent or null."""
    value: Any = summary
    for name in names:
        value = (value or {}).get(name)
    return value or {}


def _rows(rows: Iterable[Sequence[str]]) -> tuple[Row, ...]:
    return tuple(Row(tuple(cells)) for cells in rows)


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
                    measured(one.get("expression", ""), one.get("value")),
                ),
                tones.get(one.get("verdict", "")),
            )
            for one in summary.get("thresholds") or []
        ),
        "Measured over the requests of phase measure, or the worst window of them. A threshold without data counts as "
        "broken.",
    )


def measured(expression: str, value: float | None) -> str:
    """A threshold's measured value in the unit of its metric: `812 ms`, `4.02 %`, `17`."""
    if value is None:
        return "no data"
    try:
        metric = parse_threshold(expression).metric
    except ValueError:
        return decimal(value)  # written by another version, or by hand
    if metric.endswith("_ms"):
        return f"{milliseconds(value)} ms"
    if metric.endswith("_usd"):
        return usd(value)
    return share(value) if metric.endswith("_rate") else decimal(value)


def measured_in_words(threshold: Mapping[str, Any]) -> str:
    """`measured 4.02 %`, of a threshold that does not hold."""
    if threshold.get("value") is None:
        return "nothing was measured for it"
    words = f"measured {measured(threshold.get('expression', ''), threshold['value'])}"
    return f"{words}, which aborted the run" if threshold.get("aborted") else words


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


def breakpoint(summary: Summary) -> Table:
    """The steps of a search for the breakpoint."""
    tones: Mapping[str, Tone] = {"held": "good", "broke": "bad", "capped": "bad", "saturated": "warn"}
    found = _section(summary, "breakpoint")
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


def endpoints(summary: Summary) -> Table:
    return Table(
        "Endpoints",
        (
            text("endpoint"),
            Column("requests"),
            Column("failed"),
            Column("failed", "%", wide=True),
            Column("rate", "/s"),
            Column("mean", "ms", wide=True),
            Column("p50", "ms"),
            Column("p90", "ms", wide=True),
            Column("p95", "ms"),
            Column("p99", "ms"),
            Column("max", "ms"),
            text("status", wide=True),
        ),
        _rows(
            (
                visible(name, 40),
                count(one.get("requests")),
                count(one.get("failures")),
                share(ratio(one.get("failures"), one.get("requests"))),
                decimal(one.get("rps")),
                *(
                    milliseconds(one.get(f"{statistic}_ms"))
                    for statistic in ("mean", "p50", "p90", "p95", "p99", "max")
                ),
                statuses(one.get("status") or {}),
            )
            for name, one in _section(summary, "client", "endpoints").items()
        ),
        "Response times as the client saw them, warm-up excluded; counts cover the whole run.",
    )


def latency(found: Latency | None) -> Table:
    """Response times by endpoint up to p99.99, from the raw rows."""
    statistics = (*TABLE_LEVELS, "max")
    left_out = found.endpoints_left_out if found else 0
    return Table(
        "Latency distribution",
        (text("endpoint"), Column("measured", "requests"), *(Column(name, "ms") for name in statistics)),
        _rows(
            (
                ALL if curve.endpoint is None else visible(curve.endpoint, 40),
                count(curve.requests),
                *(milliseconds(curve.at[name]) for name in statistics),
            )
            for curve in (found.curves if found else ())
        ),
        "Of measured requests, failed ones too. A percentile stands where at least one request was slower: p99.9 from "
        "1,000 requests on, p99.99 from 10,000."
        + (f" Without the {plural(left_out, 'endpoint')} with the fewest requests." if left_out else ""),
    )


def schedule(summary: Summary) -> Table:
    """Response times of requests that were due at some time, from then and from when they were sent."""
    statistics = ("p50", "p95", "p99", "max")

    def lines(name: str, one: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
        from_schedule, lag = one.get("from_schedule") or {}, one.get("schedule_lag_ms") or {}
        if lag.get("p50") is None:
            return
        due = [from_schedule.get(f"{statistic}_ms") for statistic in statistics]
        sent = [one.get(f"{statistic}_ms") for statistic in statistics]
        late = [lag.get(statistic) for statistic in statistics]
        for label, values in (("from when it was due", due), ("from when it was sent", sent), ("sent late by", late)):
            yield (visible(name, 40), label, *map(milliseconds, values))

    return Table(
        "Latency from schedule",
        (text("endpoint"), text("time"), *(Column(statistic, "ms") for statistic in statistics)),
        _rows(row for name, one in _section(summary, "client", "endpoints").items() for row in lines(name, one)),
        "A request that was sent late waited before it was measured: the first line of an endpoint holds that wait.",
    )


STATUSES_SHOWN = 5


def statuses(by_status: Mapping[str, int]) -> str:
    """`200: 11,520 · 502: 480`; of many, the most frequent ones."""
    largest = dict(sorted(by_status.items(), key=lambda one: -one[1])[:STATUSES_SHOWN])
    words = [f"{visible(status, 20)}: {count(by_status[status])}" for status in by_status if status in largest]
    others = sum(by_status.values()) - sum(largest.values())
    return " · ".join([*words, *([f"others: {count(others)}"] if others else [])]) or NOTHING


PARTS = (
    ("client_network_ms", "client and network"),
    ("gateway_ms", "gateway"),
    ("service_ms", "Lambda service"),
    ("init_ms", "init"),
    ("handler_ms", "handler"),
)
"""Where the time of a request went, in the order in which it passes."""


def breakdown(summary: Summary) -> Table:
    statistics = ("mean", "p50", "p90", "p95", "p99", "max")
    sections = _section(summary, "breakdown")
    shown = [
        name
        for name in statistics
        if any(name in (endpoint.get(key) or {}) for endpoint in sections.values() for key, _ in PARTS)
    ]
    return Table(
        "Where the time went",
        (text("endpoint"), text("part"), Column("requests"), *(Column(name, "ms") for name in shown)),
        _rows(
            (
                visible(name, 40),
                label,
                count(endpoint[key].get("count")),
                *(milliseconds(endpoint[key].get(statistic)) for statistic in shown),
            )
            for name, endpoint in sections.items()
            for key, label in PARTS
            if any(value for value in (endpoint.get(key) or {}).values())
        ),
        "Of measured requests; each part counts those that have its figures, from the client, the access log or the "
        "REPORT line.",
    )


def mean_parts(summary: Summary) -> dict[str, dict[str, float | None]]:
    """Endpoint -> key of each of PARTS -> milliseconds of it in the mean request; endpoints without any are left out.

    A part that only some requests have (an init) is spread over all of them, so that the parts add up to the mean.
    """
    found = {}
    for endpoint, parts in _section(summary, "breakdown").items():
        measured = {key: parts.get(key) or {} for key, _ in PARTS}
        requests = max(part.get("count") or 0 for part in measured.values())
        each = {
            key: None if part.get("mean") is None or not requests else part["mean"] * part["count"] / requests
            for key, part in measured.items()
        }
        if any(ms is not None and ms > 0 for ms in each.values()):
            found[endpoint] = each
    return found


def mean_request(summary: Summary) -> Table:
    """Where the time of the mean request went: one row an endpoint, for where there is little room."""
    short = {"client_network_ms": "client+net", "service_ms": "Lambda"}
    return Table(
        "Where the time went",
        (text("endpoint"), *(Column(short.get(key, label), "mean ms") for key, label in PARTS)),
        _rows(
            (visible(endpoint, 40), *(milliseconds(parts[key]) for key, _ in PARTS))
            for endpoint, parts in mean_parts(summary).items()
        ),
    )


def functions(summary: Summary) -> Table:
    def cells(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
        invocations = one.get("invocations")
        duration, init, memory = (one.get(key) or {} for key in ("duration_ms", "init_ms", "memory_mb"))
        return (
            visible(name, 40),
            count(invocations),
            count(one.get("errors")),
            count(one.get("timeouts")),
            count(one.get("throttles")),
            count(one.get("cold_starts")),
            share(ratio(one.get("cold_starts"), invocations)),
            milliseconds(duration.get("mean")),
            milliseconds(duration.get("p50")),
            milliseconds(duration.get("p95")),
            milliseconds(duration.get("p99")),
            milliseconds(duration.get("max")),
            milliseconds(init.get("p50")),
            NOTHING if memory.get("max") is None else f"{count(memory['max'])} of {count(memory.get('configured'))}",
        )

    functions = _section(summary, "functions")
    called = {name: one for name, one in functions.items() if one.get("invocations") or one.get("throttles")}
    idle = [name for name in functions if name not in called]
    return Table(
        "Functions",
        (
            text("function"),
            Column("calls"),
            Column("errors"),
            Column("timeouts", wide=True),
            Column("throttles"),
            Column("cold"),
            Column("cold", "%", wide=True),
            Column("mean", "ms", wide=True),
            Column("p50", "ms"),
            Column("p95", "ms"),
            Column("p99", "ms"),
            Column("max", "ms", wide=True),
            Column("init p50", "ms", wide=True),
            Column("memory", "MB"),
        ),
        _rows(cells(name, one) for name, one in called.items()),
        "From the REPORT lines of the functions' logs; throttles leave no log and come from AWS/Lambda metrics. "
        "Memory: the most that was used, of what is configured."
        + (f" Not called: {', '.join(visible(name, 40) for name in idle)}." if idle else ""),
    )


def billing(summary: Summary) -> Table:
    """Billed time, and the counts under and over the limits (`analysis.statistics_table` says what these mean)."""

    def cells(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
        billed, limits = one.get("billed_ms") or {}, one.get("limits") or {}
        return (
            visible(name, 40),
            count(billed.get("sum")),
            milliseconds(billed.get("mean")),
            decimal(limits.get("duration_ms")),
            count(one.get("under_limit_duration")),
            count(one.get("over_limit_duration")),
            decimal(limits.get("memory_headroom_mb")),
            count(one.get("under_limit_memory")),
            count(one.get("over_limit_memory")),
        )

    return Table(
        "Billed time and limits",
        (
            text("function"),
            Column("billed in all", "ms"),
            Column("billed mean", "ms"),
            Column("duration limit", "ms"),
            Column("under it", "calls"),
            Column("at or over it", "calls"),
            Column("headroom limit", "MB"),
            Column("less left", "calls"),
            Column("enough left", "calls"),
        ),
        _rows(cells(name, one) for name, one in _section(summary, "functions").items() if one.get("invocations")),
        "Headroom is configured memory minus used memory: under its limit, too little is left.",
    )


def chains(summary: Summary) -> Table:
    def row(name: str, one: Mapping[str, Any]) -> Row:
        end_to_end = one.get("end_to_end_ms") or {}
        reconciled = one.get("table_reconciled")
        unsound = one.get("lost") or one.get("duplicated") or reconciled is False
        counts = ("sent", "accepted", "completed", "lost", "duplicated", "late", "pending")
        return Row(
            (
                visible(name, 40),
                *(count(one.get(key)) for key in counts),
                *(milliseconds(end_to_end.get(key)) for key in ("p50", "p95", "p99", "max")),
                NOTHING if reconciled is None else "agrees" if reconciled else "DIFFERS",
            ),
            "bad" if unsound else "warn" if one.get("late") or one.get("pending") else None,
        )

    return Table(
        "Chains",
        (
            text("chain"),
            Column("sent"),
            Column("accepted"),
            Column("completed"),
            Column("lost"),
            Column("dupl."),
            Column("late"),
            Column("pending"),
            Column("p50", "ms", wide=True),
            Column("p95", "ms"),
            Column("p99", "ms", wide=True),
            Column("max", "ms", wide=True),
            text("table"),
        ),
        tuple(row(name, one) for name, one in _section(summary, "chains").items()),
        "From the client's request to the end of the last function. Lost: accepted and never completed.",
    )


def cold_starts(summary: Summary) -> Table:
    """The share of cold starts by concurrency and over time."""

    def steps(shares: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for one in shares.get("by_concurrency") or ():
            least = one.get("at_least") or 1
            yield f"{count(least)} at once" if least == 1 else f"{count(least)} to {count(2 * least - 1)} at once", one
        for one in shares.get("over_time") or ():
            yield f"{decimal(one.get('from_s'))} to {decimal(one.get('to_s'))} s after the first", one

    return Table(
        "Cold starts by concurrency and over time",
        (text("function"), text("invocations"), Column("calls"), Column("cold"), Column("share")),
        _rows(
            (
                visible(function, 40),
                step,
                *(count(one.get(key)) for key in ("invocations", "cold_starts")),
                share(one.get("cold_start_rate")),
            )
            for function, shares in _section(summary, "cold_start_shares").items()
            for step, one in steps(shares)
        ),
        "At once: invocations of the function that were under way when one began, itself included.",
    )


def hops(summary: Summary) -> Table:
    """The chains of several functions, hop by hop."""
    rows = []
    for name, chain in _section(summary, "chains").items():
        found = chain.get("hops") or ()
        for hop in found if len(found) > 1 else ():
            times = hop.get("since_last_ms") or {}
            rows.append(
                Row(
                    (
                        visible(name, 40),
                        visible(hop.get("function"), 40),
                        *(count(hop.get(key)) for key in ("reached", "lost_before", "repeated")),
                        *(milliseconds(times.get(key)) for key in ("p50", "p95", "p99", "max")),
                    ),
                    "bad" if hop.get("lost_before") or hop.get("repeated") else None,
                )
            )
    return Table(
        "Chains, hop by hop",
        (
            text("chain"),
            text("function"),
            Column("reached"),
            Column("lost before"),
            Column("repeated"),
            Column("p50", "ms"),
            Column("p95", "ms"),
            Column("p99", "ms"),
            Column("max", "ms"),
        ),
        tuple(rows),
        "Times from the end of the last hop, of the first from the start of the request.",
    )


JOIN_KEYS = (
    ("lambda_request_id", "Lambda request id"),
    ("access_log", "access log"),
    ("correlation_line", "correlation line"),
    ("trace_id", "X-Ray trace id"),
)
"""The evidence of a match, strongest first."""


def join(summary: Summary) -> Table:
    one = _section(summary, "join")
    groups: tuple[tuple[Any, tuple[tuple[str, Any], ...]], ...] = (
        (
            one.get("requests"),
            (
                ("requests sent", one.get("requests")),
                ("joined to their invocation", one.get("matched")),
                *((f"… by {label}", _section(one, "by").get(key)) for key, label in JOIN_KEYS),
                ("without an invocation", one.get("unmatched_requests")),
                ("ambiguous, set aside", one.get("ambiguous")),
            ),
        ),
        (
            one.get("reached"),
            (
                ("requests that reached a function", one.get("reached")),
                ("joined to their invocation", one.get("reached_matched")),
            ),
        ),
        (
            one.get("invocations"),
            (
                ("invocations", one.get("invocations")),
                ("further attempts at an event, under its request id", one.get("retries")),
                ("later hops of a chain", one.get("chain_invocations")),
                ("of functions behind a stream or queue", one.get("background_invocations")),
                ("without a request", one.get("unmatched_invocations")),
            ),
        ),
    )
    return Table(
        "Join",
        (text("requests and invocations"), Column("rows"), Column("share")),
        _rows(
            (label, count(rows), share(ratio(rows, whole)) if rows is not whole else NOTHING)
            for whole, facts in groups
            for label, rows in facts
            if rows is not None and (one.get("requests") or one.get("invocations"))
        ),
        " ".join(map(_clock, summary.get("clocks") or ())),
    )


def clocks_in_words(summary: Summary) -> str | None:
    """How far the target's clock is ahead of that worker's which differs most, in a sentence; None if unknown."""
    clocks = summary.get("clocks") or ()
    known = [one for one in clocks if one.get("offset_ms") is not None or one.get("date_offset_ms") is not None]

    def apart_ms(one: Mapping[str, Any]) -> float:
        return abs(one["date_offset_ms"] if one.get("offset_ms") is None else one["offset_ms"])

    return _clock(max(known, key=apart_ms)) if known else None


def _clock(one: Mapping[str, Any]) -> str:
    """One worker's clock, as a sentence."""
    workers = f"worker {visible(one.get('worker'), 20)}'s"
    bounds, told, contradicts = [], [], []
    for by, prefix, known in (("logs", "", "requests"), ("Date headers", "date_", "date_answers")):
        offset_ms, error_ms = one.get(f"{prefix}offset_ms"), one.get(f"{prefix}error_ms")
        if offset_ms is not None:
            bounds.append((offset_ms, error_ms or 0.0))
            told.append(f"{milliseconds(offset_ms)} ± {milliseconds(error_ms)} ms by the {by}")
        elif one.get(known):
            contradicts.append(f"by the {by} it is not known, for one of the two was set during the run")
    if not bounds:
        return f"Whether the target's clock agrees with {workers} is not known: {'; '.join(contradicts)}."
    offset_ms, error_ms = bounds[0]
    agrees = not one.get("corrected") and abs(offset_ms) <= error_ms
    compared = "agrees with" if agrees else "is ahead of" if offset_ms > 0 else "is behind"
    corrected = "; times are corrected by that of the logs" if one.get("corrected") else ""
    return f"The target's clock {compared} {workers}: {'; '.join((*told, *contradicts))}{corrected}."


def join_in_words(summary: Summary) -> str | None:
    """How many requests found their invocation, and by what, in a sentence; None where nothing could be joined."""
    one = _section(summary, "join")
    requests = one.get("requests")
    if not requests or (not one.get("reached") and one.get("chain_invocations")):
        return None  # messages, which no invocation answers: what became of them is in the chains
    by = [f"{count(number)} by {label}" for key, label in JOIN_KEYS if (number := _section(one, "by").get(key))]
    words = f"{count(one.get('matched'))} of {plural(requests, 'request')} were joined to their invocation"
    words += f" ({', '.join(by)})" if by else ""
    if one.get("reached"):
        words += f"; {share(ratio(one.get('reached_matched'), one['reached']))} of those that reached a function"
    if one.get("ambiguous"):
        words += f"; {count(one['ambiguous'])} ambiguous ones were set aside"
    return words


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
        return visible(metric["function"], 40)
    return {"account": "account", "api": "API"}.get(metric.get("group", ""), NOTHING)


_TIMES = ("Duration", "Latency", "IntegrationLatency", "IteratorAge", "AsyncEventAge")
"""Metrics in milliseconds; the others are counts."""


def _metric_value(metric: Mapping[str, Any]) -> str:
    """`312.4 ms (2.08 %)`: the value, and what its limits are held against."""
    value = metric.get("value")
    words = f"{milliseconds(value)} ms" if metric.get("name") in _TIMES else count(value)
    if metric.get("share") is not None:
        return f"{words} ({share(metric['share'])})"
    return words if metric.get("left") is None else f"{words} ({count(metric['left'])} left)"


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
        _rows(
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


def cost(summary: Summary) -> Table:
    one = _section(summary, "cost")
    items = one.get("items") or []
    return Table(
        "Cost",
        (
            text("service"),
            Column("quantity"),
            text("unit"),
            Column("cost", "USD"),
            Column("per million requests", "USD"),
        ),
        _rows(
            (
                visible(item.get("service")),
                decimal(item.get("quantity")),
                visible(item.get("unit")),
                usd(item.get("usd")),
                usd(item.get("per_million_usd")),
            )
            for item in items
        ),
        " ".join(_about_cost(one)) if items else "",
    )


def cost_in_words(summary: Summary) -> str | None:
    """`$0.26 for the run, $6.84 per million requests, without KMS`; None where nothing is priced."""
    one = _section(summary, "cost")
    if one.get("run_usd") is None:
        return None
    missing = [visible(item.get("service")) for item in one.get("items") or [] if item.get("usd") is None]
    words = f"{usd(one['run_usd'])} for the run, {usd(one.get('per_million_usd'))} per million requests"
    return f"{words}, without {', '.join(missing)}" if missing else words


def _about_cost(one: Mapping[str, Any]) -> Iterable[str]:
    words = cost_in_words({"cost": one})
    if words:
        yield f"{words}."
    if one.get("simulated"):
        yield "The run was simulated: this is what AWS would have charged."
    yield f"Prices: {visible(one.get('prices'))}{', free tier taken off' if one.get('free_tier') else ''}."
    for note in (*(one.get("notes") or ()), *(one.get("unpriced") or ()), *(one.get("assumptions") or ())):
        yield f"{visible(note)}."


def pull(facts: Mapping[str, Any]) -> Table:
    """How well the logs were fetched, from `pull.json`."""
    if not facts:
        return Table("Pull", (), ())
    slices = facts.get("slices") or []
    scanned = facts.get("bytes_scanned")
    missing = facts.get("missing_log_groups") or []
    rows = [
        Row(("complete", "yes" if facts.get("complete") else "NO"), None if facts.get("complete") else "bad"),
        Row(("slices", count(len(slices)))),
        Row(("queries started", count(facts.get("queries_started")))),
        Row(("… whose answers were of no use", count(facts.get("queries_wasted")))),
        Row(("rows", count(facts.get("rows")))),
        *(Row((f"… {visible(name)}", count(number))) for name, number in (facts.get("tables") or {}).items()),
        Row(("scanned, MB", NOTHING if scanned is None else decimal(scanned / 1e6))),
        Row(("allowed for late log events, s", decimal(facts.get("lag_s")))),
        *(Row(("log group that does not exist", visible(name)), "bad") for name in missing),
    ]
    return Table("Pull", (text("logs fetched"), Column("value")), tuple(rows))


def manifest(facts: Mapping[str, Any]) -> Table:
    """What was run, where and with what, from `manifest.json`."""
    profile = facts.get("profile")
    profile = profile if isinstance(profile, Mapping) else {"name": profile}
    versions = facts.get("versions") or {}
    functions = facts.get("functions") or {}
    workers = facts.get("workers") or []
    rows: list[tuple[str, str]] = [
        ("run", visible(facts.get("run_id"))),
        ("profile", visible(profile.get("name"))),
        ("about the profile", visible(profile.get("description"))),
        ("target", visible(facts.get("target")) + (" (simulated)" if facts.get("simulated") else "")),
        ("API", visible(facts.get("api_base_url"))),
        ("region", visible(facts.get("region"))),
        ("stack", visible(facts.get("stack_name"))),
        ("started", date_and_time(facts.get("started_at"))),
        ("ended", date_and_time(facts.get("ended_at"))),
        ("ended as", visible(facts.get("state"))),
        ("seed", visible(facts.get("seed"))),
        ("workers", " · ".join(_worker(worker) for worker in workers) or NOTHING),
        ("functions", " · ".join(f"{visible(name)} = {visible(real)}" for name, real in functions.items()) or NOTHING),
        ("versions", " · ".join(f"{visible(name)} {visible(one)}" for name, one in versions.items()) or NOTHING),
    ]
    return Table("Manifest", (text("fact"), text("value")), _rows(row for row in rows if row[1] != NOTHING))


def workers(summary: Summary) -> Table:
    """The workers that did not take part to the end, or whose rows are not all here."""
    units = {"user_seconds": "user-seconds", "arrivals": "arrivals"}

    def row(worker: Mapping[str, Any]) -> Row:
        lost_at, left_at, short = worker.get("lost_at"), worker.get("left_at"), worker.get("shortfall") or {}
        ended = "lost" if lost_at is not None else "left" if left_at is not None else "stayed"
        cells = (
            visible(worker.get("index")),
            visible(worker.get("host"), 30),
            f"{ended}, rows missing" if worker.get("missing_rows") else ended,
            date_and_time(left_at if lost_at is None else lost_at),
            count(worker.get("rows")),
            count(worker.get("missing_rows")),
            share(short.get("share")),
            timespan(short["until"] - short["from"]) if short else NOTHING,
            count(short.get("planned")),
            count(short.get("delivered")),
            visible(units.get(short.get("unit", ""))),
        )
        return Row(cells, "warn" if ended == "left" and not worker.get("missing_rows") else "bad")

    told = [
        worker
        for worker in _section(summary, "run").get("workers") or []
        if any(worker.get(name) is not None for name in ("lost_at", "left_at", "missing_rows"))
    ]
    return Table(
        "Workers that were lost",
        (
            text("worker"),
            text("host", wide=True),
            text("ended"),
            text("last heard"),
            Column("rows"),
            Column("rows missing", wide=True),
            Column("load short by"),
            Column("for"),
            Column("planned", wide=True),
            Column("offered", wide=True),
            text("of", wide=True),
        ),
        tuple(row(worker) for worker in told),
        "Short by: what all workers together offered less than planned, from when this one was last heard until the "
        "others had its users, or the load ended.",
    )


def _worker(worker: Mapping[str, Any]) -> str:
    lost = " LOST" if worker.get("lost_at") is not None else ""
    missing = f", {count(worker['missing_rows'])} missing" if worker.get("missing_rows") else ""
    return f"{visible(worker.get('index'))}: {plural(worker.get('rows') or 0, 'row')}{missing}{lost}"
