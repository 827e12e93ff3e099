"""Polls of CloudWatch against clients that remember what they were asked."""

from typing import Any

import pytest

from loadgen.webui.cloudwatch import FunctionFigures, FunctionWatch, QueryFailedError

MINUTE = 1_700_000_040.0
"""The start of one."""


class FakeCloudWatch:
    def __init__(self, values: dict[tuple[str, str], list[float]]) -> None:
        self.values = values
        self.asked: list[dict[str, Any]] = []

    def get_metric_data(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return {
            "MetricDataResults": [
                {"Id": query["Id"], "Values": self.values.get(self._key(query["MetricStat"]["Metric"]), [])}
                for query in asked["MetricDataQueries"]
            ]
        }

    @staticmethod
    def _key(metric: dict[str, Any]) -> tuple[str, str]:
        return metric["Dimensions"][0]["Value"], metric["MetricName"]


class FakeLogs:
    def __init__(self, cold_starts: dict[str, int], statuses: tuple[str, ...] = ("Complete",)) -> None:
        self.cold_starts = cold_starts
        self.statuses = list(statuses)
        self.asked: list[tuple[list[str], int, int]] = []
        self.stopped = 0

    def start_query(self, **asked: Any) -> dict[str, str]:
        self.asked.append((asked["logGroupNames"], asked["startTime"], asked["endTime"]))
        return {"queryId": "q"}

    def get_query_results(self, queryId: str) -> dict[str, Any]:
        status = self.statuses[0] if len(self.statuses) == 1 else self.statuses.pop(0)
        rows = [
            [{"field": "@log", "value": f"123456789012:{group}"}, {"field": "cold_starts", "value": str(count)}]
            for group, count in self.cold_starts.items()
        ]
        return {"status": status, "results": rows}

    def stop_query(self, queryId: str) -> None:
        self.stopped += 1


class Now:
    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def watch(cloudwatch: FakeCloudWatch, logs: FakeLogs, now: Now) -> FunctionWatch:
    clients = {"cloudwatch": cloudwatch, "logs": logs}
    functions = {"place-vote": "app-place-vote", "other": "app-other"}
    groups = {name: f"/aws/lambda/{function}" for name, function in functions.items()}
    return FunctionWatch(clients.__getitem__, functions, groups, MINUTE + 20, 2.0, clock=now, sleep=now.sleep)


CALLED = {
    ("app-place-vote", "Invocations"): [30.0, 70.0],
    ("app-place-vote", "Throttles"): [5.0],
    ("app-place-vote", "ConcurrentExecutions"): [9.0, 12.0],
}
GROUP = "/aws/lambda/app-place-vote"


def test_counts_are_of_the_whole_run_and_concurrency_of_the_newest_minute():
    cloudwatch, logs = FakeCloudWatch(CALLED), FakeLogs({GROUP: 4})
    found = watch(cloudwatch, logs, Now(MINUTE + 75)).poll()
    assert found.at == MINUTE + 75
    assert found.functions == {
        "place-vote": FunctionFigures(100.0, None, 5.0, 9.0, 4),
        "other": FunctionFigures(None, None, None, None, None),
    }
    [asked] = cloudwatch.asked
    assert (asked["StartTime"].timestamp(), asked["EndTime"].timestamp()) == (MINUTE, MINUTE + 120)
    assert len(asked["MetricDataQueries"]) == 8


def test_each_second_of_the_logs_is_asked_for_once_and_only_of_functions_that_were_called():
    logs, now = FakeLogs({GROUP: 4}), Now(MINUTE + 30.5)
    polled = watch(FakeCloudWatch(CALLED), logs, now)
    polled.poll()
    now.at += 10
    assert polled.poll().functions["place-vote"].cold_starts == 8
    polled.poll()
    start = int(MINUTE)
    assert logs.asked == [([GROUP], start + 20, start + 28), ([GROUP], start + 29, start + 38)]


def test_a_query_is_waited_for():
    logs, now = FakeLogs({GROUP: 1}, ("Scheduled", "Running", "Complete")), Now(MINUTE + 30)
    assert watch(FakeCloudWatch(CALLED), logs, now).poll().functions["place-vote"].cold_starts == 1
    assert now.at == MINUTE + 31


def test_a_query_that_takes_too_long_is_stopped():
    logs = FakeLogs({}, ("Running",))
    with pytest.raises(QueryFailedError, match="did not answer within 30 s"):
        watch(FakeCloudWatch(CALLED), logs, Now(MINUTE + 30)).poll()
    assert logs.stopped == 1


def test_what_a_failed_query_left_out_is_asked_for_again():
    logs, now = FakeLogs({GROUP: 2}, ("Failed", "Complete")), Now(MINUTE + 30)
    polled = watch(FakeCloudWatch(CALLED), logs, now)
    with pytest.raises(QueryFailedError, match="ended as Failed"):
        polled.poll()
    assert polled.poll().functions["place-vote"].cold_starts == 2
    assert logs.asked[0] == logs.asked[1]


def test_without_functions_nothing_is_asked():
    found = FunctionWatch({}.__getitem__, {}, {}, MINUTE, 2.0, clock=Now(MINUTE)).poll()
    assert found.functions == {}
