import pytest

from analysis.advice import Cause, Peak, advise, concurrency_needed, memory_needed_mb, shards_needed
from analysis.throttles import ACCOUNT_RATE, RESERVED, SCALING


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


@pytest.mark.parametrize(
    ("used_mb", "memory_mb", "advice"),
    [
        (256, 256, "give it at least 320 MB (used × 1.25, in steps of 64)."),
        (8400, 8400, "give it 10,240 MB, which is Lambda's maximum; if that is not enough, let one invocation do less"),
        (10_240, 10_240, "that is Lambda's maximum. Let one invocation do less work"),
    ],
)
def test_no_more_memory_is_advised_than_a_function_can_have(used_mb, memory_mb, advice):
    cause = Cause("out_of_memory", 1, function="f", memory_mb=memory_mb, max_memory_mb=used_mb)
    assert f"was killed: {advice}" in advise(cause)
    assert "12,800" not in advise(cause)


@pytest.mark.parametrize(
    ("slowest_s", "timeout_s", "room", "last"),
    [
        (2, 3, "by that, a timeout of 3 s (× 1.5) does for ordinary calls, and it has 3 s.", "or raise its timeout."),
        (2, 900, "by that, a timeout of 3 s (× 1.5) does for ordinary calls, and it has 900 s.", "Lambda's maximum."),
        (800, 900, "less room than × 1.5 below Lambda's maximum of 900 s, and it has 900 s.", "Lambda's maximum."),
        (800, None, "less room than × 1.5 below Lambda's maximum of 900 s.", "Lambda's maximum."),
    ],
)
def test_no_longer_timeout_is_advised_than_a_function_can_have(slowest_s, timeout_s, room, last):
    cause = Cause("function_timeout", 1, function="f", slowest_success_ms=slowest_s * 1000, timeout_s=timeout_s)
    assert f"{room} Find what it waits for" in advise(cause)
    assert advise(cause).endswith(last)


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


def test_how_many_records_calls_of_several_put_is_not_known():
    cause = Cause(
        "downstream_throttle",
        2,
        function="place-vote",
        operation="PutRecords",
        resource="stream votes",
        invoked=Peak(3, 1795255237.0),
    )
    assert advise(cause) == (
        "The shard limit of stream votes: a shard takes 1,000 records and 1 MiB a second, and at the peak place-vote "
        "ran 3 times a second (at 10:00:37 UTC). A call of PutRecords may carry up to 500 records, and how many these "
        "did is not known here: stream votes needs ceil(records a second / 1,000) shards at least, with evenly spread "
        "partition keys."
    )


@pytest.mark.parametrize(
    ("operation", "of_several"),
    [("PutItem", False), ("BatchWriteItem", True), ("SendMessage", False), ("SendMessageBatch", True)],
)
def test_what_a_call_may_carry_beyond_one_is_said(operation, of_several):
    cause = Cause("downstream_throttle", 2, function="f", operation=operation, resource="r", invoked=Peak(3, 0.0))
    said = f"A call of {operation} may carry more than one, and each counts"
    assert (said in advise(cause)) == of_several


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


def test_shards_for_records_that_the_client_put_itself_take_their_bytes_too():
    cause = Cause(
        "message_refused",
        20,
        operation="PutRecord",
        error_type="ProvisionedThroughputExceededException",
        asked=Peak(60, 1795255237.0),
        asked_bytes=Peak(7_800_000, 1795255237.0),
    )
    assert advise(cause) == (
        "The limit of the stream's shards: a shard takes 1,000 records a second, and at the peak the client sent "
        "60 records a second (at 10:00:37 UTC): ceil(60 / 1,000) = 1; it takes 1 MiB a second too, and the client sent "
        "7,800,000 bytes a second (at 10:00:37 UTC): ceil(7,800,000 / 1,048,576) = 8 shards needed at least, with "
        "evenly spread partition keys."
    )


def test_concurrency_with_its_arithmetic():
    cause = Cause("lambda_throttled", 5, function="place-vote", asked=Peak(400, 1795255200.0), busy_s=0.25)
    assert "400 requests a second (at 10:00:00 UTC) × 0.250 s each need 100 environments" in advise(cause)


def test_a_function_that_grew_too_fast_is_told_how_fast_it_may():
    cause = Cause("lambda_throttled", 5, function="f", resource=SCALING, asked=Peak(150, 1795255200.0), busy_s=0.072)
    advice = advise(cause)
    assert "too fast" in advice
    assert "at most 1,000 environments in 10 s: let the load rise more slowly" in advice


@pytest.mark.parametrize(
    ("busy_s", "advice"),
    [
        (0.02, "ceil(123 / 10) = 13. Raise its reserved concurrency to 13 or more."),
        (0.2, "need 25 environments at once (Little's law). Raise its reserved concurrency above that"),
    ],
)
def test_concurrency_is_advised_for_the_rate_of_short_calls_too(busy_s, advice):
    asked = Peak(123, 0.0)
    cause = Cause(
        "lambda_throttled", 5, function="f", resource=RESERVED, reserved_concurrency=2, asked=asked, busy_s=busy_s
    )
    assert advice in advise(cause)


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
