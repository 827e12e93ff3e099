"""What the client saw: endpoints, latencies, and where the time of a request went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from analysis.formatting import NOTHING, count, decimal, milliseconds, plural, share, short_name, visible
from analysis.latency import ALL, TABLE_LEVELS, Latency
from analysis.tables.table import Column, Summary, Table, plain_rows, section, text


def endpoints(summary: Summary) -> Table:
    return Table(
        "Endpoints",
        (
            text("endpoint"),
            Column("requests"),
            Column("failed"),
            Column("error rate", "%", wide=True),
            Column("rate", "/s"),
            Column("mean", "ms", wide=True),
            Column("p50", "ms"),
            Column("p90", "ms", wide=True),
            Column("p95", "ms"),
            Column("p99", "ms"),
            Column("max", "ms"),
            text("status", wide=True),
        ),
        plain_rows(
            (
                short_name(name),
                count(one.get("requests")),
                count(one.get("failures")),
                share(one.get("error_rate")),
                decimal(one.get("rps")),
                *(
                    milliseconds(one.get(f"{statistic}_ms"))
                    for statistic in ("mean", "p50", "p90", "p95", "p99", "max")
                ),
                statuses(one.get("status") or {}),
            )
            for name, one in section(summary, "client", "endpoints").items()
        ),
        "Response times as the client saw them; these and the rates are without the warm-up, counts cover the whole "
        "run.",
    )


def latency(found: Latency | None) -> Table:
    """Response times by endpoint up to p99.99, from the raw rows."""
    statistics = (*TABLE_LEVELS, "max")
    left_out = found.endpoints_left_out if found else 0
    return Table(
        "Latency distribution",
        (text("endpoint"), Column("measured", "requests"), *(Column(name, "ms") for name in statistics)),
        plain_rows(
            (
                ALL if curve.endpoint is None else short_name(curve.endpoint),
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
            yield (short_name(name), label, *map(milliseconds, values))

    return Table(
        "Latency from schedule",
        (text("endpoint"), text("time"), *(Column(statistic, "ms") for statistic in statistics)),
        plain_rows(row for name, one in section(summary, "client", "endpoints").items() for row in lines(name, one)),
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
    sections = section(summary, "breakdown")
    shown = [
        name
        for name in statistics
        if any(name in (endpoint.get(key) or {}) for endpoint in sections.values() for key, _ in PARTS)
    ]
    return Table(
        "Where the time went",
        (text("endpoint"), text("part"), Column("requests"), *(Column(name, "ms") for name in shown)),
        plain_rows(
            (
                short_name(name),
                label,
                count(endpoint[key].get("count")),
                *(milliseconds(endpoint[key].get(statistic)) for statistic in shown),
            )
            for name, endpoint in sections.items()
            for key, label in PARTS
            if any(value for value in (endpoint.get(key) or {}).values())
        ),
        "Of measured requests that were answered and joined to their invocation; each part counts those that have its "
        "figures, from the client, the access log or the REPORT line. Without the access log, client and network is "
        "all that is not init or handler.",
    )


def mean_parts(summary: Summary) -> dict[str, dict[str, float | None]]:
    """Endpoint -> key of each of PARTS -> milliseconds of it in the mean request; endpoints without any are left out.

    A part that only some requests have (an init) is spread over all of them, so that the parts add up to the mean.
    """
    found = {}
    for endpoint, parts in section(summary, "breakdown").items():
        measured = {key: parts.get(key) or {} for key, _ in PARTS}
        requests = max(part.get("count") or 0 for part in measured.values())
        each = {
            key: None
            if part.get("mean") is None or part.get("count") is None or not requests
            else part["mean"] * part["count"] / requests
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
        plain_rows(
            (short_name(endpoint), *(milliseconds(parts[key]) for key, _ in PARTS))
            for endpoint, parts in mean_parts(summary).items()
        ),
    )
