from __future__ import annotations

from typing import Any

import pytest

from analysis.verdict import answer, causes, duration_s, judge, message


def summary(*verdicts: str, complete: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "run": {"complete": complete},
        "thresholds": [{"expression": "error_rate < 1%", "verdict": verdict} for verdict in verdicts],
        **more,
    }


@pytest.mark.parametrize(
    ("given", "kind", "headline", "exit_code"),
    [
        (summary("pass"), "passed", "Passed: the one threshold holds", 0),
        (summary("pass", "pass"), "passed", "Passed: all 2 thresholds hold", 0),
        (summary("pass", "fail"), "failed", "Failed: 1 of 2 thresholds broken", 1),
        (summary("no data"), "failed", "Failed: 1 of 1 threshold broken (1 without data)", 1),
        (summary(), "unjudged", "Done: the profile sets no thresholds", 0),
        (summary(complete=False), "incomplete", "Incomplete: the run or its data is not whole", 3),
        (
            summary("fail", complete=False),
            "incomplete",
            "Incomplete: the run or its data is not whole; 1 of 1 threshold broken",
            3,
        ),
    ],
)
def test_verdict(given: dict[str, Any], kind: str, headline: str, exit_code: int) -> None:
    verdict = judge(given)
    assert (verdict.kind, verdict.headline, verdict.exit_code) == (kind, headline, exit_code)


def test_an_empty_summary_is_incomplete_and_not_a_pass() -> None:
    assert judge({}).exit_code == 3


def test_the_largest_cause_is_named() -> None:
    causes = [
        {"requests": 5, "function": "a", "error_type": "Timeout"},
        {
            "requests": 15,
            "function": "b",
            "error_type": "KeyError",
            "operation": "PutRecord",
            "resource": "stream votes",
        },
    ]
    verdict = judge(summary(client={"requests": 100, "failures": 20}, root_causes=causes))
    assert verdict.detail == "20 of 100 requests failed (20.00 %), 15 of them: b: KeyError on PutRecord, stream votes"


def test_a_run_without_failures_has_no_cause() -> None:
    assert judge(summary("pass", client={"requests": 100, "failures": 0})).detail is None


def test_failures_without_a_cause_are_not_passed_over() -> None:
    verdict = judge(summary(client={"requests": 1, "failures": 1}, root_causes=[]))
    assert verdict.detail == "1 of 1 request failed (100 %); no cause was found in the logs"


def test_one_cause_in_two_flows_is_counted_together() -> None:
    cause = {"function": "place-vote", "error_type": "KeyError"}
    causes = [{**cause, "requests": 3, "status": 502}, {"requests": 4}, {**cause, "requests": 2, "status": 200}]
    verdict = judge(summary(client={"requests": 100, "failures": 9}, root_causes=causes))
    assert verdict.detail == "9 of 100 requests failed (9.00 %), 5 of them: place-vote: KeyError"


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ({"status": 502}, "502"),
        ({"status": 200}, "200 with an error"),
        ({"status": None, "error_type": "no response"}, "no response"),
        ({"status": None, "error_type": "dropped"}, "never sent"),
    ],
)
def test_what_the_client_got(cause: dict[str, Any], said: str) -> None:
    assert answer(cause) == said


def test_a_message_that_repeats_the_title_is_left_out() -> None:
    assert message({"error_type": "unfinished", "message": "unfinished"}) is None
    assert message({"error_type": "KeyError", "message": "'token'"}) == "'token'"


def test_dropped_arrivals_are_not_taken_for_failed_requests() -> None:
    causes = [{"error_type": "dropped", "requests": 50}, {"error_type": "KeyError", "requests": 2}]
    verdict = judge(summary(client={"requests": 100, "failures": 2, "dropped": 50}, root_causes=causes))
    assert verdict.detail == (
        "2 of 100 requests failed (2.00 %), all of them: KeyError; 50 arrivals found no free slot and were never sent"
    )


@pytest.mark.parametrize(("dropped", "of"), [(50, "all that failed or were dropped"), (0, "all that failed")])
def test_a_cause_says_what_its_share_is_one_of(dropped: int, of: str) -> None:
    (cause,) = causes({"client": {"dropped": dropped}, "root_causes": [{"error_type": "KeyError", "requests": 2}]})
    assert cause["of"] == of


def test_dropped_arrivals_alone_are_said() -> None:
    verdict = judge(summary("pass", client={"requests": 100, "failures": 0, "dropped": 1}))
    assert verdict.detail == "1 arrival found no free slot and was never sent"


def test_an_aborted_run_says_by_what_and_when() -> None:
    run = {"complete": True, "aborted": {"threshold": "vote: error_rate < 20%", "value": 0.4, "at": 1795255270.0}}
    verdict = judge(summary("fail", "pass", run=run))
    said = "Failed: aborted by vote: error_rate < 20% at 10:01:10.000 UTC; 1 of 2 thresholds broken"
    assert (verdict.kind, verdict.headline, verdict.exit_code) == ("failed", said, 1)
    assert judge(summary("fail", run=run | {"complete": False})).exit_code == 3


@pytest.mark.parametrize(("ended_at", "took_s"), [(15.5, 5.5), (10.0, 0.0), (None, None), (9.0, None)])
def test_a_run_that_ended_before_it_began_has_no_duration(ended_at, took_s):
    assert duration_s({"started_at": 10.0, "ended_at": ended_at}) == took_s
