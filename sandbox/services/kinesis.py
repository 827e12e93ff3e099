"""Kinesis: puts within each shard's limits, and reads of what is retained.

One implementation for the in-process clients (`put_record(...)` with boto3's parameters and answers) and for the wire
(`handle`). Streams and their shards are moto's; records are kept here, and only as long as somebody may read them.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from sandbox.clock import Scheduler
from sandbox.definitions import ACCOUNT_ID
from sandbox.services.errors import AwsError
from sandbox.services.neighbours import MessageTruth
from sandbox.sinks import MetricSink, NoMetrics

RECORDS_PER_PUT = 500
"""Of one PutRecords call (AWS, Kinesis quotas)."""
RECORDS_PER_GET = 10_000
RETAINED_RECORDS = 2_000
"""Of a shard, beyond what its consumers still have to read: what GetRecords can look back at."""
_FIRST_SEQUENCE_NUMBER = 49_600_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000
"""56 digits, as AWS's sequence numbers have."""

Answer = tuple[int, dict[str, Any]]


class Truth(MessageTruth, Protocol):
    """What is counted here; `sandbox.truth.Truth` has it."""

    def stream(self, logical_name: str) -> Any: ...


class ShardRange(Protocol):
    @property
    def shard_id(self) -> str: ...
    @property
    def first_hash(self) -> int: ...
    @property
    def last_hash(self) -> int: ...


class Streams(Protocol):
    """The streams that exist; `sandbox.moto_bridge.MotoBridge` knows them."""

    @property
    def generation(self) -> int: ...
    def open_shards(self, stream_name: str, region: str | None = None) -> Sequence[ShardRange] | None: ...
    def logical_name(self, physical: str) -> str: ...


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """What a shard takes in each second of the clock; nothing is carried over."""

    records_per_s: int
    bytes_per_s: int
    """Data and partition keys."""
    record_max_bytes: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a shard."""

    position: int
    """Counts the records of its shard from 0."""
    sequence_number: str
    partition_key: str
    data: bytes
    arrived_at: float


class Shard:
    """The records of one shard, and how much of the present second's allowance is used."""

    __slots__ = ("_bytes", "_records", "_second", "_taken", "index", "next_position", "records", "shard_id")

    def __init__(self, shard_id: str, index: int) -> None:
        self.shard_id = shard_id
        self.index = index
        self.records: deque[Record] = deque()
        self.next_position = 0
        self._second = -1
        self._taken = 0
        self._bytes = 0

    def take(self, now: float, size: int, limits: ShardLimits) -> bool:
        """Use up some of this second's allowance; False where there is not enough left."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._taken = 0
            self._bytes = 0
        if self._taken >= limits.records_per_s or self._bytes + size > limits.bytes_per_s:
            return False
        self._taken += 1
        self._bytes += size
        return True

    def append(self, partition_key: str, data: bytes, now: float) -> Record:
        position = self.next_position
        self.next_position = position + 1
        # higher digits tell the shards apart, so that a number is unique within the stream
        number = _FIRST_SEQUENCE_NUMBER + self.index * 10**16 + position
        record = Record(position, str(number), partition_key, data, now)
        self.records.append(record)
        return record

    def since(self, position: int, limit: int) -> list[Record]:
        """Up to `limit` retained records from a position on, in order."""
        records = self.records
        first = records[0].position if records else self.next_position
        start = max(position - first, 0)
        return list(itertools.islice(records, start, start + limit))

    def forget(self, needed_from: int) -> None:
        """Drop records before a position, but keep the newest few."""
        while len(self.records) > RETAINED_RECORDS and self.records[0].position < needed_from:
            self.records.popleft()


class Stream:
    """The shards of one stream as they are at one generation of the definitions."""

    def __init__(self, region: str, name: str, logical_name: str) -> None:
        self.region = region
        self.name = name
        self.logical_name = logical_name
        self.arn = f"arn:aws:kinesis:{region}:{ACCOUNT_ID}:stream/{name}"
        self.dimensions = (("StreamName", name),)
        self.shards: dict[str, Shard] = {}
        """By shard id; closed ones stay, they may hold records."""
        self.open: list[tuple[int, Shard]] = []
        """(last hash, shard) in the order of the hashes."""

    def update(self, ranges: Sequence[ShardRange]) -> None:
        self.open = []
        for shard_range in ranges:
            shard = self.shards.get(shard_range.shard_id)
            if shard is None:
                shard = self.shards[shard_range.shard_id] = Shard(shard_range.shard_id, len(self.shards))
            self.open.append((shard_range.last_hash, shard))

    def shard_for(self, partition_key: str, explicit_hash_key: str | None) -> Shard:
        if len(self.open) == 1:
            return self.open[0][1]
        if explicit_hash_key is None:
            key_hash = int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest())
        elif explicit_hash_key.isdecimal() and int(explicit_hash_key) <= self.open[-1][0]:
            key_hash = int(explicit_hash_key)
        else:
            raise AwsError("InvalidArgumentException", f"Invalid ExplicitHashKey {explicit_hash_key}.")
        return next(shard for last_hash, shard in self.open if key_hash <= last_hash)


class KinesisService:
    """The data path of Kinesis. `on_put` is told of each shard that got records."""

    def __init__(
        self,
        scheduler: Scheduler,
        streams: Streams,
        truth: Truth,
        limits: ShardLimits,
        metrics: MetricSink | None = None,
    ) -> None:
        self._metrics = metrics or NoMetrics()
        self._now = scheduler.now
        self._definitions = streams
        self._truth = truth
        self._limits = limits
        self._generation = -1
        self._streams: dict[tuple[str, str], Stream] = {}
        self.on_put: Callable[[Stream, Shard, int], None] = _nobody_consumes
        """(stream, shard, number of records); the stream consumer sets it."""
        self.needed_from: Callable[[Stream, Shard], int] = _nothing_needed
        """The position from which on a shard's records must be kept; the stream consumer sets it."""

    # ---------------------------------------------------------------- boto3's operations

    def put_record(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Raises AwsError ProvisionedThroughputExceededException, ResourceNotFoundException, ..."""
        stream = self._stream(region, parameters)
        shard, record = self._put(stream, parameters)
        self.on_put(stream, shard, 1)
        self._trim(stream, shard)
        return {"ShardId": shard.shard_id, "SequenceNumber": record.sequence_number}

    def put_records(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Answers even if every record was refused: `FailedRecordCount` and each record's ErrorCode tell."""
        entries = parameters["Records"]
        if not 1 <= len(entries) <= RECORDS_PER_PUT:
            raise _out_of_bounds("records", f"length between 1 and {RECORDS_PER_PUT}")
        stream = self._stream(region, parameters)
        results: list[dict[str, Any]] = []
        failed = 0
        accepted: dict[Shard, int] = {}
        for entry in entries:
            try:
                shard, record = self._put(stream, entry)
            except AwsError as error:
                failed += 1
                results.append({"ErrorCode": error.code, "ErrorMessage": error.message})
            else:
                accepted[shard] = accepted.get(shard, 0) + 1
                results.append({"SequenceNumber": record.sequence_number, "ShardId": shard.shard_id})
        for shard, count in accepted.items():
            self.on_put(stream, shard, count)
            self._trim(stream, shard)
        return {"FailedRecordCount": failed, "Records": results}

    def get_shard_iterator(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """An iterator over the records still retained."""
        stream = self._stream(region, parameters)
        shard = stream.shards.get(parameters["ShardId"])
        if shard is None:
            raise AwsError(
                "ResourceNotFoundException",
                f"Shard {parameters['ShardId']} in stream {stream.name} under account {ACCOUNT_ID} does not exist",
            )
        oldest = shard.records[0].position if shard.records else shard.next_position
        kind = parameters["ShardIteratorType"]
        if kind == "TRIM_HORIZON":
            position = oldest
        elif kind == "LATEST":
            position = shard.next_position
        elif kind == "AT_TIMESTAMP":
            at = float(parameters["Timestamp"])
            position = next((r.position for r in shard.records if r.arrived_at >= at), shard.next_position)
        elif kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
            at_number = int(parameters["StartingSequenceNumber"]) + (kind == "AFTER_SEQUENCE_NUMBER")
            position = next(
                (r.position for r in shard.records if int(r.sequence_number) >= at_number), shard.next_position
            )
        else:
            raise AwsError("InvalidArgumentException", f"Invalid ShardIteratorType: {kind}")
        return {"ShardIterator": _iterator(stream, shard, position)}

    def get_records(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Retained records from an iterator on; `Data` as bytes, `ApproximateArrivalTimestamp` in epoch seconds."""
        try:
            name, shard_id, start = base64.b64decode(parameters["ShardIterator"]).decode().split("\n")
            shard = self._streams[(region, name)].shards[shard_id]
        except (ValueError, KeyError):
            raise AwsError("InvalidArgumentException", "Invalid ShardIterator.") from None
        records = shard.since(int(start), min(int(parameters.get("Limit", RECORDS_PER_GET)), RECORDS_PER_GET))
        position = records[-1].position + 1 if records else max(int(start), 0)
        behind_s = self._now() - records[-1].arrived_at if records and position < shard.next_position else 0.0
        return {
            "Records": [
                {
                    "SequenceNumber": record.sequence_number,
                    "ApproximateArrivalTimestamp": record.arrived_at,
                    "Data": record.data,
                    "PartitionKey": record.partition_key,
                    "EncryptionType": "NONE",
                }
                for record in records
            ],
            "NextShardIterator": _iterator(self._streams[(region, name)], shard, position),
            "MillisBehindLatest": max(0, int(behind_s * 1000)),
        }

    # ---------------------------------------------------------------- the wire

    def handle(self, action: str, body: bytes, region: str) -> Answer | None:
        """One request of the JSON protocol -> (status, document); None for what moto answers."""
        operation = _OPERATIONS.get(action)
        if operation is None:
            return None
        try:
            parameters = orjson.loads(body)
            if action == "PutRecord":
                parameters["Data"] = base64.b64decode(parameters["Data"], validate=True)
            elif action == "PutRecords":
                for entry in parameters["Records"]:
                    entry["Data"] = base64.b64decode(entry["Data"], validate=True)
            answer = operation(self, region, parameters)
            if action in ("PutRecord", "PutRecords"):
                self._truth.taken("kinesis", len(parameters.get("Records", "1")) - answer.get("FailedRecordCount", 0))
        except AwsError as error:
            return error.status, {"__type": error.code, "message": error.message}
        except (KeyError, TypeError, ValueError) as error:
            return 400, {"__type": "ValidationException", "message": f"malformed {action} request: {error!r}"}
        for record in answer.get("Records", ()) if action == "GetRecords" else ():
            record["Data"] = base64.b64encode(record["Data"]).decode()
        return 200, answer

    # ---------------------------------------------------------------- inside

    def refresh(self) -> None:
        """Take the streams as they are now: records of a deleted stream are gone, one that comes later under the same
        name begins empty. To be called whenever the definitions have changed."""
        if self._definitions.generation == self._generation:
            return
        self._generation = self._definitions.generation
        for key, stream in list(self._streams.items()):
            ranges = self._definitions.open_shards(stream.name, stream.region)
            if ranges is None:
                del self._streams[key]
            else:
                stream.update(ranges)

    def logical_name(self, stream_name: str) -> str:
        return self._definitions.logical_name(stream_name)

    def stream_named(self, region: str, name: str) -> Stream | None:
        """A stream with its present shards; None where it does not exist."""
        self.refresh()
        stream = self._streams.get((region, name))
        if stream is None:
            ranges = self._definitions.open_shards(name, region)
            if ranges is None:
                return None
            stream = self._streams[(region, name)] = Stream(region, name, self._definitions.logical_name(name))
            stream.update(ranges)
        return stream

    def _stream(self, region: str, parameters: Mapping[str, Any]) -> Stream:
        arn = parameters.get("StreamARN")
        name = parameters.get("StreamName") or (arn or "").rpartition("/")[2]
        if not name:
            raise AwsError("InvalidArgumentException", "Either StreamName or StreamARN must be given.")
        stream = self.stream_named(arn.split(":")[3] if arn else region, name)
        if stream is None:
            raise AwsError("ResourceNotFoundException", f"Stream {name} under account {ACCOUNT_ID} not found.")
        return stream

    def _put(self, stream: Stream, entry: Mapping[str, Any]) -> tuple[Shard, Record]:
        data = _data(entry["Data"])
        key = entry.get("PartitionKey", "")
        if not 1 <= len(key) <= 256:
            raise _out_of_bounds("partitionKey", "length between 1 and 256")
        if len(data) > self._limits.record_max_bytes:
            raise _out_of_bounds("data", f"length less than or equal to {self._limits.record_max_bytes}")
        shard = stream.shard_for(key, entry.get("ExplicitHashKey"))
        now = self._now()
        size = len(data) + len(key.encode())
        counts, entrance = self._truth.stream(stream.logical_name), f"stream/{stream.logical_name}"
        if not shard.take(now, size, self._limits):
            counts.throttled += 1
            self._truth.message_answered(entrance, data, 400)
            raise AwsError(
                "ProvisionedThroughputExceededException",
                f"Rate exceeded for shard {shard.shard_id} in stream {stream.name} under account {ACCOUNT_ID}.",
            )
        counts.accepted += 1
        self._metrics.add("AWS/Kinesis", "IncomingRecords", stream.dimensions, now, 1.0)
        self._metrics.add("AWS/Kinesis", "IncomingBytes", stream.dimensions, now, float(size))
        self._truth.message_answered(entrance, data, 200)
        return shard, shard.append(key, data, now)

    def _trim(self, stream: Stream, shard: Shard) -> None:
        if len(shard.records) > RETAINED_RECORDS:
            shard.forget(self.needed_from(stream, shard))


def _out_of_bounds(member: str, constraint: str) -> AwsError:
    return AwsError(
        "ValidationException",
        f"1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must have {constraint}",
    )


def _data(value: bytes | bytearray | str) -> bytes:
    """boto3 takes text for a blob too."""
    return value.encode() if isinstance(value, str) else bytes(value)


def _iterator(stream: Stream, shard: Shard, position: int) -> str:
    return base64.b64encode(f"{stream.name}\n{shard.shard_id}\n{position}".encode()).decode()


def _nobody_consumes(stream: Stream, shard: Shard, count: int) -> None:
    pass


def _nothing_needed(stream: Stream, shard: Shard) -> int:
    return shard.next_position


_OPERATIONS: Mapping[str, Callable[[KinesisService, str, Mapping[str, Any]], dict[str, Any]]] = {
    "PutRecord": KinesisService.put_record,
    "PutRecords": KinesisService.put_records,
    "GetShardIterator": KinesisService.get_shard_iterator,
    "GetRecords": KinesisService.get_records,
}
