"""Durations, environments and limits: pure values, time as an argument."""

import random
from statistics import fmean

import pytest

from sandbox.model.durations import duration_model
from sandbox.model.environments import AccountConcurrency, Environment, EnvironmentPool, FunctionConcurrency
from sandbox.model.parameters import FunctionTiming, LambdaParameters
from sandbox.model.throttling import TokenBucket

PARAMETERS = LambdaParameters()
TIMING = FunctionTiming(
    io_ms=10, cpu_ms=5, io_jitter_ms=2, cpu_jitter_ms=1, first_io_ms=20, first_cpu_ms=7, init_ms=200,
    memory_used_mb=(69, 72),
)  # fmt: skip


# durations


def test_cpu_time_stretches_below_one_vcpu_and_not_above():
    assert duration_model(TIMING, 1769, PARAMETERS).least_ms == 15
    assert duration_model(TIMING, 3008, PARAMETERS).least_ms == 15
    assert duration_model(TIMING, 128, PARAMETERS).least_ms == pytest.approx(10 + 5 * 1769 / 128)


def test_no_duration_is_below_the_least_and_the_mean_is_least_plus_jitter():
    model, rng = duration_model(TIMING, 1769, PARAMETERS), random.Random(1)
    drawn = [model.duration_ms(rng, first_call=False) for _ in range(20_000)]
    assert min(drawn) >= 15
    assert fmean(drawn) == pytest.approx(15 + 3, rel=0.01)


def test_a_first_call_takes_longer_by_its_own_share_of_io_and_cpu():
    model = duration_model(TIMING, 128, PARAMETERS)
    first = model.duration_ms(random.Random(1), first_call=True)
    later = model.duration_ms(random.Random(1), first_call=False)
    assert first - later == pytest.approx(20 + 7 * 1769 / 128)


def test_init_spreads_evenly_around_its_mean_and_ignores_memory():
    rng = random.Random(1)
    drawn = [duration_model(TIMING, 128, PARAMETERS).init_ms(rng) for _ in range(2_000)]
    assert min(drawn) >= 170 and max(drawn) <= 230
    assert fmean(drawn) == pytest.approx(200, rel=0.01)


def test_without_jitter_a_duration_is_a_constant():
    timing = TIMING.model_copy(update={"io_jitter_ms": 0, "cpu_jitter_ms": 0})
    assert duration_model(timing, 1769, PARAMETERS).duration_ms(random.Random(1), first_call=False) == 15


# environments


def pool() -> EnvironmentPool:
    return EnvironmentPool(idle_expiry_s=100.0, lifetime_s=1000.0)


def environment(name: str, created_at: float = 0.0) -> Environment:
    return Environment(created_at, name, memory_mb=70, memory_limit_mb=72)


def test_an_empty_pool_has_none_to_reuse():
    assert pool().take(0.0) is None


def test_the_last_used_environment_is_reused_first():
    idle = pool()
    for at, name in enumerate(["a", "b", "c"]):
        idle.give_back(environment(name), at)
    taken = [idle.take(10.0) for _ in range(3)]
    assert [one.log_stream for one in taken if one] == ["c", "b", "a"]


def test_an_environment_idle_for_too_long_is_gone():
    idle = pool()
    idle.give_back(environment("a"), 0.0)
    idle.give_back(environment("b"), 50.0)
    assert idle.take(100.0) is not None  # b, idle for 50 s
    assert idle.take(100.0) is None  # a, idle for 100 s


def test_an_environment_is_recycled_after_its_lifetime():
    idle = pool()
    idle.give_back(environment("a", created_at=0.0), 999.0)
    assert idle.take(1000.0) is None


def test_memory_in_use_never_shrinks_and_keeps_to_its_limit():
    used, rng = environment("a"), random.Random(1)
    marks = [used.use_memory(rng) for _ in range(1000)]
    assert marks == sorted(marks)
    assert marks[-1] == 72


# token bucket


def test_a_bucket_starts_full_and_refills_continuously():
    bucket = TokenBucket(rate_per_s=10.0, capacity=2.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(0.09)
    assert bucket.take(0.1)
    assert not bucket.take(0.1)


def test_a_bucket_accumulates_no_more_than_its_capacity():
    bucket = TokenBucket(rate_per_s=10.0, capacity=2.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False]


def test_a_clock_that_steps_back_gives_nothing():
    bucket = TokenBucket(rate_per_s=1.0, capacity=1.0)
    assert bucket.take(10.0)
    assert not bucket.take(5.0)


# concurrency


def test_the_account_is_the_limit_of_unreserved_functions_together():
    account = AccountConcurrency(LambdaParameters(account_concurrency=3))
    one = FunctionConcurrency(PARAMETERS, account, None)
    other = FunctionConcurrency(PARAMETERS, account, None)
    one.start()
    one.start()
    other.start()
    assert other.refusal(0.0, synchronous=True) == "ConcurrentInvocationLimitExceeded"
    one.end()
    assert other.refusal(0.0, synchronous=True) is None


def test_reservations_are_carved_out_of_the_account():
    account = AccountConcurrency(LambdaParameters(account_concurrency=3), reserved_total=2)
    reserved = FunctionConcurrency(PARAMETERS, account, 2)
    other = FunctionConcurrency(PARAMETERS, account, None)
    other.start()
    assert other.refusal(0.0, synchronous=True) == "ConcurrentInvocationLimitExceeded"
    assert reserved.refusal(0.0, synchronous=True) is None


def test_a_reservation_is_a_ceiling():
    account = AccountConcurrency(PARAMETERS, reserved_total=1)
    reserved = FunctionConcurrency(PARAMETERS, account, 1)
    reserved.start()
    assert reserved.refusal(0.0, synchronous=True) == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_a_reservation_of_zero_stops_the_function():
    account = AccountConcurrency(PARAMETERS)
    stopped = FunctionConcurrency(PARAMETERS, account, 0)
    assert stopped.refusal(0.0, synchronous=True) == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_executions_move_with_a_changed_reservation():
    account = AccountConcurrency(PARAMETERS)
    function = FunctionConcurrency(PARAMETERS, account, None)
    function.start()
    assert (account.busy, account.reserved_busy) == (1, 0)
    function.set_reserved(5)
    assert (account.busy, account.reserved_busy) == (0, 1)
    function.end()
    assert (account.busy, account.reserved_busy) == (0, 0)


def test_synchronous_requests_are_limited_to_ten_a_second_per_unit_of_concurrency():
    account = AccountConcurrency(PARAMETERS, reserved_total=2)
    function = FunctionConcurrency(PARAMETERS, account, 2)
    answers = [function.refusal(0.0, synchronous=True) for _ in range(21)]
    assert answers == [None] * 20 + ["ReservedFunctionInvocationRateLimitExceeded"]
    assert function.refusal(0.0, synchronous=False) is None


def test_a_function_grows_by_1000_environments_at_once_and_100_a_second():
    function = FunctionConcurrency(PARAMETERS, AccountConcurrency(PARAMETERS), None)
    assert all(function.may_grow(0.0) for _ in range(1000))
    assert not function.may_grow(0.0)
    assert [function.may_grow(0.5) for _ in range(51)] == [True] * 50 + [False]
