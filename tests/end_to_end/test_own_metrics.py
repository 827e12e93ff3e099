"""A metric that a function prints comes back out of CloudWatch, into what the report shows."""

from __future__ import annotations

import json

import orjson
import pytest

from analysis import cloudwatch_metrics, tables
from sandbox.metrics import Metrics
from tests.sandbox.boto3_in_process import answered_by, boto3_client
from tests.sandbox.lab import START, Lab, function

CODE = """
import json

def handle(event, context):
    print(json.dumps({
        "_aws": {"Timestamp": event["at_ms"], "CloudWatchMetrics": [
            {"Namespace": "Shop", "Dimensions": [["kind"]], "Metrics": [{"Name": "Turnover", "Unit": "None"}]}]},
        "kind": event["kind"],
        "Turnover": event["turnover"],
    }))
"""


@pytest.fixture
def read() -> cloudwatch_metrics.Metrics:
    lab = Lab(function(code=CODE))
    for kind, turnover in (("cash", 4), ("cash", 10), ("card", 7)):
        event = {"at_ms": START * 1000, "kind": kind, "turnover": turnover}
        lab.invoke(payload=json.dumps(event).encode())
    metrics = Metrics()
    for value in lab.metrics.values:
        metrics.add(*value)
    client = boto3_client(
        answered_by(lambda action, body, region: metrics.handle(action, orjson.loads(body), START + 60)), "cloudwatch"
    )
    watched, warnings = cloudwatch_metrics.custom_metrics(client, ["Shop"])
    assert warnings == []
    return cloudwatch_metrics.fetch(client, watched, START, START + 60)


def test_samples_sums_and_extremes_are_those_that_were_printed(read):
    found = {one["dimensions"]["kind"]: one for one in read.custom}
    cash, card = found["cash"], found["card"]
    assert (cash["count"], cash["sum"], cash["mean"], cash["min"], cash["max"]) == (2, 14, 7, 4, 10)
    assert (card["count"], card["sum"]) == (1, 7)


def test_they_stand_in_the_report(read):
    rows = tables.custom_metrics({"custom_metrics": read.custom}).rows
    assert {row.cells[:5] for row in rows} == {
        ("Shop", "Turnover", "kind=cash", "2", "14"),
        ("Shop", "Turnover", "kind=card", "1", "7"),
    }
