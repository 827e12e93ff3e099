from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from analysis import cloudwatch_metrics
from analysis.cloudwatch_metrics import METRICS
from tests.analysis.fake_logs import FakeTime

START = 1_791_000_000  # 12 s into a minute
MINUTE = datetime.fromtimestamp(START // 60 * 60, UTC)
FUNCTIONS = {"place-vote": "swarmscope-place-vote"}


class FakeCloudWatch:
    """Answers each call with the next of the given numbers of invocations."""

    def __init__(self, *invocations: float | Exception) -> None:
        self.invocations = list(invocations)
        self.asked: list[dict[str, Any]] = []

    def get_metric_data(self, **arguments: Any) -> dict[str, Any]:
        self.asked.append(arguments)
        number = self.invocations.pop(0) if len(self.invocations) > 1 else self.invocations[0]
        if isinstance(number, Exception):
            raise number
        values = {"Invocations": number, "Throttles": 3.0, "ConcurrentExecutions": 7.0}
        results = []
        for query in arguments["MetricDataQueries"]:
            metric = query["MetricStat"]["Metric"]["MetricName"]
            present = [values[metric]] if metric in values else []
            results.append({"Id": query["Id"], "Timestamps": [MINUTE] * len(present), "Values": present})
        return {"MetricDataResults": results}


def pull(
    client: FakeCloudWatch, expected: int, time: FakeTime, until: float = 30.0
) -> cloudwatch_metrics.FunctionMetrics:
    return cloudwatch_metrics.pull(
        client,
        FUNCTIONS,
        START,
        START + 10,
        expected={"place-vote": expected},
        until=time.now + until,
        poll_s=5.0,
        clock=time.clock,
        sleep=time.sleep,
    )


def test_the_window_is_whole_minutes_around_the_run() -> None:
    client = FakeCloudWatch(1.0)
    cloudwatch_metrics.fetch(client, FUNCTIONS, START, START + 60)
    assert client.asked[0]["StartTime"] == MINUTE
    assert (client.asked[0]["EndTime"] - MINUTE).total_seconds() == 120


def test_a_metric_without_data_points_is_none_and_not_zero() -> None:
    metrics = cloudwatch_metrics.fetch(FakeCloudWatch(5.0), FUNCTIONS, START, START + 10)
    assert metrics.functions["place-vote"]["Invocations"] == 5.0
    assert metrics.functions["place-vote"]["Throttles"] == 3.0
    assert metrics.functions["place-vote"]["Errors"] is None
    assert set(metrics.functions["place-vote"]) == set(METRICS)
    assert metrics.as_dict()["series"]["place-vote"]["Throttles"] == [(MINUTE.timestamp(), 3.0)]


def test_sums_are_added_maxima_compared_and_averages_left_to_the_series() -> None:
    client = boto3.client("cloudwatch", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    names = list(METRICS)
    later = datetime.fromtimestamp(MINUTE.timestamp() + 60, UTC)
    results = [
        {"Id": f"m{names.index(name)}", "Timestamps": [later, MINUTE], "Values": [2.0, 3.0]}
        for name in ("Invocations", "ConcurrentExecutions", "Duration")
    ]
    with Stubber(client) as stub:
        stub.add_response("get_metric_data", {"MetricDataResults": results[:2], "NextToken": "t"})
        stub.add_response("get_metric_data", {"MetricDataResults": results[2:]})
        metrics = cloudwatch_metrics.fetch(client, FUNCTIONS, START, START + 100)
    found = metrics.functions["place-vote"]
    assert (found["Invocations"], found["ConcurrentExecutions"], found["Duration"]) == (5.0, 3.0, None)
    assert metrics.series["place-vote"]["Duration"] == [(MINUTE.timestamp(), 3.0), (later.timestamp(), 2.0)]


def test_functions_given_by_arn_are_asked_for_by_name() -> None:
    client = FakeCloudWatch(1.0)
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:place-vote:7"
    cloudwatch_metrics.fetch(client, {"place-vote": arn}, START, START + 10)
    dimensions = client.asked[0]["MetricDataQueries"][0]["MetricStat"]["Metric"]["Dimensions"]
    assert dimensions == [{"Name": "FunctionName", "Value": "place-vote"}]


def test_more_than_five_hundred_metrics_take_several_calls() -> None:
    client = FakeCloudWatch(1.0)
    functions = {f"f{number}": f"f{number}" for number in range(60)}
    metrics = cloudwatch_metrics.fetch(client, functions, START, START + 10)
    assert [len(asked["MetricDataQueries"]) for asked in client.asked] == [500, 60 * len(METRICS) - 500]
    assert all(found["Invocations"] == 1.0 for found in metrics.functions.values())


def test_it_waits_until_the_metrics_have_caught_up_with_the_logs() -> None:
    time = FakeTime(START)
    metrics = pull(FakeCloudWatch(2.0, 9.0, 10.0), 10, time)
    assert metrics.functions["place-vote"]["Invocations"] == 10.0
    assert metrics.warnings == [] and time.slept == [5.0, 5.0]


def test_metrics_that_stay_behind_are_told() -> None:
    metrics = pull(FakeCloudWatch(2.0), 10, FakeTime(START))
    assert (
        len(metrics.warnings) == 1
        and "CloudWatch counts 2 invocations of place-vote and its logs 10" in metrics.warnings[0]
    )


def test_more_than_the_logs_hold_is_no_reason_to_wait() -> None:
    time = FakeTime(START)
    assert pull(FakeCloudWatch(12.0), 10, time).warnings == []
    assert time.slept == []


def test_metrics_that_cannot_be_had_are_none_and_told() -> None:
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetMetricData")
    metrics = pull(FakeCloudWatch(refused), 10, FakeTime(START))
    assert metrics.functions["place-vote"] == dict.fromkeys(METRICS)
    assert "throttles are not known" in metrics.warnings[0]


@pytest.mark.parametrize("expected", [0, 5])
def test_no_data_at_all_is_none(expected: int) -> None:
    class Nothing(FakeCloudWatch):
        def get_metric_data(self, **arguments: Any) -> dict[str, Any]:
            return {"MetricDataResults": []}

    metrics = pull(Nothing(0.0), expected, FakeTime(START))
    assert metrics.functions["place-vote"]["Invocations"] is None
    assert bool(metrics.warnings) == bool(expected)
