"""Options and settings: checked together, every problem at once."""

from __future__ import annotations

from argparse import Namespace

import pytest

from config.errors import ConfigError
from loadgen.options import adhoc_profile, choose_user_classes, read_settings, resolve

pytestmark = pytest.mark.usefixtures("nothing_configured")


def options(**given) -> Namespace:
    names = "load_profile flows target scale time_scale rate messages results_share shop_id seed run_id runs_dir"
    names += " invocation_type qualifier log_type event_batch poison_share rebalancing custom_flow"
    unset = dict.fromkeys((*names.split(), "host", "num_users", "headless"))
    return Namespace(**unset | given)


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


def test_what_is_for_profiles_is_refused_without_one_unless_the_web_ui_may_choose_it():
    with pytest.raises(ConfigError) as raised:
        resolve(options(scale="2", time_scale="0.5", messages="10", headless=True))
    assert raised.value.problems == [
        f"{variable}: it is for profiles, and none is chosen (PROFILE)"
        for variable in ("SCALE", "TIME_SCALE", "MESSAGES")
    ]
    assert resolve(options(scale="2", headless=False)).profile is None


def test_rate_is_not_for_profiles():
    with pytest.raises(ConfigError, match="SCALE multiplies the arrival rates"):
        resolve(options(rate="1", load_profile="burst"))
