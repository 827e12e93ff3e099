"""The sandbox as a process on a loopback port, driven by plain boto3 and plain HTTP."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from loadgen.api_access import by_signature
from loadgen.credentials import DUMMY
from loadgen.renewal import Lease
from loadgen.transport import parse_endpoint
from tests.sandbox.lab import zipped

ROOT = Path(__file__).parents[2]
QUICK = """
[logs]
ingestion_lag_s = 0.1
[lambda]
async_retry_waits_s = [0.1, 0.2]
[sns]
delivery_ms = 1
"""
ECHO = """
import os
def handle(event, context):
    print("seen", event)
    return {"got": event, "x": os.environ.get("X")}
"""
FAILING = "def handle(event, context): raise ValueError('no')"


class Server:
    """A running sandbox."""

    def __init__(self, folder: Path, *options: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.errors = folder / "stderr"
        with self.errors.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sandbox", "--port", "0", *options],
                cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.endpoint = self.line.strip().rpartition(" ")[2]

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def http(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        """(status, headers in lower case, body from JSON where it is JSON)."""
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoint + path, sent, method=method)
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, answered, content = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, answered, content = error.code, error.headers, error.read()
        with contextlib.suppress(ValueError):
            content = json.loads(content)
        return status, {name.lower(): value for name, value in answered.items()}, content

    def truth(self) -> Any:
        return self.http("GET", "/_sandbox/truth")[2]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def eventually(found: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """The first truthy value, polled for."""
    deadline = time.monotonic() + timeout_s
    while not (value := found()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.2)
    return value


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "model.toml").write_text(QUICK)
    running = Server(folder, "--model", str(folder / "model.toml"))
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture(scope="module")
def outputs(server: Server) -> dict[str, str]:
    """The sample applications deployed through the ordinary APIs; the stack's outputs."""
    environment = os.environ | {"TARGET": "sandbox", "AWS_ENDPOINT_URL": server.endpoint}
    subprocess.run(
        [sys.executable, "-m", "control", "deploy"], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    (stack,) = server.client("cloudformation").describe_stacks(StackName="swarmscope")["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.fixture(scope="module")
def role(server: Server) -> str:
    """A role that functions may have, as moto asks for one."""
    policy = {"Version": "2012-10-17", "Statement": []}
    made = server.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument=json.dumps(policy))
    return str(made["Role"]["Arn"])


@pytest.fixture
def function(server: Server, role: str, request: pytest.FixtureRequest) -> str:
    """A function of this test's own; parametrize with its code."""
    name = request.node.originalname[:60]
    server.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=role,
        Handler="handler.handle",
        Code={"ZipFile": zipped(handler=getattr(request, "param", ECHO))},
        Environment={"Variables": {"X": "x"}},
        MemorySize=1769,
    )
    return name


def test_it_says_one_line_when_it_is_ready(server):
    assert server.line == f"sandbox ready at {server.endpoint}\n"
    status, _, health = server.http("GET", "/_sandbox/health")
    assert (status, health["status"], health["simulated"]) == (200, "ok", True)


# Invoke


def test_boto3_invokes_a_function(server, function):
    answer = server.client("lambda").invoke(FunctionName=function, Payload=b'{"a": 1}', LogType="Tail")
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert json.load(answer["Payload"]) == {"got": {"a": 1}, "x": "x"}
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert "seen {'a': 1}\n" in tail
    assert f"REPORT RequestId: {answer['ResponseMetadata']['RequestId']}\t" in tail


def test_boto3_raises_its_own_errors(server, function):
    client = server.client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Function not found"):
        client.invoke(FunctionName="nope")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName=function, Payload=b"{")
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException) as refused:
        client.invoke(FunctionName=function)
    assert refused.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert refused.value.response["retryAfterSeconds"] == "1"


@pytest.mark.parametrize("function", [FAILING], indirect=True)
def test_an_event_that_fails_is_tried_three_times(server, function):
    assert server.client("lambda").invoke(FunctionName=function, InvocationType="Event")["StatusCode"] == 202
    eventually(lambda: server.truth()["functions"].get(function, {}).get("invocations") == 3)


def test_memory_set_with_boto3_shows_and_a_published_version_has_its_own_stream(server, function):
    client = server.client("lambda")
    client.update_function_configuration(FunctionName=function, MemorySize=512)
    client.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig={"Delay": 0.1})
    version = client.publish_version(FunctionName=function)["Version"]
    answer = client.invoke(FunctionName=function, Qualifier=version, LogType="Tail")
    assert answer["ExecutedVersion"] == version
    assert "\tMemory Size: 512 MB\t" in base64.b64decode(answer["LogResult"]).decode()
    streams = eventually(
        lambda: server.client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{function}")["logStreams"]
    )
    assert [f"/[{version}]" in stream["logStreamName"] for stream in streams] == [True]


def test_an_unsigned_invoke_works_too(server, function):
    status, headers, body = server.http("POST", f"/2015-03-31/functions/{function}/invocations", {"a": 2})
    assert (status, body["got"]) == (200, {"a": 2})
    assert headers["x-amz-executed-version"] == "$LATEST"


# the applications


def test_a_vote_goes_all_the_way(server, outputs):
    before = server.truth()["streams"].get("votes", {"accepted": 0})["accepted"]
    vote = {"vote_id": "poll", "token": "t", "vote_choice": "yes"}
    uuid = "11111111-2222-4333-8444-555555555555"
    status, headers, body = server.http("POST", "/prod/vote", vote, x_amzn_RequestId=uuid)
    assert (status, sorted(body)) == (200, ["sequence_number", "time_id"])
    assert headers["x-amzn-requestid"] == uuid
    assert server.truth()["streams"]["votes"]["accepted"] == before + 1
    result = eventually(lambda: (answer := server.http("GET", "/prod/vote/poll"))[0] == 200 and answer[2])
    assert result == {"vote_id": "poll", "total": 1, "choices": {"yes": 1}}
    logs = server.client("logs")
    lines = eventually(
        lambda: logs.filter_log_events(logGroupName=outputs["AccessLogGroup"], filterPattern=f'"{uuid}"')["events"]
    )
    access = json.loads(lines[0]["message"])
    assert access["integrationRequestId"] == headers["x-lambda-request-id"]
    group = f"/aws/lambda/{outputs['PlaceVoteFunction']}"
    report = f"REPORT RequestId: {headers['x-lambda-request-id']}"
    eventually(
        lambda: any(report in event["message"] for event in logs.filter_log_events(logGroupName=group)["events"])
    )


def test_both_forms_of_an_apis_address_serve(server, outputs):
    path = f"/restapis/{outputs['ApiId']}/prod/_user_request_/vote/nobody"
    assert server.http("GET", path)[0] == server.http("GET", "/prod/vote/nobody")[0] == 404
    assert server.http("GET", f"/restapis/{outputs['ApiId']}/dev/_user_request_/vote/x")[0] == 403
    status, headers, _ = server.http("GET", "/prod/nowhere")
    assert (status, headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("signed", [True, False])
def test_a_stage_that_is_not_there_is_forbidden(server, method, signed):
    path, body = "/nowhere/vote", b"{}" if method == "POST" else None
    authorize = by_signature(parse_endpoint(server.endpoint), "us-east-1", Lease(DUMMY))
    lines = authorize(method, path, {}, body or b"") if signed else ""
    status, headers, answer = server.http(method, path, body, **dict(re.findall(r"(\S+): (.*)\r\n", lines)))
    assert (status, headers["x-amzn-errortype"], answer["message"]) == (403, "ForbiddenException", "Forbidden")


@pytest.mark.parametrize("function", ["def handle(e, c): return {'statusCode': 200, 'body': '1'}"], indirect=True)
def test_an_api_may_want_a_signature_and_a_key(server, function):
    apis = server.client("apigateway")
    api = apis.create_rest_api(name="guarded")
    where = {"restApiId": api["id"], "httpMethod": "ANY"}
    root = apis.get_resources(restApiId=api["id"])["items"][0]["id"]
    where["resourceId"] = apis.create_resource(restApiId=api["id"], parentId=root, pathPart="{proxy+}")["id"]
    apis.put_method(**where, authorizationType="AWS_IAM", apiKeyRequired=True)
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{function}"
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"
    apis.put_integration(**where, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    apis.create_deployment(restApiId=api["id"], stageName="guarded")
    key = apis.create_api_key(name="k", enabled=True)
    plan = apis.create_usage_plan(name="p", apiStages=[{"apiId": api["id"], "stage": "guarded"}])
    apis.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")

    before = server.truth()["api"]["by_status"]
    path, body = "/guarded/a%20b/c?y=%2F&x=1", b'{"a":1}'
    # As the load generator signs them.
    authorize = by_signature(parse_endpoint(server.endpoint), "us-east-1", Lease(DUMMY))
    lines = authorize("POST", path, {"Content-Type": "application/json"}, body)
    signed = {"Content-Type": "application/json"} | dict(re.findall(r"(\S+): (.*)\r\n", lines))
    assert server.http("POST", path, body, **signed)[2] == {"message": "Forbidden"}
    assert server.http("POST", path, body, x_api_key=key["value"])[2] == {"message": "Missing Authentication Token"}
    assert server.http("POST", path, body, x_api_key=key["value"], **signed)[0] == 200
    assert server.http("POST", path, b"{}", x_api_key=key["value"], **signed)[0] == 403
    after = server.truth()["api"]["by_status"]
    assert {status: after[status] - before.get(status, 0) for status in ("200", "403")} == {"200": 1, "403": 3}
    assert server.truth()["functions"][function]["invocations"] == 1


def encrypted_sales(server: Server, key_id: str) -> str:
    key: Any = serialization.load_der_public_key(server.client("kms").get_public_key(KeyId=key_id)["PublicKey"])
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    sales = [{"item_no": 90001, "number": 5, "turnover": 5}, {"item_no": 90002, "number": 1, "turnover": 2}]
    return base64.b64encode(key.encrypt(json.dumps(sales, separators=(",", ":")).encode(), oaep)).decode()


def test_shop_messages_are_followed_to_the_table_lost_and_doubled_ones_counted(server, outputs):
    before = server.truth()["chains"]["shop"]
    faults = [
        {"kind": "drop", "topic": "sales", "count": 2, "of": 6},
        {"kind": "duplicate", "topic": "sales", "count": 1, "of": 6},
    ]
    assert server.http("POST", "/_sandbox/faults", faults)[0] == 200
    content = encrypted_sales(server, outputs["ShopKeyId"])
    for number in range(6):
        message = {"shop_id": "shop-1", "content_base64": content, "correlation_id": f"message-{number}"}
        assert server.http("POST", "/prod/shop", message)[0] == 200
    truth = eventually(lambda: (now := server.truth())["pending"] == 0 and now)
    chain = {name: count - before[name] for name, count in truth["chains"]["shop"].items()}
    assert chain == {"sent": 6, "accepted": 6, "completed": 4, "lost": 2, "duplicated": 1}
    assert [fault["hits"] for fault in server.http("GET", "/_sandbox/faults")[2]["faults"]] == [2, 1]
    assert server.http("DELETE", "/_sandbox/faults")[2] == {"faults": []}
    items = server.client("dynamodb").scan(TableName=outputs["ShopsTableName"])["Items"]
    numbers = {item["record_type"]["S"]: int(item["gross_number"]["N"]) for item in items}
    assert numbers == {"s-90001": 5 * 5, "s-90002": 5 * 1}


def test_boto3_sends_receives_and_counts_messages(server):
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName="letters")["QueueUrl"]
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": f"m-{n}"} for n in range(3)])
    hidden = {"QueueUrl": url, "VisibilityTimeout": 3600}
    (message,) = sqs.receive_message(**hidden, WaitTimeSeconds=1)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sqs.receive_message(**hidden)
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("1", "1")
    assert counts["VisibilityTimeout"] == "30"


def test_a_long_poll_on_an_empty_queue_waits_and_answers_nothing(server):
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName="empty")["QueueUrl"]
    started_at = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    assert time.monotonic() - started_at > 0.9


def test_metrics_and_insights_answer_boto3(server, outputs):
    server.http("POST", "/prod/vote", {"vote_id": "m", "token": "t", "vote_choice": "c"})
    now = time.time()
    minute = now - now % 60
    data = server.client("cloudwatch").get_metric_data(
        StartTime=minute - 600, EndTime=minute + 120,
        MetricDataQueries=[{"Id": "n", "MetricStat": {"Period": 60, "Stat": "Sum", "Metric": {
            "Namespace": "AWS/Lambda", "MetricName": "Invocations",
            "Dimensions": [{"Name": "FunctionName", "Value": outputs["PlaceVoteFunction"]}]}}}],
    )  # fmt: skip
    counted = server.truth()["functions"]["place-vote"]["invocations"]
    assert sum(data["MetricDataResults"][0]["Values"]) == counted
    logs = server.client("logs")

    def reports() -> bool:
        query = logs.start_query(
            logGroupName=f"/aws/lambda/{outputs['PlaceVoteFunction']}", startTime=int(now) - 600, endTime=int(now) + 60,
            queryString='filter @type = "REPORT" | stats count(*) as n',
        )  # fmt: skip
        result = eventually(
            lambda: (got := logs.get_query_results(queryId=query["queryId"]))["status"] == "Complete" and got
        )
        # Without a row as long as no line can be found.
        return [row[0]["value"] for row in result["results"]] == [str(counted)]

    eventually(reports)


# the sandbox's own calls


def test_nonsense_faults_are_400_with_every_reason(server):
    status, _, body = server.http("POST", "/_sandbox/faults", [{"kind": "zap"}, {"kind": "fail", "function": "f"}])
    assert status == 400
    assert len(body["problems"]) == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/_sandbox/nope", 404), ("DELETE", "/_sandbox/truth", 405), ("POST", "/_sandbox/reset", 400)],
)
def test_wrong_calls_of_its_own_are_told_what_is_right(server, method, path, status):
    answered, _, body = server.http(method, path, {"everything": True} if method == "POST" else None)
    assert answered == status
    assert body["problems"]


def test_logs_lag_while_they_are_told_to(server, function):
    server.http("POST", "/_sandbox/faults", {"kind": "lag_logs", "lag_s": 3600, "rate": 1})
    assert server.http("GET", "/_sandbox/health")[2]["log_lag_s"] == 3600.1
    server.client("lambda").invoke(FunctionName=function)
    server.http("DELETE", "/_sandbox/faults")
    time.sleep(0.3)
    assert server.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"] == []


def test_a_call_that_the_sandbox_lacks_is_an_error_not_a_success(server):
    with pytest.raises(ClientError, match="NotImplemented"):
        server.client("kinesis").describe_account_settings()


def test_metrics_in_a_protocol_it_does_not_speak_are_refused_not_empty(server):
    signed = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/monitoring/aws4_request, SignedHeaders=host, Signature=x"
    status, _, body = server.http(
        "POST", "/", b"Action=GetMetricData", Content_Type="application/x-www-form-urlencoded", Authorization=signed
    )
    assert status == 501
    assert b"JSON protocol" in body


QUEUE_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/malformed"
LOG_GROUP = "/malformed"


@pytest.mark.parametrize(
    ("target", "body", "code"),
    [
        ("GraniteServiceVersion20100801.GetMetricData", {"MetricDataQueries": 1}, "SerializationException"),
        (
            "GraniteServiceVersion20100801.GetMetricData",
            {"MetricDataQueries": [{"Id": "m"}], "StartTime": "x", "EndTime": 1},
            "SerializationException",
        ),
        (
            "GraniteServiceVersion20100801.PutMetricData",
            {"Namespace": "n", "MetricData": [{"MetricName": "m", "Values": [1], "Counts": [1e300]}]},
            "InvalidParameterValue",
        ),
        ("GraniteServiceVersion20100801.ListMetrics", [], "SerializationException"),
        ("Logs_20140328.GetLogEvents", {"logGroupName": LOG_GROUP, "startTime": "0 OR 1"}, "InvalidParameterException"),
        ("Logs_20140328.FilterLogEvents", {"logGroupName": LOG_GROUP, "limit": -1}, "InvalidParameterException"),
        ("Logs_20140328.StartQuery", {"logGroupNames": [[]]}, "SerializationException"),
        ("Kinesis_20131202.PutRecord", [], "ValidationException"),
        ("TrentService.Decrypt", {"KeyId": "arn:aws", "CiphertextBlob": "AAAA"}, "NotFoundException"),
        ("AmazonSQS.ReceiveMessage", [], "SerializationException"),
        ("AmazonSQS.ReceiveMessage", {"QueueUrl": QUEUE_URL, "WaitTimeSeconds": "x"}, "SerializationException"),
        ("AmazonSQS.ReceiveMessage", {"QueueUrl": QUEUE_URL, "WaitTimeSeconds": 21}, "InvalidParameterValue"),
        (
            "AmazonSQS.SendMessage",
            {"QueueUrl": QUEUE_URL, "MessageBody": "m", "DelaySeconds": 901},
            "InvalidParameterValue",
        ),
        (
            "AmazonSQS.SendMessage",
            {"QueueUrl": QUEUE_URL, "MessageBody": "m", "MessageAttributes": {"a": "x"}},
            "InvalidParameterValue",
        ),
    ],
)
def test_what_no_client_of_aws_would_send_is_400(server, target, body, code):
    server.client("sqs").create_queue(QueueName="malformed")
    with contextlib.suppress(ClientError):
        server.client("logs").create_log_group(logGroupName=LOG_GROUP)
    status, _, answer = server.http("POST", "/", body, x_amz_target=target)
    assert (status, answer["__type"].rpartition("#")[2]) == (400, code), answer


def test_a_reset_forgets_what_happened_and_keeps_the_stack(server, outputs):
    vote = {"vote_id": "r", "token": "t", "vote_choice": "c"}
    server.http("POST", "/prod/vote", vote)
    eventually(lambda: server.truth()["pending"] == 0)
    assert server.http("POST", "/_sandbox/reset")[2]["api"] == {"requests": 0, "by_status": {}}
    assert server.http("POST", "/prod/vote", vote)[0] == 200
    assert server.truth()["functions"]["place-vote"]["cold_starts"] == 1


# the process


def test_sigterm_ends_it_cleanly_and_leaves_the_truth(tmp_path):
    running = Server(tmp_path, "--truth", str(tmp_path / "truth.json"))
    running.http("GET", "/prod/vote")
    assert running.stop() == 0
    assert json.loads((tmp_path / "truth.json").read_text())["pending"] == 0
    assert running.errors.read_text() == ""


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *options], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_taken_port_is_wrong_usage():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run("--port", str(taken.getsockname()[1]))
    assert ended.returncode == 2
    assert "Address already in use" in ended.stderr
    assert ended.stdout == ""


def test_an_address_that_others_can_reach_is_refused():
    ended = run("--host", "0.0.0.0", "--port", "0")
    assert ended.returncode == 2
    assert "--allow-remote" in ended.stderr


@pytest.mark.parametrize(
    ("option", "text", "problem"),
    [("--model", "[lamda]\n", "lamda: unknown key"), ("--faults", '{"kind":"zap"}', "zap"), ("--model", "[", "model")],
)
def test_a_bad_file_is_wrong_usage_and_told(tmp_path, option, text, problem):
    path = tmp_path / "model.toml"
    path.write_text(text)
    ended = run("--port", "0", option, str(path))
    assert ended.returncode == 2
    assert problem in ended.stderr


def test_a_cut_answer_closes_the_connection_and_its_hit_names_the_request(server, outputs):
    server.http("POST", "/_sandbox/faults", {"kind": "cut", "count": 1})
    request_id = "7b0d1e63-5a3c-4c43-8f2e-0d7b9b7f2a11"
    with pytest.raises((http.client.HTTPException, OSError)):
        server.http("GET", "/prod/vote/nobody", x_amzn_RequestId=request_id)
    assert server.http("GET", "/_sandbox/faults/hits")[2]["hits"][-1] == {
        "kind": "cut",
        "target": "",
        "request_id": request_id,
    }
    server.http("DELETE", "/_sandbox/faults")


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("kinesis", "put_record", {"StreamName": "s", "Data": b"x", "PartitionKey": "k"}),
        ("lambda", "invoke", {"FunctionName": "f"}),
        ("cloudformation", "list_stacks", {}),
        ("s3", "head_bucket", {"Bucket": "b"}),
    ],
)
def test_ours_and_motos_services_refuse_what_is_denied(server, service, operation, arguments):
    server.http("POST", "/_sandbox/faults", {"kind": "deny", "actions": ["*"]})
    try:
        with pytest.raises(ClientError, match=r"AccessDenied|403"):
            getattr(server.client(service), operation)(**arguments)
    finally:
        server.http("DELETE", "/_sandbox/faults")
    called = server.http("GET", "/_sandbox/calls")[2]["calls"]
    assert any(call["service"] == service and call["refused"] for call in called)
