"""Metrics: literal values in, statistics out, through a real boto3 client without a server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from sandbox.metrics import Metrics
from tests.sandbox.boto3_in_process import answered_by, boto3_client

MINUTE = 1_800_000_000  # 2027-01-15 08:00:00 UTC
NOW = MINUTE + 600.0
LAMBDA = "AWS/Lambda"
VOTE = (("FunctionName", "vote"),)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(MINUTE + seconds, UTC)


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    for after, value in ((0, 10.0), (59.999, 30.0), (60, 100.0), (200, 7.0)):
        metrics.add(LAMBDA, "Duration", VOTE, MINUTE + after, value)
        metrics.add(LAMBDA, "Invocations", VOTE, MINUTE + after, 1.0)
    metrics.add(LAMBDA, "ConcurrentExecutions", (), MINUTE, 5.0)
    return metrics


@pytest.fixture
def client(metrics: Metrics) -> Any:
    def handle(action: str, body: bytes, region: str) -> Any:
        return metrics.handle(action, orjson.loads(body), NOW)

    return boto3_client(answered_by(handle), "cloudwatch")


def query(stat: str = "Sum", name: str = "Duration", period: int = 60, **more: Any) -> dict[str, Any]:
    metric = {"Namespace": LAMBDA, "MetricName": name, "Dimensions": [{"Name": "FunctionName", "Value": "vote"}]}
    return {"Id": "m1", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}, **more}


def values(client: Any, start: float = 0, end: float = 600, **of: Any) -> list[tuple[float, float]]:
    """(seconds after MINUTE, value) in the order of the answer."""
    answer = client.get_metric_data(MetricDataQueries=[query(**of)], StartTime=at(start), EndTime=at(end))
    (result,) = answer["MetricDataResults"]
    assert result["StatusCode"] == "Complete"
    return [
        (time.timestamp() - MINUTE, value) for time, value in zip(result["Timestamps"], result["Values"], strict=True)
    ]


@pytest.mark.parametrize(
    ("stat", "newest_first"),
    [
        ("Sum", [7.0, 100.0, 40.0]),
        ("Average", [7.0, 100.0, 20.0]),
        ("Minimum", [7.0, 100.0, 10.0]),
        ("Maximum", [7.0, 100.0, 30.0]),
        ("SampleCount", [1.0, 1.0, 2.0]),
        ("p50", [7.0, 100.0, 20.0]),
        ("p99.5", [7.0, 100.0, 29.9]),
    ],
)
def test_statistics_by_minute(client: Any, stat: str, newest_first: list[float]) -> None:
    found = values(client, stat=stat)
    assert [after for after, _ in found] == [180, 60, 0]
    assert [value for _, value in found] == pytest.approx(newest_first)


def test_a_longer_period_counts_from_the_start(client: Any) -> None:
    assert values(client, period=180) == [(180, 7.0), (0, 140.0)]


def test_the_start_is_rounded_down_to_its_minute(client: Any) -> None:
    assert values(client, start=59.5) == [(180, 7.0), (60, 100.0), (0, 40.0)]


def test_the_end_does_not_belong_to_the_window(client: Any) -> None:
    assert values(client, end=60) == [(0, 40.0)]
    assert values(client, end=60.5) == [(60, 100.0), (0, 40.0)]


def test_oldest_first_on_demand(client: Any) -> None:
    answer = client.get_metric_data(
        MetricDataQueries=[query()], StartTime=at(0), EndTime=at(600), ScanBy="TimestampAscending"
    )
    assert answer["MetricDataResults"][0]["Values"] == [40.0, 100.0, 7.0]
    assert answer["MetricDataResults"][0]["Label"] == "Duration"


def test_a_metric_that_does_not_exist_has_no_values(client: Any) -> None:
    assert values(client, name="Nothing") == []


def test_dimensions_select_exactly(client: Any) -> None:
    everywhere = query(name="ConcurrentExecutions")
    del everywhere["MetricStat"]["Metric"]["Dimensions"]
    answer = client.get_metric_data(
        MetricDataQueries=[everywhere, query(name="ConcurrentExecutions") | {"Id": "m2"}],
        StartTime=at(0),
        EndTime=at(600),
    )
    assert [result["Values"] for result in answer["MetricDataResults"]] == [[5.0], []]


@pytest.mark.parametrize("page", [1, 2, 4, 6, 7])
def test_pages_give_every_point_once(client: Any, page: int) -> None:
    queries = [query(), query(name="Invocations") | {"Id": "m2"}, query(name="Nothing") | {"Id": "m3"}]
    found: dict[str, list[float]] = {}
    token: dict[str, str] = {}
    for _ in range(20):
        answer = client.get_metric_data(
            MetricDataQueries=queries, StartTime=at(0), EndTime=at(600), MaxDatapoints=page, **token
        )
        for result in answer["MetricDataResults"]:
            found.setdefault(result["Id"], []).extend(result["Values"])
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert found == {"m1": [7.0, 100.0, 40.0], "m2": [1.0, 1.0, 2.0], "m3": []}


@pytest.mark.parametrize(
    "wrong",
    [
        query(period=61),
        query(period=30),
        query(stat="Median"),
        query(stat="p101"),
        query() | {"Id": "M1"},
        {"Id": "m1", "Expression": "SUM(METRICS())"},
    ],
    ids=["period 61", "period 30", "statistic", "percentile", "id", "metric math"],
)
def test_what_it_cannot_answer_is_refused(client: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="ValidationError"):
        client.get_metric_data(MetricDataQueries=[wrong], StartTime=at(0), EndTime=at(600))


def test_an_id_given_twice_and_a_window_that_ends_before_it_starts_are_refused(client: Any) -> None:
    with pytest.raises(ClientError, match="not unique"):
        client.get_metric_data(MetricDataQueries=[query(), query()], StartTime=at(0), EndTime=at(600))
    with pytest.raises(ClientError, match="must be less"):
        client.get_metric_data(MetricDataQueries=[query()], StartTime=at(60), EndTime=at(60))


def test_get_metric_statistics(client: Any) -> None:
    answer = client.get_metric_statistics(
        Namespace=LAMBDA,
        MetricName="Duration",
        Dimensions=[{"Name": "FunctionName", "Value": "vote"}],
        StartTime=at(0),
        EndTime=at(120),
        Period=120,
        Statistics=["Sum", "SampleCount"],
        ExtendedStatistics=["p50"],
    )
    assert answer["Label"] == "Duration"
    (point,) = answer["Datapoints"]
    assert point["Timestamp"].timestamp() == MINUTE
    assert (point["Sum"], point["SampleCount"], point["Unit"]) == (140.0, 3.0, "Milliseconds")
    assert point["ExtendedStatistics"] == {"p50": 30.0}


def test_list_metrics(client: Any) -> None:
    names = {metric["MetricName"] for metric in client.list_metrics(Namespace=LAMBDA)["Metrics"]}
    assert names == {"Duration", "Invocations", "ConcurrentExecutions"}
    of_vote = client.list_metrics(Dimensions=[{"Name": "FunctionName", "Value": "vote"}])["Metrics"]
    assert {metric["MetricName"] for metric in of_vote} == {"Duration", "Invocations"}
    assert client.list_metrics(MetricName="Duration", Dimensions=[{"Name": "FunctionName"}])["Metrics"] == [
        {
            "Namespace": LAMBDA,
            "MetricName": "Duration",
            "Dimensions": [{"Name": "FunctionName", "Value": "vote"}],
        }
    ]
    assert client.list_metrics(Namespace="AWS/Nothing")["Metrics"] == []


def test_list_metrics_pages(client: Any, metrics: Metrics) -> None:
    for index in range(1100):
        metrics.add("Many", "Size", (("Index", str(index)),), MINUTE, 1.0)
    pages = list(client.get_paginator("list_metrics").paginate(Namespace="Many"))
    found = [metric["Dimensions"][0]["Value"] for page in pages for metric in page["Metrics"]]
    assert [len(page["Metrics"]) for page in pages] == [500, 500, 100]
    assert sorted(found, key=int) == [str(index) for index in range(1100)]


def test_put_metric_data_is_read_back(client: Any) -> None:
    client.put_metric_data(
        Namespace="Mine",
        MetricData=[
            {"MetricName": "Size", "Timestamp": at(30), "Values": [1.0, 5.0], "Counts": [3.0, 1.0]},
            {"MetricName": "Size", "Value": 2.0},
        ],
    )
    answer = client.get_metric_statistics(
        Namespace="Mine", MetricName="Size", StartTime=at(0), EndTime=at(660), Period=60, Statistics=["Sum"]
    )
    points = {point["Timestamp"].timestamp() - MINUTE: point["Sum"] for point in answer["Datapoints"]}
    assert points == {0: 8.0, 600: 2.0}  # without a time: now


def test_clear_forgets(client: Any, metrics: Metrics) -> None:
    metrics.clear()
    assert client.list_metrics()["Metrics"] == []


def test_other_actions_are_left_to_moto(metrics: Metrics) -> None:
    assert metrics.handle("PutMetricAlarm", {}, NOW) is None


def test_a_derived_metric_is_read_from_its_source(metrics: Metrics, client: Any) -> None:
    metrics.derive(
        "AWS/Logs", "IncomingBytes", "LogGroupName", {"/g": {MINUTE // 60: 7.0, MINUTE // 60 + 1: 5.0}}.__getitem__
    )
    metric = {
        "Namespace": "AWS/Logs",
        "MetricName": "IncomingBytes",
        "Dimensions": [{"Name": "LogGroupName", "Value": "/g"}],
    }
    answer = client.get_metric_data(
        MetricDataQueries=[{"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}],
        StartTime=at(0),
        EndTime=at(600),
    )
    assert answer["MetricDataResults"][0]["Values"] == [5.0, 7.0]


def test_a_value_put_a_milliard_times_is_one_value(client: Any) -> None:
    client.put_metric_data(
        Namespace="Mine", MetricData=[{"MetricName": "Size", "Timestamp": at(30), "Values": [2.0], "Counts": [1e9]}]
    )
    answer = client.get_metric_statistics(
        Namespace="Mine", MetricName="Size", StartTime=at(0), EndTime=at(60), Period=60, Statistics=["Sum"]
    )
    assert [point["Sum"] for point in answer["Datapoints"]] == [2e9]


def test_more_values_than_counts_are_refused_and_leave_nothing(client: Any) -> None:
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        client.put_metric_data(
            Namespace="Mine", MetricData=[{"MetricName": "Size", "Values": [2.0, 3.0], "Counts": [1.0]}]
        )
    assert client.list_metrics(Namespace="Mine")["Metrics"] == []
