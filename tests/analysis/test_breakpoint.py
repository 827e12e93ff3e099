"""What a search for the breakpoint came to, in words, in the verdict and in every document."""

from __future__ import annotations

import io
from typing import Any

import pytest

from analysis import junit, markdown, report, terminal
from analysis.breakpoint import HEIGHT, WIDTH, bars, in_words, limit_in_words
from analysis.console import console
from analysis.pipeline import explain
from analysis.verdict import judge

T0 = 1795255200.0


def step(rate: float, outcome: str = "held", begins: float = 0.0, **figures: Any) -> dict[str, Any]:
    times = {"began_at": T0 + begins, "judged_from": T0 + begins + 5, "judged_until": T0 + begins + 15}
    return {"rate": rate, "outcome": outcome, "reason": None, "value": None, **times, **figures}


BROKE = {"reason": "error_rate < 1%", "value": 0.25, "p95_ms": 87.6}
FOUND: dict[str, Any] = {
    "rate": 200.0,
    "void": False,
    "ended_by": "found",
    "reason": None,
    "held": {"held": 2, "broke": 0},
    "lowest_broken": 210.0,
    "broken": {"held": 1, "broke": 3},
    "limited_by": "error_rate < 1%",
    "capped": False,
    "cost_usd": 0.0301,
    "max_cost_usd": 2.5,
    "steps": [step(100), step(200, begins=15), step(400, "broke", 30, **BROKE), step(200, begins=60)],
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "200 requests a second held (2 of 2), 210 broke (3 of 4)"),
        (
            {"void": True, "reason": "process 0 took 97 % of a core", "ended_by": "generator"},
            "void: the load generator was at its limit: process 0 took 97 % of a core",
        ),
        (
            {"ended_by": "max", "lowest_broken": None, "broken": None},
            "200 requests a second held (2 of 2), as much as the profile allows: the breakpoint is higher",
        ),
        (
            {"ended_by": "cost", "lowest_broken": None, "broken": None},
            "200 requests a second held (2 of 2), nothing broke; the search was stopped at MAX_COST_USD ($2.50)",
        ),
        ({"rate": None, "held": None, "lowest_broken": 1.0}, "no rate held, 1 broke (3 of 4)"),
        (
            {"ended_by": None},
            "200 requests a second held (2 of 2), 210 broke (3 of 4); the search was stopped before its end",
        ),
    ],
)
def test_result_in_a_sentence(changes: dict[str, Any], words: str) -> None:
    assert in_words({**FOUND, **changes}) == words


def test_what_was_the_limit() -> None:
    assert limit_in_words(FOUND) == "What broke: error_rate < 1%"
    assert limit_in_words({**FOUND, "limited_by": None}) is None
    capped = {**FOUND, "capped": True, "limited_by": "max_in_flight: 5 of 90 arrivals found no free slot"}
    assert "number of slots, not the target" in str(limit_in_words(capped))


def test_found_is_a_success_and_void_is_not() -> None:
    run = {"complete": True, "warnings": []}
    found = judge({"run": run, "breakpoint": FOUND})
    assert (found.kind, found.exit_code) == ("unjudged", 0)
    assert found.headline.startswith("Breakpoint: 200 requests a second held")
    void = judge({"run": run, "breakpoint": {**FOUND, "void": True, "reason": "late"}})
    assert (void.kind, void.exit_code) == ("incomplete", 3)
    assert void.headline == "Breakpoint void: the load generator was at its limit: late"
    assert judge({"run": {"complete": False}, "breakpoint": FOUND}).exit_code == 3


def test_thresholds_that_say_what_holds_do_not_judge_the_run(build) -> None:
    build.request(1.0, status=500)
    build.manifest["breakpoint"] = FOUND
    build.manifest["profile"] |= {
        "breakpoint": {"start_rate": 100},
        "thresholds": {"error_rate < 1%": "fail", "error_rate < 100%": "abort after 30s"},
    }
    summary = explain(build.write())
    assert summary["breakpoint"] == FOUND
    assert [one["expression"] for one in summary["thresholds"]] == ["error_rate < 100%"]


def test_every_document_shows_the_steps() -> None:
    hostile = step(50, "broke", 80, reason="<script>alert(1)</script>", value=None)
    summary = {"run": {"complete": True, "id": "r"}, "breakpoint": {**FOUND, "steps": [*FOUND["steps"], hostile]}}
    out = io.StringIO()
    terminal.print_summary(summary, console(out))
    page = report.render(summary)
    for text in (out.getvalue(), markdown.render(summary), page):
        assert "25.00 %" in text
        assert "87.6" in text
    assert page.count("<rect") == 5
    assert "<script>alert" not in page
    assert "200 requests a second held (2 of 2), 210 broke (3 of 4)" in junit.render(summary)


def test_drawing_is_to_scale() -> None:
    drawn = bars(FOUND)
    assert [bar.outcome for bar in drawn] == ["held", "held", "broke", "held"]
    assert [bar.y for bar in drawn] == [0.75 * HEIGHT, 0.5 * HEIGHT, 0, 0.5 * HEIGHT]
    assert drawn[-1].x + drawn[-1].width == pytest.approx(WIDTH)
    assert drawn[2].width == pytest.approx(15 / 75 * WIDTH)
    assert bars({"steps": []}) == []
