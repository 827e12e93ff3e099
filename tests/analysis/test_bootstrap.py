"""Standard errors against those that theory gives, and what has none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.bootstrap import Arrivals, Estimate, Sample, error_together, estimates, interval_half_width
from analysis.comparison import METRICS, judge
from benchmarks.compare import measure

REQUESTS, ENVIRONMENTS = 8_000, 40
(ERROR_RATE,) = (one for one in METRICS if one.name == "error_rate")


def sample(response_ms: Any = None, *, requests: int = REQUESTS, **columns: Any) -> Sample:
    """Requests dealt out to ENVIRONMENTS in turn, a hundred a second, each with one invocation of 0.1 GB-s."""
    environment = columns.pop("environment", np.arange(requests) % ENVIRONMENTS)
    served = environment >= 0
    defaults: dict[str, Any] = {
        "response_ms": np.full(requests, 50.0) if response_ms is None else np.asarray(response_ms),
        "failed": np.zeros(requests, dtype=bool),
        "started_at": 1e9 + np.arange(requests) / 100,
        "environment": environment,
        "invocation_environment": environment[served],
        "invocation_function": np.ones(int(served.sum()), dtype=np.int64),
        "invocation_measured": np.ones(int(served.sum()), dtype=bool),
        "cold": np.zeros(int(served.sum()), dtype=bool),
        "gb_s": np.full(int(served.sum()), 0.1),
        "requests_paid": requests,
        "usd_per_gb_s": 0.00001,
        "other_usd_per_million": 4.0,
    }
    return Sample(**(defaults | columns))


def test_percentiles_are_those_of_the_rows():
    response_ms = np.random.default_rng(1).exponential(100, REQUESTS)
    found = estimates(sample(response_ms))
    for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
        assert found[name].value == np.quantile(response_ms, share)


def test_errors_of_independent_requests_are_those_of_theory():
    random = np.random.default_rng(2)
    found = estimates(sample(random.exponential(100, REQUESTS), failed=random.random(REQUESTS) < 0.2))
    for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
        # of the logarithm of a quantile of an exponential distribution: sqrt(p (1-p) / n) / (density x quantile)
        error = math.sqrt(share / (1 - share) / REQUESTS) / -math.log(1 - share)
        assert found[name].error == pytest.approx(error, rel=0.3), name
    assert found["error_rate"].error == pytest.approx(math.sqrt(0.2 * 0.8 / REQUESTS), rel=0.3)
    assert found["error_rate"].freedom == pytest.approx(ENVIRONMENTS - 1)


@pytest.mark.filterwarnings("error")
def test_draws_without_a_request_say_nothing():
    """Of four requests in 200 seconds, which no environment served, a draw often holds none."""
    failed = np.array([True, False, False, True])
    started_at = 1e9 + np.array([0.0, 60.0, 120.0, 199.0])
    none = np.full(4, -1)
    few = sample([5.0, 6.0, 7.0, 8.0], requests=4, failed=failed, started_at=started_at, environment=none)
    arrivals = Arrivals(due_at=started_at, dropped=failed)
    found = estimates(replace(few, arrivals=arrivals))
    for name in ("error_rate", "dropped_rate"):
        error = found[name].error
        assert error is not None and 0.1 < error < 0.5


def test_environments_that_differ_make_figures_less_sure():
    random = np.random.default_rng(3)
    response_ms = random.exponential(100, REQUESTS)
    slow = np.exp(random.normal(0, 0.2, ENVIRONMENTS))[np.arange(REQUESTS) % ENVIRONMENTS]
    alike, unlike = estimates(sample(response_ms)), estimates(sample(response_ms * slow))
    assert unlike["p50_ms"].error > 2 * alike["p50_ms"].error


def test_requests_without_an_environment_stand_and_fall_by_the_second():
    refused = 800
    spread = np.arange(REQUESTS) % (REQUESTS // refused) == 0
    together = np.arange(REQUESTS) < refused
    environment = np.arange(REQUESTS) % ENVIRONMENTS
    errors = {}
    for name, none in (("spread", spread), ("together", together)):
        found = estimates(sample(failed=none, environment=np.where(none, -1, environment)))
        assert found["error_rate"].value == refused / REQUESTS
        errors[name] = found["error_rate"].error
    # all failures in 8 of 80 seconds: as sure as 80 requests would be
    assert errors["together"] == pytest.approx(math.sqrt(0.1 * 0.9 / 80), rel=0.3)
    assert errors["spread"] == pytest.approx(math.sqrt(0.1 * 0.9 / REQUESTS), rel=0.3)


def test_without_logs_all_is_resampled_by_the_second():
    random = np.random.default_rng(4)
    found = estimates(sample(random.exponential(100, REQUESTS), environment=np.full(REQUESTS, -1)))
    assert found["p50_ms"].freedom == pytest.approx(79)
    assert found["p50_ms"].error == pytest.approx(math.sqrt(1 / REQUESTS) / math.log(2), rel=0.3)
    assert found["cold_start_rate"].value is None


def test_no_failure_at_all_is_not_certain():
    found = estimates(sample(requests=80))["error_rate"]
    assert found.value == 0
    assert found.error == pytest.approx(1 / 80, rel=0.05)


ONE = np.zeros(REQUESTS, dtype=np.int64)


def test_one_environment_says_nothing_about_another():
    found = estimates(sample(environment=ONE))
    assert {one.error for name, one in found.items() if name != "error_rate"} == {None}
    assert "one execution environment" in (found["p50_ms"].why or "")


def test_failures_of_one_environment_stand_and_fall_by_the_second():
    random = np.random.default_rng(8)
    scattered = estimates(sample(environment=ONE, failed=random.random(REQUESTS) < 0.1))["error_rate"]
    together = estimates(sample(environment=ONE, failed=np.arange(REQUESTS) // 100 % 10 == 0))["error_rate"]
    assert scattered.error == pytest.approx(math.sqrt(0.1 * 0.9 / REQUESTS), rel=0.25)
    # all failures in 8 of 80 seconds: as sure as 80 requests would be
    assert (together.error, together.freedom) == (pytest.approx(math.sqrt(0.1 * 0.9 / 80), rel=0.25), pytest.approx(79))


def error_rates(failed_share: float, requests_per_s: int, environments: int = 1) -> Estimate:
    """Of 400 requests, of which every so many-th failed."""
    number = np.arange(400)
    failed = (number * failed_share) % 1 + failed_share >= 1 - 1e-9
    started_at, environment = 1e9 + number / requests_per_s, number % environments
    return estimates(sample(requests=400, failed=failed, started_at=started_at, environment=environment))["error_rate"]


@pytest.mark.parametrize("requests_per_s", [50, 1000])
@pytest.mark.parametrize("environments", [1, 20])
def test_a_complete_failure_in_one_environment_is_worse(requests_per_s, environments):
    good, bad = error_rates(0.0, requests_per_s, environments), error_rates(1.0, requests_per_s)
    assert (good.value, bad.value) == (0.0, 1.0)
    assert judge(ERROR_RATE, good, bad, (400, 400), 0.05, 0.95).verdict == "worse"


def test_in_one_second_of_one_environment_only_a_complete_failure_is_sure():
    assert (
        judge(ERROR_RATE, error_rates(0.1, 1000), error_rates(0.2, 1000), (400, 400), 0.05, 0.95).verdict
        == "inconclusive"
    )


def test_a_percentile_needs_requests_beyond_it():
    found = estimates(sample(requests=400))
    assert (found["p99_ms"].value, found["p99_ms"].requests_needed) == (50.0, 1000)
    assert found["p99_ms"].why == "fewer than 10 requests lie beyond it"
    assert (found["p95_ms"].requests_needed, found["p95_ms"].why) == (None, None)
    assert found["p95_ms"].error is not None


def test_a_percentile_with_too_few_requests_beyond_it_has_a_rough_error_all_the_same():
    """Of 150 requests, by theory, as in `test_errors_of_independent_requests_are_those_of_theory`."""
    random = np.random.default_rng(6)
    rough = [estimates(sample(random.exponential(100, 150), requests=150))["p95_ms"] for _ in range(20)]
    assert {one.requests_needed for one in rough} == {200}
    typical = float(np.median([one.error for one in rough if one.error is not None]))
    assert typical == pytest.approx(math.sqrt(0.95 / 0.05 / 150) / -math.log(0.05), rel=0.4)


def test_what_got_no_response_has_no_time_and_may_have_failed():
    response_ms = np.where(np.arange(REQUESTS) % 4 == 0, np.nan, 20.0)
    found = estimates(sample(response_ms, failed=np.isnan(response_ms)))
    assert (found["p99_ms"].value, found["error_rate"].value) == (20.0, 0.25)


@pytest.mark.filterwarnings("error")
def test_times_of_nought_have_a_value_and_no_interval():
    found = estimates(sample(np.where(np.arange(REQUESTS) % 19 == 0, 50.0, 0.0)))
    assert (found["p50_ms"].value, found["p50_ms"].error, found["p50_ms"].why) == (
        0.0,
        None,
        "times of 0 ms change by no factor",
    )
    assert (found["p99_ms"].value, found["p99_ms"].why) == (50.0, None)


@pytest.mark.parametrize(("share", "sure"), [(0.49, False), (0.45, True)])
def test_a_percentile_between_two_times_that_many_have_may_be_either(share, sure):
    """Of 2,000 requests 49 % took 40 ms and all others 30: as many again may well have more than half at 40. The error
    of that share is 1.1 %, so that of draws around 45 % none has."""
    random = np.random.default_rng(9)
    random.shuffle(took := np.where(np.arange(2_000) < 2_000 * share, 40.0, 30.0))
    found = estimates(sample(took, requests=2_000))["p50_ms"]
    assert found.value == 30.0
    # draws of either time differ by ln 4/3 = 0.29; in one of five draws of 49 % it is the other
    assert found.error == pytest.approx(0.0 if sure else 0.29 * math.sqrt(0.2 * 0.8), abs=0.02)


def test_cold_starts_are_of_measured_invocations():
    cold = np.arange(REQUESTS) < ENVIRONMENTS
    found = estimates(sample(cold=cold, invocation_measured=np.arange(REQUESTS) >= ENVIRONMENTS // 2))
    assert found["cold_start_rate"].value == pytest.approx(20 / 7980)


def test_cost_of_a_million_requests():
    # two functions of 0.1 and 0.3 GB-s for each request: 400,000 GB-s a million, and 4 USD for all else
    twice = {
        "invocation_environment": np.concatenate((np.arange(REQUESTS) % ENVIRONMENTS, np.arange(REQUESTS) % 7 + 100)),
        "invocation_function": np.repeat((1, 2), REQUESTS),
        "invocation_measured": np.ones(2 * REQUESTS, dtype=bool),
        "cold": np.zeros(2 * REQUESTS, dtype=bool),
        "gb_s": np.repeat((0.1, 0.3), REQUESTS),
    }
    found = estimates(sample(**twice))["cost_per_million_usd"]
    assert found.value == pytest.approx(8.0)
    assert found.error == pytest.approx(0, abs=1e-9), "each function costs the same each time"
    assert estimates(sample(usd_per_gb_s=None))["cost_per_million_usd"].value is None


@pytest.mark.parametrize(("invocations", "known"), [(5, True), (2000, False)])
def test_a_function_with_one_environment_leaves_the_cost_unsure_only_where_it_counts(invocations, known):
    """A function behind a stream is invoked a few times, by one environment: who compares costs means the others."""
    side = {
        "invocation_environment": np.append(np.arange(REQUESTS) % ENVIRONMENTS, np.full(invocations, ENVIRONMENTS)),
        "invocation_function": np.append(np.ones(REQUESTS, np.int64), np.full(invocations, 2)),
        "invocation_measured": np.ones(REQUESTS + invocations, dtype=bool),
        "cold": np.zeros(REQUESTS + invocations, dtype=bool),
        "gb_s": np.full(REQUESTS + invocations, 0.1),
    }
    found = estimates(sample(**side))["cost_per_million_usd"]
    if known:
        spent_by_it = 0.1 * invocations * 0.00001 / REQUESTS * 1e6
        assert (found.error, found.freedom) == (pytest.approx(spent_by_it / found.value), pytest.approx(1.0))
    else:
        assert found.error is None
        assert "one execution environment" in found.why


def test_the_same_data_give_the_same_figures():
    response_ms = np.random.default_rng(5).exponential(100, REQUESTS)
    assert estimates(sample(response_ms)) == estimates(sample(response_ms))


def test_no_request_no_data():
    found = estimates(sample(requests=0))
    assert {one.value for one in found.values()} == {None}


def test_a_difference_is_less_sure_than_either():
    error, freedom = error_together([(3.0, 10.0), (4.0, 10.0)])
    assert (error, freedom) == (5.0, pytest.approx(625 / ((81 + 256) / 10)))
    assert interval_half_width(1.0, 10.0, 0.95) == pytest.approx(2.228, abs=1e-3)


def test_pairs_that_do_not_differ_and_pairs_that_do():
    """A short form of `python -m benchmarks.compare`: at 5 %, more than 4 in 12 are seen in one case of 5,000."""
    figures = measure(pairs=12, requests=2_000, planted=0.10)
    assert max(figures["alarms"].values()) <= 4, figures
    assert figures["planted_found"] >= 11, figures


def test_the_dropped_rate_is_as_sure_as_the_seconds_in_which_arrivals_are_dropped():
    """100 arrivals a second for 100 s: one in ten dropped at random, or all of every tenth second."""
    due_at, random = 1e9 + np.arange(10_000) / 100, np.random.default_rng(7)
    scattered = estimates(sample(arrivals=Arrivals(due_at, random.random(10_000) < 0.1)))["dropped_rate"]
    together = estimates(sample(arrivals=Arrivals(due_at, np.arange(10_000) // 100 % 10 == 0)))["dropped_rate"]
    assert scattered.value == pytest.approx(0.1, abs=0.01)
    assert scattered.error == pytest.approx(math.sqrt(0.1 * 0.9 / 10_000), rel=0.25)
    assert together.value == 0.1
    assert together.error == pytest.approx(math.sqrt(0.1 * 0.9 / 100), rel=0.25)


def test_users_who_wait_drop_nothing_and_have_no_dropped_rate():
    assert "dropped_rate" not in estimates(sample())
    nothing = Arrivals(np.zeros(0), np.zeros(0, dtype=bool))
    assert estimates(sample(arrivals=nothing))["dropped_rate"].value is None
