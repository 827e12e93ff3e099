"""The file of flow custom: what it may say, and how what is wrong with it is told."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from config.custom_flow import CustomFlow, custom_flow_from, load_custom_flow
from config.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom" / "flow.toml"
FLOW = {"requests": [{"api": {"path": "/orders"}, "body": {"a": 1}}]}


def problems(**changes: object) -> list[str]:
    """What is wrong with FLOW once these keys of its first request, or with `top__` of itself, are changed."""
    document = copy.deepcopy(FLOW)
    for key, value in changes.items():
        table = document if key.startswith("top__") else document["requests"][0]
        table[key.removeprefix("top__")] = value
    with pytest.raises(ConfigError) as refused:
        custom_flow_from(document, "flow.toml")
    return refused.value.problems


def test_the_example_is_sound():
    flow = load_custom_flow(EXAMPLE).flow
    assert [request.kind for request in flow.requests] == ["api", "api", "invoke", "queue", "topic", "bus", "stream"]
    assert flow.calls_api
    assert flow.services == ["lambda", "sqs", "sns", "events", "kinesis"]
    assert flow.all_functions == ["queue-consumer", "topic-consumer", "bus-consumer", "stream-consumer"]


def test_what_a_worker_is_told_is_the_same_flow():
    flow = load_custom_flow(EXAMPLE).flow
    assert CustomFlow.model_validate(flow.model_dump(mode="json")) == flow


def test_a_single_status_or_path_needs_no_list():
    (request,) = custom_flow_from({"requests": [{"api": {"path": "/"}, "status": 201, "has": "$.a"}]}, "f").requests
    assert (request.status, request.has) == ((201,), ("$.a",))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weigth": 2}, "flow.toml: requests.1.weigth: unknown key"),
        ({"weight": 0}, "flow.toml: requests.1.weight: Input should be greater than 0"),
        ({"invoke": {"function": "f"}}, "requests.1: one of api, invoke, queue, topic, bus, stream says what it calls"),
        ({"api": None}, "it has none"),
        ({"api": {"path": "orders"}}, "flow.toml: requests.1.api.path:"),
        (
            {"api": {"path": "/a b/{{ row.x }}"}},
            "flow.toml: requests.1.api.path: '/a b/{{ row.x }}' must be percent-encoded",
        ),
        ({"api": {"path": "/", "headers": {"a b": "c"}}}, "'a b' is no name of a header"),
        ({"api": {"path": "/", "headers": {"Host": "c"}}}, "'Host' is written by the load generator itself"),
        ({"body": [1]}, 'requests.1: body: a table, or one expression such as "{{ row }}"'),
        ({"under": "fast"}, "flow.toml: requests.1.under: 'fast' is not a time span"),
        ({"payload": "rows"}, "requests.1.payload: no payload 'rows'; there are none"),
        (
            {"api": None, "queue": {"url": "u", "batch": 11}},
            "requests.1.queue.batch: Input should be less than or equal",
        ),
        ({"api": None, "stream": {"name": "s", "batch": 501}}, "requests.1.stream.batch:"),
        ({"api": None, "bus": {"name": "b", "source": "s"}}, "flow.toml: requests.1.bus.detail_type: Field required"),
        ({"api": None, "queue": {"url": "u"}, "status": 200}, "status: for an api"),
        ({"api": None, "queue": {"url": "u"}, "has": "$.a"}, "has: nothing answers that could be looked into"),
        (
            {"api": None, "invoke": {"function": "f", "invocation_type": "Event"}, "no_error_member": True},
            "no_error_member:",
        ),
        ({"top__requests": []}, "flow.toml: requests: there is none"),
        ({"top__environment": ["A-B"]}, "no name of a variable: 'A-B'"),
        ({"top__payloads": {"rows": {"file": "rows.csv"}}}, "payloads.rows: no request takes its rows"),
        ({"top__payloads": {"rows": {"file": "rows.csv", "order": "shuffled"}}}, "flow.toml: payloads.rows.order:"),
        ({"top__chains": {"c": {"requests": ["x"], "functions": ["f"]}}}, "chains.c.requests: no request is named 'x'"),
    ],
)
def test_what_is_wrong_names_the_file_and_the_key(changes, said):
    (problem,) = problems(**changes)
    assert problem.startswith("flow.toml: ")
    assert said in problem


def test_all_problems_are_told_together():
    assert len(problems(weight=-1, under="x", top__surprise=1)) == 3


def test_a_file_that_is_not_there_or_not_toml(tmp_path):
    with pytest.raises(ConfigError, match=r"CUSTOM_FLOW: .*gone\.toml: no such file"):
        load_custom_flow(tmp_path / "gone.toml")
    (tmp_path / "flow.toml").write_text("requests = [")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_custom_flow(tmp_path / "flow.toml")


def test_functions_are_reported_under_the_names_that_are_known():
    flow = custom_flow_from({**FLOW, "functions": ["stack-vote", "arn:aws:lambda:eu-west-1:1:function:mine:live"]}, "f")
    known = {"place-vote": "arn:aws:lambda:eu-west-1:1:function:stack-vote"}
    assert flow.with_functions(known) == known | {"mine": "arn:aws:lambda:eu-west-1:1:function:mine:live"}
    assert [flow.logical_name(name, known) for name in ("place-vote", "stack-vote", "mine")] == [
        "place-vote",
        "place-vote",
        "mine",
    ]
