"""The whole sandbox in virtual time: the sample applications deployed, minutes of load in seconds."""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from sandbox.api_requests import ApiResponse
from sandbox.faults import parse_faults
from tests.sandbox.boto3_in_process import REGION
from tests.sandbox.deployed import Deployed
from tests.sandbox.lab import START


@pytest.fixture
def deploy() -> Iterator[Any]:
    made: list[Deployed] = []

    def make(seed: int = 1, **parameters: str) -> Deployed:
        made.append(Deployed(seed, **parameters))
        return made[-1]

    yield make
    for deployed in made:
        deployed.sandbox.close()


def vote_stress(deployed: Deployed, seconds: float, users: int = 1000, pacing_s: float = 0.96) -> Counter[int]:
    """Users who each send a vote every 0.96 s, from a random moment on: 1,042 a second."""
    statuses: Counter[int] = Counter()
    rng = random.Random(7)

    def user(number: int, at: float) -> None:
        def answered(answer: ApiResponse) -> None:
            statuses[answer.status] += 1

        def send() -> None:
            vote = {"vote_id": "poll", "token": f"token-{number}-{at}", "vote_choice": "yes"}
            deployed.post("/vote", vote, answered)
            user(number, at + pacing_s)

        if at < START + seconds:
            deployed.clock.at(at, send)

    for number in range(users):
        user(number, START + rng.random() * pacing_s)
    deployed.clock.run_until(START + seconds + 40)
    return statuses


def test_vote_stress_fails_at_four_percent_on_one_shard(deploy):
    deployed = deploy()
    statuses = vote_stress(deployed, seconds=4)
    truth = deployed.sandbox.truth.as_dict()
    assert statuses[502] / statuses.total() == pytest.approx(0.04, abs=0.01)
    assert set(statuses) == {200, 502}
    assert truth["streams"]["votes"] == {"accepted": statuses[200], "throttled": statuses[502]}
    assert truth["functions"]["place-vote"]["errors"] == statuses[502]
    assert truth["pending"] == 0
    (item,) = deployed.client("dynamodb").scan(TableName=deployed.outputs["VotesTableName"])["Items"]
    assert int(item["total"]["N"]) == statuses[200]


def test_vote_stress_succeeds_on_two_shards(deploy):
    statuses = vote_stress(deploy(ShardCount="2"), seconds=2)
    assert set(statuses) == {200}


def test_seven_of_500_dropped_and_five_doubled_are_seven_lost_and_five_duplicated(deploy):
    deployed = deploy(2)
    key_id = deployed.outputs["ShopKeyId"]
    public: Any = serialization.load_der_public_key(
        deployed.sandbox.kms.get_public_key(REGION, {"KeyId": key_id})["PublicKey"]
    )
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    sale = json.dumps([{"item_no": 90001, "number": 5, "turnover": 5}]).encode()
    content = base64.b64encode(public.encrypt(sale, oaep)).decode()
    deployed.sandbox.faults.add(
        parse_faults(
            b'[{"kind":"drop","topic":"sales","count":7,"of":500},'
            b'{"kind":"duplicate","topic":"decrypted-sales","count":5,"of":493}]'
        )
    )
    statuses: list[int] = []
    for number in range(500):
        message = {"shop_id": "s", "content_base64": content, "correlation_id": f"m-{number}"}
        deployed.clock.run_until(START + number * 0.1)
        deployed.post("/shop", message, lambda answer: statuses.append(answer.status))
    deployed.clock.run_all()
    truth = deployed.sandbox.truth.as_dict()
    assert statuses == [200] * 500
    assert truth["chains"]["shop"] == {"sent": 500, "accepted": 500, "completed": 493, "lost": 7, "duplicated": 5}
    assert truth["pending"] == 0
    items = deployed.client("dynamodb").scan(TableName=deployed.outputs["ShopsTableName"])["Items"]
    assert [int(item["gross_number"]["N"]) for item in items] == [5 * (493 + 5)]


def test_orders_reach_their_consumers_and_the_poisoned_ones_the_dead_letters(deploy):
    deployed = deploy(QueueVisibilityTimeout="20", QueueMaxReceiveCount="2")
    sandbox, outputs = deployed.sandbox, deployed.outputs

    def order(number: int, **more: Any) -> str:
        return json.dumps({"number": 1, "correlation_id": f"m-{number}", **more})

    for number in range(30):
        body = order(number, poison=True) if number in (7, 21) else order(number)
        sandbox.sqs.send_message(REGION, {"QueueUrl": outputs["EventsQueueUrl"], "MessageBody": body})
        sandbox.sns.publish(REGION, {"TopicArn": outputs["EventsTopicArn"], "Message": order(number)})
        event = {"Source": "swarmscope.load", "DetailType": "order", "Detail": order(number)}
        sandbox.eventbridge.put_events(REGION, {"Entries": [{**event, "EventBusName": outputs["EventsBusName"]}]})
        record = {"Data": order(number).encode(), "PartitionKey": "k"}
        sandbox.kinesis.put_record(REGION, {"StreamName": outputs["EventsStreamName"], **record})
    deployed.clock.run_all()
    truth = sandbox.truth.as_dict()
    assert truth["pending"] == 0
    whole = {"sent": 30, "accepted": 30, "completed": 30, "lost": 0, "duplicated": 0}
    assert {name: counts for name, counts in truth["chains"].items() if counts["sent"]} == {
        "events-queue": whole | {"completed": 28, "lost": 2},
        "events-topic": whole,
        "events-bus": whole,
        "events-stream": whole,
    }
    assert truth["queues"]["events"] == {"accepted": 30, "received": 32, "deleted": 28, "dead_lettered": 2}
    dead = sandbox.sqs.receive_message(
        REGION, {"QueueUrl": outputs["EventsDeadLetterQueueUrl"], "MaxNumberOfMessages": 10}
    )
    assert {json.loads(message["Body"])["correlation_id"] for message in dead["Messages"]} == {"m-7", "m-21"}


def test_a_reset_of_resources_leaves_nothing(deploy):
    deployed = deploy()
    deployed.sandbox.reset(resources=True)
    assert deployed.sandbox.gateway.stage(None, "prod") is None
    assert deployed.client("cloudformation").list_stacks()["StackSummaries"] == []


def test_metrics_that_the_handlers_write_count_what_the_truth_counts(deploy):
    deployed = deploy(MetricsNamespace="Swarm")
    vote_stress(deployed, 2.0)
    truth, metrics = deployed.function("place-vote"), deployed.sandbox.metrics

    def total(name: str) -> float:
        # At any time: handlers look at the machine's clock, not at the virtual one.
        return sum(metrics.values("Swarm", name, (("function", "place-vote"),), 0, 2**32, 60, "Sum").values())

    assert total("Success") + total("Failure") == truth.invocations > 1000
    assert (total("Failure"), total("VotesAccepted")) == (truth.errors, truth.invocations - truth.errors)
