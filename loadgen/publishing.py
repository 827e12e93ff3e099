"""Messages to SQS, SNS, EventBridge and Kinesis: how a call is written, and which of its messages were refused.

Every one of these services answers a batch with 200 whatever became of its messages, and names those that it refused
in the body. So the answer is judged message by message, for single calls and batches alike.

    sqs       SendMessage, SendMessageBatch     JSON      Successful and Failed, by Id
    sns       Publish, PublishBatch             form/XML  Successful and Failed, by Id
    events    PutEvents                         JSON      Entries in order, ErrorCode in those that failed
    kinesis   PutRecord, PutRecords             JSON      Records in order, ErrorCode in those that failed

SQS and SNS carry run id and correlation id as message attributes, too; EventBridge and Kinesis have none, there they
stand in the message alone.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode
from xml.etree import ElementTree

import orjson

from loadgen.checks import success_status
from loadgen.transport import Response

MAX_BATCH = 10
"""Messages that SQS, SNS and EventBridge take in one call (AWS documentation, quotas of each); Kinesis takes 500."""

EVENT_SOURCE = "swarmscope.load"
DETAIL_TYPE = "order"
"""Source and detail type of the events: what the rule of the sample stack matches."""

_UNANSWERED = "the answer does not name this message"


class EventKind(NamedTuple):
    """What rules of EventBridge look at."""

    source: str = EVENT_SOURCE
    detail_type: str = DETAIL_TYPE


class Message(NamedTuple):
    """One message of a call."""

    body: str
    run_id: str
    correlation_id: str
    kind_of_event: EventKind = EventKind()
    """On an event bus only."""


Build = Callable[[str, Sequence[Message]], bytes]
"""(destination, messages) -> body of the call."""
Judge = Callable[[Response, int], list[str]]
"""(answer with status 200, number of messages) -> for each message why it was refused, empty where it was not."""


@dataclass(frozen=True)
class Call:
    """One operation of a service."""

    operation: str
    headers: Mapping[str, str]
    build: Build
    judge: Judge

    def failures(self, response: Response, messages: int) -> list[str]:
        """For each message why it failed, empty where it was taken.

        A call that is refused as a whole, or whose answer cannot be read, fails all of them.
        """
        if response.status != 200:
            return [refusal(response)] * messages
        try:
            return self.judge(response, messages)
        except (ValueError, TypeError, KeyError, AttributeError, ElementTree.ParseError):
            return ["the answer cannot be understood"] * messages


class Service(NamedTuple):
    """A service that takes messages."""

    label: str
    """What stands in request names: `SendMessage to SQS`."""
    single: Call
    batch: Call

    def call(self, messages: int) -> Call:
        return self.single if messages == 1 else self.batch


def refusal(response: Response) -> str:
    """Why a call was refused: the status and AWS's code, from the header, a JSON body or an XML one."""
    said = success_status(response) or f"HTTP {response.status}"
    return said if ": " in said else ": ".join(part for part in (said, _error_code(bytes(response.body))) if part)


def _error_code(body: bytes) -> str:
    """`{"__type": "com.amazonaws.sqs#QueueDoesNotExist"}` or `<Code>NotFound</Code>`; empty where there is none."""
    if body.lstrip().startswith(b"<"):
        try:
            return next((code.text or "" for code in ElementTree.fromstring(body).iter() if _tag(code) == "Code"), "")
        except ElementTree.ParseError:
            return ""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return str(document.get("__type", "")).rpartition("#")[2] if isinstance(document, dict) else ""


# ---------------------------------------------------------------- SQS


def _attributes(message: Message) -> dict[str, Any]:
    return {
        "run_id": {"DataType": "String", "StringValue": message.run_id},
        "correlation_id": {"DataType": "String", "StringValue": message.correlation_id},
    }


def _sqs_message(message: Message) -> dict[str, Any]:
    return {"MessageBody": message.body, "MessageAttributes": _attributes(message)}


def _send_message(queue_url: str, messages: Sequence[Message]) -> bytes:
    [message] = messages
    return orjson.dumps({"QueueUrl": queue_url, **_sqs_message(message)})


def _send_message_batch(queue_url: str, messages: Sequence[Message]) -> bytes:
    entries = [{"Id": str(index), **_sqs_message(message)} for index, message in enumerate(messages)]
    return orjson.dumps({"QueueUrl": queue_url, "Entries": entries})


def _by_id(successful: Sequence[Mapping[str, Any]], failed: Sequence[Mapping[str, Any]], messages: int) -> list[str]:
    """Our entries' ids are their places."""
    failures = dict.fromkeys(range(messages), _UNANSWERED)
    failures |= {int(entry["Id"]): "" for entry in successful}
    failures |= {int(entry["Id"]): str(entry["Code"]) for entry in failed}
    return [failures[index] for index in range(messages)]


def _judge_sqs_batch(response: Response, messages: int) -> list[str]:
    answer = orjson.loads(response.body)
    return _by_id(answer.get("Successful") or (), answer.get("Failed") or (), messages)


# ---------------------------------------------------------------- SNS


def _sns_form(action: str, topic_arn: str, fields: Mapping[str, str]) -> bytes:
    return urlencode({"Action": action, "Version": "2010-03-31", "TopicArn": topic_arn, **fields}).encode()


def _sns_message(message: Message, prefix: str = "") -> dict[str, str]:
    fields = {f"{prefix}Message": message.body}
    for number, (name, value) in enumerate(_attributes(message).items(), 1):
        entry = f"{prefix}MessageAttributes.entry.{number}"
        fields[f"{entry}.Name"] = name
        fields[f"{entry}.Value.DataType"] = value["DataType"]
        fields[f"{entry}.Value.StringValue"] = value["StringValue"]
    return fields


def _publish(topic_arn: str, messages: Sequence[Message]) -> bytes:
    [message] = messages
    return _sns_form("Publish", topic_arn, _sns_message(message))


def _publish_batch(topic_arn: str, messages: Sequence[Message]) -> bytes:
    fields: dict[str, str] = {}
    for index, message in enumerate(messages):
        prefix = f"PublishBatchRequestEntries.member.{index + 1}."
        fields[f"{prefix}Id"] = str(index)
        fields |= _sns_message(message, prefix)
    return _sns_form("PublishBatch", topic_arn, fields)


def _judge_sns_batch(response: Response, messages: int) -> list[str]:
    lists: dict[str, list[dict[str, str]]] = {"Successful": [], "Failed": []}
    for element in ElementTree.fromstring(bytes(response.body)).iter():
        if _tag(element) in lists:
            lists[_tag(element)] += [{_tag(child): child.text or "" for child in member} for member in element]
    return _by_id(lists["Successful"], lists["Failed"], messages)


def _tag(element: ElementTree.Element) -> str:
    """`{http://sns.amazonaws.com/doc/2010-03-31/}Failed` -> `Failed`."""
    return element.tag.rpartition("}")[2]


# ---------------------------------------------------------------- EventBridge and Kinesis


def _put_events(bus: str, messages: Sequence[Message]) -> bytes:
    return orjson.dumps(
        {
            "Entries": [
                {
                    "EventBusName": bus,
                    "Source": message.kind_of_event.source,
                    "DetailType": message.kind_of_event.detail_type,
                    "Detail": message.body,
                }
                for message in messages
            ]
        }
    )


def _record(message: Message) -> dict[str, str]:
    """The correlation id as partition key spreads the records over the shards."""
    return {"Data": base64.b64encode(message.body.encode()).decode(), "PartitionKey": message.correlation_id}


def _stream(stream: str) -> dict[str, str]:
    return {"StreamARN" if stream.startswith("arn:") else "StreamName": stream}


def _put_record(stream: str, messages: Sequence[Message]) -> bytes:
    [message] = messages
    return orjson.dumps(_stream(stream) | _record(message))


def _put_records(stream: str, messages: Sequence[Message]) -> bytes:
    return orjson.dumps(_stream(stream) | {"Records": [_record(message) for message in messages]})


def _judge_in_order(member: str) -> Judge:
    def judge(response: Response, messages: int) -> list[str]:
        entries = orjson.loads(response.body)[member]
        failures = [str(entry.get("ErrorCode") or "") for entry in entries[:messages]]
        return failures + [_UNANSWERED] * (messages - len(failures))

    return judge


def _taken(response: Response, messages: int) -> list[str]:
    """A single message that was answered 200 was taken."""
    return [""] * messages


def _json(target: str, operation: str, version: str, build: Build, judge: Judge) -> Call:
    headers = {"Content-Type": f"application/x-amz-json-{version}", "X-Amz-Target": f"{target}.{operation}"}
    return Call(operation, headers, build, judge)


_FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
_PUT_EVENTS = _json("AWSEvents", "PutEvents", "1.1", _put_events, _judge_in_order("Entries"))

SERVICES: Mapping[str, Service] = {
    "sqs": Service(
        "SQS",
        _json("AmazonSQS", "SendMessage", "1.0", _send_message, _taken),
        _json("AmazonSQS", "SendMessageBatch", "1.0", _send_message_batch, _judge_sqs_batch),
    ),
    "sns": Service(
        "SNS",
        Call("Publish", _FORM, _publish, _taken),
        Call("PublishBatch", _FORM, _publish_batch, _judge_sns_batch),
    ),
    "events": Service("EventBridge", _PUT_EVENTS, _PUT_EVENTS),
    "kinesis": Service(
        "Kinesis",
        _json("Kinesis_20131202", "PutRecord", "1.1", _put_record, _taken),
        _json("Kinesis_20131202", "PutRecords", "1.1", _put_records, _judge_in_order("Records")),
    ),
}
"""By the name of the service's endpoint, which is also its signing name."""
