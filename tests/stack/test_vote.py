import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

ENVIRONMENT = {"VOTES_STREAM": "demo-votes", "VOTES_TABLE": "demo-votes"}
VOTE = {"vote_id": "lunch", "token": "t-1", "vote_choice": "soup"}
THROTTLED = ClientError(
    {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "Rate exceeded for shard"}}, "PutRecord"
)


@pytest.fixture
def vote(load: Any, clients: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    clients.answers["put_record"] = {"SequenceNumber": "49-1", "ShardId": "shardId-000000000000"}
    module = load("vote", **ENVIRONMENT)
    monkeypatch.setattr(module.time, "time", lambda: 1_800_000_000.1239)
    return module


def test_a_vote_becomes_one_stream_record_of_its_four_fields(vote, clients, context, proxy):
    vote.place_vote(proxy({**VOTE, "correlation_id": "c-1"}), context)
    [put] = clients.arguments("put_record")
    assert put["StreamName"] == "demo-votes"
    assert json.loads(put["Data"]) == {"time_id": 1_800_000_000_123, **VOTE}


def test_the_token_spreads_one_polls_votes_over_the_shards(vote, clients, context, proxy):
    vote.place_vote(proxy(VOTE), context)
    assert clients.arguments("put_record")[0]["PartitionKey"] == "t-1"


def test_a_vote_is_answered_with_its_sequence_number_and_the_lambda_request_id(vote, context, proxy):
    answer = vote.place_vote(proxy(VOTE), context)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == {"sequence_number": "49-1", "time_id": 1_800_000_000_123}
    assert answer["headers"]["X-Lambda-Request-Id"] == context.aws_request_id


def test_a_direct_invoke_is_answered_like_a_request_through_the_api(vote, context, proxy):
    assert vote.place_vote({**VOTE, "correlation_id": "c-1"}, context) == vote.place_vote(proxy(VOTE), context)


def test_a_base64_body_is_read(vote, context, proxy):
    body = base64.b64encode(json.dumps(VOTE).encode()).decode()
    assert vote.place_vote(proxy(body, isBase64Encoded=True), context)["statusCode"] == 200


def test_the_stream_client_makes_one_attempt(vote, clients):
    assert clients.configs["kinesis"].retries == {"total_max_attempts": 1}


def test_a_throttled_stream_goes_through_as_an_exception(vote, clients, context, proxy):
    clients.answers["put_record"] = THROTTLED
    with pytest.raises(ClientError, match="ProvisionedThroughputExceededException"):
        vote.place_vote(proxy(VOTE), context)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "not JSON"),
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ({}, "vote_id, token, vote_choice"),
        ({**VOTE, "token": ""}, "256 characters: token"),
        ({**VOTE, "token": "t" * 257}, "256 characters: token"),
        ({**VOTE, "vote_choice": 7}, "256 characters: vote_choice"),
    ],
)
def test_a_bad_body_gets_400_with_the_reason_and_writes_nothing(vote, clients, context, proxy, body, reason):
    answer = vote.place_vote(proxy(body), context)
    assert answer["statusCode"] == 400
    assert reason in json.loads(answer["body"])["message"]
    assert clients.arguments("put_record") == []


@pytest.mark.parametrize("event", [[1], "text", 7, None, {}])
def test_a_bad_direct_payload_gets_400_too(vote, context, event):
    assert vote.place_vote(event, context)["statusCode"] == 400


def test_the_correlation_line_is_written_once_with_what_is_known(vote, context, proxy, log):
    vote.place_vote(proxy({**VOTE, "correlation_id": "c-1"}), context)
    assert log() == [
        {
            "level": "INFO",
            "swarmscope": 1,
            "request_id": context.aws_request_id,
            "hop": "place-vote",
            "correlation_id": "c-1",
            "gateway_request_id": "gateway-1",
        }
    ]


def test_the_correlation_line_leaves_out_what_is_unknown(vote, context, log):
    vote.place_vote(VOTE, context)
    [line] = log()
    assert line.keys() == {"level", "swarmscope", "request_id", "hop"}


def test_the_correlation_line_is_there_when_the_write_fails(vote, clients, context, proxy, log):
    clients.answers["put_record"] = THROTTLED
    with pytest.raises(ClientError):
        vote.place_vote(proxy({**VOTE, "correlation_id": "c-1"}), context)
    assert [line["correlation_id"] for line in log()] == ["c-1"]


def test_details_are_written_at_debug_level(load, clients, context, proxy, log):
    clients.answers["put_record"] = {"SequenceNumber": "49-1", "ShardId": "shardId-000000000000"}
    load("vote", **ENVIRONMENT, LOG_LEVEL="DEBUG").place_vote(proxy(VOTE), context)
    assert [line["level"] for line in log()] == ["INFO", "DEBUG", "DEBUG"]


def stream_event(*votes: dict[str, str]) -> dict[str, Any]:
    data = [base64.b64encode(json.dumps({"time_id": 1, "token": "t", **v}).encode()).decode() for v in votes]
    return {"Records": [{"kinesis": {"data": text, "sequenceNumber": str(i)}} for i, text in enumerate(data)]}


LUNCH = [
    {"vote_id": "lunch", "vote_choice": "soup"},
    {"vote_id": "lunch", "vote_choice": "pie"},
    {"vote_id": "colour", "vote_choice": "red"},
    {"vote_id": "lunch", "vote_choice": "soup"},
]


def test_a_batch_becomes_one_update_per_vote_id(vote, clients, context):
    vote.tally_votes(stream_event(*LUNCH), context)
    assert [call["Key"] for call in clients.arguments("update_item")] == [
        {"vote_id": {"S": "lunch"}},
        {"vote_id": {"S": "colour"}},
    ]


def test_an_update_adds_the_batchs_counts_and_total(vote, clients, context):
    vote.tally_votes(stream_event(*LUNCH), context)
    lunch = clients.arguments("update_item")[0]
    assert lunch["TableName"] == "demo-votes"
    assert lunch["UpdateExpression"] == "ADD #total :total, #c0 :c0, #c1 :c1"
    assert lunch["ExpressionAttributeNames"] == {"#total": "total", "#c0": "choice:soup", "#c1": "choice:pie"}
    assert lunch["ExpressionAttributeValues"] == {":total": {"N": "3"}, ":c0": {"N": "2"}, ":c1": {"N": "1"}}


def test_a_failing_tally_write_fails_the_invocation(vote, clients, context):
    clients.answers["update_item"] = RuntimeError("table gone")
    with pytest.raises(RuntimeError):
        vote.tally_votes(stream_event(*LUNCH), context)


def test_a_batch_writes_one_correlation_line(vote, context, log):
    vote.tally_votes(stream_event(*LUNCH), context)
    assert [line["hop"] for line in log()] == ["tally-votes"]


def test_results_are_the_tallys_choices_and_total(vote, clients, context, proxy):
    clients.answers["get_item"] = {
        "Item": {"vote_id": {"S": "lunch"}, "total": {"N": "3"}, "choice:soup": {"N": "2"}, "choice:total": {"N": "1"}}
    }
    answer = vote.get_results(proxy(None, pathParameters={"vote_id": "lunch"}), context)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == {"vote_id": "lunch", "total": 3, "choices": {"soup": 2, "total": 1}}


def test_a_vote_nobody_cast_is_404(vote, context, proxy):
    answer = vote.get_results(proxy(None, pathParameters={"vote_id": "nothing"}), context)
    assert answer["statusCode"] == 404
