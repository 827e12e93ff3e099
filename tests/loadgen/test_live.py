"""Live figures: counted in processes, added up, read over sliding windows. All times are made up."""

from __future__ import annotations

from random import Random

import msgpack
import pytest

from loadgen.histogram import Histogram, bucket_of
from loadgen.live import KEPT_S, MASTER, SILENT_AFTER_S, LiveCounter, LiveFigures, Report
from loadgen.recording import EndedRequest, RequestLog


def count(counter: LiveCounter, **row) -> None:
    """Count one request, by default a vote that succeeded in 20 ms."""
    known = {
        "measured": True,
        "flow": "vote",
        "name": "POST /vote",
        "method": "POST",
        "status": 200,
        "error": "",
        "function_error": "",
        "response_ms": 20.0,
        "lag_s": None,
    }
    counter.add(**{**known, **row})


def report(*requests: dict, worker: int | str = 0, span_s=1.0, cpu_s=0.1, dropped=0, **in_flight: int) -> Report:
    """What a process with these requests, and so many open ones of each flow, would send.

    As it comes out of Locust's channel.
    """
    counter = LiveCounter()
    for row in requests:
        count(counter, **row)
    for _ in range(dropped):
        counter.add_dropped(True, "vote")
    message = Report("run", worker, span_s, cpu_s, in_flight, counter.take()).as_message()
    return Report.from_message(msgpack.unpackb(msgpack.packb(message), strict_map_key=False))


def figures(*reports: tuple[float, Report]) -> LiveFigures:
    live = LiveFigures()
    for at, one in reports:
        live.receive(one, at)
    return live


def test_before_anything_came_there_is_no_data_and_no_zero():
    window = LiveFigures().over(100.0, 10.0)
    assert (window.requests, window.dropped, window.span_s) == (0, 0, 0.0)
    assert (window.rps, window.error_rate, window.dropped_rate, window.mean_ms) == (None, None, None, None)
    assert (window.percentile_ms(0.5), window.lag_percentile_ms(0.99)) == (None, None)


def test_window_holds_what_came_in_it_and_the_whole_run_everything():
    live = figures(*((float(at), report({})) for at in range(1, 21)))
    assert live.over(20.0, 5.0).requests == 5
    assert live.over(20.0).requests == 20
    assert live.over(40.0, 5.0).requests == 0


def test_rate_is_requests_by_the_time_that_processes_observed():
    live = figures(*((at / 2, report({}, {}, worker=worker, span_s=0.5)) for at in range(1, 9) for worker in (0, 1)))
    assert live.over(4.0, 2.0).rps == pytest.approx(8.0), "two a half second from each of two workers"
    assert live.over(4.0, 600.0).rps == pytest.approx(8.0), "the run is younger than the window"


def test_outcomes_are_told_apart():
    live = figures(
        (
            1.0,
            report(
                {},
                {"status": 502, "error": "HTTP 502 Bad Gateway"},
                {"status": 429, "error": "HTTP 429 Too Many Requests"},
                {"error": "FunctionError Unhandled: ValueError", "function_error": "Unhandled"},
                {"status": 400, "error": "HTTP 400 Bad Request: ProvisionedThroughputExceededException"},
                {"status": None, "error": "connection refused", "response_ms": None},
                dropped=2,
            ),
        )
    )
    window = live.over(1.0, 10.0)
    assert (window.requests, window.failures, window.dropped, window.offered) == (6, 5, 2, 8)
    assert window.statuses == {"200": 2, "502": 1, "429": 1, "400": 1, "none": 1}
    assert (window.throttles, window.function_errors) == (2, 1)
    assert window.error_rate == pytest.approx(5 / 6)
    assert window.dropped_rate == pytest.approx(2 / 8)


def test_request_without_an_answer_has_no_time():
    live = figures((1.0, report({"response_ms": 100.0}, {"status": None, "error": "reset", "response_ms": None})))
    window = live.over(1.0, 10.0)
    assert window.mean_ms == pytest.approx(100.0)
    assert window.percentile_ms(1.0) == pytest.approx(100.0, rel=0.01)


def test_scope_is_an_endpoint_or_a_flow():
    live = figures(
        (
            1.0,
            report(
                {},
                {"name": "GET /vote/{vote_id}", "method": "GET"},
                {"flow": "direct", "name": "Invoke place-vote", "method": "Invoke", "status": 500, "error": "HTTP 500"},
                {"flow": "own", "name": "vote", "method": "Call"},
                dropped=3,
            ),
        )
    )
    assert live.endpoints == ["Call vote", "GET /vote/{vote_id}", "Invoke place-vote", "POST /vote"]
    assert live.flows == ["direct", "own", "vote"]
    assert live.over(1.0, 10.0, "POST /vote").requests == 1
    assert live.over(1.0, 10.0, "POST /vote").dropped == 0, "of a dropped arrival only the flow is known"
    assert (live.over(1.0, 10.0, "vote").requests, live.over(1.0, 10.0, "vote").dropped) == (2, 3)
    assert live.over(1.0, 10.0, "direct").error_rate == 1.0
    assert live.over(1.0, 10.0, "nothing").requests == 0


def test_warm_up_can_be_left_out():
    live = figures((1.0, report({"measured": False, "status": 500, "error": "HTTP 500"}, {})))
    assert live.over(1.0, 10.0).error_rate == 0.5
    assert live.over(1.0, 10.0, measured_only=True).error_rate == 0.0


def test_in_flight_is_the_last_word_of_each_process_that_still_speaks():
    live = figures(
        (1.0, report(worker=0, vote=50)),
        (5.0, report(worker=0, vote=7, shop=2)),
        (5.0, report(worker=1, vote=3)),
    )
    assert live.in_flight(5.0) == 12
    assert [live.in_flight(5.0, flow) for flow in ("vote", "shop", "direct")] == [10, 2, 0]
    assert live.flows == ["shop", "vote"], "those that have not answered yet are seen, too"
    live.receive(report(worker=0, vote=6), 5.5 + SILENT_AFTER_S)
    assert live.in_flight(5.5 + SILENT_AFTER_S) == 6, "worker 1 is gone"


def test_processor_share_of_each_process_over_the_window():
    live = figures(
        (1.0, report(worker=0, span_s=1.0, cpu_s=0.1)),
        (2.0, report(worker=0, span_s=1.0, cpu_s=0.9)),
        (2.0, report(worker=MASTER, span_s=0.5, cpu_s=0.1)),
    )
    assert live.over(2.0, 10.0).cpu_percent == pytest.approx({0: 50.0, MASTER: 20.0})
    assert live.over(2.0, 1.0).cpu_percent == pytest.approx({0: 90.0, MASTER: 20.0})


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_percentiles_of_several_processes_are_within_one_percent(share):
    source = Random(5)
    times = [source.lognormvariate(3.0, 1.2) for _ in range(3000)]
    live = figures(
        *((at / 10, report(*({"response_ms": ms} for ms in times[at::30]), worker=at % 3)) for at in range(30))
    )
    rank = share * (len(times) - 1)
    ordered = sorted(times)
    exact = ordered[int(rank)] + (ordered[min(int(rank) + 1, len(times) - 1)] - ordered[int(rank)]) * (rank % 1)
    assert live.over(3.0, 10.0).percentile_ms(share) == pytest.approx(exact, rel=0.0101)


def test_lag_is_measured_from_when_a_request_was_due():
    live = figures((1.0, report({"lag_s": 0.0001}, {"lag_s": -0.000001}, {"lag_s": 0.250}, {})))
    window = live.over(1.0, 10.0)
    assert window.lag_percentile_ms(1.0) == pytest.approx(250.0, rel=0.01)
    assert window.lag_percentile_ms(0.5) == pytest.approx(0.1, abs=0.002)
    assert window.lag_percentile_ms(0.0) == pytest.approx(0.0, abs=0.001)


def test_long_run_keeps_no_more_than_its_longest_window():
    live = figures(*((at * 10.0, report({})) for at in range(1, 1001)))
    assert live.over(10_000.0).requests == 1000
    assert live.over(10_000.0, 1e6).requests == pytest.approx(KEPT_S / 10, abs=1)


def test_a_window_of_half_an_hour_is_not_cut_short():
    live = LiveFigures(kept_s=1860.0)
    for at in range(1, 3601):
        live.receive(report({}), float(at))
    window = live.over(3600.0, 1800.0)
    assert window.requests == pytest.approx(1800, abs=10)
    assert window.rps == pytest.approx(1.0)


def test_counts_are_handed_over_once():
    counter = LiveCounter()
    count(counter)
    assert len(counter.take()) == 1
    assert counter.take() == []


def test_every_row_is_counted_in_its_phase():
    log = RequestLog(0, 100.0, lambda rows, lines: None)
    said = ("POST /vote", "POST", 200, "", "", "r", "", "t", "c", "", 10, 2, None)
    log.add(EndedRequest(99.0, 99.5, 12.0, "vote", *said))
    log.add(EndedRequest(100.0, 100.25, 12.0, "vote", *said))
    log.add_dropped(101.0, "vote")
    log.flush()
    live = figures((1.0, Report("run", 0, 1.0, 0.0, {}, log.live.take())))
    assert (live.over(1.0).requests, live.over(1.0, measured_only=True).requests) == (2, 1)
    assert live.over(1.0).dropped == 1
    assert live.over(1.0, measured_only=True).lag_percentile_ms(0.5) == pytest.approx(250.0, rel=0.01)


@pytest.mark.parametrize("ms", [0.0, 0.0004, 0.05, 1.0, 29_000.0])
def test_bucket_stands_for_a_time_within_one_percent_or_a_microsecond(ms):
    one = Histogram()
    one.add({bucket_of(ms): 1})
    assert one.percentile_ms(0.5) == pytest.approx(ms, rel=0.01, abs=0.001)
