from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import log_tables
from analysis.insights import epoch_s
from analysis.lambda_lines import parse_event
from analysis.slice_files import Piece, save
from analysis.slices import Slice
from tests.analysis.test_report_records import json_report

SAMPLES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "fixtures/lambda-lines/samples.jsonl").read_text().splitlines()
]
STREAM = "2026/10/03/[$LATEST]0123456789abcdef0123456789abcdef"
ID = "8c360c87-d4b7-4423-b5f3-af02be3c1763"
ROOT = "1-6ac7d63e-397ed61b1542f1a3653bcd46"
AT = "2026-10-03 20:36:17.500"
AT_S = 1791059777.5
THROTTLED = (
    "[ERROR] ProvisionedThroughputExceededException: An error occurred (ProvisionedThroughputExceededException) when "
    "calling the PutRecord operation: Rate exceeded for shard shardId-000000000000 in stream swarmscope-votes under "
    "account 123456789012.\nTraceback (most recent call last):\n"
    '\u00a0\u00a0File "/var/task/handler.py", line 31, in place_vote\n'
    "\u00a0\u00a0\u00a0\u00a0put = kinesis.put_record()\n"
    '\u00a0\u00a0File "/var/lang/lib/python3.12/site-packages/botocore/client.py", line 569, in _api_call\n'
)


def raw(folder: Path, *messages: str, name: str = "events", at: str = AT, first: int = 0, **row: str) -> list[Path]:
    """Raw events as a pull saves them."""
    start = int(epoch_s(at)) - 5
    groups = (("place-vote", "/aws/lambda/swarmscope-place-vote"),)
    piece = Piece(name, groups, Slice(start, start + 10 + first), "fields", 10)
    rows = [
        {"@timestamp": at, "@logStream": STREAM, "@message": message, "@ptr": f"{name}{first + number}"} | row
        for number, message in enumerate(messages)
    ]
    return [save(folder, piece, rows, read_at=0.0, matched=None, bytes_scanned=None).path]


def table(path: Path) -> list[dict[str, Any]]:
    found = duckdb.execute("SELECT * FROM read_parquet($1)", [str(path)])
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def invocations(tmp_path: Path, *messages: str, **options: Any) -> list[dict[str, Any]]:
    target = tmp_path / "invocations.parquet"
    written = log_tables.write_invocations(raw(tmp_path, *messages, **options), target)
    rows = table(target)
    assert written == len(rows)
    return rows


def errors(tmp_path: Path, *messages: str) -> list[dict[str, Any]]:
    log_tables.write_errors(raw(tmp_path, *messages), tmp_path / "log_errors.parquet", "swarmscope")
    return table(tmp_path / "log_errors.parquet")


def correlations(tmp_path: Path, *messages: str) -> list[dict[str, Any]]:
    log_tables.write_correlations(raw(tmp_path, *messages), tmp_path / "correlations.parquet")
    return table(tmp_path / "correlations.parquet")


def access_log(tmp_path: Path, *messages: str) -> tuple[list[dict[str, Any]], int]:
    target = tmp_path / "access_log.parquet"
    _, unreadable = log_tables.write_access_log(raw(tmp_path, *messages, name="access"), target)
    return table(target), unreadable


REPORT = (
    f"REPORT RequestId: {ID}\tDuration: 250.50 ms\tBilled Duration: 562 ms\tMemory Size: 128 MB\t"
    "Max Memory Used: 70 MB\tInit Duration: 310.55 ms\t\n"
    f"XRAY TraceId: {ROOT}\tSegmentId: b7d5257b6249ab8a\tSampled: true\t\n"
)


def test_a_report_becomes_a_row_with_its_times(tmp_path: Path) -> None:
    assert invocations(tmp_path, REPORT) == [
        {
            "function": "place-vote",
            "log_group": "/aws/lambda/swarmscope-place-vote",
            "log_stream": STREAM,
            "request_id": ID,
            "version": "$LATEST",
            "reported_at": AT_S,
            "started_at": pytest.approx(AT_S - 0.2505),
            "duration_ms": 250.5,
            "billed_ms": 562,
            "memory_mb": 128,
            "max_memory_mb": 70,
            "init_ms": 310.55,
            "restore_ms": None,
            "billed_restore_ms": None,
            "status": None,
            "error_type": None,
            "xray_trace_id": "1-6ac7d63e-397ed61b1542f1a3653bcd46",
            "segment_id": "b7d5257b6249ab8a",
            "sampled": True,
            "ptr": "events0",
        }
    ]


@pytest.mark.parametrize("sample", [s for s in SAMPLES if "report" in s["kind"]], ids=lambda s: s["kind"])
def test_every_sample_report_gives_what_the_parser_says(tmp_path: Path, sample: dict[str, Any]) -> None:
    event = parse_event(sample["text"])
    rows = invocations(tmp_path, sample["text"])
    if event["kind"] != "report":
        assert rows == []
        return
    (row,) = rows
    # a success that only JSON tells of is none in the table, as in that of a text log
    assert {key: row[key] for key in log_tables.REPORT_TYPES} == {
        key: event.get(key) if event.get(key) != "success" else None for key in log_tables.REPORT_TYPES
    }


@settings(max_examples=30)
@given(
    st.lists(
        st.builds(
            lambda ms, billed, init, xray, status, space, end: (
                f"REPORT RequestId: {ID}\tDuration: {ms:.2f} ms\tBilled Duration: {billed} ms{space}"
                f"\tMemory Size: 128 MB\tMax Memory Used: 70 MB\t{init}{status}{xray}{end}"
            ),
            st.floats(0, 900_000),
            st.integers(0, 900_000),
            st.sampled_from(["", "Init Duration: 1.25 ms\t", "Init Duration: 1 ms\t", "Restore Duration: 3.00 ms\t"]),
            st.sampled_from(
                [
                    "",
                    f"\nXRAY TraceId: {ROOT}\tSegmentId: b7d5257b6249ab8a\tSampled: false\t",
                    f"\nXRAY TraceId: {ROOT}\tSegmentId: cut",
                ]
            ),
            st.sampled_from(["", "Status: timeout", "Status: error\tError Type: Runtime.ExitError"]),
            st.sampled_from(["", " "]),
            st.sampled_from(["", "\n", "\t", "garbage"]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_the_quick_way_and_the_parser_read_the_same(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    rows = invocations(tmp_path_factory.mktemp("x"), *texts)
    by_ptr = {row["ptr"]: {key: row[key] for key in log_tables.REPORT_TYPES} for row in rows}
    assert by_ptr == {
        f"events{number}": {key: parse_event(text).get(key) for key in log_tables.REPORT_TYPES}
        for number, text in enumerate(texts)
    }


@pytest.mark.parametrize(
    ("usual", "odd"),
    [
        ("REPORT RequestId", '"platform.report" RequestId'),
        (ID, "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz"),
        (ID, ID[:-1]),
        ("250.50", "1e3"),
        ("250.50", "-0.00"),
        ("250.50", "12.3456789"),
        ("562 ms", "12.7 ms"),
        ("562 ms", "1_28 ms"),
        ("128 MB", "0x10 MB"),
        ("70 MB", "+70 MB"),
        ("310.55", "310"),
        (ROOT, "é" + ROOT[2:]),
        (ROOT, ROOT[:-1]),
        ("b7d5257b6249ab8a", "cut"),
        ("Sampled: true", "Sampled: maybe"),
        ("Duration: 250.50 ms\tBilled", "Duration: 250.50 ms\tOther"),
        ("Max Memory Used", "Max Memory Kept"),
        ("\tInit Duration", "\tRestore Duration"),
    ],
)
def test_what_aws_does_not_write_is_left_to_the_parser(tmp_path: Path, usual: str, odd: str) -> None:
    text = REPORT.replace(usual, odd, 1)
    assert text != REPORT
    told = parse_event(text)
    found = [{key: row[key] for key in log_tables.REPORT_TYPES} for row in invocations(tmp_path, text)]
    expected = {key: told.get(key) for key in log_tables.REPORT_TYPES}
    assert found == ([expected] if told["kind"] == "report" else [])


def test_an_ordinary_record_is_read_without_the_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json_report(errorType='"E"')
    told = parse_event(text)
    monkeypatch.delattr(log_tables, "parse_event")
    (row,) = invocations(tmp_path, text)
    assert {key: row[key] for key in log_tables.REPORT_TYPES} == {key: told.get(key) for key in log_tables.REPORT_TYPES}
    assert (row["duration_ms"], row["billed_ms"], row["xray_trace_id"], row["sampled"]) == (17.493, 18, ROOT, True)


def test_attempts_of_one_event_are_a_row_each(tmp_path: Path) -> None:
    assert [row["request_id"] for row in invocations(tmp_path, REPORT, REPORT)] == [ID, ID]


def test_timestamps_in_milliseconds_are_understood(tmp_path: Path) -> None:
    assert invocations(tmp_path, REPORT, at="1791059777500")[0]["reported_at"] == AT_S


def test_nothing_read_gives_tables_of_the_right_columns(tmp_path: Path) -> None:
    log_tables.write_invocations([], tmp_path / "a.parquet")
    log_tables.write_errors([], tmp_path / "b.parquet")
    log_tables.write_correlations([], tmp_path / "c.parquet")
    log_tables.write_access_log([], tmp_path / "d.parquet")
    for name in "abcd":
        described = duckdb.execute("DESCRIBE SELECT * FROM read_parquet($1)", [str(tmp_path / f"{name}.parquet")])
        assert "ptr" in [row[0] for row in described.fetchall()]


def test_how_a_process_ended_is_in_the_runtime_done_record_of_a_json_log(tmp_path: Path) -> None:
    """The form: DataDog's Lambda extension, pull request 776, and AWS's telemetry schema."""

    def done(status: str, error_type: str) -> str:
        record = {"requestId": ID, "status": status, "errorType": error_type}
        return json.dumps({"time": "2026-10-03T20:36:17.500Z", "type": "platform.runtimeDone", "record": record})

    (row,) = errors(tmp_path, done("error", "Runtime.OutOfMemory"), done("error", "KeyError"))
    assert (row["kind"], row["request_id"], row["error_type"]) == ("runtime", ID, "Runtime.OutOfMemory")


def test_a_throttled_call_names_operation_resource_and_frame(tmp_path: Path) -> None:
    (error,) = errors(tmp_path, THROTTLED)
    assert {key: error[key] for key in ("kind", "error_type", "operation", "resource", "frame", "request_id")} == {
        "kind": "error",
        "error_type": "ProvisionedThroughputExceededException",
        "operation": "PutRecord",
        "resource": "stream votes",
        "frame": "handler.py:31 place_vote",
        "request_id": None,
    }
    assert error["logged_at"] == AT_S and error["message"] == THROTTLED


@pytest.mark.parametrize(
    ("message", "kind", "error_type", "request_id"),
    [
        (f"2024-03-04T17:22:38.033Z {ID} Task timed out after 3.00 seconds\n\n", "timeout", None, ID),
        (
            f"RequestId: {ID} Error: Runtime exited without providing a reason\nRuntime.ExitError",
            "runtime",
            "Runtime.ExitError",
            ID,
        ),
        (
            f'{{"log_level":"ERROR","errorType":"KeyError","errorMessage":"x","requestId":"{ID}"}}',
            "error",
            "KeyError",
            ID,
        ),
    ],
)
def test_every_kind_of_failure_is_told(
    tmp_path: Path, message: str, kind: str, error_type: str | None, request_id: str
) -> None:
    (error,) = errors(tmp_path, message)
    assert (error["kind"], error["error_type"], error["request_id"]) == (kind, error_type, request_id)


def test_what_only_looks_like_a_failure_is_left_out(tmp_path: Path) -> None:
    logged = f"[ERROR]\t2025-12-14T17:43:49.882Z\t{ID}\tcould not reach it, trying again"
    assert errors(tmp_path, logged, '{"level": "INFO", "errorType": "none"}', REPORT) == []


def test_half_a_character_in_a_json_record_spoils_no_table(tmp_path: Path) -> None:
    """Lambda cuts long lines, and JSON writes half an emoji as an escape that has no UTF-8 form."""
    (error,) = errors(tmp_path, json.dumps({"log_level": "ERROR", "errorType": "E", "errorMessage": "no \ud83d"}))
    assert error["error_message"] == "no ?"
    record = {"requestId": "\ud83d", "metrics": {"durationMs": 1.5}}
    (report,) = invocations(tmp_path, json.dumps({"type": "platform.report", "record": record}))
    assert (report["request_id"], report["duration_ms"]) == ("?", 1.5)


TOLD = ("kind", "error_type", "error_message", "frame")


@pytest.mark.parametrize(
    ("error_type", "message"),
    [
        ("ValueError", "gone: RequestId: 5"),
        ("ClientError", "An error occurred (InvalidCiphertextException) when calling the Decrypt operation: "),
        ("Übertragsfehler", "no bridge"),
        ("WorkerError", 'Traceback (most recent call last):\n  File "/var/task/worker.py", line 9, in do\nKeyError: 1'),
    ],
)
def test_an_exception_is_told_alike_by_text_and_by_json(tmp_path: Path, error_type: str, message: str) -> None:
    frame = '  File "/var/task/handler.py", line 31, in place_vote'
    text = f"[ERROR] {error_type}: {message}\nTraceback (most recent call last):\n{frame}\n"
    record = {"log_level": "ERROR", "errorMessage": message, "errorType": error_type, "stackTrace": [frame]}
    by_text, by_json = errors(tmp_path, text, json.dumps(record, separators=(",", ":"), ensure_ascii=False))
    assert {key: by_text[key] for key in TOLD} == {key: by_json[key] for key in TOLD}
    assert [by_text[key] for key in TOLD] == ["error", error_type, message.strip(), "handler.py:31 place_vote"]


def test_a_long_message_is_cut_to_its_limit(tmp_path: Path) -> None:
    (error,) = errors(tmp_path, "[ERROR] KeyError: " + "x" * 10_000 + "\nTraceback (most recent call last):")
    assert len(error["message"]) == log_tables.MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("text", "resource"),
    [
        ("on resource: arn:aws:sns:us-east-1:123456789012:swarmscope-sales because", "topic sales"),
        ("arn:aws:dynamodb:us-east-1:123456789012:table/swarmscope-votes is gone", "table votes"),
        ("arn:aws:sqs:eu-west-1:123456789012:orders", "queue orders"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:other-fn", "function other-fn"),
        ("Requested resource not found: Table: swarmscope-shops not found", "table shops"),
        ("nothing named", None),
    ],
)
def test_resources_are_named_without_the_stacks_prefix(tmp_path: Path, text: str, resource: str | None) -> None:
    (error,) = errors(tmp_path, f"[ERROR] ClientError: {text}\nTraceback (most recent call last):\n")
    assert error["resource"] == resource


@pytest.mark.parametrize(
    ("message", "request_id"),
    [
        (f'{{"level": "INFO", "swarmscope": 1, "correlation_id": "c", "hop": "h", "request_id": "{ID}"}}\n', ID),
        (f'[INFO]\t2025-12-14T17:43:49.882Z\t{ID}\t{{"swarmscope": 1, "correlation_id": "c", "hop": "h"}}\n', ID),
        (
            json.dumps(
                {"level": "INFO", "requestId": ID, "message": '{"swarmscope":1,"correlation_id":"c","hop":"h"}'}
            ),
            ID,
        ),
        ('{"swarmscope":1,"correlation_id":"c","hop":"h"}', None),
    ],
    ids=["printed", "logged as text", "logged as JSON", "without an id"],
)
def test_a_correlation_line_is_read_however_it_was_logged(tmp_path: Path, message: str, request_id: str | None) -> None:
    (line,) = correlations(tmp_path, message)
    assert (line["correlation_id"], line["hop"], line["request_id"]) == ("c", "h", request_id)
    assert (line["gateway_request_id"], line["message_id"]) == (None, None)


def test_half_a_character_in_a_correlation_line_costs_itself_alone(tmp_path: Path) -> None:
    line = '{"swarmscope": 1, "correlation_id": "c1", "customer": "\\ud83d"}'
    record = json.dumps({"level": "INFO", "message": line, "requestId": ID})
    assert [row["correlation_id"] for row in correlations(tmp_path, line, record)] == ["c1", "c1"]


def test_broken_correlation_lines_are_left_out(tmp_path: Path) -> None:
    broken = ['{"swarmscope": 1, "correl', 'swarmscope": 1', '{"swarmscope": 10}', '{"message": "{swarmscope: 1"}', ""]
    assert correlations(tmp_path, *broken) == []


ACCESS = {
    "requestId": "r",
    "extendedRequestId": "x=",
    "integrationRequestId": ID,
    "xrayTraceId": "-",
    "requestTimeEpoch": "1791059777250",
    "httpMethod": "POST",
    "path": "/prod/vote",
    "resourcePath": "/vote",
    "status": "502",
    "responseLatency": "48",
    "integrationStatus": "-",
    "lambdaServiceStatus": "200",
    "integrationLatency": "45",
    "integrationError": "-",
    "errorType": "INTEGRATION_FAILURE",
    "errorMessage": "Internal server error",
}


def test_the_stacks_access_log_is_understood(tmp_path: Path) -> None:
    rows, unreadable = access_log(tmp_path, json.dumps(ACCESS))
    assert rows == [
        {
            "at": 1791059777.25,
            "at_is_logged": False,
            "request_id": "r",
            "extended_request_id": "x=",
            "lambda_request_id": ID,
            "status": 502,
            "integration_status": 200,
            "handler_status": None,
            "integration_latency_ms": 45.0,
            "response_latency_ms": 48.0,
            "path": "/prod/vote",
            "method": "POST",
            "xray_trace_id": None,
            "error_type": "INTEGRATION_FAILURE",
            "error_message": "Internal server error",
            "ptr": "access0",
        }
    ]
    assert unreadable == 0


def test_an_access_log_tells_what_the_function_answered_from_what_the_service_did(tmp_path: Path) -> None:
    (row,), _ = access_log(tmp_path, '{"requestId": "r", "integrationStatus": "429", "lambdaServiceStatus": "200"}')
    assert (row["handler_status"], row["integration_status"]) == (429, 200)


def test_lines_of_an_access_log_that_are_no_json_are_counted(tmp_path: Path) -> None:
    rows, unreadable = access_log(tmp_path, "127.0.0.1 - - GET /", '{"requestId": "r"}', "[1]", '{"requestId": "', "3")
    assert [row["request_id"] for row in rows] == ["r"]
    # when it was logged, where the line does not say when it came
    assert (rows[0]["at"], rows[0]["at_is_logged"]) == (AT_S, True)
    assert unreadable == 4


def test_nothing_runs_in_no_memory(tmp_path: Path) -> None:
    written = invocations(tmp_path, REPORT.replace("Max Memory Used: 70 MB", "Max Memory Used: 0 MB"))
    assert (written[0]["memory_mb"], written[0]["max_memory_mb"]) == (128, None)


def test_events_that_need_the_parser_are_never_all_in_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tables, "_PARSED_AT_ONCE", 100)
    record = {"requestId": ID, "metrics": {"durationMs": 1.0}, "padding": "x" * 4000}
    files = raw(tmp_path, *[json.dumps({"type": "platform.report", "record": record})] * 2000)
    tracemalloc.start()
    try:
        assert log_tables.write_invocations(files, tmp_path / "invocations.parquet") == 2000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000, "the messages alone are 8 MB"
