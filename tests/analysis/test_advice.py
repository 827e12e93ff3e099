import pytest

from analysis.advice import Cause, Peak, advise, concurrency_needed, memory_needed_mb, shards_needed
from analysis.throttles import ACCOUNT_RATE, SCALING


@pytest.mark.parametrize(
    ("per_s", "shards"), [(1, 1), (1000, 1), (1001, 2), (1042, 2), (2000, 2), (2001, 3), (10_500, 11)]
)
def test_a_shard_takes_a_thousand_records_a_second(per_s, shards):
    assert shards_needed(per_s) == shards


@pytest.mark.parametrize(
    ("arrivals", "busy_s", "environments"), [(100, 0.25, 25), (1000, 0.0335, 34), (10, 29, 290), (1, 0.001, 1)]
)
def test_littles_law(arrivals, busy_s, environments):
    assert concurrency_needed(arrivals, busy_s) == environments


@pytest.mark.parametrize(("used_mb", "memory_mb"), [(128, 192), (100, 128), (512, 640), (52, 128)])
def test_memory_is_what_was_used_and_a_quarter_in_steps_of_64(used_mb, memory_mb):
    assert memory_needed_mb(used_mb) == memory_mb


def test_shards_with_their_arithmetic():
    cause = Cause(
        "downstream_throttle",
        214,
        function="place-vote",
        operation="PutRecord",
        resource="stream votes",
        invoked=Peak(1176, 1795255237.0),
    )
    assert advise(cause) == (
        "The shard limit of stream votes: a shard takes 1,000 records a second, and at the peak place-vote put "
        "1,176 records a second (at 10:00:37 UTC): ceil(1,176 / 1,000) = 2 shards needed."
    )


def test_a_stream_that_refused_below_its_limit_needs_one_shard_more():
    """The log's seconds are not exactly the stream's: 998 counted may have been 1,003 there."""
    cause = Cause(
        "downstream_throttle", 3, function="f", operation="PutRecord", resource="stream s", invoked=Peak(998, 0.0)
    )
    assert advise(cause).endswith(
        "ceil(998 / 1,000) = 1, yet it refused: give it more shards than it has, and spread the partition keys."
    )


def test_a_stream_whose_shards_should_have_been_enough_has_uneven_keys():
    cause = Cause(
        "downstream_throttle", 3, function="f", operation="PutRecord", invoked=Peak(1900, 0.0), shards_refusing=2
    )
    assert "= 2, yet 2 of its shards refused" in advise(cause)


def test_concurrency_with_its_arithmetic():
    cause = Cause("lambda_throttled", 5, function="place-vote", asked=Peak(400, 1795255200.0), busy_s=0.25)
    assert "400 requests a second (at 10:00:00 UTC) × 0.250 s each need 100 environments" in advise(cause)


def test_a_function_that_grew_too_fast_is_told_how_fast_it_may():
    cause = Cause("lambda_throttled", 5, function="f", resource=SCALING, asked=Peak(150, 1795255200.0), busy_s=0.072)
    advice = advise(cause)
    assert "too fast" in advice
    assert "at most 1,000 environments in 10 s: let the load rise more slowly" in advice


def test_without_figures_it_still_says_which_limit_or_that_none_is_known():
    assert advise(Cause("lambda_throttled", 5, function="f", resource=SCALING)).endswith("rise more slowly.")
    assert advise(Cause("lambda_throttled", 5, function="f", resource=ACCOUNT_RATE)).endswith("account's concurrency.")
    assert "Nothing shows which limit it met" in advise(Cause("lambda_throttled", 5, function="f"))


def test_what_is_not_known_is_not_computed_with():
    assert "None" not in advise(Cause("lambda_throttled", 5))
    assert "None" not in advise(Cause("out_of_memory", 5, function="f"))
    assert "None" not in advise(Cause("downstream_throttle", 5, function="f", operation="PutRecord"))


def test_a_cause_without_a_rule_says_that_there_is_no_evidence():
    assert "no evidence" in advise(Cause("unknown", 1))


def test_that_the_gateway_refused_is_said_only_where_the_gateway_says_so():
    assert advise(Cause("refused", 1, error_type="MISSING_AUTHENTICATION_TOKEN")).startswith("The gateway refused")
    assert "or a function answered so" in advise(Cause("refused", 1, error_type="HTTP 409"))
