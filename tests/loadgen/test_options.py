"""Options and settings: checked together, every problem at once."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.settings import settings_from
from loadgen.options import (
    Chosen,
    adhoc_profile,
    check_model,
    check_reachable,
    check_recordable,
    choose_user_classes,
    read_settings,
    resolve,
    service_endpoint,
)


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in (
        "TARGET",
        "ALLOWED_HOSTS",
        "MAX_USERS",
        "API_BASE_URL",
        "RUNS_DIR",
        "API_AUTH",
        "API_KEY",
        "AWS_ENDPOINT_URL",
    ):
        monkeypatch.delenv(name, raising=False)


def options(**given) -> Namespace:
    names = "load_profile flows target scale time_scale rate messages results_share shop_id seed run_id runs_dir"
    names += " invocation_type qualifier log_type event_batch poison_share rebalancing custom_flow"
    unset = dict.fromkeys((*names.split(), "host", "num_users"))
    return Namespace(**unset | given)


def chosen(**variables: str) -> Chosen:
    return Chosen(settings_from(variables), None, None, Path("runs"), None, None, 0.0, None)


def test_nothing_given_is_an_adhoc_run():
    found = resolve(options())
    assert (found.profile, found.flows, found.run_id, found.seed) == (None, None, None, None)
    assert found.runs_dir.name == "runs"


@pytest.mark.parametrize(("given", "on"), [(None, True), ("on", True), ("off", False)])
def test_users_move_to_other_workers_unless_that_is_switched_off(given, on):
    assert resolve(options(rebalancing=given)).rebalancing is on


def test_rebalancing_is_on_or_off():
    with pytest.raises(ConfigError, match="REBALANCING: 'maybe' is neither on nor off"):
        resolve(options(rebalancing="maybe"))


def test_profile_with_scales():
    found = resolve(options(load_profile="vote-stress", scale="0.1", time_scale="0.5", flows="direct"))
    assert found.profile is not None
    assert found.profile.peak_users == 100
    assert found.profile.duration_s == 300
    assert found.flows == {"direct": 1.0}


def test_every_problem_at_once(monkeypatch):
    monkeypatch.setenv("API_KEY", "a\nb")
    with pytest.raises(ConfigError) as raised:
        resolve(options(load_profile="vote-stres", scale="big", results_share="2", seed="x", messages="0", rate="5"))
    text = str(raised.value)
    for part in (
        "'vote-stres'; did you mean 'vote-stress'?",
        "SCALE: 'big'",
        "RESULTS_SHARE: '2'",
        "SEED: 'x'",
        "MESSAGES: '0'",
        "RATE: ",
        "API_KEY: ",
    ):
        assert part in text


@pytest.mark.parametrize("given", [{"load_profile": "demo"}, {"num_users": 101}])
def test_more_users_than_allowed(monkeypatch, given):
    monkeypatch.setenv("MAX_USERS", "100")
    with pytest.raises(ConfigError, match=r"MAX_USERS: \d+ users asked for, 100 allowed"):
        resolve(options(**given))


@pytest.mark.parametrize(
    ("host", "target", "expected"),
    [
        (None, None, "sandbox"),
        ("http://127.0.0.1:80", None, "sandbox"),
        ("https://api.example.com/prod", None, "aws"),
        ("https://api.example.com/prod", "sandbox", "sandbox"),
        (None, "aws", "aws"),
    ],
)
def test_target_that_nobody_named_follows_the_host(host, target, expected):
    assert read_settings(options(host=host, target=target)).target == expected


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


def test_how_a_function_is_invoked():
    found = resolve(options(invocation_type="Event", qualifier="live"))
    assert (found.invocation.invocation_type, found.invocation.qualifier) == ("Event", "live")
    with pytest.raises(ConfigError, match=r"'Later' is no invocation type; there are RequestResponse, Event, DryRun"):
        resolve(options(invocation_type="Later"))


def test_a_batch_is_no_larger_than_every_service_takes():
    assert resolve(options(event_batch="10")).event_batch == 10
    with pytest.raises(ConfigError, match="EVENT_BATCH: '11' is not a whole number from 1 to 10"):
        resolve(options(event_batch="11"))


def test_one_mistake_is_one_problem():
    with pytest.raises(ConfigError) as caught:
        resolve(options(rate="fast", flows=",", seed=str(2**63)))
    assert caught.value.problems == [
        "SEED: '9223372036854775808' is not a whole number from 0 to 9,223,372,036,854,775,807",
        "FLOW: ',' names no flow",
        "RATE: 'fast' is not a number",
    ]


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
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigError) as raised:
        check_reachable(chosen(TARGET="aws", API_AUTH="iam"), VOTERS, host, host_needed=True)
    assert [problem.partition(":")[0] for problem in raised.value.problems] == problems
    check_reachable(chosen(API_AUTH="iam"), VOTERS, "http://127.0.0.1:4566/prod", host_needed=True)


def test_direct_flow_needs_no_api():
    check_reachable(chosen(VOTE_FUNCTION="f"), [user_class("direct")], None, host_needed=True)


def test_shares_of_the_flows_are_shares_of_the_users():
    votes, shop, other = user_class("vote"), user_class("shop"), user_class("custom")
    chosen_weights = choose_user_classes({votes: 1, shop: 5, other: 1}, {"shop": 0.1, "vote": 0.9})
    assert list(chosen_weights.items()) == [(shop, 0.1), (votes, 0.9)]


def test_classes_of_one_flow_split_its_share_by_their_weights():
    voters, readers = user_class("vote"), user_class("vote")
    assert choose_user_classes({voters: 3, readers: 1}, {"vote": 0.8}) == pytest.approx({voters: 0.6, readers: 0.2})


def test_flow_that_no_locustfile_has_is_named():
    with pytest.raises(ConfigError, match=r"no user class for shop, direct .*flows there: vote"):
        choose_user_classes({user_class("vote"): 1}, {"vote": 0.8, "shop": 0.1, "direct": 0.1})


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


def test_rate_without_a_profile_makes_users_tokens():
    found = resolve(options(rate="2.5"))
    profile = adhoc_profile(Namespace(num_users=4, spawn_rate=None, run_time=None), {"vote": 1.0}, found)
    assert (profile.model, profile.rate_per_user, profile.arrivals) == ("open", 2.5, "even")
    assert profile.max_in_flight == 1000


def test_max_users_limits_users_and_with_a_rate_open_requests_too(monkeypatch):
    monkeypatch.setenv("MAX_USERS", "50")
    with pytest.raises(ConfigError, match="MAX_USERS: 51 users asked for, 50 allowed"):
        resolve(options(rate="2.5", num_users=51))
    found = resolve(options(rate="2.5", num_users=50))
    given = Namespace(num_users=50, spawn_rate=None, run_time=None)
    assert adhoc_profile(given, {"vote": 1.0}, found).max_in_flight == 50


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "fast"])
def test_rate_is_a_number_above_zero(rate):
    with pytest.raises(ConfigError, match="RATE"):
        resolve(options(rate=rate))


def test_rate_needs_users_that_can_stand_for_arrivals():
    found = resolve(options(rate="1"))
    check_model(found, [type("OfOurs", (), {"flow": "vote"})])
    with pytest.raises(ConfigError, match="RATE: Plain send by themselves"):
        check_model(found, [type("Plain", (), {})])


def test_rate_is_not_for_profiles():
    with pytest.raises(ConfigError, match="SCALE multiplies the arrival rates"):
        resolve(options(rate="1", load_profile="burst"))
