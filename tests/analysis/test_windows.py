"""The worst window of a run, from rows whose times are plain. Answers take no time unless it is said."""

import pytest

from analysis.chains import Settling, chains
from analysis.functions import create_calls, create_measured_invocations
from analysis.pipeline import explain
from analysis.windows import worst_window
from config.thresholds import CHAIN_COUNTS, CLIENT_METRICS, parse_threshold

T0 = 1795255200.0


@pytest.fixture
def worst(build):
    """Expression -> the worst window as (seconds after T0, value), None without any."""
    open_databases = []

    def look(expression):
        if not open_databases:
            db = build.joined()
            create_measured_invocations(db)
            create_calls(db, starts_told=build.manifest["target"] == "sandbox")
            logs_until = T0 + 3600
            chains(db, Settling(60.0, logs_until, settled=True, logged=frozenset(build.manifest["functions"])), {})
            open_databases.append(db)
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


# ---------------------------------------------------------------- functions and chains


def calls(build, at, count=10, ms=20.0, **columns):
    """So many invocations that end in the second from `at` on."""
    for number in range(count):
        build.invocation(at + number / count, ms, request_id=f"{at}-{number}", **columns)


def test_a_functions_own_time_is_worst_where_it_lies(build, worst):
    second(build, 0)
    for at in range(20):
        calls(build, at, ms=500.0 if at == 8 else 20.0)
        calls(build, at, ms=900.0, function="get-results")
    # The last one ends at 19.9 s: windows of 2 s begin at 17.9, 17.7, ... and that from 6.1 s on is the first with one
    # of those that end from 8 s on.
    begins, value = worst("place-vote: max_ms over 2s < 100")
    assert (begins, value) == (pytest.approx(6.1, abs=0.001), 500.0)
    assert worst("place-vote: p50_ms over 1s < 100")[1] == 500.0
    assert worst("place-vote: p50_ms over 10s < 100")[1] == 20.0


def test_cold_starts_and_errors_of_one_function_and_of_all(build, worst):
    second(build, 0)
    for at in range(10):
        calls(build, at, **({"init_ms": 200.0} if at == 4 else {}))
        calls(build, at, function="get-results")
    build.error(6.3, request_id="6-3")
    assert worst("place-vote: cold_start_rate over 1s < 1%")[1] == 1.0
    assert worst("cold_start_rate over 1s < 1%")[1] == 0.5
    assert worst("place-vote: cold_starts over 5s == 0")[1] == 10
    assert worst("place-vote: errors over 2s == 0")[1] == 1
    assert worst("place-vote: error_rate over 2s < 1%")[1] == pytest.approx(1 / 20, abs=0.003)
    assert worst("get-results: errors over 2s == 0")[1] == 0
    assert worst("invocations over 5s > 500")[1] == pytest.approx(100, abs=2)


def test_a_function_that_paused_has_windows_without_invocations(build, worst):
    second(build, 0)
    calls(build, 0)
    calls(build, 9)
    assert worst("place-vote: invocations over 2s > 1")[1] == 0
    assert worst("place-vote: errors over 2s == 0")[1] == 0


def test_invocations_of_the_warm_up_are_in_no_window(build, worst):
    second(build, 5)
    calls(build, 0, init_ms=100.0)
    calls(build, 6)
    assert worst("place-vote: cold_starts over 2s == 0")[1] == 0


def test_where_the_logs_do_not_tell_starts_a_cold_one_has_no_window(build, worst):
    build.manifest["target"] = "emulator"
    second(build, 0)
    calls(build, 1)
    assert worst("place-vote: cold_starts over 2s == 0") is None
    assert worst("place-vote: cold_start_rate over 2s < 1%") is None
    assert worst("place-vote: invocations over 2s > 0")[1] == 10


def orders(build, at, count=10, done_after_s=0.5, of="shop"):
    """So many orders sent in the second from `at` on, all of which but those of None come to the chain's end."""
    for number in range(count):
        sent, order = at + number / count, f"{of}-{at}-{number}"
        build.request(sent, 10.0, flow="shop", name="POST /shop", correlation_id=order)
        if done_after_s is not None:
            done = sent + done_after_s
            build.invocation(done, 5.0, function="shop-update-db", request_id=order)
            build.correlation(done, function="shop-update-db", request_id=order, correlation_id=order)


def test_orders_count_in_the_window_in_which_they_were_sent(build, worst):
    for at in range(10):
        orders(build, at, done_after_s=30.0 if at == 3 else None if at == 7 else 0.5)
    begins, value = worst("shop: lost over 1s == 0")
    assert (begins, value) == (pytest.approx(7.0, abs=0.15), pytest.approx(10, abs=1))
    begins, value = worst("shop: end_to_end_max_ms over 1s < 5s")
    assert (begins, value) == (pytest.approx(2.1, abs=0.15), pytest.approx(30_000, abs=1))
    assert worst("shop: end_to_end_p50_ms over 5s < 5s")[1] == pytest.approx(500, abs=1)
    assert worst("shop: max_ms over 1s < 5s")[1] == 10.0, "of the flow of that name"
    assert worst("completed over 1s > 5")[1] == 0


def test_without_its_correlation_lines_nothing_but_what_was_sent_is_known_of_a_chain(build, worst):
    for at in range(3):
        orders(build, at)
    build.tables["correlations"].clear()
    known = ("sent", "accepted")
    found = {name: worst(f"shop: {name} over 1s < 5") for name in (*CHAIN_COUNTS, "end_to_end_p95_ms")}
    assert {name for name, window in found.items() if window is not None} == set(known)


def test_messages_by_a_clock_that_was_never_set_are_in_no_window(build, worst):
    orders(build, 0)
    build.request(-T0 + 5.0, 10.0, flow="events", name="SQS SendMessage", method="SendMessage", correlation_id="e")
    build.invocation(1.0, function="queue-consumer", request_id="q")
    build.correlation(1.0, function="queue-consumer", request_id="q", correlation_id="e")
    assert worst("shop: lost over 1s == 0")[1] == 0
    assert worst("events-queue: lost over 1s == 0") is None


def test_one_chain_that_cannot_be_followed_makes_the_sum_of_all_unknown(build, worst):
    orders(build, 0)
    build.request(0.5, 10.0, flow="events", name="SQS SendMessage", method="SendMessage", correlation_id="e")
    build.invocation(1.0, function="queue-consumer", request_id="q")
    assert worst("shop: lost over 1s == 0")[1] == 0
    assert worst("lost over 1s == 0") is None


def test_the_summary_judges_windows_of_functions_and_chains(build):
    build.manifest["profile"]["thresholds"] = {
        "place-vote: p95_ms over 2s < 100": "fail",
        "place-vote: cold_starts over 5s == 0": "fail",
        "shop: lost over 1s == 0": "fail",
    }
    build.pull = {"complete": True, "ended_at": T0 + 3600}
    for at in range(5):
        calls(build, at, ms=500.0 if at == 2 else 20.0)
        orders(build, at)
    judged = explain(build.write())["thresholds"]
    assert [one["verdict"] for one in judged] == ["fail", "pass", "pass"]
    assert (judged[0]["value"], judged[0]["window_at"]) == (500.0, pytest.approx(T0 + 0.1, abs=0.21))
