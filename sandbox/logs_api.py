"""The CloudWatch Logs actions on the events of the log store, on the wire format of boto3 (JSON 1.1).

    api.handle("StartQuery", {"logGroupName": "/aws/lambda/x", "startTime": 0, "endTime": 9, "queryString": "…"}, now)
    -> (200, {"queryId": "…"})

`handle` never waits: queries run on worker threads, and appear to take at least `InsightsModel.latency_s` of the
sandbox's own clock. Everything else of CloudWatch Logs (groups, tags, metric filters, …) is moto's: None.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from sandbox.definitions import ACCOUNT_ID
from sandbox.insights.engine import Engine, QueryResult, interrupt
from sandbox.insights.errors import MalformedQuery
from sandbox.log_events import Events, FilterPattern, LogEvent, Window
from sandbox.logs import LogStore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Body = dict[str, Any]
Answer = tuple[int, Body]

MAX_PAGE = 10_000
MAX_GROUPS = 50
MAX_TIME_S = 10**13  # milliseconds given by mistake are no error, as on AWS: there is nothing there
MAX_EVENTS = 10_000
"""Of GetLogEvents and FilterLogEvents, as is MAX_EVENT_BYTES."""
MAX_EVENT_BYTES = 1_048_576
EVENT_OVERHEAD_BYTES = 26
"""What an event counts beside its message (AWS documentation, PutLogEvents)."""
SLOW_ACTIONS = frozenset({"GetLogEvents", "FilterLogEvents", "DescribeLogStreams"})
"""Actions that read the store before they answer. They may be handled on another thread."""


@dataclass(frozen=True)
class InsightsModel:
    """Time and limits of Logs Insights. Sources: AWS documentation, "CloudWatch Logs quotas" (rates) and "Analyzing
    log data with CloudWatch Logs Insights" (concurrency); no source gives a latency."""

    latency_s: float = 0.3
    """From StartQuery to Complete, at least; a query is Scheduled for a sixth of it, then Running."""
    concurrent_queries: int = 100
    starts_per_s: int = 10
    reads_per_s: int = 10
    """GetQueryResults."""
    kept_result_bytes: int = 200_000_000
    """Results beyond this are forgotten, oldest first (AWS keeps them for seven days)."""


class ApiError(Exception):
    """An error answer of the service."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def answer(self) -> Answer:
        return 400, {"__type": self.code, "message": self.message, **self.details}


class _Rate:
    """At most `limit` calls within any second."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._calls: deque[float] = deque()

    def check(self, now: float) -> None:
        while self._calls and self._calls[0] <= now - 1:
            self._calls.popleft()
        if len(self._calls) >= self._limit:
            raise ApiError("ThrottlingException", "Rate exceeded")
        self._calls.append(now)


@dataclass
class _Query:
    id: str
    text: str
    groups: tuple[str, ...]
    started_at: float
    future: Future[QueryResult]
    cursor: DuckDBPyConnection
    stopped: bool = False

    def result(self) -> QueryResult | None:
        """None until there is one; None for ever where there will be none."""
        done = self.future.done() and not self.future.cancelled() and self.future.exception() is None
        return self.future.result() if done else None

    def result_bytes(self) -> int:
        result = self.result()
        return result.rows.nbytes if result else 0


class LogsApi:
    """All methods but those of SLOW_ACTIONS belong to one thread."""

    def __init__(
        self,
        store: LogStore,
        group_exists: Callable[[str], bool],
        *,
        model: InsightsModel | None = None,
        executor: Executor | None = None,
        region: str = "us-east-1",
    ) -> None:
        """`group_exists`: whether there is a log group of that name. `executor` runs the queries (one thread of our
        own where None, so that they share one core and leave the rest to the data path)."""
        self._store = store
        self._group_exists = group_exists
        self._region = region
        self._model = model or InsightsModel()
        self._owns_executor = executor is None
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="insights")
        self._engine = Engine()
        self._queries: dict[str, _Query] = {}
        self._numbers = count(1)
        self._starts = _Rate(self._model.starts_per_s)
        self._reads = _Rate(self._model.reads_per_s)
        self._actions: Mapping[str, Callable[[Body, float], Body]] = {
            "StartQuery": self._start_query,
            "GetQueryResults": self._get_query_results,
            "StopQuery": self._stop_query,
            "DescribeQueries": self._describe_queries,
            "PutLogEvents": self._put_log_events,
            "GetLogEvents": self._get_log_events,
            "FilterLogEvents": self._filter_log_events,
            "DescribeLogStreams": self._describe_log_streams,
        }

    def handle(self, action: str, body: Body, now: float) -> Answer | None:
        """(HTTP status, body for orjson) of an action; None for one that is not ours. `now`: epoch seconds."""
        perform = self._actions.get(action)
        if perform is None:
            return None
        try:
            return 200, perform(body, now)
        except ApiError as error:
            return error.answer()

    def reset(self) -> None:
        """Forget every query."""
        for query in self._queries.values():
            query.future.cancel()
            interrupt(query.cursor)
        self._queries.clear()

    def close(self) -> None:
        self.reset()
        if self._owns_executor:
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._engine.close()

    # queries

    def _start_query(self, body: Body, now: float) -> Body:
        self._starts.check(now)
        groups = self._query_groups(body)
        language = body.get("queryLanguage", "CWLI")
        if language != "CWLI":
            raise _malformed(f"The sandbox knows the query language CWLI, not {language}", MalformedQuery("", 0, 0))
        start_s, end_s = _integer(body, "startTime"), _integer(body, "endTime")
        if not 0 <= start_s <= end_s <= MAX_TIME_S:
            raise ApiError(
                "InvalidParameterException", "The time range is invalid: it ends before it starts, or lies too far away"
            )
        limit = body.get("limit")
        if limit is not None and not 1 <= _integer(body, "limit") <= 100_000:
            raise ApiError("InvalidParameterException", "limit must be between 1 and 100000")
        try:
            compiled = self._engine.compile(
                _text(body, "queryString"), now=now, **({} if limit is None else {"limit": limit})
            )
        except MalformedQuery as error:
            raise _malformed(error.message, error) from None
        running = sum(not self._ended(query, now) for query in self._queries.values())
        if running >= self._model.concurrent_queries:
            raise ApiError(
                "LimitExceededException",
                f"Account maximum query concurrency limit of [{self._model.concurrent_queries}] reached.",
            )
        window = Window(groups, start_s * 1000, end_s * 1000, round(now * 1000))
        snapshot = self._store.snapshot(groups, window.start_ms, window.end_ms)
        cursor = self._engine.cursor()
        future = self._executor.submit(self._engine.run, cursor, compiled, snapshot, window)
        self._forget_old(now)
        query_id = str(UUID(int=next(self._numbers)))
        self._queries[query_id] = _Query(query_id, body["queryString"], groups, now, future, cursor)
        return {"queryId": query_id}

    def _forget_old(self, now: float) -> None:
        """Drop the oldest results beyond what may be kept."""
        kept_bytes = 0
        for query in reversed(list(self._queries.values())):
            if self._ended(query, now):
                kept_bytes += query.result_bytes()
                if kept_bytes > self._model.kept_result_bytes:
                    del self._queries[query.id]

    def _query_groups(self, body: Body) -> tuple[str, ...]:
        given = [key for key in ("logGroupName", "logGroupNames", "logGroupIdentifiers") if body.get(key)]
        if len(given) != 1:
            raise ApiError(
                "InvalidParameterException",
                "Exactly one of logGroupName, logGroupNames and logGroupIdentifiers is needed",
            )
        value = body[given[0]]
        names = [value] if isinstance(value, str) else list(value)
        if len(names) > MAX_GROUPS:
            raise ApiError("InvalidParameterException", f"A query reads at most {MAX_GROUPS} log groups")
        groups = tuple(dict.fromkeys(_group_name(name) for name in names))
        for group in groups:
            self._check_group(group)
        return groups

    def _check_group(self, group: str) -> None:
        if not self._group_exists(group):
            raise ApiError("ResourceNotFoundException", f"Log group '{group}' does not exist.")

    def _query(self, body: Body) -> _Query:
        query = self._queries.get(_text(body, "queryId"))
        if query is None:
            raise ApiError("ResourceNotFoundException", f"Query '{body['queryId']}' does not exist.")
        return query

    def _status(self, query: _Query, now: float) -> str:
        if query.stopped:
            return "Cancelled"
        elapsed_s = now - query.started_at
        if elapsed_s < self._model.latency_s / 6:
            return "Scheduled"
        if not query.future.done() or elapsed_s < self._model.latency_s:
            return "Running"
        return "Failed" if query.result() is None else "Complete"

    def _ended(self, query: _Query, now: float) -> bool:
        return self._status(query, now) not in ("Scheduled", "Running")

    def _get_query_results(self, body: Body, now: float) -> Body:
        query = self._query(body)
        self._reads.check(now)
        status = self._status(query, now)
        page = _integer(body, "maxItems") if body.get("maxItems") is not None else MAX_PAGE
        if not 1 <= page <= MAX_PAGE:
            raise ApiError("InvalidParameterException", f"maxItems must be between 1 and {MAX_PAGE}")
        start = _read_token(body.get("nextToken"), query.id)
        answer: Body = {
            "queryLanguage": "CWLI",
            "status": status,
            "results": [],
            "statistics": _statistics(None, query),
        }
        result = query.result()
        if status not in ("Running", "Complete") or result is None:
            return answer
        # while a query runs, what it has found so far: half of what it will find
        rows = len(result.rows) if status == "Complete" else len(result.rows) // 2
        answer["results"] = orjson.Fragment(result.page(start, min(page, max(rows - start, 0))))
        if status == "Complete":
            answer["statistics"] = _statistics(result, query)
            if start + page < rows:
                answer["nextToken"] = _token(query.id, start + page)
        return answer

    def _stop_query(self, body: Body, now: float) -> Body:
        query = self._query(body)
        if self._ended(query, now):
            raise ApiError("InvalidParameterException", f"Query '{query.id}' has already ended.")
        query.stopped = True
        if not query.future.cancel():
            interrupt(query.cursor)
        return {"success": True}

    def _describe_queries(self, body: Body, now: float) -> Body:
        group, status = body.get("logGroupName"), body.get("status")
        found = []
        for query in reversed(self._queries.values()):
            description = {
                "queryLanguage": "CWLI",
                "queryId": query.id,
                "queryString": query.text,
                "status": self._status(query, now),
                "createTime": round(query.started_at * 1000),
                "logGroupName": query.groups[0],
            }
            if (group is None or group in query.groups) and status in (None, description["status"]):
                found.append(description)
        start = _read_token(body.get("nextToken"), "queries")
        page = body.get("maxResults") or 1000
        answer: Body = {"queries": found[start : start + page]}
        if start + page < len(found):
            answer["nextToken"] = _token("queries", start + page)
        return answer

    # events

    def _put_log_events(self, body: Body, now: float) -> Body:
        """Events of somebody else's, into the same store. Any stream name will do."""
        group, stream, events = _text(body, "logGroupName"), _text(body, "logStreamName"), body.get("logEvents") or []
        self._check_group(group)
        times = [_integer(event, "timestamp") for event in events]
        if not 1 <= len(events) <= MAX_EVENTS or times != sorted(times):
            raise ApiError(
                "InvalidParameterException",
                f"Log events in a single PutLogEvents request must be 1 to {MAX_EVENTS}, in chronological order.",
            )
        for event in events:
            self._store.append(group, stream, event["timestamp"] / 1000, _text(event, "message"))
        return {"nextSequenceToken": f"{len(self._store):056d}"}

    def _get_log_events(self, body: Body, now: float) -> Body:
        """Tokens are positions in the stream: `f/…` the first event not yet given, `b/…` the one after the last."""
        group, window = self._window(body, now)
        events = self._events(group, window, streams=[_text(body, "logStreamName")])
        count = events.count()
        limit = _limit(body, MAX_EVENTS)
        direction, position = _stream_token(body.get("nextToken"))
        forward = direction == "f" or (direction is None and body.get("startFromHead", False))
        if forward:
            first = min(position or 0, count)
            last = min(first + limit, count)
        else:
            last = count if position is None else min(position, count)
            first = max(last - limit, 0)
        found = events.read(first, last - first)
        kept = _within_bytes(found if forward else found[::-1])
        if forward:
            last = first + kept
            found = found[:kept]
        else:
            first = last - kept
            found = found[len(found) - kept :]
        return {
            "events": [
                {"timestamp": event.at_ms, "message": event.message, "ingestionTime": event.ingested_ms}
                for event in found
            ],
            "nextForwardToken": f"f/{last}",
            "nextBackwardToken": f"b/{first}",
        }

    def _filter_log_events(self, body: Body, now: float) -> Body:
        group, window = self._window(body, now)
        try:
            pattern = FilterPattern.read(body.get("filterPattern") or "")
        except ValueError as error:
            raise ApiError("InvalidParameterException", str(error)) from None
        events = self._events(
            group,
            window,
            streams=body.get("logStreamNames") or (),
            stream_prefix=body.get("logStreamNamePrefix") or "",
            pattern=pattern,
        )
        limit = _limit(body, MAX_EVENTS)
        start = _read_token(body.get("nextToken"), group)
        found = events.read(start, limit + 1)
        kept = min(_within_bytes(found), limit)
        answer: Body = {
            "events": [
                {
                    "logStreamName": event.stream,
                    "timestamp": event.at_ms,
                    "message": event.message,
                    "ingestionTime": event.ingested_ms,
                    "eventId": f"{event.seq:056d}",
                }
                for event in found[:kept]
            ],
            "searchedLogStreams": [],  # as on AWS since 2019
        }
        if len(found) > kept:
            answer["nextToken"] = _token(group, start + kept)
        return answer

    def _describe_log_streams(self, body: Body, now: float) -> Body:
        group, window = self._window(body, now)
        by_time = body.get("orderBy") == "LastEventTime"
        streams = self._events(group, window, stream_prefix=body.get("logStreamNamePrefix") or "").streams()
        streams.sort(key=lambda stream: (stream.last_ms, stream.name) if by_time else (0, stream.name))
        if body.get("descending"):
            streams.reverse()
        start = _read_token(body.get("nextToken"), group)
        page = _limit(body, 50)
        answer: Body = {
            "logStreams": [
                {
                    "logStreamName": stream.name,
                    "creationTime": stream.first_ms,
                    "firstEventTimestamp": stream.first_ms,
                    "lastEventTimestamp": stream.last_ms,
                    "lastIngestionTime": stream.last_ingested_ms,
                    "uploadSequenceToken": str(stream.events),
                    "arn": f"arn:aws:logs:{self._region}:{ACCOUNT_ID}:log-group:{group}:log-stream:{stream.name}",
                    "storedBytes": 0,  # AWS stopped telling in 2019
                }
                for stream in streams[start : start + page]
            ]
        }
        if start + page < len(streams):
            answer["nextToken"] = _token(group, start + page)
        return answer

    def _events(self, group: str, window: Window, **which: Any) -> Events:
        snapshot = self._store.snapshot([group], window.start_ms, window.end_ms)
        return Events(self._engine.cursor(), snapshot, window, **which)

    def _window(self, body: Body, now: float) -> tuple[str, Window]:
        """Group and window of an action on events: its startTime counts, its endTime does not."""
        group = _group_name(body.get("logGroupName") or _text(body, "logGroupIdentifier"))
        self._check_group(group)
        start_ms = 0 if body.get("startTime") is None else _integer(body, "startTime")
        end_ms = 1 << 60 if body.get("endTime") is None else _integer(body, "endTime") - 1
        return group, Window((group,), start_ms, end_ms, round(now * 1000))


def _within_bytes(events: Sequence[LogEvent]) -> int:
    """How many of these fit into one answer; at least one."""
    total = 0
    for index, event in enumerate(events):
        total += event.size + EVENT_OVERHEAD_BYTES
        if total > MAX_EVENT_BYTES and index:
            return index
    return len(events)


def _malformed(message: str, error: MalformedQuery) -> ApiError:
    location = {"startCharOffset": error.start, "endCharOffset": error.end}
    return ApiError("MalformedQueryException", message, queryCompileError={"location": location, "message": message})


def _statistics(result: QueryResult | None, query: _Query) -> dict[str, float]:
    """What GetQueryResults says of the work done; zeros until it is."""
    return {
        "recordsMatched": float(result.records_matched if result else 0),
        "recordsScanned": float(result.records_scanned if result else 0),
        "bytesScanned": float(result.bytes_scanned if result else 0),
        "estimatedRecordsSkipped": 0.0,
        "estimatedBytesSkipped": 0.0,
        "logGroupsScanned": float(len(query.groups)),
        "resultCount": float(len(result.rows) if result else 0),
    }


def _group_name(identifier: str) -> str:
    """A log group's name from its name or ARN."""
    if not identifier.startswith("arn:"):
        return identifier
    parts = identifier.split(":", 6)
    return parts[6].removesuffix(":*") if len(parts) == 7 and parts[5] == "log-group" else identifier


def _text(body: Body, key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise ApiError("InvalidParameterException", f"{key} is needed")
    return value


def _integer(body: Body, key: str) -> int:
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ApiError("InvalidParameterException", f"{key} must be an integer")
    return value


def _limit(body: Body, most: int) -> int:
    """How many may be answered; more than the most is the most."""
    limit = most if body.get("limit") is None else _integer(body, "limit")
    if limit < 1:
        raise ApiError("InvalidParameterException", "limit must be 1 or more")
    return min(limit, most)


def _token(of: str, position: int) -> str:
    return base64.urlsafe_b64encode(f"{position}/{of}".encode()).decode()


def _read_token(token: str | None, of: str) -> int:
    """The position in a token of ours; 0 where there is none."""
    if token is None:
        return 0
    try:
        position, _, owner = base64.urlsafe_b64decode(token.encode()).decode().partition("/")
        if owner == of and position.isdecimal():
            return int(position)
    except (ValueError, binascii.Error):
        pass
    raise ApiError("InvalidParameterException", "The specified nextToken is invalid.")


def _stream_token(token: str | None) -> tuple[str | None, int | None]:
    if token is None:
        return None, None
    direction, _, position = token.partition("/")
    if direction not in ("f", "b") or not position.isdecimal():
        raise ApiError("InvalidParameterException", "The specified nextToken is invalid.")
    return direction, int(position)
