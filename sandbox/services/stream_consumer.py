"""The poller behind an event source mapping from a Kinesis stream to a function.

Each shard is read on its own: a poll every `poll_interval_s` while there is nothing to do, at most `batch_size`
records a batch, one invocation under way per shard and mapping. A batch whose invocation fails or is refused is tried
again after `retry_pause_s`, and the shard waits for it: by default until it succeeds, with MaximumRetryAttempts so many
times after a function's error (a refusal uses none up). With BisectBatchOnFunctionError a failed batch is cut in two
first, which uses none up either. A batch that is given up is passed over, and the destination of OnFailure is told.
Nothing is scheduled while there is nothing to read.

https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
"""

from __future__ import annotations

import base64
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from sandbox.clock import Scheduler
from sandbox.definitions import FunctionDefinition, StreamSource
from sandbox.log_lines import iso_millis
from sandbox.services.kinesis import KinesisService, Record, Shard, Stream, Truth
from sandbox.services.neighbours import DeliveryFaults, SynchronousFunctions

BATCH_MAX_BYTES = 6 * 1024 * 1024
"""What one invocation takes (AWS: Lambda quotas)."""


class Sources(Protocol):
    """The mappings that exist; `sandbox.moto_bridge.MotoBridge` knows them."""

    @property
    def generation(self) -> int: ...
    def stream_sources(self) -> Sequence[StreamSource]: ...
    def function(self, name: str, qualifier: str | None = None) -> FunctionDefinition | None: ...


class Invocation(Protocol):
    """The outcome of an invocation; `sandbox.functions.InvokeResult` has it."""

    @property
    def status(self) -> int: ...
    @property
    def function_error(self) -> str | None: ...
    @property
    def request_id(self) -> str: ...


@dataclass
class Batch:
    """Records that are handed over together."""

    records: list[Record]
    errors: int = 0
    """How often the function failed on it."""


class Reader:
    """One mapping's place in one shard."""

    __slots__ = ("busy", "next_poll_at", "position", "read_to", "shard", "source", "waiting")

    def __init__(self, source: StreamSource, shard: Shard, position: int) -> None:
        self.source = source
        self.shard = shard
        self.position = position
        """Of the first record not yet consumed."""
        self.busy = False
        """An invocation is under way, or a failed batch waits for its next try."""
        self.waiting: deque[Batch] = deque()
        """What was read and not consumed yet, in order: the first is with the function, or waits for its next try."""
        self.read_to = position
        """Where the position will be once nothing is waiting."""
        self.next_poll_at: float | None = None
        """When the next look at the shard is scheduled; None while none is."""


class StreamConsumer:
    """Feeds functions from streams. `on_iterator_age(function, at, age_ms)` is told of each batch handed over,
    `on_discarded(destination ARN, JSON)` of each that was given up."""

    def __init__(
        self,
        scheduler: Scheduler,
        sources: Sources,
        kinesis: KinesisService,
        functions: SynchronousFunctions,
        truth: Truth,
        *,
        poll_interval_s: float,
        retry_pause_s: float,
        on_iterator_age: Callable[[FunctionDefinition, float, float], None] = lambda function, at, age_ms: None,
        on_discarded: Callable[[str, str], None] = lambda destination_arn, document: None,
        faults: DeliveryFaults | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._sources = sources
        self._kinesis = kinesis
        self._functions = functions
        self._truth = truth
        self._poll_interval_s = poll_interval_s
        self._retry_pause_s = retry_pause_s
        self._on_iterator_age = on_iterator_age
        self._on_discarded = on_discarded
        self._faults = faults
        self._started_at = scheduler.now()
        self._readers: dict[tuple[str, str], Reader] = {}
        """By mapping uuid and shard id."""
        self._left_off: dict[tuple[str, str], tuple[Shard, int]] = {}
        """Where readers stopped whose mapping was disabled or deleted."""
        self._by_stream: dict[tuple[str, str], list[StreamSource]] = {}
        """By region and stream name."""
        self._generation = -1
        kinesis.on_put = self._on_put
        kinesis.needed_from = self._needed_from

    def refresh(self) -> None:
        """Take streams, shards and mappings as they are now.

        To be called whenever the definitions have changed, so that a mapping from LATEST knows what came before it.
        """
        if self._sources.generation == self._generation:
            return
        self._generation = self._sources.generation
        self._kinesis.refresh()
        self._by_stream = {}
        for source in self._sources.stream_sources():
            region = source.stream_arn.split(":")[3]
            self._by_stream.setdefault((region, source.stream_name), []).append(source)
        wanted = {source.uuid for sources in self._by_stream.values() for source in sources}
        for key in [key for key in self._readers if key[0] not in wanted]:
            reader = self._readers.pop(key)
            self._left_off[key] = (reader.shard, reader.position)
            self._drop(reader)
        known = {uuid for uuid, _ in self._readers}
        for (region, name), sources in self._by_stream.items():
            stream = self._kinesis.stream_named(region, name)
            for source in sources:
                # a shard that comes after its mapping is read from the beginning, whatever the starting position
                from_latest = source.starting_position == "LATEST" and source.uuid not in known
                for shard in stream.shards.values() if stream else ():
                    self._read(source, shard, from_latest=from_latest)

    def _read(self, source: StreamSource, shard: Shard, *, from_latest: bool = False) -> None:
        """Read a shard for a mapping, from now on or as before."""
        reader = self._readers.get((source.uuid, shard.shard_id))
        if reader is not None:
            if reader.shard is shard:
                reader.source = source
                return
            self._drop(reader)
        oldest = shard.records[0].position if shard.records else shard.next_position
        left_off = self._left_off.get((source.uuid, shard.shard_id))
        if left_off is not None and left_off[0] is shard:
            position = max(left_off[1], oldest)
        else:
            position = shard.next_position if from_latest else oldest
        reader = self._readers[(source.uuid, shard.shard_id)] = Reader(source, shard, position)
        self._truth.pending += shard.next_position - position
        self._poll_soon(reader)

    def _drop(self, reader: Reader) -> None:
        """The mapping is gone or disabled: what it did not consume is not to come any more."""
        self._truth.pending -= reader.shard.next_position - reader.position

    def _on_put(self, stream: Stream, shard: Shard, count: int) -> None:
        self.refresh()
        for source in self._by_stream.get((stream.region, stream.name), ()):
            reader = self._readers.get((source.uuid, shard.shard_id))
            if reader is None or reader.shard is not shard:
                self._read(source, shard)  # counts what is there already
                continue
            self._truth.pending += count
            if not reader.busy and reader.next_poll_at is None:
                self._poll_soon(reader)

    def _needed_from(self, stream: Stream, shard: Shard) -> int:
        positions = [reader.position for reader in self._readers.values() if reader.shard is shard]
        return min(positions, default=shard.next_position)

    # ---------------------------------------------------------------- one shard

    def _poll_soon(self, reader: Reader) -> None:
        """At the next tick of the poller, if there is something to read."""
        if reader.position >= reader.shard.next_position:
            return
        ticks = math.floor((self._scheduler.now() - self._started_at) / self._poll_interval_s) + 1
        self._poll_at(reader, self._started_at + ticks * self._poll_interval_s)

    def _poll_at(self, reader: Reader, when: float) -> None:
        reader.next_poll_at = when
        self._scheduler.at(when, lambda: self._poll(reader))

    def _poll(self, reader: Reader) -> None:
        reader.next_poll_at = None
        if reader.busy or self._readers.get((reader.source.uuid, reader.shard.shard_id)) is not reader:
            return
        batch = reader.shard.since(reader.position, reader.source.batch_size)
        if not batch:
            return
        full = len(batch) == reader.source.batch_size
        window_ends_at = batch[0].arrived_at + reader.source.window_s
        if not full and self._scheduler.now() < window_ends_at:
            # look again at every tick, because the batch may fill before the window ends
            tick = self._scheduler.now() + self._poll_interval_s
            self._poll_at(reader, min(tick, window_ends_at))
            return
        batch = _within(BATCH_MAX_BYTES, batch)
        reader.busy, reader.read_to = True, batch[-1].position + 1
        reader.waiting.extend(self._delivered(reader.source, batch))
        self._go_on(reader)

    def _delivered(self, source: StreamSource, batch: list[Record]) -> list[Batch]:
        """What arrives of a batch: by faults without some records, and with others a second time."""
        if self._faults is None:
            return [Batch(batch)]
        place = f"stream/{self._kinesis.logical_name(source.stream_name)}"
        copies = [self._faults.delivery(place).copies for _ in batch]
        once = [record for record, number in zip(batch, copies, strict=True) if number]
        again = [record for record, number in zip(batch, copies, strict=True) if number > 1]
        return [Batch(records) for records in (once, again) if records]

    def _go_on(self, reader: Reader) -> None:
        """With the next batch that waits, or with what came into the shard meanwhile."""
        if reader.waiting:
            self._hand_over(reader)
            return
        self._truth.pending -= reader.read_to - reader.position
        reader.position = reader.read_to
        reader.busy = False
        if reader.shard.next_position - reader.position >= reader.source.batch_size:
            self._poll(reader)  # a whole batch waits already: no pause while catching up
        else:
            self._poll_soon(reader)

    def _hand_over(self, reader: Reader) -> None:
        batch = reader.waiting[0]
        function = self._sources.function(_function_arn(reader.source), reader.source.qualifier)
        if function is None:
            self._try_again(reader)
            return
        now = self._scheduler.now()
        self._on_iterator_age(function, now, (now - batch.records[-1].arrived_at) * 1000)
        self._functions.invoke(
            function,
            stream_event(reader.source, reader.shard, batch.records, function),
            lambda result: self._done(reader, batch, result),
        )

    def _done(self, reader: Reader, batch: Batch, result: Invocation) -> None:
        if self._readers.get((reader.source.uuid, reader.shard.shard_id)) is not reader:
            return
        if result.status != 200:
            self._try_again(reader)
            return
        if result.function_error is None:
            reader.waiting.popleft()
            self._go_on(reader)
            return
        if reader.source.bisects and len(batch.records) > 1:
            middle = len(batch.records) // 2
            reader.waiting.popleft()
            reader.waiting.extendleft([Batch(batch.records[middle:]), Batch(batch.records[:middle])])
            self._try_again(reader)
            return
        batch.errors += 1
        retries = reader.source.max_retries
        if retries is None or batch.errors <= retries:
            self._try_again(reader)
            return
        reader.waiting.popleft()
        if reader.source.on_failure_arn is not None:
            document = discarded(reader.source, reader.shard, batch, result.request_id, self._scheduler.now())
            self._on_discarded(reader.source.on_failure_arn, document)
        self._go_on(reader)

    def _try_again(self, reader: Reader) -> None:
        def retry() -> None:
            if self._readers.get((reader.source.uuid, reader.shard.shard_id)) is reader:
                self._hand_over(reader)

        self._scheduler.at(self._scheduler.now() + self._retry_pause_s, retry)


def discarded(source: StreamSource, shard: Shard, batch: Batch, request_id: str, at: float) -> str:
    """What the destination of OnFailure gets of a batch that was given up; its records stay in the stream."""
    first, last = batch.records[0], batch.records[-1]
    return orjson.dumps(
        {
            "requestContext": {
                "requestId": request_id,
                "functionArn": _function_arn(source),
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": batch.errors,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": iso_millis(at),
            "KinesisBatchInfo": {
                "shardId": shard.shard_id,
                "startSequenceNumber": first.sequence_number,
                "endSequenceNumber": last.sequence_number,
                "approximateArrivalOfFirstRecord": iso_millis(first.arrived_at),
                "approximateArrivalOfLastRecord": iso_millis(last.arrived_at),
                "batchSize": len(batch.records),
                "streamArn": source.stream_arn,
            },
        }
    ).decode()


def stream_event(source: StreamSource, shard: Shard, batch: Sequence[Record], function: FunctionDefinition) -> bytes:
    """A batch as Lambda hands it to the function.

    https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html#services-kinesis-event-example
    """
    _, _, _, region, account, _ = source.stream_arn.split(":", 5)
    role = f"arn:aws:iam::{account}:role/{function.name}"
    return orjson.dumps(
        {
            "Records": [
                {
                    "kinesis": {
                        "kinesisSchemaVersion": "1.0",
                        "partitionKey": record.partition_key,
                        "sequenceNumber": record.sequence_number,
                        "data": base64.b64encode(record.data).decode(),
                        "approximateArrivalTimestamp": round(record.arrived_at, 3),
                    },
                    "eventSource": "aws:kinesis",
                    "eventVersion": "1.0",
                    "eventID": f"{shard.shard_id}:{record.sequence_number}",
                    "eventName": "aws:kinesis:record",
                    "invokeIdentityArn": role,
                    "awsRegion": region,
                    "eventSourceARN": source.stream_arn,
                }
                for record in batch
            ]
        }
    )


def _within(limit_bytes: int, batch: list[Record]) -> list[Record]:
    """The first records of a batch that fit into one invocation; at least one."""
    total = 0
    for index, record in enumerate(batch):
        total += len(record.data) * 4 // 3 + 500  # base64, and the fields around it
        if total > limit_bytes and index:
            return batch[:index]
    return batch


def _function_arn(source: StreamSource) -> str:
    """The function's ARN: a mapping, its stream and its function are in one region."""
    _, _, _, region, account, _ = source.stream_arn.split(":", 5)
    return f"arn:aws:lambda:{region}:{account}:function:{source.function_name}"
