"""The events application: one consumer behind each way that an order can come.

from_queue    a batch of SQS messages       (queue `events`; what fails too often goes to `events-dead`)
from_topic    one SNS notification          (topic `events`)
from_bus      one EventBridge event         (bus `events`)
from_stream   a batch of Kinesis records    (stream `events`)

An order is a JSON object: `{"order_id", "item_no", "number", "correlation_id"?, "run_id"?}`; one with `"poison": true`
fails, each time it comes.

Self-contained on purpose: what is here is the whole of the function. Its metrics and the warmer's event: stack/shared.
"""

import base64
import json
import os
from typing import Any

from handler_metrics import HandlerMetrics
from warming import warmable

LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO")

queue_metrics = HandlerMetrics("queue-consumer")
topic_metrics = HandlerMetrics("topic-consumer")
bus_metrics = HandlerMetrics("bus-consumer")
stream_metrics = HandlerMetrics("stream-consumer")


@warmable
@queue_metrics.measured
def from_queue(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take each order of a batch; -> which messages failed. Those alone come back, the others are deleted.

    The invocation succeeds whatever becomes of its messages, so the correlation line says which of them failed.
    """
    failed = []
    for record in event["Records"]:
        order, problem = read(record["body"])
        problem = problem or refused(order)
        log_correlation("queue-consumer", context, order, record["messageId"], problem)
        if problem:
            failed.append(record["messageId"])
    queue_metrics.add("OrdersRefused", len(failed))
    queue_metrics.add("OrdersTaken", len(event["Records"]) - len(failed))
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


@warmable
@topic_metrics.measured
def from_topic(event: dict[str, Any], context: Any) -> None:
    """Take an order; a bad one fails the invocation, and Lambda tries it twice more."""
    for record in event["Records"]:
        take(record["Sns"]["Message"], "topic-consumer", context, record["Sns"]["MessageId"])


@warmable
@bus_metrics.measured
def from_bus(event: dict[str, Any], context: Any) -> None:
    """Take an order; a bad one fails the invocation, and Lambda tries it twice more."""
    take(json.dumps(event["detail"]), "bus-consumer", context, event["id"])


@warmable
@stream_metrics.measured
def from_stream(event: dict[str, Any], context: Any) -> None:
    """Take each order of a batch; a bad one fails the invocation, and its shard waits for it."""
    for record in event["Records"]:
        text = base64.b64decode(record["kinesis"]["data"]).decode()
        take(text, "stream-consumer", context, record["kinesis"]["sequenceNumber"])


def take(text: str, hop: str, context: Any, message_id: str) -> None:
    """Raises ValueError for an order that cannot be taken."""
    order, problem = read(text)
    log_correlation(hop, context, order, message_id)
    problem = problem or refused(order)
    if problem:
        raise ValueError(problem)


def read(text: str) -> tuple[dict[str, Any], str | None]:
    """-> (the order, None) or ({}, what is wrong)."""
    try:
        order = json.loads(text)
    except ValueError:
        return {}, "the message is not JSON"
    return (order, None) if isinstance(order, dict) else ({}, "the message must be a JSON object")


def refused(order: dict[str, Any]) -> str | None:
    """Why an order cannot be taken; None where it can."""
    if order.get("poison"):
        return "the order is poisoned"
    number = order.get("number")
    return None if isinstance(number, int) and number > 0 else "number must be a whole number above 0"


def log_correlation(hop: str, context: Any, order: dict[str, Any], message_id: str, problem: str | None = None) -> None:
    """The correlation line: one for each message, with what is known. `failed` where its message alone failed."""
    line = {
        "level": "INFO",
        "swarmscope": 1,
        "request_id": context.aws_request_id,
        "hop": hop,
        "message_id": message_id,
        "correlation_id": order.get("correlation_id"),
        "failed": True if problem else None,
        "problem": problem,
    }
    print(json.dumps({name: value for name, value in line.items() if value is not None}))
    if LOG_LEVEL == "DEBUG":
        print(json.dumps({"level": "DEBUG", "message": "order", "order": order}))
