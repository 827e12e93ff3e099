"""A whole search for the breakpoint, in two processes: users are the rate, and the manifest has the result."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def search(lasting_locust, lasting_server):
    """From 30 a second to 60, which both hold: two steps of four seconds."""
    profile = lasting_locust.directory / "own.toml"
    profile.write_text(
        'description = "a test"\nflows = ["vote"]\nmodel = "open"\n'
        '[breakpoint]\nstart = 30\nmax = 60\ngrowth = 2\nsettle = "3s"\nhold = "1s"\nconfirmations = 1\n'
        'schedule_lag_limit = "2s"\n'
        '[thresholds]\n"error_rate < 1%" = "fail"\n'
    )
    run = lasting_locust.run("--processes", "2", PROFILE=str(profile))
    assert run.finish() == 0, run.output
    return run


def held(search) -> list[dict]:
    """Steps in order; on a busy machine others may lie between them, at which the generator fell short."""
    return [step for step in search.manifest["breakpoint"]["steps"] if step["outcome"] == "held"]


def test_result_stands_in_the_manifest(search):
    found = search.manifest["breakpoint"]
    assert (found["ended_by"], found["rate"], found["void"]) == ("max", 60, False)
    assert found["held"] == {"held": 1, "broke": 0}
    assert [step["rate"] for step in held(search)] == [30, 60]
    assert found["cost_usd"] > 0
    assert search.manifest["state"] == "complete"


def test_rate_of_a_step_is_what_both_processes_offered_together(search):
    assert len({row["worker"] for row in search.rows}) == 2
    for step in held(search):
        due = sum(0 <= float(row["scheduled_at"]) - step["judged_from"] < 1 for row in search.rows)
        assert due == pytest.approx(step["rate"], rel=0.15)


def test_nothing_is_lost(search, lasting_server):
    assert len(set(search.counts(lasting_server).values())) == 1
