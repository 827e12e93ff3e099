"""CloudWatch metrics: what the sandbox's services measured, and the actions that read it.

    metrics.add("AWS/Lambda", "Duration", (("FunctionName", "x"),), at, 12.3)
    metrics.handle("GetMetricStatistics", {...}, now) -> (200, {"Label": "Duration", "Datapoints": [...]})

Values are kept by minute (`sandbox.value_counts`): sums, counts and extremes are exact, percentiles to half a percent
where a minute had very many values. They are visible at once; on AWS metrics trail by a minute or so. The wire format
is boto3's (JSON 1.0, times as epoch seconds); alarms and dashboards are moto's: None. Rules from AWS
documentation, "GetMetricData", "GetMetricStatistics" and "ListMetrics".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from sandbox.sinks import Dimensions
from sandbox.value_counts import ValueCounts

Body = dict[str, Any]

MAX_QUERIES = 500
MAX_POINTS = 100_800
MAX_STATISTICS_POINTS = 1_440
LIST_PAGE = 500
_MOST_TIMES = 10**15
"""That often may a value be put at once: sums of such counts are whole numbers yet."""
_MINUTE_S = 60

_MILLISECONDS = frozenset(
    {
        "Duration",
        "PostRuntimeExtensionsDuration",
        "AsyncEventAge",
        "IteratorAge",
        "Latency",
        "IntegrationLatency",
    }
)


class MetricsError(Exception):
    """An error answer of the service."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Series: TypeAlias = defaultdict[int, ValueCounts]
"""Minute since the epoch -> values."""


def _new_series() -> Series:
    return defaultdict(ValueCounts)


class Metrics:
    """All metrics of the sandbox."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, Dimensions], Series] = defaultdict(_new_series)
        self._derived: dict[tuple[str, str, str], Callable[[str], Mapping[int, float]]] = {}
        self._actions: Mapping[str, Callable[[Body], Body]] = {
            "GetMetricData": self._get_metric_data,
            "GetMetricStatistics": self._get_metric_statistics,
            "ListMetrics": self._list_metrics,
            "PutMetricData": self._put_metric_data,
        }

    def add(self, namespace: str, name: str, dimensions: Dimensions, at: float, value: float) -> None:
        """One value at an instant (epoch seconds). `dimensions` in the order of their names."""
        self._series[namespace, name, dimensions][int(at // _MINUTE_S)].add(value)

    def derive(self, namespace: str, name: str, dimension: str, read: Callable[[str], Mapping[int, float]]) -> None:
        """A metric that nobody adds to: `read(value of its one dimension)` -> minute since the epoch -> its sum.

        For what is known anyway and would cost too much to count a second time.
        """
        self._derived[namespace, name, dimension] = read

    def clear(self) -> None:
        """Forget everything that was added."""
        self._series.clear()

    def handle(self, action: str, body: Body, now: float) -> tuple[int, Body] | None:
        """(HTTP status, body) of an action; None for one that is not ours. `now`: epoch seconds."""
        perform = self._actions.get(action)
        if perform is None:
            return None
        try:
            # a value that comes with no time has the present one
            return 200, perform({"Now": now, **body})
        except MetricsError as error:
            return 400, {"__type": error.code, "message": str(error)}

    # actions

    def _get_metric_data(self, body: Body) -> Body:
        queries = _needed(body, "MetricDataQueries")
        if len(queries) > MAX_QUERIES:
            raise MetricsError("ValidationError", f"The collection MetricDataQueries has at most {MAX_QUERIES} members")
        start, end = _times(body)
        newest_first = body.get("ScanBy", "TimestampDescending") != "TimestampAscending"
        most = min(body.get("MaxDatapoints") or MAX_POINTS, MAX_POINTS)
        given = _read_token(body.get("NextToken"))
        seen: set[str] = set()
        results: list[Body] = []
        position, left = 0, most
        for query in queries:
            identifier = str(_needed(query, "Id"))
            if not re.fullmatch(r"[a-z][A-Za-z0-9_]*", identifier) or identifier in seen:
                raise MetricsError(
                    "ValidationError", f"The value {identifier} for parameter Id is not valid or not unique"
                )
            seen.add(identifier)
            stat = query.get("MetricStat")
            if stat is None:
                raise MetricsError("ValidationError", "The sandbox knows MetricStat queries only, no metric math")
            metric = _needed(stat, "Metric")
            points = self._points(metric, start, end, _period(stat))
            statistic = _statistic(str(_needed(stat, "Stat")))
            if query.get("ReturnData") is False:
                continue
            if _other_unit(stat.get("Unit"), metric.get("MetricName", "")):
                points = []
            if newest_first:
                points.reverse()
            # points before `given` were in earlier pages
            skipped = min(max(given - position, 0), len(points))
            shown = points[skipped : skipped + left]
            position += len(points)
            left -= len(shown)
            partial = skipped + len(shown) < len(points)
            if shown or not points or partial:
                results.append(
                    {
                        "Id": identifier,
                        "Label": query.get("Label") or metric.get("MetricName", ""),
                        "Timestamps": [at for at, _ in shown],
                        "Values": [statistic(values) for _, values in shown],
                        "StatusCode": "PartialData" if partial else "Complete",
                    }
                )
        answer: Body = {"MetricDataResults": results, "Messages": []}
        if position > given + most:
            answer["NextToken"] = str(given + most)
        return answer

    def _get_metric_statistics(self, body: Body) -> Body:
        name = str(_needed(body, "MetricName"))
        simple: Sequence[str] = body.get("Statistics") or []
        extended: Sequence[str] = body.get("ExtendedStatistics") or []
        if not simple and not extended:
            raise MetricsError("InvalidParameterCombination", "Must specify either Statistics or ExtendedStatistics")
        start, end = _times(body)
        points = self._points(body, start, end, _period(body))
        if len(points) > MAX_STATISTICS_POINTS:
            raise MetricsError(
                "InvalidParameterCombination",
                f"You have requested up to {len(points)} datapoints, which exceeds the limit of "
                f"{MAX_STATISTICS_POINTS}. You may reduce the datapoints requested by increasing Period.",
            )
        if _other_unit(body.get("Unit"), name):
            points = []
        statistics = {text: _statistic(text) for text in (*simple, *extended)}
        datapoints = []
        for at, values in points:
            point: Body = {"Timestamp": at, "Unit": _unit(name)}
            point |= {text: statistics[text](values) for text in simple}
            if extended:
                point["ExtendedStatistics"] = {text: statistics[text](values) for text in extended}
            datapoints.append(point)
        return {"Label": name, "Datapoints": datapoints}

    def _list_metrics(self, body: Body) -> Body:
        wanted: Sequence[Mapping[str, str]] = body.get("Dimensions") or ()
        found = [
            {
                "Namespace": namespace,
                "MetricName": name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
            }
            for namespace, name, dimensions in sorted(self._series)
            if body.get("Namespace") in (None, namespace)
            and body.get("MetricName") in (None, name)
            and all(_has_dimension(dimensions, dimension) for dimension in wanted)
        ]
        start = _read_token(body.get("NextToken"))
        answer: Body = {"Metrics": found[start : start + LIST_PAGE]}
        if start + LIST_PAGE < len(found):
            answer["NextToken"] = str(start + LIST_PAGE)
        return answer

    def _put_metric_data(self, body: Body) -> Body:
        namespace = str(_needed(body, "Namespace"))
        if body.get("EntityMetricData"):
            raise MetricsError("InvalidParameterValue", "The sandbox knows no EntityMetricData")
        for datum in body.get("MetricData") or ():
            if datum.get("StatisticValues"):
                raise MetricsError("InvalidParameterValue", "The sandbox knows no StatisticValues")
            name, dimensions = str(_needed(datum, "MetricName")), _dimensions(datum.get("Dimensions"))
            at = float(datum.get("Timestamp") or body["Now"])
            values = datum.get("Values") or [_needed(datum, "Value")]
            counts = datum.get("Counts") or [1] * len(values)
            if len(counts) != len(values):
                raise MetricsError("InvalidParameterValue", "Counts must have as many members as Values.")
            if not all(0 <= times <= _MOST_TIMES for times in counts):
                raise MetricsError("InvalidParameterValue", f"Counts must be numbers from 0 to {_MOST_TIMES:,}.")
            minute = self._series[namespace, name, dimensions][int(at // _MINUTE_S)]
            for value, times in zip(values, counts, strict=True):
                minute.add(float(value), int(times))
        return {}

    # values

    def values(
        self, namespace: str, name: str, dimensions: Dimensions, start: int, end: float, period: int, statistic: str
    ) -> dict[int, float]:
        """Start of a period (epoch seconds) -> a metric's value in it; periods without any are left out.

        Raises MetricsError for a statistic that is not known.
        """
        metric = {
            "Namespace": namespace,
            "MetricName": name,
            "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions],
        }
        reduce = _statistic(statistic)
        return {at: reduce(found) for at, found in self._points(metric, start, end, period)}

    def _points(self, metric: Body, start: int, end: float, period: int) -> list[tuple[int, ValueCounts]]:
        """(start of the period, its values) of each period that has any, oldest first. Periods count from `start`;
        a minute belongs to them if it begins before `end`."""
        series = self._find(metric.get("Namespace", ""), metric.get("MetricName", ""), metric.get("Dimensions"))
        periods: dict[int, list[ValueCounts]] = defaultdict(list)
        for minute in sorted(series):
            at = minute * _MINUTE_S
            if start <= at < end and series[minute].count:
                periods[start + (at - start) // period * period].append(series[minute])
        return [(at, ValueCounts.together(minutes)) for at, minutes in periods.items()]

    def _find(self, namespace: str, name: str, given: Iterable[Mapping[str, str]] | None) -> Mapping[int, ValueCounts]:
        dimensions = _dimensions(given)
        read = self._derived.get((namespace, name, dimensions[0][0])) if len(dimensions) == 1 else None
        if read is None:
            return self._series.get((namespace, name, dimensions)) or {}
        series = _new_series()
        for minute, value in read(dimensions[0][1]).items():
            series[minute].add(value)
        return series


def _statistic(text: str) -> Callable[[ValueCounts], float]:
    simple: dict[str, Callable[[ValueCounts], float]] = {
        "SampleCount": lambda values: float(values.count),
        "Sum": lambda values: values.sum,
        "Average": lambda values: values.mean,
        "Minimum": lambda values: values.smallest,
        "Maximum": lambda values: values.greatest,
    }
    if text in simple:
        return simple[text]
    percentile = re.fullmatch(r"p(\d{1,3}(?:\.\d{1,10})?)", text)
    if percentile and float(percentile[1]) <= 100:
        return lambda values: values.percentile(float(percentile[1]))
    raise MetricsError("ValidationError", f"The value {text} for parameter Stat is not supported.")


def _unit(name: str) -> str:
    return "Milliseconds" if name in _MILLISECONDS else "Count"


def _other_unit(unit: str | None, name: str) -> bool:
    """Whether a unit is asked for in which the metric has no values."""
    return unit is not None and unit != _unit(name)


def _dimensions(given: Iterable[Mapping[str, str]] | None) -> Dimensions:
    return tuple(sorted((dimension["Name"], dimension["Value"]) for dimension in given or ()))


def _has_dimension(dimensions: Dimensions, wanted: Mapping[str, str]) -> bool:
    return any(name == wanted["Name"] and wanted.get("Value") in (None, value) for name, value in dimensions)


def _needed(body: Mapping[str, Any], key: str) -> Any:
    value = body.get(key)
    if value is None or value == "":
        raise MetricsError("MissingParameter", f"The parameter {key} is required.")
    return value


def _times(body: Body) -> tuple[int, float]:
    """StartTime rounded down to the minute, and EndTime, which does not count itself."""
    start, end = float(_needed(body, "StartTime")), float(_needed(body, "EndTime"))
    if start >= end:
        raise MetricsError("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
    return int(start // _MINUTE_S) * _MINUTE_S, end


def _period(body: Body) -> int:
    period = int(_needed(body, "Period"))
    if period < _MINUTE_S or period % _MINUTE_S:
        raise MetricsError("ValidationError", f"Period must be a multiple of {_MINUTE_S}, not {period}")
    return period


def _read_token(token: str | None) -> int:
    if token is None:
        return 0
    if not token.isdecimal():
        raise MetricsError("InvalidNextToken", "The next token specified is invalid.")
    return int(token)
