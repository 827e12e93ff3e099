"""The AWS/Lambda metrics of a run's functions, by GetMetricData: what leaves no log, above all throttles.

CloudWatch counts per minute, and by the minute in which an invocation started; a run's first and last minute may hold
invocations of others. A metric without data points is None, not 0.

Source: AWS API reference, GetMetricData (at most 500 queries a call; StartTime inclusive, EndTime exclusive; pages by
NextToken), and AWS Lambda developer guide, "Types of metrics for Lambda functions".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from analysis.log_groups import unqualified

PERIOD_S = 60
_QUERIES_A_CALL = 500

METRICS: Mapping[str, str] = {
    "Invocations": "Sum",
    "Errors": "Sum",
    "Throttles": "Sum",
    "ConcurrentExecutions": "Maximum",
    "Duration": "Average",
    "AsyncEventsReceived": "Sum",
    "AsyncEventsDropped": "Sum",
    "DeadLetterErrors": "Sum",
    "IteratorAge": "Maximum",
    "ProvisionedConcurrencyInvocations": "Sum",
    "ProvisionedConcurrencySpilloverInvocations": "Sum",
}
"""Metric -> the statistic that means something for it. Sums are added over the run, of the others the greatest counts;
an average over a run cannot be made of averages per minute and is left to the logs."""


@dataclass(frozen=True)
class FunctionMetrics:
    """What CloudWatch counted; becomes `metrics.json`."""

    functions: Mapping[str, Mapping[str, float | None]]
    """Logical function -> metric -> its value over the run."""
    series: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]
    """Logical function -> metric -> (epoch seconds of the minute, value), oldest first."""
    warnings: Sequence[str] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        return {"period_s": PERIOD_S, "functions": self.functions, "series": self.series}


def fetch(client: Any, functions: Mapping[str, str], started_at: float, ended_at: float) -> FunctionMetrics:
    """All METRICS of the functions (logical -> physical name) in the minutes from `started_at` to `ended_at`.

    Raises what botocore raises.
    """
    start = math.floor(started_at / PERIOD_S) * PERIOD_S
    end = (math.floor(ended_at / PERIOD_S) + 1) * PERIOD_S
    asked = [(function, metric) for function in functions for metric in METRICS]
    queries = [
        {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/Lambda",
                    "MetricName": metric,
                    "Dimensions": [{"Name": "FunctionName", "Value": unqualified(functions[function])}],
                },
                "Period": PERIOD_S,
                "Stat": METRICS[metric],
            },
        }
        for number, (function, metric) in enumerate(asked)
    ]
    points: dict[str, dict[float, float]] = {}
    for first in range(0, len(queries), _QUERIES_A_CALL):
        arguments: dict[str, Any] = {
            "MetricDataQueries": queries[first : first + _QUERIES_A_CALL],
            "StartTime": datetime.fromtimestamp(start, UTC),
            "EndTime": datetime.fromtimestamp(end, UTC),
        }
        while True:
            answer = client.get_metric_data(**arguments)
            for result in answer["MetricDataResults"]:
                found = zip(result["Timestamps"], result["Values"], strict=True)
                points.setdefault(result["Id"], {}).update((at.timestamp(), value) for at, value in found)
            if not answer.get("NextToken"):
                break
            arguments["NextToken"] = answer["NextToken"]
    series: dict[str, dict[str, list[tuple[float, float]]]] = {function: {} for function in functions}
    for number, (function, metric) in enumerate(asked):
        series[function][metric] = sorted(points.get(f"m{number}", {}).items())
    values = {
        function: {metric: _over_the_run(METRICS[metric], of_metric) for metric, of_metric in of_function.items()}
        for function, of_function in series.items()
    }
    return FunctionMetrics(values, series)


def pull(
    client: Any,
    functions: Mapping[str, str],
    started_at: float,
    ended_at: float,
    *,
    expected: Mapping[str, int],
    until: float,
    poll_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> FunctionMetrics:
    """`fetch`, repeated until Invocations is at least the number of REPORT lines (`expected`), or it is `until`.

    What stays behind then, or cannot be had at all, is said in the warnings.
    """
    while True:
        try:
            metrics = fetch(client, functions, started_at, ended_at)
        except (ClientError, BotoCoreError) as error:
            nothing = {function: dict.fromkeys(METRICS) for function in functions}
            return FunctionMetrics(nothing, {}, [f"no CloudWatch metrics, so throttles are not known: {error}"])
        behind = [
            f"CloudWatch counts {_told(counted)} invocations of {function} and its logs {expected[function]:,}: "
            "its throttles may be incomplete"
            for function in functions
            if expected.get(function)
            and (counted := metrics.functions[function]["Invocations"] or 0) < expected[function]
        ]
        if not behind or clock() >= until:
            return FunctionMetrics(metrics.functions, metrics.series, behind)
        sleep(poll_s)


def _over_the_run(statistic: str, points: Sequence[tuple[float, float]]) -> float | None:
    if not points or statistic == "Average":
        return None
    values = [value for _, value in points]
    return sum(values) if statistic == "Sum" else max(values)


def _told(count: float) -> str:
    return f"{count:,.0f}"
