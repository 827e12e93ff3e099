"""What is made of measured invocations, on literal ones."""

import math
import re
from collections.abc import Sequence
from typing import Any

import pytest

from config.prices import load_prices
from control.tuning import checks
from control.tuning.figures import Choice, MemoryFigures, choose, figures
from control.tuning.measuring import Invocation
from control.tuning.report import as_html, as_markdown, chart
from control.tuning.result import Result, headline, remarks, table
from control.tuning.schedule import Call


def invocation(round_: int, memory_mb: int, duration_ms: float, outcome: Any = "warm", **facts: Any) -> Invocation:
    known = {"duration_ms": duration_ms, "billed_ms": round(duration_ms), "max_memory_mb": 70, **facts}
    return Invocation(Call(round_, memory_mb, 0, None), 0.0, 0.0, duration_ms, outcome, **known)


def warm(memory_mb: int, durations: Sequence[float]) -> list[Invocation]:
    return [invocation(number, memory_mb, duration) for number, duration in enumerate(durations)]


def jittered(mean: float, count: int = 40) -> list[float]:
    """10 % about the mean, in turns."""
    return [mean * (0.9 if number % 2 else 1.1) for number in range(count)]


def chosen(rows: Sequence[Invocation], strategy: Any, weight: float = 0.5) -> Choice:
    values = sorted({one.call.memory_mb for one in rows})
    found = choose(figures(values, rows), rows, strategy, weight)
    assert found is not None
    return found


def test_a_mean_has_the_interval_of_students_t():
    """100 +- 10 in turns, 40 of them: s = 10.13, t(39) = 2.023, so +- 3.24; resampling is within a tenth."""
    [found] = figures([128], warm(128, jittered(100)))
    assert found.duration_ms is not None
    assert found.duration_ms.value == pytest.approx(100)
    assert found.duration_ms.high - found.duration_ms.value == pytest.approx(3.24, rel=0.1)
    assert found.gb_s.value == pytest.approx(0.1 * 128 / 1024)


def test_cold_invocations_have_figures_of_their_own():
    rows = [*warm(128, [100, 100, 100]), invocation(3, 128, 300, "cold", init_ms=200.0, billed_ms=500)]
    [found] = figures([128], rows)
    assert (found.warm, found.duration_ms.value, found.slowest_ms) == (3, 100, 500)
    assert (found.cold.invocations, found.cold.init_ms, found.cold.duration_ms) == (1, 200, 300)
    assert found.cold.gb_s == pytest.approx(0.5 * 128 / 1024)
    assert found.spent_gb_s == pytest.approx(0.8 * 128 / 1024)


def test_a_value_whose_function_failed_has_no_figures_and_is_not_chosen():
    rows = [
        *warm(128, [1.0, 1.0]),
        invocation(2, 128, 5, "failed", error="Runtime.OutOfMemory"),
        *warm(256, [9.0] * 10),
    ]
    failed, _ = figures([128, 256], rows)
    assert (failed.failure, failed.warm, failed.duration_ms, failed.invocations) == ("Runtime.OutOfMemory", 0, None, 3)
    assert chosen(rows, "speed").memory_mb == 256


def test_what_was_throttled_or_lost_is_counted_and_in_no_mean():
    rows = [
        *warm(128, [100, 100]),
        *(Invocation(Call(2, 128, 0, None), 0, 0, 5, kind) for kind in ("throttled", "lost")),
    ]
    [found] = figures([128], rows)
    assert (found.throttled, found.lost, found.duration_ms.value, found.billed) == (1, 1, 100, 2)


def test_nothing_measured_means_no_choice():
    rows = [Invocation(Call(0, 128, 0, None), 0, 0, 5, "throttled")]
    assert choose(figures([128], rows), rows, "cost") is None


CLEAR = [*warm(128, jittered(400)), *warm(512, jittered(130)), *warm(2048, jittered(80))]
"""GB-s of 0.05, 0.065, 0.16."""


@pytest.mark.parametrize(("strategy", "memory_mb"), [("cost", 128), ("speed", 2048), ("balanced", 512)])
def test_each_strategy_has_its_best(strategy, memory_mb):
    found = chosen(CLEAR, strategy)
    assert (found.memory_mb, found.best_mb, found.tied_mb) == (memory_mb, memory_mb, ())


@pytest.mark.parametrize(("weight", "memory_mb"), [(0.0, 2048), (0.5, 512), (1.0, 128)])
def test_the_weight_goes_from_speed_to_cost(weight, memory_mb):
    """Scores of AWS Lambda Power Tuning's formula: 0.5 * 0.065 / 0.16 + 0.5 * 130 / 400 = 0.366 for 512 MB."""
    found = chosen(CLEAR, "balanced", weight)
    assert found.memory_mb == memory_mb
    if weight == 0.5:
        assert found.scores[512] == pytest.approx(0.366, abs=0.001)


def test_what_cannot_be_told_apart_is_tied_and_the_cheaper_one_is_taken():
    rows = [*warm(512, jittered(100)), *warm(1769, jittered(51)), *warm(3008, jittered(50)[::-1])]
    found = chosen(rows, "speed")
    assert (found.best_mb, found.tied_mb, found.memory_mb) == (3008, (1769,), 1769)


def test_a_tie_that_is_much_worse_by_its_mean_is_not_taken():
    """Few invocations tell little apart, which is no reason to take the slower one."""
    rows = [*warm(512, [100, 40, 90] * 4), *warm(2048, [40, 80, 60] * 4)]
    found = chosen(rows, "speed")
    assert (found.memory_mb, found.tied_mb) == (2048, (512,))


def test_a_tie_says_how_many_invocations_would_tell():
    """The same figures so many times over: the means stay, the interval narrows."""
    slow, fast = jittered(100), jittered(97)[::-1]
    found = chosen([*warm(512, slow), *warm(1024, fast)], "speed")
    assert (found.best_mb, found.tied_mb) == (1024, (512,))
    times = found.num_to_tell[512] / len(slow)
    assert times > 1
    enough = math.ceil(times * 1.1)
    assert chosen([*warm(512, slow * enough), *warm(1024, fast * enough)], "speed").tied_mb == ()
    too_few = math.floor(times * 0.9)
    assert chosen([*warm(512, slow * too_few), *warm(1024, fast * too_few)], "speed").tied_mb == (512,)


def test_what_was_measured_equal_says_no_number():
    assert chosen([*warm(512, jittered(100)), *warm(1024, jittered(100))], "speed").num_to_tell == {}


def test_cost_takes_the_faster_of_two_that_cost_the_same():
    """A function that computes costs the same with twice the memory."""
    found = chosen([*warm(512, jittered(200)), *warm(1024, jittered(101)[::-1])], "cost")
    assert (found.best_mb, found.memory_mb, found.tied_mb) == (512, 1024, (1024,))


def test_what_drifts_for_all_values_does_not_make_a_tie():
    """From 100 to 300 ms while the run goes, 5 % between the two in each round."""
    drift = [100 + 5 * number for number in range(40)]
    rows = [*warm(512, [value * 1.05 for value in drift]), *warm(1024, drift)]
    assert chosen(rows, "speed").tied_mb == ()


def test_a_value_with_too_few_warm_invocations_is_neither_chosen_nor_tied():
    """It is the fastest by the nine that were measured."""
    rows = [*warm(512, jittered(100)), *warm(1024, jittered(50, 9)), *warm(2048, jittered(80, 10))]
    found = chosen(rows, "speed")
    assert (found.memory_mb, found.tied_mb, sorted(found.scores)) == (2048, (), [512, 2048])


def test_where_every_value_has_too_few_none_is_chosen():
    rows = [*warm(512, jittered(100, 9)), *warm(1024, [50])]
    assert choose(figures([512, 1024], rows), rows, "speed") is None


@pytest.mark.parametrize(
    ("warm_ones", "cold", "throttled", "concurrency", "num"),
    [
        (1, 1, 0, 5, 15),  # at most five cold starts
        (1, 1, 0, None, 11),  # as many cold starts as there were
        (0, 3, 0, 5, 15),
        (4, 0, 4, 0, 20),  # every other one is throttled
        (0, 1, 3, 5, None),
    ],
)
def test_the_number_that_would_do_leaves_ten_warm_ones(warm_ones, cold, throttled, concurrency, num):
    rows = warm(128, [100.0] * warm_ones)
    rows += [invocation(warm_ones, 128, 300, "cold", init_ms=200.0) for _ in range(cold)]
    rows += [Invocation(Call(0, 128, 0, None), 0, 0, 5, "throttled") for _ in range(throttled)]
    [found] = figures([128], rows)
    assert found.num_to_compare(concurrency) == num


def result(rows: Sequence[Invocation], **changes: Any) -> Result:
    values = sorted({one.call.memory_mb for one in rows})
    found = figures(values, rows)
    choices = {strategy: choose(found, rows, strategy) for strategy in ("cost", "speed", "balanced")}
    facts: dict[str, Any] = {
        "run_id": "r",
        "function": "f",
        "target": "sandbox",
        "simulated": True,
        "region": "us-east-1",
        "architecture": "x86_64",
        "memory_before_mb": 128,
        "timeout_s": 10.0,
        "started_at": 0.0,
        "ended_at": 1.0,
        "rounds": 40,
        "concurrency": 5,
        "rate_per_s": None,
        "payloads": 1,
        "strategy": "cost",
        "weight": 0.5,
        "figures": found,
        "choices": {strategy: choice for strategy, choice in choices.items() if choice},
        "prices": load_prices("us-east-1"),
        "greatest_late_ms": 0.0,
    }
    return Result(**{**facts, **changes})


def test_cost_is_in_dollars_per_million_and_the_run_has_its_own():
    """0.05 GB-s at 0.0000166667 USD, a million times; 120 requests at 0.20 USD per million."""
    found = result(CLEAR)
    assert headline(found) == "128 MB by cost: 400.0 ms, $0.8333 per million"
    assert found.run_usd == pytest.approx(40 * (0.05 + 0.065 + 0.16) * 0.0000166667 + 120 * 0.2e-6)


def test_a_function_on_arm64_is_priced_so():
    found = result(CLEAR, architecture="arm64")
    assert headline(found) == "128 MB by cost: 400.0 ms, $0.6667 per million"
    assert found.document()["other_architecture"]["name"] == "x86_64"


def test_the_chart_has_duration_and_cost_with_their_intervals_and_marks_the_choice():
    found = result(CLEAR)
    drawn = chart(found)
    for trace, estimates in zip(
        drawn["data"],
        [
            [one.duration_ms for one in found.figures],
            [found.usd_per_million(one.gb_s) for one in found.figures],
        ],
        strict=True,
    ):
        assert (trace["x"], trace["y"]) == ([128, 512, 2048], [one.value for one in estimates])
        assert trace["error_y"]["array"] == pytest.approx([one.high - one.value for one in estimates])
        assert trace["error_y"]["arrayminus"] == pytest.approx([one.value - one.low for one in estimates])
        assert all(half > 0 for half in trace["error_y"]["array"])
    assert [line["x0"] for line in drawn["layout"]["shapes"]] == [128]


def test_a_tie_is_said_with_what_would_tell():
    rows = [*warm(512, jittered(100)), *warm(1024, jittered(97)[::-1])]
    (tied,) = [line for line in remarks(result(rows, strategy="speed")) if line.startswith("Tied")]
    assert "512 MB cannot be told from 1024 MB, the best as measured" in tied
    assert re.search(r"if they are as far apart as measured, about NUM=[1-9][\d,]* \(512 MB\)", tied)
    equal = [*warm(512, jittered(100)), *warm(1024, jittered(100))]
    assert any("as good as equal" in line for line in remarks(result(equal, strategy="speed")))


def test_another_architecture_is_not_said_to_take_as_long():
    """arm64 is cheaper by 0.8 a GB-s: it may take 1.25 times as long, and nobody measured how long it takes."""
    found = result(CLEAR)
    assert found.break_even_ms() == pytest.approx(500, rel=0.001)
    assert found.document()["other_architecture"] == {
        "name": "arm64",
        "measured": False,
        "cheaper_below_ms": found.break_even_ms(),
    }
    assert any("On arm64, which was not measured" in remark for remark in remarks(found))


def test_without_prices_values_are_still_compared():
    found = result(CLEAR, prices=load_prices("nowhere-1"))
    assert headline(found) == "128 MB by cost: 400.0 ms"
    assert found.run_usd is None
    assert any("GB-seconds" in remark for remark in remarks(found))


def test_markup_in_what_a_function_says_is_escaped():
    rows = [*warm(128, [1.0, 1.0]), invocation(0, 256, 5, "failed", error="<img src=x onerror=alert(1)>")]
    found = result(rows)
    assert "<img" not in as_html(found).split("What to know")[1]
    assert "<img" not in as_markdown(found)


def test_the_table_says_what_was_chosen_and_what_stopped():
    rows = [*CLEAR, invocation(0, 3008, 5, "failed", error="boom")]
    assert [row.cells[-1] for row in table(result(rows)).rows] == ["chosen", "", "", "stopped"]


def test_what_had_too_few_is_said_in_table_words_and_document():
    found = result([*CLEAR, *warm(3008, jittered(10, 3))])
    assert [row.cells[-1] for row in table(found).rows] == ["chosen", "", "", "too few"]
    assert any("fewer than 10 invocations were warm: 3008 MB (3)" in line for line in remarks(found))
    assert any("NUM=15 would do" in line for line in remarks(found))
    values = {one["memory_mb"]: (one["compared"], one["num_to_compare"]) for one in found.document()["values"]}
    assert values == {128: (True, None), 512: (True, None), 2048: (True, None), 3008: (False, 15)}


def test_a_run_of_too_few_says_so_instead_of_a_choice():
    found = result(warm(128, [100.0] * 3))
    assert headline(found) == "Nothing is chosen: too few warm invocations"
    assert (found.document()["choice"], found.choice) == (None, None)


def measured(**changes: Any) -> MemoryFigures:
    [found] = figures([128], warm(128, jittered(100)))
    return MemoryFigures(**{**{name: getattr(found, name) for name in found.__dataclass_fields__}, **changes})


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, []),
        ({"throttled": 1}, ["each invocation was measured"]),
        ({"lost": 1}, ["each invocation was measured"]),
        ({"max_memory_mb": 116}, ["uses at most 90% of the memory"]),
        ({"max_memory_mb": None}, ["uses at most 90% of the memory"]),
        ({"slowest_ms": 8001.0}, ["takes at most 80% of the timeout"]),
    ],
)
def test_a_measurement_is_checked_before_anything_is_set(changes, failed):
    made = checks.of_measurement(Choice("cost", 0.5, 128, 128, (), {}), measured(**changes), 10.0)
    assert [check.name for check in made if not check.passed] == failed


LIVE = {"Name": "live", "FunctionVersion": "1", "RevisionId": "a"}
CONFIGURATION = {"CodeSha256": "c", "Timeout": 3, "MemorySize": 128}


@pytest.mark.parametrize(
    ("now", "promoted", "failed"),
    [
        (LIVE, {"MemorySize": 256}, []),
        (None, {}, ["there is an alias live"]),
        (LIVE | {"RevisionId": "b"}, {}, ["alias live is as it was at the start"]),
        (
            LIVE | {"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1}}},
            {},
            ["alias live points to one published version"],
        ),
        (LIVE, {"CodeSha256": "other"}, ["the new version differs in nothing but memory"]),
        (LIVE, {"Timeout": 5}, ["the new version differs in nothing but memory"]),
    ],
)
def test_an_alias_is_checked_before_it_is_moved(now, promoted, failed):
    made = checks.of_alias("live", LIVE, now, CONFIGURATION, CONFIGURATION | promoted)
    assert [check.name for check in made if not check.passed] == failed
