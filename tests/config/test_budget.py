"""What a profile plans, by arithmetic that a reader can redo, and what of it MAX_COST_USD lets through."""

from __future__ import annotations

import pytest

from config.budget import Sending, budget_problems, planned_usd
from config.custom_flow import CustomFlow
from config.planned_load import planned_peak_rate, planned_requests
from config.prices import Price, Prices, Tier, load_prices
from config.profile_files import load_profile, profile_from
from config.profiles import Profile
from config.settings import Settings, settings_from

STAGES = [{"duration": "10s", "users": 20}, {"duration": "30s", "users": 20}]


def profile(**keys: object) -> Profile:
    document = {"description": "a test", "flows": ["vote"], "stages": STAGES, **keys}
    return profile_from(document, name="mine", source="mine.toml")


def settings(max_cost_usd: str) -> Settings:
    return settings_from({"TARGET": "aws", "AWS_REGION": "us-east-1", "MAX_COST_USD": max_cost_usd})


def test_paced_users_send_one_request_an_interval():
    """A ramp of 10 s to 20 users and 30 s of them are 100 + 600 user-seconds."""
    paced = profile(pacing="0.5s")
    assert (planned_requests(paced), planned_peak_rate(paced)) == (1400, 40)


def test_users_that_think_send_one_request_a_thought_and_an_answer():
    thinking = profile(think_time=["0.5s", "1.5s"])
    assert (planned_requests(thinking), planned_peak_rate(thinking)) == (700, 20)
    assert planned_requests(thinking, response_ms=400) == pytest.approx(500)


def test_how_fast_users_are_answered_nobody_knows_before():
    unpaced = profile()
    assert (planned_requests(unpaced), planned_peak_rate(unpaced)) == (None, None)
    assert planned_requests(unpaced, response_ms=100) == pytest.approx(7000)


def test_arrivals_are_planned_to_the_request():
    """burst: 30 s of 10 a second, a climb of 10 s to 100, 2 m of 100, a way down of 30 s to 10."""
    burst = load_profile("burst")
    assert planned_requests(burst) == pytest.approx(300 + 550 + 12_000 + 1650, abs=1)
    assert planned_peak_rate(burst) == 100


def test_messages_are_counted():
    assert planned_requests(load_profile("perf")) == 100


def test_search_for_a_breakpoint_plans_no_number():
    assert planned_requests(load_profile("breakpoint")) is None


def test_plan_costs_its_requests_and_their_assumed_time():
    """1,400 of: $3.50 + $0.20 a million, and 0.1 s of 1 GB at $0.0000166667 a GB-s."""
    usd = planned_usd(load_prices("us-east-1"), profile(pacing="0.5s"))
    assert usd == pytest.approx(1400 * (3.7e-6 + 0.1 * 0.0000166667))


def test_flows_that_invoke_directly_pay_no_api():
    usd = planned_usd(load_prices("us-east-1"), profile(pacing="0.5s", flows={"vote": 1, "direct": 1}))
    assert usd == pytest.approx(1400 * (0.5 * 3.5e-6 + 0.2e-6 + 0.1 * 0.0000166667))


@pytest.mark.parametrize(("limit", "refused"), [("0.0075", True), ("0.0076", False)])
def test_plan_above_the_limit_is_refused_with_both_figures(limit, refused):
    problems = budget_problems(settings(limit), profile(pacing="0.5s"), load_prices("us-east-1"))
    assert bool(problems) is refused
    if refused:
        assert problems[0].startswith(
            "MAX_COST_USD: profile mine plans up to 1,400 requests, about $0.0075 for what takes them and for Lambda, "
            "and $0.0075 are allowed"
        )


def test_messages_pay_the_service_that_takes_them():
    """1,400 calls of ten messages, half of them to SQS ($0.40 a million), half to SNS ($0.50)."""
    sending = Sending(("sqs", "sns"), event_batch=10)
    usd = planned_usd(load_prices("us-east-1"), profile(pacing="0.5s", flows=["events"]), sending)
    assert usd == pytest.approx(14_000 * (0.45e-6 + 0.2e-6 + 0.1 * 0.0000166667))


def test_messages_that_a_profile_counts_are_those_of_batches():
    counted = load_profile("perf", flows="events")
    sent = planned_usd(load_prices("us-east-1"), counted, Sending(("sqs",), event_batch=10))
    assert sent == pytest.approx(100 * (0.4e-6 + 0.2e-6 + 0.1 * 0.0000166667))


def test_requests_of_flow_custom_pay_what_each_of_them_calls():
    """By weight 1, 1 and 2: an API, a function, a queue with three messages a call."""
    custom = CustomFlow.model_validate(
        {
            "requests": [
                {"api": {"path": "/"}},
                {"invoke": {"function": "f"}},
                {"queue": {"url": "http://q", "batch": 3}, "weight": 2},
            ]
        }
    )
    usd = planned_usd(load_prices("us-east-1"), profile(pacing="0.5s", flows=["custom"]), Sending(custom=custom))
    assert usd == pytest.approx(350 * 3.5e-6 + 2100 * 0.4e-6 + 2800 * (0.2e-6 + 0.1 * 0.0000166667))


def test_a_service_without_a_price_is_named():
    (problem,) = budget_problems(
        settings("1"), profile(pacing="0.5s", flows=["events"]), load_prices("eu-west-1"), Sending(("sqs", "events"))
    )
    assert problem.startswith("MAX_COST_USD: cannot be kept, for there are no prices of eventbridge_events in region")


def test_without_a_limit_nothing_is_refused():
    assert budget_problems(settings_from({}), load_profile("soak"), Prices(region="nowhere")) == []


def test_limit_that_cannot_be_kept_is_refused():
    (problem,) = budget_problems(settings("1"), profile(pacing="0.5s"), Prices(region="us-east-1"))
    assert problem.startswith("MAX_COST_USD: cannot be kept, for there are no prices")


def test_more_requests_than_prices_are_known_of_are_refused():
    known = load_prices("us-east-1")
    few = known.prices | {"api_rest_requests": Price(per=1e6, tiers=(Tier(usd=3.5, up_to=1000),))}
    (problem,) = budget_problems(settings("100"), profile(pacing="0.5s"), known.model_copy(update={"prices": few}))
    assert "the prices in region us-east-1 do not go so far" in problem
