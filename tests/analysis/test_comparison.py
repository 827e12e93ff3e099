"""Verdicts on literal figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.baseline import Baseline
from analysis.bootstrap import NO_DATA, Estimate
from analysis.comparison import METRICS, Compared, compare, judge

P95, RATE = METRICS[1], METRICS[3]
CERTAIN = 1e9
"""Degrees of freedom at which Student's t is normal: half the width of a 95 % interval is 1.96 errors."""


def times(a: float, b: float, error: float) -> Compared:
    """p95 of two runs of 1,000 requests; `error` is that of the ratio."""
    each = error / 2**0.5
    return judge(P95, Estimate(a, each, CERTAIN), Estimate(b, each, CERTAIN), (1000, 1000), 0.05, 0.95)


def rates(a: float, b: float, error: float) -> Compared:
    each = error / 2**0.5
    return judge(RATE, Estimate(a, each, CERTAIN), Estimate(b, each, CERTAIN), (1000, 1000), 0.05, 0.95)


@pytest.mark.parametrize(
    ("b", "error", "verdict"),
    [
        (110.0, 0.01, "worse"),  # +7.9 % to +12.2 %
        (91.0, 0.01, "better"),
        (102.0, 0.01, "no difference"),  # 0.0 % to 4.0 %: sure of a change, and sure that it is small
        (100.0, 0.02, "no difference"),
        (104.0, 0.01, "worse"),  # may be more than 5 %, and is more than 0
        (102.0, 0.03, "inconclusive"),
    ],
)
def test_times_are_judged_by_their_ratio(b, error, verdict):
    assert times(100.0, b, error).verdict == verdict


def test_the_interval_is_of_the_relative_change():
    one = times(100.0, 110.0, 0.01)
    assert (one.change, one.low, one.high) == (
        pytest.approx(0.1),
        pytest.approx(1.1 * 0.98059 - 1, abs=1e-4),
        pytest.approx(1.1 * 1.01979 - 1, abs=1e-4),
    )


def test_how_many_requests_would_decide():
    # nothing seen: 1.96 x 0.05 must come down to ln 1.05, (0.098 / 0.04879)^2 = 4.03 times the requests
    assert times(100.0, 100.0, 0.05).requests_to_decide == 4100
    # 10 % seen, not sure: 1.96 x 0.08 must come down to ln 1.1, (0.1568 / 0.09531)^2 = 2.7
    assert times(100.0, 110.0, 0.08).requests_to_decide == 2800


def none_failed(requests: int) -> Estimate:
    """As `bootstrap.estimates` gives it: the error is nearly 1 / requests."""
    share = 1 / (requests + 2)
    return Estimate(0.0, (share * (1 - share) / requests) ** 0.5, CERTAIN, of=requests)


@pytest.mark.parametrize("requests", [30, 300])
def test_where_nothing_failed_the_error_falls_with_the_requests_and_not_with_their_root(requests):
    few = judge(RATE, none_failed(requests), none_failed(requests), (requests, requests), 0.05, 0.95)
    # 1.96 x sqrt(2) / n must come down to a tenth of a point
    assert few.requests_to_decide == 2800
    enough = judge(RATE, none_failed(2800), none_failed(2800), (2800, 2800), 0.05, 0.95)
    assert enough.verdict == "no difference"


def test_of_two_sizes_the_smaller_run_is_what_must_grow():
    """1.96 x 0.05 of 500 requests, beside which the other's error is small: 4.03 times as many decide."""
    found = judge(P95, Estimate(100.0, 0.05, CERTAIN), Estimate(100.0, 0.001, CERTAIN), (500, 1_000_000), 0.05, 0.95)
    assert found.requests_to_decide == 2100


def test_more_environments_make_the_quantile_smaller_too():
    """Three environments each have 4 degrees of freedom together, four and a half times as many have 25."""
    each = Estimate(100.0, 0.05 / 2**0.5, 2.0)
    found = judge(P95, each, each, (1000, 1000), 0.05, 0.95)
    assert found.high == pytest.approx(0.149, abs=0.001)
    # (2.06 x 0.05 / 0.04879)^2 = 4.5 times the requests; with the quantile of now, 2.78, it would be 8.1 times
    assert found.requests_to_decide == 4500


def test_rates_are_judged_by_their_difference():
    assert rates(0.02, 0.03, 0.001).verdict == "worse"
    assert rates(0.02, 0.03, 0.001).change == pytest.approx(0.01)
    assert rates(0.03, 0.02, 0.001).verdict == "better"
    assert rates(0.0, 0.0, 0.0004).verdict == "no difference", "a tenth of a point never matters"
    assert rates(0.0, 0.0, 0.001).verdict == "inconclusive"
    assert rates(0.2, 0.205, 0.002).verdict == "no difference", "5 % of 20 % is a point"


def test_what_was_not_measured_is_no_data():
    one = judge(P95, NO_DATA, Estimate(1.0, 0.1, 5), (10, 10), 0.05, 0.95)
    assert (one.verdict, one.change, one.why) == ("no data", None, "A: nothing was measured")


def test_what_nobody_can_tell_is_inconclusive():
    few = Estimate(50.0, why="fewer than 10 requests lie beyond it", requests_needed=1000)
    one = judge(P95, few, Estimate(90.0, 0.1, 5), (300, 300), 0.05, 0.95)
    assert (one.verdict, one.requests_to_decide) == ("inconclusive", 1000)
    assert one.why == "A: fewer than 10 requests lie beyond it"
    roughly = replace(few, error=0.1, freedom=CERTAIN)
    one = judge(P95, roughly, Estimate(50.0, 0.0, CERTAIN), (300, 300), 0.05, 0.95)
    assert (one.verdict, one.low, one.high) == ("inconclusive", None, None)
    assert one.requests_to_decide == 4900, "300 (1.96 x 0.1 / 0.04879)^2, which is more than 1,000"
    alone = Estimate(50.0, why="one environment")
    assert judge(P95, few, alone, (300, 300), 0.05, 0.95).requests_to_decide is None


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (0.0, 50.0), (50.0, 0.0)])
def test_a_time_of_nought_is_inconclusive_and_says_why(a, b):
    """As `bootstrap.estimates` gives it."""
    of = {0.0: Estimate(0.0, why="of 0 ms"), 50.0: Estimate(50.0, 0.01, CERTAIN)}
    one = judge(P95, of[a], of[b], (1000, 1000), 0.05, 0.95)
    assert (one.verdict, one.low) == ("inconclusive", None)
    assert one.why is not None and one.why.endswith(": of 0 ms")


def side(p95_ms: float = 100.0, complete: bool = True, **facts: object) -> Baseline:
    metrics = {one.name: Estimate(0.01, 0.0001, CERTAIN) for one in METRICS} | {
        "p95_ms": Estimate(p95_ms, 0.001, CERTAIN)
    }
    return Baseline(
        schema=1,
        label="run",
        simulated=True,
        complete=complete,
        facts={"region": "us-east-1", "memory_mb of place-vote": [256]} | facts,
        resampled={"requests": 1000, "environments": 9, "requests_without_environment": 0},
        metrics=metrics,
    )


def test_one_figure_that_is_worse_makes_the_run_worse():
    found = compare(side(), side(110.0))
    assert (found.verdict, found.exit_code) == ("worse", 1)
    assert [one.metric for one in found.metrics if one.verdict == "worse"] == ["p95_ms"]


def test_nothing_worse_is_all_well():
    assert (compare(side(), side()).verdict, compare(side(), side()).exit_code) == ("no difference", 0)
    assert (compare(side(), side(90.0)).verdict, compare(side(), side(90.0)).exit_code) == ("better", 0)


def test_half_a_run_proves_nothing():
    assert compare(side(), side(110.0, complete=False)).exit_code == 3


def test_a_figure_that_only_the_second_run_lacks_is_not_all_well():
    """All of its arrivals were dropped, say: then no request of it failed."""
    without = replace(side(), metrics=side().metrics | {"p95_ms": NO_DATA})
    assert compare(side(), without).exit_code == 3
    assert compare(without, side()).exit_code == 0


COST = "cost_per_million_usd"


@pytest.mark.parametrize(
    ("a", "b", "why", "exit_code"),
    [
        ([], ["sns_publishes"], "B: its cost lacks SNS", 3),
        (["sns_publishes"], [], "A: its cost lacks SNS", 0),
        (
            ["kms_requests", "sns_publishes"],
            ["kinesis_shard_hours", "kinesis_put_units", "kms_requests"],
            "A: its cost lacks SNS; B: its cost lacks Kinesis shards, Kinesis records",
            3,
        ),
    ],
)
def test_a_cost_that_lacks_what_the_other_has_is_no_data(a, b, why, exit_code):
    dearer = side().metrics | {COST: Estimate(0.02, 0.0001, CERTAIN)}
    found = compare(replace(side(), unpriced=a), replace(side(), metrics=dearer, unpriced=b))
    (cost,) = [one for one in found.metrics if one.metric == COST]
    assert (cost.verdict, cost.why, found.exit_code) == ("no data", why, exit_code)


@pytest.mark.parametrize(("a", "b"), [(["sns_publishes"], ["sns_publishes"]), (None, ["sns_publishes"]), ([], None)])
def test_costs_that_lack_the_same_or_nobody_knows_what_are_compared(a, b):
    found = compare(replace(side(), unpriced=a), replace(side(), unpriced=b))
    (cost,) = [one for one in found.metrics if one.metric == COST]
    assert (cost.verdict, found.exit_code) == ("no difference", 0)


@pytest.mark.parametrize(
    ("fact", "other"),
    [("region", "eu-west-1"), ("memory_mb of place-vote", [512]), ("profile", "soak"), ("profile.stages", [])],
)
def test_facts_that_differ_are_named(fact, other):
    known = side(profile="demo", **{"profile.stages": [{"users": 1}]})
    (difference,) = compare(known, replace(known, facts=known.facts | {fact: other})).differences
    assert (difference.fact, difference.a, difference.b) == (fact, known.facts[fact], other)
    assert compare(side(), side(**{"memory_mb of get-results": [128]})).differences == (), "A has no such function"


def test_dropped_arrivals_are_compared_where_a_run_has_some():
    """Of a baseline that was stored before there was the figure, it is not known."""
    without = replace(side(), metrics={name: one for name, one in side().metrics.items() if name != "dropped_rate"})
    assert "dropped_rate" not in [one.metric for one in compare(without, without).metrics]
    (dropped,) = [one for one in compare(without, side()).metrics if one.metric == "dropped_rate"]
    assert (dropped.verdict, dropped.why) == ("no data", "A: nothing was measured")
