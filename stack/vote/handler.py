"""The vote application: what its three Lambda functions do.

place_vote   POST /vote, or a direct Invoke -> one record on the Kinesis stream
tally_votes  a batch of stream records      -> counts in DynamoDB
get_results  GET /vote/{vote_id}            -> the counts

Self-contained on purpose: what is here is the whole of the function. Its metrics and the warmer's event: stack/shared.
"""

import base64
import json
import os
import time
from collections import Counter, defaultdict
from typing import Any

import boto3
from botocore.config import Config
from handler_metrics import HandlerMetrics
from warming import warmable

LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO")
VOTES_STREAM = os.environ["VOTES_STREAM"]
VOTES_TABLE = os.environ["VOTES_TABLE"]

# One attempt: the SDK's own retries would hide a throttled stream behind a slow answer.
kinesis = boto3.client("kinesis", config=Config(retries={"total_max_attempts": 1}))
dynamodb = boto3.client("dynamodb")

CHOICE_PREFIX = "choice:"

placing = HandlerMetrics("place-vote")
tallying = HandlerMetrics("tally-votes")
reading = HandlerMetrics("get-results")


@warmable
@placing.measured
def place_vote(event: Any, context: Any) -> dict[str, Any]:
    """Put one vote on the stream.

    `event` is API Gateway's proxy event with a JSON body, or, invoked directly, that body itself:
    `{"vote_id", "token", "vote_choice", "correlation_id"?}`. Both are answered alike: 200 with
    `{"sequence_number", "time_id"}`, or 400 with a reason. What Kinesis refuses goes through as it is, so that API
    Gateway answers 502. The token is the partition key: one poll's votes spread over all shards.
    """
    problem, vote = read_vote(event)
    log_correlation("place-vote", context, vote.get("correlation_id"), gateway_request_id(event))
    if problem:
        placing.add("VotesRefused", 1)
        return answer(400, {"message": problem}, context)
    time_id = int(time.time() * 1000)
    record = {
        "time_id": time_id,
        "vote_id": vote["vote_id"],
        "token": vote["token"],
        "vote_choice": vote["vote_choice"],
    }
    debug("putting", record=record)
    put = kinesis.put_record(StreamName=VOTES_STREAM, Data=json.dumps(record).encode(), PartitionKey=vote["token"])
    debug("put", shard_id=put["ShardId"], sequence_number=put["SequenceNumber"])
    placing.add("VotesAccepted", 1)
    return answer(200, {"sequence_number": put["SequenceNumber"], "time_id": time_id}, context)


@warmable
@tallying.measured
def tally_votes(event: dict[str, Any], context: Any) -> None:
    """Add a batch of stream records to the counts: one update per vote_id.

    Table `votes`: key vote_id, numbers `total` and `choice:<vote_choice>`. A write that fails fails the invocation,
    and Lambda hands the batch out again: nothing is lost, but what was written before the failure counts twice.
    """
    log_correlation("tally-votes", context)
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in event["Records"]:
        vote = json.loads(base64.b64decode(record["kinesis"]["data"]))
        counts[vote["vote_id"]][vote["vote_choice"]] += 1
    debug("tallying", records=len(event["Records"]), counts=counts)
    for vote_id, choices in counts.items():
        names = {"#total": "total"}
        values = {":total": {"N": str(sum(choices.values()))}}
        for index, (choice, count) in enumerate(choices.items()):
            names[f"#c{index}"] = CHOICE_PREFIX + choice
            values[f":c{index}"] = {"N": str(count)}
        additions = ", ".join(f"{name} :{name[1:]}" for name in names)
        dynamodb.update_item(
            TableName=VOTES_TABLE,
            Key={"vote_id": {"S": vote_id}},
            UpdateExpression=f"ADD {additions}",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
        )
    tallying.add("VotesCounted", len(event["Records"]))


@warmable
@reading.measured
def get_results(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer `{"vote_id", "total", "choices": {choice: count}}`, or 404 where nobody has voted yet."""
    log_correlation("get-results", context, None, gateway_request_id(event))
    vote_id = event["pathParameters"]["vote_id"]
    item = dynamodb.get_item(TableName=VOTES_TABLE, Key={"vote_id": {"S": vote_id}}).get("Item")
    debug("read", vote_id=vote_id, item=item)
    if item is None:
        return answer(404, {"message": f"no votes for vote_id {vote_id!r}"}, context)
    choices = {
        name.removeprefix(CHOICE_PREFIX): int(value["N"])
        for name, value in item.items()
        if name.startswith(CHOICE_PREFIX)
    }
    return answer(200, {"vote_id": vote_id, "total": int(item["total"]["N"]), "choices": choices}, context)


def read_vote(event: Any) -> tuple[str | None, dict[str, Any]]:
    """-> (None, fields) or (what is wrong, the fields as far as they could be read)."""
    fields = event
    if gateway_request_id(event) is not None:
        text = event.get("body") or ""
        try:
            fields = json.loads(base64.b64decode(text) if event.get("isBase64Encoded") else text)
        except ValueError:
            return "the body is not JSON", {}
    if not isinstance(fields, dict):
        return "the body must be a JSON object", {}
    # 256 characters is what Kinesis takes as a partition key.
    bad = [
        name
        for name in ("vote_id", "token", "vote_choice")
        if not (isinstance(fields.get(name), str) and 1 <= len(fields[name]) <= 256)
    ]
    return (f"must be a string of 1 to 256 characters: {', '.join(bad)}" if bad else None), fields


def gateway_request_id(event: Any) -> str | None:
    """API Gateway's id of the request; None for a direct Invoke."""
    return event["requestContext"]["requestId"] if isinstance(event, dict) and "requestContext" in event else None


def answer(status: int, body: dict[str, Any], context: Any) -> dict[str, Any]:
    """A proxy response that names the invocation, so that the caller can be joined to its log."""
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json", "X-Lambda-Request-Id": context.aws_request_id},
        "body": json.dumps(body),
    }


def log_correlation(
    hop: str, context: Any, correlation_id: str | None = None, gateway_request_id: str | None = None
) -> None:
    """The correlation line: once per invocation, before anything can fail, with what is known."""
    line: dict[str, Any] = {"level": "INFO", "swarmscope": 1, "request_id": context.aws_request_id, "hop": hop}
    if correlation_id is not None:
        line["correlation_id"] = correlation_id
    if gateway_request_id is not None:
        line["gateway_request_id"] = gateway_request_id
    print(json.dumps(line))


def debug(message: str, **details: Any) -> None:
    if LOG_LEVEL == "DEBUG":
        print(json.dumps({"level": "DEBUG", "message": message, **details}, default=str))
