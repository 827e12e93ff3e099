"""Requests as boto3 really sends them: which call each is, which IAM action it needs, on which resource."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError

from sandbox.calls import Call, identify
from sandbox.faults import Faults, FaultsError, parse_faults
from sandbox.permissions import Permissions, answer
from tests.sandbox.boto3_in_process import REGION, boto3_client

HERE = f"{REGION}:123456789012"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/q"
TOPIC = f"arn:aws:sns:{HERE}:t"

CALLS: list[tuple[str, str, dict[str, Any], str | None, str]] = [
    ("lambda", "invoke", {"FunctionName": "f"}, "lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:f"),
    ("lambda", "update_function_configuration", {"FunctionName": f"arn:aws:lambda:{HERE}:function:f:live"},
     "lambda:UpdateFunctionConfiguration", f"arn:aws:lambda:{HERE}:function:f"),
    ("lambda", "get_account_settings", {}, "lambda:GetAccountSettings", "*"),
    ("lambda", "list_functions", {}, "lambda:ListFunctions", "*"),
    ("lambda", "publish_version", {"FunctionName": "f"}, "lambda:PublishVersion", f"arn:aws:lambda:{HERE}:function:f"),
    ("lambda", "get_alias", {"FunctionName": "f", "Name": "a"}, "lambda:GetAlias", f"arn:aws:lambda:{HERE}:function:f"),
    ("lambda", "put_provisioned_concurrency_config",
     {"FunctionName": "f", "Qualifier": "a", "ProvisionedConcurrentExecutions": 1},
     "lambda:PutProvisionedConcurrencyConfig", f"arn:aws:lambda:{HERE}:function:f"),
    ("s3", "head_bucket", {"Bucket": "b"}, "s3:ListBucket", "arn:aws:s3:::b"),
    ("s3", "create_bucket", {"Bucket": "b"}, "s3:CreateBucket", "arn:aws:s3:::b"),
    ("s3", "put_public_access_block", {"Bucket": "b", "PublicAccessBlockConfiguration": {}},
     "s3:PutBucketPublicAccessBlock", "arn:aws:s3:::b"),
    ("s3", "list_object_versions", {"Bucket": "b"}, "s3:ListBucketVersions", "arn:aws:s3:::b"),
    ("s3", "put_object", {"Bucket": "b", "Key": "k/l"}, "s3:PutObject", "arn:aws:s3:::b/k/l"),
    ("s3", "upload_part", {"Bucket": "b", "Key": "k", "UploadId": "u", "PartNumber": 1}, "s3:PutObject",
     "arn:aws:s3:::b/k"),
    ("s3", "delete_objects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "k"}]}}, "s3:DeleteObject",
     "arn:aws:s3:::b/*"),
    ("s3", "list_buckets", {}, "s3:ListAllMyBuckets", "*"),
    ("apigateway", "get_rest_apis", {}, "apigateway:GET", f"arn:aws:apigateway:{REGION}::/restapis"),
    ("apigateway", "get_account", {}, "apigateway:GET", f"arn:aws:apigateway:{REGION}::/account"),
    ("kinesis", "put_record", {"StreamName": "s", "Data": b"x", "PartitionKey": "k"}, "kinesis:PutRecord",
     f"arn:aws:kinesis:{HERE}:stream/s"),
    ("sns", "publish_batch", {"TopicArn": TOPIC, "PublishBatchRequestEntries": [{"Id": "1", "Message": "m"}]},
     "sns:Publish", TOPIC),
    ("sqs", "send_message_batch", {"QueueUrl": QUEUE, "Entries": [{"Id": "1", "MessageBody": "m"}]},
     "sqs:SendMessage", f"arn:aws:sqs:{HERE}:q"),
    ("cloudwatch", "put_metric_alarm", {"AlarmName": "a", "EvaluationPeriods": 1, "ComparisonOperator":
     "GreaterThanThreshold"}, "cloudwatch:PutMetricAlarm", f"arn:aws:cloudwatch:{HERE}:alarm:a"),
    ("cloudwatch", "list_metrics", {}, "cloudwatch:ListMetrics", "*"),
    ("logs", "start_query", {"logGroupNames": ["/g"], "startTime": 0, "endTime": 1, "queryString": "q"},
     "logs:StartQuery", f"arn:aws:logs:{HERE}:log-group:/g:*"),
    ("logs", "filter_log_events", {"logGroupName": "/g"}, "logs:FilterLogEvents",
     f"arn:aws:logs:{HERE}:log-group:/g:*"),
    ("cloudformation", "describe_stacks", {"StackName": "s"}, "cloudformation:DescribeStacks",
     f"arn:aws:cloudformation:{HERE}:stack/s/*"),
    ("dynamodb", "scan", {"TableName": "t"}, "dynamodb:Scan", f"arn:aws:dynamodb:{HERE}:table/t"),
    ("events", "describe_event_bus", {"Name": "b"}, "events:DescribeEventBus", f"arn:aws:events:{HERE}:event-bus/b"),
    ("events", "describe_rule", {"Name": "r"}, "events:DescribeRule", f"arn:aws:events:{HERE}:rule/r"),
    ("iam", "simulate_principal_policy", {"PolicySourceArn": "arn:aws:iam::1:role/r", "ActionNames": ["s3:GetObject"]},
     "iam:SimulatePrincipalPolicy", "arn:aws:iam::1:role/r"),
    ("sts", "get_caller_identity", {}, None, "*"),
]  # fmt: skip


class Recorder:
    """Answers what the permissions refuse, and with an empty success everything else."""

    def __init__(self, *faults: bytes) -> None:
        active = Faults()
        for text in faults:
            active.add(parse_faults(text))
        self.permissions = Permissions(active)
        self.calls: list[Call] = []

    def __call__(self, *request: Any) -> Any:
        call = identify(*request)
        assert call is not None
        self.calls.append(call)
        refused = self.permissions.refusal(call)
        if refused is None:
            return 200, [], b"{}"
        status, headers, body = answer(refused, call)
        return status, [(name.decode(), value.decode()) for name, value in headers], body

    def call(self, service: str, operation: str, arguments: dict[str, Any]) -> Any:
        return getattr(boto3_client(self, service), operation)(**arguments)


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "action", "resource"), CALLS, ids=[f"{call[0]}-{call[1]}" for call in CALLS]
)
def test_a_call_is_known_by_its_action_and_resource(service, operation, arguments, action, resource):
    recorder = Recorder(b'{"kind":"expired_credentials"}')
    with pytest.raises(ClientError) as refused:
        recorder.call(service, operation, arguments)
    (call,) = recorder.calls
    assert (call.action, call.resource) == (action, resource)
    if service != "apigateway":  # named by method and path, as its actions are
        assert call.operation == refused.value.operation_name


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "denied", "expired"),
    [
        ("kinesis", "list_streams", {}, (400, "AccessDeniedException"), (400, "ExpiredTokenException")),
        ("lambda", "list_functions", {}, (403, "AccessDeniedException"), (403, "ExpiredTokenException")),
        ("cloudformation", "list_stacks", {}, (403, "AccessDenied"), (403, "ExpiredToken")),
        ("sns", "list_topics", {}, (403, "AuthorizationError"), (403, "ExpiredToken")),
        ("s3", "list_objects_v2", {"Bucket": "b"}, (403, "AccessDenied"), (400, "ExpiredToken")),
    ],
)
def test_each_protocol_refuses_in_its_own_form(service, operation, arguments, denied, expired):
    for fault, (status, code) in (
        (b'{"kind":"deny","actions":["*"]}', denied),
        (b'{"kind":"expired_credentials"}', expired),
    ):
        with pytest.raises(ClientError) as refused:
            Recorder(fault).call(service, operation, arguments)
        response = refused.value.response
        assert (response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]) == (status, code)


def test_a_denial_names_user_action_and_resource():
    with pytest.raises(ClientError) as refused:
        Recorder(b'{"kind":"deny","actions":["lambda:Update*"]}').call(*CALLS[1][:3])
    assert refused.value.response["Error"]["Message"] == (
        "User: arn:aws:iam::123456789012:user/sandbox is not authorized to perform: "
        f"lambda:UpdateFunctionConfiguration on resource: arn:aws:lambda:{HERE}:function:f "
        "because no identity-based policy allows the "
        "lambda:UpdateFunctionConfiguration action"
    )


def test_what_is_not_denied_goes_on():
    recorder = Recorder(
        b'[{"kind":"deny","actions":["kinesis:Put*"]},{"kind":"deny","actions":["lambda:*"],"resources":["*:g"]}]'
    )
    recorder.call("lambda", "get_policy", {"FunctionName": "f"})
    recorder.call("kinesis", "list_streams", {})
    with pytest.raises(ClientError):
        recorder.call("lambda", "get_policy", {"FunctionName": "g"})


def test_simulation_says_what_the_calls_would_be_told():
    permissions = Recorder(b'{"kind":"deny","actions":["sns:*"],"resources":["*:t"]}').permissions
    form = {"Action": "SimulatePrincipalPolicy", "ActionNames.member.1": "sns:Publish",
            "ResourceArns.member.1": TOPIC, "ResourceArns.member.2": f"{TOPIC}2"}  # fmt: skip
    status, _, document = permissions.simulate(urlencode(form).encode())
    decisions = re.findall(r"<EvalResourceName>(.*?)</EvalResourceName><EvalDecision>(\w+)<", document.decode())
    assert (status, decisions) == (200, [(TOPIC, "implicitDeny"), (f"{TOPIC}2", "allowed")])


def test_nobody_can_be_denied_to_ask_who_he_is():
    permissions = Recorder(b'{"kind":"deny","actions":["*"]}').permissions
    signed = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=x"
    form = {"authorization": signed, "content-type": "application/x-www-form-urlencoded"}
    call = identify("POST", "/", "", form, b"Action=GetCallerIdentity&Version=2011-06-15")
    assert call is not None
    assert permissions.refusal(call) is None


def test_credentials_expire_in_the_middle():
    recorder = Recorder(b'{"kind":"expired_credentials","after":2}')
    for _ in range(2):
        recorder.call("kinesis", "list_streams", {})
    with pytest.raises(ClientError, match="is expired"):
        recorder.call("kinesis", "list_streams", {})


def test_calls_are_remembered_with_their_counts_and_refusals():
    recorder = Recorder(b'{"kind":"deny","actions":["kinesis:*"]}')
    recorder.call("lambda", "list_functions", {})
    recorder.call("lambda", "list_functions", {})
    with pytest.raises(ClientError):
        recorder.call("kinesis", "list_streams", {})
    assert recorder.permissions.calls() == [
        {"service": "kinesis", "operation": "ListStreams", "action": "kinesis:ListStreams", "resource": "*",
         "count": 1, "refused": 1},
        {"service": "lambda", "operation": "ListFunctions", "action": "lambda:ListFunctions", "resource": "*",
         "count": 2, "refused": 0},
    ]  # fmt: skip


@pytest.mark.parametrize("actions", ['["UpdateFunctionCode"]', "[]", '["lambda Update"]'])
def test_what_is_no_action_is_refused(actions):
    with pytest.raises(FaultsError):
        parse_faults(b'{"kind":"deny","actions":%b}' % actions.encode())


def test_a_request_without_a_signature_is_no_call():
    assert identify("GET", "/2015-03-31/functions", "", {"host": "x"}, b"") is None
