"""Puts within the shards' limits, in process and on the wire."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.clock import VirtualScheduler
from sandbox.moto_bridge.resources import ShardRange
from sandbox.services.errors import AwsError
from sandbox.services.kinesis import RETAINED_RECORDS, KinesisService, ShardLimits
from sandbox.truth import Truth
from tests.sandbox.boto3_in_process import REGION, answered_by, boto3_client
from tests.sandbox.lab import Metrics

START = 1_800_000_000.25
TOP = 2**128


class Streams:
    """`{"app-votes": 2}`: streams with so many even shards."""

    def __init__(self, **shards: int) -> None:
        self.generation = 1
        self.shards = {name.replace("_", "-"): count for name, count in shards.items()}

    def open_shards(self, stream_name: str, region: str | None = None) -> Sequence[ShardRange] | None:
        count = self.shards.get(stream_name)
        if count is None or region != REGION:
            return None
        return [
            ShardRange(f"shardId-{index:012d}", index * TOP // count, (index + 1) * TOP // count - 1)
            for index in range(count)
        ]

    def logical_name(self, physical: str) -> str:
        return physical.removeprefix("app-")


@pytest.fixture
def clock() -> VirtualScheduler:
    return VirtualScheduler(START)


@pytest.fixture
def truth() -> Truth:
    return Truth()


@pytest.fixture
def streams() -> Streams:
    return Streams(app_votes=1, app_wide=2)


@pytest.fixture
def kinesis(clock: VirtualScheduler, streams: Streams, truth: Truth) -> KinesisService:
    return KinesisService(clock, streams, truth, ShardLimits(1000, 1024 * 1024, 1024 * 1024))


def put(kinesis: KinesisService, stream: str = "app-votes", key: str = "k", data: bytes = b"x", **more: Any) -> Any:
    return kinesis.put_record(REGION, {"StreamName": stream, "PartitionKey": key, "Data": data, **more})


def put_many(kinesis: KinesisService, count: int, **options: Any) -> int:
    """-> how many were accepted."""
    accepted = 0
    for _ in range(count):
        try:
            put(kinesis, **options)
            accepted += 1
        except AwsError as error:
            assert error.code == "ProvisionedThroughputExceededException"
    return accepted


def test_a_put_answers_shard_and_a_56_digit_sequence_number(kinesis: KinesisService) -> None:
    answer = put(kinesis)
    assert answer["ShardId"] == "shardId-000000000000"
    assert len(answer["SequenceNumber"]) == 56
    assert answer["SequenceNumber"].isdigit()


def test_sequence_numbers_rise(kinesis: KinesisService) -> None:
    numbers = [int(put(kinesis)["SequenceNumber"]) for _ in range(3)]
    assert numbers == sorted(set(numbers))


def test_a_shard_takes_1000_records_in_each_second_of_the_clock(
    kinesis: KinesisService, clock: VirtualScheduler, truth: Truth
) -> None:
    assert put_many(kinesis, 1100) == 1000
    clock.run_until(int(START) + 0.999)
    assert put_many(kinesis, 1) == 0
    clock.run_until(int(START) + 1.0)
    assert put_many(kinesis, 1100) == 1000
    assert truth.as_dict()["streams"] == {"votes": {"accepted": 2000, "throttled": 201}}


def test_what_a_second_leaves_unused_is_not_carried_over(kinesis: KinesisService, clock: VirtualScheduler) -> None:
    put_many(kinesis, 10)
    clock.run_until(START + 60)
    assert put_many(kinesis, 2000) == 1000


def test_a_shard_takes_one_megabyte_a_second_partition_keys_included(kinesis: KinesisService) -> None:
    # 16 x (65,535 + 1 byte of key) = 1,048,576
    assert put_many(kinesis, 20, data=b"x" * 65_535, key="k") == 16


def test_a_throttle_names_shard_stream_and_account(kinesis: KinesisService) -> None:
    put_many(kinesis, 1000)
    with pytest.raises(AwsError) as refused:
        put(kinesis)
    assert refused.value.message == (
        "Rate exceeded for shard shardId-000000000000 in stream app-votes under account 123456789012."
    )


def test_keys_go_to_the_shard_of_their_md5(kinesis: KinesisService) -> None:
    for key in ("a", "b", "c", "vote-1", "ü"):
        upper_half = hashlib.md5(key.encode()).digest()[0] >= 128
        assert put(kinesis, "app-wide", key)["ShardId"] == f"shardId-00000000000{int(upper_half)}"


def test_an_explicit_hash_key_overrides_the_partition_key(kinesis: KinesisService) -> None:
    last = str(TOP - 1)
    assert put(kinesis, "app-wide", "a", ExplicitHashKey=last)["ShardId"] == "shardId-000000000001"
    assert put(kinesis, "app-wide", "a", ExplicitHashKey="0")["ShardId"] == "shardId-000000000000"


def test_two_shards_take_twice_as_much(kinesis: KinesisService) -> None:
    accepted = sum(put_many(kinesis, 1, stream="app-wide", key=f"key-{n}") for n in range(1800))
    assert accepted == 1800


def test_more_shards_after_a_change_take_more_at_once(kinesis: KinesisService, streams: Streams) -> None:
    assert put_many(kinesis, 1001) == 1000
    streams.shards["app-votes"] = 2
    streams.generation += 1
    keys = [f"key-{n}" for n in range(100)]
    assert sum(put_many(kinesis, 1, key=key) for key in keys) > 30


def test_put_records_answers_200_with_the_refused_ones_marked(kinesis: KinesisService, truth: Truth) -> None:
    put_many(kinesis, 998)
    answer = kinesis.put_records(
        REGION, {"StreamName": "app-votes", "Records": [{"PartitionKey": "k", "Data": b"x"}] * 5}
    )
    assert answer["FailedRecordCount"] == 3
    assert [record.get("ErrorCode") for record in answer["Records"]] == [
        None,
        None,
        *["ProvisionedThroughputExceededException"] * 3,
    ]
    assert truth.as_dict()["streams"]["votes"] == {"accepted": 1000, "throttled": 3}


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"StreamName": "nope", "PartitionKey": "k", "Data": b"x"}, "ResourceNotFoundException"),
        ({"PartitionKey": "k", "Data": b"x"}, "InvalidArgumentException"),
        (
            {"StreamName": "app-wide", "PartitionKey": "k", "Data": b"x", "ExplicitHashKey": "-1"},
            "InvalidArgumentException",
        ),
        (
            {"StreamName": "app-wide", "PartitionKey": "k", "Data": b"x", "ExplicitHashKey": str(TOP)},
            "InvalidArgumentException",
        ),
        ({"StreamName": "app-votes", "PartitionKey": "", "Data": b"x"}, "ValidationException"),
        ({"StreamName": "app-votes", "PartitionKey": "k" * 257, "Data": b"x"}, "ValidationException"),
        ({"StreamName": "app-votes", "PartitionKey": "k", "Data": b"x" * (1024 * 1024 + 1)}, "ValidationException"),
    ],
)
def test_bad_puts_are_refused(kinesis: KinesisService, parameters: dict[str, Any], code: str) -> None:
    with pytest.raises(AwsError) as refused:
        kinesis.put_record(REGION, parameters)
    assert refused.value.code == code


def test_a_stream_of_another_region_is_not_found(kinesis: KinesisService) -> None:
    with pytest.raises(AwsError, match="not found"):
        kinesis.put_record("us-east-1", {"StreamName": "app-votes", "PartitionKey": "k", "Data": b"x"})


def test_memory_stays_bounded_when_nobody_consumes(kinesis: KinesisService, clock: VirtualScheduler) -> None:
    for second in range(5):
        clock.run_until(int(START) + second + 1.0)
        put_many(kinesis, 1000)
    stream = kinesis.stream_named(REGION, "app-votes")
    assert stream is not None
    (shard,) = stream.shards.values()
    assert len(shard.records) == RETAINED_RECORDS
    assert shard.next_position == 5000


# -------------------------------------------------------------------- the wire


@pytest.fixture
def boto3_kinesis(kinesis: KinesisService) -> Any:
    return boto3_client(answered_by(kinesis.handle), "kinesis")


def test_boto3_puts_and_reads_back(boto3_kinesis: Any) -> None:
    put_answer = boto3_kinesis.put_record(StreamName="app-votes", PartitionKey="k", Data=b"\x00vote")
    iterator = boto3_kinesis.get_shard_iterator(
        StreamName="app-votes", ShardId=put_answer["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    read = boto3_kinesis.get_records(ShardIterator=iterator)
    (record,) = read["Records"]
    assert (record["Data"], record["PartitionKey"]) == (b"\x00vote", "k")
    assert record["SequenceNumber"] == put_answer["SequenceNumber"]
    assert record["ApproximateArrivalTimestamp"].timestamp() == START
    boto3_kinesis.put_record(StreamName="app-votes", PartitionKey="k", Data=b"next")
    following = boto3_kinesis.get_records(ShardIterator=read["NextShardIterator"])["Records"]
    assert [record["Data"] for record in following] == [b"next"]


def test_boto3_sees_a_throttle_as_aws_sends_it(boto3_kinesis: Any, kinesis: KinesisService) -> None:
    put_many(kinesis, 1000)
    with pytest.raises(boto3_kinesis.exceptions.ProvisionedThroughputExceededException) as refused:
        boto3_kinesis.put_record(StreamName="app-votes", PartitionKey="k", Data=b"x")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "Rate exceeded for shard shardId-000000000000 in stream app-votes" in str(refused.value)


def test_boto3_put_records_reports_failed_entries(boto3_kinesis: Any, kinesis: KinesisService) -> None:
    put_many(kinesis, 999)
    answer = boto3_kinesis.put_records(
        StreamName="app-votes", Records=[{"PartitionKey": "k", "Data": b"a"}, {"PartitionKey": "k", "Data": b"b"}]
    )
    assert answer["FailedRecordCount"] == 1
    assert answer["Records"][1]["ErrorCode"] == "ProvisionedThroughputExceededException"


def test_boto3_accepts_a_stream_by_arn(boto3_kinesis: Any) -> None:
    arn = f"arn:aws:kinesis:{REGION}:123456789012:stream/app-votes"
    assert boto3_kinesis.put_record(StreamARN=arn, PartitionKey="k", Data=b"x")["ShardId"]


def test_boto3_is_told_of_an_unknown_stream_and_a_bad_iterator(boto3_kinesis: Any) -> None:
    with pytest.raises(boto3_kinesis.exceptions.ResourceNotFoundException):
        boto3_kinesis.put_record(StreamName="nope", PartitionKey="k", Data=b"x")
    with pytest.raises(ClientError, match="InvalidArgumentException"):
        boto3_kinesis.get_records(ShardIterator="rubbish")


def test_what_is_not_of_the_data_path_is_left_to_moto(kinesis: KinesisService) -> None:
    assert kinesis.handle("DescribeStream", b"{}", REGION) is None


def test_a_malformed_request_is_an_error_not_a_crash(kinesis: KinesisService) -> None:
    for body in (b"", b"[]", b"{}", b'{"StreamName": "app-votes", "PartitionKey": "k", "Data": "###"}'):
        answer = kinesis.handle("PutRecord", body, REGION)
        assert answer is not None
        assert answer[0] == 400


def test_accepted_records_are_metrics_and_refused_ones_are_not(
    clock: VirtualScheduler, streams: Streams, truth: Truth
) -> None:
    metrics = Metrics()
    kinesis = KinesisService(clock, streams, truth, ShardLimits(2, 1024 * 1024, 1024 * 1024), metrics)
    assert put_many(kinesis, 3, key="key", data=b"12345") == 2
    assert metrics.of("IncomingRecords", ("StreamName", "app-votes")) == [1.0, 1.0]
    assert metrics.of("IncomingBytes", ("StreamName", "app-votes")) == [8.0, 8.0]
