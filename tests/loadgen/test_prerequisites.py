"""What a run needs before it can send: told in full where it is missing, and before anything is sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.settings import settings_from
from loadgen.options import Chosen
from loadgen.prerequisites import check_model, check_reachable, check_recordable, service_endpoint
from tests.loadgen.conftest import no_credentials

pytestmark = pytest.mark.usefixtures("nothing_configured")


def chosen(**variables: str) -> Chosen:
    return Chosen(settings_from(variables), None, None, Path("runs"), None, None, 0.0, None)


def user_class(flow: str, weight: float = 1.0):
    return type("SomeUser", (), {"flow": flow, "weight": weight})


VOTERS = [user_class("vote")]


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        ({}, "http://127.0.0.1:4566/prod"),
        ({"TARGET": "aws"}, "https://api.example.com"),
        ({"TARGET": "aws", "API_BASE_URL": "https://other.example.com"}, "https://api.example.com"),
        ({"TARGET": "aws", "API_BASE_URL": "https://api.example.com"}, "https://api.example.com"),
        ({"TARGET": "aws", "ALLOWED_HOSTS": "api.example.com"}, "https://api.example.com"),
    ],
)
def test_allowed_hosts(variables, host):
    check_reachable(chosen(**variables), VOTERS, host, host_needed=True)


@pytest.mark.parametrize(
    "variables",
    [
        {"TARGET": "sandbox"},
        {"TARGET": "aws", "ALLOWED_HOSTS": "other.example.com"},
        {"TARGET": "aws", "ALLOWED_HOSTS": "other.example.com", "API_BASE_URL": "https://api.example.com"},
    ],
)
def test_hosts_that_load_may_not_go_to(variables):
    with pytest.raises(ConfigError, match=r"ALLOWED_HOSTS: load to api\.example\.com is not allowed"):
        check_reachable(chosen(**variables), VOTERS, "https://api.example.com", host_needed=True)


def invoking(allowed: str, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    given = chosen(TARGET="aws", ALLOWED_HOSTS=allowed, AWS_REGION="eu-west-1", VOTE_FUNCTION="f")
    check_reachable(given, [user_class("direct")], None, host_needed=True)


def test_a_service_among_the_allowed_hosts(monkeypatch):
    invoking("api.example.com lambda.eu-west-1.amazonaws.com", monkeypatch)


def test_a_service_that_load_may_not_go_to(monkeypatch):
    with pytest.raises(ConfigError, match=r"ALLOWED_HOSTS: load to lambda\.eu-west-1\.amazonaws\.com is not allowed"):
        invoking("api.example.com", monkeypatch)


def test_web_ui_asks_for_the_host_later():
    check_reachable(chosen(), VOTERS, None, host_needed=False)
    with pytest.raises(ConfigError, match="API_BASE_URL: not set"):
        check_reachable(chosen(), VOTERS, None, host_needed=True)


def test_what_the_flows_lack_is_named():
    with pytest.raises(ConfigError) as raised:
        check_reachable(chosen(), [user_class(flow) for flow in ("vote", "shop", "direct")], None, host_needed=True)
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        "API_BASE_URL",
        "VOTE_FUNCTION",
        "SHOP_PUBLIC_KEY",
    ]


def test_run_directory_is_tried_before_anything_is_sent(tmp_path):
    check_recordable(replace(chosen(), runs_dir=tmp_path / "new" / "runs", run_id="mine"))
    assert not list((tmp_path / "new" / "runs").iterdir())
    with pytest.raises(ConfigError, match=r"RUN_ID: run id '../up' must be letters"):
        check_recordable(replace(chosen(), runs_dir=tmp_path, run_id="../up"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"RUNS_DIR: cannot write to .*/file: "):
        check_recordable(replace(chosen(), runs_dir=tmp_path / "file"))


def test_events_need_a_destination_and_no_api():
    with pytest.raises(ConfigError, match="EVENTS_QUEUE_URL, EVENTS_TOPIC_ARN, EVENTS_BUS, EVENTS_STREAM: none is set"):
        check_reachable(chosen(), [user_class("events")], None, host_needed=True)
    check_reachable(chosen(EVENTS_STREAM="s"), [user_class("events")], None, host_needed=True)


def test_eventbridge_has_the_sdks_variable():
    variables = {"TARGET": "aws", "AWS_REGION": "eu-west-1"}
    assert service_endpoint("events", settings_from(variables)) == "https://events.eu-west-1.amazonaws.com"
    variables["AWS_ENDPOINT_URL_EVENTBRIDGE"] = "https://elsewhere"
    assert service_endpoint("events", settings_from(variables)) == "https://elsewhere"


@pytest.mark.parametrize(
    ("host", "problems"),
    [
        ("https://abc.execute-api.eu-west-1.amazonaws.com/prod", ["AWS_PROFILE"]),
        ("https://abc.lambda-url.eu-west-1.on.aws", ["AWS_PROFILE"]),
        ("https://api.example.com", ["AWS_REGION", "AWS_PROFILE"]),
    ],
)
def test_signed_requests_need_credentials_and_a_region(monkeypatch, tmp_path, host, problems):
    no_credentials(monkeypatch, tmp_path)
    with pytest.raises(ConfigError) as raised:
        check_reachable(chosen(TARGET="aws", API_AUTH="iam"), VOTERS, host, host_needed=True)
    assert [problem.partition(":")[0] for problem in raised.value.problems] == problems
    check_reachable(chosen(API_AUTH="iam"), VOTERS, "http://127.0.0.1:4566/prod", host_needed=True)


def test_direct_flow_needs_no_api():
    check_reachable(chosen(VOTE_FUNCTION="f"), [user_class("direct")], None, host_needed=True)


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({"AWS_ENDPOINT_URL_LAMBDA": "https://elsewhere"}, "http://127.0.0.1:4566"),
        ({"TARGET": "aws", "AWS_REGION": "eu-west-1"}, "https://lambda.eu-west-1.amazonaws.com"),
        ({"TARGET": "emulator", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "http://127.0.0.1:1"),
        (
            {
                "TARGET": "emulator",
                "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
                "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:2",
            },
            "http://127.0.0.1:2",
        ),
    ],
)
def test_where_lambda_is(variables, endpoint):
    assert service_endpoint("lambda", settings_from(variables)) == endpoint


def test_an_endpoint_of_a_service_must_be_allowed_too():
    given = chosen(
        TARGET="aws", ALLOWED_HOSTS="api.example.com", VOTE_FUNCTION="f", AWS_ENDPOINT_URL_LAMBDA="https://elsewhere:1"
    )
    with pytest.raises(ConfigError, match="ALLOWED_HOSTS: load to elsewhere is not allowed"):
        check_reachable(given, [user_class("direct")], None, host_needed=True)


def test_rate_needs_users_that_can_stand_for_arrivals():
    found = replace(chosen(), rate_per_user=1.0)
    check_model(found, [type("OfOurs", (), {"flow": "vote"})])
    with pytest.raises(ConfigError, match="RATE: Plain send by themselves"):
        check_model(found, [type("Plain", (), {})])
