import base64
import json
import random
from collections import Counter

import pytest

from sandbox.model.parameters import ChainParameters
from sandbox.truth import ChainTruth, Truth, completed_messages, correlation_id


def truth() -> Truth:
    return Truth({"shop": ChainParameters(first="shop-accept", last="shop-update-db")})


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_correlation_id_is_found_at_any_depth_of_json_within_json(depth):
    text = json.dumps({"shop_id": "s", "correlation_id": "c-1", "content_base64": "x"})
    for _ in range(depth):
        text = json.dumps({"Records": [{"Sns": {"Message": text}}]})
    assert correlation_id(text.encode()) == b"c-1"


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"correlation_id":null}', b'{"correlation_id":7}', b"\xff"])
def test_without_a_correlation_id_there_is_none(payload):
    assert correlation_id(payload) is None


def test_two_copies_of_a_message_in_a_batch_are_completed_once():
    event = json.dumps(
        {"Records": [{"messageId": name, "body": json.dumps({"correlation_id": name})} for name in ("a", "b", "a")]}
    )
    assert completed_messages(event.encode(), b"null") == {b"a": 1, b"b": 1}


def test_what_a_function_names_as_failed_is_not_completed():
    event = json.dumps(
        {"Records": [{"messageId": f"m-{name}", "body": json.dumps({"correlation_id": name})} for name in ("a", "b")]}
    )
    assert completed_messages(event.encode(), b'{"batchItemFailures":[{"itemIdentifier":"m-a"}]}') == {b"b": 1}


def test_the_records_of_a_stream_are_read_through_their_base64():
    data = base64.b64encode(b'{"correlation_id":"a"}').decode()
    event = {"Records": [{"eventSource": "aws:kinesis", "kinesis": {"sequenceNumber": "1", "data": data}}]}
    assert completed_messages(json.dumps(event, separators=(",", ":")).encode()) == {b"a": 1}


@pytest.mark.parametrize("result", [b"null", b'{"batchItemFailures":[]}'])
def test_two_messages_of_a_batch_with_one_correlation_id_complete_it_twice(result):
    event = {"Records": [{"messageId": name, "body": '{"correlation_id":"a"}'} for name in ("m-1", "m-2")]}
    assert completed_messages(json.dumps(event).encode(), result) == {b"a": 2}


def test_a_message_that_names_its_correlation_id_twice_completes_it_once():
    record = {"messageId": "m-1", "body": '{"correlation_id":"a"}', "correlation_id": "a"}
    assert completed_messages(json.dumps({"Records": [record]}).encode()) == {b"a": 1}


def test_a_duplicate_inside_one_batch_is_counted():
    chain = ChainTruth()
    data = base64.b64encode(b'{"correlation_id":"a"}').decode()
    records = [{"eventSource": "aws:kinesis", "kinesis": {"sequenceNumber": n, "data": data}} for n in ("1", "2")]
    chain.succeeded(json.dumps({"Records": records}, separators=(",", ":")).encode())
    assert (chain.completed, chain.duplicated) == (1, 1)


def test_an_empty_sandbox_has_the_contracts_keys():
    assert truth().as_dict() == {
        "api": {"requests": 0, "by_status": {}},
        "invoke": {"requests": 0, "by_status": {}},
        "functions": {},
        "streams": {},
        "queues": {},
        "messages": {},
        "chains": {"shop": {"sent": 0, "accepted": 0, "completed": 0, "lost": 0, "duplicated": 0}},
        "pending": 0,
    }


def test_a_chain_counts_lost_and_duplicated_messages():
    counts = truth()
    first, last = counts.chain_by_first["shop-accept"], counts.chain_by_last["shop-update-db"]
    for name, status in [("a", 200), ("b", 200), ("c", 200), ("d", 502)]:
        first.answered(b'{"correlation_id":"%s"}' % name.encode(), status)
    for name in ("a", "b", "b"):
        last.succeeded(b'{"Message":"{\\"correlation_id\\":\\"%s\\"}"}' % name.encode())
    assert first.as_dict() == {"sent": 4, "accepted": 3, "completed": 2, "lost": 1, "duplicated": 1}


def test_a_chains_counts_are_those_of_its_messages_whatever_comes_first():
    """Against sets of all that happened; late answers and second copies come before and after one another."""
    source, chain = random.Random(1), ChainTruth()
    accepted, completions = set(), Counter()
    for _ in range(2_000):
        name = source.randrange(300)
        message = b'{"correlation_id": "%d"}' % name
        if source.random() < 0.6:
            status = source.choice((200, 200, 202, 429, None))
            chain.answered(message, status)
            accepted |= {name} if status in (200, 202) else set()
        else:
            chain.succeeded(message)
            completions[name] += 1
    told = chain.as_dict()
    assert (told["completed"], told["lost"]) == (len(completions), len(accepted - completions.keys()))
    assert told["duplicated"] == sum(times > 1 for times in completions.values())


def test_a_reset_forgets_the_counts_and_keeps_what_is_pending():
    counts = truth()
    counts.api_answered(200)
    counts.function("f").invocations += 1
    counts.pending = 3
    counts.reset()
    assert counts.as_dict()["api"]["requests"] == 0
    assert counts.as_dict()["functions"] == {}
    assert counts.pending == 3
