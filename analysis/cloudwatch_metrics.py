"""The CloudWatch metrics of a run, by GetMetricData: what leaves no log (throttles), and what the logs and the client
can be held against.

CloudWatch counts per minute, and by the minute in which an invocation started; a run's first and last minute may hold
calls of others. A metric without data points is None, not 0.

Sources: AWS API reference, GetMetricData (at most 500 queries and 100,800 data points a call; StartTime inclusive,
EndTime exclusive; pages by NextToken); AWS Lambda developer guide, "Types of metrics for Lambda functions"; Amazon API
Gateway developer guide, "dimensions and metrics"; metrics of Kinesis, SNS, DynamoDB and CloudWatch Logs in their
developer guides, "Monitoring with CloudWatch".
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from analysis.log_groups import unqualified
from config.metric_limits import MAXIMUM, MEAN, METRICS, SUM

FILE = "metrics.json"
PERIOD_S = 60
_QUERIES_A_CALL = 500
_POINTS_A_CALL = 100_800
_WHOLE = "Complete"
"""The StatusCode of a metric all of whose points are there; others are PartialData, InternalError and Forbidden."""
MAX_CUSTOM = 100
"""Metrics of one custom namespace that are read: each costs money, and dimensions of many values make thousands."""

_PARTS: Mapping[str, tuple[str, ...]] = {SUM: ("Sum",), MAXIMUM: ("Maximum",), MEAN: ("Sum", "SampleCount")}
"""What is asked of CloudWatch for a value over the run: sums add up over the minutes, maxima compare, and a mean is the
sum of all minutes by their number of samples. Percentiles of minutes make none of the run."""
SAMPLES = "Samples"
"""Ends the name under which the number of samples of a mean stands beside it (`LatencySamples`)."""
_SUMMARY = ("SampleCount", "Sum", "Minimum", "Maximum")
_OVER_MINUTES: Mapping[str, Callable[[Iterable[float]], float]] = {
    "Sum": math.fsum,
    "SampleCount": math.fsum,
    "Maximum": max,
    "Minimum": min,
}

_HTTP_API_NAMES = {"4XXError": "4xx", "5XXError": "5xx"}
"""An HTTP API's own names; ours are those of a REST API."""


@dataclass(frozen=True)
class Watched:
    """One metric to read, and where it stands in `metrics.json`: group, resource, name."""

    group: str
    resource: str
    name: str
    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    statistics: tuple[str, ...]


@dataclass(frozen=True)
class Metrics:
    """What CloudWatch counted; becomes `metrics.json`."""

    values: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    """Group (`functions`, `account`, `api`, `streams`, `topics`, `tables`, `log_groups`) -> resource -> metric -> its
    value over the run. Groups with one resource call it by their own name."""
    series: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]
    """Logical function -> metric -> (epoch seconds of the minute, value), oldest first."""
    custom: Sequence[Mapping[str, Any]] = ()
    """The user's own metrics that have samples: namespace, name, dimensions, count, sum, mean, min, max."""
    metrics_read: int = 0
    """Metrics asked for in all calls together: what AWS charges."""
    warnings: Sequence[str] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        groups = {group: dict(resources) for group, resources in self.values.items()}
        return {
            "period_s": PERIOD_S,
            "metrics_read": self.metrics_read,
            **groups,
            "account": groups.get("account", {}).get("account", {}),
            "api": groups.get("api", {}).get("api", {}),
            "custom": list(self.custom),
            "series": self.series,
        }


def watched_of(manifest: Mapping[str, Any], deployment: Mapping[str, Any]) -> list[Watched]:
    """The metrics of everything that a run's manifest names and `analysis.deployment` found."""

    def of(
        group: str, namespace: str, dimension: str, names: Mapping[str, str], metrics: Mapping[str, str]
    ) -> list[Watched]:
        return [
            Watched(group, logical, metric, namespace, metric, ((dimension, name),), _PARTS[statistic])
            for logical, name in names.items()
            for metric, statistic in metrics.items()
        ]

    functions = {logical: unqualified(name) for logical, name in (manifest.get("functions") or {}).items()}
    groups = [*(manifest.get("log_groups") or {}).values(), manifest.get("access_log_group")]
    topics = {logical: arn.rpartition(":")[2] for logical, arn in (manifest.get("topics") or {}).items()}
    return [
        *of("functions", "AWS/Lambda", "FunctionName", functions, METRICS["functions"]),
        *(
            Watched("account", "account", metric, "AWS/Lambda", metric, (), _PARTS[statistic])
            for metric, statistic in (METRICS["account"].items() if functions else ())
        ),
        *_watched_api(deployment.get("api")),
        *of(
            "streams",
            "AWS/Kinesis",
            "StreamName",
            manifest.get("streams") or {},
            {"IncomingRecords": SUM, "IncomingBytes": SUM},
        ),
        *of("topics", "AWS/SNS", "TopicName", topics, {"NumberOfMessagesPublished": SUM}),
        *of(
            "tables",
            "AWS/DynamoDB",
            "TableName",
            manifest.get("tables") or {},
            {"ConsumedReadCapacityUnits": SUM, "ConsumedWriteCapacityUnits": SUM},
        ),
        *of(
            "log_groups",
            "AWS/Logs",
            "LogGroupName",
            {group: group for group in dict.fromkeys(groups) if group},
            {"IncomingBytes": SUM},
        ),
    ]


def _watched_api(api: Mapping[str, Any] | None) -> list[Watched]:
    if api is None:
        return []
    rest = api["kind"] == "rest"
    dimensions = (("ApiName" if rest else "ApiId", api["name"] if rest else api["id"]), ("Stage", api["stage"]))
    return [
        Watched(
            "api",
            "api",
            name,
            "AWS/ApiGateway",
            name if rest else _HTTP_API_NAMES.get(name, name),
            dimensions,
            _PARTS[statistic],
        )
        for name, statistic in METRICS["api"].items()
    ]


def custom_metrics(client: Any, namespaces: Iterable[str]) -> tuple[list[Watched], list[str]]:
    """Everything that ListMetrics knows of these namespaces, and what was left out of it, one warning each.

    Raises what botocore raises.
    """
    watched, warnings = [], []
    for namespace in namespaces:
        found = [
            metric
            for page in client.get_paginator("list_metrics").paginate(Namespace=namespace)
            for metric in page["Metrics"]
        ]
        if not found:
            warnings.append(f"CloudWatch knows no metric of namespace {namespace}: see CUSTOM_METRICS")
        if len(found) > MAX_CUSTOM:
            warnings.append(f"namespace {namespace} has {len(found)} metrics, of which {MAX_CUSTOM} were read")
        for metric in found[:MAX_CUSTOM]:
            dimensions = tuple((one["Name"], one["Value"]) for one in metric["Dimensions"])
            label = ",".join(f"{name}={value}" for name, value in dimensions)
            name = metric["MetricName"]
            watched.append(Watched(f"custom/{namespace}", label, name, namespace, name, dimensions, _SUMMARY))
    return watched, warnings


def fetch(client: Any, watched: Sequence[Watched], started_at: float, ended_at: float) -> Metrics:
    """These metrics in the minutes from `started_at` to `ended_at`.

    What CloudWatch could not give whole (a StatusCode that is not Complete) is None, and in the warnings. Raises what
    botocore raises.
    """
    start = math.floor(started_at / PERIOD_S) * PERIOD_S
    end = (math.floor(ended_at / PERIOD_S) + 1) * PERIOD_S
    asked = [(one, statistic) for one in watched for statistic in one.statistics]
    queries = [_query(number, one, statistic) for number, (one, statistic) in enumerate(asked)]
    a_call = max(1, min(_QUERIES_A_CALL, _POINTS_A_CALL * PERIOD_S // (end - start)))
    points: dict[str, dict[float, float]] = defaultdict(dict)
    states: dict[str, str] = {}
    for first in range(0, len(queries), a_call):
        arguments: dict[str, Any] = {
            "MetricDataQueries": queries[first : first + a_call],
            "StartTime": datetime.fromtimestamp(start, UTC),
            "EndTime": datetime.fromtimestamp(end, UTC),
        }
        while True:
            answer = client.get_metric_data(**arguments)
            for result in answer["MetricDataResults"]:
                found = zip(result["Timestamps"], result["Values"], strict=True)
                points[result["Id"]].update((at.timestamp(), value) for at, value in found)
                states[result["Id"]] = result.get("StatusCode", _WHOLE)  # of several pages, that of the last
            if not answer.get("NextToken"):
                break
            arguments["NextToken"] = answer["NextToken"]
    read: dict[Watched, dict[str, list[tuple[float, float]]]] = defaultdict(dict)
    broken = defaultdict(list)
    for number, (one, statistic) in enumerate(asked):
        state = states.get(f"m{number}", _WHOLE)
        read[one][statistic] = sorted(points[f"m{number}"].items()) if state == _WHOLE else []
        if state != _WHOLE:
            broken[state].append(f"{one.metric} of {one.resource}")
    warnings = [
        f"CloudWatch did not give {', '.join(dict.fromkeys(names))} whole ({state}): not known"
        for state, names in broken.items()
    ]
    return replace(_metrics(read, len(queries)), warnings=warnings)


def _query(number: int, one: Watched, statistic: str) -> dict[str, Any]:
    return {
        "Id": f"m{number}",
        "MetricStat": {
            "Metric": {
                "Namespace": one.namespace,
                "MetricName": one.metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in one.dimensions],
            },
            "Period": PERIOD_S,
            "Stat": statistic,
        },
    }


def _metrics(read: Mapping[Watched, Mapping[str, Sequence[tuple[float, float]]]], metrics_read: int) -> Metrics:
    values: dict[str, dict[str, dict[str, float | None]]] = defaultdict(lambda: defaultdict(dict))
    series: dict[str, dict[str, Sequence[tuple[float, float]]]] = defaultdict(dict)
    custom = []
    for one, by_statistic in read.items():
        over_the_run = {
            statistic: _OVER_MINUTES[statistic](value for _, value in minutes) if minutes else None
            for statistic, minutes in by_statistic.items()
        }
        if one.group.startswith("custom/"):
            # ListMetrics knows older ones too, that have nothing to do with the run
            custom += [_custom(one, over_the_run)] if over_the_run["SampleCount"] else []
            continue
        if one.group == "functions":
            series[one.resource][one.name] = by_statistic[one.statistics[0]]
        of_it = values[one.group][one.resource]
        if one.statistics == _PARTS[MEAN]:
            of_it |= {one.name: _mean(over_the_run), f"{one.name}{SAMPLES}": over_the_run["SampleCount"]}
        else:
            of_it[one.name] = over_the_run[one.statistics[0]]
    return Metrics(
        {group: {name: dict(metrics) for name, metrics in found.items()} for group, found in values.items()},
        dict(series),
        custom,
        metrics_read,
    )


def _mean(over_the_run: Mapping[str, float | None]) -> float | None:
    total, samples = over_the_run["Sum"], over_the_run["SampleCount"]
    return None if total is None or not samples else total / samples


def _custom(one: Watched, over_the_run: Mapping[str, float | None]) -> dict[str, Any]:
    return {
        "namespace": one.namespace,
        "name": one.name,
        "dimensions": dict(one.dimensions),
        "count": over_the_run["SampleCount"],
        "sum": over_the_run["Sum"],
        "mean": _mean(over_the_run),
        "min": over_the_run["Minimum"],
        "max": over_the_run["Maximum"],
    }


@dataclass(frozen=True)
class Patience:
    """How long to wait for metrics that trail behind."""

    until: float
    """Epoch seconds."""
    poll_s: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]


def pull(
    client: Any,
    watched: Sequence[Watched],
    started_at: float,
    ended_at: float,
    *,
    expected: Mapping[str, int],
    answered: int,
    patience: Patience,
    namespaces: Sequence[str] = (),
) -> Metrics:
    """`fetch`, repeated until it is whole and the counts have caught up, or it is `patience.until`; then custom metrics
    once.

    `expected`: REPORT lines by function, which Invocations must reach; `answered`: answers of the API to the client,
    which Count must reach. What cannot be had at all is said in the warnings.
    """
    metrics_read = 0
    while True:
        try:
            metrics = fetch(client, watched, started_at, ended_at)
        except (ClientError, BotoCoreError) as error:
            nothing: dict[str, dict[str, float | None]] = defaultdict(dict)
            for one in watched:
                if one.group == "functions":
                    nothing[one.resource][one.name] = None
            warning = f"no CloudWatch metrics, so throttles are not known: {error}"
            return Metrics({"functions": dict(nothing)}, {}, warnings=[warning], metrics_read=metrics_read)
        metrics_read += metrics.metrics_read
        if not (metrics.warnings or _behind(metrics, expected, answered)) or patience.clock() >= patience.until:
            break
        patience.sleep(patience.poll_s)
    try:
        of_namespaces, warnings = custom_metrics(client, namespaces)
        custom = fetch(client, of_namespaces, started_at, ended_at)
    except (ClientError, BotoCoreError) as error:
        warnings = [*metrics.warnings, f"no custom metrics: {error}"]
        return Metrics(metrics.values, metrics.series, (), metrics_read, warnings)
    warnings = [*metrics.warnings, *warnings, *custom.warnings]
    return Metrics(metrics.values, metrics.series, custom.custom, metrics_read + custom.metrics_read, warnings)


def _behind(metrics: Metrics, expected: Mapping[str, int], answered: int) -> bool:
    """Whether CloudWatch counts less than others have seen already."""
    functions, api = metrics.values.get("functions", {}), metrics.values.get("api", {}).get("api")
    return any(
        (counted.get("Invocations") or 0) < expected.get(function, 0) for function, counted in functions.items()
    ) or (api is not None and (api["Count"] or 0) < answered)
