"""The target's clock against the workers'."""

import pytest

from analysis.clocks import clocks


def exchange(build, at, network_ms, ahead_s, **columns):
    """A request whose 50 ms at the API lie in the middle of its network time, told by a clock that is ahead."""
    number = len(build.requests)
    build.request(at, 50.0 + 2 * network_ms, request_id=f"g{number}", **columns)
    build.access(at + network_ms / 1000 + ahead_s, request_id=f"g{number}", response_latency_ms=50.0)


@pytest.mark.parametrize("ahead_s", [-3.0, -0.02, 0.0, 0.4, 7.0])
def test_the_offset_lies_within_its_error(build, ahead_s):
    for number in range(20):
        exchange(build, 1.0 + number, 4.0 + number % 5, ahead_s)
    (clock,) = clocks(build.joined())
    assert abs(clock["offset_ms"] - ahead_s * 1000) <= clock["error_ms"] == pytest.approx(5.0, abs=0.1)
    assert clock["corrected"] == (ahead_s != 0)


def test_each_worker_has_its_own_clock(build):
    exchange(build, 1.0, 4.0, 0.0, worker=0)
    exchange(build, 1.0, 4.0, 2.0, worker=1)
    first, second = clocks(build.joined())
    assert (first["corrected"], second["corrected"]) == (False, True)
    assert second["offset_ms"] == pytest.approx(2000, abs=6)


def test_a_clock_that_was_set_during_the_run_gives_no_offset(build):
    exchange(build, 1.0, 4.0, 0.0)
    exchange(build, 9.0, 4.0, 2.0)
    (clock,) = clocks(build.joined())
    assert (clock["offset_ms"], clock["corrected"]) == (None, False)


def test_without_an_access_log_the_invocations_start_bounds_the_clock(build):
    build.request(1.0, 100.0, lambda_request_id="l1")
    build.invocation(1.08 + 5.0, 40.0, request_id="l1")
    (clock,) = clocks(build.joined())
    assert abs(clock["offset_ms"] - 5000) <= clock["error_ms"] < 55


def test_an_access_log_that_does_not_say_when_requests_came_bounds_nothing(build):
    for number in range(3):
        build.request(1.0 + number, 100.0, request_id=f"g{number}")
        build.access(1.1 + number, request_id=f"g{number}", at_is_logged=True, response_latency_ms=100.0)
    assert clocks(build.joined()) == []


def test_without_the_time_of_arrival_the_invocations_start_bounds_the_clock(build):
    build.request(1.0, 100.0, request_id="g1", lambda_request_id="l1")
    build.access(1.1, request_id="g1", at_is_logged=True, response_latency_ms=100.0)
    build.invocation(1.08, 40.0, request_id="l1")
    (clock,) = clocks(build.joined())
    assert (clock["requests"], clock["corrected"]) == (1, False)


def test_a_pair_that_only_a_trace_made_bounds_nothing(build):
    """API -> SQS -> Lambda: the handler begins half a second after the answer."""
    build.request(1.0, 10.0, trace_id="1-a-b")
    build.invocation(1.54, 40.0, request_id="l1", xray_trace_id="1-a-b")
    assert clocks(build.joined()) == []


def test_of_a_pair_that_a_trace_made_the_access_log_bounds_the_clock(build):
    exchange(build, 1.0, 4.0, 0.0, trace_id="1-a-b")
    build.invocation(1.54, 40.0, request_id="l1", xray_trace_id="1-a-b")
    (clock,) = clocks(build.joined())
    assert (clock["requests"], clock["corrected"]) == (1, False)


def test_nothing_joined_nothing_known(build):
    build.request()
    assert clocks(build.joined()) == []


def test_date_headers_are_told_beside_the_logs_and_without_them(build):
    exchange(build, 1.0, 4.0, 0.0)
    build.requests[0]["worker"] = "0"
    workers = [
        {"index": 0, "date_offset": {"answers": 3, "low_s": -0.03, "high_s": 0.05}},
        {"index": 1, "date_offset": {"answers": 9, "low_s": 1.99, "high_s": 2.01}},
        {"index": 2},
    ]
    first, second = clocks(build.joined(), workers)
    assert (first["requests"], first["date_answers"]) == (1, 3)
    assert (first["date_offset_ms"], first["date_error_ms"]) == pytest.approx((10.0, 40.0))
    assert (second["worker"], second["requests"], second["offset_ms"], second["corrected"]) == ("1", 0, None, False)
    assert (second["date_offset_ms"], second["date_error_ms"]) == pytest.approx((2000.0, 10.0))


def test_dates_that_contradict_each_other_give_no_offset(build):
    workers = [{"index": 0, "date_offset": {"answers": 3, "low_s": 0.5, "high_s": -0.5}}]
    (clock,) = clocks(build.joined(), workers)
    assert (clock["date_answers"], clock["date_offset_ms"], clock["date_error_ms"]) == (3, None, None)
