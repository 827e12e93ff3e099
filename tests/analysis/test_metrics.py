"""Metrics against their limits, and against what logs and client say."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.metrics import Expectations, Reference, disagreements, expectations, judge_metrics
from config.metric_limits import load_metric_limits

LIMITS = load_metric_limits()


def exactly(number: float, words: str = "") -> Reference:
    return Reference(number, number, words)


def judged(group: str, name: str, value: float | None, others: dict[str, float] | None = None, **known: float) -> Any:
    """The row of one metric. `known`: what is known of the run, exactly."""
    values = {"Invocations": 1000.0, **(others or {}), name: value}
    references = {key: exactly(number, f"the {key}") for key, number in known.items()}
    metrics: dict[str, Any] = {group: {"f": values} if group == "functions" else values}
    expected = Expectations(
        functions={"f": references}, account=references, api={name: references["client"]} if "client" in known else {}
    )
    (row,) = [one for one in judge_metrics(metrics, expected, LIMITS) if one["name"] == name]
    return row


@pytest.mark.parametrize(
    ("group", "name", "value", "known", "verdict"),
    [
        ("functions", "Invocations", 10, {"logs": 10}, "ok"),
        ("functions", "Invocations", 11, {"logs": 10}, "target missed"),
        ("functions", "Duration", 7_499, {"timeout": 15_000}, "ok"),
        ("functions", "Duration", 7_500, {"timeout": 15_000}, "target missed"),
        ("functions", "Duration", 12_000, {"timeout": 15_000}, "target missed"),
        ("functions", "Duration", 12_001, {"timeout": 15_000}, "alert"),
        ("functions", "Duration", 7_499, {}, "no data"),
        ("functions", "Errors", 0, {}, "ok"),
        ("functions", "Errors", 1, {}, "target missed"),
        ("functions", "Errors", 10, {}, "target missed"),
        ("functions", "Errors", 11, {}, "alert"),
        ("functions", "Throttles", 0, {}, "ok"),
        ("functions", "Throttles", 1, {}, "alert"),
        ("functions", "Throttles", None, {}, "no data"),
        ("functions", "ConcurrentExecutions", 79, {"concurrency": 100}, "ok"),
        ("functions", "ConcurrentExecutions", 80, {"concurrency": 100}, "target missed"),
        ("functions", "ConcurrentExecutions", 91, {"concurrency": 100}, "alert"),
        ("functions", "DeadLetterErrors", 1, {}, "alert"),
        ("functions", "DeadLetterErrors", None, {}, "no data"),
        ("functions", "IteratorAge", 999, {}, "ok"),
        ("functions", "IteratorAge", 1_000, {}, "target missed"),
        ("functions", "IteratorAge", 5_001, {}, "alert"),
        ("functions", "AsyncEventsReceived", 5, {"events": 5}, "ok"),
        ("functions", "AsyncEventsReceived", 5, {"events": 6}, "target missed"),
        ("functions", "AsyncEventAge", 60_000, {}, "alert"),
        ("account", "ConcurrentExecutions", 901, {"concurrency": 1_000}, "alert"),
        ("account", "UnreservedConcurrentExecutions", 899, {"unreserved": 1_000}, "ok"),
        ("account", "UnreservedConcurrentExecutions", 900, {"unreserved": 1_000}, "target missed"),
        ("account", "UnreservedConcurrentExecutions", 951, {"unreserved": 1_000}, "alert"),
        ("api", "Count", 7, {"client": 7}, "ok"),
        ("api", "5XXError", 7, {"client": 6}, "target missed"),
        ("api", "Latency", 50, {"client": 50}, "ok"),
        ("api", "Latency", 51, {"client": 50}, "target missed"),
    ],
)
def test_verdicts(group, name, value, known, verdict):
    assert judged(group, name, value, **known)["verdict"] == verdict


def test_a_row_says_what_it_was_held_against():
    row = judged("functions", "Duration", 300.0, timeout=15_000)
    assert (row["value"], row["reference"], row["share"]) == (300.0, 15_000, pytest.approx(0.02))
    assert (row["target"], row["alert"]) == ("< 50% of the timeout", "> 80% of the timeout")
    assert (row["function"], row["group"], row["statistic"]) == ("f", "functions", "greatest")
    assert judged("account", "UnreservedConcurrentExecutions", 30, unreserved=1000)["left"] == 970
    assert judged("functions", "Invocations", 30, logs=30)["target"] == "matches the logs"


def test_a_request_that_got_no_answer_may_have_reached_the_api():
    expected = Expectations(api={"Count": Reference(9, 11, "the client")})
    verdicts = {
        count: judge_metrics({"api": {"Count": count}}, expected, LIMITS)[0]["verdict"] for count in (8, 9, 11, 12)
    }
    assert verdicts == {8: "target missed", 9: "ok", 11: "ok", 12: "target missed"}


def test_a_function_that_was_never_called_has_no_rows():
    metrics = {"functions": {"f": {"Invocations": None, "Errors": None}}}
    assert judge_metrics(metrics, Expectations(functions={"f": {"logs": exactly(0)}}), LIMITS) == []
    assert judge_metrics(metrics, Expectations(functions={"f": {"logs": exactly(3)}}), LIMITS) != []


def test_metrics_and_logs_that_disagree_are_told_with_both_figures():
    metrics = {
        "functions": {
            "more": {"Invocations": 12.0, "Errors": 1.0},
            "less": {"Invocations": 9.0, "Errors": 1.0},
            "none": {"Invocations": None, "Errors": None},
            "same": {"Invocations": 10.0, "Errors": 1.0},
            "idle": {"Invocations": None, "Errors": None},
        },
        "api": {"Count": 50.0, "4XXError": 3.0, "5XXError": 0.0, "Latency": 5.0},
    }
    logs = dict.fromkeys(("more", "less", "none", "same"), 10) | {"idle": 0}
    expected = Expectations(
        functions={name: {"logs": exactly(number)} for name, number in logs.items()},
        errors={name: min(number, 1) for name, number in logs.items()},
        api={
            "Count": Reference(47, 48, ""),
            "4XXError": Reference(3, 4, ""),
            "5XXError": exactly(1),
            "Latency": exactly(1),
        },
    )
    late = "its metrics may not all have arrived, and throttles may be incomplete"
    others = "calls of others in the run's first or last minute are among them"
    assert list(disagreements(metrics, expected)) == [
        f"CloudWatch counts 12 invocations of more, its logs 10: {others}",
        f"CloudWatch counts 9 invocations of less, its logs 10: {late}",
        f"CloudWatch counts no invocations of none, its logs 10: {late}",
        f"CloudWatch counts no errors of none, its logs 1: {late}",
        f"CloudWatch counts 50 requests of the API, the client 47 to 48: {others}",
        f"CloudWatch counts 0 5xx answers of the API, the client 1: {late}",
    ]


def test_an_api_that_cloudwatch_knows_nothing_of_is_told():
    """What it has no data point of, and the client saw none of either, is no disagreement."""
    metrics = {"api": dict.fromkeys(("Count", "4XXError", "5XXError", "Latency"))}
    seen = {"Count": Reference(500, 501, ""), "4XXError": exactly(0), "5XXError": exactly(2), "Latency": exactly(9)}
    late = "its metrics may not all have arrived, and throttles may be incomplete"
    assert list(disagreements(metrics, Expectations(api=seen))) == [
        f"CloudWatch counts no requests of the API, the client 500 to 501: {late}",
        f"CloudWatch counts no 5xx answers of the API, the client 2: {late}",
    ]


@pytest.mark.parametrize(
    ("counted", "warning"),
    [
        (
            12.0,
            "CloudWatch counts 12 asynchronous events of f, its logs 10: events that no invocation took, or of others "
            "in the run's first or last minute, are among them",
        ),
        (9.0, "CloudWatch counts 9 asynchronous events of f, its logs 10: its metrics may not all have arrived"),
        (10.0, None),
        (None, None),
    ],
)
def test_asynchronous_events_that_the_logs_do_not_know_are_told(counted, warning):
    expected = Expectations(functions={"f": {"events": exactly(10)}})
    told = list(disagreements({"functions": {"f": {"AsyncEventsReceived": counted}}}, expected))
    assert told == ([] if warning is None else [warning])


def test_without_metrics_there_is_nothing_to_disagree():
    expected = Expectations(functions={"f": {"logs": exactly(3)}}, api={"Count": exactly(3)})
    assert list(disagreements({}, expected)) == []
    assert judge_metrics({}, expected, LIMITS) == []


DEPLOYED = {
    "functions": {
        "place-vote": {"timeout_s": 15, "reserved_concurrency": None},
        "shop-decrypt": {"timeout_s": 60, "reserved_concurrency": 20},
    },
    "account": {"concurrency": 1000, "unreserved_concurrency": 980},
}


def test_what_is_known_without_cloudwatch(build):
    build.request(lambda_request_id="sync", ms=40.0)
    build.request(status=502, ms=60.0)
    build.request(status=None, ms=None)
    build.request(status=404, ms=20.0)
    build.request(name="place-vote", method="Invoke", status=202, flow="direct", lambda_request_id="queued")
    build.invocation(request_id="sync")
    for _ in range(3):  # an event and its two retries
        build.invocation(request_id="queued")
    build.invocation(request_id="delivered", function="shop-decrypt")
    functions = {"place-vote": {"invocations": 4, "errors": 2}, "shop-decrypt": {"invocations": 1, "errors": 0}}
    metrics = {"functions": {name: {"AsyncEventsReceived": 1.0} for name in functions}}
    found = expectations(build.joined(), functions, metrics, DEPLOYED)
    vote, decrypt = found.functions["place-vote"], found.functions["shop-decrypt"]
    assert (vote["logs"].least, vote["timeout"].least, vote["concurrency"].least, vote["events"].least) == (
        4,
        15_000,
        1000,
        1,
    )
    assert (decrypt["events"].least, decrypt["concurrency"].least) == (1, 20)
    assert found.errors == {"place-vote": 2, "shop-decrypt": 0}
    assert (found.account["concurrency"].least, found.account["unreserved"].least) == (1000, 980)
    # Of the API alone: three answers, and one request that may have reached it.
    assert (found.api["Count"].least, found.api["Count"].most) == (3, 4)
    assert (found.api["4XXError"].least, found.api["5XXError"].least) == (1, 1)
    assert found.api["Latency"].least == pytest.approx(40.0)


def test_events_of_a_function_that_no_log_knows_of_are_held_against_none(build):
    build.request()
    metrics = {"functions": {"shop-decrypt": {"AsyncEventsReceived": 5.0}}}
    found = expectations(build.joined(), {"shop-decrypt": {"invocations": 0, "errors": 0}}, metrics, {})
    assert found.functions["shop-decrypt"]["events"].least == 0
    assert len(list(disagreements(metrics, found))) == 1


def test_an_unknown_deployment_leaves_the_counts(build):
    build.request()
    found = expectations(build.joined(), {"place-vote": {"invocations": 4, "errors": 2}}, {}, {})
    assert set(found.functions["place-vote"]) == {"logs"}
    assert found.account == {}
