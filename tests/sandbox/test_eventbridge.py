"""PutEvents, and what arrives behind a rule."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.clock import VirtualScheduler
from sandbox.definitions import EventRule, FunctionDefinition
from sandbox.faults import Faults, parse_faults
from sandbox.model.parameters import ChainParameters
from sandbox.services.eventbridge import EventBridgeService
from sandbox.truth import Truth
from tests.sandbox.boto3_in_process import answered_by, boto3_client
from tests.sandbox.test_queue_consumer import FUNCTION

START = 1_800_000_000.5
ENTRY = {"EventBusName": "app-orders", "Source": "shop", "DetailType": "order", "Detail": '{"correlation_id":"c-1"}'}


class Buses:
    def event_rules(self, bus: str, region: str) -> Sequence[EventRule] | None:
        return (EventRule("rule", self._matches, (FUNCTION.arn,)),) if bus == "app-orders" else None

    @staticmethod
    def _matches(event: Mapping[str, Any]) -> bool:
        return bool(event["detail-type"] == "order")

    def function(self, name: str, qualifier: str | None = None) -> FunctionDefinition | None:
        return FUNCTION if name == FUNCTION.arn else None

    def logical_name(self, physical_name: str) -> str:
        return physical_name.removeprefix("app-")


class World:
    def __init__(self, puts_per_s: float = 1000.0) -> None:
        self.clock, self.faults = VirtualScheduler(START), Faults(seed=1)
        self.truth = Truth({"orders": ChainParameters(first="bus/orders", last="f")})
        self.received: list[tuple[float, dict[str, Any]]] = []
        bridge = EventBridgeService(
            self.clock,
            Buses(),
            self,
            self.faults,
            self.truth,
            delivery_s=0.06,
            puts_per_s=puts_per_s,
            rng=random.Random(1),
        )
        self.client = boto3_client(answered_by(bridge.handle), "events")

    def invoke_async(self, function: FunctionDefinition, payload: bytes) -> str:
        self.received.append((round(self.clock.now() - START, 3), json.loads(payload)))
        return "id"

    def put(self, *entries: dict[str, str]) -> Any:
        return self.client.put_events(Entries=list(entries))


@pytest.fixture
def world() -> World:
    return World()


def test_a_matching_event_reaches_the_function_after_the_latency(world: World) -> None:
    answer = world.put(ENTRY)
    assert (answer["FailedEntryCount"], world.truth.pending) == (0, 1)
    world.clock.run_all()
    ((at, event),) = world.received
    assert at == 0.06
    assert event["id"] == answer["Entries"][0]["EventId"]
    assert (event["detail"], event["time"]) == ({"correlation_id": "c-1"}, "2027-01-15T08:00:00Z")
    assert (world.truth.pending, world.truth.messages) == (0, {"events": 1})
    assert world.truth.as_dict()["chains"]["orders"]["accepted"] == 1


def test_an_event_that_no_rule_matches_goes_nowhere(world: World) -> None:
    world.put({**ENTRY, "DetailType": "other"})
    world.clock.run_all()
    assert world.received == []


def test_an_unknown_bus_answers_alike_and_the_event_vanishes(world: World) -> None:
    assert world.put({**ENTRY, "EventBusName": "nowhere"})["FailedEntryCount"] == 0
    world.clock.run_all()
    assert world.received == []


def test_a_bad_entry_fails_alone(world: World) -> None:
    answer = world.put(ENTRY, {**ENTRY, "Detail": "[1]"})
    assert [entry.get("ErrorCode") for entry in answer["Entries"]] == [None, "MalformedDetail"]
    assert (answer["FailedEntryCount"], world.truth.messages) == (1, {"events": 1})


def test_more_than_ten_are_refused(world: World) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        world.put(*[ENTRY] * 11)


def test_calls_beyond_the_quota_fail_entry_by_entry() -> None:
    world = World(puts_per_s=1.0)
    assert world.put(ENTRY)["FailedEntryCount"] == 0
    answer = world.put(ENTRY, ENTRY)
    assert [entry["ErrorCode"] for entry in answer["Entries"]] == ["ThrottlingException"] * 2
    world.clock.run_until(START + 1)
    assert world.put(ENTRY)["FailedEntryCount"] == 0
    chain = world.truth.as_dict()["chains"]["orders"]
    assert (chain["sent"], chain["accepted"]) == (4, 2)


def test_faults_of_the_bus(world: World) -> None:
    world.faults.add(
        parse_faults(b'[{"kind":"drop","bus":"orders","count":1},{"kind":"duplicate","bus":"orders","count":1}]')
    )
    world.put(ENTRY, ENTRY, ENTRY)
    world.clock.run_all()
    assert len(world.received) == 3
