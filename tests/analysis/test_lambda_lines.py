import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.lambda_lines import parse_event

SAMPLES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "fixtures/lambda-lines/samples.jsonl").read_text().splitlines()
]
ID = "8c360c87-d4b7-4423-b5f3-af02be3c1763"
REPORT = (
    f"REPORT RequestId: {ID}\tDuration: 395.99 ms\tBilled Duration: 662 ms\tMemory Size: 128 MB\t"
    "Max Memory Used: 75 MB\tInit Duration: 265.72 ms\t\n"
)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["kind"])
def test_every_sample_gives_what_is_expected_of_it(sample: dict[str, Any]) -> None:
    event = parse_event(sample["text"])
    assert {key: event.get(key) for key in sample["expect"]} == sample["expect"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"START RequestId: {ID} Version: $LATEST\n", {"kind": "start", "request_id": ID, "version": "$LATEST"}),
        (f"START RequestId: {ID} Version: 17\n", {"kind": "start", "request_id": ID, "version": "17"}),
        (f"END RequestId: {ID}\n", {"kind": "end", "request_id": ID}),
        (
            # as logged in 2017 and 2018, with a space before the tab
            f"REPORT RequestId: {ID}\tDuration: 1.10 ms\tBilled Duration: 100 ms \tMemory Size: 128 MB\t"
            "Max Memory Used: 21 MB\t\n",
            {
                "kind": "report",
                "request_id": ID,
                "duration_ms": 1.1,
                "billed_ms": 100,
                "memory_mb": 128,
                "max_memory_mb": 21,
            },
        ),
        (
            # AWS: an init that timed out and was repeated within the invocation
            "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\tStatus: timeout",
            {"kind": "init_report", "init_ms": 1236.04, "phase": "init", "status": "timeout"},
        ),
        (
            "RESTORE_REPORT Restore Duration: 1236.04 ms\tStatus: timeout",
            {"kind": "restore_report", "restore_ms": 1236.04, "status": "timeout"},
        ),
        (
            f"2024-03-04T17:22:38.033Z {ID} Task timed out after 3.00 seconds\n\n",
            {"kind": "timeout", "time": "2024-03-04T17:22:38.033Z", "request_id": ID, "timed_out_after_s": 3.0},
        ),
        (
            f"RequestId: {ID} Error: Runtime exited without providing a reason\nRuntime.ExitError",
            {
                "kind": "error",
                "request_id": ID,
                "error_message": "Runtime exited without providing a reason",
                "error_type": "Runtime.ExitError",
            },
        ),
        (
            f"RequestId: {ID} Error: Runtime exited with error: signal: killed\nRuntime.ExitError",
            {
                "kind": "error",
                "request_id": ID,
                "error_message": "Runtime exited with error: signal: killed",
                "error_type": "Runtime.ExitError",
            },
        ),
        (
            "[ERROR] Runtime.ImportModuleError: Unable to import module 'handler': No module named 'x'\n"
            "Traceback (most recent call last):",
            {
                "kind": "error",
                "level": "ERROR",
                "error_type": "Runtime.ImportModuleError",
                "error_message": "Unable to import module 'handler': No module named 'x'",
            },
        ),
        (
            f'{{"timestamp": "2024-03-04T17:22:38Z", "log_level": "ERROR", "errorMessage": "boom", "errorType": "E", '
            f'"requestId": "{ID}", "stackTrace": []}}',
            {
                "kind": "error",
                "request_id": ID,
                "level": "ERROR",
                "time": "2024-03-04T17:22:38Z",
                "error_type": "E",
                "error_message": "boom",
                "stack_trace": [],
            },
        ),
        (
            '{"errorType": "Sandbox.Timedout", '
            f'"errorMessage": "RequestId: {ID} Error: Task timed out after 3.00 seconds"}}',
            {
                "kind": "timeout",
                "error_type": "Sandbox.Timedout",
                "error_message": f"RequestId: {ID} Error: Task timed out after 3.00 seconds",
                "timed_out_after_s": 3.0,
            },
        ),
        (
            f'{{"level": "INFO", "swarmscope": 1, "request_id": "{ID}", "hop": "shop-decrypt", "message_id": "m"}}',
            {"kind": "app", "level": "INFO", "request_id": ID, "hop": "shop-decrypt", "message_id": "m"},
        ),
        (
            '{"time":"2024-05-20T16:29:45.007Z","type":"platform.logsDropped","record":{"reason":"x","droppedRecords":3}}',
            {"kind": "logs_dropped", "type": "platform.logsDropped", "time": "2024-05-20T16:29:45.007Z"},
        ),
        (
            "XRAY TraceId: 1-6ac7d63e-397ed61b1542f1a3653bcd46\tSegmentId: b7d5257b6249ab8a\tSampled: false\t",
            {
                "kind": "xray",
                "xray_trace_id": "1-6ac7d63e-397ed61b1542f1a3653bcd46",
                "segment_id": "b7d5257b6249ab8a",
                "sampled": False,
            },
        ),
        (f"[INFO]\t2025-12-14T17:43:49.882Z\t\t{ID} is no request id here", None),
    ],
)
def test_forms_that_the_samples_lack(text: str, expected: dict[str, Any] | None) -> None:
    if expected is None:
        assert "request_id" not in parse_event(text)
    else:
        assert parse_event(text) == expected


def test_status_after_the_xray_line_is_found() -> None:
    text = REPORT + "XRAY TraceId: 1-6ac7d63e-397ed61b1542f1a3653bcd46\tStatus: error\tError Type: Runtime.OutOfMemory"
    event = parse_event(text)
    assert (event["status"], event["error_type"], event["init_ms"]) == ("error", "Runtime.OutOfMemory", 265.72)


@pytest.mark.parametrize(
    "prefix",
    [
        "2024-03-04T17:22:38.033000+00:00 2024/03/04/[$LATEST]0123456789abcdef0123456789abcdef ",
        "2024/03/04/[17]0123456789abcdef0123456789abcdef 2024-03-04T17:22:38.033000 ",
        "/aws/lambda/x 2024/03/04/[$LATEST]0123456789abcdef0123456789abcdef ",
        "2024-03-04 17:22:38.033 ",
        "1646413358033,",
    ],
)
def test_what_export_tools_put_before_an_event_is_passed_over(prefix: str) -> None:
    event = parse_event(prefix + REPORT)
    assert {key: value for key, value in event.items() if key != "time"} == parse_event(REPORT)


def test_tabs_turned_into_spaces_lose_nothing() -> None:
    assert parse_event(REPORT.replace("\t", " ")) == parse_event(REPORT)


def test_own_time_of_an_event_wins_over_the_exports() -> None:
    event = parse_event(f"2024-03-04T17:22:39Z [INFO]\t2024-03-04T17:22:38.033Z\t{ID}\thello")
    assert (event["time"], event["message"]) == ("2024-03-04T17:22:38.033Z", "hello")


@pytest.mark.parametrize("text", [s["text"] for s in SAMPLES if s["kind"].startswith(("report", "json_platform"))])
def test_a_cut_off_event_never_says_anything_the_whole_one_does_not(text: str) -> None:
    whole = parse_event(text)
    for end in range(len(text)):
        part = parse_event(text[:end])
        cut = {"error_type", "runtime_version", "runtime_version_arn", "kind"}  # free text: any beginning looks whole
        assert {k: v for k, v in part.items() if k not in cut}.items() <= whole.items()


def test_cut_off_json_is_read_up_to_its_last_whole_value() -> None:
    text = (
        f'{{"time":"2024-07-01T08:54:54.127Z","type":"platform.report","record":{{"requestId":"{ID}",'
        '"metrics":{"durationMs":17.4,"billedDurationMs":1'
    )
    assert parse_event(text) == {
        "kind": "report",
        "type": "platform.report",
        "time": "2024-07-01T08:54:54.127Z",
        "request_id": ID,
        "duration_ms": 17.4,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "REPO",
        "{",
        "[{",
        "[]",
        "null",
        '{"foo": 1}',
        '{"type": "platform.report", "record": 3}',
        "Application says REPORT RequestId: 1",
        "[" * 100_000,
        "{" * 100_000,
        '{"a":' * 50_000,
        " " * 300_000 + "x",
        "[ERROR] " + " " * 300_000,
        "9" * 10_000,
        f'{{"durationMs": {"9" * 5000}}}',
    ],
    ids=lambda text: text[:30],
)
def test_nonsense_is_unknown(text: str) -> None:
    assert parse_event(text) == {"kind": "unknown"}


def test_a_report_quoted_by_the_application_is_no_report() -> None:
    quoted = parse_event(f"[INFO]\t2025-12-14T17:43:49.882Z\t{ID}\t{REPORT}")
    assert quoted["kind"] == "app" and "duration_ms" not in quoted
    assert parse_event(json.dumps({"level": "INFO", "message": REPORT}))["kind"] == "app"


def test_absurd_numbers_are_absent() -> None:
    record = (
        '{"type":"platform.report","record":{"metrics":{"durationMs":1e999,"billedDurationMs":-1,"memorySizeMB":true}}}'
    )
    assert parse_event(record) == {"kind": "report", "type": "platform.report"}
    assert parse_event("REPORT RequestId: x\tDuration: " + "9" * 400 + " ms") == {"kind": "report"}


def test_handled_errors_of_the_application_are_no_failures() -> None:
    logged = json.dumps({"level": "ERROR", "message": "m", "errorType": "E", "stackTrace": ["a"], "requestId": ID})
    assert parse_event(logged)["kind"] == "app"
    assert (
        parse_event(f"[ERROR]\t2025-12-14T17:43:49.882Z\t{ID}\tlost\nTraceback (most recent call last):")["kind"]
        == "app"
    )


def test_no_break_spaces_of_a_traceback_become_plain() -> None:
    text = (
        "[ERROR] KeyError: 'x'\rTraceback (most recent call last):\r\u00a0\u00a0File \"/var/task/a.py\", line 3, in f\n"
    )
    assert parse_event(text) == {
        "kind": "error",
        "level": "ERROR",
        "error_type": "KeyError",
        "error_message": "'x'",
        "stack_trace": ['  File "/var/task/a.py", line 3, in f'],
    }


PIECES = st.sampled_from(
    [piece for sample in SAMPLES for piece in sample["text"].replace("\t", "\x00\t\x00").split("\x00") if piece]
)


@settings(max_examples=200)
@given(st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=8).map("".join)))
@example("\ud800")
@example('{"message": "\ud800"}')
def test_any_text_gives_an_event_that_is_json(text: str) -> None:
    event = parse_event(text)
    assert isinstance(event["kind"], str)
    json.dumps(event, allow_nan=False)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "record", "metrics", "durationMs", "message", "errorType", "x"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(["type", "record", "message", "level", "stackTrace", "errorType"]), JSON_VALUES))
@example({"type": "platform.report", "record": {"tracing": {"value": "Root;=;Sampled"}}})
def test_any_json_object_gives_an_event_that_is_json(record: dict[str, Any]) -> None:
    json.dumps(parse_event(json.dumps(record)), allow_nan=False)
