"""Messages and asynchronous invocations against sandboxes that know the truth."""

from __future__ import annotations

import pytest

from analysis.truth import compare
from tests.end_to_end.test_truth_of_runs import Case, Outcome, run_case

pytestmark = pytest.mark.timeout(600)  # a run from end to end, on a machine that may be slow

ORDERS = """
description = "batches of five to a queue, a topic, a bus and a stream that takes 40 records a second"
flows = ["events"]
pacing = "0.5s"
poison_share = 0.03
chain_limit = "30s"
[[stages]]
duration = "6s"
users = 30
spawn_rate = 30
"""

QUEUED = """
description = "votes by asynchronous invocation"
flows = ["direct"]
pacing = "0.5s"
[[stages]]
duration = "5s"
users = 10
spawn_rate = 10
"""

EVENTS = Case(
    "every kind of event",
    5,
    ORDERS,
    [
        {"kind": "drop", "queue": "events", "count": 4, "of": 100},
        {"kind": "duplicate", "queue": "events", "count": 3, "of": 100},
        {"kind": "delay", "queue": "events", "count": 3, "of": 100, "delay_s": 2},
        {"kind": "drop", "topic": "events", "count": 2, "of": 100},
        {"kind": "duplicate", "bus": "events", "count": 2, "of": 100},
        {"kind": "fail", "function": "stream-consumer", "count": 1, "of": 5},
        {"kind": "throttle", "function": "queue-consumer", "count": 2, "of": 20},
    ],
    parameters=("QueueVisibilityTimeout=2", "ConsumerTimeout=1"),
    variables={"EVENT_BATCH": "5"},
)
ASYNCHRONOUS = Case(
    "asynchronous invocations",
    6,
    QUEUED,
    [{"kind": "fail", "function": "place-vote", "count": 4, "of": 50}],
    variables={"INVOCATION_TYPE": "Event"},
)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_case(EVENTS, tmp_path_factory.mktemp("events"))


@pytest.fixture(scope="module")
def asynchronous(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_case(ASYNCHRONOUS, tmp_path_factory.mktemp("asynchronous"))


def test_every_count_of_the_events_equals_the_truth(events):
    assert [c for c in compare(events.summary, events.truth) if not c.equal] == [], events.output[-3000:]
    assert events.summary["run"]["complete"] is True, events.summary["run"]["warnings"]
    assert events.truth["pending"] == 0
    assert min(events.truth["messages"].values()) > 100


def test_each_kind_of_event_is_a_chain(events):
    chains = {name: chain for name, chain in events.summary["chains"].items() if name.startswith("events-")}
    assert set(chains) == {"events-queue", "events-topic", "events-bus", "events-stream"}
    assert all(chain["end_to_end_ms"]["p50"] > 0 for chain in chains.values())
    assert chains["events-queue"]["duplicated"] >= 2  # a poisoned one among them completes never
    assert chains["events-stream"]["lost"] == 0


def test_what_the_queue_lost_is_what_was_dropped_or_ended_as_a_dead_letter(events):
    queue = events.truth["queues"]["events"]
    lost = events.summary["chains"]["events-queue"]["lost"]
    assert queue["dead_lettered"] == events.truth["queues"]["events-dead"]["accepted"] > 0
    assert queue["dead_lettered"] - 3 <= lost - 4 <= queue["dead_lettered"]  # a doubled poisoned one dies twice


def test_refused_records_inside_a_200_are_failures(events):
    endpoint = events.summary["client"]["endpoints"]["PutRecords to Kinesis"]
    assert endpoint["failures"] == events.truth["streams"]["events"]["throttled"] > 0
    assert set(endpoint["status"]) == {"200"}


def test_asynchronous_invocations_are_joined_and_equal_the_truth(asynchronous):
    assert [c for c in compare(asynchronous.summary, asynchronous.truth) if not c.equal] == []
    join = asynchronous.summary["join"]
    assert join["requests"] == join["matched"] > 50
    assert asynchronous.summary["functions"]["place-vote"]["errors"] >= 4
    assert asynchronous.summary["client"]["failures"] == 0
