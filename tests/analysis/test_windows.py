"""The worst window of a run, from rows whose times are plain. Answers take no time unless it is said."""

import pytest

from analysis.windows import worst_window
from config.thresholds import CLIENT_METRICS, parse_threshold

T0 = 1795255200.0


@pytest.fixture
def worst(build):
    """Expression -> the worst window as (seconds after T0, value), None without any."""
    open_databases = []

    def look(expression):
        if not open_databases:
            open_databases.append(build.joined())
        found = worst_window(open_databases[0], parse_threshold(expression))
        return None if found is None else (pytest.approx(found.started_at - T0, abs=1e-3), found.value)

    return look


def second(build, at, requests=10, failures=0, ms=0.001, **columns):
    """So many requests in the second from `at` on."""
    for number in range(requests):
        status = 500 if number < failures else 200
        build.request(at + number / requests, ms, status, **columns)


def test_worst_window_is_found_where_it_lies(build, worst):
    for at in range(20):
        second(build, at, failures=5 if 8 <= at < 10 else 0)
    # The last start is at 19.9 s, so that windows begin at 14.9, 14.4, ...; from 4.9 to 7.9 s they hold all failures.
    begins, value = worst("error_rate over 5s < 1%")
    assert begins == 4.9
    assert value == pytest.approx(10 / 50)
    assert worst("error_rate over 1s < 1%")[1] == pytest.approx(0.5)
    assert worst("failures over 5s == 0")[1] == 10


def test_whole_run_in_one_window_is_the_whole_run(build, worst):
    for at in range(10):
        second(build, at, failures=at)
    assert worst("error_rate over 1h < 1%")[1] == pytest.approx(45 / 100)
    assert worst("rps over 1h > 1")[1] == pytest.approx(100 / 9.9)


def test_percentiles_are_those_of_the_rows_in_the_window(build, worst):
    for at in range(10):
        second(build, at, ms=10.0)
    build.requests[45]["response_ms"] = 210.0
    # Ten or eleven requests lie in a second, all with 10 ms but one.
    assert worst("max_ms over 1s < 100")[1] == 210.0
    assert worst("p50_ms over 1s < 100")[1] == 10.0
    assert worst("p95_ms over 1s < 100")[1] == pytest.approx(10 + 0.55 * 200, abs=15)


def test_lowest_is_the_worst_where_more_is_wanted(build, worst):
    for at in range(10):
        second(build, at, requests=2 if 4 <= at < 7 else 20)
    assert worst("rps over 2s > 10")[1] == pytest.approx(2, abs=0.5)
    assert worst("success_rate over 2s > 99%")[1] == 1.0


def test_second_without_any_request_is_no_data_for_times_and_nought_for_counts(build, worst):
    second(build, 0)
    second(build, 9)
    assert worst("rps over 2s > 1")[1] == 0
    assert worst("requests over 2s > 1")[1] == 0
    assert worst("error_rate over 2s < 1%")[1] == 0


def test_request_counts_where_it_ended_and_a_dropped_arrival_where_it_was_due(build, worst):
    for at in range(20):
        second(build, at)
    build.request(2.0, 7_500, 500)
    build.request(None, None, None, ok=0, error="dropped", scheduled_at=T0 + 15.05)
    assert worst("max_ms over 1s < 10")[0] == pytest.approx(9, abs=0.55)
    assert worst("dropped over 1s == 0")[0] == pytest.approx(14.5, abs=0.55)
    assert worst("dropped_rate over 1s < 1%")[1] == pytest.approx(1 / 11, abs=0.01)


def test_answers_after_the_last_start_count_in_the_last_window(build, worst):
    for at in range(10):
        second(build, at)
    build.request(9.95, 20_000, 504)
    begins, value = worst("max_ms over 2s < 1000")
    assert (begins, value) == (7.95, 20_000)
    assert worst("rps over 2s > 5")[1] >= 9, "the wait for it is no load that fell short"


def test_warm_up_is_in_no_window(build, worst):
    second(build, 0, failures=10, phase="warmup")
    for at in range(1, 10):
        second(build, at)
    assert worst("error_rate over 2s < 1%")[1] == 0


def test_scope_is_an_endpoint_or_a_flow(build, worst):
    for at in range(5):
        second(build, at, failures=1)
        second(build, at, failures=5, name="GET /vote/{vote_id}", method="GET")
        second(build, at, failures=9, flow="shop", name="POST /shop")
    assert worst("POST /vote: error_rate over 2s < 1%")[1] == pytest.approx(0.1, abs=0.06)
    assert worst("vote: error_rate over 2s < 1%")[1] == pytest.approx(0.3, abs=0.06)
    assert worst("shop: error_rate over 2s < 1%")[1] == pytest.approx(0.9, abs=0.06)
    assert worst("direct: error_rate over 2s < 1%") is None


def test_nothing_is_measured_of_a_scope_without_requests(build, worst):
    """A count would be 0 in each window, and `failures over 2s == 0` hold for an endpoint that is misspelled."""
    for at in range(5):
        second(build, at)
    assert {metric: worst(f"POST /vot: {metric} over 2s < 1") for metric in CLIENT_METRICS} == dict.fromkeys(
        CLIENT_METRICS
    )


def test_no_failure_among_no_requests_sent_is_no_data(build, worst):
    second(build, 0)
    build.request(None, None, None, ok=0, error="dropped", scheduled_at=T0 + 0.5, flow="shop", name="POST /shop")
    assert worst("shop: failures over 2s == 0") is None
    assert worst("shop: requests over 2s > 0")[1] == 0
    assert worst("shop: dropped over 2s == 0")[1] == 1


def test_run_without_requests_has_no_window(build, worst):
    build.request(0.0, phase="warmup")
    assert {metric: worst(f"{metric} over 2s < 1") for metric in CLIENT_METRICS} == dict.fromkeys(CLIENT_METRICS)


def test_one_request_is_a_window(build, worst):
    build.request(1.0, 50.0)
    found = {metric: worst(f"{metric} over 2s < 1") for metric in CLIENT_METRICS}
    assert found.pop("rps") is None, "no time has passed"
    counts = {"error_rate": 0, "success_rate": 1, "dropped_rate": 0, "requests": 1, "failures": 0, "dropped": 0}
    assert {metric: value for metric, (_, value) in found.items()} == {
        metric: counts.get(metric, 50.0) for metric in found
    }


def test_a_clock_that_was_never_set_makes_no_windows_of_its_own(build, worst):
    """There would be three billion of them."""
    second(build, 0, failures=1)
    second(build, 1)
    second(build, 1 - T0, failures=10)
    assert worst("error_rate over 1s < 1%")[1] == pytest.approx(1 / 10)
