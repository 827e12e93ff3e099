"""The event source mapping: what reaches the function, when, and what happens when it fails."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from sandbox.clock import VirtualScheduler
from sandbox.definitions import FunctionDefinition, StreamSource
from sandbox.functions import InvokeResult
from sandbox.moto_bridge.resources import ShardRange
from sandbox.services.kinesis import KinesisService, ShardLimits
from sandbox.services.stream_consumer import StreamConsumer
from sandbox.truth import Truth

REGION = "eu-west-1"
START = 1_800_000_000.0
ARN = f"arn:aws:kinesis:{REGION}:123456789012:stream/app-votes"
FUNCTION = FunctionDefinition(
    name="app-tally",
    arn=f"arn:aws:lambda:{REGION}:123456789012:function:app-tally",
    version="$LATEST",
    handler="handler.tally",
    memory_mb=128,
    timeout_s=3.0,
    environment={},
    code_sha256="",
    code_zip=b"",
    log_group="/aws/lambda/app-tally",
)


def source(
    uuid: str = "one", batch_size: int = 100, window_s: float = 0.0, position: str = "TRIM_HORIZON"
) -> StreamSource:
    return StreamSource(uuid, "app-votes", ARN, "app-tally", None, batch_size, window_s, position)


class Resources:
    """One stream with `shards` even shards, and its mappings."""

    def __init__(self) -> None:
        self.generation = 1
        self.shards = 1
        self.sources: Sequence[StreamSource] = (source(),)
        self.exists = True
        self.stream_exists = True

    def open_shards(self, stream_name: str, region: str | None = None) -> Sequence[ShardRange] | None:
        if stream_name != "app-votes" or not self.stream_exists:
            return None
        width = 2**128 // self.shards
        return [ShardRange(f"shardId-{n:012d}", n * width, (n + 1) * width - 1) for n in range(self.shards)]

    def logical_name(self, physical: str) -> str:
        return physical.removeprefix("app-")

    def stream_sources(self) -> Sequence[StreamSource]:
        return self.sources

    def function(self, name: str, qualifier: str | None = None) -> FunctionDefinition | None:
        return FUNCTION if name == FUNCTION.arn and self.exists else None


class Functions:
    """Answers each invocation after `duration_s` with the next of `results`, else with success."""

    def __init__(self, clock: VirtualScheduler) -> None:
        self._clock = clock
        self.duration_s = 0.1
        self.results: list[InvokeResult] = []
        self.calls: list[tuple[float, list[str]]] = []
        self.events: list[Any] = []
        self.at_once = 0
        self.most_at_once = 0

    def invoke(self, function: FunctionDefinition, payload: bytes, on_done: Callable[[Any], None]) -> None:
        event = orjson.loads(payload)
        self.events.append(event)
        data = [base64.b64decode(record["kinesis"]["data"]).decode() for record in event["Records"]]
        self.calls.append((round(self._clock.now() - START, 3), data))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        result = self.results.pop(0) if self.results else answer(200)

        def done() -> None:
            self.at_once -= 1
            on_done(result)

        self._clock.at(self._clock.now() + self.duration_s, done)


def answer(status: int, function_error: str | None = None) -> InvokeResult:
    return InvokeResult(status, b"null", function_error, "$LATEST", "id")


class World:
    def __init__(self) -> None:
        self.clock = VirtualScheduler(START)
        self.truth = Truth()
        self.resources = Resources()
        self.kinesis = KinesisService(self.clock, self.resources, self.truth, ShardLimits(1000, 2**20, 2**20))
        self.functions = Functions(self.clock)
        self.ages: list[tuple[float, float]] = []
        self.consumer = StreamConsumer(
            self.clock,
            self.resources,
            self.kinesis,
            self.functions,
            self.truth,
            poll_interval_s=1.0,
            retry_pause_s=2.0,
            on_iterator_age=lambda function, at, age_ms: self.ages.append((round(at - START, 3), round(age_ms, 3))),
        )
        self.consumer.refresh()

    def put(self, *values: str, at: float | None = None, key: str = "k") -> None:
        if at is not None:
            self.clock.run_until(START + at)
        for value in values:
            self.kinesis.put_record(REGION, {"StreamName": "app-votes", "PartitionKey": key, "Data": value})


@pytest.fixture
def world() -> World:
    return World()


def change(world: World, **values: Any) -> None:
    for name, value in values.items():
        setattr(world.resources, name, value)
    world.resources.generation += 1
    world.consumer.refresh()


def test_records_reach_the_function_at_the_next_poll_in_order(world: World) -> None:
    world.put("a", "b", at=0.3)
    world.put("c", at=0.7)
    world.clock.run_all()
    assert world.functions.calls == [(1.0, ["a", "b", "c"])]
    assert world.truth.pending == 0


def test_the_event_has_lambdas_shape(world: World) -> None:
    world.put("vote", at=0.25)
    world.clock.run_all()
    (record,) = world.functions.events[0]["Records"]
    sequence_number = record["kinesis"]["sequenceNumber"]
    assert record == {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "k",
            "sequenceNumber": sequence_number,
            "data": "dm90ZQ==",
            "approximateArrivalTimestamp": START + 0.25,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000000:{sequence_number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/app-tally",
        "awsRegion": REGION,
        "eventSourceARN": ARN,
    }


def test_unconsumed_records_are_pending(world: World) -> None:
    world.put("a", "b", "c")
    assert world.truth.pending == 3
    world.clock.run_until(START + 1.05)
    assert world.truth.pending == 3  # the invocation is under way
    world.clock.run_until(START + 1.2)
    assert world.truth.pending == 0


def test_a_backlog_is_worked_off_in_batches_without_a_pause(world: World) -> None:
    change(world, sources=(source(batch_size=2),))
    world.put("a", "b", "c", "d", "e", at=0.5)
    world.clock.run_all()
    assert world.functions.calls == [(1.0, ["a", "b"]), (1.1, ["c", "d"]), (2.0, ["e"])]


def test_one_invocation_at_a_time_for_a_shard(world: World) -> None:
    world.functions.duration_s = 5.0
    for second in range(4):
        world.put(str(second), at=second + 0.5)
    world.clock.run_all()
    assert world.functions.most_at_once == 1
    assert [data for _, data in world.functions.calls] == [["0"], ["1", "2", "3"]]


def test_two_shards_are_read_side_by_side(world: World) -> None:
    change(world, shards=2)
    world.functions.duration_s = 5.0
    for key in "abcdefgh":
        world.put(key, key=key)
    world.clock.run_all()
    assert world.functions.most_at_once == 2
    assert sorted(value for _, data in world.functions.calls for value in data) == list("abcdefgh")


@pytest.mark.parametrize("failure", [answer(200, "Unhandled"), answer(429)])
def test_a_failed_batch_is_tried_again_until_it_succeeds_and_blocks_its_shard(
    world: World, failure: InvokeResult
) -> None:
    world.functions.results = [failure, failure]
    world.put("a", at=0.5)
    world.put("b", at=1.5)
    world.clock.run_until(START + 3.0)
    assert world.truth.pending == 2
    world.clock.run_all()
    # 1.0 fails at 1.1, +2 s pause; 3.1 fails at 3.2, +2 s
    assert world.functions.calls == [(1.0, ["a"]), (3.1, ["a"]), (5.2, ["a"]), (6.0, ["b"])]
    assert world.truth.pending == 0


def test_a_window_waits_for_the_batch_to_fill_but_not_longer(world: World) -> None:
    change(world, sources=(source(batch_size=3, window_s=2.5),))
    world.put("a", at=0.5)
    world.clock.run_until(START + 2.9)
    assert world.functions.calls == []
    world.clock.run_all()
    assert world.functions.calls == [(3.0, ["a"])]
    world.put("b", "c", "d", at=5.5)
    world.clock.run_all()
    assert world.functions.calls[1] == (6.0, ["b", "c", "d"])


def test_the_iterator_age_is_that_of_the_batchs_last_record(world: World) -> None:
    world.put("a", at=0.25)
    world.put("b", at=0.75)
    world.clock.run_all()
    assert world.ages == [(1.0, 250.0)]


def test_a_mapping_from_the_horizon_gets_what_was_there_before_it(world: World) -> None:
    change(world, sources=())
    world.put("a", "b")
    assert world.truth.pending == 0
    change(world, sources=(source("late"),))
    assert world.truth.pending == 2
    world.clock.run_all()
    assert [data for _, data in world.functions.calls] == [["a", "b"]]


def test_a_mapping_from_latest_gets_only_what_comes_after_it(world: World) -> None:
    change(world, sources=(), shards=2)
    for key in "abcdefgh":
        world.put("old", key=key)
    change(world, sources=(source("late", position="LATEST"),))
    for key in "abcdefgh":
        world.put("new", key=key)
    world.clock.run_all()
    assert {value for _, data in world.functions.calls for value in data} == {"new"}


def test_two_mappings_each_get_every_record(world: World) -> None:
    change(world, sources=(source("one"), source("two")))
    world.put("a")
    assert world.truth.pending == 2
    world.clock.run_all()
    assert [data for _, data in world.functions.calls] == [["a"], ["a"]]
    assert world.truth.pending == 0


def test_records_of_a_closed_shard_are_still_consumed(world: World) -> None:
    world.put("before", at=0.5)
    change(world, shards=2)
    world.put("after", at=0.6)
    world.clock.run_all()
    assert sorted(value for _, data in world.functions.calls for value in data) == ["after", "before"]


def test_a_deleted_mapping_leaves_nothing_pending(world: World) -> None:
    world.functions.results = [answer(200, "Unhandled")] * 100
    world.put("a")
    world.clock.run_until(START + 2.0)
    change(world, sources=())
    assert world.truth.pending == 0
    world.clock.run_all()
    assert world.truth.pending == 0
    assert len(world.functions.calls) == 1


def test_a_mapping_that_is_enabled_again_goes_on_where_it_left_off(world: World) -> None:
    world.put("a", at=0.5)
    world.clock.run_until(START + 2.0)
    change(world, sources=())  # disabled
    world.put("b")
    assert world.truth.pending == 0
    change(world, sources=(source(),))
    assert world.truth.pending == 1
    world.clock.run_all()
    assert [data for _, data in world.functions.calls] == [["a"], ["b"]]
    assert world.truth.pending == 0


def test_a_stream_deleted_and_made_again_begins_empty(world: World) -> None:
    world.put("old", at=0.5)
    change(world, sources=(), stream_exists=False)
    change(world, sources=(source("new"),), stream_exists=True)
    world.put("new")
    world.clock.run_all()
    assert [data for _, data in world.functions.calls] == [["new"]]
    assert world.truth.pending == 0


def test_a_missing_function_keeps_the_records_until_it_is_there(world: World) -> None:
    world.resources.exists = False
    world.put("a")
    world.clock.run_until(START + 10.0)
    assert world.truth.pending == 1
    world.resources.exists = True
    world.clock.run_all()
    assert [data for _, data in world.functions.calls] == [["a"]]


def test_records_wait_for_a_blocked_consumer_however_many_come(world: World) -> None:
    world.functions.results = [answer(200, "Unhandled")] * 20
    for second in range(10):
        world.put(*(f"{second}-{n}" for n in range(1000)), at=float(second))
    change(world, sources=(source(batch_size=10_000),))
    world.clock.run_all()
    delivered = [value for (_, data), event in zip(world.functions.calls, range(999), strict=False) for value in data]
    assert len(set(delivered)) == 10_000
    assert world.truth.pending == 0


def test_an_idle_consumer_schedules_nothing(world: World) -> None:
    world.put("a")
    world.clock.run_all()  # would never return otherwise
    assert world.clock.now() < START + 5


def given_up(world: World, **settings: Any) -> list[tuple[str, Any]]:
    """A world whose mapping has these settings; what its destination is told."""
    world.resources.sources = (replace(source(), **settings),)
    world.resources.generation += 1
    told: list[tuple[str, Any]] = []
    world.consumer._on_discarded = lambda arn, document: told.append((arn, orjson.loads(document)))
    return told


def test_a_record_that_never_succeeds_is_cut_out_given_up_and_told(world):
    told = given_up(world, max_retries=2, bisects=True, on_failure_arn="arn:aws:sqs:eu-west-1:1:dead")
    fails_on = b"bad"
    invoke = world.functions.invoke

    def fail_on_bad(function: Any, payload: bytes, on_done: Any) -> None:
        records = orjson.loads(payload)["Records"]
        bad = any(base64.b64decode(record["kinesis"]["data"]) == fails_on for record in records)
        world.functions.results = [answer(200, "Unhandled" if bad else None)]
        invoke(function, payload, on_done)

    world.functions.invoke = fail_on_bad
    for data in (b"a", b"b", fails_on, b"d", b"e"):
        world.kinesis.put_record(REGION, {"StreamName": "app-votes", "Data": data, "PartitionKey": "k"})
    world.clock.run_all()
    assert world.truth.pending == 0
    assert [data for _, data in world.functions.calls] == [
        ["a", "b", "bad", "d", "e"],
        ["a", "b"],
        ["bad", "d", "e"],
        ["bad"],  # tried again twice
        ["bad"],
        ["bad"],
        ["d", "e"],
    ]
    ((arn, document),) = told
    assert arn == "arn:aws:sqs:eu-west-1:1:dead"
    assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert document["KinesisBatchInfo"]["batchSize"] == 1


def test_a_refusal_uses_no_retry_up(world):
    told = given_up(world, max_retries=0)
    world.functions.results = [answer(429), answer(429), answer(200)]
    world.kinesis.put_record(REGION, {"StreamName": "app-votes", "Data": b"a", "PartitionKey": "k"})
    world.clock.run_all()
    assert (len(world.functions.calls), told, world.truth.pending) == (3, [], 0)
