import base64
from typing import Any

import pytest
from botocore.exceptions import ClientError

from config.custom_flow import CustomFlow
from config.errors import ConfigError
from config.settings import function_name, settings_from
from control.stack_outputs import RunTarget, from_settings, with_custom, with_outputs, with_public_key

OUTPUTS = {
    "ApiId": "a1b2",
    "ApiStage": "prod",
    "ApiBaseUrl": "https://a1b2.execute-api.eu-west-1.amazonaws.com/prod",
    "AccessLogGroup": "/aws/apigateway/s-access",
    "VotesStreamName": "s-votes",
    "VotesTableName": "s-votes",
    "ShopsTableName": "s-shops",
    "ShopKeyId": "key-1",
    "PlaceVoteFunction": "s-place-vote",
    "ShopAcceptFunction": "s-shop-accept",
}


class Kms:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def get_public_key(self, KeyId: str) -> dict[str, Any]:
        self.asked.append(KeyId)
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"PublicKey": self.answer}


def resolved(outputs: dict[str, str] = OUTPUTS, **variables: str) -> RunTarget:
    return with_outputs(settings_from({"TARGET": "aws", "AWS_REGION": "eu-west-1", **variables}), outputs)


def test_on_aws_the_api_answers_at_its_own_host():
    assert resolved().api_base_url == OUTPUTS["ApiBaseUrl"]


@pytest.mark.parametrize("target", ["sandbox", "emulator"])
def test_elsewhere_the_api_answers_below_the_one_endpoint(target):
    found = resolved(TARGET=target, AWS_ENDPOINT_URL="http://127.0.0.1:5001/")
    assert found.api_base_url == "http://127.0.0.1:5001/restapis/a1b2/prod/_user_request_"


def test_a_variable_wins_over_the_stack():
    found = resolved(API_BASE_URL="https://mine/prod", VOTE_FUNCTION="mine", ACCESS_LOG_GROUP="/mine")
    assert (found.api_base_url, found.functions["place-vote"], found.access_log_group) == (
        "https://mine/prod",
        "mine",
        "/mine",
    )
    assert found.functions["shop-accept"] == "s-shop-accept"


def test_log_groups_are_lambdas_own_without_log_groups():
    assert resolved().log_groups == {
        "place-vote": "/aws/lambda/s-place-vote",
        "shop-accept": "/aws/lambda/s-shop-accept",
    }


def test_log_groups_given_keep_the_logical_name_of_their_function():
    found = resolved(LOG_GROUPS="/aws/lambda/s-place-vote, /custom/other")
    assert found.log_groups == {"place-vote": "/aws/lambda/s-place-vote", "other": "/custom/other"}


@pytest.mark.parametrize(
    "function",
    [
        "vote",
        "vote:live",
        "arn:aws:lambda:eu-west-1:123456789012:function:vote",
        "arn:aws:lambda:eu-west-1:123456789012:function:vote:live",
        "123456789012:function:vote",
    ],
)
def test_a_function_has_one_plain_name_however_it_is_given(function):
    assert function_name(function) == "vote"


def test_locust_gets_everything_as_variables():
    target = with_public_key(resolved(), Kms(b"\x30\x01"))
    assert target.environment() == {
        "API_BASE_URL": OUTPUTS["ApiBaseUrl"],
        "ACCESS_LOG_GROUP": "/aws/apigateway/s-access",
        "SHOP_PUBLIC_KEY": base64.b64encode(b"\x30\x01").decode(),
        "VOTE_FUNCTION": "s-place-vote",
        "SHOP_ACCEPT_FUNCTION": "s-shop-accept",
    }


def test_a_public_key_given_by_variable_is_not_fetched():
    kms = Kms(b"other")
    assert with_public_key(resolved(SHOP_PUBLIC_KEY="abc="), kms).shop_public_key == "abc="
    assert kms.asked == []


def test_a_key_that_kms_keeps_is_a_configuration_problem():
    refused = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetPublicKey")
    with pytest.raises(ConfigError, match="SHOP_PUBLIC_KEY"):
        with_public_key(resolved(), Kms(refused))


def test_everything_missing_is_reported_together_and_once():
    nothing = from_settings(settings_from({"TARGET": "aws"}))
    with pytest.raises(ConfigError) as refused:
        nothing.require(["vote", "shop", "direct"], "there is no stack s in eu-west-1")
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "API_BASE_URL",
        "SHOP_PUBLIC_KEY",
        "VOTE_FUNCTION",
    ]
    assert "there is no stack s in eu-west-1" in refused.value.problems[0]


def test_a_flow_misses_only_what_it_needs():
    from_settings(settings_from({"TARGET": "aws", "VOTE_FUNCTION": "vote"})).require(["direct"], "")


def test_functions_of_a_flow_of_ones_own_are_analysed_and_have_no_variable():
    flow = CustomFlow.model_validate({"functions": ["orders-api"], "requests": [{"api": {"path": "/orders"}}]})
    found = with_custom(resolved(), flow, ())
    assert found.functions["orders-api"] == "orders-api"
    assert found.log_groups["orders-api"] == "/aws/lambda/orders-api"
    assert found.environment().keys() == resolved().environment().keys()
