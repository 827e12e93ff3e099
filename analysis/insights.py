"""One CloudWatch Logs Insights query, from StartQuery to its last row.

What a query can come to is explicit: all its rows, or an error that says why not. Rows of a query that is still
running are partial and never used. The client, the clock and the sleep are arguments; throttling is waited out.

Source: AWS API reference, StartQuery (start and end in epoch seconds, both inclusive; up to 100,000 rows) and
GetQueryResults (pages of up to 10,000 rows by nextToken; values are strings; absent fields are absent).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, ReadTimeoutError

from analysis.errors import PullError, TargetError, UsageError, refused_caller

Row = dict[str, str]
Clock = Callable[[], float]
Sleep = Callable[[float], None]

MAX_ROWS = 100_000
"""The most rows one query gives, all pages together."""

_RUNNING = ("Scheduled", "Running", "Unknown")
_BUSY = frozenset(
    {
        "LimitExceededException",
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ServiceUnavailableException",
        "ServiceUnavailable",
        "InternalServerException",
    }
)
_FIRST_POLL_S, _LONGEST_POLL_S = 0.1, 2.0
_EARLY = 0.9
"""Share of the time that a query is expected to take, after which it is first asked about: so expectations can fall."""
_BROKEN_CALLS = 3
"""Attempts at a call whose connection breaks."""
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 16.0
_BEFORE_CREATION = "before the log groups creation time"


class LogGroupNotFoundError(TargetError):
    """There is no such log group in the region that was asked."""


class QueryFailedError(PullError):
    """The query ended as Failed, Cancelled or Timeout, or was refused for longer than was waited."""

    def __init__(self, message: str, status: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.status = status


class IncompleteResultsError(PullError):
    """The query is Complete, but not all of its rows could be fetched, or some are none."""


@dataclass(frozen=True)
class Window:
    """Epoch seconds, both inclusive, as StartQuery takes them."""

    start: int
    end: int


@dataclass(frozen=True)
class QueryResult:
    """Everything a query found."""

    rows: Sequence[Row]
    """In the order of the answer; a field that a row lacks is absent from it."""
    matched: int | None
    """Events the filter matched, whether returned or cut off by the limit; None where the target does not say."""
    bytes_scanned: int | None
    took_s: float = 0.0
    """From the start of the query until it was known to be complete."""


class Pace:
    """Lets calls through at no more than `per_s` a second, whichever thread makes them."""

    def __init__(self, per_s: float, clock: Clock, sleep: Sleep) -> None:
        self._gap_s, self._clock, self._sleep = 1 / per_s, clock, sleep
        self._next_at = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = self._clock()
            at = max(now, self._next_at)
            self._next_at = at + self._gap_s
        if at > now:
            self._sleep(at - now)


def read_rows_quickly(client: Any) -> None:
    """Let `client` hand over the rows of GetQueryResults as they came, instead of checking each cell on its own.

    A page of 10,000 rows takes botocore 170 ms and this 70 ms, and the pages of a large pull are read by one process.
    What is left of the answer, and every refusal, is botocore's to read.
    """

    def take_rows(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
        if response_dict["status_code"] != 200:
            return
        try:
            answer = orjson.loads(response_dict["body"])
            rows = answer.pop("results", [])
        except (orjson.JSONDecodeError, AttributeError):
            return  # botocore says what is wrong with it
        response_dict["body"] = orjson.dumps(answer)
        customized_response_dict["results"] = rows

    client.meta.events.register("before-parse.cloudwatch-logs.GetQueryResults", take_rows)


def run_query(
    client: Any,
    groups: Sequence[str],
    query: str,
    window: Window,
    *,
    limit: int = 10_000,
    clock: Clock,
    sleep: Sleep,
    starts: Pace | None = None,
    polls: Pace | None = None,
    expected_s: float = 0.0,
    timeout_s: float = 900.0,
) -> QueryResult:
    """Run a query over log groups and return all its rows.

    `starts` and `polls` pace StartQuery and GetQueryResults, which an account may call 10 times a second each;
    `expected_s` is how long the query may be expected to take.
    Whatever interrupts it, the query is stopped at the target.

    Raises LogGroupNotFoundError; UsageError for a query that the target does not understand; TargetError where it
    cannot be reached or refuses access; QueryFailedError; IncompleteResultsError.
    """
    call = _Caller(client, groups, clock, sleep, timeout_s)
    started = call(
        "start_query",
        starts,
        logGroupNames=list(groups),
        startTime=window.start,
        endTime=window.end,
        queryString=query,
        limit=limit,
    )
    if started is None:
        return QueryResult([], 0, 0)
    query_id = started["queryId"]
    try:
        return _results(call, polls, query_id, limit, clock, sleep, expected_s, clock() + timeout_s)
    except BaseException:
        # the account's places for queries are few; one that has ended already cannot be stopped, which is fine
        with contextlib.suppress(ClientError, BotoCoreError):
            client.stop_query(queryId=query_id)
        raise


def group_exists(client: Any, name: str) -> bool:
    """Whether there is a log group of that name; where the target does not say, it is taken for there."""
    try:
        # sorted by name: the one that is called like the prefix comes first
        found = client.describe_log_groups(logGroupNamePrefix=name, limit=1)["logGroups"]
    except (ClientError, BotoCoreError):
        return True
    return bool(found) and found[0]["logGroupName"] == name


def epoch_s(timestamp: str) -> float:
    """Epoch seconds of a @timestamp, `2026-11-21 10:00:00.123` in UTC; some emulators give epoch milliseconds.

    Raises ValueError for anything else.
    """
    try:
        at = datetime.fromisoformat(timestamp)
    except ValueError:
        return float(timestamp) / 1000
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _results(
    call: _Caller,
    polls: Pace | None,
    query_id: str,
    limit: int,
    clock: Clock,
    sleep: Sleep,
    expected_s: float,
    until: float,
) -> QueryResult:
    started_at = clock()
    pause_s = _FIRST_POLL_S
    sleep(max(pause_s, expected_s * _EARLY))
    while True:
        answer = _page(call, polls, query_id)
        status = answer["status"]
        if status == "Complete":
            break
        if status not in _RUNNING:
            raise QueryFailedError(f"log query {query_id} ended as {status}", status)
        if clock() >= until:
            raise QueryFailedError(f"log query {query_id} is still {status} after the time allowed for it", "Timeout")
        sleep(pause_s := min(pause_s * 1.6, _LONGEST_POLL_S))
    took_s = clock() - started_at
    statistics = answer.get("statistics") or {}
    rows = _rows(answer, query_id)
    seen: set[str] = set()
    while token := answer.get("nextToken"):
        if token in seen:
            raise IncompleteResultsError(f"log query {query_id}: the page after row {len(rows)} is the same one again")
        seen.add(token)
        answer = _page(call, polls, query_id, nextToken=token)
        if answer["status"] != "Complete":
            raise IncompleteResultsError(f"log query {query_id} became {answer['status']} after {len(rows)} rows")
        rows += _rows(answer, query_id)
    announced = statistics.get("resultCount")
    if announced is not None and len(rows) < min(int(announced), limit):
        raise IncompleteResultsError(f"log query {query_id} announced {announced:.0f} rows and gave {len(rows)}")
    return QueryResult(rows, _whole(statistics.get("recordsMatched")), _whole(statistics.get("bytesScanned")), took_s)


def _page(call: _Caller, polls: Pace | None, query_id: str, **arguments: str) -> Any:
    """One answer of GetQueryResults. botocore reads what is no JSON as an answer that says nothing."""
    answer = call("get_query_results", polls, queryId=query_id, **arguments)
    if not isinstance(answer.get("status"), str) or not isinstance(answer.get("results"), list):
        raise IncompleteResultsError(f"log query {query_id}: a malformed page, with neither status nor rows")
    return answer


def _rows(answer: Any, query_id: str) -> list[Row]:
    try:
        rows = [{cell["field"]: cell["value"] for cell in cells if "value" in cell} for cells in answer["results"]]
        for row in rows:
            "".join(row.values())  # takes text alone, and less time than a look at each value
    except (KeyError, TypeError):
        raise IncompleteResultsError(f"log query {query_id}: a malformed page, with rows that are none") from None
    return rows


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


@dataclass(frozen=True)
class _Caller:
    """Calls the target, waits while it is busy, and turns its refusals into our errors."""

    client: Any
    groups: Sequence[str]
    clock: Clock
    sleep: Sleep
    patience_s: float

    def __call__(self, operation: str, pace: Pace | None, **arguments: Any) -> Any:
        """The answer; None where the groups cannot hold anything in the window, being younger."""
        give_up_at = self.clock() + self.patience_s
        backoff_s = _FIRST_BACKOFF_S
        broken = 0
        while True:
            if pace is not None:
                pace.wait()
            try:
                return getattr(self.client, operation)(**arguments)
            except ClientError as refused:
                code = refused.response["Error"]["Code"]
                text = refused.response["Error"].get("Message") or code
                if code not in _BUSY:
                    if code == "MalformedQueryException" and _BEFORE_CREATION in text:
                        return None
                    raise refused_caller(refused) or self._translated(code, text, arguments) from refused
                if self.clock() + backoff_s > give_up_at:
                    raise QueryFailedError(
                        f"{operation} was refused for {self.patience_s:.0f} s: {text}",
                        hint="other queries of the account take the places; ask for fewer at once or try later",
                    ) from refused
            except BotoCoreError as error:
                broken += 1
                if not isinstance(error, ConnectionClosedError | ReadTimeoutError) or broken == _BROKEN_CALLS:
                    hint = "check AWS_REGION, AWS_PROFILE and AWS_ENDPOINT_URL; a sandbox's logs go with it"
                    raise (
                        refused_caller(error) or TargetError(f"cannot ask CloudWatch Logs: {error}", hint)
                    ) from error
            self.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)

    def _translated(self, code: str, text: str, arguments: dict[str, Any]) -> Exception:
        region = getattr(self.client.meta, "region_name", None)
        if code == "ResourceNotFoundException":
            names = ", ".join(self.groups)
            return LogGroupNotFoundError(
                f"no log group {names} in region {region}", "check LOG_GROUPS, STACK_NAME and AWS_REGION in .env"
            )
        if code in ("MalformedQueryException", "InvalidParameterException"):
            return UsageError(f"the query was not understood: {text}", f"the query: {arguments.get('queryString')}")
        return TargetError(f"CloudWatch Logs in region {region} refuses: {code}: {text}")
