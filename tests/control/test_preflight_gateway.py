"""Where an address leads, and what a key has left: questions to API Gateway, answered as its service model says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from control.preflight.facts import Absent, ApiAddress, Unknown
from control.preflight.gateway import address_of, ask_api
from control.preflight.questions import Questions

DOMAIN = "api.example.com"


class Stubbed:
    """API Gateway of both generations."""

    def __init__(self) -> None:
        self.client = cache(
            lambda service: boto3.client(
                service, region_name="eu-west-1", aws_access_key_id="k", aws_secret_access_key="s"
            )
        )
        self.rest, self.http_apis = Stubber(self.client("apigateway")), Stubber(self.client("apigatewayv2"))
        self.questions = Questions(self.client)

    def maps(self, base_paths: list[dict[str, Any]], keys: list[dict[str, Any]] | None = None) -> None:
        self.rest.add_response("get_base_path_mappings", {"items": base_paths}, {"domainName": DOMAIN})
        if keys is None:
            self.http_apis.add_client_error("get_api_mappings", "NotFoundException", http_status_code=404)
        else:
            asked = {"DomainName": DOMAIN, "MaxResults": "1000"}
            self.http_apis.add_response("get_api_mappings", {"Items": keys}, asked)


@pytest.fixture
def aws() -> Iterator[Stubbed]:
    stubbed = Stubbed()
    with stubbed.rest, stubbed.http_apis:
        yield stubbed
        stubbed.rest.assert_no_pending_responses()
        stubbed.http_apis.assert_no_pending_responses()


def test_an_address_of_api_gateway_needs_no_question(aws):
    url = "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/prod"
    assert address_of(aws.questions, url) == ApiAddress("a1b2c3", "prod")


def test_a_server_of_this_machine_is_no_custom_domain(aws):
    assert address_of(aws.questions, "http://127.0.0.1:8080/prod") is None


V1, WHOLE = {"basePath": "v1", "restApiId": "one", "stage": "prod"}, {"basePath": "(none)", "restApiId": "whole"}


@pytest.mark.parametrize(
    ("path", "base_paths", "keys", "leads_to"),
    [
        ("/v1", [V1], None, ("one", "prod")),
        ("/v1/orders", [V1], None, ("one", "prod")),
        ("/v10", [V1], None, None),
        ("/v1", [WHOLE, V1], None, ("one", "prod")),
        ("/beta/x", [WHOLE], None, ("whole", "beta")),
        ("", [WHOLE], None, None),
        ("/a/b/c", [], [{"ApiMappingKey": "a/b", "ApiId": "deep", "Stage": "$default"}], ("deep", "$default")),
        ("/x", [], [{"ApiId": "all", "Stage": "s"}], ("all", "s")),
        ("", [], [], None),
    ],
)
def test_a_custom_domain_leads_where_its_longest_base_path_says(aws, path, base_paths, keys, leads_to):
    aws.maps(base_paths, keys)
    expected = Absent() if leads_to is None else ApiAddress(*leads_to, DOMAIN)
    assert address_of(aws.questions, f"https://{DOMAIN}{path}") == expected


def test_a_domain_of_somebody_else_is_not_known(aws):
    aws.rest.add_client_error("get_base_path_mappings", "NotFoundException", http_status_code=404)
    assert address_of(aws.questions, f"https://{DOMAIN}/v1") is None


def test_who_may_not_read_mappings_is_told_the_action(aws):
    said = "User: arn:aws:iam::1:user/x is not authorized to perform: apigateway:GET on resource: y"
    for stub, operation in ((aws.rest, "get_base_path_mappings"), (aws.http_apis, "get_api_mappings")):
        stub.add_client_error(operation, "AccessDeniedException", said, 403)
    found = address_of(aws.questions, f"https://{DOMAIN}/v1")
    assert isinstance(found, Unknown)
    assert (found.action, found.denied) == ("apigateway:GET", True)


PLAN = {"id": "p1", "name": "partners", "quota": {"limit": 100, "period": "MONTH"}}
OF_STAGE = PLAN | {"apiStages": [{"apiId": "one", "stage": "prod"}]}
ELSEWHERE = PLAN | {"apiStages": [{"apiId": "one", "stage": "test"}]}


def with_plans(aws: Stubbed, *plans: dict[str, Any], **asked: str) -> None:
    aws.rest.add_response("get_stage", {}, {"restApiId": "one", "stageName": "prod"})
    aws.rest.add_response("get_account", {})
    aws.rest.add_response("get_usage_plans", {"items": [*plans]}, asked)


def plans_of(aws: Stubbed, key_id: str | None) -> Any:
    aws.rest.add_response("get_resources", {"items": []}, {"restApiId": "one", "embed": ["methods"]})
    today = date(2026, 11, 21)
    api = ask_api(aws.questions, ApiAddress("one", "prod"), has_key=True, key_id=key_id, today=today)
    return api.plans


def test_the_plan_of_a_key_says_what_is_left_of_its_quota(aws):
    """GetUsage: a pair of used and remaining for each day, by key. What stands for the key is no matter."""
    with_plans(aws, OF_STAGE, ELSEWHERE, keyId="k1")
    asked = {"usagePlanId": "p1", "startDate": "2026-11-21", "endDate": "2026-11-21"}
    aws.rest.add_response("get_usage", asked | {"items": {"secret": [[93, 7]]}}, asked | {"keyId": "k1"})
    (plan,) = plans_of(aws, "k1")
    assert (plan.name, plan.quota, plan.key_id, plan.left) == ("partners", 100, "k1", 7.0)
    assert "secret" not in repr(plan)


def test_without_the_id_of_the_key_usage_is_not_asked_for(aws):
    with_plans(aws, OF_STAGE)
    (plan,) = plans_of(aws, None)
    assert (plan.key_id, plan.left) == (None, None)


def test_a_key_without_a_plan_of_the_stage_has_none(aws):
    with_plans(aws, ELSEWHERE, keyId="k1")
    assert plans_of(aws, "k1") == ()
