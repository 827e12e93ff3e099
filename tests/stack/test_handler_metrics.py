"""The line of metrics that a handler writes: its form, what is in it, and that it costs nothing where it is off."""

import gc
import sys

import pytest
from jsonschema import Draft202012Validator

NAME = {"type": "string", "minLength": 1, "maxLength": 1024}
EMBEDDED_METRIC_FORMAT = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 0},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": NAME,
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "array", "maxItems": 30, "items": {**NAME, "maxLength": 250}},
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": NAME,
                                        "Unit": {"enum": ["Milliseconds", "Count", "None"]},
                                        "StorageResolution": {"enum": [1, 60]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}
"""Amazon CloudWatch user guide, "Specification: Embedded metric format"; of the units those that we use."""

VOTE = {"vote_id": "lunch", "token": "t-1", "vote_choice": "soup"}
ENVIRONMENT = {"VOTES_STREAM": "demo-votes", "VOTES_TABLE": "demo-votes"}


def metrics_lines(log):
    return [line for line in log() if "_aws" in line]


@pytest.fixture
def vote(load, clients):
    clients.answers["put_record"] = {"SequenceNumber": "49-1", "ShardId": "shardId-000000000000"}
    return load("vote", METRICS_NAMESPACE="Votes", **ENVIRONMENT)


@pytest.fixture
def shared(load, monkeypatch):
    """The module itself, with a namespace."""
    load("vote", METRICS_NAMESPACE="Votes", **ENVIRONMENT)
    import handler_metrics

    return handler_metrics


def test_a_line_is_of_the_form_that_cloudwatch_reads(vote, context, proxy, log):
    vote.place_vote(proxy(VOTE), context)
    (line,) = metrics_lines(log)
    Draft202012Validator(EMBEDDED_METRIC_FORMAT).validate(line)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Votes"
    # Every metric and every dimension that is announced is there, and is of its type.
    assert all(isinstance(line[metric["Name"]], int | float) for metric in directive["Metrics"])
    assert all(isinstance(line[name], str) for names in directive["Dimensions"] for name in names)


def test_an_invocation_is_a_success_with_its_business_figure(vote, context, proxy, log):
    vote.place_vote(proxy(VOTE), context)
    (line,) = metrics_lines(log)
    assert (line["function"], line["Success"], line["Failure"], line["VotesAccepted"]) == ("place-vote", 1, 0, 1)


def test_an_exception_is_a_failure_and_goes_on(vote, clients, context, proxy, log):
    clients.answers["put_record"] = RuntimeError("full")
    with pytest.raises(RuntimeError, match="full"):
        vote.place_vote(proxy(VOTE), context)
    (line,) = metrics_lines(log)
    assert (line["Success"], line["Failure"]) == (0, 1)
    assert "VotesAccepted" not in line


def test_what_was_added_does_not_stay_for_the_next_invocation(vote, context, proxy, log):
    vote.place_vote(proxy(VOTE), context)
    vote.place_vote(proxy("no JSON"), context)
    first, second = metrics_lines(log)
    assert (first.get("VotesAccepted"), first.get("VotesRefused")) == (1, None)
    assert (second.get("VotesAccepted"), second.get("VotesRefused")) == (None, 1)


def test_the_duration_is_the_handlers(shared, context, log):
    times = iter([5.0, 5.25])
    metrics = shared.HandlerMetrics("f", clock=lambda: next(times), now=lambda: 1_800_000_000.5)
    metrics.measured(lambda event, context: None)({}, context)
    (line,) = metrics_lines(log)
    assert (line["HandlerDuration"], line["_aws"]["Timestamp"]) == (250.0, 1_800_000_000_500)


def test_a_line_never_has_more_metrics_than_cloudwatch_takes(shared, context, log):
    metrics = shared.HandlerMetrics("f")

    def handler(event, context):
        for number in range(200):
            metrics.add(f"Metric{number}", 1)

    metrics.measured(handler)({}, context)
    (line,) = metrics_lines(log)
    Draft202012Validator(EMBEDDED_METRIC_FORMAT).validate(line)
    assert len(line["_aws"]["CloudWatchMetrics"][0]["Metrics"]) == shared.MAX_METRICS


def test_a_line_costs_an_invocation_few_calls(shared, context, log):
    """Some 10 us on an ordinary core. Counted are calls, which are as many on every machine: one import, client or file
    would be hundreds."""
    metrics, calls = shared.HandlerMetrics("f"), []
    handler = metrics.measured(lambda event, context: metrics.add("Votes", 1))
    handler({}, context)
    gc.disable()  # what others left to be cleared away is not this line's
    sys.setprofile(lambda frame, event, called: calls.append(event) if event in ("call", "c_call") else None)
    try:
        handler({}, context)
    finally:
        sys.setprofile(None)
        gc.enable()
    assert len(metrics_lines(log)) == 2
    assert len(calls) < 60


def test_without_a_namespace_the_handler_is_left_as_it_is(load, context, log):
    load("vote", METRICS_NAMESPACE="", **ENVIRONMENT)
    import handler_metrics

    def handler(event, context):
        metrics.add("Votes", 1)

    metrics = handler_metrics.HandlerMetrics("f")
    assert metrics.measured(handler) is handler
    handler({}, context)
    assert metrics_lines(log) == []
