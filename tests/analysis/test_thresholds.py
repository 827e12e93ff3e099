import pytest

from analysis.thresholds import judge_thresholds
from analysis.windows import Window
from config.thresholds import parse_threshold


def block(**figures):
    measured = {"requests": 100, "failures": 2, "dropped": 0}
    return {"requests": 130, "failures": 9, "p95_ms": 800.0, "error_rate": 0.02, "measured": measured} | figures


def function(**figures):
    measured = {"invocations": 90, "errors": 2, "timeouts": 1, "cold_starts": 9}
    return {
        "invocations": 120,
        "throttles": 4,
        "duration_ms": {"p95": 40.0},
        "error_rate": 2 / 90,
        "cold_start_rate": 0.1,
        "measured": measured,
    } | figures


CHAIN = {"sent": 3, "lost": 1, "end_to_end_ms": {"p95": 995.0}, "measured": {"sent": 2, "lost": 0}}
SUMMARY = {
    "client": block(
        endpoints={"POST /vote": block(p95_ms=950.0), "POST /shop": block(p95_ms=None)},
        flows={"vote": block(error_rate=0.5), "shop": block()},
    ),
    "functions": {"place-vote": function(), "tally-votes": function(throttles=None)},
    "chains": {"shop": CHAIN},
    "cost": {"run_usd": 0.26, "per_million_usd": None},
}


def no_window(threshold):
    raise AssertionError("only thresholds with a window have one")


@pytest.mark.parametrize(
    ("expression", "value", "verdict"),
    [
        ("p95_ms < 1000", 800.0, "pass"),
        ("p95_ms < 800", 800.0, "fail"),
        ("POST /vote: p95_ms < 1000", 950.0, "pass"),
        ("cost: run_usd < 0.25", 0.26, "fail"),
        ("cost: run_usd < 5", 0.26, "pass"),
        ("cost: per_million_usd < 10", None, "no data"),
        ("POST /vote: p95_ms < 900", 950.0, "fail"),
        ("vote: error_rate < 10%", 0.5, "fail"),
        ("success_rate > 99%", 0.98, "fail"),
        ("success_rate >= 97%", 0.98, "pass"),
        ("place-vote: cold_start_rate < 1%", 0.1, "fail"),
        ("place-vote: p95_ms < 50", 40.0, "pass"),
        ("place-vote: throttles == 0", 4, "fail"),
        # measured rows only: 2 of the 9 failures
        ("failures <= 2", 2, "pass"),
        ("requests == 100", 100, "pass"),
        ("shop: lost == 0", 0, "pass"),
        ("lost == 0", 0, "pass"),
        ("cold_starts == 18", 18, "pass"),
        ("cold_start_rate < 50%", 0.1, "pass"),
        # nothing measured, or nothing of that name
        ("POST /shop: p95_ms < 1000", None, "no data"),
        ("tally-votes: throttles == 0", None, "no data"),
        ("throttles == 0", None, "no data"),
        ("no-such-thing: p95_ms < 1000", None, "no data"),
        ("GET /nothing: requests > 0", None, "no data"),
        ("POST /vote: lost == 0", None, "no data"),
    ],
)
def test_a_threshold_is_looked_up_in_its_scope(expression, value, verdict):
    (judged,) = judge_thresholds(SUMMARY, [parse_threshold(expression)], no_window)
    assert (judged["expression"], judged["verdict"]) == (expression, verdict)
    assert judged["value"] == (None if value is None else pytest.approx(value))


def test_a_flow_and_a_chain_of_one_name_answer_what_each_knows():
    thresholds = [parse_threshold("shop: p95_ms < 900"), parse_threshold("shop: sent == 2")]
    judged = judge_thresholds(SUMMARY, thresholds, no_window)
    assert [one["value"] for one in judged] == [800.0, 2]


def test_an_empty_summary_has_no_data_for_anything():
    empty = {"client": {"requests": 0, "endpoints": {}, "flows": {}}, "functions": {}, "chains": {}}
    judged = judge_thresholds(empty, map(parse_threshold, ("p95_ms < 1", "lost == 0", "error_rate < 1%")), no_window)
    assert {one["verdict"] for one in judged} == {"no data"}


def test_a_threshold_with_a_window_is_held_against_the_worst():
    (judged,) = judge_thresholds(SUMMARY, [parse_threshold("p95_ms over 10s < 1000")], lambda _: Window(7.5, 1200.0))
    assert (judged["value"], judged["verdict"], judged["window_at"]) == (1200.0, "fail", 7.5)
    (judged,) = judge_thresholds(SUMMARY, [parse_threshold("p95_ms over 10s < 1000")], lambda _: None)
    assert (judged["value"], judged["verdict"], judged["window_at"]) == (None, "no data", None)


def test_a_threshold_that_aborted_the_run_fails_with_the_value_of_then():
    aborted = {"threshold": "p95_ms < 1000", "value": 1500.0, "window_s": 10.0, "broken_for_s": 30.0, "at": 60.0}
    thresholds = [parse_threshold("p95_ms < 1000", "abort after 30s"), parse_threshold("p95_ms < 2000", "abort")]
    first, second = judge_thresholds(SUMMARY, thresholds, no_window, aborted)
    assert (first["value"], first["verdict"], first["aborted"], first["window_at"]) == (1500.0, "fail", True, 50.0)
    assert (second["value"], second["verdict"], second["aborted"]) == (800.0, "pass", False)
