"""A log service in memory, as much of it as the pull uses: for tests of what it asks and how it deals with answers."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError


class FakeTime:
    """A clock that only moves when somebody sleeps."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class FakeLogs:
    """Events per group, each readable from its `visible_at` on. It knows `fields ... | filter x [not] like /y/ ...`."""

    time: FakeTime
    groups: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    row_limit: int = 10_000
    """No answer has more rows than this, whatever was asked."""
    gives_ptr: bool = True
    gives_statistics: bool = True
    end_is_whole_second: bool = True
    queries: list[dict[str, Any]] = field(default_factory=list)
    failing: Any = None
    """Called with the arguments of each StartQuery; may raise."""
    longest_s: int | None = None
    """A query for more seconds than this ends as Timeout."""

    def __post_init__(self) -> None:
        events = SimpleNamespace(register=lambda event, handler: None)
        self._lock = threading.Lock()
        self.meta = SimpleNamespace(region_name="eu-west-1", events=events)
        self._answers: dict[str, tuple[str, list[dict[str, Any]], int]] = {}
        """Query id -> its status, what it matches, and how many rows of that it gives."""

    def add(self, group: str, at: float, message: str, stream: str, lag_s: float = 0.0) -> None:
        events = self.groups.setdefault(group, [])
        number = sum(len(events) for events in self.groups.values())
        events.append(
            {"at": at, "@message": message, "@logStream": stream, "visible_at": at + lag_s, "@ptr": f"p{number}"}
        )

    def start_query(self, **arguments: Any) -> dict[str, Any]:
        with self._lock:  # several threads ask
            self.queries.append(arguments)
            query_id = str(len(self.queries))
        if self.failing is not None:
            self.failing(arguments)
        groups = arguments["logGroupNames"]
        if not set(groups) <= set(self.groups):
            error = {"Error": {"Code": "ResourceNotFoundException", "Message": "no such group"}}
            raise ClientError(error, "StartQuery")
        end = arguments["endTime"] + (0.9995 if self.end_is_whole_second else 0.0)
        matching = [
            event | {"@log": f"123456789012:{group}"}
            for group in groups
            for event in self.groups[group]
            if arguments["startTime"] <= event["at"] <= end
            and event["visible_at"] <= self.time.now
            and _passes(event, arguments["queryString"])
        ]
        asked_s = arguments["endTime"] - arguments["startTime"]
        status = "Timeout" if self.longest_s is not None and asked_s > self.longest_s else "Complete"
        self._answers[query_id] = status, matching, min(arguments["limit"], self.row_limit)
        return {"queryId": query_id}

    def get_query_results(self, queryId: str) -> dict[str, Any]:
        status, matching, limit = self._answers[queryId]
        rows = matching[:limit]
        if status != "Complete":
            return {"status": status, "results": []}
        statistics = {"recordsMatched": float(len(matching)), "bytesScanned": 10.0 * len(matching)}
        return {
            "status": "Complete",
            "results": [self._cells(event) for event in rows],
            "statistics": statistics if self.gives_statistics else {},
        }

    def describe_log_groups(self, logGroupNamePrefix: str, limit: int) -> dict[str, Any]:
        names = sorted(name for name in self.groups if name.startswith(logGroupNamePrefix))
        return {"logGroups": [{"logGroupName": name} for name in names[:limit]]}

    def stop_query(self, queryId: str) -> dict[str, Any]:
        return {"success": True}

    def _cells(self, event: dict[str, Any]) -> list[dict[str, str]]:
        at = datetime.fromtimestamp(round(event["at"], 3), UTC)
        cells = {
            "@timestamp": f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}",
            "@log": event["@log"],
            "@logStream": event["@logStream"],
            "@message": event["@message"],
        }
        if self.gives_ptr:
            cells["@ptr"] = event["@ptr"]
        return [{"field": name, "value": value} for name, value in cells.items()]


def _passes(event: dict[str, Any], query: str) -> bool:
    conditions = re.findall(r"filter (\S+) (not )?like /(.*?)/(?= \| |$)", query)
    assert len(conditions) == query.count("filter "), query
    return all(bool(re.search(pattern, event[name])) != bool(negated) for name, negated, pattern in conditions)
