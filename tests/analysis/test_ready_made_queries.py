"""The ready-made queries, run by the sandbox's own engine over literal events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from analysis import query
from sandbox.insights.engine import Engine
from sandbox.log_events import Window
from sandbox.logs import LogStore

START = 1_800_000_000.0
"""2027-01-15 08:00:00 UTC, a multiple of five minutes."""
GROUP = "/aws/lambda/f"
IDS = [f"{number}aaaaaaa-0000-4000-8000-000000000000" for number in range(1, 7)]


def report(request_id: str, rest: str = "") -> str:
    return (
        f"REPORT RequestId: {request_id}\tDuration: 100.00 ms\tBilled Duration: 250 ms\tMemory Size: 128 MB\t"
        f"Max Memory Used: 64 MB\t{rest}\n"
    )


XRAY = "\nXRAY TraceId: 1-6ac7d63e-397ed61b1542f1a3653bcd46\tSegmentId: b7d5257b6249ab8a\tSampled: true\t"
EVENTS = [
    report(IDS[0], "Init Duration: 150.00 ms\t" + XRAY),
    "[ERROR] ValueError: bad\nTraceback (most recent call last):\n",
    report(IDS[1]),
    f"2027-01-15T08:00:02.000Z {IDS[2]} Task timed out after 3.00 seconds\n\n",
    report(IDS[2]),
    f"RequestId: {IDS[3]} Error: Runtime exited without providing a reason\nRuntime.ExitError\n",
    report(IDS[3], "Status: error\tError Type: Runtime.ExitError"),  # told in both styles, failed once
    report(IDS[4], "Status: timeout"),
    f"[ERROR]\t2027-01-15T08:00:02.000Z\t{IDS[5]}\tlogged by the application, which went on\n",
    report(IDS[5]),
    '{"level": "INFO", "swarmscope": 1, "message": "REPORT RequestId: none"}\n',
]


def json_report(request_id: str, status: str = "success", **metrics: float) -> str:
    sizes = {"durationMs": 100.0, "billedDurationMs": 250, "memorySizeMB": 128, "maxMemoryUsedMB": 64}
    record = {"requestId": request_id, "metrics": sizes | metrics, "status": status}
    return json.dumps({"time": "2027-01-15T08:00:00.000Z", "type": "platform.report", "record": record}) + "\n"


RAISED = {"timestamp": "2027-01-15T08:00:01Z", "log_level": "ERROR", "errorType": "ValueError", "requestId": IDS[1]}
JSON_EVENTS = [
    json_report(IDS[0], initDurationMs=150.0),
    json.dumps(RAISED) + "\n",
    json_report(IDS[1], "error"),
    json_report(IDS[2], "timeout"),
    json_report(IDS[3], "error"),
    json_report(IDS[4], "timeout"),
    json_report(IDS[5]),
    '{"level": "INFO", "swarmscope": 1, "message": "platform.report"}\n',
]
"""The same invocations in a log group of JSON format."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


def rows(engine: Engine, name: str, events: Sequence[str] = EVENTS) -> list[dict[str, str]]:
    store = LogStore()
    try:
        for second, message in enumerate(events):
            store.append(GROUP, "2027/01/15/[$LATEST]00", START + second, message)
        start_ms, end_ms = int(START * 1000), int((START + 100) * 1000)
        compiled = engine.compile(query.load(name).text, now=START + 100)
        window = Window((GROUP,), start_ms, end_ms, end_ms)
        result = engine.run(engine.cursor(), compiled, store.snapshot((GROUP,), start_ms, end_ms), window)
        return [{cell["field"]: cell["value"] for cell in row} for row in json.loads(result.page(0, 1000))]
    finally:
        store.close()


@pytest.mark.parametrize("name", query.names())
def test_every_query_runs_and_finds_something(engine: Engine, name: str) -> None:
    assert rows(engine, name)


def test_error_rate_counts_each_failed_invocation_once(engine: Engine) -> None:
    """One raised, one timed out in the old style, one exited and said so in both, one timed out in the new style."""
    (row,) = rows(engine, "error_rate")
    assert (row["invocations"], row["raised"], row["ended"], row["failed"]) == ("6", "1", "3", "4")
    assert float(row["error_percent"]) == pytest.approx(400 / 6)


def test_code_that_cannot_be_loaded_fails_once_for_each_invocation(engine: Engine) -> None:
    """Lambda tries to load it again within the invocation, and Python tells of each try."""
    traceback = "[ERROR] Runtime.ImportModuleError: Unable to import module 'app': No module named 'numpy'\nTraceback\n"
    ended = report(IDS[0], "Status: error\tError Type: Runtime.ImportModuleError")
    (row,) = rows(engine, "error_rate", [traceback, traceback, ended, report(IDS[1]), EVENTS[1], report(IDS[2])])
    assert (row["invocations"], row["raised"], row["ended"], row["failed"]) == ("3", "1", "1", "2")


def test_cold_starts_are_those_with_an_init(engine: Engine) -> None:
    (row,) = rows(engine, "cold_starts")
    assert (row["cold_starts"], float(row["avg_init_ms"])) == ("1", 150.0)


def test_memory_is_in_mb(engine: Engine) -> None:
    (row,) = rows(engine, "memory")
    found = [float(row[name]) for name in ("avg_used_percent", "max_used_mb", "configured_mb")]
    assert found == pytest.approx([50.0, 64.0, 128.0])


def test_billed_time_in_gb_seconds(engine: Engine) -> None:
    (row,) = rows(engine, "billed")
    assert float(row["billed_ms"]) == 1500
    assert float(row["gb_seconds"]) == pytest.approx(1.5 * 128 / 1024)


def test_statistics_has_the_five_values_of_each_report(engine: Engine) -> None:
    found = rows(engine, "statistics")
    assert [row["request_id"] for row in found] == IDS
    assert {(row["duration_ms"], row["billed_ms"], row["memory_mb"], row["max_memory_mb"]) for row in found} == {
        ("100.00", "250", "128", "64")
    }


@pytest.mark.parametrize("events", [EVENTS, JSON_EVENTS], ids=["text", "JSON"])
def test_the_slowest_can_be_looked_up(engine: Engine, events: Sequence[str]) -> None:
    found = rows(engine, "slowest", events)
    assert sorted(row["request_id"] for row in found) == IDS
    assert {row["@logStream"] for row in found} == {"2027/01/15/[$LATEST]00"}
    assert [float(row["init_ms"]) for row in found if row.get("init_ms")] == [150.0]


@pytest.mark.parametrize("name", ["billed", "cold_starts", "memory", "percentiles"])
def test_a_log_group_in_json_format_gives_the_same_rows(engine: Engine, name: str) -> None:
    assert rows(engine, name, JSON_EVENTS) == rows(engine, name)


def test_failures_are_counted_and_found_in_json_format_too(engine: Engine) -> None:
    (row,) = rows(engine, "error_rate", JSON_EVENTS)
    assert (row["invocations"], row["failed"]) == ("6", "4")
    assert len(rows(engine, "errors", JSON_EVENTS)) == 3
