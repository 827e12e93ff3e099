"""Queues in virtual time: visibility, dead letters, faults, and what boto3 makes of the answers."""

from __future__ import annotations

import random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.clock import VirtualScheduler
from sandbox.definitions import QueueDefinition
from sandbox.faults import Faults, parse_faults
from sandbox.services.sqs import SqsService
from sandbox.truth import Truth
from tests.sandbox.boto3_in_process import REGION, answered_by, boto3_client

START = 1_800_000_000.0
URL = f"https://sqs.{REGION}.amazonaws.com/123456789012/app-orders"
DEAD_URL = f"{URL}-dead"


def queue(name: str, **more: Any) -> QueueDefinition:
    settings: dict[str, Any] = {
        "visibility_timeout_s": 30.0,
        "delay_s": 0.0,
        "message_max_bytes": 1000,
        "wait_s": 0.0,
        "dead_letter_arn": None,
        "max_receive_count": None,
    }
    return QueueDefinition(name=name, arn=f"arn:aws:sqs:{REGION}:123456789012:{name}", **settings | more)


class Queues:
    def __init__(self) -> None:
        dead = queue("app-orders-dead")
        orders = queue("app-orders", dead_letter_arn=dead.arn, max_receive_count=3)
        self.queues = {dead.name: dead, orders.name: orders}

    def queue(self, name: str, region: str) -> QueueDefinition | None:
        return self.queues.get(name) if region == REGION else None

    def logical_name(self, physical_name: str) -> str:
        return physical_name.removeprefix("app-")


class World:
    def __init__(self) -> None:
        self.clock = VirtualScheduler(START)
        self.truth, self.faults, self.queues = Truth(), Faults(seed=1), Queues()
        self.sqs = SqsService(
            self.clock, self.queues, self.faults, self.truth, duplicate_after_s=1.0, rng=random.Random(1)
        )
        self.client = boto3_client(answered_by(self.sqs.handle), "sqs")

    def send(self, body: str = "hello", **more: Any) -> str:
        message_id: str = self.client.send_message(QueueUrl=URL, MessageBody=body, **more)["MessageId"]
        return message_id

    def receive(self, url: str = URL, **more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"], **more
        ).get("Messages", [])
        return found

    def pass_s(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now() + seconds)


@pytest.fixture
def world() -> World:
    return World()


def test_a_message_arrives_with_its_attributes(world: World) -> None:
    attributes = {"correlation_id": {"DataType": "String", "StringValue": "c-1"}}
    message_id = world.send(MessageAttributes=attributes)
    (message,) = world.receive(MessageAttributeNames=["All"])
    assert (message["MessageId"], message["Body"], message["MessageAttributes"]) == (message_id, "hello", attributes)
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert message["Attributes"]["SentTimestamp"] == "1800000000000"


def test_a_received_message_is_hidden_until_its_visibility_timeout(world: World) -> None:
    world.send()
    assert len(world.receive()) == 1
    world.pass_s(29.9)
    assert world.receive() == []
    world.pass_s(0.1)
    assert [message["Attributes"]["ApproximateReceiveCount"] for message in world.receive()] == ["2"]


def test_a_deleted_message_is_gone(world: World) -> None:
    world.send()
    (message,) = world.receive()
    world.client.delete_message(QueueUrl=URL, ReceiptHandle=message["ReceiptHandle"])
    world.pass_s(100)
    assert world.receive() == []


def test_an_old_receipt_deletes_nothing(world: World) -> None:
    world.send()
    (message,) = world.receive()
    world.pass_s(30)
    world.client.delete_message(QueueUrl=URL, ReceiptHandle=message["ReceiptHandle"])
    assert len(world.receive()) == 1


def test_a_longer_visibility_holds_and_none_gives_back_at_once(world: World) -> None:
    world.send()
    (message,) = world.receive()
    receipt = {"QueueUrl": URL, "ReceiptHandle": message["ReceiptHandle"]}
    world.client.change_message_visibility(**receipt, VisibilityTimeout=100)
    world.pass_s(99)
    assert world.receive() == []
    world.client.change_message_visibility(**receipt, VisibilityTimeout=0)
    world.pass_s(0)
    assert len(world.receive()) == 1


def test_after_max_receive_count_it_is_a_dead_letter(world: World) -> None:
    message_id = world.send()
    for _ in range(3):
        assert len(world.receive()) == 1
        world.pass_s(30)
    assert world.receive() == []
    assert [message["MessageId"] for message in world.receive(DEAD_URL)] == [message_id]
    assert world.truth.queue("orders").as_dict() == {"accepted": 1, "received": 3, "deleted": 0, "dead_lettered": 1}
    assert world.truth.queue("orders-dead").accepted == 1


def test_delays_are_kept(world: World) -> None:
    world.send(DelaySeconds=5)
    assert world.receive() == []
    assert world.sqs.counts(REGION, {"QueueUrl": URL})["ApproximateNumberOfMessagesDelayed"] == "1"
    world.pass_s(5)
    assert len(world.receive()) == 1


def test_a_batch_tells_which_messages_were_refused(world: World) -> None:
    entries = [{"Id": "a", "MessageBody": "x"}, {"Id": "b", "MessageBody": "x" * 1001}]
    answer = world.client.send_message_batch(QueueUrl=URL, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["a"]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("b", "InvalidParameterValue")]
    assert world.truth.messages == {"sqs": 1}


def test_a_queue_that_does_not_exist(world: World) -> None:
    with pytest.raises(ClientError, match="QueueDoesNotExist"):
        world.client.send_message(QueueUrl=f"{URL}s", MessageBody="x")


def test_a_queue_that_comes_again_begins_empty(world: World) -> None:
    world.send()
    gone = world.queues.queues.pop("app-orders")
    world.sqs.refresh()
    world.queues.queues["app-orders"] = gone
    assert world.receive() == []


def test_dropped_doubled_and_late_messages(world: World) -> None:
    world.faults.add(
        parse_faults(
            b'[{"kind":"drop","queue":"orders","count":1},{"kind":"duplicate","queue":"orders","count":1},'
            b'{"kind":"delay","queue":"orders","count":1,"delay_s":9}]'
        )
    )
    for body in ("lost", "doubled", "late", "plain"):
        world.send(body)
    assert [message["Body"] for message in world.receive()] == ["doubled", "plain"]
    world.pass_s(1)
    assert [message["Body"] for message in world.receive()] == ["doubled"]
    world.pass_s(8)
    assert [message["Body"] for message in world.receive()] == ["late"]


def test_a_long_poll_for_which_nothing_comes_answers_nothing_when_its_time_is_over(world: World) -> None:
    answers: list[Any] = []
    world.sqs.receive(b'{"QueueUrl":"%s","WaitTimeSeconds":1}' % URL.encode(), REGION, answers.append)
    world.pass_s(0.9)
    assert answers == []
    world.pass_s(0.2)
    assert answers == [(200, {})]


def test_a_long_poll_answers_when_a_message_comes(world: World) -> None:
    answers: list[Any] = []
    body = b'{"QueueUrl":"%s","WaitTimeSeconds":20}' % URL.encode()
    world.sqs.receive(body, REGION, lambda answer: answers.append((world.clock.now() - START, answer[1])))
    world.pass_s(3)
    assert answers == []
    world.send()
    world.pass_s(1)
    ((at, answer),) = answers
    assert 3 <= at < 3.2
    assert len(answer["Messages"]) == 1
    world.sqs.receive(body, REGION, lambda answer: answers.append((world.clock.now() - START, answer[1])))
    world.clock.run_all()
    assert answers[1][1] == {} or answers[1][1]["Messages"]
