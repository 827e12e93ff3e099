"""The pollers behind an event source mapping from an SQS queue to a function.

Batches of at most `batch_size` messages, each one invocation; five at a time to begin with, more while messages keep
waiting, never more than the mapping's or Lambda's limit. After a success the batch is deleted, but for the messages
that the function names as failed (ReportBatchItemFailures). What is not deleted comes back after the visibility
timeout. A batch that Lambda refuses (throttle) is tried again as long as its messages stay hidden. Nothing is
scheduled while the queue is empty.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from sandbox.clock import Scheduler
from sandbox.definitions import FunctionDefinition, QueueSource
from sandbox.model.parameters import SqsParameters
from sandbox.services.neighbours import SynchronousFunctions
from sandbox.services.sqs import Message, Queue, SqsService

BATCH_MAX_BYTES = 6 * 1024 * 1024
"""What one invocation takes (AWS: Lambda quotas)."""
_RECORD_BYTES = 1_000
"""What a record's other members come to."""

Batch = Sequence[tuple[str, Message]]
"""(receipt handle, message)."""


class Sources(Protocol):
    """The mappings that exist; `sandbox.moto_bridge.MotoBridge` knows them."""

    @property
    def generation(self) -> int: ...
    def queue_sources(self) -> Sequence[QueueSource]: ...
    def function(self, name: str, qualifier: str | None = None) -> FunctionDefinition | None: ...


class Invocation(Protocol):
    """The outcome of an invocation; `sandbox.functions.InvokeResult` has it."""

    @property
    def status(self) -> int: ...
    @property
    def function_error(self) -> str | None: ...
    @property
    def payload(self) -> bytes: ...


class Poller:
    """One mapping's work on its queue."""

    __slots__ = ("busy", "busy_since", "next_poll_at", "source")

    def __init__(self, source: QueueSource) -> None:
        self.source = source
        self.busy = 0
        """Batches under way."""
        self.busy_since: float | None = None
        """Since when there has been work without a pause; None while there is none."""
        self.next_poll_at: float | None = None


class QueueConsumer:
    """Feeds functions from queues."""

    def __init__(
        self,
        scheduler: Scheduler,
        sources: Sources,
        sqs: SqsService,
        functions: SynchronousFunctions,
        parameters: SqsParameters,
    ) -> None:
        self._scheduler = scheduler
        self._sources = sources
        self._sqs = sqs
        self._functions = functions
        self._parameters = parameters
        self._pollers: dict[str, Poller] = {}
        """By mapping uuid."""
        self._generation = -1
        sqs.on_arrival = self._on_arrival

    def refresh(self) -> None:
        """Take queues and mappings as they are now. To be called whenever the definitions have changed."""
        if self._sources.generation == self._generation:
            return
        self._generation = self._sources.generation
        self._sqs.refresh()
        sources = {source.uuid: source for source in self._sources.queue_sources()}
        consumed = {source.queue_arn for source in sources.values()}
        for uuid in self._pollers.keys() - sources.keys():
            arn = self._pollers.pop(uuid).source.queue_arn
            queue = self._sqs.queue_of(arn)
            if queue is not None:
                self._sqs.consume(queue, arn in consumed)
        for uuid, source in sources.items():
            poller = self._pollers.setdefault(uuid, Poller(source))
            poller.source = source
            queue = self._sqs.queue_of(source.queue_arn)
            if queue is not None:
                self._sqs.consume(queue, True)
                self._poll_soon(poller, queue)

    def _on_arrival(self, queue: Queue) -> None:
        if not queue.consumed:
            return
        for poller in self._pollers.values():
            if poller.source.queue_arn == queue.definition.arn:
                self._poll_soon(poller, queue)

    def _poll_soon(self, poller: Poller, queue: Queue) -> None:
        """Look at the queue after the latency of a long poll, or when the batching window ends, unless it is full."""
        if not queue.waiting:
            return
        delivery_s = self._parameters.delivery_ms / 1000
        if len(queue.waiting) < poller.source.batch_size:
            delivery_s = max(delivery_s, poller.source.window_s)
        when = self._scheduler.now() + delivery_s
        if poller.next_poll_at is not None and poller.next_poll_at <= when:
            return
        poller.next_poll_at = when
        self._scheduler.at(when, lambda: self._poll(poller, queue, when))

    def _poll(self, poller: Poller, queue: Queue, due_at: float) -> None:
        if poller.next_poll_at != due_at or self._pollers.get(poller.source.uuid) is not poller:
            return  # an earlier look was scheduled since, or the mapping is gone
        poller.next_poll_at = None
        self._start_batches(poller, queue)

    def _start_batches(self, poller: Poller, queue: Queue) -> None:
        now = self._scheduler.now()
        if queue.waiting and poller.busy_since is None:
            poller.busy_since = now
        while queue.waiting and poller.busy < self._allowed(poller, now):
            batch = self._sqs.take(queue, self._fitting(queue, poller.source.batch_size))
            if batch:
                poller.busy += 1
                self._hand_over(poller, queue, batch)
        if not queue.waiting and not poller.busy:
            poller.busy_since = None

    def _allowed(self, poller: Poller, now: float) -> int:
        """Batches that may be under way at once."""
        parameters = self._parameters
        grown = int((now - (poller.busy_since or now)) / 60 * parameters.pollers_added_per_minute)
        most = poller.source.max_concurrency or parameters.pollers_max
        return min(parameters.pollers_at_first + grown, most)

    def _fitting(self, queue: Queue, limit: int) -> int:
        """How many of the waiting messages go into one invocation; at least one."""
        total = 0
        for index, message in enumerate(queue.waiting):
            total += len(message.body) + _RECORD_BYTES
            if index >= limit or (total > BATCH_MAX_BYTES and index):
                return index
        return limit

    def _hand_over(self, poller: Poller, queue: Queue, batch: Batch) -> None:
        source = poller.source
        _, _, _, region, account, _ = source.queue_arn.split(":", 5)
        arn = f"arn:aws:lambda:{region}:{account}:function:{source.function_name}"
        function = self._sources.function(arn, source.qualifier)
        if function is None:
            self._ended(poller, queue)
            return
        event = queue_event(source.queue_arn, batch)
        self._functions.invoke(function, event, lambda result: self._done(poller, queue, batch, result))

    def _done(self, poller: Poller, queue: Queue, batch: Batch, result: Invocation) -> None:
        if result.status == 429:
            again_at = self._scheduler.now() + self._parameters.throttle_pause_s
            if again_at < min(message.hidden_until for _, message in batch):
                self._scheduler.at(again_at, lambda: self._hand_over(poller, queue, batch))
                return
        elif result.status == 200 and result.function_error is None:
            failed = _failed(result.payload, batch) if poller.source.reports_failures else ()
            for receipt, message in batch:
                if message.message_id not in failed:
                    self._sqs.delete(queue, receipt)
        self._ended(poller, queue)

    def _ended(self, poller: Poller, queue: Queue) -> None:
        poller.busy -= 1
        if len(queue.waiting) >= poller.source.batch_size:
            self._start_batches(poller, queue)  # a whole batch waits already
        else:
            self._poll_soon(poller, queue)
        if not queue.waiting and not poller.busy:
            poller.busy_since = None


def queue_event(queue_arn: str, batch: Batch) -> bytes:
    """A batch as Lambda hands it to the function.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#example-standard-queue-message-event
    """
    return orjson.dumps(
        {
            "Records": [
                {
                    "messageId": message.message_id,
                    "receiptHandle": receipt,
                    "body": message.body,
                    "attributes": message.system_attributes(),
                    "messageAttributes": {
                        name: _attribute(attribute) for name, attribute in message.attributes.items()
                    },
                    "md5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
                    "eventSource": "aws:sqs",
                    "eventSourceARN": queue_arn,
                    "awsRegion": queue_arn.split(":")[3],
                }
                for receipt, message in batch
            ]
        }
    )


def _attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    """`{"DataType": "String", "StringValue": "x"}` -> as events have it."""
    value = {f"{name[0].lower()}{name[1:]}": _text(value) for name, value in attribute.items()}
    return {**value, "stringListValues": [], "binaryListValues": []}


def _text(value: str | bytes) -> str:
    """A binary value in base64, as it comes over the wire already."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _failed(payload: bytes, batch: Batch) -> set[str]:
    """Message ids that a function's answer names as failed: all, where it is not what Lambda understands.

    Nothing at all, null and an empty list are a success (AWS: services-sqs-errorhandling).
    """
    every = {message.message_id for _, message in batch}
    try:
        answer = orjson.loads(payload or b"null")
        failures = (answer or {}).get("batchItemFailures") or ()
        named = {failure["itemIdentifier"] for failure in failures}
    except (ValueError, TypeError, KeyError, AttributeError):
        return every
    return named if named <= every else every
