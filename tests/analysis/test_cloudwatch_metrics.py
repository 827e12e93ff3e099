from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from analysis import cloudwatch_metrics
from analysis.cloudwatch_metrics import Metrics, Patience, watched_of
from config.metric_limits import METRICS
from tests.analysis.fake_logs import FakeTime

START = 1_791_000_000  # 12 s into a minute
MINUTE = datetime.fromtimestamp(START // 60 * 60, UTC)
MANIFEST = {"functions": {"place-vote": "swarmscope-place-vote"}}
REST = {"api": {"kind": "rest", "id": "a1b2", "name": "swarmscope", "stage": "prod"}}
OF_FUNCTIONS = METRICS["functions"]


class FakeCloudWatch:
    """Answers each call with the next of the given numbers of invocations, and knows what the others count."""

    def __init__(self, *invocations: float | Exception, others: Mapping[str, float] | None = None) -> None:
        self.invocations = list(invocations)
        self.others = {"Throttles": 3.0, "ConcurrentExecutions": 7.0} if others is None else others
        self.broken: Mapping[str, str] = {}
        """Metric -> the StatusCode of the first answer; of all others what stands in `broken_later`."""
        self.broken_later: Mapping[str, str] = {}
        self.asked: list[dict[str, Any]] = []
        self.listed: list[dict[str, Any]] = []

    def get_metric_data(self, **arguments: Any) -> dict[str, Any]:
        self.asked.append(arguments)
        number = self.invocations.pop(0) if len(self.invocations) > 1 else self.invocations[0]
        if isinstance(number, Exception):
            raise number
        values = {"Invocations": number, **self.others}
        results = []
        for query in arguments["MetricDataQueries"]:
            metric = query["MetricStat"]["Metric"]["MetricName"]
            present = [values[metric]] if metric in values else []
            results.append({"Id": query["Id"], "Timestamps": [MINUTE] * len(present), "Values": present})
            if metric in self.broken:
                results[-1]["StatusCode"] = self.broken[metric]
        self.broken = self.broken_later
        return {"MetricDataResults": results}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_metrics"
        return self

    def paginate(self, **arguments: Any) -> list[dict[str, Any]]:
        found = [metric for metric in self.listed if metric["Namespace"] == arguments["Namespace"]]
        return [{"Metrics": found[:1]}, {"Metrics": found[1:]}]


def fetch(client: Any, ended_at: float = START + 10, manifest: Any = MANIFEST, deployment: Any = None) -> Metrics:
    return cloudwatch_metrics.fetch(client, watched_of(manifest, deployment or {}), START, ended_at)


def pull(client: FakeCloudWatch, expected: int, time: FakeTime, until: float = 30.0, **more: Any) -> Metrics:
    options: dict[str, Any] = {"answered": 0, "deployment": {}, **more}
    return cloudwatch_metrics.pull(
        client,
        watched_of(MANIFEST, options.pop("deployment")),
        START,
        START + 10,
        expected={"place-vote": expected},
        patience=Patience(until=time.now + until, poll_s=5.0, clock=time.clock, sleep=time.sleep),
        **options,
    )


def asked(client: FakeCloudWatch, name: str) -> list[dict[str, Any]]:
    """MetricStat of every query of a metric."""
    queries = [query["MetricStat"] for arguments in client.asked for query in arguments["MetricDataQueries"]]
    return [query for query in queries if query["Metric"]["MetricName"] == name]


def test_the_window_is_whole_minutes_around_the_run() -> None:
    client = FakeCloudWatch(1.0)
    fetch(client, START + 60)
    assert client.asked[0]["StartTime"] == MINUTE
    assert (client.asked[0]["EndTime"] - MINUTE).total_seconds() == 120


def test_a_metric_without_data_points_is_none_and_not_zero() -> None:
    metrics = fetch(FakeCloudWatch(5.0))
    found = metrics.values["functions"]["place-vote"]
    assert (found["Invocations"], found["Throttles"], found["Errors"]) == (5.0, 3.0, None)
    assert set(found) == set(OF_FUNCTIONS)
    assert metrics.as_dict()["series"]["place-vote"]["Throttles"] == [(MINUTE.timestamp(), 3.0)]


def test_minutes_of_several_pages_become_sums_maxima_and_means() -> None:
    client = boto3.client("cloudwatch", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    watched = watched_of({}, REST)
    numbers = {(one.name, statistic): number for number, (one, statistic) in enumerate(
        (one, statistic) for one in watched for statistic in one.statistics
    )}  # fmt: skip
    later = datetime.fromtimestamp(MINUTE.timestamp() + 60, UTC)

    def minutes(name: str, statistic: str, first: float, second: float) -> dict[str, Any]:
        return {"Id": f"m{numbers[name, statistic]}", "Timestamps": [later, MINUTE], "Values": [second, first]}

    with Stubber(client) as stub:
        stub.add_response(
            "get_metric_data",
            {
                "MetricDataResults": [minutes("Count", "Sum", 30, 10), minutes("Latency", "Sum", 900, 50)],
                "NextToken": "t",
            },
        )
        stub.add_response("get_metric_data", {"MetricDataResults": [minutes("Latency", "SampleCount", 30, 10)]})
        metrics = cloudwatch_metrics.fetch(client, watched, START, START + 100)
    api = metrics.as_dict()["api"]
    # 950 ms over 40 requests, and not the mean of 30 ms and 5 ms
    assert (api["Count"], api["Latency"], api["IntegrationLatency"]) == (40.0, pytest.approx(23.75), None)
    assert (api["LatencySamples"], api["IntegrationLatencySamples"]) == (40.0, None)


def test_functions_given_by_arn_are_asked_for_by_name() -> None:
    client = FakeCloudWatch(1.0)
    fetch(client, manifest={"functions": {"place-vote": "arn:aws:lambda:eu-west-1:123456789012:function:place-vote:7"}})
    assert asked(client, "Invocations")[0]["Metric"]["Dimensions"] == [{"Name": "FunctionName", "Value": "place-vote"}]


def test_more_than_five_hundred_metrics_take_several_calls() -> None:
    client = FakeCloudWatch(1.0)
    metrics = fetch(client, manifest={"functions": {f"f{number}": f"f{number}" for number in range(60)}})
    account = len(METRICS["account"])
    assert [len(call["MetricDataQueries"]) for call in client.asked] == [500, 60 * len(OF_FUNCTIONS) + account - 500]
    assert all(found["Invocations"] == 1.0 for found in metrics.values["functions"].values())
    assert metrics.metrics_read == 60 * len(OF_FUNCTIONS) + account


def test_a_long_run_asks_for_no_more_points_than_a_call_gives() -> None:
    client = FakeCloudWatch(1.0)
    fetch(client, START + 10 * 86_400, manifest={"functions": {f"f{n}": f"f{n}" for n in range(2)}})
    minutes = (client.asked[0]["EndTime"] - client.asked[0]["StartTime"]).total_seconds() / 60
    assert max(len(call["MetricDataQueries"]) for call in client.asked) * minutes <= 100_800


@pytest.mark.parametrize(
    ("kind", "error", "dimensions"),
    [
        ("rest", "5XXError", {"ApiName": "swarmscope", "Stage": "prod"}),
        ("http", "5xx", {"ApiId": "a1b2", "Stage": "prod"}),
    ],
)
def test_each_kind_of_api_has_names_of_its_own(kind: str, error: str, dimensions: dict[str, str]) -> None:
    client = FakeCloudWatch(0.0, others={error: 2.0, "Count": 9.0})
    metrics = fetch(client, deployment={"api": {**REST["api"], "kind": kind}})
    (query,) = asked(client, error)
    assert {one["Name"]: one["Value"] for one in query["Metric"]["Dimensions"]} == dimensions
    assert metrics.values["api"]["api"]["5XXError"] == 2.0


def test_everything_that_the_manifest_names_is_watched() -> None:
    manifest = {
        "functions": {"place-vote": "f"},
        "streams": {"votes": "app-votes"},
        "topics": {"sales": "arn:aws:sns:eu-west-1:123456789012:app-sales"},
        "tables": {"shops": "app-shops"},
        "log_groups": {"place-vote": "/aws/lambda/f"},
        "access_log_group": "/access",
    }
    found = {(one.namespace, one.metric, one.dimensions) for one in watched_of(manifest, {})}
    assert {
        ("AWS/Lambda", "UnreservedConcurrentExecutions", ()),
        ("AWS/Kinesis", "IncomingBytes", (("StreamName", "app-votes"),)),
        ("AWS/SNS", "NumberOfMessagesPublished", (("TopicName", "app-sales"),)),
        ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", (("TableName", "app-shops"),)),
        ("AWS/Logs", "IncomingBytes", (("LogGroupName", "/aws/lambda/f"),)),
        ("AWS/Logs", "IncomingBytes", (("LogGroupName", "/access"),)),
    } <= found


def test_nothing_known_is_nothing_asked() -> None:
    client = FakeCloudWatch(1.0)
    assert fetch(client, manifest={}).values == {}
    assert client.asked == []


def test_it_waits_until_the_metrics_have_caught_up_with_the_logs() -> None:
    time = FakeTime(START)
    metrics = pull(FakeCloudWatch(2.0, 9.0, 10.0), 10, time)
    assert metrics.values["functions"]["place-vote"]["Invocations"] == 10.0
    assert metrics.warnings == [] and time.slept == [5.0, 5.0]
    # each look is charged
    assert metrics.metrics_read == 3 * (len(OF_FUNCTIONS) + len(METRICS["account"]))


def test_it_waits_for_the_api_too() -> None:
    time = FakeTime(START)
    pull(FakeCloudWatch(10.0, others={"Count": 4.0}), 10, time, answered=5, deployment=REST)
    assert sum(time.slept) == 30.0
    time = FakeTime(START)
    pull(FakeCloudWatch(10.0, others={"Count": 5.0}), 10, time, answered=5, deployment=REST)
    assert time.slept == []


def test_more_than_the_logs_hold_is_no_reason_to_wait() -> None:
    time = FakeTime(START)
    assert pull(FakeCloudWatch(12.0), 10, time).warnings == []
    assert time.slept == []


@pytest.mark.parametrize("state", ["InternalError", "PartialData", "Forbidden"])
def test_a_sum_of_some_of_its_minutes_is_none(state: str) -> None:
    client, time = FakeCloudWatch(10.0), FakeTime(START)
    client.broken = client.broken_later = {"Throttles": state}
    metrics = pull(client, 10, time)
    found = metrics.values["functions"]["place-vote"]
    assert (found["Invocations"], found["Throttles"]) == (10.0, None)
    assert metrics.warnings == [f"CloudWatch did not give Throttles of place-vote whole ({state}): not known"]
    assert sum(time.slept) == 30.0


def test_what_was_not_whole_is_asked_for_again() -> None:
    client, time = FakeCloudWatch(10.0), FakeTime(START)
    client.broken = {"Throttles": "InternalError"}
    metrics = pull(client, 10, time)
    assert metrics.values["functions"]["place-vote"]["Throttles"] == 3.0
    assert (metrics.warnings, time.slept) == ([], [5.0])


REFUSED = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetMetricData")


def test_metrics_that_cannot_be_had_are_none_and_told() -> None:
    metrics = pull(FakeCloudWatch(REFUSED), 10, FakeTime(START))
    assert metrics.values["functions"]["place-vote"] == dict.fromkeys(OF_FUNCTIONS)
    assert "throttles are not known" in metrics.warnings[0]


def own_metric(name: str = "Sales", **dimensions: str) -> dict[str, Any]:
    listed = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return {"Namespace": "Shop", "MetricName": name, "Dimensions": listed}


def with_own_metrics(*metrics: dict[str, Any], get: Callable[[], float | Exception] = lambda: 10.0) -> Metrics:
    client = FakeCloudWatch(10.0, get(), others={"Sales": 4.0})
    client.listed = list(metrics)
    return pull(client, 10, FakeTime(START), namespaces=["Shop"])


def test_metrics_of_the_functions_own_are_read_by_namespace() -> None:
    metrics = with_own_metrics(own_metric(kind="cash"), own_metric(kind="card"))
    assert [one["dimensions"] for one in metrics.custom] == [{"kind": "cash"}, {"kind": "card"}]
    first = metrics.custom[0]
    assert (first["namespace"], first["name"]) == ("Shop", "Sales")
    assert (first["count"], first["sum"], first["mean"], first["min"], first["max"]) == (4.0, 4.0, 1.0, 4.0, 4.0)


def test_an_own_metric_without_samples_in_the_run_is_left_out() -> None:
    assert [one["name"] for one in with_own_metrics(own_metric(), own_metric("Returns")).custom] == ["Sales"]


def test_a_namespace_without_metrics_and_one_with_too_many_are_told() -> None:
    assert "knows no metric of namespace Shop" in with_own_metrics().warnings[0]
    many = with_own_metrics(*(own_metric(id=str(number)) for number in range(130)))
    assert len(many.custom) == 100
    assert many.warnings == ["namespace Shop has 130 metrics, of which 100 were read"]


def test_own_metrics_that_are_refused_leave_the_others() -> None:
    metrics = with_own_metrics(own_metric(), get=lambda: REFUSED)
    assert metrics.values["functions"]["place-vote"]["Invocations"] == 10.0
    assert metrics.custom == ()
    assert "no custom metrics" in metrics.warnings[0]
