from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from botocore.stub import Stubber

from analysis.errors import TargetError, UsageError
from analysis.insights import (
    IncompleteResultsError,
    LogGroupNotFoundError,
    Pace,
    QueryFailedError,
    QueryResult,
    Window,
    read_rows_quickly,
    run_query,
)

GROUP = "/aws/lambda/place-vote"


class FakeTime:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def error(code: str, message: str = "no", operation: str = "StartQuery") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class FakeLogs:
    """Answers from two scripts; an exception in them is raised."""

    def __init__(self, results: Iterable[Any], starts: Iterable[Any] = ({"queryId": "q1"},)) -> None:
        self.results, self.starts = list(results), list(starts)
        self.asked: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.meta = SimpleNamespace(region_name="eu-west-1")

    def start_query(self, **arguments: Any) -> Any:
        self.started = arguments
        return self._next(self.starts)

    def get_query_results(self, **arguments: Any) -> Any:
        self.asked.append(arguments)
        return self._next(self.results)

    def stop_query(self, **arguments: Any) -> Any:
        self.stopped.append(arguments["queryId"])
        return {"success": True}

    @staticmethod
    def _next(script: list[Any]) -> Any:
        answer = script.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def row(**fields: str) -> list[dict[str, str]]:
    return [{"field": f"@{name}", "value": value} for name, value in fields.items()]


def answer(status: str, rows: Iterable[Any] = (), **more: Any) -> dict[str, Any]:
    return {"status": status, "results": list(rows), **more}


def run(client: Any, time: FakeTime | None = None, **options: Any) -> QueryResult:
    time = time or FakeTime()
    return run_query(client, [GROUP], "fields @message", Window(10, 20), clock=time.clock, sleep=time.sleep, **options)


def test_rows_of_a_running_query_are_never_used() -> None:
    logs = FakeLogs(
        [
            answer("Scheduled"),
            answer("Running", [row(message="a")]),
            answer("Running", [row(message="a")]),
            answer("Complete", [row(message="a"), row(message="b", ptr="p")], statistics={"recordsMatched": 2.0}),
        ]
    )
    result = run(logs)
    assert list(result.rows) == [{"@message": "a"}, {"@message": "b", "@ptr": "p"}]
    assert result.matched == 2
    assert logs.stopped == []


@pytest.mark.parametrize("status", ["Scheduled", "Running", "Unknown"])
def test_a_query_whose_end_is_not_known_yet_is_asked_about_again(status: str) -> None:
    logs = FakeLogs([answer(status), answer("Complete", [row(message="a")])])
    assert list(run(logs).rows) == [{"@message": "a"}]


def test_all_pages_are_fetched_by_their_token() -> None:
    logs = FakeLogs(
        [
            answer("Complete", [row(ptr="1")], nextToken="t1", statistics={"resultCount": 3.0}),
            answer("Complete", [row(ptr="2")], nextToken="t2"),
            answer("Complete", [row(ptr="3")]),
        ]
    )
    assert [one["@ptr"] for one in run(logs).rows] == ["1", "2", "3"]
    assert [asked.get("nextToken") for asked in logs.asked] == [None, "t1", "t2"]


def test_a_page_that_never_ends_is_an_error() -> None:
    logs = FakeLogs([answer("Complete", [row(ptr="1")], nextToken="t")] * 3)
    with pytest.raises(IncompleteResultsError, match="same one again"):
        run(logs)


def test_fewer_rows_than_announced_are_an_error() -> None:
    logs = FakeLogs([answer("Complete", [row(ptr="1")], statistics={"resultCount": 2.0})])
    with pytest.raises(IncompleteResultsError, match="announced 2 rows and gave 1"):
        run(logs)


@pytest.mark.parametrize("status", ["Failed", "Cancelled", "Timeout", "SomethingNew"])
def test_a_query_that_did_not_complete_is_an_error_that_says_how_it_ended(status: str) -> None:
    with pytest.raises(QueryFailedError, match=status) as failed:
        run(FakeLogs([answer("Running"), answer(status, [row(ptr="1")])]))
    assert failed.value.status == status


def test_a_query_that_takes_too_long_is_stopped() -> None:
    logs = FakeLogs([answer("Running")] * 100)
    with pytest.raises(QueryFailedError, match="still Running"):
        run(logs, timeout_s=20.0)
    assert logs.stopped == ["q1"]


def test_ctrl_c_stops_the_query() -> None:
    logs = FakeLogs([KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        run(logs)
    assert logs.stopped == ["q1"]


def answered_by_http(status: int, body: bytes, *, quickly: bool) -> Any:
    client = boto3.client("logs", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    answer = SimpleNamespace(status_code=status, headers={}, content=body)
    client.meta.events.register("before-send", lambda request, **_: answer)
    if quickly:
        read_rows_quickly(client)
    return client.get_query_results(queryId="q")


@pytest.mark.parametrize(
    "body",
    [
        b'{"status": "Complete", "results": [[{"field": "@ptr", "value": "1"}], []], "statistics": {"bytesScanned": 5}}'
        b" ",
        b'{"status": "Running", "results": []}',
        b'{"status": "Complete", "results": [], "nextToken": "t"}',
    ],
)
def test_rows_read_quickly_are_what_botocore_reads(body: bytes) -> None:
    assert answered_by_http(200, body, quickly=True) == answered_by_http(200, body, quickly=False)


@pytest.mark.parametrize("body", [b'{"status": "Comp', b"{}", b""])
def test_a_malformed_page_is_an_error_and_not_an_empty_one(body: bytes) -> None:
    with pytest.raises(IncompleteResultsError, match="malformed page"):
        run(FakeLogs([answered_by_http(200, body, quickly=True)]))


@pytest.mark.parametrize(
    "broken",
    [5, None, [5], [{"value": "x"}], [{"field": "@message", "value": None}], [{"field": "@message", "value": 5}]],
    ids=str,
)
@pytest.mark.parametrize("page", [1, 2])
def test_a_row_that_is_none_is_an_error_that_names_the_query(broken: Any, page: int) -> None:
    pages = [answer("Complete", [row(ptr="1")], nextToken="t"), answer("Complete", [row(ptr="2")])]
    pages[page - 1]["results"].append(broken)
    with pytest.raises(IncompleteResultsError, match="log query q1: a malformed page"):
        run(FakeLogs(pages))


def test_a_cell_without_a_value_is_absent_from_its_row() -> None:
    assert run(FakeLogs([answer("Complete", [[{"field": "@message"}, *row(ptr="1")]])])).rows == [{"@ptr": "1"}]


def test_a_refusal_is_botocores_to_read() -> None:
    with pytest.raises(ClientError, match="LimitExceededException"):
        answered_by_http(400, b'{"__type": "LimitExceededException", "message": "no"}', quickly=True)


def test_polls_become_less_frequent() -> None:
    time = FakeTime()
    run(FakeLogs([answer("Running")] * 8 + [answer("Complete")]), time)
    assert time.slept[0] == 0.1 and time.slept[-1] == 2.0 and time.slept == sorted(time.slept)


def test_a_query_is_first_asked_about_when_it_may_be_done() -> None:
    time = FakeTime()
    result = run(FakeLogs([answer("Running"), answer("Complete")]), time, expected_s=10.0)
    assert time.slept == [9.0, pytest.approx(0.16)]
    assert result.took_s == pytest.approx(9.16)


@pytest.mark.parametrize("failure", [ConnectionClosedError(endpoint_url="x"), ReadTimeoutError(endpoint_url="x")])
def test_a_broken_connection_is_no_reason_to_give_up(failure: Exception) -> None:
    logs = FakeLogs([failure, failure, answer("Complete", [row(ptr="1")])])
    assert len(run(logs).rows) == 1


def test_a_connection_that_breaks_each_time_is_an_error() -> None:
    with pytest.raises(TargetError, match="cannot ask CloudWatch Logs"):
        run(FakeLogs([ReadTimeoutError(endpoint_url="x")] * 3))


@pytest.mark.parametrize("code", ["LimitExceededException", "ThrottlingException", "ServiceUnavailableException"])
def test_a_busy_account_is_waited_for(code: str) -> None:
    time = FakeTime()
    logs = FakeLogs([answer("Complete", [row(ptr="1")])], [error(code), error(code), {"queryId": "q"}])
    assert len(run(logs, time).rows) == 1
    assert time.slept[:2] == [0.5, 1.0]


def test_a_throttled_poll_is_repeated_and_the_query_not_started_again() -> None:
    logs = FakeLogs([error("ThrottlingException"), answer("Complete", [row(ptr="1")])])
    assert len(run(logs).rows) == 1


def test_an_account_that_stays_busy_is_an_error() -> None:
    logs = FakeLogs(
        [], [error("LimitExceededException", "Account maximum query concurrency limit of [30] reached.")] * 99
    )
    with pytest.raises(QueryFailedError, match=r"limit of \[30\] reached"):
        run(logs, timeout_s=60.0)


def test_a_missing_group_names_group_region_and_variable() -> None:
    with pytest.raises(LogGroupNotFoundError) as missing:
        run(FakeLogs([], [error("ResourceNotFoundException")]))
    for part in (GROUP, "eu-west-1", "LOG_GROUPS"):
        assert part in str(missing.value)
    assert missing.value.exit_code == 2


def test_a_group_younger_than_the_window_holds_nothing() -> None:
    text = (
        "Query's end date and time is either before the log groups creation time or exceeds the log groups log "
        "retention settings"
    )
    assert run(FakeLogs([], [error("MalformedQueryException", text)])) == QueryResult([], 0, 0)


def test_a_query_that_is_not_understood_is_shown() -> None:
    with pytest.raises(UsageError, match="unexpected symbol") as refused:
        run(FakeLogs([], [error("MalformedQueryException", "unexpected symbol")]))
    assert "fields @message" in str(refused.value)


def test_no_access_and_no_connection_are_the_targets_refusal() -> None:
    with pytest.raises(TargetError, match="not allowed: "):
        run(FakeLogs([], [error("AccessDeniedException")]))
    with pytest.raises(TargetError, match="cannot ask"):
        run(FakeLogs([], [EndpointConnectionError(endpoint_url="http://x")]))


def test_calls_are_let_through_at_an_even_pace() -> None:
    time = FakeTime()
    pace = Pace(10.0, time.clock, time.sleep)
    for _ in range(4):
        pace.wait()
    assert time.now == pytest.approx(1000.3)


def test_arguments_are_what_the_service_model_knows() -> None:
    client = boto3.client("logs", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        stub.add_response(
            "start_query",
            {"queryId": "q1"},
            {"logGroupNames": [GROUP], "startTime": 10, "endTime": 20, "queryString": "fields @message", "limit": 100},
        )
        stub.add_response(
            "get_query_results",
            {"status": "Complete", "results": [row(ptr="1")], "nextToken": "t", "statistics": {"recordsMatched": 2.0}},
            {"queryId": "q1"},
        )
        stub.add_response(
            "get_query_results",
            {"status": "Complete", "results": [row(ptr="2")]},
            {"queryId": "q1", "nextToken": "t"},
        )
        assert len(run(client, limit=100).rows) == 2
