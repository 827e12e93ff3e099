"""What others rely on in the template: names, outputs, the access log, and rights no wider than needed."""

import json
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint_file
from cfnlint.decode import cfn_yaml

APPLICATIONS = {"VoteCodeKey": "vote", "ShopCodeKey": "shop", "EventsCodeKey": "events"}
TEMPLATE = Path(__file__).parents[2] / "stack" / "template.yaml"


@pytest.fixture(scope="module")
def template() -> Any:
    return cfn_yaml.load(str(TEMPLATE))


def resources(template: Any, kind: str) -> dict[str, Any]:
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def test_the_template_passes_cfn_lint():
    assert [str(problem) for problem in lint_file(TEMPLATE)] == []


def test_outputs_are_those_that_the_tools_read(template):
    assert set(template["Outputs"]) == {
        *("ApiId", "ApiStage", "ApiBaseUrl", "AccessLogGroup", "VotesStreamName", "VotesTableName", "ShopsTableName"),
        *("SalesTopicArn", "DecryptedSalesTopicArn", "ShopKeyId", "PlaceVoteFunction", "TallyVotesFunction"),
        *("GetResultsFunction", "ShopAcceptFunction", "ShopDecryptFunction", "ShopUpdateDbFunction"),
        *(
            "EventsQueueUrl",
            "EventsDeadLetterQueueUrl",
            "VotesDeadLetterQueueUrl",
            "EventsTopicArn",
            "EventsBusName",
            "EventsStreamName",
        ),
        *("QueueConsumerFunction", "TopicConsumerFunction", "BusConsumerFunction", "StreamConsumerFunction"),
    }


def test_functions_are_named_after_the_stack_and_their_handlers_exist(template):
    functions = resources(template, "AWS::Lambda::Function")
    assert {f["FunctionName"]["Fn::Sub"] for f in functions.values()} == {
        f"${{AWS::StackName}}-{name}"
        for name in (
            *("place-vote", "tally-votes", "get-results", "shop-accept", "shop-decrypt", "shop-update-db"),
            *("queue-consumer", "topic-consumer", "bus-consumer", "stream-consumer"),
        )
    }
    for properties in functions.values():
        application = APPLICATIONS[properties["Code"]["S3Key"]["Ref"]]
        module, function = properties["Handler"].split(".")
        assert f"\ndef {function}(" in (TEMPLATE.parent / application / f"{module}.py").read_text()


def test_every_function_has_its_log_group_with_retention(template):
    groups = resources(template, "AWS::Logs::LogGroup")
    names = {g["LogGroupName"]["Fn::Sub"] for g in groups.values()}
    for properties in resources(template, "AWS::Lambda::Function").values():
        assert f"/aws/lambda/{properties['FunctionName']['Fn::Sub']}" in names
    assert all(g["RetentionInDays"] == {"Ref": "LogRetentionDays"} for g in groups.values())


def test_shop_functions_have_128_mb_and_the_stream_one_shard_by_default(template):
    parameters = template["Parameters"]
    defaults = {
        name: parameters[name]["Default"] for name in parameters if name.startswith("Shop") and "Memory" in name
    }
    assert defaults == {"ShopAcceptMemory": 128, "ShopDecryptMemory": 128, "ShopUpdateDbMemory": 128}
    assert parameters["ShardCount"]["Default"] == 1


def test_every_environment_variable_a_handler_reads_is_set(template):
    for properties in resources(template, "AWS::Lambda::Function").values():
        application = APPLICATIONS[properties["Code"]["S3Key"]["Ref"]]
        if application == "vote":
            assert {"LOG_LEVEL", "VOTES_STREAM", "VOTES_TABLE"} <= set(properties["Environment"]["Variables"])
    needed = {
        "handler.accept": {"SALES_TOPIC_ARN"},
        "handler.decrypt": {"SHOP_KEY_ID", "DECRYPTED_SALES_TOPIC_ARN"},
        "handler.update_db": {"SHOPS_TABLE"},
    }
    for properties in resources(template, "AWS::Lambda::Function").values():
        assert needed.get(properties["Handler"], set()) <= set(properties["Environment"]["Variables"])


def test_the_access_log_is_one_line_of_json_whatever_is_absent(template):
    _, setting, _ = resources(template, "AWS::ApiGateway::Stage")["Stage"]["AccessLogSetting"]["Fn::If"]
    text = setting["Format"]
    assert "\n" not in text
    line = json.loads(text)
    assert line["requestId"] == "$context.requestId"
    assert line["integrationRequestId"] == "$context.integration.requestId"
    assert {line[key] for key in ("integrationLatency", "responseLatency", "requestTimeEpoch", "xrayTraceId")} == {
        *("$context.integration.latency", "$context.responseLatency"),
        *("$context.requestTimeEpoch", "$context.xrayTraceId"),
    }
    assert all(value.startswith("$context.") for value in line.values())


def test_roles_allow_named_actions_on_named_resources(template):
    for name, role in resources(template, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                assert not any("*" in action for action in actions), name
                # X-Ray's two write actions have no resource type.
                assert statement["Resource"] != "*" or all(action.startswith("xray:") for action in actions), name


def test_topics_carry_their_own_subscriptions(template):
    subscriptions = {
        name: topic["Subscription"][0]["Endpoint"]["Fn::GetAtt"]
        for name, topic in resources(template, "AWS::SNS::Topic").items()
    }
    assert subscriptions == {
        "SalesTopic": ["ShopDecryptFunction", "Arn"],
        "DecryptedSalesTopic": ["ShopUpdateDbFunction", "Arn"],
        "EventsTopic": ["TopicConsumerFunction", "Arn"],
    }
