"""Log lines that are metrics, and what a function's log makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.embedded_metrics import metric_values
from tests.sandbox.lab import Lab, function


def document(**changes: Any) -> dict[str, Any]:
    directive = {
        "Namespace": "Shop",
        "Dimensions": [["kind"], []],
        "Metrics": [{"Name": "Sales", "Unit": "Count"}],
    }
    return {
        "_aws": {"Timestamp": 1_800_000_000_500, "CloudWatchMetrics": [directive]},
        "kind": "cash",
        "Sales": 2,
        **changes,
    }


def test_each_set_of_dimensions_is_a_metric():
    assert list(metric_values(json.dumps(document()))) == [
        ("Shop", "Sales", (("kind", "cash"),), 1_800_000_000.5, 2.0),
        ("Shop", "Sales", (), 1_800_000_000.5, 2.0),
    ]


def test_a_list_holds_several_values():
    values = list(metric_values(json.dumps(document(Sales=[1, 2, 3.5]))))
    assert [value for *_, dimensions, _, value in values if dimensions] == [1.0, 2.0, 3.5]


@pytest.mark.parametrize(
    "line",
    [
        "an ordinary line",
        '{"level": "INFO"}',
        "[INFO] " + json.dumps(document()),
        json.dumps(document(Sales="many")),
        json.dumps({"_aws": {}}),
        json.dumps({"_aws": {"Timestamp": 1, "CloudWatchMetrics": [{"Namespace": "x", "Dimensions": [["gone"]]}]}}),
        "[]",
    ],
)
def test_what_breaks_the_form_is_an_ordinary_line(line):
    assert list(metric_values(line)) == []


CODE = f"""
def handle(event, context):
    print({json.dumps(json.dumps(document()))})
    print("done")
"""


def test_a_line_that_a_function_prints_is_logged_and_counted():
    lab = Lab(function(code=CODE))
    lab.invoke()
    assert lab.metrics.of("Sales", ("kind", "cash")) == [2.0]
    assert any('"_aws"' in message for message in lab.logs.messages())
