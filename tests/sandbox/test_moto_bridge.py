"""The control plane as a boto3 program sees it, and the definitions the model reads from it."""

from __future__ import annotations

import gc
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ParamValidationError
from moto.dynamodb.models.dynamo_type import Item
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

from sandbox.moto_bridge import MotoBridge, alarms
from tests.sandbox.boto3_in_process import REGION, boto3_client, zipped

TEMPLATE = Path("stack/template.yaml").read_text()
CODE = {name: Path(f"stack/{name}/handler.py").read_text() for name in ("vote", "shop", "events")}
CODE_PARAMETERS = {
    "CodeBucket": "code",
    "VoteCodeKey": "vote.zip",
    "ShopCodeKey": "shop.zip",
    "EventsCodeKey": "events.zip",
}

Client = Callable[[str], Any]


@pytest.fixture
def bridge() -> MotoBridge:
    return MotoBridge()


@pytest.fixture
def client(bridge: MotoBridge) -> Client:
    return lambda service: boto3_client(bridge.handle, service)


@pytest.fixture
def role(client: Client) -> str:
    arn: str = client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    return arn


@pytest.fixture
def stack(client: Client) -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})
    for name, source in CODE.items():
        s3.put_object(Bucket="code", Key=f"{name}.zip", Body=zipped(handler=source))
    cloudformation = client("cloudformation")
    cloudformation.create_stack(
        StackName="swarmscope",
        TemplateBody=TEMPLATE,
        Parameters=parameters(**CODE_PARAMETERS),
        Capabilities=["CAPABILITY_IAM"],
    )
    return cloudformation


def parameters(**values: str) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


def update(cloudformation: Any, **values: str) -> None:
    cloudformation.update_stack(
        StackName="swarmscope",
        TemplateBody=TEMPLATE,
        Parameters=parameters(**(CODE_PARAMETERS | values)),
        Capabilities=["CAPABILITY_IAM"],
    )


def create_function(client: Client, role: str, name: str = "f", **options: Any) -> Any:
    return client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="handler.f",
        Role=role,
        Code={"ZipFile": zipped(handler="def f(event, context): return 1")},
        **options,
    )


# -------------------------------------------------------------------- the sample applications' stack


def test_the_stack_comes_up_with_its_outputs(stack: Any) -> None:
    described = stack.describe_stacks(StackName="swarmscope")["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    assert described["StackStatus"] == "CREATE_COMPLETE"
    assert outputs["VotesStreamName"] == "swarmscope-votes"
    assert outputs["SalesTopicArn"] == "arn:aws:sns:eu-west-1:123456789012:swarmscope-sales"
    assert outputs["ApiStage"] == "prod"
    assert outputs["ShopUpdateDbFunction"] == "swarmscope-shop-update-db"


def test_every_resource_of_the_stack_is_listed_and_none_that_its_condition_left_out(stack: Any) -> None:
    listed = stack.describe_stack_resources(StackName="swarmscope")["StackResources"]
    logical = {resource["LogicalResourceId"] for resource in listed}
    assert {"Stage", "ShopKey", "SalesTopic", "PostVoteMethod"} <= logical
    assert "ApiLogsAccount" not in logical


def test_a_function_of_the_stack_has_the_templates_settings(stack: Any, bridge: MotoBridge) -> None:
    function = bridge.function("swarmscope-place-vote")
    assert function is not None
    assert (function.memory_mb, function.timeout_s, function.handler) == (256, 15.0, "handler.place_vote")
    assert function.environment["VOTES_STREAM"] == "swarmscope-votes"
    assert function.log_group == "/aws/lambda/swarmscope-place-vote"
    assert function.tracing_active
    with zipfile.ZipFile(io.BytesIO(function.code_zip)) as package:
        assert package.read("handler.py").decode() == CODE["vote"]


def test_the_stage_has_the_templates_routes_throttle_and_access_log(stack: Any, bridge: MotoBridge) -> None:
    stage = bridge.api_stage(None, "prod")
    assert stage is not None
    assert {(route.method, route.path, route.function_name) for route in stage.routes} == {
        ("POST", "/vote", "swarmscope-place-vote"),
        ("GET", "/vote/{vote_id}", "swarmscope-get-results"),
        ("POST", "/shop", "swarmscope-shop-accept"),
    }
    assert (stage.throttle_rate, stage.throttle_burst) == (10_000.0, 5_000)
    assert stage.access_log_group == "/aws/apigateway/swarmscope-access"
    assert stage.access_log_format is not None
    assert json.loads(stage.access_log_format)["requestId"] == "$context.requestId"
    assert stage.tracing
    assert bridge.api_stage(stage.api_id, "prod") == stage
    assert bridge.api_stage("unknown", "prod") is None


def test_topics_streams_and_the_mapping_between_are_seen(stack: Any, bridge: MotoBridge) -> None:
    topic = "arn:aws:sns:eu-west-1:123456789012:swarmscope-sales"
    assert bridge.topic_exists(topic)
    assert [endpoint for _, endpoint in bridge.subscribed_functions(topic)] == [
        "arn:aws:lambda:eu-west-1:123456789012:function:swarmscope-shop-decrypt"
    ]
    assert bridge.shard_count("swarmscope-votes") == 1
    assert bridge.shard_count("nope") is None
    source, events = bridge.stream_sources()
    assert (events.stream_name, events.function_name) == ("swarmscope-events", "swarmscope-stream-consumer")
    assert (source.stream_name, source.function_name) == ("swarmscope-votes", "swarmscope-tally-votes")
    assert (source.batch_size, source.window_s, source.starting_position) == (500, 1.0, "TRIM_HORIZON")


def test_the_queue_its_dead_letters_and_its_mapping_are_seen(stack: Any, bridge: MotoBridge) -> None:
    queue = bridge.queue("swarmscope-events", REGION)
    assert queue is not None
    assert (queue.visibility_timeout_s, queue.max_receive_count) == (60.0, 3)
    assert queue.dead_letter_arn == f"arn:aws:sqs:{REGION}:123456789012:swarmscope-events-dead"
    assert bridge.queue("swarmscope-events", "us-west-2") is None
    (source,) = bridge.queue_sources()
    assert (source.queue_arn, source.function_name) == (queue.arn, "swarmscope-queue-consumer")
    assert (source.batch_size, source.reports_failures) == (10, True)


def test_the_rule_of_the_bus_matches_orders_alone(stack: Any, bridge: MotoBridge) -> None:
    (rule,) = bridge.event_rules("swarmscope-events", REGION) or ()
    assert rule.functions == (f"arn:aws:lambda:{REGION}:123456789012:function:swarmscope-bus-consumer",)
    assert rule.matches({"source": "swarmscope.load", "detail-type": "order", "detail": {}})
    assert not rule.matches({"source": "swarmscope.load", "detail-type": "other", "detail": {}})
    assert bridge.event_rules("no-such-bus", REGION) is None


def test_a_disabled_rule_is_no_rule(stack: Any, client: Client, bridge: MotoBridge) -> None:
    client("events").disable_rule(Name="swarmscope-orders", EventBusName="swarmscope-events")
    assert bridge.event_rules("swarmscope-events", REGION) == ()


def test_logical_names_lose_the_owning_stacks_name_only(stack: Any, bridge: MotoBridge) -> None:
    assert bridge.logical_name("swarmscope-place-vote") == "place-vote"
    assert bridge.logical_name("swarmscope-votes") == "votes"
    assert bridge.logical_name("swarmscope-events-dead") == "events-dead"
    assert bridge.logical_name("swarmscope-decrypted-sales") == "decrypted-sales"
    assert bridge.logical_name("swarmscope-somebody-elses") == "swarmscope-somebody-elses"


def test_the_key_of_the_template_is_asymmetric(stack: Any, client: Client) -> None:
    key = client("kms").describe_key(KeyId="alias/swarmscope-shop")["KeyMetadata"]
    assert (key["KeySpec"], key["KeyUsage"]) == ("RSA_2048", "ENCRYPT_DECRYPT")


def test_updating_the_stack_changes_functions_shards_and_throttle(stack: Any, bridge: MotoBridge) -> None:
    update(
        stack, ShardCount="2", ShopAcceptMemory="3008", StageThrottleRate="5", LogLevel="DEBUG", Tracing="PassThrough"
    )
    function, stage = bridge.function("swarmscope-shop-accept"), bridge.api_stage(None, "prod")
    assert function is not None
    assert stage is not None
    assert function.memory_mb == 3008
    assert function.environment["LOG_LEVEL"] == "DEBUG"
    assert not function.tracing_active
    assert bridge.shard_count("swarmscope-votes") == 2
    assert stage.throttle_rate == 5.0


def test_a_parameter_left_out_of_an_update_goes_back_to_its_default(stack: Any, bridge: MotoBridge) -> None:
    update(stack, ShopAcceptMemory="3008")
    update(stack)
    function = bridge.function("swarmscope-shop-accept")
    assert function is not None
    assert function.memory_mb == 128


def test_an_update_keeps_resources_that_moto_cannot_update(stack: Any, client: Client) -> None:
    update(stack, LogRetentionDays="30")
    listed = stack.describe_stack_resources(StackName="swarmscope")["StackResources"]
    groups = client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/swarmscope-place-vote")["logGroups"]
    assert "PlaceVoteLogGroup" in {resource["LogicalResourceId"] for resource in listed}
    assert groups[0]["retentionInDays"] == 30


def test_an_update_that_changes_nothing_is_refused(stack: Any) -> None:
    for _ in range(2):
        with pytest.raises(ClientError, match=r"ValidationError.*No updates are to be performed\."):
            update(stack)
    update(stack, ShardCount="2")
    with pytest.raises(ClientError, match="No updates"):
        update(stack, ShardCount="2")


def test_a_change_set_updates(stack: Any, bridge: MotoBridge) -> None:
    stack.create_change_set(
        StackName="swarmscope",
        ChangeSetName="bigger",
        ChangeSetType="UPDATE",
        TemplateBody=TEMPLATE,
        Parameters=parameters(**CODE_PARAMETERS, PlaceVoteMemory="1024"),
        Capabilities=["CAPABILITY_IAM"],
    )
    stack.execute_change_set(StackName="swarmscope", ChangeSetName="bigger")
    function = bridge.function("swarmscope-place-vote")
    assert function is not None
    assert function.memory_mb == 1024


def test_a_change_set_creates_a_stack_with_its_outputs(client: Client) -> None:
    template = {
        "Parameters": {"Name": {"Type": "String", "Default": "a"}},
        "Resources": {"T": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": {"Ref": "Name"}}}},
        "Outputs": {"Topic": {"Value": {"Ref": "T"}}},
    }
    cloudformation = client("cloudformation")
    for kind, name in (("CREATE", "one"), ("UPDATE", "two")):
        cloudformation.create_change_set(
            StackName="s",
            ChangeSetName=kind,
            ChangeSetType=kind,
            TemplateBody=json.dumps(template),
            Parameters=parameters(Name=name),
        )
        cloudformation.execute_change_set(StackName="s", ChangeSetName=kind)
        described = cloudformation.describe_stacks(StackName="s")["Stacks"][0]
        assert described["StackStatus"] == f"{kind}_COMPLETE"
        assert described["Outputs"][0]["OutputValue"] == f"arn:aws:sns:eu-west-1:123456789012:{name}"


def change_set(cloudformation: Any, kind: str = "UPDATE", **values: str) -> dict[str, Any]:
    made = cloudformation.create_change_set(
        StackName="swarmscope",
        ChangeSetName="next",
        ChangeSetType=kind,
        TemplateBody=TEMPLATE,
        Parameters=parameters(**(CODE_PARAMETERS | values)),
        Capabilities=["CAPABILITY_IAM"],
    )
    described: dict[str, Any] = cloudformation.describe_change_set(ChangeSetName=made["Id"])
    return described


def test_a_change_set_says_what_a_parameter_changes(stack: Any) -> None:
    changes = change_set(stack, ShardCount="2")["Changes"]
    assert [change["ResourceChange"]["LogicalResourceId"] for change in changes] == ["VotesStream"]
    assert changes[0]["ResourceChange"]["Action"] == "Modify"


def test_a_change_set_without_changes_fails_and_says_why(stack: Any) -> None:
    described = change_set(stack)
    assert (described["Status"], described["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "didn't contain changes" in described["StatusReason"]
    with pytest.raises(ClientError, match="cannot be executed"):
        stack.execute_change_set(ChangeSetName=described["ChangeSetId"])


def test_a_change_set_that_fails_is_rolled_back(client: Client) -> None:
    client("kinesis").create_stream(StreamName="swarmscope-votes", ShardCount=1)
    cloudformation = client("cloudformation")
    cloudformation.execute_change_set(ChangeSetName=change_set(cloudformation, "CREATE")["ChangeSetId"])
    (after,) = cloudformation.describe_stacks(StackName="swarmscope")["Stacks"]
    assert after["StackStatus"] == "ROLLBACK_COMPLETE"
    assert client("lambda").list_functions()["Functions"] == []


def test_a_creation_that_was_only_reviewed_can_be_deleted(client: Client) -> None:
    cloudformation = client("cloudformation")
    assert len(change_set(cloudformation, "CREATE")["Changes"]) > 60
    (reviewed,) = cloudformation.describe_stacks(StackName="swarmscope")["Stacks"]
    assert reviewed["StackStatus"] == "REVIEW_IN_PROGRESS"
    cloudformation.delete_stack(StackName="swarmscope")
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName="swarmscope")


def test_an_unknown_change_set_is_not_found(stack: Any) -> None:
    with pytest.raises(ClientError, match="ChangeSetNotFound"):
        stack.delete_change_set(StackName="swarmscope", ChangeSetName="next")


def test_deleting_the_stack_leaves_nothing_and_it_can_come_again(
    stack: Any, bridge: MotoBridge, client: Client
) -> None:
    stack.delete_stack(StackName="swarmscope")
    assert bridge.api_stage(None, "prod") is None
    assert bridge.function("swarmscope-place-vote") is None
    assert bridge.stream_sources() == ()
    assert not bridge.topic_exists("arn:aws:sns:eu-west-1:123456789012:swarmscope-sales")
    assert client("dynamodb").list_tables()["TableNames"] == []
    assert client("logs").describe_log_groups()["logGroups"] == []
    stack.create_stack(
        StackName="swarmscope",
        TemplateBody=TEMPLATE,
        Parameters=parameters(**CODE_PARAMETERS),
        Capabilities=["CAPABILITY_IAM"],
    )
    stage = bridge.api_stage(None, "prod")
    assert stage is not None
    assert len(stage.routes) == 3


# -------------------------------------------------------------------- resource types that moto's CloudFormation lacks


def deploy(client: Client, **resources: Any) -> None:
    client("cloudformation").create_stack(StackName="s", TemplateBody=json.dumps({"Resources": resources}))


def test_a_subscription_resource_subscribes_and_goes_with_its_stack(bridge: MotoBridge, client: Client) -> None:
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "t"}}
    endpoint = "arn:aws:lambda:eu-west-1:123456789012:function:f"
    subscription = {
        "Type": "AWS::SNS::Subscription",
        "Properties": {"TopicArn": {"Ref": "T"}, "Protocol": "lambda", "Endpoint": endpoint},
    }
    deploy(client, T=topic, S=subscription)
    arn = "arn:aws:sns:eu-west-1:123456789012:t"
    assert [target for _, target in bridge.subscribed_functions(arn)] == [endpoint]
    client("cloudformation").delete_stack(StackName="s")
    assert bridge.subscribed_functions(arn) == ()


ERRORS = {"Namespace": "AWS/Lambda", "MetricName": "Errors", "Statistic": "Sum", "Period": 60}


@pytest.mark.parametrize(
    "measured",
    [
        {"EvaluationPeriods": 1, "Threshold": 1.0},
        {"EvaluationPeriods": 1, **ERRORS},
        {"EvaluationPeriods": 1, "Threshold": 1.0, "Metrics": [{"Id": "e1", "Expression": "1 + 1"}]},
        {"Threshold": 1.0, **ERRORS},
    ],
    ids=["no metric", "no fixed threshold", "an expression of nothing", "no number of periods"],
)
def test_an_alarm_that_cannot_be_judged_has_insufficient_data(client: Client, measured: dict[str, Any]) -> None:
    cloudwatch = client("cloudwatch")
    cloudwatch.put_metric_alarm(AlarmName="a", ComparisonOperator="GreaterThanThreshold", **measured)
    alarms.judge("eu-west-1", lambda definition: ("ALARM", "judged"))
    (described,) = cloudwatch.describe_alarms()["MetricAlarms"]
    assert described["StateValue"] == "INSUFFICIENT_DATA"
    assert described["StateReason"].startswith("The sandbox judges alarms with a metric")


def test_an_alarm_resource_makes_an_alarm_and_deletes_it(client: Client) -> None:
    alarm = {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmName": "errors",
            "Namespace": "AWS/Lambda",
            "MetricName": "Errors",
            "Dimensions": [{"Name": "FunctionName", "Value": "f"}],
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 3,
            "Threshold": 5,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        },
    }
    deploy(client, A=alarm)
    (described,) = client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert (described["AlarmName"], described["Threshold"], described["Period"]) == ("errors", 5.0, 60)
    assert described["Dimensions"] == [{"Name": "FunctionName", "Value": "f"}]
    client("cloudformation").delete_stack(StackName="s")
    assert client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_what_a_method_of_a_template_asks_for_and_the_keys_of_its_usage_plan(
    bridge: MotoBridge, client: Client
) -> None:
    function = "arn:aws:lambda:eu-west-1:123456789012:function:f"
    uri = f"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{function}/invocations"
    key = {"Type": "AWS::ApiGateway::ApiKey", "Properties": {"Enabled": True, "Value": "a-key-of-twenty-characters"}}
    off = {"Type": "AWS::ApiGateway::ApiKey", "Properties": {"Enabled": False, "Value": "a-key-that-is-switched-off"}}
    stage = {"ApiId": {"Ref": "Api"}, "Stage": {"Ref": "Stage"}}

    def in_plan(name: str) -> Any:
        properties = {"KeyId": {"Ref": name}, "KeyType": "API_KEY", "UsagePlanId": {"Ref": "Plan"}}
        return {"Type": "AWS::ApiGateway::UsagePlanKey", "Properties": properties}

    deploy(
        client,
        Api={"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": "guarded"}},
        Method={
            "Type": "AWS::ApiGateway::Method",
            "Properties": {
                "RestApiId": {"Ref": "Api"},
                "ResourceId": {"Fn::GetAtt": ["Api", "RootResourceId"]},
                "HttpMethod": "POST",
                "AuthorizationType": "AWS_IAM",
                "ApiKeyRequired": True,
                "Integration": {"Type": "AWS_PROXY", "IntegrationHttpMethod": "POST", "Uri": uri},
            },
        },
        Deployment={
            "Type": "AWS::ApiGateway::Deployment",
            "Properties": {"RestApiId": {"Ref": "Api"}},
            "DependsOn": "Method",
        },
        Stage={
            "Type": "AWS::ApiGateway::Stage",
            "Properties": {"RestApiId": {"Ref": "Api"}, "DeploymentId": {"Ref": "Deployment"}, "StageName": "prod"},
        },
        Key=key,
        Off=off,
        Plan={"Type": "AWS::ApiGateway::UsagePlan", "Properties": {"ApiStages": [stage]}},
        KeyInPlan=in_plan("Key"),
        OffInPlan=in_plan("Off"),
    )
    found = bridge.api_stage(None, "prod")
    assert found is not None
    assert [(route.authorization_type, route.api_key_required) for route in found.routes] == [("AWS_IAM", True)]
    assert found.api_keys == {"a-key-of-twenty-characters"}
    assert "a-key-of-twenty-characters" not in repr(found)
    client("cloudformation").delete_stack(StackName="s")
    assert client("apigateway").get_api_keys()["items"] == client("apigateway").get_usage_plans()["items"] == []


# -------------------------------------------------------------------- functions by boto3


def test_a_memory_change_is_seen_at_once(bridge: MotoBridge, client: Client, role: str) -> None:
    create_function(client, role, MemorySize=128)
    before = bridge.function("f")
    generation = bridge.generation
    client("lambda").update_function_configuration(FunctionName="f", MemorySize=1769)
    after = bridge.function("f")
    assert before is not None
    assert after is not None
    assert (before.memory_mb, after.memory_mb) == (128, 1769)
    assert bridge.generation > generation


def test_reading_calls_do_not_raise_the_generation(bridge: MotoBridge, client: Client, role: str) -> None:
    create_function(client, role)
    generation = bridge.generation
    client("lambda").get_function(FunctionName="f")
    client("lambda").list_functions()
    client("sns").list_topics()
    client("kinesis").list_streams()
    assert bridge.generation == generation


def test_data_calls_do_not_raise_the_generation(bridge: MotoBridge, client: Client) -> None:
    client("dynamodb").create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    generation = bridge.generation
    client("dynamodb").put_item(TableName="t", Item={"k": {"S": "a"}})
    assert bridge.generation == generation


def test_listeners_hear_of_every_change(bridge: MotoBridge, client: Client) -> None:
    heard = []
    bridge.when_changed(lambda: heard.append(bridge.generation))
    client("sns").create_topic(Name="t")
    assert heard == [bridge.generation]


@pytest.mark.parametrize(
    "name",
    [
        "f",
        "arn:aws:lambda:eu-west-1:123456789012:function:f",
        "123456789012:function:f",
        "f:$LATEST",
    ],
)
def test_a_function_is_found_by_every_form_of_its_name(
    bridge: MotoBridge, client: Client, role: str, name: str
) -> None:
    create_function(client, role)
    found = bridge.function(name)
    assert found is not None
    assert (found.name, found.version) == ("f", "$LATEST")
    assert found.arn == "arn:aws:lambda:eu-west-1:123456789012:function:f"


def test_a_function_of_another_region_is_not_found_by_its_arn(bridge: MotoBridge, client: Client, role: str) -> None:
    create_function(client, role)
    assert bridge.function("arn:aws:lambda:us-east-1:123456789012:function:f") is None


def test_versions_and_aliases_keep_their_own_configuration(bridge: MotoBridge, client: Client, role: str) -> None:
    create_function(client, role, MemorySize=128)
    aws_lambda = client("lambda")
    aws_lambda.publish_version(FunctionName="f")
    aws_lambda.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    aws_lambda.update_function_configuration(FunctionName="f", MemorySize=512)
    aws_lambda.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=7)
    seen = {q: bridge.function("f", q) for q in (None, "1", "live", "nope")}
    assert seen["nope"] is None
    assert {q: (f.version, f.memory_mb, f.reserved_concurrency) for q, f in seen.items() if f} == {
        None: ("$LATEST", 512, 7),
        "1": ("1", 128, 7),
        "live": ("1", 128, 7),
    }
    assert seen["1"] is not None
    assert seen["1"].arn == "arn:aws:lambda:eu-west-1:123456789012:function:f"
    assert bridge.reserved_concurrency_total() == 7


def test_tracing_and_log_group_can_be_changed(bridge: MotoBridge, client: Client, role: str) -> None:
    create_function(client, role)
    client("lambda").update_function_configuration(
        FunctionName="f", TracingConfig={"Mode": "Active"}, LoggingConfig={"LogGroup": "/mine"}
    )
    function = bridge.function("f")
    assert function is not None
    assert (function.tracing_active, function.log_group) == (True, "/mine")
    shown = client("lambda").get_function_configuration(FunctionName="f")
    assert shown["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/mine"}


# -------------------------------------------------------------------- versions, aliases, updates


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(FunctionName="f", **arguments)
    return str(refused.value.response["Error"]["Code"])


@pytest.fixture
def lambda_client(client: Client, role: str) -> Any:
    create_function(client, role, MemorySize=128, Description="mine")
    return client("lambda")


def versions(lambda_client: Any, name: str = "f") -> dict[str, int]:
    listed = lambda_client.list_versions_by_function(FunctionName=name)["Versions"]
    return {version["Version"]: version["MemorySize"] for version in listed}


def test_a_publish_without_a_change_gives_the_version_there_is(lambda_client: Any) -> None:
    first = lambda_client.publish_version(FunctionName="f", Description="a")
    again = lambda_client.publish_version(FunctionName="f", Description="b")
    assert (first["Version"], again["Version"], again["Description"]) == ("1", "1", "a")


def test_a_changed_memory_makes_a_version_and_changed_back_another(lambda_client: Any) -> None:
    for memory_mb in (128, 256, 128):
        lambda_client.update_function_configuration(FunctionName="f", MemorySize=memory_mb)
        lambda_client.publish_version(FunctionName="f")
    assert versions(lambda_client) == {"$LATEST": 128, "1": 128, "2": 256, "3": 128}


def test_the_number_of_a_deleted_version_is_not_given_again(lambda_client: Any) -> None:
    lambda_client.publish_version(FunctionName="f")
    lambda_client.update_function_configuration(FunctionName="f", MemorySize=256)
    lambda_client.publish_version(FunctionName="f")
    lambda_client.delete_function(FunctionName="f", Qualifier="1")
    lambda_client.delete_function(FunctionName="f", Qualifier="2")
    assert lambda_client.publish_version(FunctionName="f")["Version"] == "3"
    assert versions(lambda_client) == {"$LATEST": 256, "3": 256}


def test_a_version_that_is_not_there_is_deleted_without_a_word(lambda_client: Any) -> None:
    lambda_client.delete_function(FunctionName="f", Qualifier="9")
    assert versions(lambda_client) == {"$LATEST": 128}


def test_what_an_alias_refers_to_and_the_latest_cannot_be_deleted(lambda_client: Any) -> None:
    lambda_client.publish_version(FunctionName="f")
    lambda_client.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    assert refusal(lambda_client.delete_function, Qualifier="1") == "ResourceConflictException"
    assert refusal(lambda_client.delete_function, Qualifier="$LATEST") == "InvalidParameterValueException"
    lambda_client.delete_alias(FunctionName="f", Name="live")
    lambda_client.delete_function(FunctionName="f", Qualifier="1")
    assert versions(lambda_client) == {"$LATEST": 128}


def test_versions_and_aliases_are_listed_by_the_functions_arn_too(lambda_client: Any) -> None:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:f"
    lambda_client.create_alias(FunctionName="f", Name="live", FunctionVersion="$LATEST")
    assert versions(lambda_client, arn) == {"$LATEST": 128}
    assert [alias["Name"] for alias in lambda_client.list_aliases(FunctionName=arn)["Aliases"]] == ["live"]
    with pytest.raises(lambda_client.exceptions.ResourceNotFoundException):
        versions(lambda_client, "nope")


def test_an_alias_exists_once(lambda_client: Any) -> None:
    lambda_client.publish_version(FunctionName="f")
    lambda_client.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    assert refusal(lambda_client.create_alias, Name="live", FunctionVersion="1") == "ResourceConflictException"


def test_only_the_last_revision_may_be_changed(lambda_client: Any) -> None:
    """Updates and publishing change a function's revision, creating an alias does not; an alias has its own."""

    def revision() -> str:
        return str(lambda_client.get_function_configuration(FunctionName="f")["RevisionId"])

    seen = [revision()]
    lambda_client.update_function_configuration(FunctionName="f", MemorySize=256, RevisionId=seen[-1])
    seen.append(revision())
    version = lambda_client.publish_version(FunctionName="f", RevisionId=seen[-1])
    seen.append(revision())
    alias = lambda_client.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    assert revision() == seen[-1]
    assert len({*seen, version["RevisionId"], alias["RevisionId"]}) == 5
    stale = "PreconditionFailedException"
    assert refusal(lambda_client.update_function_configuration, MemorySize=512, RevisionId=seen[0]) == stale
    assert refusal(lambda_client.publish_version, RevisionId=seen[0]) == stale
    updated = lambda_client.update_alias(FunctionName="f", Name="live", FunctionVersion="$LATEST")
    assert refusal(lambda_client.update_alias, Name="live", RevisionId=alias["RevisionId"]) == stale
    lambda_client.update_alias(FunctionName="f", Name="live", Description="x", RevisionId=updated["RevisionId"])
    assert versions(lambda_client)["$LATEST"] == 256


def test_a_publish_may_ask_for_the_code_it_means(lambda_client: Any) -> None:
    code = lambda_client.get_function_configuration(FunctionName="f")["CodeSha256"]
    assert refusal(lambda_client.publish_version, CodeSha256="other") == "InvalidParameterValueException"
    assert lambda_client.publish_version(FunctionName="f", CodeSha256=code)["Version"] == "1"


@pytest.mark.parametrize("memory_mb", [127, 10_241])
def test_memory_has_bounds(lambda_client: Any, memory_mb: int) -> None:
    with pytest.raises((ClientError, ParamValidationError), match=r"(?i)memorySize"):
        lambda_client.update_function_configuration(FunctionName="f", MemorySize=memory_mb)


def test_a_function_that_is_being_updated_can_be_neither_updated_nor_published() -> None:
    now = [100.0]
    bridge = MotoBridge(now=lambda: now[0], function_update_s=1.0)
    role = boto3_client(bridge.handle, "iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    create_function(lambda service: boto3_client(bridge.handle, service), role)
    function = boto3_client(bridge.handle, "lambda")
    begun = function.update_function_configuration(FunctionName="f", MemorySize=256)
    assert begun["LastUpdateStatus"] == "InProgress"
    assert refusal(function.publish_version) == "ResourceConflictException"
    assert refusal(function.update_function_configuration, MemorySize=512) == "ResourceConflictException"
    now[0] += 1.0
    done = function.get_function_configuration(FunctionName="f")
    assert (done["LastUpdateStatus"], done["MemorySize"]) == ("Successful", 256)
    assert done["RevisionId"] != begun["RevisionId"]
    published = function.publish_version(FunctionName="f")
    assert (published["Version"], published["MemorySize"]) == ("1", 256)


# -------------------------------------------------------------------- provisioned concurrency


def test_provisioned_concurrency_is_put_shown_listed_and_deleted(bridge: MotoBridge, client: Client, role: str) -> None:
    create_function(client, role)
    aws_lambda = client("lambda")
    aws_lambda.publish_version(FunctionName="f")
    put = aws_lambda.put_provisioned_concurrency_config(
        FunctionName="f", Qualifier="1", ProvisionedConcurrentExecutions=3
    )
    shown = aws_lambda.get_provisioned_concurrency_config(FunctionName="f", Qualifier="1")
    listed = aws_lambda.list_provisioned_concurrency_configs(FunctionName="f")["ProvisionedConcurrencyConfigs"]
    assert put["RequestedProvisionedConcurrentExecutions"] == 3
    assert (shown["Status"], shown["AllocatedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 0)
    assert [config["FunctionArn"] for config in listed] == ["arn:aws:lambda:eu-west-1:123456789012:function:f:1"]
    assert [(function.version, wanted) for function, wanted in bridge.provisioned_concurrency()] == [("1", 3)]
    aws_lambda.delete_provisioned_concurrency_config(FunctionName="f", Qualifier="1")
    with pytest.raises(aws_lambda.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        aws_lambda.get_provisioned_concurrency_config(FunctionName="f", Qualifier="1")


def test_provisioned_concurrency_is_refused_for_latest_and_for_unknown_functions(client: Client, role: str) -> None:
    create_function(client, role)
    aws_lambda = client("lambda")
    with pytest.raises(aws_lambda.exceptions.InvalidParameterValueException):
        aws_lambda.put_provisioned_concurrency_config(
            FunctionName="f", Qualifier="$LATEST", ProvisionedConcurrentExecutions=1
        )
    with pytest.raises(aws_lambda.exceptions.ResourceNotFoundException):
        aws_lambda.put_provisioned_concurrency_config(
            FunctionName="nope", Qualifier="1", ProvisionedConcurrentExecutions=1
        )


def test_provisioned_concurrency_is_refused_beyond_what_there_is_and_for_a_version_twice(
    bridge: MotoBridge, client: Client, role: str
) -> None:
    create_function(client, role)
    aws_lambda = client("lambda")
    aws_lambda.publish_version(FunctionName="f")
    aws_lambda.create_alias(FunctionName="f", Name="live", FunctionVersion="1")

    def put(qualifier: str, requested: int) -> Any:
        return aws_lambda.put_provisioned_concurrency_config(
            FunctionName="f", Qualifier=qualifier, ProvisionedConcurrentExecutions=requested
        )

    with pytest.raises(ClientError, match=r"below its minimum value of \[100\]"):
        put("1", 901)
    put("1", 900)
    put("1", 899)  # in place of the 900
    with pytest.raises(ClientError, match="already Provisioned version"):
        put("live", 1)
    aws_lambda.delete_provisioned_concurrency_config(FunctionName="f", Qualifier="1")
    aws_lambda.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=5)
    with pytest.raises(ClientError, match="not be greater than the reservedConcurrentExecution"):
        put("live", 6)
    put("live", 5)
    with pytest.raises(ClientError, match="pointed by a Provisioned Concurrency alias"):
        put("1", 1)
    aws_lambda.delete_alias(FunctionName="f", Name="live")
    assert bridge.provisioned_concurrency() == []


# -------------------------------------------------------------------- what goes wrong


def test_errors_of_moto_arrive_as_boto3_raises_them(client: Client) -> None:
    with pytest.raises(ClientError, match="Stack with id nope does not exist"):
        client("cloudformation").describe_stacks(StackName="nope")


def test_a_stack_with_a_resource_that_cannot_be_created_is_rolled_back(bridge: MotoBridge, client: Client) -> None:
    client("kinesis").create_stream(StreamName="taken", ShardCount=1)
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "t"}}
    stream = {"Type": "AWS::Kinesis::Stream", "Properties": {"Name": "taken", "ShardCount": 1}}
    deploy(client, T=topic, S=stream)
    cloudformation = client("cloudformation")
    events = cloudformation.describe_stack_events(StackName="s")["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"] == "CREATE_FAILED"]
    assert [(event["LogicalResourceId"], event["ResourceStatusReason"]) for event in failed] == [("S", "taken")]
    assert cloudformation.describe_stacks(StackName="s")["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE"
    assert cloudformation.describe_stack_resources(StackName="s")["StackResources"] == []
    assert not bridge.topic_exists("arn:aws:sns:eu-west-1:123456789012:t")
    cloudformation.delete_stack(StackName="s")
    deploy(client, T=topic)
    assert bridge.topic_exists("arn:aws:sns:eu-west-1:123456789012:t")


@pytest.mark.filterwarnings("ignore:Unable to delete S")
def test_an_update_with_a_resource_that_cannot_be_created_is_rolled_back(bridge: MotoBridge, client: Client) -> None:
    client("kinesis").create_stream(StreamName="taken", ShardCount=1)
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "t"}}
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "q"}}
    stream = {"Type": "AWS::Kinesis::Stream", "Properties": {"Name": "taken", "ShardCount": 1}}
    deploy(client, T=topic)
    cloudformation = client("cloudformation")
    resources = {"T": topic, "Q": queue, "S": stream}
    cloudformation.update_stack(StackName="s", TemplateBody=json.dumps({"Resources": resources}))
    assert cloudformation.describe_stacks(StackName="s")["Stacks"][0]["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    listed = cloudformation.describe_stack_resources(StackName="s")["StackResources"]
    assert [resource["LogicalResourceId"] for resource in listed] == ["T"]
    assert "QueueUrls" not in client("sqs").list_queues()
    assert bridge.shard_count("taken") == 1


def test_a_call_that_moto_does_not_know_is_not_implemented(client: Client) -> None:
    with pytest.raises(ClientError, match=r"NotImplemented.*recursion-config"):
        client("lambda").get_function_recursion_config(FunctionName="f")


def test_the_account_has_its_concurrency_less_what_is_reserved(client: Client) -> None:
    limits = client("lambda").get_account_settings()["AccountLimit"]
    assert limits == {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}


def test_api_gateway_tells_the_throttles_of_the_account(bridge: MotoBridge, client: Client) -> None:
    assert client("apigateway").get_account()["throttleSettings"] == {"rateLimit": 10_000.0, "burstLimit": 5_000}
    bridge._gateway_throttle = (2_500.0, 1_250)
    assert client("apigateway").get_account()["throttleSettings"] == {"rateLimit": 2_500.0, "burstLimit": 1_250}


def test_a_call_that_breaks_moto_is_a_failed_call_in_the_callers_protocol(bridge: MotoBridge, client: Client) -> None:
    def break_down(environ: Any, start_response: Any) -> Any:
        raise RuntimeError("boom")

    bridge._application = break_down  # type: ignore[assignment]
    for service, call in (("sns", "list_topics"), ("kinesis", "list_streams")):
        with pytest.raises(ClientError, match=r"InternalFailure.*RuntimeError: boom"):
            getattr(client(service), call)()


def test_a_new_bridge_begins_with_nothing(bridge: MotoBridge, client: Client) -> None:
    client("sns").create_topic(Name="t")
    assert not MotoBridge().topic_exists("arn:aws:sns:eu-west-1:123456789012:t")


def test_objects_made_while_a_table_is_updated_are_not_kept(client: Client) -> None:
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def items() -> int:
        gc.collect()
        return sum(type(thing) is Item for thing in gc.get_objects())

    counts = []
    gc.freeze()  # what is there by now need not be looked at
    try:
        for _ in range(2):
            for _ in range(20):
                dynamodb.update_item(
                    TableName="t",
                    Key={"k": {"S": "a"}},
                    UpdateExpression="ADD n :one",
                    ExpressionAttributeValues={":one": {"N": "1"}},
                )
            counts.append(items())
    finally:
        gc.unfreeze()
    assert counts[0] == counts[1] > 0


def test_objects_with_awkward_keys_come_back_from_s3(client: Client) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="bucket", Key="a b/ü%2F+.txt", Body=b"content")
    assert s3.get_object(Bucket="bucket", Key="a b/ü%2F+.txt")["Body"].read() == b"content"
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="bucket")["Contents"]] == ["a b/ü%2F+.txt"]


def test_regions_are_those_that_boto3_knows():
    """Where they come from is ours (sandbox.moto_bridge.ec2_import)."""
    session = boto3.Session()
    partitions = ("aws", "aws-us-gov", "aws-cn")
    known = [region for partition in partitions for region in session.get_available_regions("ec2", partition)]
    assert [region.name for region in RegionsAndZonesBackend.regions] == known


# -------------------------------------------------------------------- concurrency by the template


def test_functions_have_the_concurrency_that_the_template_reserves(stack: Any, bridge: MotoBridge) -> None:
    update(stack, PlaceVoteReservedConcurrency="7", ConsumerReservedConcurrency="0")
    reserved = {name: bridge.function(f"swarmscope-{name}") for name in ("place-vote", "bus-consumer", "get-results")}
    assert [function and function.reserved_concurrency for function in reserved.values()] == [7, 0, None]
    update(stack, PlaceVoteReservedConcurrency="")
    place_vote = bridge.function("swarmscope-place-vote")
    assert place_vote is not None
    assert place_vote.reserved_concurrency is None


def test_the_api_calls_aliases_with_provisioned_concurrency_and_functions_again(
    stack: Any, bridge: MotoBridge, client: Client
) -> None:
    def routes() -> dict[str, str | None]:
        stage = bridge.api_stage(None, "prod")
        assert stage is not None
        return {route.function_name.rpartition(":")[2]: route.qualifier for route in stage.routes}

    update(stack, PlaceVoteProvisionedConcurrency="5")
    assert routes() == dict.fromkeys(
        ["swarmscope-place-vote", "swarmscope-get-results", "swarmscope-shop-accept"], "live"
    )
    functions = client("lambda")
    where = {"FunctionName": "swarmscope-place-vote", "Qualifier": "live"}
    config = functions.get_provisioned_concurrency_config(**where)
    assert config["RequestedProvisionedConcurrentExecutions"] == 5
    with pytest.raises(ClientError, match="No Provisioned Concurrency Config"):
        functions.get_provisioned_concurrency_config(FunctionName="swarmscope-get-results", Qualifier="live")

    update(stack, PlaceVoteProvisionedConcurrency="5", PlaceVoteMemory="512")
    alias = bridge.function("swarmscope-place-vote", "live")
    assert alias is not None
    assert (alias.version, alias.memory_mb) == ("2", 512)

    update(stack)
    assert set(routes().values()) == {None}
    assert functions.list_aliases(FunctionName="swarmscope-place-vote")["Aliases"] == []


def test_an_api_without_an_access_log(stack: Any, bridge: MotoBridge) -> None:
    update(stack, AccessLog="false")
    stage = bridge.api_stage(None, "prod")
    assert stage is not None
    assert stage.access_log_group is None
    outputs = stack.describe_stacks(StackName="swarmscope")["Stacks"][0]["Outputs"]
    assert "AccessLogGroup" not in {output["OutputKey"] for output in outputs}
