"""The consumers of the events application."""

import base64
import json

import pytest


@pytest.fixture
def events(load):
    return load("events")


def order(**more):
    return json.dumps({"order_id": "o", "number": 1, "correlation_id": "c-1", **more})


def of_queue(*bodies):
    return {"Records": [{"messageId": f"m-{number}", "body": body} for number, body in enumerate(bodies)]}


def test_the_queue_s_consumer_names_what_failed_and_nothing_else(events, context, log):
    answer = events.from_queue(of_queue(order(), order(poison=True), "no JSON", order(number=0)), context)
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["m-1", "m-2", "m-3"]
    lines = log()
    assert [(line["message_id"], line.get("failed")) for line in lines] == [
        ("m-0", None),
        ("m-1", True),
        ("m-2", True),
        ("m-3", True),
    ]
    assert lines[0] == {
        "level": "INFO",
        "swarmscope": 1,
        "request_id": context.aws_request_id,
        "hop": "queue-consumer",
        "message_id": "m-0",
        "correlation_id": "c-1",
    }


def of_topic(body):
    return {"Records": [{"Sns": {"MessageId": "m", "Message": body}}]}


def of_bus(body):
    return {"id": "m", "detail": json.loads(body)}


def of_stream(body):
    return {"Records": [{"kinesis": {"sequenceNumber": "m", "data": base64.b64encode(body.encode()).decode()}}]}


@pytest.mark.parametrize(
    ("handler", "event", "hop"),
    [
        ("from_topic", of_topic, "topic-consumer"),
        ("from_bus", of_bus, "bus-consumer"),
        ("from_stream", of_stream, "stream-consumer"),
    ],
)
def test_the_others_log_their_message_and_fail_on_a_poisoned_one(events, context, log, handler, event, hop):
    consume = getattr(events, handler)
    consume(event(order()), context)
    with pytest.raises(ValueError, match="poisoned"):
        consume(event(order(poison=True)), context)
    assert [(line["hop"], line["message_id"], line["correlation_id"]) for line in log()] == [(hop, "m", "c-1")] * 2
