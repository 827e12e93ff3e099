from config.load_curve import RateRamp, rate_ramps, user_seconds, users_at
from config.profile_files import load_profile, profile_from
from config.profiles import Profile


def closed(*stages: dict[str, object]) -> Profile:
    stages = stages or ({"duration": "10s", "users": 10},)
    return profile_from({"description": "d", "flows": ["vote"], "stages": list(stages)}, name="p", source="p.toml")


def open_model(*stages: dict[str, object]) -> Profile:
    stages = stages or ({"duration": "10s", "rate": 20},)
    document = {"description": "d", "flows": ["vote"], "model": "open", "stages": list(stages)}
    return profile_from(document, name="p", source="p.toml")


def test_a_stage_without_spawn_rate_ramps_evenly():
    assert [users_at(closed(), s)[0] for s in (0, 4, 9)] == [1, 5, 10]


def test_a_stage_with_spawn_rate_asks_for_all_its_users_at_once():
    profile = closed({"duration": "10s", "users": 10, "spawn_rate": 5})
    assert users_at(profile, 0) == (10, 5)


def test_a_descending_stage_ends_at_its_users():
    profile = closed({"duration": "10s", "users": 10}, {"duration": "5s", "users": 0})
    assert [users_at(profile, s)[0] for s in (10, 12, 14)] == [8, 4, 0]


def test_the_shape_is_over_after_the_last_stage():
    assert users_at(closed(), 10) is None


def test_open_stages_have_rates_that_ramp_from_zero():
    stages = [{"duration": "10s", "rate": 20}, {"duration": "5s", "rate": 20}, {"duration": "4s", "rate": 0}]
    assert rate_ramps(open_model(*stages)) == (RateRamp(10, 0, 20), RateRamp(5, 20, 20), RateRamp(4, 20, 0))


def test_open_stage_with_spawn_rate_climbs_by_so_much_a_second_and_holds():
    stages = [{"duration": "10s", "rate": 20, "spawn_rate": 10}, {"duration": "3s", "rate": 5, "spawn_rate": 1}]
    ramps = rate_ramps(open_model(*stages))
    assert ramps == (RateRamp(2, 0, 20), RateRamp(8, 20, 20), RateRamp(3, 20, 17))


def test_users_of_an_open_profile_are_tokens_until_it_is_over():
    profile = open_model()
    assert [users_at(profile, s) for s in (0, 10.2, 10.6)] == [(100, 100), (100, 100), None]


def test_burst_offers_ten_then_a_hundred_arrivals_a_second():
    ramps = rate_ramps(load_profile("burst"))
    assert [(ramp.from_rate, ramp.to_rate) for ramp in ramps] == [(0, 10), (10, 10), (10, 100), (100, 100), (100, 10)]


def test_users_go_on_for_the_area_below_their_curve():
    """5 users for 10 s on the average, then the jump to 20 in 2 s and 8 s of them."""
    stages = ({"duration": "10s", "users": 10}, {"duration": "10s", "users": 20, "spawn_rate": 5})
    assert user_seconds(closed(*stages)) == 50 + 2 * 15 + 8 * 20
