"""MAX_COST_USD and MAX_USERS while a run goes: the limits by themselves, then a whole run that each of them ends."""

from __future__ import annotations

import pytest

from config.prices import Prices, load_prices
from config.profile_files import load_profile
from config.settings import Settings, settings_from
from loadgen.guard import Guard, LimitReached
from tests.loadgen.test_running_cost import figures

OF_TEN_VOTES = 10 * (3.7e-6 + 0.2 * 0.0000166667)
"""USD: ten requests to a REST API and Lambda of 200 ms and 1,024 MB each, in us-east-1."""

ELSEWHERE = """
from locust import events, task
from loadgen.listeners import register
from loadgen.users import ApiGatewayUser

register(events)

class Elsewhere(ApiGatewayUser):
    flow = "own"

    def __init__(self, environment):
        self.host = "http://192.0.2.1"
        super().__init__(environment)

    @task
    def go(self):
        self.get("/")
"""


def limits(**variables: str) -> Settings:
    return settings_from({"TARGET": "aws", "AWS_REGION": "us-east-1", **variables})


def guard(profile: str = "vote-stress", **variables: str) -> Guard:
    return Guard(limits(**variables), lambda: load_prices("us-east-1"), load_profile(profile))


@pytest.mark.parametrize(("limit", "ends"), [(OF_TEN_VOTES * 0.99, True), (OF_TEN_VOTES * 1.01, False)])
def test_cost_of_what_was_really_sent_is_held_against_the_limit(limit, ends):
    reached = guard(MAX_COST_USD=str(limit)).look(figures(vote=10), 1)
    assert (reached is not None) is ends
    if reached is not None:
        assert reached == LimitReached("MAX_COST_USD", pytest.approx(OF_TEN_VOTES, rel=1e-6), limit)


def test_cost_that_is_not_known_any_more_ends_the_run():
    unpriced = Guard(limits(MAX_COST_USD="1"), lambda: Prices(region="us-east-1"), load_profile("vote-stress"))
    reached = unpriced.look(figures(vote=1), 1)
    assert reached is not None
    assert "an amount that no price is known of" in str(reached)


@pytest.mark.parametrize(("users", "ends"), [(10, False), (11, True)])
def test_more_users_than_allowed_end_the_run(users, ends):
    reached = guard(MAX_USERS="10").look(figures(), users)
    assert reached == (LimitReached("MAX_USERS", 11, 10) if ends else None)


def test_in_the_open_model_users_are_no_users():
    assert guard("burst", MAX_USERS="10").look(figures(), 100) is None


def test_search_for_a_breakpoint_looks_at_its_cost_itself():
    assert not guard("breakpoint", MAX_COST_USD="1")


def test_without_limits_there_is_nothing_to_look_at():
    assert not guard()


@pytest.fixture(scope="module")
def stopped(lasting_locust):
    """Users who would go on for a minute, as fast as they are answered; $0.0002 are some 50 requests."""
    run = lasting_locust.run("-u", "4", "-r", "100", "-t", "60s", MAX_COST_USD="0.0002")
    return run, run.finish()


def test_run_ends_before_its_time_and_as_incomplete(stopped):
    run, exit_code = stopped
    assert exit_code == 3, run.output
    assert run.manifest["ended_at"] - run.manifest["started_at"] < 60
    assert "Aborting: MAX_COST_USD: the requests so far cost about $0.0" in run.output


def test_nothing_of_what_was_sent_is_lost(stopped, lasting_server):
    assert len(set(stopped[0].counts(lasting_server).values())) == 1


def test_manifest_says_what_ended_it(stopped):
    manifest = stopped[0].manifest
    assert manifest["state"] == "aborted"
    assert manifest["started_at"] < manifest["aborted"].pop("at") <= manifest["ended_at"]
    assert manifest["aborted"].pop("value") >= 0.0002
    assert manifest["aborted"] == {"limit": "MAX_COST_USD", "allowed": 0.0002}


def test_run_that_plans_to_cost_too_much_sends_nothing(locust, server):
    run = locust.run("-u", "2", "-r", "1000", "-t", "60s", RATE="50", MAX_COST_USD="0.01")
    assert run.finish() == 2
    assert "MAX_COST_USD: profile adhoc plans up to 6,000 requests, about $0.03" in run.output
    assert server.count == 0


def test_user_who_goes_elsewhere_sends_nothing(locust, server):
    """Whatever a locustfile makes of its users: the connection is what is asked about."""
    own = locust.directory / "own.py"
    own.write_text(ELSEWHERE)
    command = locust.command("vote.py", "-u", "1", "-t", "20s")
    command[command.index("-f") + 1] = str(own)
    run = locust.start([command], {})
    assert run.finish() == 3
    refusal = "ALLOWED_HOSTS: load to 192.0.2.1 is not allowed with TARGET=sandbox"
    assert refusal in run.output
    assert [worker["failed"] for worker in run.manifest["workers"]] == [refusal]
    assert server.count == 0
