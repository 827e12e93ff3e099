"""Polls of CloudWatch against clients that remember what they were asked."""

import json
from typing import Any

import pytest

from loadgen.webui.cloudwatch import COLD_STARTS, FunctionFigures, FunctionWatch, PollTimes, QueryFailedError
from sandbox.insights.engine import Engine
from sandbox.log_events import Window
from sandbox.logs import LogStore

MINUTE = 1_700_000_040.0
"""The start of one."""


class FakeCloudWatch:
    """Answers with one value of each metric at a time."""

    def __init__(self, values: dict[tuple[str, str], list[float]]) -> None:
        self.values = values
        self.asked: list[dict[str, Any]] = []

    def get_metric_data(self, **asked: Any) -> dict[str, Any]:
        assert len(asked["MetricDataQueries"]) <= 500
        page = int(asked.get("NextToken", "0"))
        if page == 0:
            self.asked.append(asked)
        found = {
            query["Id"]: self.values.get(self._key(query["MetricStat"]["Metric"]), [])
            for query in asked["MetricDataQueries"]
        }
        more = {"NextToken": str(page + 1)} if any(len(values) > page + 1 for values in found.values()) else {}
        results = [{"Id": name, "Values": values[page : page + 1]} for name, values in found.items()]
        return {"MetricDataResults": results, **more}

    @staticmethod
    def _key(metric: dict[str, Any]) -> tuple[str, str]:
        return metric["Dimensions"][0]["Value"], metric["MetricName"]


class FakeLogs:
    """Answers with one minute and its cold starts for each log group."""

    def __init__(self, cold_starts: dict[str, tuple[str, int]], statuses: tuple[str, ...] = ("Complete",)) -> None:
        self.cold_starts = cold_starts
        self.statuses = list(statuses)
        self.asked: list[tuple[list[str], int, int]] = []
        self.stopped = 0

    def start_query(self, **asked: Any) -> dict[str, str]:
        assert len(asked["logGroupNames"]) <= 50
        self.asked.append((asked["logGroupNames"], asked["startTime"], asked["endTime"]))
        return {"queryId": "q"}

    def get_query_results(self, queryId: str) -> dict[str, Any]:
        status = self.statuses[0] if len(self.statuses) == 1 else self.statuses.pop(0)
        rows = [
            [
                {"field": "@log", "value": f"123456789012:{group}"},
                {"field": "minute", "value": minute},
                {"field": "cold_starts", "value": str(count)},
            ]
            for group, (minute, count) in self.cold_starts.items()
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
    return FunctionWatch(clients.__getitem__, functions, groups, MINUTE + 20, clock=now, sleep=now.sleep)


CALLED = {
    ("app-place-vote", "Invocations"): [30.0, 70.0],
    ("app-place-vote", "Throttles"): [5.0],
    ("app-place-vote", "ConcurrentExecutions"): [9.0, 12.0],
}
GROUP = "/aws/lambda/app-place-vote"


def test_counts_are_of_the_whole_run_and_concurrency_of_the_newest_minute():
    cloudwatch, logs = FakeCloudWatch(CALLED), FakeLogs({GROUP: ("09:00", 4)})
    found = watch(cloudwatch, logs, Now(MINUTE + 75)).poll()
    assert found.at == MINUTE + 75
    assert found.functions == {
        "place-vote": FunctionFigures(100.0, None, 5.0, 9.0, 4),
        "other": FunctionFigures(None, None, None, None, None),
    }
    [asked] = cloudwatch.asked
    assert (asked["StartTime"].timestamp(), asked["EndTime"].timestamp()) == (MINUTE, MINUTE + 120)
    assert len(asked["MetricDataQueries"]) == 8


def test_logs_are_asked_for_only_of_functions_that_were_called_and_again_as_long_as_lines_may_come():
    logs, now = FakeLogs({GROUP: ("09:00", 4)}), Now(MINUTE + 30.5)
    polled = watch(FakeCloudWatch(CALLED), logs, now)
    polled.poll()
    now.at += 60
    polled.poll()
    now.at += 240
    polled.poll()
    now.at += 10
    polled.poll()
    start = int(MINUTE)
    assert [asked for asked in logs.asked if asked[0] == [GROUP]] == logs.asked
    assert [(first - start, last - start) for _, first, last in logs.asked] == [
        (20, 31),
        (20, 91),
        (20, 331),
        (180, 341),
    ]


def test_what_is_counted_again_replaces_what_was_counted():
    logs, now = FakeLogs({GROUP: ("09:00", 4)}), Now(MINUTE + 30)
    polled = watch(FakeCloudWatch(CALLED), logs, now)
    counts = []
    for found in (("09:00", 4), ("09:00", 6), ("09:01", 2)):
        logs.cold_starts = {GROUP: found}
        counts.append(polled.poll().functions["place-vote"].cold_starts)
    assert counts == [4, 6, 8]


def test_any_number_of_functions_is_asked_for():
    functions = {f"f{number}": f"app-{number}" for number in range(130)}
    groups = {name: f"/aws/lambda/{function}" for name, function in functions.items()}
    cloudwatch = FakeCloudWatch({(function, "Invocations"): [1.0, 2.0] for function in functions.values()})
    logs = FakeLogs(dict.fromkeys(groups.values(), ("09:00", 4)))
    clients, now = {"cloudwatch": cloudwatch, "logs": logs}, Now(MINUTE + 30)
    found = FunctionWatch(clients.__getitem__, functions, groups, MINUTE, clock=now, sleep=now.sleep).poll()
    assert {(one.invocations, one.cold_starts) for one in found.functions.values()} == {(3.0, 4)}
    assert (len(found.functions), len(cloudwatch.asked), len(logs.asked)) == (130, 2, 3)


def test_a_query_is_waited_for():
    logs, now = FakeLogs({GROUP: ("09:00", 1)}, ("Scheduled", "Running", "Complete")), Now(MINUTE + 30)
    assert watch(FakeCloudWatch(CALLED), logs, now).poll().functions["place-vote"].cold_starts == 1
    assert now.at == MINUTE + 31


def test_a_query_that_takes_too_long_is_stopped():
    logs = FakeLogs({}, ("Running",))
    with pytest.raises(QueryFailedError, match="did not answer within 30 s"):
        watch(FakeCloudWatch(CALLED), logs, Now(MINUTE + 30)).poll()
    assert logs.stopped == 1


def test_what_a_failed_query_left_out_is_asked_for_again():
    logs, now = FakeLogs({GROUP: ("09:00", 2)}, ("Failed", "Complete")), Now(MINUTE + 30)
    polled = watch(FakeCloudWatch(CALLED), logs, now)
    with pytest.raises(QueryFailedError, match="ended as Failed"):
        polled.poll()
    assert polled.poll().functions["place-vote"].cold_starts == 2
    assert logs.asked[0] == logs.asked[1]


def test_without_functions_nothing_is_asked():
    found = FunctionWatch({}.__getitem__, {}, {}, MINUTE, clock=Now(MINUTE)).poll()
    assert found.functions == {}


def test_where_logs_cannot_count_cold_starts_are_not_known():
    class Events(FakeLogs):
        def get_query_results(self, queryId: str) -> dict[str, Any]:
            return {"status": "Complete", "results": [[{"field": "@message", "value": "START"}]]}

    found = watch(FakeCloudWatch(CALLED), Events({}), Now(MINUTE + 75)).poll()
    assert found.functions["place-vote"].cold_starts is None
    assert found.functions["place-vote"].invocations == 100.0


REPORT = "REPORT RequestId: 1aaaaaaa-0000-4000-8000-000000000000\tDuration: 9.00 ms\tBilled Duration: 9 ms\t"
RECORD = {"type": "platform.report", "record": {"metrics": {"durationMs": 9.0}}}


@pytest.mark.parametrize(
    ("message", "cold_starts"),
    [
        (REPORT, 0),
        (REPORT + "Init Duration: 150.08 ms\t", 1),
        (REPORT + "Restore Duration: 398.97 ms\tBilled Restore Duration: 182 ms\t", 1),
        (json.dumps(RECORD), 0),
        (json.dumps({**RECORD, "record": {"metrics": {"durationMs": 9.0, "initDurationMs": 150.08}}}), 1),
        (json.dumps({**RECORD, "record": {"metrics": {"durationMs": 9.0, "restoreDurationMs": 398.97}}}), 1),
    ],
    ids=["warm", "init", "restore", "JSON warm", "JSON init", "JSON restore"],
)
def test_inits_and_restores_are_counted_in_both_log_formats(message, cold_starts):
    store, engine = LogStore(), Engine()
    try:
        store.append(GROUP, "stream", MINUTE, message + "\n")
        start_ms, end_ms = int(MINUTE * 1000), int((MINUTE + 60) * 1000)
        compiled = engine.compile(COLD_STARTS, now=MINUTE + 60)
        window = Window((GROUP,), start_ms, end_ms, end_ms)
        result = engine.run(engine.cursor(), compiled, store.snapshot((GROUP,), start_ms, end_ms), window)
        [row] = json.loads(result.page(0, 10))
    finally:
        engine.close()
        store.close()
    assert {"field": "cold_starts", "value": str(cold_starts)} in row


def polls(target: str, ends_at: float, until: float) -> list[int]:
    """Seconds after the start of a run at which there is a poll, where somebody looks every second."""
    times = PollTimes(target, 0.0)
    return [second for second in range(int(until)) if times.is_due(second, running=second < ends_at)]


def test_after_a_run_there_is_one_more_poll_once_what_trails_it_is_there():
    assert polls("sandbox", ends_at=18, until=100) == [5, 15, 25, 28]
    assert polls("sandbox", ends_at=2, until=100) == [5, 12]
    assert polls("aws", ends_at=40, until=600) == [15, 45, 75, 105, 135, 160]
