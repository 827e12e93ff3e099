"""CloudWatch Logs' actions on events through a real boto3 client, without a server and without waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from sandbox.insights.errors import QueryFailed
from sandbox.logs import LogStore
from sandbox.logs_api import InsightsModel, LogsApi
from tests.sandbox.boto3_in_process import answered_by, boto3_client
from tests.sandbox.test_logs import Inline, Waiting

START = 1_800_000_000
GROUP = "/aws/lambda/vote"


@dataclass
class World:
    """The API at a time that the test sets."""

    store: LogStore
    api: LogsApi
    now: float = START + 1000.0

    def handle(self, action: str, body: bytes, region: str) -> Any:
        return self.api.handle(action, orjson.loads(body), self.now)

    @cached_property
    def client(self) -> Any:
        return boto3_client(answered_by(self.handle), "logs")

    def write(self, after: float, message: str, stream: str = "s1", group: str = GROUP) -> None:
        self.store.append(group, stream, START + after, message)

    def start(self, query: str = "fields @message", **given: Any) -> str:
        parameters = {"logGroupName": GROUP, "startTime": START, "endTime": START + 900, "queryString": query}
        started = self.client.start_query(**{key: value for key, value in (parameters | given).items() if value})
        return str(started["queryId"])

    def read(self, query_id: str, **given: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.get_query_results(queryId=query_id, **given)
        return answer

    def messages(self, query: str = "fields @message", **given: Any) -> list[str]:
        """The @message of each row of a completed query, oldest first."""
        query_id = self.start(query, **given)
        self.now += 1
        answer = self.read(query_id)
        assert answer["status"] == "Complete"
        return [row["@message"] for row in map(as_dict, answer["results"])][::-1]


def as_dict(row: list[dict[str, str]]) -> dict[str, str]:
    return {cell["field"]: cell["value"] for cell in row}


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(lag: float = 0.0, executor: Any = None, **model: Any) -> World:
        store = LogStore(lambda group, stream, timestamp: lag)
        groups = {GROUP, "/aws/lambda/shop"}
        api = LogsApi(
            store, groups.__contains__, model=InsightsModel(**model), executor=executor or Inline(), region="eu-west-1"
        )
        worlds.append(World(store, api))
        return worlds[-1]

    yield make
    for world in worlds:
        world.api.close()
        world.store.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


# the window


def test_both_ends_of_the_window_belong_to_it(world: World) -> None:
    for after in (-0.001, 0, 5, 10, 10.001):
        world.write(after, str(after))
    assert world.messages(endTime=START + 10) == ["0", "5", "10"]


def test_a_window_of_one_second_is_one_instant(world: World) -> None:
    for after in (0, 0.5, 1):
        world.write(after, str(after))
    assert world.messages(endTime=START) == ["0"]


def test_an_event_is_visible_from_its_ingestion_on(make_world: Callable[..., World]) -> None:
    world = make_world(lag=60.0)
    world.now = START + 61.0
    world.write(0, "first")
    world.write(1, "second")
    world.write(1.001, "third")
    assert world.messages() == ["first", "second"]  # as it was when the query started
    assert world.messages() == ["first", "second", "third"]


def test_events_written_after_the_start_of_a_query_are_not_in_it(world: World) -> None:
    world.write(0, "before")
    query_id = world.start()
    world.write(1, "after")
    world.now += 1
    assert [as_dict(row)["@message"] for row in world.read(query_id)["results"]] == ["before"]


# the life of a query


def test_scheduled_then_running_with_part_of_the_rows_then_complete(world: World) -> None:
    for after in range(10):
        world.write(after, str(after))
    query_id = world.start()
    first = world.read(query_id)
    assert (first["status"], first["results"]) == ("Scheduled", [])
    world.now += 0.2
    second = world.read(query_id)
    assert (second["status"], len(second["results"])) == ("Running", 5)
    assert "nextToken" not in second
    world.now += 0.2
    third = world.read(query_id)
    assert (third["status"], len(third["results"])) == ("Complete", 10)
    assert third["queryLanguage"] == "CWLI"


def test_a_query_runs_as_long_as_its_work_takes(make_world: Callable[..., World]) -> None:
    world = make_world(executor=Waiting())
    query_id = world.start()
    world.now += 100
    assert world.read(query_id)["status"] == "Running"


def test_statistics(world: World) -> None:
    for index, message in enumerate(("é", "find me", "find me", "not")):
        world.write(index, message)
    world.write(0, "elsewhere", group="/aws/lambda/shop")
    query_id = world.start("filter @message like 'find' | limit 1")
    world.now += 1
    assert world.read(query_id)["statistics"] == {
        "recordsMatched": 2.0,
        "recordsScanned": 4.0,
        "bytesScanned": 2.0 + 7 + 7 + 3,
        "estimatedRecordsSkipped": 0.0,
        "estimatedBytesSkipped": 0.0,
        "logGroupsScanned": 1.0,
        "resultCount": 1.0,
    }


def test_rows_are_fields_and_strings_with_a_pointer(world: World) -> None:
    world.write(0.25, '{"level": "INFO"}')
    query_id = world.start("fields @timestamp, level, missing")
    world.now += 1
    assert world.read(query_id)["results"] == [
        [
            {"field": "@timestamp", "value": "2027-01-15 08:00:00.250"},
            {"field": "level", "value": "INFO"},
            {"field": "@ptr", "value": "0000000000000000"},
        ]
    ]


def test_aggregated_rows_have_no_pointer(world: World) -> None:
    world.write(0, "x")
    query_id = world.start("stats count(*)")
    world.now += 1
    assert world.read(query_id)["results"] == [[{"field": "count(*)", "value": "1"}]]


def test_stop(make_world: Callable[..., World]) -> None:
    world = make_world(executor=Waiting())
    query_id = world.start()
    assert world.client.stop_query(queryId=query_id)["success"] is True
    assert world.read(query_id)["status"] == "Cancelled"
    with pytest.raises(ClientError, match="InvalidParameterException"):
        world.client.stop_query(queryId=query_id)


def test_describe_queries_newest_first(world: World) -> None:
    first = world.start("fields a")
    world.now += 1
    second = world.start("fields b")
    described = world.client.describe_queries(logGroupName=GROUP)["queries"]
    assert [(query["queryId"], query["status"]) for query in described] == [(second, "Scheduled"), (first, "Complete")]
    complete = world.client.describe_queries(status="Complete")["queries"]
    assert [query["queryString"] for query in complete] == ["fields a"]


# how many rows


def test_ten_thousand_rows_unless_said_otherwise(world: World) -> None:
    for index in range(10_050):
        world.write(index / 100, str(index))
    newest = world.messages()
    assert (len(newest), newest[0], newest[-1]) == (10_000, "50", "10049")
    assert len(world.messages(limit=3)) == 3
    assert len(world.messages("fields @message | limit 7", limit=3)) == 7


def test_pages_give_every_row_once(world: World) -> None:
    for index in range(12_000):
        world.write(index / 100, str(index))
    query_id = world.start("fields @message | limit 100000")
    world.now += 1
    first = world.read(query_id)
    assert len(first["results"]) == 10_000
    second = world.read(query_id, nextToken=first["nextToken"], maxItems=1_500)
    third = world.read(query_id, nextToken=second["nextToken"])
    assert "nextToken" not in third
    rows = [*first["results"], *second["results"], *third["results"]]
    assert [as_dict(row)["@message"] for row in rows] == [str(index) for index in range(11_999, -1, -1)]


def test_old_results_are_forgotten_to_bound_the_memory(make_world: Callable[..., World]) -> None:
    world = make_world(kept_result_bytes=10_000)
    world.write(0, "x" * 6_000)
    queries = [world.start()]
    for _ in range(2):
        world.now += 1
        queries.append(world.start())
    world.now += 1
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        world.read(queries[0])
    assert len(world.read(queries[1])["results"]) == 1


# what is refused


def refusal(call: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as refused:
        call(*args, **kwargs)
    response: dict[str, Any] = refused.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return response


def test_a_malformed_query_says_where(world: World) -> None:
    response = refusal(world.start, "fields @message | fliter a = 1")
    assert response["Error"]["Code"] == "MalformedQueryException"
    assert response["queryCompileError"]["location"] == {"startCharOffset": 18, "endCharOffset": 24}
    assert response["queryCompileError"]["message"] == "unexpected 'fliter'"


def test_a_group_that_does_not_exist(world: World) -> None:
    for given in ({"logGroupName": "/no"}, {"logGroupName": None, "logGroupNames": [GROUP, "/no"]}):
        response = refusal(world.start, **given)
        assert response["Error"]["Code"] == "ResourceNotFoundException"
        assert "/no" in response["Error"]["Message"]


def test_groups_by_name_names_and_identifiers(world: World) -> None:
    world.write(0, "vote")
    world.write(1, "shop", group="/aws/lambda/shop")
    arn = "arn:aws:logs:eu-west-1:123456789012:log-group:"
    both = ["/aws/lambda/shop", GROUP, GROUP]
    assert world.messages(logGroupName=None, logGroupNames=both) == ["vote", "shop"]
    assert world.messages(logGroupName=None, logGroupIdentifiers=[arn + name for name in both]) == ["vote", "shop"]


@pytest.mark.parametrize(
    "given",
    [
        {"logGroupName": None},
        {"logGroupNames": [GROUP]},
        {"startTime": START + 2, "endTime": START + 1},
        {"limit": 100_001},
        {"logGroupName": None, "logGroupNames": [GROUP] * 51},
    ],
    ids=["no group", "two ways to say it", "ends before it starts", "limit", "51 groups"],
)
def test_parameters_that_cannot_be(world: World, given: dict[str, Any]) -> None:
    assert refusal(world.start, **given)["Error"]["Code"] == "InvalidParameterException"


def test_other_query_languages_are_refused(world: World) -> None:
    assert refusal(world.start, queryLanguage="SQL")["Error"]["Code"] == "MalformedQueryException"


def test_unknown_queries_and_tokens(world: World) -> None:
    world.write(0, "x")
    query_id = world.start()
    world.now += 1
    assert refusal(world.read, "nonsense")["Error"]["Code"] == "ResourceNotFoundException"
    assert refusal(world.read, query_id, nextToken="nonsense")["Error"]["Code"] == "InvalidParameterException"
    assert refusal(world.read, query_id, maxItems=10_001)["Error"]["Code"] == "InvalidParameterException"
    assert refusal(world.client.stop_query, queryId="nonsense")["Error"]["Code"] == "ResourceNotFoundException"


def test_the_limit_of_concurrent_queries(make_world: Callable[..., World]) -> None:
    world = make_world(concurrent_queries=2)
    world.start()
    world.start()
    response = refusal(world.start)
    assert response["Error"]["Code"] == "LimitExceededException"
    assert response["Error"]["Message"] == "Account maximum query concurrency limit of [2] reached."
    world.now += 0.5
    world.start()  # the others are complete


def test_at_most_ten_starts_and_ten_reads_a_second(world: World) -> None:
    queries = [world.start() for _ in range(10)]
    assert refusal(world.start)["Error"]["Code"] == "ThrottlingException"
    for query_id in queries:
        world.read(query_id)
    assert refusal(world.read, queries[0])["Error"]["Code"] == "ThrottlingException"
    world.now += 1
    world.read(world.start())


class Failing(Inline):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def fail() -> None:
            raise QueryFailed("no room left")

        return super().submit(fail)


def test_a_query_that_fails_says_so(make_world: Callable[..., World]) -> None:
    world = make_world(executor=Failing())
    query_id = world.start()
    world.now += 1
    answer = world.read(query_id)
    assert (answer["status"], answer["results"]) == ("Failed", [])


# events without a query


@pytest.fixture
def events(world: World) -> World:
    for index in range(10):
        world.write(index, f"line {index} of {'even' if index % 2 == 0 else 'odd'}", stream=f"s{index % 2}")
    return world


def test_get_log_events_newest_last_and_back(events: World) -> None:
    def page(**given: Any) -> dict[str, Any]:
        answer: dict[str, Any] = events.client.get_log_events(logGroupName=GROUP, logStreamName="s0", limit=2, **given)
        return answer

    def numbers(answer: dict[str, Any]) -> list[str]:
        return [event["message"].split()[1] for event in answer["events"]]

    last = page()
    assert numbers(last) == ["6", "8"]
    assert last["events"][0] == {
        "timestamp": (START + 6) * 1000,
        "message": "line 6 of even",
        "ingestionTime": (START + 6) * 1000,
    }
    before = page(nextToken=last["nextBackwardToken"])
    assert numbers(before) == ["2", "4"]
    assert numbers(page(nextToken=before["nextForwardToken"])) == ["6", "8"]
    end = page(nextToken=last["nextForwardToken"])
    assert (numbers(end), end["nextForwardToken"]) == ([], last["nextForwardToken"])
    events.write(11, "line 11", stream="s0")
    assert numbers(page(nextToken=end["nextForwardToken"])) == ["11"]
    assert numbers(page(startFromHead=True)) == ["0", "2"]
    assert numbers(page(startFromHead=True, startTime=(START + 2) * 1000, endTime=(START + 4) * 1000)) == ["2"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "0123456789"),
        ({"filterPattern": "even"}, "02468"),
        ({"filterPattern": 'line "3 of"'}, "3"),
        ({"filterPattern": "?3 ?5 line"}, "35"),
        ({"filterPattern": "line -even"}, "13579"),
        ({"filterPattern": "Even"}, ""),
        ({"logStreamNames": ["s1"]}, "13579"),
        ({"logStreamNamePrefix": "s0"}, "02468"),
        ({"startTime": (START + 3) * 1000, "endTime": (START + 5) * 1000}, "34"),
    ],
)
def test_filter_log_events(events: World, given: dict[str, Any], found: str) -> None:
    pages = events.client.get_paginator("filter_log_events").paginate(
        logGroupName=GROUP, PaginationConfig={"PageSize": 2}, **given
    )
    assert [event["message"].split()[1] for page in pages for event in page["events"]] == list(found)


def test_filter_log_events_refuses_patterns_it_does_not_know(events: World) -> None:
    for pattern in ('{ $.level = "ERROR" }', "[a, b]", "%re%", '"open'):
        response = refusal(events.client.filter_log_events, logGroupName=GROUP, filterPattern=pattern)
        assert response["Error"]["Code"] == "InvalidParameterException"


def test_a_page_of_events_has_at_most_a_megabyte(world: World) -> None:
    for index in range(3):
        world.write(index, str(index) * 600_000)
    pages = world.client.get_paginator("filter_log_events").paginate(logGroupName=GROUP)
    assert [[event["message"][0] for event in page["events"]] for page in pages] == [["0"], ["1"], ["2"]]
    answer = world.client.get_log_events(logGroupName=GROUP, logStreamName="s1")
    assert [event["message"][0] for event in answer["events"]] == ["2"]


def test_events_put_by_others_are_in_the_same_store(world: World) -> None:
    events = [{"timestamp": (START + after) * 1000 + 7, "message": f"mine {after}"} for after in (1, 2)]
    world.client.put_log_events(logGroupName=GROUP, logStreamName="own", logEvents=events)
    assert world.messages() == ["mine 1", "mine 2"]
    found = world.client.get_log_events(logGroupName=GROUP, logStreamName="own")["events"]
    assert [(event["timestamp"], event["message"]) for event in found] == [
        ((START + 1) * 1000 + 7, "mine 1"),
        ((START + 2) * 1000 + 7, "mine 2"),
    ]
    response = refusal(
        world.client.put_log_events, logGroupName=GROUP, logStreamName="own", logEvents=[events[1], events[0]]
    )
    assert response["Error"]["Code"] == "InvalidParameterException"


def test_describe_log_streams(events: World) -> None:
    streams = events.client.describe_log_streams(logGroupName=GROUP)["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == ["s0", "s1"]
    assert streams[0]["firstEventTimestamp"] == START * 1000
    assert streams[0]["lastEventTimestamp"] == (START + 8) * 1000
    newest = events.client.describe_log_streams(logGroupName=GROUP, orderBy="LastEventTime", descending=True, limit=1)
    assert [stream["logStreamName"] for stream in newest["logStreams"]] == ["s1"]
    assert newest["nextToken"]


def test_events_of_a_group_that_does_not_exist(world: World) -> None:
    client = world.client
    for call in (
        lambda: client.get_log_events(logGroupName="/no", logStreamName="s"),
        lambda: client.filter_log_events(logGroupName="/no"),
        lambda: client.describe_log_streams(logGroupName="/no"),
    ):
        assert refusal(call)["Error"]["Code"] == "ResourceNotFoundException"


def test_other_actions_are_left_to_moto(world: World) -> None:
    assert world.api.handle("CreateLogGroup", {"logGroupName": "/x"}, world.now) is None


def test_reset_forgets_the_queries(world: World) -> None:
    query_id = world.start()
    world.api.reset()
    assert refusal(world.read, query_id)["Error"]["Code"] == "ResourceNotFoundException"
