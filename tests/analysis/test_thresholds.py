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


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("failures == 0", "no data"),
        ("POST /vote: failures == 0", "no data"),
        ("dropped == 0", "no data"),
        ("vote: dropped < 9", "pass"),  # all that was offered was dropped
        ("errors == 0", "no data"),
        ("place-vote: timeouts == 0", "no data"),
        ("shop: lost == 0", "no data"),
        ("requests > 0", "fail"),
    ],
)
def test_none_of_none_was_not_measured(expression, verdict):
    nothing = block(measured={"requests": 0, "failures": 0, "dropped": 0})
    dropped = block(measured={"requests": 0, "failures": 0, "dropped": 5})
    idle = function(measured={"invocations": 0, "errors": 0, "timeouts": 0, "cold_starts": 0})
    summary = {
        "client": nothing | {"endpoints": {"POST /vote": nothing}, "flows": {"vote": dropped}},
        "functions": {"place-vote": idle},
        "chains": {"shop": {"measured": {"sent": 0, "lost": 0}}},
    }
    (judged,) = judge_thresholds(summary, [parse_threshold(expression)], no_window)
    assert judged["verdict"] == verdict


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("shop: end_to_end_p95_ms < 1s", 995.0),  # not the 800 of the flow of that name
        ("stock: end_to_end_p95_ms < 1s", 700.0),
        ("stock: p95_ms < 1s", 700.0),
        ("vote: end_to_end_p95_ms < 1s", None),
        ("place-vote: end_to_end_p95_ms < 1s", None),
    ],
)
def test_times_end_to_end_are_those_of_the_chain(expression, value):
    summary = SUMMARY | {"chains": {"shop": CHAIN, "stock": CHAIN | {"end_to_end_ms": {"p95": 700.0}}}}
    (judged,) = judge_thresholds(summary, [parse_threshold(expression)], no_window)
    assert judged["value"] == value


def test_a_flow_and_a_chain_of_one_name_answer_what_each_knows():
    thresholds = [parse_threshold("shop: p95_ms < 900"), parse_threshold("shop: sent == 2")]
    judged = judge_thresholds(SUMMARY, thresholds, no_window)
    assert [one["value"] for one in judged] == [800.0, 2]


UNPRICED = [{"item": "kms_requests", "service": "KMS", "usd": None}]


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("cost: run_usd < 0.20", "fail"),
        ("cost: run_usd < 0.26", "fail"),
        ("cost: run_usd < 5", "no data"),
        ("cost: run_usd <= 0.25", "fail"),
        ("cost: run_usd <= 0.26", "no data"),
        ("cost: run_usd > 0.25", "pass"),
        ("cost: run_usd > 0.26", "no data"),
        ("cost: run_usd >= 0.26", "pass"),
        ("cost: run_usd >= 5", "no data"),
        ("cost: run_usd == 0.25", "fail"),
        ("cost: run_usd == 0.26", "no data"),
        ("cost: run_usd == 5", "no data"),
        ("cost: run_usd != 0.25", "pass"),
        ("cost: run_usd != 5", "no data"),
    ],
)
def test_a_cost_that_something_is_left_out_of_is_a_lower_bound(expression, verdict):
    summary = SUMMARY | {"cost": {"run_usd": 0.26, "items": UNPRICED}}
    (judged,) = judge_thresholds(summary, [parse_threshold(expression)], no_window)
    assert (judged["value"], judged["verdict"], judged["lower_bound"]) == (0.26, verdict, True)


def test_what_the_analysis_cost_is_not_missing_from_the_cost_of_requests():
    scanned = [{"item": "logs_scanned_gb", "service": "Insights, scanned", "usd": None}]
    summary = SUMMARY | {"cost": {"run_usd": 0.26, "per_million_usd": 7.0, "items": scanned}}
    thresholds = [parse_threshold("cost: per_million_usd < 10"), parse_threshold("cost: run_usd < 10")]
    assert [one["verdict"] for one in judge_thresholds(summary, thresholds, no_window)] == ["pass", "no data"]


@pytest.mark.parametrize(
    ("expression", "value", "verdict"),
    [("throttles == 0", 4, "fail"), ("throttle_rate < 10%", 4 / 124, "pass")],
)
def test_throttles_of_everything_leave_out_functions_that_were_never_called(expression, value, verdict):
    idle = function(invocations=0, throttles=None)
    summary = SUMMARY | {"functions": {"place-vote": function(), "idle": idle}}
    (judged,) = judge_thresholds(summary, [parse_threshold(expression)], no_window)
    assert (judged["value"], judged["verdict"]) == (pytest.approx(value), verdict)


def test_throttles_of_functions_none_of_which_was_called_are_no_data():
    summary = SUMMARY | {"functions": {"idle": function(invocations=0, throttles=None)}}
    (judged,) = judge_thresholds(summary, [parse_threshold("throttles == 0")], no_window)
    assert judged["verdict"] == "no data"


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
