"""What API Gateway lets through against the load: throttles, usage plans, keys, signatures. Pure checks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.custom_flow import CustomFlow
from config.settings import settings_from
from control.preflight import api as checks
from control.preflight.api import least_burst
from control.preflight.demand import Demand
from control.preflight.facts import Absent, Api, ApiAddress, Limit, Method, Unknown, UsagePlan
from control.preflight.policies import needed
from control.stack_outputs import from_settings
from tests.control.preflight_facts import DENIED, demand, paced

NO_LIMIT = Limit(None)
API = Api("rest", ApiAddress("a1b2c3", "prod"), of_stage=(NO_LIMIT,), of_account=Limit(10_000, 5000), access_log=True)
PLAN = UsagePlan("partners", (Limit(2000, 500),), quota=1_000_000, period="DAY")

KEYED, SIGNED = Method("POST /a", "NONE", True), Method("POST /b", "AWS_IAM", False)
OPEN = Method("GET /", "NONE", False)


def with_plans(*plans: UsagePlan) -> Api:
    return replace(API, plans=plans, methods=(KEYED,))


@pytest.mark.parametrize(("limit", "verdict"), [(10_000, "pass"), (1200, "warn"), (999, "fail"), (None, "pass")])
def test_throttles_against_the_planned_rate(limit, verdict):
    stage, account = checks.throttles(replace(API, of_stage=(Limit(limit, 500),)), 1000.0)
    assert (stage.subject, stage.verdict, account.verdict) == ("stage prod", verdict, "pass")


def test_limit_of_a_method_may_be_that_of_all_requests():
    """How many go there is not known: no failure."""
    stage, _ = checks.throttles(replace(API, of_stage=(NO_LIMIT, Limit(10, 5, "POST /vote"))), 1000.0)
    assert (stage.verdict, stage.finding) == ("warn", "POST /vote: 10 a second, bucket of 5; at most 1,000 planned")


@pytest.mark.parametrize(("rate", "limit", "burst"), [(100, 125, 9), (100, 200, 3), (100, 10_000, 1), (100, 100, 12)])
def test_arrivals_at_random_need_a_bucket(rate, limit, burst):
    assert least_burst(rate, limit) == burst


def test_burst_that_random_arrivals_empty_is_told():
    stage, _ = checks.throttles(replace(API, of_stage=(Limit(150, 2),)), 100.0)
    assert (stage.verdict, "need one of 5" in stage.finding) == ("warn", True)


@pytest.mark.parametrize("found", [DENIED, None, Absent()])
def test_what_is_not_known_of_an_api_is_one_row(found):
    assert len(checks.throttles(found, 100.0)) == 1
    assert checks.usage_plans(found, 100.0, 1.0) == checks.entrance(found, "none", has_key=True) == []


@pytest.mark.parametrize(
    ("plan", "verdicts"),
    [
        (PLAN, ["pass", "pass"]),
        (replace(PLAN, limits=(Limit(999, 500),)), ["fail", "pass"]),
        (replace(PLAN, limits=(Limit(1200, 500),)), ["warn", "pass"]),
        (replace(PLAN, quota=59_999), ["pass", "fail"]),
        (replace(PLAN, quota=70_000), ["pass", "warn"]),
        (replace(PLAN, limits=(Limit(2000, 500), Limit(10, 5, "POST /vote"))), ["pass", "warn", "pass"]),
        (UsagePlan("free", (NO_LIMIT,)), ["pass"]),
    ],
    ids=["enough", "rate", "little room", "quota", "little of the quota", "method", "no limits"],
)
def test_usage_plan_against_rate_and_number_of_requests(plan, verdicts):
    assert [row.verdict for row in checks.usage_plans(with_plans(plan), 1000.0, 60_000.0)] == verdicts


def test_of_several_plans_nobody_knows_which_one_has_the_key():
    small = replace(PLAN, name="free", limits=(Limit(1, 1),), quota=10)
    rows = checks.usage_plans(with_plans(PLAN, small), 1000.0, 60_000.0)
    assert [(row.subject, row.verdict) for row in rows] == [
        ("", "warn"), ("partners", "pass"), ("partners", "pass"), ("free", "warn"), ("free", "warn"),
    ]  # fmt: skip
    assert "API_KEY_ID" in rows[0].advice


@pytest.mark.parametrize(
    ("left", "requests", "verdict", "said"),
    [
        (60_000.0, 60_000.0, "warn", "60,000 left; 60,000 planned"),
        (59_999.0, 60_000.0, "fail", "59,999 left; 60,000 planned"),
        (900_000.0, 60_000.0, "pass", "900,000 left"),
        (0.0, None, "fail", "0 left"),
        (None, 60_000.0, "pass", "some of which may be spent already"),
    ],
)
def test_what_is_left_of_a_keys_quota_is_what_the_run_may_send(left, requests, verdict, said):
    plan = replace(PLAN, key_id="k1", left=left)
    *_, row = checks.usage_plans(with_plans(plan), 100.0, requests)
    assert (row.verdict, said in row.finding) == (verdict, True), row


def test_usage_that_may_not_be_read_is_a_warning_beside_the_quota():
    plan = replace(PLAN, key_id="k1", left=Unknown("apigateway:GET", "no", denied=True))
    rows = checks.usage_plans(with_plans(plan), 100.0, 60_000.0)
    assert [row.verdict for row in rows] == ["warn", "pass", "pass"]


def test_a_stage_behind_a_custom_domain_says_so():
    behind = replace(API, address=ApiAddress("a1b2c3", "prod", "api.example.com"))
    assert checks.throttles(behind, 100.0)[0].subject == "stage prod behind api.example.com"


def test_a_plan_counts_for_methods_that_require_a_key_only():
    """Of some it is not known how many requests they get."""
    small = replace(PLAN, limits=(Limit(1, 1),), quota=None)
    verdicts = []
    for methods in ((KEYED,), (KEYED, OPEN), (OPEN,), DENIED):
        (row,) = checks.usage_plans(replace(API, plans=(small,), methods=methods), 1000.0, 60_000.0)
        verdicts.append(row.verdict)
    assert verdicts == ["fail", "warn", "pass", "warn"]


def test_quota_without_a_number_of_requests_is_a_warning():
    assert [row.verdict for row in checks.usage_plans(with_plans(PLAN), None, None)] == ["pass", "warn"]


def test_plans_that_may_not_be_read_are_a_warning():
    (row,) = checks.usage_plans(replace(API, plans=DENIED), 100.0, 1.0)
    assert (row.check, row.verdict) == ("usage plan", "warn")


@pytest.mark.parametrize(
    ("methods", "api_auth", "key", "plans", "verdicts"),
    [
        ((OPEN,), "none", False, (), ["pass"]),
        ((KEYED,), "none", False, (), ["fail"]),
        ((KEYED, OPEN), "none", False, (), ["warn"]),
        ((KEYED,), "none", True, (PLAN,), ["pass"]),
        ((KEYED,), "none", True, (), ["fail"]),
        ((SIGNED,), "none", False, (), ["fail"]),
        ((SIGNED,), "iam", False, (), ["pass"]),
        ((SIGNED, KEYED), "bearer", False, (), ["warn", "warn"]),
        ((), "none", False, (), []),
    ],
)
def test_what_methods_ask_for_against_what_requests_carry(methods, api_auth, key, plans, verdicts):
    api = replace(API, methods=methods, plans=plans)
    assert [row.verdict for row in checks.entrance(api, api_auth, has_key=key)] == verdicts


def test_a_stage_without_an_access_log_is_told():
    (row,) = checks.access_log(replace(API, access_log=False))
    assert (row.check, row.verdict) == ("access log", "warn")
    assert checks.access_log(API) == []


# ---------------------------------------------------------------- execute-api:Invoke


ADDRESS = ApiAddress("a1b2c3", "prod", "api.example.com")


def called(of: Demand, address: ApiAddress | None = ADDRESS) -> list[str]:
    found = needed(of, from_settings(settings_from({})), "123456789012", "eu-west-1", signed_to=address)
    return [arn for action, arn in found if action == "execute-api:Invoke"]


def test_signed_requests_need_each_method_that_is_called():
    arn = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/"
    assert called(demand(paced(flows=["vote", "shop"], results_share=0.1))) == [
        f"{arn}POST/vote",
        f"{arn}GET/vote/*",
        f"{arn}POST/shop",
    ]


def test_of_flow_custom_what_its_file_calls():
    custom = CustomFlow.model_validate(
        {"requests": [{"api": {"method": "PUT", "path": "/o/{{ row.id }}/x?a={{ 1 }}"}}]}
    )
    (arn,) = called(demand(paced(flows=["custom"]), custom=custom))
    assert arn.endswith(":a1b2c3/prod/PUT/o/*/x")


def test_messages_need_the_action_of_their_service_on_what_they_go_to():
    custom = CustomFlow.model_validate(
        {
            "environment": ["ORDERS"],
            "requests": [
                {"queue": {"url": "https://sqs.eu-west-1.amazonaws.com/123456789012/{{ env.ORDERS }}", "batch": 10}},
                {"topic": {"arn": "arn:aws:sns:eu-west-1:999999999999:theirs"}},
                {"bus": {"name": "main", "source": "s", "detail_type": "d"}},
                {"stream": {"name": "clicks", "batch": 2}},
            ],
        }
    )
    of = demand(paced(flows=["custom"]), custom=custom, variables={"ORDERS": "orders"})
    target = from_settings(settings_from({}))
    assert list(needed(of, target, "123456789012", "eu-west-1"))[:4] == [
        ("sqs:SendMessage", "arn:aws:sqs:eu-west-1:123456789012:orders"),
        ("sns:Publish", "arn:aws:sns:eu-west-1:999999999999:theirs"),
        ("events:PutEvents", "arn:aws:events:eu-west-1:123456789012:event-bus/main"),
        ("kinesis:PutRecords", "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"),
    ]


def test_batches_of_flow_events_need_the_action_of_batches():
    of = demand(paced(flows=["events"]), event_destinations=("kinesis",), event_batch=10)
    target = from_settings(settings_from({"EVENTS_STREAM": "arn:aws:kinesis:eu-west-1:123456789012:stream/s"}))
    first = next(iter(needed(of, target, "123456789012", "eu-west-1")))
    assert first == ("kinesis:PutRecords", "arn:aws:kinesis:eu-west-1:123456789012:stream/s")


def test_requests_that_are_not_signed_or_lead_nobody_knows_where_need_nothing():
    assert called(demand(paced()), None) == []
