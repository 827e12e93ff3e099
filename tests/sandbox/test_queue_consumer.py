"""The pollers of a queue in virtual time: batches, retries, dead letters, limits."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sandbox.clock import VirtualScheduler
from sandbox.definitions import FunctionDefinition, QueueDefinition, QueueSource
from sandbox.faults import Faults
from sandbox.invoke_results import InvokeResult, throttled
from sandbox.model.parameters import SqsParameters
from sandbox.services.queue_consumer import QueueConsumer
from sandbox.services.sqs import SqsService
from sandbox.truth import Truth
from tests.sandbox.boto3_in_process import REGION
from tests.sandbox.test_sqs import START, URL, Queues

ARN = f"arn:aws:sqs:{REGION}:123456789012:app-orders"
FUNCTION = FunctionDefinition(
    name="consumer",
    arn=f"arn:aws:lambda:{REGION}:123456789012:function:consumer",
    version="$LATEST",
    handler="handler.f",
    memory_mb=128,
    timeout_s=3.0,
    environment={},
    code_sha256="",
    code_zip=b"",
    log_group="g",
)
SOURCE = QueueSource("uuid", ARN, "consumer", None, 10, 0.0, None, reports_failures=True)
DURATION_S = 0.1


class Sources(Queues):
    def __init__(self) -> None:
        super().__init__()
        self.generation = 1
        self.sources: list[QueueSource] = [SOURCE]

    def queue_sources(self) -> Sequence[QueueSource]:
        return self.sources

    def function(self, name: str, qualifier: str | None = None) -> FunctionDefinition | None:
        return FUNCTION if name == FUNCTION.arn else None


class Functions:
    """Answers what `answer` makes of the messages' bodies, after DURATION_S."""

    def __init__(self, clock: VirtualScheduler) -> None:
        self.clock = clock
        self.batches: list[tuple[float, list[str]]] = []
        self.busy = self.most_busy = 0
        self.answer: Callable[[list[dict[str, Any]]], InvokeResult] = lambda records: succeeded()

    def invoke(self, function: FunctionDefinition, payload: bytes, on_done: Callable[[Any], None]) -> None:
        records = json.loads(payload)["Records"]
        self.batches.append((round(self.clock.now() - START, 3), [record["body"] for record in records]))
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)

        def done() -> None:
            self.busy -= 1
            on_done(self.answer(records))

        self.clock.at(self.clock.now() + DURATION_S, done)


def succeeded(payload: bytes = b"null") -> InvokeResult:
    return InvokeResult(200, payload, None, "$LATEST", "id")


def failed() -> InvokeResult:
    return InvokeResult(200, b"{}", "Unhandled", "$LATEST", "id")


class World:
    def __init__(self, **parameters: Any) -> None:
        self.clock = VirtualScheduler(START)
        self.truth, self.sources = Truth(), Sources()
        self.functions = Functions(self.clock)
        self.sqs = SqsService(
            self.clock, self.sources, Faults(), self.truth, duplicate_after_s=1.0, rng=random.Random(1)
        )
        self.consumer = QueueConsumer(
            self.clock, self.sources, self.sqs, self.functions, SqsParameters(delivery_ms=20.0, **parameters)
        )
        self.consumer.refresh()

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(REGION, {"QueueUrl": URL, "MessageBody": body})

    def map(self, **changes: Any) -> None:
        self.sources.sources = [replace(SOURCE, **changes)]
        self.sources.generation += 1
        self.consumer.refresh()

    def define(self, name: str, **changes: Any) -> None:
        self.sources.queues[name] = replace(self.sources.queues[name], **changes)

    @property
    def dead(self) -> int:
        return self.truth.queue("orders-dead").accepted


@pytest.fixture
def world() -> World:
    return World()


def test_messages_are_handed_over_together_and_deleted(world: World) -> None:
    world.send("a", "b")
    assert world.truth.pending == 2
    world.clock.run_all()
    assert world.functions.batches == [(0.02, ["a", "b"])]
    assert (world.truth.pending, world.truth.queue("orders").deleted) == (0, 2)


def test_a_failed_batch_comes_back_after_the_visibility_timeout_and_ends_as_dead_letters(world: World) -> None:
    world.functions.answer = lambda records: failed()
    world.send("a", "b")
    world.clock.run_all()
    assert world.functions.batches == [(0.02, ["a", "b"]), (30.04, ["a", "b"]), (60.06, ["a", "b"])]
    assert (world.dead, world.truth.queue("orders").dead_lettered, world.truth.pending) == (2, 2, 0)


def test_a_message_that_the_function_names_comes_back_alone(world: World) -> None:
    def answer(records: list[dict[str, Any]]) -> InvokeResult:
        failures = [{"itemIdentifier": r["messageId"]} for r in records if r["body"] == "bad"]
        return succeeded(json.dumps({"batchItemFailures": failures}).encode())

    world.functions.answer = answer
    world.send("good", "bad")
    world.clock.run_all()
    assert [bodies for _, bodies in world.functions.batches] == [["good", "bad"], ["bad"], ["bad"]]
    assert (world.dead, world.truth.queue("orders").deleted) == (1, 1)


@pytest.mark.parametrize(
    "payload", [b'{"batchItemFailures":[{"itemIdentifier":"other"}]}', b'{"batchItemFailures":[{"id":"x"}]}', b'"text"']
)
def test_an_answer_that_lambda_does_not_understand_fails_the_batch(world: World, payload: bytes) -> None:
    world.functions.answer = lambda records: succeeded(payload)
    world.send("a")
    world.clock.run_all()
    assert (len(world.functions.batches), world.dead) == (3, 1)


def test_without_report_batch_item_failures_an_answer_says_nothing(world: World) -> None:
    world.map(reports_failures=False)
    world.functions.answer = lambda records: succeeded(b'{"batchItemFailures":[{"itemIdentifier":"x"}]}')
    world.send("a")
    world.clock.run_all()
    assert world.truth.queue("orders").deleted == 1


def test_a_throttled_batch_is_tried_again_while_it_is_hidden() -> None:
    world = World(throttle_pause_s=1.0)
    answers = [throttled("ReservedFunctionConcurrentInvocationLimitExceeded", 1, "id")] * 2 + [succeeded()]
    world.functions.answer = lambda records: answers.pop(0)
    world.send("a")
    world.clock.run_all()
    assert [at for at, _ in world.functions.batches] == [0.02, 1.12, 2.22]
    assert world.truth.queue("orders").as_dict() == {"accepted": 1, "received": 1, "deleted": 1, "dead_lettered": 0}


def test_what_is_throttled_for_too_long_is_received_again_and_dies_in_the_end() -> None:
    world = World(throttle_pause_s=10.0)
    world.functions.answer = lambda records: throttled("ConcurrentInvocationLimitExceeded", 1, "id")
    world.send("a")
    world.clock.run_all()
    assert (world.truth.queue("orders").received, world.dead, world.truth.pending) == (3, 1, 0)


def test_batches_are_no_larger_than_the_mapping_says(world: World) -> None:
    world.map(batch_size=3)
    world.send(*"abcdefgh")
    world.clock.run_all()
    assert [len(bodies) for _, bodies in world.functions.batches] == [3, 3, 2]


def test_a_window_gathers_a_batch_unless_it_is_full_before(world: World) -> None:
    world.map(window_s=5.0, batch_size=3)
    world.send("a", "b")
    world.clock.run_until(START + 2)
    assert world.functions.batches == []
    world.send("c")
    world.clock.run_until(START + 3)
    assert world.functions.batches == [(2.02, ["a", "b", "c"])]
    world.send("d")
    world.clock.run_all()
    assert world.functions.batches[1] == (8.0, ["d"])


def test_five_batches_at_once_at_first_then_more_each_minute() -> None:
    world = World(pollers_added_per_minute=0.0)
    world.map(batch_size=1)
    world.send(*map(str, range(20)))
    world.clock.run_all()
    assert world.functions.most_busy == 5

    world = World(pollers_added_per_minute=600.0)
    world.map(batch_size=1)
    world.send(*map(str, range(50)))
    world.clock.run_all()
    assert 6 <= world.functions.most_busy <= 10


def test_a_mapping_can_limit_its_concurrency(world: World) -> None:
    world.map(batch_size=1, max_concurrency=2)
    world.send(*map(str, range(6)))
    world.clock.run_all()
    assert (world.functions.most_busy, len(world.functions.batches)) == (2, 6)


def test_a_deleted_mapping_leaves_the_messages_where_they_are(world: World) -> None:
    world.sources.sources = []
    world.sources.generation += 1
    world.consumer.refresh()
    world.send("a")
    world.clock.run_all()
    assert (world.functions.batches, world.truth.pending) == ([], 0)
    world.map()
    assert world.truth.pending == 1
    world.clock.run_all()
    assert (len(world.functions.batches), world.truth.pending) == (1, 0)


def test_a_deleted_queue_leaves_nothing_pending(world: World) -> None:
    world.send("a")
    definitions: dict[str, QueueDefinition] = world.sources.queues
    del definitions["app-orders"]
    world.sources.sources = []
    world.sources.generation += 1
    world.consumer.refresh()
    world.clock.run_all()
    assert (world.functions.batches, world.truth.pending) == ([], 0)
