"""SQS: standard queues, from SendMessage to DeleteMessage, with visibility timeouts and dead-letter queues.

A message that was received is hidden for the visibility timeout; deleted in the meantime it is gone, else it comes
back. One that has been received `maxReceiveCount` times goes to the dead-letter queue instead of being received again.
Queues and their attributes are moto's; the messages are ours. FIFO queues are refused.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson

from sandbox.clock import Scheduler
from sandbox.definitions import ACCOUNT_ID, QueueDefinition
from sandbox.identifiers import Identifiers
from sandbox.services.errors import AwsError
from sandbox.services.neighbours import DeliveryFaults, MessageTruth

ENTRIES_PER_BATCH = 10
"""AWS: SQS quotas."""
BATCH_MAX_BYTES = 1024 * 1024
"""AWS: SQS quotas, of all messages of a batch together."""
VISIBILITY_MAX_S = 43_200
DELAY_MAX_S = 900
WAIT_MAX_S = 20
_LONG_POLL_STEP_S = 0.05
_SENDER = "AIDAIENQZJOLO23YVJ4VO"
"""AWS documentation's own example of a sender's id."""

Answer = tuple[int, dict[str, Any]]


class Queues(Protocol):
    """The queues that exist; `sandbox.moto_bridge.MotoBridge` knows them."""

    def queue(self, name: str, region: str) -> QueueDefinition | None: ...
    def logical_name(self, physical_name: str) -> str: ...


class Truth(MessageTruth, Protocol):
    """What is counted here; `sandbox.truth.Truth` has it."""

    def queue(self, logical_name: str) -> Any: ...


class Message:
    """One message of a queue. Times are epoch seconds."""

    __slots__ = ("attributes", "body", "first_received_at", "hidden_until", "message_id", "receive_count", "sent_at")

    def __init__(self, message_id: str, body: str, attributes: Mapping[str, Mapping[str, Any]], sent_at: float) -> None:
        self.message_id = message_id
        self.body = body
        self.attributes = attributes
        """As they were sent: name -> DataType and StringValue or BinaryValue (base64)."""
        self.sent_at = sent_at
        self.receive_count = 0
        self.first_received_at: float | None = None
        self.hidden_until = 0.0

    def system_attributes(self) -> dict[str, str]:
        """What SQS says of a received message."""
        first = self.sent_at if self.first_received_at is None else self.first_received_at
        return {
            "ApproximateReceiveCount": str(self.receive_count),
            "SentTimestamp": str(int(self.sent_at * 1000)),
            "SenderId": _SENDER,
            "ApproximateFirstReceiveTimestamp": str(int(first * 1000)),
        }


class Queue:
    """The messages of one queue."""

    def __init__(self, definition: QueueDefinition, logical_name: str) -> None:
        self.definition = definition
        self.logical_name = logical_name
        self.waiting: deque[Message] = deque()
        self.in_flight: dict[str, Message] = {}
        """By receipt handle."""
        self.delayed = 0
        self.consumed = False
        """Whether a function consumes the queue: then each message in it is pending."""

    @property
    def size(self) -> int:
        return len(self.waiting) + len(self.in_flight) + self.delayed


class SqsService:
    """The data path of SQS. `on_arrival` is told of each queue that got messages to hand out."""

    def __init__(
        self,
        scheduler: Scheduler,
        queues: Queues,
        faults: DeliveryFaults,
        truth: Truth,
        *,
        duplicate_after_s: float,
        rng: random.Random,
    ) -> None:
        """`duplicate_after_s`: how much later the second copy of a doubled message comes. `rng` makes the ids."""
        self._scheduler = scheduler
        self._definitions = queues
        self._faults = faults
        self._truth = truth
        self._duplicate_after_s = duplicate_after_s
        self._new_id = Identifiers(rng).uuid
        self._queues: dict[str, Queue] = {}
        """By ARN."""
        self.on_arrival: Callable[[Queue], None] = lambda queue: None

    # ---------------------------------------------------------------- what a consumer uses

    def queue_of(self, arn: str) -> Queue | None:
        """A queue by its ARN, as it is defined now; None where there is none."""
        _, _, _, region, _, name = arn.split(":", 5)
        definition = self._definitions.queue(name, region)
        if definition is None:
            gone = self._queues.pop(arn, None)
            if gone is not None and gone.consumed:
                self._truth.pending -= gone.size
            return None
        queue = self._queues.get(arn)
        if queue is None:
            logical_name = self._definitions.logical_name(name)
            queue = self._queues[arn] = Queue(definition, logical_name)
        queue.definition = definition
        return queue

    def refresh(self) -> None:
        """Forget the messages of queues that are gone. To be called whenever the definitions have changed."""
        for arn in list(self._queues):
            self.queue_of(arn)

    def consume(self, queue: Queue, consumed: bool) -> None:
        """Say whether a function consumes the queue from now on."""
        if queue.consumed != consumed:
            queue.consumed = consumed
            self._truth.pending += queue.size if consumed else -queue.size

    def take(self, queue: Queue, limit: int, visibility_s: float | None = None) -> list[tuple[str, Message]]:
        """Receive up to `limit` messages -> (receipt handle, message); None: the queue's own visibility timeout."""
        received: list[tuple[str, Message]] = []
        now = self._scheduler.now()
        hidden_s = queue.definition.visibility_timeout_s if visibility_s is None else visibility_s
        while queue.waiting and len(received) < limit:
            message = queue.waiting.popleft()
            if self._goes_to_dead_letters(queue, message):
                continue
            message.receive_count += 1
            message.first_received_at = message.first_received_at or now
            receipt = self._new_id()
            queue.in_flight[receipt] = message
            self._truth.queue(queue.logical_name).received += 1
            self._hide(queue, receipt, message, hidden_s)
            received.append((receipt, message))
        return received

    def delete(self, queue: Queue, receipt: str) -> None:
        """Delete a received message; nothing happens for one whose visibility timeout has passed."""
        if queue.in_flight.pop(receipt, None) is not None:
            self._truth.queue(queue.logical_name).deleted += 1
            self._left(queue)

    # ---------------------------------------------------------------- boto3's operations

    def send_message(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Raises AwsError AWS.SimpleQueueService.NonExistentQueue, InvalidParameterValue, ..."""
        return self._send(self._queue(region, parameters), parameters)

    def send_message_batch(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Answers even if every message was refused: `Failed` tells."""
        queue = self._queue(region, parameters)
        entries = _checked_batch(parameters["Entries"])
        if sum(len(entry["MessageBody"].encode()) for entry in entries) > BATCH_MAX_BYTES:
            raise AwsError("BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes.")
        return _batch(entries, lambda entry: self._send(queue, entry))

    def delete_message(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self.delete(self._queue(region, parameters), parameters["ReceiptHandle"])
        return {}

    def delete_message_batch(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        queue = self._queue(region, parameters)

        def delete(entry: Mapping[str, Any]) -> dict[str, Any]:
            self.delete(queue, entry["ReceiptHandle"])
            return {}

        return _batch(_checked_batch(parameters["Entries"]), delete)

    def change_message_visibility(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Raises AwsError MessageNotInflight."""
        queue, receipt = self._queue(region, parameters), parameters["ReceiptHandle"]
        message = queue.in_flight.get(receipt)
        if message is None:
            raise AwsError("MessageNotInflight", "The specified message isn't in flight.")
        self._hide(queue, receipt, message, _seconds(parameters, "VisibilityTimeout", VISIBILITY_MAX_S))
        return {}

    def receive_message(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What is there at once; the wire waits for more (`receive`)."""
        limit = int(parameters.get("MaxNumberOfMessages", 1))
        if not 1 <= limit <= ENTRIES_PER_BATCH:
            raise _invalid(
                f"Value {limit} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10"
            )
        own = parameters.get("VisibilityTimeout") is not None
        visibility_s = _seconds(parameters, "VisibilityTimeout", VISIBILITY_MAX_S) if own else None
        taken = self.take(self._queue(region, parameters), limit, visibility_s)
        return {"Messages": [_received(receipt, message, parameters) for receipt, message in taken]} if taken else {}

    def purge_queue(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Forget every message that is not delayed."""
        queue = self._queue(region, parameters)
        gone = len(queue.waiting) + len(queue.in_flight)
        queue.waiting.clear()
        queue.in_flight.clear()
        self._left(queue, gone)
        return {}

    def counts(self, region: str, parameters: Mapping[str, Any]) -> dict[str, str]:
        """The attributes of a queue that count its messages."""
        queue = self._queue(region, parameters)
        return {
            "ApproximateNumberOfMessages": str(len(queue.waiting)),
            "ApproximateNumberOfMessagesNotVisible": str(len(queue.in_flight)),
            "ApproximateNumberOfMessagesDelayed": str(queue.delayed),
        }

    # ---------------------------------------------------------------- the wire

    def handle(self, action: str, body: bytes, region: str) -> Answer | None:
        """One request of the JSON protocol -> (status, document); None for what moto answers."""
        operation = _OPERATIONS.get(action)
        if operation is None:
            return None
        try:
            answer = operation(self, region, orjson.loads(body))
        except AwsError as error:
            return _refused(error)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return _malformed(action, error)
        if action == "SendMessage":
            self._truth.taken("sqs", 1)
        elif action == "SendMessageBatch":
            self._truth.taken("sqs", len(answer["Successful"]))
        return 200, answer

    def counted(self, body: bytes, region: str, attributes: bytes) -> bytes:
        """The answer to a GetQueueAttributes that knows the queue but not its messages -> with our counts in it."""
        document = orjson.loads(attributes)
        said = document.get("Attributes", {})
        said |= {name: count for name, count in self.counts(region, orjson.loads(body)).items() if name in said}
        return orjson.dumps(document)

    def receive(self, body: bytes, region: str, on_done: Callable[[Answer], None]) -> None:
        """ReceiveMessage on the wire: waits up to WaitTimeSeconds for a first message."""
        started_at = self._scheduler.now()
        wait_s: float | None = None

        def attempt() -> None:
            nonlocal wait_s
            answer = self.handle("ReceiveMessage", body, region)
            assert answer is not None
            if answer == (200, {}):
                if wait_s is None:
                    try:
                        wait_s = self._wait_s(orjson.loads(body), region)
                    except AwsError as error:
                        on_done(_refused(error))
                        return
                    except (TypeError, ValueError) as error:
                        on_done(_malformed("ReceiveMessage", error))
                        return
                if self._scheduler.now() < started_at + wait_s:
                    self._scheduler.at(self._scheduler.now() + _LONG_POLL_STEP_S, attempt)
                    return
            on_done(answer)

        attempt()

    def _wait_s(self, parameters: Mapping[str, Any], region: str) -> float:
        if parameters.get("WaitTimeSeconds") is None:
            return self._queue(region, parameters).definition.wait_s
        return _seconds(parameters, "WaitTimeSeconds", WAIT_MAX_S)

    # ---------------------------------------------------------------- inside

    def _queue(self, region: str, parameters: Mapping[str, Any]) -> Queue:
        """Of the queue's URL the last part alone counts: its name."""
        name = str(parameters["QueueUrl"]).rstrip("/").rpartition("/")[2]
        if name.endswith(".fifo"):
            raise AwsError("UnsupportedOperation", "The sandbox has no FIFO queues.")
        queue = self.queue_of(f"arn:aws:sqs:{region}:{ACCOUNT_ID}:{name}")
        if queue is None:
            raise AwsError("QueueDoesNotExist", "The specified queue does not exist.")
        return queue

    def _send(self, queue: Queue, parameters: Mapping[str, Any]) -> dict[str, Any]:
        body, attributes = parameters["MessageBody"], parameters.get("MessageAttributes") or {}
        if not body:
            raise AwsError("MissingParameter", "The request must contain the parameter MessageBody.")
        for name, attribute in attributes.items():
            # Who consumes the queue gets them as they are.
            if not isinstance(attribute, dict) or not isinstance(attribute.get("DataType"), str):
                raise _invalid(f"The message attribute '{name}' must contain a non-empty message attribute type.")
        place = f"queue/{queue.logical_name}"
        size = len(body.encode()) + sum(len(name) + len(str(value)) for name, value in attributes.items())
        if size > queue.definition.message_max_bytes:
            limit = queue.definition.message_max_bytes
            self._truth.message_answered(place, body.encode(), 400)
            raise _invalid(f"One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes.")
        own_delay = "DelaySeconds" in parameters
        delay_s = _seconds(parameters, "DelaySeconds", DELAY_MAX_S) if own_delay else queue.definition.delay_s
        message_id, now = self._new_id(), self._scheduler.now()
        self._truth.queue(queue.logical_name).accepted += 1
        self._truth.message_answered(place, body.encode(), 200)
        fate = self._faults.delivery(place)
        for copy in range(fate.copies):
            late_s = fate.delay_s + copy * self._duplicate_after_s
            self._enter(queue, Message(message_id, body, attributes, now), delay_s + late_s)
        return {
            "MessageId": message_id,
            "MD5OfMessageBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        }

    def _enter(self, queue: Queue, message: Message, delay_s: float = 0.0) -> None:
        if queue.consumed:
            self._truth.pending += 1
        if delay_s <= 0:
            queue.waiting.append(message)
            self.on_arrival(queue)
            return
        queue.delayed += 1

        def arrive() -> None:
            queue.delayed -= 1
            queue.waiting.append(message)
            self.on_arrival(queue)

        self._scheduler.at(self._scheduler.now() + delay_s, arrive)

    def _left(self, queue: Queue, messages: int = 1) -> None:
        if queue.consumed:
            self._truth.pending -= messages

    def _hide(self, queue: Queue, receipt: str, message: Message, seconds: float) -> None:
        message.hidden_until = self._scheduler.now() + seconds
        # Not the message itself: most are deleted long before, and would be kept until then.
        self._scheduler.at(message.hidden_until, functools.partial(self._reappear, queue, receipt))

    def _reappear(self, queue: Queue, receipt: str) -> None:
        message = queue.in_flight.get(receipt)
        if message is None or self._scheduler.now() < message.hidden_until:
            return  # deleted, or hidden for longer in the meantime
        del queue.in_flight[receipt]
        queue.waiting.append(message)
        self.on_arrival(queue)

    def _goes_to_dead_letters(self, queue: Queue, message: Message) -> bool:
        """Move a message that was received often enough to where its queue's dead letters go."""
        most, arn = queue.definition.max_receive_count, queue.definition.dead_letter_arn
        if most is None or arn is None or message.receive_count < most:
            return False
        dead_letters = self.queue_of(arn)
        if dead_letters is None:
            return False
        self._truth.queue(queue.logical_name).dead_lettered += 1
        self._left(queue)
        self._truth.queue(dead_letters.logical_name).accepted += 1
        self._enter(dead_letters, message)
        return True


def _checked_batch(entries: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    if not entries:
        raise AwsError("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > ENTRIES_PER_BATCH:
        raise AwsError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are 10. You have sent {len(entries)}.",
        )
    if len({entry["Id"] for entry in entries}) < len(entries):
        raise AwsError("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
    return entries


def _batch(entries: Sequence[Mapping[str, Any]], call: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    successful: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for entry in entries:
        try:
            successful.append({"Id": entry["Id"], **call(entry)})
        except AwsError as error:
            failed.append({"Id": entry["Id"], "Code": error.code, "Message": error.message, "SenderFault": True})
    return {"Successful": successful, "Failed": failed} if failed else {"Successful": successful}


def _received(receipt: str, message: Message, parameters: Mapping[str, Any]) -> dict[str, Any]:
    received: dict[str, Any] = {
        "MessageId": message.message_id,
        "ReceiptHandle": receipt,
        "MD5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
        "Body": message.body,
    }
    asked = {*parameters.get("AttributeNames", ()), *parameters.get("MessageSystemAttributeNames", ())}
    system = {name: value for name, value in message.system_attributes().items() if asked & {name, "All"}}
    names = parameters.get("MessageAttributeNames", ())
    attributes = {name: value for name, value in message.attributes.items() if {name, "All", ".*"} & set(names)}
    return (
        received
        | ({"Attributes": system} if system else {})
        | ({"MessageAttributes": attributes} if attributes else {})
    )


def _seconds(parameters: Mapping[str, Any], name: str, most: int) -> float:
    """A time within SQS's limits (AWS: API reference of SendMessage, ReceiveMessage, ChangeMessageVisibility)."""
    seconds = float(parameters[name])
    if not 0 <= seconds <= most:
        raise _invalid(f"Value {parameters[name]} for parameter {name} is invalid. Reason: Must be >= 0 and <= {most}.")
    return seconds


def _refused(error: AwsError) -> Answer:
    return error.status, {"__type": f"com.amazonaws.sqs#{error.code}", "message": error.message}


def _malformed(action: str, error: Exception) -> Answer:
    problem = f"malformed {action} request: {error!r}"
    return 400, {"__type": "com.amazon.coral.service#SerializationException", "message": problem}


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message)


_OPERATIONS: Mapping[str, Callable[[SqsService, str, Mapping[str, Any]], dict[str, Any]]] = {
    "SendMessage": SqsService.send_message,
    "SendMessageBatch": SqsService.send_message_batch,
    "ReceiveMessage": SqsService.receive_message,
    "DeleteMessage": SqsService.delete_message,
    "DeleteMessageBatch": SqsService.delete_message_batch,
    "ChangeMessageVisibility": SqsService.change_message_visibility,
    "PurgeQueue": SqsService.purge_queue,
}
