"""The shop application: what its three Lambda functions do.

accept     POST /shop (shop_id, content_base64)  -> topic `sales`
decrypt    topic `sales`                         -> topic `decrypted-sales`
update_db  topic `decrypted-sales`               -> table `shops`

`content_base64` is a JSON list of sales, encrypted whole with RSAES_OAEP_SHA_256 under the shop's key:

    [{"item_no":90001,"number":5,"turnover":5},{"item_no":90002,"number":1,"turnover":2}]

RSA-2048 holds 190 bytes, so the correlation id travels beside the ciphertext, not in it.

Self-contained on purpose: what is here is the whole of the function. Its metrics and the warmer's event: stack/shared.
"""

import base64
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import boto3
from handler_metrics import HandlerMetrics
from warming import warmable

LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO")

kms = boto3.client("kms")
sns = boto3.client("sns")
dynamodb = boto3.client("dynamodb")

accepting = HandlerMetrics("shop-accept")
decrypting = HandlerMetrics("shop-decrypt")
updating = HandlerMetrics("shop-update-db")


@warmable
@accepting.measured
def accept(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Check an encrypted message and publish it. 200 with `{"message_id"}`, or 400 with a reason."""
    problem, message = read_message(event)
    log_correlation(
        "shop-accept",
        context,
        correlation_id=message.get("correlation_id"),
        gateway_request_id=event["requestContext"]["requestId"],
    )
    if problem:
        return answer(400, {"message": problem}, context)
    debug("publishing", shop_id=message["shop_id"], characters=len(message["content_base64"]))
    published = publish(
        os.environ["SALES_TOPIC_ARN"],
        message,
        content_base64=message["content_base64"],
    )
    return answer(200, {"message_id": published}, context)


@warmable
@decrypting.measured
def decrypt(event: dict[str, Any], context: Any) -> None:
    """Decrypt each message and publish its sales. A message that cannot be decrypted fails the invocation."""
    for message_id, message in delivered(event, "shop-decrypt", context):
        plain = kms.decrypt(
            KeyId=os.environ["SHOP_KEY_ID"],
            CiphertextBlob=base64.b64decode(message["content_base64"], validate=True),
            EncryptionAlgorithm="RSAES_OAEP_SHA_256",
        )["Plaintext"]
        sales = json.loads(plain)
        if not isinstance(sales, list) or not sales:
            raise ValueError(f"message {message_id}: the content must be a list of sales")
        debug("decrypted", message_id=message_id, sales=sales)
        publish(os.environ["DECRYPTED_SALES_TOPIC_ARN"], message, sales=sales)
        decrypting.add("Sales", len(sales))


@warmable
@updating.measured
def update_db(event: dict[str, Any], context: Any) -> None:
    """Add each sale to its record of table `shops`: gross_number and gross_turnover up, stock down.

    All sales of a message are checked before the first is written. A write that fails fails the invocation: a sale
    is never lost silently, and the topic delivers it again.
    """
    for message_id, message in delivered(event, "shop-update-db", context):
        additions = [(sale["item_no"], *checked(sale)) for sale in message["sales"]]
        for item_no, number, turnover in additions:
            debug("adding", message_id=message_id, item_no=item_no, number=number, turnover=turnover)
            dynamodb.update_item(
                TableName=os.environ["SHOPS_TABLE"],
                Key={"shop_id": {"S": message["shop_id"]}, "record_type": {"S": f"s-{item_no:05d}"}},
                UpdateExpression="ADD gross_number :number, gross_turnover :turnover, stock :minus_number",
                ExpressionAttributeValues={
                    ":number": {"N": str(number)},
                    ":turnover": {"N": str(turnover)},
                    ":minus_number": {"N": str(-number)},
                },
            )
            updating.add("Turnover", float(turnover), "None")


def checked(sale: dict[str, Any]) -> tuple[int | Decimal, int | Decimal]:
    """-> (number, turnover) of a sale. Raises ValueError where one is up and the other down."""
    number, turnover = sale["number"], sale["turnover"]
    if number * turnover < 0:
        raise ValueError(f"contradictory signs: item {sale['item_no']} has number {number} and turnover {turnover}")
    return number, turnover


def read_message(event: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """-> (None, fields) or (what is wrong, the fields as far as they could be read)."""
    text = event.get("body") or ""
    try:
        fields = json.loads(base64.b64decode(text) if event.get("isBase64Encoded") else text)
    except ValueError:
        return "the body is not JSON", {}
    if not isinstance(fields, dict):
        return "the body must be a JSON object", {}
    bad = [n for n in ("shop_id", "content_base64") if not isinstance(fields.get(n), str) or not fields[n]]
    if bad:
        return f"missing or not a non-empty string: {', '.join(bad)}", fields
    try:
        base64.b64decode(fields["content_base64"], validate=True)
    except ValueError:
        return "content_base64 is not base64", fields
    return None, fields


def delivered(event: dict[str, Any], hop: str, context: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The messages that SNS hands over (one an invocation, by its documentation): (message id, fields)."""
    for record in event["Records"]:
        message_id = record["Sns"]["MessageId"]
        message = json.loads(record["Sns"]["Message"], parse_float=Decimal)
        log_correlation(hop, context, correlation_id=message.get("correlation_id"), message_id=message_id)
        yield message_id, message


def publish(topic_arn: str, message: dict[str, Any], **content: Any) -> str:
    """Pass a shop's message on with new content; -> the id SNS gave it."""
    passed_on = {"shop_id": message["shop_id"], **content}
    if "correlation_id" in message:
        passed_on["correlation_id"] = message["correlation_id"]
    published = sns.publish(TopicArn=topic_arn, Message=json.dumps(passed_on))["MessageId"]
    debug("published", topic_arn=topic_arn, message_id=published)
    return published


def answer(status: int, body: dict[str, Any], context: Any) -> dict[str, Any]:
    """A proxy response that names the invocation, so that the caller can be joined to its log."""
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json", "X-Lambda-Request-Id": context.aws_request_id},
        "body": json.dumps(body),
    }


def log_correlation(hop: str, context: Any, **ids: str | None) -> None:
    """The correlation line: once per invocation, before anything can fail, with what is known.

    `message_id` is the message that was delivered to this hop.
    """
    known = {name: value for name, value in ids.items() if value is not None}
    print(json.dumps({"level": "INFO", "swarmscope": 1, "request_id": context.aws_request_id, "hop": hop, **known}))


def debug(message: str, **details: Any) -> None:
    if LOG_LEVEL == "DEBUG":
        print(json.dumps({"level": "DEBUG", "message": message, **details}, default=str))
