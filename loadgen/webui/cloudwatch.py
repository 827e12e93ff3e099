"""What CloudWatch knows of a run's functions while the run goes: concurrency, throttles, errors, cold starts.

One GetMetricData a poll, and one Logs Insights query for cold starts, which no metric counts, over what was logged
since the last one: each log line is scanned about once. On AWS a poll costs 0.01 USD per 1,000 metrics (four for each
function) and 0.005 USD per GB of new logs (us-east-1), and what it shows trails by a minute or more; the analysis
counts anew.

Blocking: `poll` is called in a thread of its own. Nothing of Locust or gevent is imported here.

Source: AWS API reference, GetMetricData (at most 500 queries; EndTime exclusive) and StartQuery (times inclusive, whole
seconds, at most 50 log groups).
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

PERIOD_S = 60
POLL_EVERY_S = {"sandbox": 10.0}
POLL_EVERY_ELSEWHERE_S = 30.0
"""Metrics have a value a minute."""
LOG_LAG_S = {"sandbox": 2.0}
LOG_LAG_ELSEWHERE_S = 60.0
"""What is younger may not have arrived in CloudWatch Logs, and is asked for in the next query."""
QUERY_LIMIT_S = 30.0
QUERY_PAUSE_S = 0.5
COLD_STARTS = 'filter @type = "REPORT" | stats count(@initDuration) as cold_starts by @log'
MAX_LOG_GROUPS = 50
MAX_FUNCTIONS = 125
"""With four queries each."""

METRICS: Mapping[str, str] = {
    "Invocations": "Sum",
    "Errors": "Sum",
    "Throttles": "Sum",
    "ConcurrentExecutions": "Maximum",
}


@dataclass(frozen=True)
class FunctionFigures:
    """One function since the minute in which the run began. None: CloudWatch has no value."""

    invocations: float | None
    errors: float | None
    throttles: float | None
    concurrency: float | None
    """The most in the last minute that has a value."""
    cold_starts: int | None
    """As far as their log lines have arrived."""


@dataclass(frozen=True)
class CloudWatchFigures:
    """What the last poll found."""

    at: float | None = None
    """Epoch seconds of the last poll that worked; None before it."""
    functions: Mapping[str, FunctionFigures] = field(default_factory=dict)
    """Logical name -> figures."""
    problem: str | None = None
    """Why the last poll did not work."""


class QueryFailedError(Exception):
    """Logs Insights did not answer."""


class FunctionWatch:
    """Polls for one run."""

    def __init__(
        self,
        client: Callable[[str], Any],
        functions: Mapping[str, str],
        log_groups: Mapping[str, str],
        started_at: float,
        log_lag_s: float,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`client` makes a boto3 client of a service; `functions`: logical -> physical name, unqualified."""
        self._make_client = client
        self._functions = dict(list(functions.items())[:MAX_FUNCTIONS])
        self._log_groups = log_groups
        self._started_at = started_at
        self._log_lag_s = log_lag_s
        self._clock = clock
        self._sleep = sleep
        self._clients: dict[str, Any] = {}
        self._cold_starts: dict[str, int] = {}
        """Log group -> cold starts counted so far."""
        self._counted_until: dict[str, int] = defaultdict(lambda: math.floor(started_at) - 1)

    def poll(self) -> CloudWatchFigures:
        """Raises what botocore raises, and QueryFailedError."""
        now = self._clock()
        metrics = self._metrics(now)
        # A function that was never called may have no log group yet, which would fail the query for all.
        called = [name for name, values in metrics.items() if values["Invocations"][0]]
        self._count_cold_starts(now, [self._log_groups[name] for name in called if name in self._log_groups])
        return CloudWatchFigures(
            now,
            {
                name: FunctionFigures(
                    invocations=values["Invocations"][0],
                    errors=values["Errors"][0],
                    throttles=values["Throttles"][0],
                    concurrency=values["ConcurrentExecutions"][1],
                    cold_starts=self._cold_starts.get(self._log_groups.get(name, "")),
                )
                for name, values in metrics.items()
            },
        )

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._make_client(service)
        return self._clients[service]

    def _metrics(self, now: float) -> dict[str, dict[str, tuple[float | None, float | None]]]:
        """Function -> metric -> (sum of its values, the newest of them)."""
        asked = [(function, metric) for function in self._functions for metric in METRICS]
        if not asked:
            return {}
        answer = self._client("cloudwatch").get_metric_data(
            MetricDataQueries=[
                {
                    "Id": f"m{number}",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": "AWS/Lambda",
                            "MetricName": metric,
                            "Dimensions": [{"Name": "FunctionName", "Value": self._functions[function]}],
                        },
                        "Period": PERIOD_S,
                        "Stat": METRICS[metric],
                    },
                }
                for number, (function, metric) in enumerate(asked)
            ],
            StartTime=datetime.fromtimestamp(self._started_at // PERIOD_S * PERIOD_S, UTC),
            EndTime=datetime.fromtimestamp((now // PERIOD_S + 1) * PERIOD_S, UTC),
            ScanBy="TimestampDescending",
        )
        values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
        found: dict[str, dict[str, tuple[float | None, float | None]]] = defaultdict(dict)
        for number, (function, metric) in enumerate(asked):
            newest_first = values.get(f"m{number}", [])
            found[function][metric] = (sum(newest_first), newest_first[0]) if newest_first else (None, None)
        return found

    def _count_cold_starts(self, now: float, log_groups: list[str]) -> None:
        end = math.floor(now - self._log_lag_s)
        by_start: dict[int, list[str]] = defaultdict(list)
        for group in log_groups[:MAX_LOG_GROUPS]:
            if self._counted_until[group] < end:
                by_start[self._counted_until[group] + 1].append(group)
        for start, groups in by_start.items():
            rows = self._query(groups, start, end)
            for group in groups:
                self._counted_until[group] = end
                self._cold_starts[group] = self._cold_starts.get(group, 0) + rows.get(group, 0)

    def _query(self, log_groups: list[str], start: int, end: int) -> dict[str, int]:
        logs = self._client("logs")
        query_id = logs.start_query(logGroupNames=log_groups, startTime=start, endTime=end, queryString=COLD_STARTS)[
            "queryId"
        ]
        deadline = self._clock() + QUERY_LIMIT_S
        while (answer := logs.get_query_results(queryId=query_id))["status"] in ("Scheduled", "Running"):
            if self._clock() >= deadline:
                logs.stop_query(queryId=query_id)
                raise QueryFailedError(f"Logs Insights did not answer within {QUERY_LIMIT_S:g} s")
            self._sleep(QUERY_PAUSE_S)
        if answer["status"] != "Complete":
            raise QueryFailedError(f"Logs Insights: the query ended as {answer['status']}")
        rows = [{cell["field"]: cell["value"] for cell in row} for row in answer["results"]]
        # @log is account:group.
        return {row["@log"].partition(":")[2]: int(row["cold_starts"]) for row in rows}
