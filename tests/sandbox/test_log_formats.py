"""Log events of functions whose LoggingConfig asks for JSON: the records of AWS's telemetry schema
(telemetry-schema-reference) at the levels that are written by default (monitoring-cloudwatchlogs-log-level)."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from analysis.lambda_lines import parse_event
from sandbox.log_formats import Failure, JsonFormat, Report
from tests.sandbox.lab import Lab, function

AT = 1_800_000_000.123
TIME = "2027-01-15T08:00:00.123Z"
ID = "6d68ca91-49c9-448d-89b8-7ca3e6dc66aa"
ROOT, SEGMENT = "1-62e900b2-710d76f009d6e7785905449a", "0efbd19962d95b05"
REPORT = Report(ID, 693.92, 1092, 128, 84, 397.68, None, None, (ROOT, SEGMENT, True), 3.0, None)
TRACING = {"spanId": SEGMENT, "type": "X-Amzn-Trace-Id", "value": f"Root={ROOT};Parent={SEGMENT};Sampled=1"}
METRICS = {"durationMs": 693.92, "billedDurationMs": 1092, "memorySizeMB": 128, "maxMemoryUsedMB": 84}


def ended(report: Report) -> list[Any]:
    return [json.loads(line) for line in JsonFormat().ended(AT, report)]


def test_an_invocation_that_succeeded_has_a_start_and_a_report():
    assert json.loads(JsonFormat().start(AT, REPORT, "$LATEST")) == {
        "time": TIME,
        "type": "platform.start",
        "record": {"requestId": ID, "version": "$LATEST", "tracing": TRACING},
    }
    assert ended(REPORT) == [
        {
            "time": TIME,
            "type": "platform.report",
            "record": {
                "requestId": ID,
                "metrics": METRICS | {"initDurationMs": 397.68},
                "status": "success",
                "tracing": TRACING,
            },
        }
    ]


def test_a_warm_untraced_invocation_says_nothing_of_init_and_trace():
    (report,) = ended(replace(REPORT, init_ms=None, xray=None))
    assert report["record"] == {"requestId": ID, "metrics": METRICS, "status": "success"}


def test_a_crash_is_named_by_its_runtime_done_record_alone():
    failed = replace(REPORT, xray=None, failure=Failure("exit", "Runtime.ExitError", "Runtime exited"))
    done, report = ended(failed)
    assert done["type"] == "platform.runtimeDone"
    assert done["record"] == {"requestId": ID, "status": "error", "errorType": "Runtime.ExitError"}
    assert (report["record"]["status"], "errorType" in report["record"]) == ("error", False)


def test_a_timeout_is_a_status_without_an_error_type():
    done, report = ended(replace(REPORT, xray=None, failure=Failure("timeout", "Sandbox.Timedout", "Task timed out")))
    assert done["record"] == {"requestId": ID, "status": "timeout"}
    assert report["record"]["status"] == "timeout"


def test_an_exception_is_logged_by_the_runtime_with_its_request_id():
    failure = Failure("exception", "KeyError", "'x'", ('  File "/var/task/handler.py", line 1, in handle\n    y\n',))
    logged, done, report = ended(replace(REPORT, failure=failure))
    assert logged == {
        "timestamp": "2027-01-15T08:00:00Z",
        "log_level": "ERROR",
        "errorMessage": "'x'",
        "errorType": "KeyError",
        "requestId": ID,
        "stackTrace": list(failure.stack_trace),
    }
    assert (done["record"]["errorType"], report["record"]["status"]) == ("KeyError", "error")


def test_a_repeated_init_that_fails_again_is_reported_with_its_phase():
    failure = Failure("init", "Runtime.ImportModuleError", "No module named 'x'")
    kinds = [line.get("type") for line in ended(replace(REPORT, failure=failure))]
    assert kinds == [None, "platform.initReport", "platform.runtimeDone", "platform.report"]
    assert ended(replace(REPORT, failure=failure))[1]["record"] == {
        "initializationType": "on-demand",
        "phase": "invoke",
        "status": "error",
        "errorType": "Runtime.ImportModuleError",
        "metrics": {"durationMs": 693.92},
    }


def test_what_a_function_in_json_format_writes_from_start_to_end():
    code = (
        "import logging\n"
        "def handle(event, context):\n"
        "    print('{\"printed\": 1}')\n"
        "    logging.getLogger('mine').info('logged')\n"
        "    return {}"
    )
    lab = Lab(function("echo", code=code, log_format="JSON"))
    lab.invoke()
    lines = [json.loads(line) for line in lab.logs.messages()]
    kinds = [line.get("type", line.get("logger")) for line in lines]
    assert kinds == ["platform.initStart", "platform.start", None, "mine", "platform.report"]
    request_id = lines[-1]["record"]["requestId"]
    assert lines[2] == {"printed": 1}
    assert (lines[3]["level"], lines[3]["message"], lines[3]["requestId"]) == ("INFO", "logged", request_id)
    assert lines[0]["record"]["initializationType"] == "on-demand"


def test_an_environment_restored_from_a_snapshot():
    """SnapStart: no init; the restore is the caller's wait, and a part of it is billed."""
    code = "import os\ndef handle(event, context):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']"
    lab = Lab(function("echo", code=code, snap_start=True, version="1"))
    assert lab.invoke().payload == b'"snap-start"'
    lab.invoke()
    restore_start, restore_report, start, _, first, *_, second = lab.logs.messages()
    assert restore_start.startswith("RESTORE_START Runtime Version: python:3.12")
    event = parse_event(first)
    assert parse_event(restore_report) == {"kind": "restore_report", "restore_ms": event["restore_ms"]}
    assert start.startswith("START ") and "Restore" not in second and "Init" not in first
    assert event["billed_restore_ms"] == 182
    assert event["billed_ms"] == math.ceil(event["duration_ms"]) + 182
    assert (lab.truth.function("echo").cold_starts, lab.truth.function("echo").billed_ms) == (
        1,
        event["billed_ms"] + parse_event(second)["billed_ms"],
    )


def test_a_restored_environment_in_json_format():
    lab = Lab(function("echo", log_format="JSON", snap_start=True, version="1"))
    lab.invoke()
    lines = [json.loads(line) for line in lab.logs.messages()]
    assert [line["type"] for line in lines] == [
        "platform.restoreStart", "platform.restoreReport", "platform.start", "platform.report",
    ]  # fmt: skip
    restored_ms = lines[1]["record"]["metrics"]["durationMs"]
    assert lines[3]["record"]["metrics"]["restoreDurationMs"] == restored_ms
