"""Whole runs of Locust with messages and with direct invocations of every kind."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections import Counter

import pytest

REPORTED = "b5c1f6d0-0000-4000-8000-000000000001"


def respond(status: int, body: str, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def refuse_the_second(head: str) -> bytes:
    """Answers batches of three as the services do when they refuse the second message."""
    if "AmazonSQS" in head:
        body = {"Successful": [{"Id": "0"}, {"Id": "2"}], "Failed": [{"Id": "1", "Code": "InternalError"}]}
    elif "AWSEvents" in head:
        body = {"FailedEntryCount": 1, "Entries": [{"EventId": "a"}, {"ErrorCode": "InternalError"}, {"EventId": "b"}]}
    elif "Kinesis" in head:
        body = {"FailedRecordCount": 1, "Records": [{}, {"ErrorCode": "InternalError"}, {}]}
    else:
        return respond(
            200,
            "<R><Successful><member><Id>0</Id></member><member><Id>2</Id></member></Successful>"
            "<Failed><member><Id>1</Id><Code>InternalError</Code></member></Failed></R>",
        )
    return respond(200, json.dumps(body), "x-amzn-RequestId: answered")


@pytest.fixture(scope="module")
def batches(lasting_locust, lasting_server):
    lasting_server.answer = refuse_the_second
    run = lasting_locust.run(
        *("-u", "4", "-r", "4", "--run-id", "this-run"),
        locustfiles="events.py",
        EVENT_BATCH="3",
        AWS_ENDPOINT_URL=lasting_server.url,
        EVENTS_QUEUE_URL="https://sqs.us-east-1.amazonaws.com/123456789012/orders",
        EVENTS_TOPIC_ARN="arn:aws:sns:us-east-1:123456789012:orders",
        EVENTS_BUS="orders",
        EVENTS_STREAM="orders",
        TRACE_SAMPLE="0",
    )
    run.wait_for_rows(400)
    run.interrupt()
    assert run.finish() == 1, run.output  # Locust's own code where a request failed
    return run


def test_there_is_a_row_and_a_request_of_locust_for_each_message(batches, lasting_server):
    calls = lasting_server.count
    assert calls > 20
    assert len(batches.rows) == batches.console_count == batches.csv_count == 3 * calls


def test_every_kind_is_sent_to(batches):
    assert {(row["name"], row["method"]) for row in batches.rows} == {
        ("SendMessageBatch to SQS", "SendMessageBatch"),
        ("PublishBatch to SNS", "PublishBatch"),
        ("PutEvents to EventBridge", "PutEvents"),
        ("PutRecords to Kinesis", "PutRecords"),
    }


def test_the_refused_message_of_a_200_fails_alone(batches):
    for name in {row["name"] for row in batches.rows}:
        errors = Counter(row["error"] for row in batches.rows if row["name"] == name)
        assert errors == {"": 2 * errors["InternalError"], "InternalError": errors["InternalError"]}
    assert {(row["status"], row["lambda_request_id"]) for row in batches.rows} == {("200", "")}


def test_messages_carry_their_ids(batches, lasting_server):
    sent = Counter()
    for head, body in zip(lasting_server.heads, lasting_server.bodies, strict=True):
        if "AmazonSQS" not in head:
            continue
        for entry in json.loads(body)["Entries"]:
            order = json.loads(entry["MessageBody"])
            attributes = {name: value["StringValue"] for name, value in entry["MessageAttributes"].items()}
            assert attributes == {"run_id": order["run_id"], "correlation_id": order["correlation_id"]}
            assert order["run_id"] == "this-run"
            sent[order["correlation_id"]] += 1
    rows = Counter(row["correlation_id"] for row in batches.rows if row["method"] == "SendMessageBatch")
    assert rows == sent
    assert set(sent.values()) == {1}


def test_calls_are_signed_for_their_service(batches, lasting_server):
    services = Counter(re.search(r"us-east-1/(\w+)/aws4_request", head)[1] for head in lasting_server.heads)
    assert services.keys() == {"sqs", "sns", "events", "kinesis"}


def test_a_batch_takes_no_more_messages_than_are_left_and_all_of_a_late_one_fail(locust, server, tmp_path):
    server.answer = refuse_the_second
    server.delay_s = 0.02
    profile = tmp_path / "five.toml"
    profile.write_text(
        'description = "five"\nflows = ["events"]\nmessages = 5\nresponse_limit = "5ms"\n'
        '[[stages]]\nduration = "20s"\nusers = 1\nspawn_rate = 1\n'
    )
    run = locust.run(
        locustfiles="events.py",
        PROFILE=str(profile),
        EVENT_BATCH="3",
        EVENTS_BUS="orders",
        AWS_ENDPOINT_URL=server.url,
    )
    run.finish()
    assert len(run.rows) == 5
    assert [len(json.loads(body)["Entries"]) for body in server.bodies] == [3, 2]
    late = "check failed: time under 5ms"
    assert Counter(row["error"] for row in run.rows) == {"InternalError": 2, late: 3}


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
def test_direct_invocations(locust, server, kind):
    tail = base64.b64encode(
        f"REPORT RequestId: {REPORTED}\tDuration: 1.00 ms\tInit Duration: 156.08 ms\t\n".encode()
    ).decode()
    answers = {
        "RequestResponse": respond(200, '{"statusCode":200}', "x-amzn-RequestId: a", f"X-Amz-Log-Result: {tail}"),
        "Event": respond(202, "", "x-amzn-RequestId: a"),
        "DryRun": respond(204, "", "x-amzn-RequestId: a").replace(b"Content-Length: 0\r\n", b""),
    }
    server.answer = lambda head: answers[kind]
    run = locust.run(
        *("-u", "1", "--invocation-type", kind, "--qualifier", "live", "--log-type", "Tail"),
        locustfiles="direct.py",
        VOTE_FUNCTION="place-vote",
        AWS_ENDPOINT_URL=server.url,
    )
    run.wait_for_rows(3)
    run.interrupt()
    assert run.finish() == 0, run.output
    expected = {"RequestResponse": REPORTED, "Event": "a", "DryRun": ""}[kind]
    init_ms = "156.080" if kind == "RequestResponse" else ""
    told = {(row["lambda_request_id"], row["init_ms"], row["error"], row["method"]) for row in run.rows}
    assert told == {(expected, init_ms, "", "Invoke")}
    assert {row["name"] for row in run.rows} == {
        "Invoke place-vote" + ("" if kind == "RequestResponse" else f" ({kind})")
    }
    head = server.heads[0]
    assert "/invocations?Qualifier=live" in head
    assert f"X-Amz-Invocation-Type: {kind}" in head
    assert "X-Amz-Log-Type: Tail" in head


def test_two_versions_are_driven_in_turns(locust, server):
    def answer(head):
        version = "1" if "Qualifier=blue" in head else "2"
        return respond(200, '{"statusCode":200}', "x-amzn-RequestId: a", f"X-Amz-Executed-Version: {version}")

    server.answer = answer
    run = locust.run(
        *("-u", "1", "--qualifier", "blue,green"),
        locustfiles="direct.py",
        VOTE_FUNCTION="place-vote",
        AWS_ENDPOINT_URL=server.url,
    )
    run.wait_for_rows(4)
    run.interrupt()
    assert run.finish() == 0, run.output
    served = [(row["name"], row["executed_version"]) for row in run.rows]
    kinds = {("Invoke place-vote:blue", "1"), ("Invoke place-vote:green", "2")}
    assert set(served) == kinds
    assert all(one != following for one, following in itertools.pairwise(served))
