"""The search for the breakpoint against simulated targets, in virtual time: reports come twice a second, ticks once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from config.profiles import BreakpointPlan
from config.thresholds import parse_threshold
from loadgen.breakpoint import Breakpoint
from loadgen.live import LiveCounter, LiveFigures, Report

SLOT_S = 0.5
THRESHOLDS = ("p95_ms over 5s < 1000", "error_rate over 5s < 1%")


@dataclass
class Target:
    """Answers up to `capacity` a second; the rest it refuses, or with `queues` keeps waiting."""

    capacity: float
    queues: bool = False
    spread: float = 0.0
    """Standard deviation of the capacity, as a share, from one half second to the next."""
    source: Random = field(default_factory=lambda: Random(1))
    waiting: float = 0.0
    left_over: float = 0.0
    slots: int | None = None
    """Requests that the generator may have open; None: any number."""

    def answer(self, arrivals: float, counter: LiveCounter) -> None:
        """Take so many arrivals in the next half second and count what ended in it."""
        capacity = self.capacity * SLOT_S * self.source.gauss(1, self.spread)
        if self.queues and self.slots is not None:
            taken = max(0.0, min(arrivals, self.slots - self.waiting))
            for _ in range(round(arrivals - taken)):
                counter.add_dropped(True, "vote")
            arrivals = taken
        self.left_over += arrivals
        whole = int(self.left_over)
        self.left_over -= whole
        if self.queues:
            self.waiting += whole
            done = int(min(self.waiting, capacity))
            self.waiting -= done
            latency_ms = 20.0 + 1000 * self.waiting / self.capacity
            self._count(counter, done, 200, latency_ms)
        else:
            refused = max(0, whole - round(capacity))
            self._count(counter, whole - refused, 200, 20.0)
            self._count(counter, refused, 429, 5.0)
        counter.in_flight["vote"] = round(self.waiting)

    def _count(self, counter: LiveCounter, requests: int, status: int, latency_ms: float) -> None:
        for _ in range(requests):
            error = "" if status == 200 else "HTTP 429 Too Many Requests"
            counter.add(True, "vote", "POST /vote", "POST", status, error, "", latency_ms, 0.0001)


def plan(**changes) -> BreakpointPlan:
    known = {
        "start_rate": 20,
        "max_rate": 1000,
        "growth": 1.5,
        "settle_s": 5.0,
        "hold_s": 10.0,
        "precision": 0.05,
        "confirmations": 2,
        "recovery_limit_s": 120.0,
        "lag_limit_ms": 50.0,
        "memory_mb": 1024.0,
    }
    return BreakpointPlan(**{**known, **changes})


class Simulation:
    """A search from its first moment to its end."""

    def __init__(
        self, target: Target, *thresholds: str, warmup_s=0.0, cost=lambda figures: None, most_usd=None, **of_plan
    ):
        self.plan = plan(**of_plan)
        parsed = [parse_threshold(text) for text in thresholds or THRESHOLDS]
        self.search = Breakpoint(self.plan, parsed, warmup_s, cost, most_usd, epoch=1000.0)
        self.target = target
        self.figures = LiveFigures()
        self.now = 0.0
        self.rates: list[float] = []
        """By half second."""
        self.cpu: Callable[[float], float] = lambda rate: 0.1
        """Rate -> share of a core that the generator takes."""
        self.offers: Callable[[float], float] = lambda rate: rate

    def run(self, until_s=36_000.0) -> dict:
        users: int | None = self.search.first_users
        while users is not None and self.now < until_s:
            rate = users * self.plan.rate_per_user
            for _ in range(2):
                counter = LiveCounter()
                self.target.answer(self.offers(rate) * SLOT_S, counter)
                self.now += SLOT_S
                self.rates.append(rate)
                report = Report("run", 0, SLOT_S, self.cpu(rate) * SLOT_S, counter.in_flight, counter.take())
                self.figures.receive(report, self.now)
            users = self.search.users(self.figures, self.now)
        return self.search.result()


@pytest.mark.parametrize("queues", [False, True], ids=["refuses", "queues"])
@pytest.mark.parametrize("seed", range(5))
def test_capacity_is_found_within_ten_percent(queues, seed):
    source = Random(seed)
    capacity = source.uniform(30, 600)
    result = Simulation(Target(capacity, queues, spread=0.01, source=source)).run()
    assert result["ended_by"] == "found"
    assert result["rate"] == pytest.approx(capacity, rel=0.1)
    assert result["rate"] < result["lowest_broken"]
    assert not result["void"]


def test_result_says_how_certain_it_is_and_what_broke():
    result = Simulation(Target(200)).run()
    assert result["held"] == {"held": 2, "broke": 0}
    assert result["broken"] == {"held": 0, "broke": 2}
    assert result["lowest_broken"] - result["rate"] <= 0.05 * result["lowest_broken"]
    assert result["limited_by"] == "error_rate over 5s < 1%"
    assert result["capped"] is False
    at_the_end = [step for step in result["steps"] if step["rate"] == result["rate"]]
    assert [step["outcome"] for step in at_the_end] == ["held", "held"]
    assert at_the_end[0]["offered_rps"] == pytest.approx(result["rate"], rel=0.05)
    assert at_the_end[0]["error_rate"] == 0
    assert at_the_end[0]["began_at"] < at_the_end[0]["judged_from"] < at_the_end[0]["judged_until"]


def test_rate_that_breaks_is_left_at_the_first_window_that_shows_it():
    result = Simulation(Target(100), start_rate=200).run()
    first = result["steps"][0]
    assert first["outcome"] == "broke"
    assert first["value"] == pytest.approx(0.5, abs=0.05)
    assert first["judged_until"] - first["judged_from"] < 7, "5 s of its 10"


def test_threshold_without_a_window_is_judged_over_the_whole_hold():
    result = Simulation(Target(100), "error_rate < 1%", start_rate=200).run()
    first = result["steps"][0]
    assert first["judged_until"] - first["judged_from"] >= 10
    assert result["rate"] == pytest.approx(100, rel=0.1)


def test_after_a_break_the_target_gets_its_rest():
    """At 400 a second for some 10 s, 3,000 requests too many pile up: 30 s of work."""
    simulation = Simulation(Target(100, queues=True), start_rate=400)
    result = simulation.run()
    first, second = result["steps"][:2]
    rest_s = second["began_at"] - first["judged_until"]
    assert rest_s == pytest.approx((simulation.target.capacity and first["in_flight"]) / 100, abs=3)
    assert rest_s > 15
    assert result["rate"] == pytest.approx(100, rel=0.1)


def test_target_that_never_answers_what_it_has_ends_the_search():
    target = Target(100, queues=True)
    simulation = Simulation(target, start_rate=400, recovery_limit_s=20.0)
    result = simulation.run()
    assert (result["ended_by"], result["rate"], result["lowest_broken"]) == ("not recovered", None, 400)


def test_nothing_breaks_up_to_the_most():
    result = Simulation(Target(1e9), max_rate=300).run()
    assert (result["ended_by"], result["rate"], result["lowest_broken"], result["broken"]) == ("max", 300, None, None)
    assert result["held"] == {"held": 2, "broke": 0}


def test_target_that_answers_nothing_right_has_no_breakpoint():
    result = Simulation(Target(0)).run()
    assert (result["ended_by"], result["rate"], result["held"]) == ("found", None, None)


def test_threshold_that_nothing_is_measured_for_does_not_hold():
    result = Simulation(Target(100), "POST /shop: p95_ms over 5s < 1000").run()
    assert result["rate"] is None
    assert result["steps"][0]["value"] is None


def test_busy_generator_voids_the_result():
    simulation = Simulation(Target(1e9))
    simulation.cpu = lambda rate: min(1.0, rate / 250)
    result = simulation.run()
    assert (result["ended_by"], result["void"]) == ("generator", True)
    assert "process 0 took" in result["reason"]
    assert "more than 90 %" in result["reason"]
    outcomes = [(step["rate"], step["outcome"]) for step in result["steps"][-4:]]
    assert outcomes == [(result["rate"], "held"), *[(result["steps"][-1]["rate"], "saturated")] * 3]


def test_break_at_a_busy_generator_is_no_break_of_the_target():
    simulation = Simulation(Target(250))
    simulation.cpu = lambda rate: min(1.0, rate / 250)
    result = simulation.run()
    assert result["void"]


def test_generator_that_was_late_for_once_has_the_rate_tried_again():
    simulation = Simulation(Target(200))
    late = iter(range(1000))
    simulation.cpu = lambda rate: 0.95 if rate > 60 and next(late) < 30 else 0.1
    result = simulation.run()
    assert any(step["outcome"] == "saturated" for step in result["steps"])
    assert result["rate"] == pytest.approx(200, rel=0.1)
    assert result["held"] == {"held": 2, "broke": 0}


def test_late_generator_voids_the_result():
    simulation = Simulation(Target(1e9), lag_limit_ms=0.05)
    result = simulation.run()
    assert result["void"]
    assert "schedule lag p99 was 0.1 ms, more than 0.05 ms" in result["reason"]


def test_generator_that_lost_a_worker_voids_the_result():
    simulation = Simulation(Target(1e9))
    simulation.offers = lambda rate: rate if rate < 150 else rate / 2
    result = simulation.run()
    assert result["void"]
    assert "arrivals a second were offered" in result["reason"]


def test_slots_that_run_out_are_no_limit_of_the_target_and_the_result_says_so():
    result = Simulation(Target(100, queues=True, slots=150), "error_rate over 5s < 1%").run()
    assert (result["void"], result["capped"]) == (False, True)
    assert result["limited_by"].startswith("max_in_flight")
    assert result["rate"] == pytest.approx(100, rel=0.15)


def test_money_ends_the_search_with_what_is_known_by_then():
    def cost(figures):
        return figures.over(0.0).requests * 1e-3

    simulation = Simulation(Target(200), cost=cost, most_usd=5.0)
    result = simulation.run()
    assert (result["ended_by"], result["void"]) == ("cost", False)
    assert result["cost_usd"] == pytest.approx(5.0, rel=0.05)
    assert 20 <= result["rate"] < 200
    assert result["lowest_broken"] is None


def test_warm_up_comes_before_the_first_rate_is_judged():
    first = Simulation(Target(200), warmup_s=30.0).run()["steps"][0]
    assert first["judged_from"] - first["began_at"] == 35


def test_search_that_was_cut_short_says_what_it_knows():
    result = Simulation(Target(200)).run(until_s=60.0)
    assert result["ended_by"] is None
    assert result["rate"] >= 20


def test_short_hiccup_of_the_target_does_not_become_the_result():
    class Hiccup(Target):
        calls = 0

        def answer(self, arrivals, counter):
            self.calls += 1
            self.capacity = 1.0 if 100 <= self.calls < 110 else 300.0
            super().answer(arrivals, counter)

    result = Simulation(Hiccup(300)).run()
    assert any(step["outcome"] == "broke" and step["rate"] < 200 for step in result["steps"])
    assert result["rate"] == pytest.approx(300, rel=0.1)
