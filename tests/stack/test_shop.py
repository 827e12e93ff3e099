import base64
import json
from typing import Any

import pytest

ENVIRONMENT = {
    "SALES_TOPIC_ARN": "arn:sales",
    "DECRYPTED_SALES_TOPIC_ARN": "arn:decrypted",
    "SHOP_KEY_ID": "key-1",
    "SHOPS_TABLE": "demo-shops",
}
CIPHERTEXT = base64.b64encode(b"secret").decode()
MESSAGE = {"shop_id": "shop-1", "content_base64": CIPHERTEXT, "correlation_id": "c-1"}
SALES = [{"item_no": 90001, "number": 5, "turnover": 5}, {"item_no": 90002, "number": 1, "turnover": 2}]


@pytest.fixture
def shop(load: Any, clients: Any) -> Any:
    clients.answers["publish"] = {"MessageId": "m-out"}
    clients.answers["decrypt"] = {"Plaintext": json.dumps(SALES).encode()}
    return load("shop", **ENVIRONMENT)


def delivery(message: dict[str, Any]) -> dict[str, Any]:
    return {"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "m-in", "Message": json.dumps(message)}}]}


def test_an_accepted_message_is_published_as_it_came(shop, clients, context, proxy):
    answer = shop.accept(proxy(MESSAGE), context)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == {"message_id": "m-out"}
    assert answer["headers"]["X-Lambda-Request-Id"] == context.aws_request_id
    [published] = clients.arguments("publish")
    assert published["TopicArn"] == "arn:sales"
    assert json.loads(published["Message"]) == MESSAGE


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "not JSON"),
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ({}, "shop_id, content_base64"),
        ({**MESSAGE, "shop_id": ""}, "shop_id"),
        ({**MESSAGE, "content_base64": 5}, "content_base64"),
        ({**MESSAGE, "content_base64": "not base64!"}, "not base64"),
        ({**MESSAGE, "content_base64": "abcde"}, "not base64"),
        ({**MESSAGE, "content_base64": "été="}, "not base64"),
    ],
)
def test_a_bad_body_gets_400_with_the_reason_and_publishes_nothing(shop, clients, context, proxy, body, reason):
    answer = shop.accept(proxy(body), context)
    assert answer["statusCode"] == 400
    assert reason in json.loads(answer["body"])["message"]
    assert clients.arguments("publish") == []


@pytest.mark.parametrize("operation", ["accept", "decrypt"])
def test_a_failing_publish_fails_the_invocation(shop, clients, context, proxy, operation):
    clients.answers["publish"] = RuntimeError("topic gone")
    event = proxy(MESSAGE) if operation == "accept" else delivery(MESSAGE)
    with pytest.raises(RuntimeError):
        getattr(shop, operation)(event, context)


def test_a_message_is_decrypted_whole_under_the_shops_key(shop, clients, context):
    shop.decrypt(delivery(MESSAGE), context)
    assert clients.arguments("decrypt") == [
        {"KeyId": "key-1", "CiphertextBlob": b"secret", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    ]


def test_decrypted_sales_are_published_with_shop_and_correlation_id(shop, clients, context):
    shop.decrypt(delivery(MESSAGE), context)
    [published] = clients.arguments("publish")
    assert published["TopicArn"] == "arn:decrypted"
    assert json.loads(published["Message"]) == {"shop_id": "shop-1", "sales": SALES, "correlation_id": "c-1"}


def test_a_message_without_a_correlation_id_goes_on_without_one(shop, clients, context):
    shop.decrypt(delivery({"shop_id": "shop-1", "content_base64": CIPHERTEXT}), context)
    assert "correlation_id" not in json.loads(clients.arguments("publish")[0]["Message"])


@pytest.mark.parametrize("plain", [b"{}", b"[]", b"not JSON"])
def test_content_that_is_no_list_of_sales_fails_the_invocation(shop, clients, context, plain):
    clients.answers["decrypt"] = {"Plaintext": plain}
    with pytest.raises(ValueError, match=r"list of sales|Expecting"):
        shop.decrypt(delivery(MESSAGE), context)
    assert clients.arguments("publish") == []


def update(sales: list[dict[str, Any]]) -> dict[str, Any]:
    return delivery({"shop_id": "shop-1", "sales": sales, "correlation_id": "c-1"})


def test_each_sale_adds_to_its_record_and_takes_from_the_stock(shop, clients, context):
    shop.update_db(update(SALES), context)
    first, second = clients.arguments("update_item")
    assert first == {
        "TableName": "demo-shops",
        "Key": {"shop_id": {"S": "shop-1"}, "record_type": {"S": "s-90001"}},
        "UpdateExpression": "ADD gross_number :number, gross_turnover :turnover, stock :minus_number",
        "ExpressionAttributeValues": {":number": {"N": "5"}, ":turnover": {"N": "5"}, ":minus_number": {"N": "-5"}},
    }
    assert second["Key"]["record_type"] == {"S": "s-90002"}
    assert second["ExpressionAttributeValues"][":turnover"] == {"N": "2"}


def test_a_record_type_has_five_digits(shop, clients, context):
    shop.update_db(update([{"item_no": 98, "number": 1, "turnover": 1}]), context)
    assert clients.arguments("update_item")[0]["Key"]["record_type"] == {"S": "s-00098"}


def test_a_decimal_turnover_keeps_its_digits(shop, clients, context):
    shop.update_db(update([{"item_no": 1, "number": 1, "turnover": 19.99}]), context)
    assert clients.arguments("update_item")[0]["ExpressionAttributeValues"][":turnover"] == {"N": "19.99"}


@pytest.mark.parametrize(("number", "turnover"), [(5, -5), (-5, 5)])
def test_contradictory_signs_are_refused_before_anything_is_written(shop, clients, context, number, turnover):
    sales = [SALES[0], {"item_no": 90002, "number": number, "turnover": turnover}]
    with pytest.raises(ValueError, match="contradictory signs: item 90002"):
        shop.update_db(update(sales), context)
    assert clients.arguments("update_item") == []


@pytest.mark.parametrize(("number", "turnover"), [(-5, -5), (0, 5), (5, 0)])
def test_a_return_or_a_gift_is_no_contradiction(shop, clients, context, number, turnover):
    shop.update_db(update([{"item_no": 90001, "number": number, "turnover": turnover}]), context)
    assert len(clients.arguments("update_item")) == 1


def test_a_failing_write_fails_the_invocation(shop, clients, context):
    clients.answers["update_item"] = RuntimeError("table gone")
    with pytest.raises(RuntimeError):
        shop.update_db(update(SALES), context)


def test_each_hop_writes_its_correlation_line(shop, context, proxy, log):
    shop.accept(proxy(MESSAGE), context)
    shop.decrypt(delivery(MESSAGE), context)
    shop.update_db(update(SALES), context)
    common = {"level": "INFO", "swarmscope": 1, "request_id": context.aws_request_id, "correlation_id": "c-1"}
    assert log() == [
        {**common, "hop": "shop-accept", "gateway_request_id": "gateway-1"},
        {**common, "hop": "shop-decrypt", "message_id": "m-in"},
        {**common, "hop": "shop-update-db", "message_id": "m-in"},
    ]


def test_the_correlation_line_is_there_when_decryption_fails(shop, clients, context, log):
    clients.answers["decrypt"] = RuntimeError("InvalidCiphertextException")
    with pytest.raises(RuntimeError):
        shop.decrypt(delivery(MESSAGE), context)
    assert [line["hop"] for line in log()] == ["shop-decrypt"]
