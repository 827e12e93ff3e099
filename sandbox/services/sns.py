"""SNS: publishing, and the delivery to Lambda functions.

A published message becomes one delivery for each lambda subscription of the topic; a fault of the topic may lose,
double or delay it; after the modelled latency the function is invoked asynchronously, with Lambda's own retries.
Topics and subscriptions are moto's. Filter policies and other protocols than lambda are not modelled.
"""

from __future__ import annotations

import base64
import functools
import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from xml.sax.saxutils import escape

import orjson

from sandbox.clock import Scheduler
from sandbox.definitions import FunctionDefinition
from sandbox.identifiers import Identifiers
from sandbox.model.throttling import TokenBucket
from sandbox.services.errors import AwsError
from sandbox.services.neighbours import AsynchronousFunctions, DeliveryFaults, MessageTruth
from sandbox.services.query_protocol import members, parse_form, query_error, query_response
from sandbox.sinks import MetricSink, NoMetrics

MESSAGE_MAX_BYTES = 256 * 1024
"""AWS: SNS quotas; a topic can be set to more."""
ENTRIES_PER_BATCH = 10
_NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"

Answer = tuple[int, bytes]


class Topics(Protocol):
    """The topics that exist; `sandbox.moto_bridge.MotoBridge` knows them."""

    def subscribed_functions(self, topic_arn: str) -> Sequence[tuple[str, str]]: ...
    def topic_exists(self, topic_arn: str) -> bool: ...
    def function(self, name: str, qualifier: str | None = None) -> FunctionDefinition | None: ...
    def logical_name(self, physical_name: str) -> str: ...


class SnsService:
    """The data path of SNS."""

    def __init__(
        self,
        scheduler: Scheduler,
        topics: Topics,
        functions: AsynchronousFunctions,
        faults: DeliveryFaults,
        truth: MessageTruth,
        *,
        delivery_s: float,
        messages_per_s: float = math.inf,
        rng: random.Random,
        metrics: MetricSink | None = None,
    ) -> None:
        """`delivery_s`: from Publish to the hand-over to a function; `messages_per_s`: what the account may publish.
        `rng` makes the message ids."""
        self._scheduler = scheduler
        self._topics = topics
        self._functions = functions
        self._faults = faults
        self._truth = truth
        self._delivery_s = delivery_s
        self._quota = TokenBucket(messages_per_s, messages_per_s)
        self._new_id = Identifiers(rng).uuid
        self._metrics = metrics or NoMetrics()

    # ---------------------------------------------------------------- boto3's operations

    def publish(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Raises AwsError NotFound, InvalidParameter."""
        topic_arn = parameters.get("TopicArn") or parameters.get("TargetArn")
        if not topic_arn:
            raise AwsError(
                "InvalidParameter", "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter"
            )
        self._check_topic(topic_arn)
        return {"MessageId": self._publish(topic_arn, parameters)}

    def publish_batch(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Answers even if entries were refused: `Failed` tells."""
        topic_arn = parameters["TopicArn"]
        self._check_topic(topic_arn)
        entries = parameters["PublishBatchRequestEntries"]
        if not entries:
            raise AwsError("EmptyBatchRequest", "The batch request doesn't contain any entries.")
        if len(entries) > ENTRIES_PER_BATCH:
            raise AwsError("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
        if len({entry["Id"] for entry in entries}) < len(entries):
            raise AwsError("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
        if sum(len(entry["Message"].encode()) for entry in entries) > MESSAGE_MAX_BYTES:
            raise AwsError("BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
        successful, failed = [], []
        for entry in entries:
            try:
                successful.append({"Id": entry["Id"], "MessageId": self._publish(topic_arn, entry)})
            except AwsError as error:
                failed.append(
                    {"Id": entry["Id"], "Code": error.code, "Message": error.message, "SenderFault": error.status < 429}
                )
        return {"Successful": successful, "Failed": failed}

    # ---------------------------------------------------------------- the wire

    def handle(self, action: str, body: bytes, region: str) -> Answer | None:
        """One request of the query protocol -> (status, XML); None for what moto answers."""
        if action not in ("Publish", "PublishBatch"):
            return None
        try:
            form = parse_form(body)
            if action == "Publish":
                if "PhoneNumber" in form:
                    return None
                answer = self.publish(region, _entry(form))
                content = f"<MessageId>{answer['MessageId']}</MessageId>"
                self._truth.taken("sns", 1)
            else:
                entries = [_entry(entry) for entry in members(form.get("PublishBatchRequestEntries", {}))]
                answer = self.publish_batch(
                    region, {"TopicArn": form.get("TopicArn", ""), "PublishBatchRequestEntries": entries}
                )
                content = _batch_xml(answer)
                self._truth.taken("sns", len(answer["Successful"]))
        except AwsError as error:
            return error.status, query_error(error.code, error.message, sender_fault=True)
        except (KeyError, TypeError, ValueError) as error:
            return 400, query_error("ValidationError", f"malformed {action} request: {error!r}", sender_fault=True)
        return 200, query_response(action, _NAMESPACE, content, self._new_id())

    # ---------------------------------------------------------------- inside

    def _check_topic(self, topic_arn: str) -> None:
        if topic_arn.count(":") < 5 or not topic_arn.startswith("arn:"):
            raise AwsError("InvalidParameter", "Invalid parameter: TopicArn")
        if not self._topics.topic_exists(topic_arn):
            raise AwsError("NotFound", "Topic does not exist", status=404)

    def _publish(self, topic_arn: str, parameters: Mapping[str, Any]) -> str:
        message = parameters["Message"]
        if not message:
            raise AwsError("InvalidParameter", "Invalid parameter: Empty message")
        if parameters.get("MessageStructure") == "json":
            message = _message_for_lambda(message)
        if len(message.encode()) > MESSAGE_MAX_BYTES:
            raise AwsError("InvalidParameter", "Invalid parameter: Message too long")
        message_id = self._new_id()
        topic = topic_arn.rpartition(":")[2]
        entrance = f"topic/{self._topics.logical_name(topic)}"
        if not self._quota.take(self._scheduler.now()):
            self._truth.message_answered(entrance, message.encode(), 429)
            raise AwsError("Throttled", "Rate exceeded", status=429)
        self._truth.message_answered(entrance, message.encode(), 200)
        now = self._scheduler.now()
        self._metrics.add("AWS/SNS", "NumberOfMessagesPublished", (("TopicName", topic),), now, 1.0)
        for subscription_arn, function_arn in self._topics.subscribed_functions(topic_arn):
            fate = self._faults.delivery(entrance)
            if not fate.copies:
                continue
            event = sns_event(
                topic_arn,
                subscription_arn,
                message_id,
                message,
                subject=parameters.get("Subject"),
                attributes=parameters.get("MessageAttributes") or {},
                published_at=now,
            )
            for _ in range(fate.copies):
                self._truth.pending += 1
                deliver = functools.partial(self._deliver, function_arn, event)
                self._scheduler.at(now + self._delivery_s + fate.delay_s, deliver)
        return message_id

    def _deliver(self, function_arn: str, event: bytes) -> None:
        function = self._topics.function(function_arn)
        if function is not None:  # else it was deleted, and SNS gives up at once
            self._functions.invoke_async(function, event)
        self._truth.pending -= 1


def sns_event(
    topic_arn: str,
    subscription_arn: str,
    message_id: str,
    message: str,
    *,
    subject: str | None,
    attributes: Mapping[str, Mapping[str, Any]],
    published_at: float,
) -> bytes:
    """A message as Lambda hands it to the function.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html (signatures are placeholders)
    """
    region = topic_arn.split(":")[3]
    at = datetime.fromtimestamp(published_at, UTC)
    return orjson.dumps(
        {
            "Records": [
                {
                    "EventSource": "aws:sns",
                    "EventVersion": "1.0",
                    "EventSubscriptionArn": subscription_arn,
                    "Sns": {
                        "Type": "Notification",
                        "MessageId": message_id,
                        "TopicArn": topic_arn,
                        "Subject": subject,
                        "Message": message,
                        "Timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
                        "SignatureVersion": "1",
                        "Signature": "sandbox",
                        "SigningCertUrl": f"https://sns.{region}.amazonaws.com/sandbox.pem",
                        "UnsubscribeUrl": (
                            f"https://sns.{region}.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={subscription_arn}"
                        ),
                        "MessageAttributes": {name: _attribute(value) for name, value in attributes.items()},
                    },
                }
            ]
        }
    )


def _attribute(value: Mapping[str, Any]) -> dict[str, str]:
    """`{"DataType": "String", "StringValue": "x"}` -> `{"Type": "String", "Value": "x"}`; binary in base64."""
    if "BinaryValue" in value:
        return {"Type": value["DataType"], "Value": base64.b64encode(value["BinaryValue"]).decode()}
    return {"Type": value["DataType"], "Value": value.get("StringValue", "")}


def _message_for_lambda(message: str) -> str:
    """The part of a message for several protocols that is for lambda, else its default."""
    try:
        parts = orjson.loads(message)
        text = parts.get("lambda", parts["default"])
    except (ValueError, AttributeError):
        raise AwsError(
            "InvalidParameter", "Invalid parameter: Message Structure - JSON message body failed to parse"
        ) from None
    except KeyError:
        raise AwsError(
            "InvalidParameter", "Invalid parameter: Message Structure - No default entry in JSON message body"
        ) from None
    return str(text)


def _entry(form: Mapping[str, Any]) -> dict[str, Any]:
    """A parsed form, or one entry of a batch, as boto3's parameters."""
    entry = dict(form)
    attributes = {}
    for attribute in members(form.get("MessageAttributes", {}), "entry"):
        value = dict(attribute["Value"])
        if "BinaryValue" in value:
            value["BinaryValue"] = base64.b64decode(value["BinaryValue"])
        attributes[attribute["Name"]] = value
    entry["MessageAttributes"] = attributes
    entry.setdefault("Message", "")
    return entry


def _batch_xml(answer: Mapping[str, Any]) -> str:
    def listed(entries: Sequence[Mapping[str, Any]]) -> str:
        return "".join(
            "<member>"
            + "".join(f"<{name}>{escape(_text(value))}</{name}>" for name, value in entry.items())
            + "</member>"
            for entry in entries
        )

    return f"<Successful>{listed(answer['Successful'])}</Successful><Failed>{listed(answer['Failed'])}</Failed>"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
