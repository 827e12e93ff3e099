"""Publishing, and what arrives at the subscribed functions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from sandbox.clock import VirtualScheduler
from sandbox.definitions import FunctionDefinition
from sandbox.faults import Faults, parse_faults
from sandbox.services.errors import AwsError
from sandbox.services.sns import SnsService
from sandbox.truth import Truth
from tests.sandbox.boto3_in_process import REGION, answered_by, boto3_client
from tests.sandbox.lab import Metrics

START = 1_800_000_000.5  # 2027-01-15T08:00:00.500Z
TOPIC = f"arn:aws:sns:{REGION}:123456789012:app-sales"
FUNCTION_ARN = f"arn:aws:lambda:{REGION}:123456789012:function:app-decrypt"
FUNCTION = FunctionDefinition(
    name="app-decrypt",
    arn=FUNCTION_ARN,
    version="$LATEST",
    handler="handler.decrypt",
    memory_mb=128,
    timeout_s=3.0,
    environment={},
    code_sha256="",
    code_zip=b"",
    log_group="/aws/lambda/app-decrypt",
)


class Topics:
    """One topic with one subscribed function."""

    def __init__(self) -> None:
        self.subscriptions = [(f"{TOPIC}:sub", FUNCTION_ARN)]
        self.functions = {FUNCTION_ARN: FUNCTION}

    def subscribed_functions(self, topic_arn: str) -> Sequence[tuple[str, str]]:
        return self.subscriptions if topic_arn == TOPIC else ()

    def topic_exists(self, topic_arn: str) -> bool:
        return topic_arn == TOPIC

    def function(self, name: str, qualifier: str | None = None) -> FunctionDefinition | None:
        return self.functions.get(name)

    def logical_name(self, physical_name: str) -> str:
        return physical_name.removeprefix("app-")


class Functions:
    def __init__(self, clock: VirtualScheduler) -> None:
        self._clock = clock
        self.received: list[tuple[float, dict[str, Any]]] = []

    def invoke_async(self, function: FunctionDefinition, payload: bytes) -> str:
        assert function is FUNCTION
        (record,) = orjson.loads(payload)["Records"]
        self.received.append((round(self._clock.now() - START, 3), record))
        return "id"


class World:
    def __init__(self, messages_per_s: float = 1000.0) -> None:
        self.clock = VirtualScheduler(START)
        self.truth = Truth()
        self.topics = Topics()
        self.functions = Functions(self.clock)
        self.faults = Faults(seed=1)
        self.metrics = Metrics()
        self.sns = SnsService(
            self.clock,
            self.topics,
            self.functions,
            self.faults,
            self.truth,
            delivery_s=0.02,
            messages_per_s=messages_per_s,
            rng=random.Random(1),
            metrics=self.metrics,
        )

    def publish(self, message: str = "hello", **more: Any) -> str:
        message_id: str = self.sns.publish(REGION, {"TopicArn": TOPIC, "Message": message, **more})["MessageId"]
        return message_id

    def boto3(self) -> Any:
        return boto3_client(answered_by(self.sns.handle), "sns")


@pytest.fixture
def world() -> World:
    return World()


def test_a_message_reaches_the_function_after_the_delivery_latency(world: World) -> None:
    message_id = world.publish("hello")
    assert world.truth.pending == 1
    assert world.functions.received == []
    world.clock.run_all()
    ((at, record),) = world.functions.received
    assert at == 0.02
    assert (record["Sns"]["MessageId"], record["Sns"]["Message"]) == (message_id, "hello")
    assert world.truth.pending == 0


def test_the_event_has_lambdas_shape(world: World) -> None:
    message_id = world.publish(
        "hello",
        Subject="s",
        MessageAttributes={
            "kind": {"DataType": "String", "StringValue": "sale"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        },
    )
    world.clock.run_all()
    ((_, record),) = world.functions.received
    unsubscribe = f"https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={TOPIC}:sub"
    assert record == {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": f"{TOPIC}:sub",
        "Sns": {
            "Type": "Notification",
            "MessageId": message_id,
            "TopicArn": TOPIC,
            "Subject": "s",
            "Message": "hello",
            "Timestamp": "2027-01-15T08:00:00.500Z",
            "SignatureVersion": "1",
            "Signature": "sandbox",
            "SigningCertUrl": "https://sns.eu-west-1.amazonaws.com/sandbox.pem",
            "UnsubscribeUrl": unsubscribe,
            "MessageAttributes": {
                "kind": {"Type": "String", "Value": "sale"},
                "raw": {"Type": "Binary", "Value": "AAE="},
            },
        },
    }


def test_every_subscriber_gets_the_message(world: World) -> None:
    world.topics.subscriptions.append((f"{TOPIC}:second", FUNCTION_ARN))
    world.publish()
    world.clock.run_all()
    assert [record["EventSubscriptionArn"] for _, record in world.functions.received] == [
        f"{TOPIC}:sub",
        f"{TOPIC}:second",
    ]


def test_a_deleted_function_gets_nothing_and_nothing_stays_pending(world: World) -> None:
    world.topics.functions.clear()
    world.publish()
    world.clock.run_all()
    assert world.functions.received == []
    assert world.truth.pending == 0


def test_exactly_7_of_500_are_dropped_and_5_doubled(world: World) -> None:
    told = b"""[{"kind": "drop", "topic": "sales", "count": 7, "of": 500},
                {"kind": "duplicate", "topic": "sales", "count": 5, "of": 500}]"""
    world.faults.add(parse_faults(told))
    published = [world.publish(str(number)) for number in range(500)]
    world.clock.run_all()
    received = [record["Sns"]["MessageId"] for _, record in world.functions.received]
    assert len(set(published) - set(received)) == 7
    assert len(received) == 500 - 7 + 5
    assert world.truth.pending == 0


def test_a_delayed_delivery_comes_late(world: World) -> None:
    world.faults.add(parse_faults(b'{"kind": "delay", "topic": "sales", "count": 1, "delay_s": 30}'))
    world.publish("late")
    world.publish("in time")
    world.clock.run_all()
    assert [(at, record["Sns"]["Message"]) for at, record in world.functions.received] == [
        (0.02, "in time"),
        (30.02, "late"),
    ]


def test_a_message_for_several_protocols_gives_lambda_its_own(world: World) -> None:
    world.publish('{"default": "d", "lambda": "for lambda"}', MessageStructure="json")
    world.publish('{"default": "d"}', MessageStructure="json")
    world.clock.run_all()
    assert [record["Sns"]["Message"] for _, record in world.functions.received] == ["for lambda", "d"]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"TopicArn": f"{TOPIC}-gone", "Message": "m"}, "NotFound"),
        ({"TopicArn": "sales", "Message": "m"}, "InvalidParameter"),
        ({"Message": "m"}, "InvalidParameter"),
        ({"TopicArn": TOPIC, "Message": ""}, "InvalidParameter"),
        ({"TopicArn": TOPIC, "Message": "ü" * (128 * 1024 + 1)}, "InvalidParameter"),
        ({"TopicArn": TOPIC, "Message": "{}", "MessageStructure": "json"}, "InvalidParameter"),
        ({"TopicArn": TOPIC, "Message": "no json", "MessageStructure": "json"}, "InvalidParameter"),
        ({"TopicArn": TOPIC, "Message": "[1]", "MessageStructure": "json"}, "InvalidParameter"),
    ],
)
def test_bad_publishes_are_refused_and_nothing_is_delivered(
    world: World, parameters: dict[str, Any], code: str
) -> None:
    with pytest.raises(AwsError) as refused:
        world.sns.publish(REGION, parameters)
    assert refused.value.code == code
    assert world.truth.pending == 0


def test_a_batch_answers_each_entry(world: World) -> None:
    entries = [{"Id": "1", "Message": "a"}, {"Id": "2", "Message": ""}]
    answer = world.sns.publish_batch(REGION, {"TopicArn": TOPIC, "PublishBatchRequestEntries": entries})
    world.clock.run_all()
    assert [entry["Id"] for entry in answer["Successful"]] == ["1"]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("2", "InvalidParameter")]
    assert [record["Sns"]["Message"] for _, record in world.functions.received] == ["a"]


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([{"Id": str(n), "Message": "m"} for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "1", "Message": "m"}] * 2, "BatchEntryIdsNotDistinct"),
        ([{"Id": str(n), "Message": "m" * 200_000} for n in range(2)], "BatchRequestTooLong"),
    ],
)
def test_bad_batches_are_refused_whole(world: World, entries: list[dict[str, str]], code: str) -> None:
    with pytest.raises(AwsError) as refused:
        world.sns.publish_batch(REGION, {"TopicArn": TOPIC, "PublishBatchRequestEntries": entries})
    assert refused.value.code == code


def test_the_same_seed_gives_the_same_message_ids() -> None:
    assert [World().publish() for _ in range(2)] == [World().publish()] * 2


# -------------------------------------------------------------------- the wire


def test_boto3_publishes_awkward_text_and_attributes(world: World) -> None:
    text = 'a&b=<c> "ü" +% \n'
    answer = world.boto3().publish(
        TopicArn=TOPIC,
        Message=text,
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "x.y&z"}},
    )
    world.clock.run_all()
    ((_, record),) = world.functions.received
    assert record["Sns"]["MessageId"] == answer["MessageId"]
    assert record["Sns"]["Message"] == text
    assert record["Sns"]["MessageAttributes"] == {"kind": {"Type": "String", "Value": "x.y&z"}}


def test_boto3_publishes_a_batch(world: World) -> None:
    answer = world.boto3().publish_batch(
        TopicArn=TOPIC,
        PublishBatchRequestEntries=[
            {"Id": "a", "Message": "1", "MessageAttributes": {"k": {"DataType": "Binary", "BinaryValue": b"\xff"}}},
            {"Id": "b", "Message": ""},
        ],
    )
    world.clock.run_all()
    assert [entry["Id"] for entry in answer["Successful"]] == ["a"]
    assert answer["Failed"] == [
        {"Id": "b", "Code": "InvalidParameter", "Message": "Invalid parameter: Empty message", "SenderFault": True}
    ]
    ((_, record),) = world.functions.received
    assert record["Sns"]["MessageAttributes"] == {"k": {"Type": "Binary", "Value": "/w=="}}


def test_boto3_is_told_of_an_unknown_topic(world: World) -> None:
    client = world.boto3()
    with pytest.raises(client.exceptions.NotFoundException) as refused:
        client.publish(TopicArn=f"{TOPIC}-gone", Message="m")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert refused.value.response["Error"] == {"Type": "Sender", "Code": "NotFound", "Message": "Topic does not exist"}


def test_boto3_is_told_of_a_bad_batch(world: World) -> None:
    with pytest.raises(ClientError, match="EmptyBatchRequest"):
        world.boto3().publish_batch(TopicArn=TOPIC, PublishBatchRequestEntries=[])


@pytest.mark.parametrize(
    "body",
    [
        b"Action=Publish&TopicArn=a&TopicArn.b=c",
        b"Action=Publish&Message=%ff&TopicArn=",
        b"Action=Publish&MessageAttributes.entry.x.Name=1",
        b"Action=Publish&MessageAttributes.entry.1=1",
        b"\xff",
    ],
)
def test_a_malformed_request_is_an_error_not_a_crash(world: World, body: bytes) -> None:
    answer = world.sns.handle("Publish", body, REGION)
    assert answer is not None
    assert answer[0] == 400


def test_text_messages_and_other_calls_are_left_to_moto(world: World) -> None:
    assert world.sns.handle("Publish", b"Action=Publish&PhoneNumber=1&Message=m", REGION) is None
    assert world.sns.handle("CreateTopic", b"Action=CreateTopic&Name=t", REGION) is None


def test_messages_beyond_the_accounts_quota_are_refused() -> None:
    world = World(messages_per_s=1.0)
    world.publish()
    with pytest.raises(AwsError, match="Throttled"):
        world.publish()
    world.clock.run_until(START + 1)
    world.publish()


def test_accepted_messages_are_a_metric_and_refused_ones_are_not() -> None:
    world = World(messages_per_s=2.0)
    world.publish()
    world.publish()
    with pytest.raises(AwsError):
        world.publish()
    assert world.metrics.of("NumberOfMessagesPublished", ("TopicName", TOPIC.rpartition(":")[2])) == [1.0, 1.0]
