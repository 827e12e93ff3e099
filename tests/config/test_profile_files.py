import datetime
import json

import pytest

from config.errors import ConfigError
from config.load_curve import RateRamp, rate_ramps
from config.profile_files import load_profile, profile_from, profile_names
from config.profiles import profile_from_dict

MINIMAL = {"description": "d", "flows": ["vote"], "stages": [{"duration": "10s", "users": 10}]}


def make(**changes):
    return profile_from({**MINIMAL, **changes}, name="p", source="p.toml")


def problems(**changes):
    with pytest.raises(ConfigError) as caught:
        make(**changes)
    return caught.value.problems


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_loads_and_survives_the_manifest(name):
    profile = load_profile(name)
    assert profile_from_dict(profile.as_dict()) == profile


def test_vote_stress_offers_1042_votes_a_second():
    profile = load_profile("vote-stress")
    assert round(profile.peak_users / profile.pacing_s) == 1042


def test_scale_multiplies_users_and_spawn_rate_but_not_pacing():
    profile = load_profile("vote-stress", scale=0.1)
    assert (profile.stages[0].users, profile.stages[0].spawn_rate, profile.pacing_s) == (100, 10, 0.96)


def test_time_scale_multiplies_stages_and_warmup_but_not_think_time():
    profile = profile_from({**MINIMAL, "think_time": "1s", "warmup": "4s"}, name="p", source="p.toml", time_scale=0.5)
    assert (profile.stages[0].duration_s, profile.warmup_s, profile.think_time_s) == (5, 2, (1, 1))


def test_a_small_scale_keeps_at_least_one_user():
    assert load_profile("vote-stress", scale=0.0001).stages[0].users == 1


def test_flow_weights_become_shares():
    assert make(flows={"vote": 9, "shop": 1}).flows == {"vote": 0.9, "shop": 0.1}


def test_chosen_flows_keep_their_weights():
    profile = load_profile("demo", flows="vote,shop")
    assert profile.flows["vote"] == pytest.approx(88 / 90)


def test_messages_can_be_overridden():
    assert load_profile("perf", messages=7).messages == 7


def test_messages_are_sent_by_one_user():
    with pytest.raises(ConfigError, match="by one user"):
        load_profile("perf", scale=2)


def test_unknown_profile_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'demo'"):
        load_profile("demmo")


def test_malformed_toml_names_file_and_place(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("description = \n")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML: .*line 1"):
        load_profile(str(path))


def test_every_problem_is_reported_at_once():
    found = problems(flows=["vot"], userz=3, thresholds={"p96_ms < 3": "fail", "p95_ms < 3": "explode"})
    assert len(found) == 4
    assert "p.toml: userz: unknown key" in found
    assert any("unknown flow 'vot'" in line for line in found)
    assert any("unknown metric 'p96_ms'" in line for line in found)
    assert any("'explode'" in line for line in found)


def test_a_stage_shorter_than_a_second_after_scaling_is_refused():
    with pytest.raises(ConfigError, match=r"stage 1 lasts 0\.5 s after TIME_SCALE=0\.05"):
        profile_from(MINIMAL, name="p", source="p.toml", time_scale=0.05)


@pytest.mark.parametrize("scale", [0, -1, float("inf"), float("nan")])
def test_scale_must_be_a_positive_number(scale):
    with pytest.raises(ConfigError, match="SCALE"):
        profile_from(MINIMAL, name="p", source="p.toml", scale=scale)


def test_pacing_and_think_time_exclude_each_other():
    assert "exclude each other" in problems(pacing="1s", think_time="1s")[0]


def test_no_stages_is_refused():
    assert "stages" in problems(stages=[])[0]


def test_a_stage_problem_counts_stages_from_one():
    assert problems(stages=[{"duration": "10s"}]) == ["p.toml: stages.1.users: Field required"]


def test_unknown_flow_asked_for_names_the_variable():
    with pytest.raises(ConfigError, match="FLOW: 'vot'"):
        load_profile("demo", flows="vot")


OPEN = {"description": "d", "flows": ["vote"], "model": "open", "stages": [{"duration": "10s", "rate": 20}]}


def make_open(**changes):
    return profile_from({**OPEN, **changes}, name="p", source="p.toml")


def open_problems(**changes):
    with pytest.raises(ConfigError) as caught:
        make_open(**changes)
    return " ".join(caught.value.problems)


def test_scale_multiplies_rates_and_time_scale_does_not():
    ramps = rate_ramps(profile_from(OPEN, name="p", source="p.toml", scale=0.5, time_scale=2.0))
    assert ramps == (RateRamp(20, 0, 10),)


def test_open_profile_has_even_arrivals_and_a_cap_unless_it_says_otherwise():
    assert (make_open().arrivals, make_open().max_in_flight) == ("even", 1000)
    assert make_open(arrivals="poisson", max_in_flight=5).arrivals == "poisson"
    assert make_open(max_in_flight=5).peak_users == 5


def test_model_and_stages_must_agree():
    assert "stages.1.rate: Field required" in open_problems(stages=[{"duration": "10s"}])
    both = [{"duration": "10s", "rate": 1, "users": 1}]
    assert 'stages.1.users: model = "open" has rate, not users' in open_problems(stages=both)
    assert 'stages.1.rate: model = "closed" has users, not rate' in " ".join(problems(stages=both))


@pytest.mark.parametrize("changes", [{"think_time": "1s"}, {"pacing": "1s"}, {"messages": 3}])
def test_open_model_has_no_users_that_wait(changes):
    assert f'{next(iter(changes))}: not with model = "open"' in open_problems(**changes)


def test_closed_model_has_no_arrivals():
    assert 'arrivals, max_in_flight: not with model = "closed"' in problems(arrivals="even", max_in_flight=3)[0]


def test_messages_asked_for_need_the_closed_model():
    with pytest.raises(ConfigError, match="by one user"):
        profile_from(OPEN, name="p", source="p.toml", messages=3)


def test_threshold_that_nothing_is_known_of_during_the_run_cannot_abort_it():
    found = problems(
        thresholds={"place-vote: p95_ms < 100": "abort after 10s", "shop: error_rate over 5s < 1%": "fail"}
    )
    assert len(found) == 2
    assert "'place-vote' is neither an endpoint" in found[0]
    assert "'shop' is neither an endpoint (such as 'POST /vote') nor a flow of this profile (vote)" in found[1]


def test_windows_are_scaled_once_however_often_the_profile_is_handed_on():
    thresholds = {"vote: p95_ms over 1m < 100": "abort after 20s"}
    profile = profile_from({**MINIMAL, "thresholds": thresholds}, name="p", source="p.toml", time_scale=0.1)
    (threshold,) = profile_from_dict(json.loads(json.dumps(profile.as_dict()))).thresholds
    assert (threshold.text, threshold.window_s, threshold.abort_after_s) == ("vote: p95_ms over 6s < 100", 6.0, 2.0)


SEARCH = {
    "description": "d",
    "flows": ["vote"],
    "model": "open",
    "breakpoint": {"start": 20, "max": 1000, "hold": "20s", "settle": "10s"},
    "thresholds": {"p95_ms over 10s < 1000": "fail"},
}


def search(**changes):
    return profile_from({**SEARCH, **changes}, name="b", source="b.toml", scale=1, time_scale=1)


def test_breakpoint_is_scaled_and_survives_the_manifest():
    profile = profile_from(SEARCH, name="b", source="b.toml", scale=2, time_scale=0.5)
    plan = profile.breakpoint
    assert (plan.start_rate, plan.max_rate, plan.hold_s, plan.settle_s) == (40, 2000, 10, 5)
    assert profile.rate_per_user == plan.rate_per_user == 2
    assert (profile.duration_s, profile.peak_rate) == (None, 2000)
    assert profile_from_dict(json.loads(json.dumps(profile.as_dict()))) == profile


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "closed"}, 'only with model = "open"'),
        ({"stages": [{"duration": "1m", "rate": 5}]}, "[breakpoint] instead of them"),
        ({"breakpoint": None}, "[breakpoint] instead of them"),
        ({"breakpoint": {"start": 20, "max": 20}}, "max: 20 is not above start"),
        ({"breakpoint": {"start": 20, "max": 40, "hold": "500ms"}}, "breakpoint.hold: 0.5 s"),
        ({"thresholds": {}}, "needs one with the action `fail`"),
        ({"thresholds": {"p95_ms < 9": "abort"}}, "needs one with the action `fail`"),
        ({"thresholds": {"cold_start_rate < 1%": "fail"}}, "cold_start_rate is known only after the run"),
        ({"thresholds": {"place-vote: p95_ms < 1": "fail"}}, "'place-vote' is neither an endpoint"),
        ({"thresholds": {"p95_ms over 30s < 1000": "fail"}}, "longer than breakpoint.hold"),
    ],
)
def test_search_that_cannot_work_is_refused(changes, said):
    with pytest.raises(ConfigError) as caught:
        search(**changes)
    assert any(said in problem for problem in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    "changes",
    [
        {"pacing": ["1s"]},
        {"think_time": [["1s"], "2s"]},
        {"warmup": datetime.time(10, 0)},
        {"stages": [{"duration": {"seconds": 10}, "users": 1}]},
    ],
    ids=["list", "list in a list", "time of day", "table"],
)
def test_what_can_be_no_time_span_is_a_problem_and_no_exception(changes):
    assert any("is not a time span such as 90s" in problem for problem in problems(**changes))


@pytest.mark.parametrize("weight", [0, -1, float("inf"), float("nan")])
def test_a_weight_is_a_number_above_0_that_ends(weight):
    assert problems(flows={"vote": weight, "shop": 1}) == ["p.toml: flows: a weight is a number above 0"]


@pytest.mark.parametrize("spawn_rate", [0, -1, float("inf"), float("nan")])
def test_a_spawn_rate_is_a_number_above_0_that_ends(spawn_rate):
    """Endless, it would leave the users of the next stage no level to begin at."""
    (problem,) = problems(stages=[{"duration": "10s", "users": 5, "spawn_rate": spawn_rate}])
    assert problem.startswith("p.toml: stages.1.spawn_rate: ")


def test_a_profile_that_cannot_be_read_is_a_problem(tmp_path):
    (tmp_path / "mine.toml").mkdir()
    with pytest.raises(ConfigError, match=r"PROFILE: .*mine\.toml: is a directory"):
        load_profile(str(tmp_path / "mine.toml"))


def test_a_list_of_flows_holds_names():
    assert problems(flows=[["vote"]])[0].startswith("p.toml: flows: a list of flows such as")
