"""What handlers get from boto3 inside the sandbox."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError, ParamValidationError, UnknownServiceError

from sandbox.clients import InProcessClients, UnsupportedByTheSandbox
from sandbox.clock import VirtualScheduler
from sandbox.definitions import FunctionDefinition
from sandbox.faults import Faults
from sandbox.moto_bridge import MotoBridge
from sandbox.services.dynamodb import DynamoDbService
from sandbox.services.errors import AwsError
from sandbox.services.eventbridge import EventBridgeService
from sandbox.services.kinesis import KinesisService, ShardLimits
from sandbox.services.kms import KmsService
from sandbox.services.sns import SnsService
from sandbox.services.sqs import SqsService
from sandbox.truth import Truth
from tests.sandbox.boto3_in_process import REGION, boto3_client
from tests.sandbox.lab import Metrics

FUNCTION = FunctionDefinition(
    name="f",
    arn=f"arn:aws:lambda:{REGION}:123456789012:function:f",
    version="$LATEST",
    handler="handler.f",
    memory_mb=128,
    timeout_s=3.0,
    environment={},
    code_sha256="",
    code_zip=b"",
    log_group="/aws/lambda/f",
)


class NoFunctions:
    def invoke_async(self, function: FunctionDefinition, payload: bytes) -> str:
        raise AssertionError("nothing is subscribed")


@pytest.fixture
def bridge() -> MotoBridge:
    bridge = MotoBridge()
    boto3_client(bridge.handle, "kinesis").create_stream(StreamName="votes", ShardCount=1)
    boto3_client(bridge.handle, "sns").create_topic(Name="sales")
    dynamodb = boto3_client(bridge.handle, "dynamodb")
    dynamodb.create_table(
        TableName="shops",
        KeySchema=[
            {"AttributeName": "shop_id", "KeyType": "HASH"},
            {"AttributeName": "record_type", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "shop_id", "AttributeType": "S"},
            {"AttributeName": "record_type", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return bridge


@pytest.fixture
def clients(bridge: MotoBridge) -> InProcessClients:
    clock, truth = VirtualScheduler(), Truth()
    return InProcessClients(
        kinesis=KinesisService(clock, bridge, truth, ShardLimits(3, 2**20, 2**20)),
        sns=SnsService(clock, bridge, NoFunctions(), Faults(), truth, delivery_s=0.0, rng=random.Random(1)),
        sqs=SqsService(clock, bridge, Faults(), truth, duplicate_after_s=1.0, rng=random.Random(1)),
        eventbridge=EventBridgeService(
            clock, bridge, NoFunctions(), Faults(), truth, delivery_s=0.0, rng=random.Random(1)
        ),
        kms=KmsService(),
        dynamodb=DynamoDbService(),
    )


def make(clients: InProcessClients, service: str) -> Any:
    return clients.make_client(service, FUNCTION)


def test_a_throttle_is_botocores_error_with_its_text(clients: InProcessClients) -> None:
    kinesis = make(clients, "kinesis")
    for _ in range(3):
        kinesis.put_record(StreamName="votes", PartitionKey="k", Data=b"x")
    with pytest.raises(kinesis.exceptions.ProvisionedThroughputExceededException) as refused:
        kinesis.put_record(StreamName="votes", PartitionKey="k", Data=b"x")
    assert isinstance(refused.value, ClientError)
    assert type(refused.value).__name__ == "ProvisionedThroughputExceededException"
    assert str(refused.value) == (
        "An error occurred (ProvisionedThroughputExceededException) when calling the PutRecord operation: "
        "Rate exceeded for shard shardId-000000000000 in stream votes under account 123456789012."
    )
    assert refused.value.response["Error"]["Code"] == "ProvisionedThroughputExceededException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert refused.value.operation_name == "PutRecord"


def test_answers_carry_response_metadata(clients: InProcessClients) -> None:
    answer = make(clients, "sns").publish(TopicArn=f"arn:aws:sns:{REGION}:123456789012:sales", Message="m")
    assert len(answer["MessageId"]) == 36
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_missing_unknown_and_mistyped_parameters_are_refused_as_boto3_does(clients: InProcessClients) -> None:
    kinesis = make(clients, "kinesis")
    with pytest.raises(ParamValidationError, match='Missing required parameter in input: "Data"'):
        kinesis.put_record(StreamName="votes", PartitionKey="k")
    with pytest.raises(ParamValidationError, match='Unknown parameter in input: "Stream"'):
        kinesis.put_record(Stream="votes", PartitionKey="k", Data=b"x")
    with pytest.raises(ParamValidationError, match="Invalid type for parameter PartitionKey"):
        kinesis.put_record(StreamName="votes", PartitionKey=1, Data=b"x")
    with pytest.raises(TypeError, match="only accepts keyword arguments"):
        kinesis.put_record("votes")


def test_what_the_sandbox_does_not_have_is_said_clearly(clients: InProcessClients) -> None:
    with pytest.raises(UnknownServiceError):
        make(clients, "kinessis")
    with pytest.raises(
        UnsupportedByTheSandbox, match="no glacier client; it has dynamodb, events, kinesis, kms, sns, sqs"
    ):
        make(clients, "glacier")
    with pytest.raises(AttributeError, match="kinesis client has no 'create_stream'; it has put_record, put_records"):
        make(clients, "kinesis").create_stream()
    assert not hasattr(make(clients, "kinesis"), "create_stream")


def test_clients_are_of_the_functions_region(clients: InProcessClients) -> None:
    assert make(clients, "sns").meta.region_name == REGION


def test_kms_round_trip(clients: InProcessClients, bridge: MotoBridge) -> None:
    key_id = boto3_client(bridge.handle, "kms").create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")[
        "KeyMetadata"
    ]["KeyId"]
    kms = make(clients, "kms")
    algorithm = "RSAES_OAEP_SHA_256"
    blob = kms.encrypt(KeyId=key_id, Plaintext="text", EncryptionAlgorithm=algorithm)["CiphertextBlob"]
    answer = kms.decrypt(KeyId=key_id, CiphertextBlob=blob, EncryptionAlgorithm=algorithm)
    assert answer["Plaintext"] == b"text"
    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.decrypt(KeyId=key_id, CiphertextBlob=b"rubbish", EncryptionAlgorithm=algorithm)


# -------------------------------------------------------------------- DynamoDB

SHOP = {"shop_id": {"S": "s"}, "record_type": {"S": "s-90001"}}


def add(dynamodb: Any, number: int, **more: Any) -> Any:
    return dynamodb.update_item(
        TableName="shops",
        Key=SHOP,
        UpdateExpression="ADD gross_number :n, stock :minus",
        ExpressionAttributeValues={":n": {"N": str(number)}, ":minus": {"N": str(-number)}},
        **more,
    )


def test_updates_add_up_and_any_boto3_program_sees_them(clients: InProcessClients, bridge: MotoBridge) -> None:
    dynamodb = make(clients, "dynamodb")
    add(dynamodb, 5)
    answer = add(dynamodb, 2, ReturnValues="UPDATED_NEW")
    assert answer["Attributes"] == {"gross_number": {"N": "7"}, "stock": {"N": "-7"}}
    seen = boto3_client(bridge.handle, "dynamodb").get_item(TableName="shops", Key=SHOP)["Item"]
    assert seen == {**SHOP, "gross_number": {"N": "7"}, "stock": {"N": "-7"}}


def test_what_a_boto3_program_puts_the_handlers_see(clients: InProcessClients, bridge: MotoBridge) -> None:
    boto3_client(bridge.handle, "dynamodb").put_item(TableName="shops", Item={**SHOP, "raw": {"B": b"\x00"}})
    item = make(clients, "dynamodb").get_item(TableName="shops", Key=SHOP)["Item"]
    assert item == {**SHOP, "raw": {"B": b"\x00"}}


def test_an_absent_item_is_no_item(clients: InProcessClients) -> None:
    answer = make(clients, "dynamodb").get_item(TableName="shops", Key=SHOP)
    assert set(answer) == {"ResponseMetadata"}


def test_a_failed_condition_is_raised(clients: InProcessClients) -> None:
    dynamodb = make(clients, "dynamodb")
    add(dynamodb, 1)
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException) as refused:
        dynamodb.put_item(TableName="shops", Item=SHOP, ConditionExpression="attribute_not_exists(shop_id)")
    assert str(refused.value) == (
        "An error occurred (ConditionalCheckFailedException) when calling the PutItem operation: "
        "The conditional request failed"
    )


def test_an_unknown_table_and_a_bad_expression_are_refused(clients: InProcessClients) -> None:
    dynamodb = make(clients, "dynamodb")
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException, match="Requested resource not found"):
        dynamodb.get_item(TableName="nope", Key=SHOP)
    with pytest.raises(ClientError, match=r"ValidationException.*reserved keyword"):
        dynamodb.update_item(
            TableName="shops",
            Key=SHOP,
            UpdateExpression="ADD total :n",
            ExpressionAttributeValues={":n": {"N": "1"}},
        )


def test_a_handler_cannot_change_the_table_through_an_answer_or_its_parameters(clients: InProcessClients) -> None:
    dynamodb = make(clients, "dynamodb")
    item = {**SHOP, "names": {"L": [{"S": "a"}]}}
    dynamodb.put_item(TableName="shops", Item=item)
    item["names"]["L"].append({"S": "b"})  # type: ignore[index]
    dynamodb.get_item(TableName="shops", Key=SHOP)["Item"]["names"]["L"].clear()
    stored = dynamodb.get_item(TableName="shops", Key=SHOP)["Item"]
    assert stored["names"] == {"L": [{"S": "a"}]}


def test_query_scan_delete_and_batches(clients: InProcessClients) -> None:
    dynamodb = make(clients, "dynamodb")
    puts = [{"PutRequest": {"Item": {**SHOP, "record_type": {"S": f"s-{n}"}}}} for n in range(3)]
    assert dynamodb.batch_write_item(RequestItems={"shops": puts})["UnprocessedItems"] == {}
    found = dynamodb.query(
        TableName="shops",
        KeyConditionExpression="shop_id = :s",
        ExpressionAttributeValues={":s": {"S": "s"}},
    )
    assert [item["record_type"]["S"] for item in found["Items"]] == ["s-0", "s-1", "s-2"]
    dynamodb.delete_item(TableName="shops", Key={**SHOP, "record_type": {"S": "s-1"}})
    assert dynamodb.scan(TableName="shops")["Count"] == 2


def test_transactions_are_all_or_nothing(clients: InProcessClients) -> None:
    dynamodb = make(clients, "dynamodb")
    put = {"Put": {"TableName": "shops", "Item": SHOP}}
    impossible = {
        "ConditionCheck": {
            "TableName": "shops",
            "Key": {**SHOP, "record_type": {"S": "absent"}},
            "ConditionExpression": "attribute_exists(shop_id)",
        }
    }
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(TransactItems=[put, impossible])
    assert "Item" not in dynamodb.get_item(TableName="shops", Key=SHOP)
    dynamodb.transact_write_items(TransactItems=[put])
    assert dynamodb.get_item(TableName="shops", Key=SHOP)["Item"] == SHOP
    assert dynamodb.describe_table(TableName="shops")["Table"]["ItemCount"] == 1


def test_the_table_resource_speaks_python_values(clients: InProcessClients) -> None:
    table = clients.make_resource("dynamodb", FUNCTION).Table("shops")
    key = {"shop_id": "s", "record_type": "s-1"}
    table.put_item(Item={**key, "stock": Decimal(3), "tags": ["a", None, True]})
    updated = table.update_item(
        Key=key,
        UpdateExpression="SET stock = stock - :n",
        ConditionExpression=Attr("stock").gte(Decimal(1)),
        ExpressionAttributeValues={":n": 1},
        ReturnValues="UPDATED_NEW",
    )
    assert updated["Attributes"] == {"stock": Decimal(2)}
    found = table.query(KeyConditionExpression=Key("shop_id").eq("s"), FilterExpression=Attr("stock").eq(2))
    assert found["Items"] == [{**key, "stock": Decimal(2), "tags": ["a", None, True]}]
    with pytest.raises(ClientError, match="ConditionalCheckFailedException"):
        table.delete_item(Key=key, ConditionExpression=Attr("stock").eq(9))
    with pytest.raises(UnsupportedByTheSandbox):
        clients.make_resource("s3", FUNCTION)


def test_items_written_and_read_are_capacity(bridge: MotoBridge) -> None:
    metrics = Metrics()
    service = DynamoDbService(metrics, lambda: 60.0)
    key = {"shop_id": {"S": "a"}, "record_type": {"S": "s"}}
    service.call("put_item", "eu-west-1", {"TableName": "shops", "Item": key})
    service.call("get_item", "eu-west-1", {"TableName": "shops", "Key": key})
    service.call("get_item", "eu-west-1", {"TableName": "shops", "Key": key, "ConsistentRead": True})
    with pytest.raises(AwsError):
        service.call("put_item", "eu-west-1", {"TableName": "gone", "Item": key})
    assert metrics.of("ConsumedWriteCapacityUnits", ("TableName", "shops")) == [1.0]
    assert metrics.of("ConsumedReadCapacityUnits", ("TableName", "shops")) == [0.5, 1.0]
    assert metrics.of("ConsumedWriteCapacityUnits", ("TableName", "gone")) == []
