"""What CloudWatch knows of a run's functions while the run goes: concurrency, throttles, errors, cold starts.

A poll is one GetMetricData for each 125 functions and one Logs Insights query for each 50: for cold starts, which no
metric counts, over what was logged since the last poll and a little before, for log lines come late. On AWS a poll
costs 0.01 USD per 1,000 metrics (four for each function) and 0.005 USD per GB of logs (us-east-1), each of which is
scanned in about five polls; what it shows trails by a minute or more. The analysis counts anew.

Blocking: `poll` is called in a thread of its own. Nothing of Locust or gevent is imported here.

Source: AWS API reference, GetMetricData (at most 500 queries; EndTime exclusive) and StartQuery (times inclusive, whole
seconds, at most 50 log groups).
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

PERIOD_S = 60
POLL_EVERY_S = {"sandbox": 10.0}
POLL_EVERY_ELSEWHERE_S = 30.0
"""Metrics have a value a minute."""
LATE_LOGS_S = 120.0
"""Lines may come so late: a query looks back by as much, and a bit more, since it begins with a minute."""
LAST_POLL_S = {"sandbox": 10.0}
"""After the end of a run: what belongs to its last seconds is there by then. Elsewhere LATE_LOGS_S."""
QUERY_LIMIT_S = 30.0
QUERY_PAUSE_S = 0.5
COLD_STARTS = (
    'filter @type = "REPORT" or type = "platform.report"'
    " | parse @message /Restore Duration: (?<restore_ms>[0-9.]+) ms/"
    " | fields coalesce(@initDuration, record.metrics.initDurationMs) as init_ms"
    " | fields coalesce(init_ms, restore_ms, record.metrics.restoreDurationMs) as waited_ms"
    " | stats count(waited_ms) as cold_starts by @log, bin(1m) as minute"
)
"""Inits and restores that an invocation waited for, as the analysis counts them, in text and in JSON format."""
MAX_ROWS = 10_000
MAX_LOG_GROUPS = 50
MAX_METRICS = 500

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
    """As far as their log lines have arrived. None too where the target's logs cannot count (emulators)."""


@dataclass(frozen=True)
class CloudWatchFigures:
    """What the last poll found."""

    at: float | None = None
    """Epoch seconds of the last poll that worked; None before it."""
    functions: Mapping[str, FunctionFigures] = field(default_factory=dict)
    """Logical name -> figures."""
    problem: str | None = None
    """Why the last poll did not work."""


class PollTimes:
    """When to poll for one run: every so often while it goes, and until what trails it has come. Times are seconds of
    any monotonic clock."""

    def __init__(self, target: str, now: float) -> None:
        self._every_s = POLL_EVERY_S.get(target, POLL_EVERY_ELSEWHERE_S)
        self._last_after_s = LAST_POLL_S.get(target, LATE_LOGS_S)
        self._due = now + self._every_s / 2
        self._last: float | None = None
        """When the last poll is due; None while the run goes."""
        self._over = False

    def is_due(self, now: float, *, running: bool) -> bool:
        """Whether to poll now; whoever asks does it then."""
        if not running and self._last is None:
            self._last = now + self._last_after_s
        if self._last is not None and now >= self._last:
            due, self._over = not self._over, True
            return due
        if now < self._due:
            return False
        self._due = now + self._every_s
        return True


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
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`client` gives the boto3 client of a service; `functions`: logical -> physical name, unqualified."""
        self._client = client
        self._functions = functions
        self._log_groups = log_groups
        self._started_at = started_at
        self._clock = clock
        self._sleep = sleep
        self._cold_starts: dict[str, dict[str, int]] = {}
        """Log group -> minute -> cold starts; a minute's count is replaced by what a later query finds."""
        self._asked_at: dict[str, float] = {}
        """Log group -> when it was asked last."""

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
                    cold_starts=self._cold_starts_of(self._log_groups.get(name, "")),
                )
                for name, values in metrics.items()
            },
        )

    def _metrics(self, now: float) -> dict[str, dict[str, tuple[float | None, float | None]]]:
        """Function -> metric -> (sum of its values, the newest of them)."""
        asked = [(function, metric) for function in self._functions for metric in METRICS]
        found: dict[str, dict[str, tuple[float | None, float | None]]] = defaultdict(dict)
        for first in range(0, len(asked), MAX_METRICS):
            some = asked[first : first + MAX_METRICS]
            for (function, metric), newest_first in zip(some, self._values(some, now), strict=True):
                found[function][metric] = (sum(newest_first), newest_first[0]) if newest_first else (None, None)
        return found

    def _values(self, asked: Sequence[tuple[str, str]], now: float) -> list[list[float]]:
        """For each function and metric its values, the newest first."""
        question: dict[str, Any] = {
            "MetricDataQueries": [
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
            "StartTime": datetime.fromtimestamp(self._started_at // PERIOD_S * PERIOD_S, UTC),
            "EndTime": datetime.fromtimestamp((now // PERIOD_S + 1) * PERIOD_S, UTC),
            "ScanBy": "TimestampDescending",
        }
        values: dict[str, list[float]] = defaultdict(list)
        while True:
            answer = self._client("cloudwatch").get_metric_data(**question)
            for result in answer["MetricDataResults"]:
                values[result["Id"]] += result["Values"]
            if not answer.get("NextToken"):
                return [values[f"m{number}"] for number in range(len(asked))]
            question["NextToken"] = answer["NextToken"]

    def _cold_starts_of(self, log_group: str) -> int | None:
        return sum(self._cold_starts[log_group].values()) if log_group in self._cold_starts else None

    def _count_cold_starts(self, now: float, log_groups: list[str]) -> None:
        by_start: dict[int, list[str]] = defaultdict(list)
        for group in log_groups:
            start = self._started_at
            if group in self._asked_at:
                start = max(start, (self._asked_at[group] - LATE_LOGS_S) // PERIOD_S * PERIOD_S)
            by_start[math.floor(start)].append(group)
        for start, groups in by_start.items():
            for first in range(0, len(groups), MAX_LOG_GROUPS):
                some = groups[first : first + MAX_LOG_GROUPS]
                found = self._query(some, start, math.ceil(now))
                if found is None:
                    continue
                for group in some:
                    self._asked_at[group] = now
                    self._cold_starts.setdefault(group, {}).update(found.get(group, {}))

    def _query(self, log_groups: list[str], start: int, end: int) -> dict[str, dict[str, int]] | None:
        """Log group -> minute -> cold starts between two epoch seconds; None where the target knows no `stats`."""
        logs = self._client("logs")
        query_id = logs.start_query(
            logGroupNames=log_groups, startTime=start, endTime=end, queryString=COLD_STARTS, limit=MAX_ROWS
        )["queryId"]
        deadline = self._clock() + QUERY_LIMIT_S
        while (answer := logs.get_query_results(queryId=query_id))["status"] in ("Scheduled", "Running"):
            if self._clock() >= deadline:
                logs.stop_query(queryId=query_id)
                raise QueryFailedError(f"Logs Insights did not answer within {QUERY_LIMIT_S:g} s")
            self._sleep(QUERY_PAUSE_S)
        if answer["status"] != "Complete":
            raise QueryFailedError(f"Logs Insights: the query ended as {answer['status']}")
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for cells in answer["results"]:
            row = {cell["field"]: cell["value"] for cell in cells}
            if "cold_starts" not in row:
                return None
            # @log is account:group.
            found[row["@log"].partition(":")[2]][row["minute"]] = int(row["cold_starts"])
        return found
