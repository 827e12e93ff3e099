"""Which threshold ends a run, and when: reports at made-up times, one a second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.profile_files import load_profile
from config.thresholds import CLIENT_METRICS, parse_threshold
from loadgen.abort import AbortWatch, live_value, longest_window_s
from loadgen.live import LiveCounter, LiveFigures, Report


class Run:
    """Seconds of a run: 100 requests each, of which some fail, and what ends it."""

    def __init__(self, *thresholds: tuple[str, str], measure_from=0.0, time_scale=1.0) -> None:
        parsed = [parse_threshold(text, action) for text, action in thresholds]
        self.watch = AbortWatch(parsed, measure_from, time_scale)
        self.figures = LiveFigures()
        self.now = 0.0
        self.abort = None

    def seconds(self, count: int, failures: int = 0, requests: int = 100, flow: str = "vote", warmup=False) -> Run:
        """Go on for so many seconds, or until the run is ended."""
        for _ in range(count):
            if self.abort is not None:
                break
            self.now += 1.0
            counter = LiveCounter()
            for number in range(requests):
                error = "HTTP 500" if number < failures else ""
                status = 500 if error else 200
                counter.add(not warmup, flow, f"POST /{flow}", "POST", status, error, "", 20.0, None)
            self.figures.receive(Report("run", 0, 1.0, 0.1, {}, counter.take()), self.now)
            self.abort = self.watch.look(self.figures, self.now)
        return self


def test_figures_are_kept_for_the_longest_window_that_is_looked_at():
    profile = load_profile("breakpoint", time_scale=2)
    assert profile.breakpoint is not None
    assert longest_window_s(profile) == max(20.0, profile.breakpoint.hold_s)
    longer = replace(profile, thresholds=(parse_threshold("p95_ms over 30m < 1000", "abort"),))
    assert longest_window_s(longer) == 1800.0
    assert longest_window_s(replace(profile, thresholds=(), breakpoint=None)) == 20.0


def test_threshold_broken_for_its_time_ends_the_run():
    run = Run(("error_rate over 5s < 5%", "abort after 10s")).seconds(20)
    assert run.abort is None
    run.seconds(60, failures=50)
    # 1 of 5 s with 50 % is 10 %: broken from 21 s on.
    assert run.now == 31.0
    assert run.abort.threshold == "error_rate over 5s < 5%"
    assert run.abort.value == pytest.approx(0.5)
    assert (run.abort.window_s, run.abort.broken_for_s) == (5.0, 10.0)


def test_window_that_holds_in_between_begins_the_wait_anew():
    run = Run(("error_rate over 2s < 5%", "abort after 10s"))
    for _ in range(5):
        run.seconds(8, failures=50).seconds(3)
    assert run.abort is None


def test_abort_without_a_time_ends_the_run_at_the_first_broken_window():
    run = Run(("error_rate over 5s < 5%", "abort")).seconds(10).seconds(60, failures=50)
    assert (run.now, run.abort.broken_for_s) == (11.0, 0.0)


def test_short_spike_inside_a_long_window_ends_nothing():
    run = Run(("error_rate over 60s < 5%", "abort")).seconds(70).seconds(2, failures=100).seconds(70)
    assert run.abort is None


@pytest.mark.parametrize(("time_scale", "ends_at"), [(1.0, 10.0), (0.5, 5.0), (0.01, 1.0)])
def test_threshold_without_a_window_is_watched_over_a_default(time_scale, ends_at):
    run = Run(("error_rate < 5%", "abort"), time_scale=time_scale).seconds(60, failures=50)
    assert run.now == ends_at, "the first whole window"


def test_warm_up_is_not_looked_at():
    run = Run(("error_rate over 5s < 5%", "abort"), measure_from=30.0)
    run.seconds(30, failures=100, warmup=True).seconds(100)
    assert run.abort is None


def test_no_data_neither_breaks_nor_mends():
    run = Run(("error_rate over 2s < 5%", "abort after 10s"))
    run.seconds(60, requests=0)
    assert run.abort is None
    run.seconds(5, failures=50).seconds(60, requests=0)
    assert run.abort is None, "nothing was measured that would end it"
    run.seconds(1, failures=50)
    assert run.abort is not None


def test_other_flows_and_thresholds_that_only_fail_end_nothing():
    run = Run(("vote: error_rate over 5s < 5%", "abort"), ("error_rate over 5s < 5%", "fail"))
    run.seconds(60, failures=100, flow="shop")
    assert run.abort is None


def test_target_that_refuses_everything_from_the_start_ends_the_run():
    run = Run(("rps over 5s > 500", "abort after 3s")).seconds(60)
    assert (run.now, run.abort.value) == (8.0, pytest.approx(100.0))


def test_no_threshold_that_aborts_is_nothing_to_watch():
    assert not Run(("error_rate < 5%", "fail")).watch


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        *((metric, pytest.approx(20.0, rel=0.01)) for metric in CLIENT_METRICS if metric.endswith("_ms")),
        ("error_rate", 0.25),
        ("success_rate", 0.75),
        ("dropped_rate", 0.0),
        ("requests", 200),
        ("failures", 50),
        ("dropped", 0),
        ("rps", 100.0),
    ],
)
def test_every_metric_of_the_client_has_a_live_value(metric, value):
    run = Run().seconds(2, failures=25)
    assert live_value(run.figures.over(2.0, 10.0), metric) == value


@pytest.mark.parametrize(
    "metric", [metric for metric in CLIENT_METRICS if metric not in ("requests", "failures", "dropped")]
)
def test_without_requests_nothing_is_measured(metric):
    assert live_value(LiveFigures().over(2.0, 10.0), metric) is None
