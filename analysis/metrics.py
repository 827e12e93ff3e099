"""The CloudWatch metrics of a run, held against their limits and against what logs and client say.

Each metric gets a verdict: `ok`, `target missed`, `alert`, or `no data` where CloudWatch has no data point of it, or
where it is not known what it is held against. Where CloudWatch and the logs, or the client, count differently, a
warning names both figures; neither is corrected by the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from analysis.requests_table import HTTP_METHODS
from config.metric_limits import MAXIMUM, MEAN, METRICS, MetricLimit, MetricLimits

OK, MISSED, ALERT, NO_DATA = "ok", "target missed", "alert", "no data"

_STATISTICS = {MAXIMUM: "greatest", MEAN: "mean"}


@dataclass(frozen=True)
class Reference:
    """What a metric is held against."""

    least: float
    most: float
    """More than `least` where it is not known which of them: a request that got no answer may have reached the API."""
    words: str
    """`the timeout`, `the logs`."""


@dataclass(frozen=True)
class Expectations:
    """What is known of the run without CloudWatch."""

    functions: Mapping[str, Mapping[str, Reference]] = field(default_factory=dict)
    """Function -> name in config/metrics.toml -> reference."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Function -> errors in its logs."""
    account: Mapping[str, Reference] = field(default_factory=dict)
    api: Mapping[str, Reference] = field(default_factory=dict)
    """Metric -> what the client saw of it."""


def expectations(
    db: duckdb.DuckDBPyConnection,
    functions: Mapping[str, Any],
    metrics: Mapping[str, Any],
    deployment: Mapping[str, Any],
) -> Expectations:
    """From the tables of `analysis.evidence`, joined; the summary's `functions`; metrics.json and deployment.json."""
    account = deployment.get("account") or {}
    asynchronous = [name for name, one in (metrics.get("functions") or {}).items() if one.get("AsyncEventsReceived")]
    events = _events(db, asynchronous) if asynchronous else {}
    expected: dict[str, dict[str, Reference]] = {}
    for name, found in functions.items():
        deployed = (deployment.get("functions") or {}).get(name) or {}
        known = {"logs": _exactly(found["invocations"], "the logs")}
        if deployed.get("timeout_s") is not None:
            known["timeout"] = _exactly(deployed["timeout_s"] * 1000, "the timeout")
        if deployed.get("reserved_concurrency") is not None:
            known["concurrency"] = _exactly(deployed["reserved_concurrency"], "the limit")
        elif account.get("concurrency") is not None:
            known["concurrency"] = _exactly(account["concurrency"], "the limit")
        if name in asynchronous:
            known["events"] = _exactly(events.get(name, 0), "the logs")
        expected[name] = known
    of_account = {}
    if account.get("concurrency") is not None:
        of_account["concurrency"] = _exactly(account["concurrency"], "the limit")
    if account.get("unreserved_concurrency") is not None:
        of_account["unreserved"] = _exactly(account["unreserved_concurrency"], "the unreserved limit")
    return Expectations(
        functions=expected,
        errors={name: found["errors"] for name, found in functions.items()},
        account=of_account,
        api=_seen_by_client(db),
    )


def _exactly(number: float, words: str) -> Reference:
    return Reference(number, number, words)


def _events(db: duckdb.DuckDBPyConnection, functions: Sequence[str]) -> dict[str, int]:
    """Function -> asynchronous events that its REPORT lines tell of: retries share the request id of their event, and
    what answered a request of the client was no event."""
    counted = db.execute(
        """SELECT function, count(DISTINCT request_id) FROM invocations i
           WHERE function IN $functions AND request_id IS NOT NULL AND NOT EXISTS (
               SELECT 1 FROM joined j WHERE j.inv_function = i.function AND j.inv_request_id = i.request_id
                                        AND j.status IS DISTINCT FROM 202)
           GROUP BY function""",
        {"functions": list(functions)},
    )
    return dict(counted.fetchall())


def _seen_by_client(db: duckdb.DuckDBPyConnection) -> dict[str, Reference]:
    """What the client saw of its requests to the API; empty where there were none."""
    row = db.execute(
        f"""SELECT count(status), count(*) FILTER (WHERE status IS NULL), count(*) FILTER (WHERE status // 100 = 4),
                   count(*) FILTER (WHERE status // 100 = 5), avg(response_ms) FILTER (WHERE status IS NOT NULL)
            FROM requests WHERE sent AND method IN {HTTP_METHODS}"""
    ).fetchone()
    answered, unanswered, refused, failed, mean_ms = row or (0, 0, 0, 0, None)
    if not answered + unanswered:
        return {}
    counts = {
        name: Reference(number, number + unanswered, "the client")
        for name, number in (("Count", answered), ("4XXError", refused), ("5XXError", failed))
    }
    return counts | ({} if mean_ms is None else {"Latency": _exactly(mean_ms, "the client's mean")})


def judge_metrics(metrics: Mapping[str, Any], expected: Expectations, limits: MetricLimits) -> list[dict[str, Any]]:
    """The summary's `metrics`. `metrics`: metrics.json.

    Beside the contract's keys: `group` (`functions`, `account`, `api`), `statistic`, `reference` and `share` or `left`,
    where the value is held against something; `reference_most` is greater than `reference` where that is the least of
    what a value may match.
    """
    rows = []
    for name, values in (metrics.get("functions") or {}).items():
        known = expected.functions.get(name) or {}
        if all(value is None for value in values.values()) and not ("logs" in known and known["logs"].least):
            continue  # never called
        invocations = values.get("Invocations")
        if invocations:
            known = {**known, "Invocations": _exactly(invocations, "the invocations")}
        for metric, limit in limits.functions.items():
            rows.append(_judged("functions", metric, name, values.get(metric), limit, known))
    of_account = metrics.get("account") or {}
    for metric, limit in limits.account.items() if of_account else ():
        rows.append(_judged("account", metric, None, of_account.get(metric), limit, expected.account))
    of_api = metrics.get("api") or {}
    for metric, limit in limits.api.items() if of_api else ():
        known = {"client": expected.api[metric]} if metric in expected.api else {}
        if of_api.get("Latency") is not None:
            known["Latency"] = _exactly(of_api["Latency"], "Latency")
        rows.append(_judged("api", metric, None, of_api.get(metric), limit, known))
    return rows


def _judged(
    group: str,
    metric: str,
    function: str | None,
    value: float | None,
    limit: MetricLimit,
    known: Mapping[str, Reference],
) -> dict[str, Any]:
    reference = None if limit.reference is None else known.get(limit.reference)
    row: dict[str, Any] = {
        "name": metric,
        "function": function,
        "group": group,
        "statistic": _STATISTICS.get(METRICS[group][metric], "sum"),
        "value": value,
        "target": _in_words(limit, reference, "target"),
        "alert": _in_words(limit, reference, "alert"),
        "reference": None if reference is None else reference.least,
        "reference_most": None if reference is None else reference.most,
        "share": None,
        "left": None,
    }
    if value is None or (limit.reference is not None and reference is None):
        return {**row, "verdict": NO_DATA}
    if reference is None:
        held = value
    elif limit.matches is not None:
        return {**row, "verdict": OK if reference.least <= value <= reference.most else MISSED}
    elif limit.left_of is not None:
        held = row["left"] = reference.least - value
    elif not reference.least:
        return {**row, "verdict": NO_DATA}
    else:
        held = row["share"] = value / reference.least
    if limit.alert is not None and limit.alert.holds(held):
        return {**row, "verdict": ALERT}
    return {**row, "verdict": OK if limit.target is None or limit.target.holds(held) else MISSED}


def _in_words(limit: MetricLimit, reference: Reference | None, which: str) -> str | None:
    """`< 50% of the timeout`, `> 100 left`, `matches the logs`."""
    condition = limit.target if which == "target" else limit.alert
    held_against = reference.words if reference is not None else limit.reference
    if condition is None:
        return f"matches {held_against}" if which == "target" and limit.matches is not None else None
    if limit.left_of is not None:
        return f"{condition.text} left"
    return condition.text if limit.of is None else f"{condition.text} of {held_against}"


def disagreements(metrics: Mapping[str, Any], expected: Expectations) -> Iterator[str]:
    """Where CloudWatch counts otherwise than the logs or the client; both figures in each.

    CloudWatch counts whole minutes, so that calls of others in the first and the last one are in its figures.
    """
    for name, values in (metrics.get("functions") or {}).items():
        logged = expected.functions.get(name, {}).get("logs")
        invocations = None if logged is None else logged.least
        for metric, number in (("Invocations", invocations), ("Errors", expected.errors.get(name))):
            counted = values.get(metric)
            # A function that was never called has no metrics at all.
            if number is None or counted == number or (counted is None and not number):
                continue
            words = "no" if counted is None else f"{counted:,.0f}"
            yield (
                f"CloudWatch counts {words} {metric.lower()} of {name}, its logs {number:,.0f}{_why(counted, number)}"
            )
        events, counted = expected.functions.get(name, {}).get("events"), values.get("AsyncEventsReceived")
        if events is not None and counted is not None and counted != events.least:
            why = (
                "events that no invocation took, or of others in the run's first or last minute, are among them"
                if counted > events.least
                else "its metrics may not all have arrived"
            )
            yield (
                f"CloudWatch counts {counted:,.0f} asynchronous events of {name}, its logs {events.least:,.0f}: {why}"
            )
    for metric, seen in expected.api.items() if metrics.get("api") else ():
        counted = metrics["api"].get(metric)
        if metric == "Latency" or seen.least <= (counted or 0) <= seen.most:
            continue
        words = "no" if counted is None else f"{counted:,.0f}"
        what = {"Count": "requests"}.get(metric, f"{metric[:3].lower()} answers")
        most = f" to {seen.most:,.0f}" if seen.most != seen.least else ""
        yield (
            f"CloudWatch counts {words} {what} of the API, the client {seen.least:,.0f}{most}"
            f"{_why(counted, seen.least)}"
        )


def _why(counted: float | None, others: float) -> str:
    if counted is None or counted < others:
        return ": its metrics may not all have arrived, and throttles may be incomplete"
    return ": calls of others in the run's first or last minute are among them"
