"""What Lambda and its Python runtime write of environments and invocations, in the log format of the function.

`TextFormat` is the default of all runtimes. `JsonFormat` is what LoggingConfig.LogFormat = JSON asks for: system lines
are records `{"time", "type": "platform.*", "record"}`, the runtime's own lines carry `timestamp`, what a handler prints
stays as it is. Both at the levels that AWS sets unless told otherwise: `platform.runtimeDone` is there for invocations
that failed only, `platform.initReport` for inits that failed, and JSON knows no END.

Sources: AWS Lambda developer guide (telemetry-schema-reference, monitoring-cloudwatchlogs-logformat,
monitoring-cloudwatchlogs-log-level, python-logging) and the Python runtime interface client's bootstrap.py. That
`platform.runtimeDone` names `Runtime.OutOfMemory`: github.com/DataDog/datadog-lambda-extension/pull/776.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sandbox import log_lines
from sandbox.definitions import FunctionDefinition

XRay = tuple[str, str, bool]
"""Trace Root, segment id, sampled."""

ON_DEMAND, PROVISIONED = "on-demand", "provisioned-concurrency"
"""Initialization types, as JSON records and AWS_LAMBDA_INITIALIZATION_TYPE have them."""


@dataclass(frozen=True)
class Failure:
    """Why an invocation failed. `how`: it ran into the function's timeout, the runtime's process exited, the init that
    it repeated failed, or the handler (or its result) raised."""

    how: Literal["timeout", "exit", "init", "exception"]
    type: str
    message: str
    stack_trace: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """What the end of an invocation says of it. None where there was none."""

    request_id: str
    duration_ms: float
    billed_ms: int
    memory_mb: int
    max_memory_mb: int
    init_ms: float | None
    restore_ms: float | None
    billed_restore_ms: int | None
    xray: XRay | None
    timeout_s: float
    failure: Failure | None
    initialization_type: str = ON_DEMAND
    """Of its environment."""


class LogFormat(Protocol):
    """The log events of one function. Times are epoch seconds; each string is an event."""

    level: int
    """Of the root logger, unless the function sets another."""
    new_style: bool
    """Whether failures stand in the report of the invocation, rather than in events of their own."""

    def init_start(
        self,
        at: float,
        function: FunctionDefinition,
        runtime_version: str,
        runtime_hash: str,
        initialization_type: str = ON_DEMAND,
    ) -> str: ...

    def init_report(
        self,
        at: float,
        init_ms: float,
        phase: str,
        status: str,
        error_type: str | None,
        initialization_type: str = ON_DEMAND,
    ) -> str:
        """Of an init that failed, or of any of a provisioned environment. `phase` is `init`, or `invoke` for a repeated
        one."""
        ...

    def restore_start(
        self, at: float, function: FunctionDefinition, runtime_version: str, runtime_hash: str
    ) -> str: ...

    def restore_report(self, at: float, restore_ms: float) -> str: ...

    def error(self, at: float, request_id: str, error_type: str, message: str, stack_trace: Sequence[str]) -> str:
        """An uncaught exception; `request_id` is empty in an init."""
        ...

    def logged(self, at: float, request_id: str, level: str, logger: str, message: str) -> str:
        """A line of Python's `logging`."""
        ...

    def start(self, at: float, report: Report, version: str) -> str:
        """The invocation starts. Only what the report knows by then is looked at."""
        ...

    def ended(self, at: float, report: Report) -> list[str]:
        """All events from the invocation's failure to its report."""
        ...


class TextFormat:
    """Plain text, of the new or the old style of failures."""

    level = logging.WARNING

    def __init__(self, *, new_style: bool) -> None:
        self.new_style = new_style

    def init_start(
        self,
        at: float,
        function: FunctionDefinition,
        runtime_version: str,
        runtime_hash: str,
        initialization_type: str = ON_DEMAND,
    ) -> str:
        return log_lines.init_start(runtime_version, function.region, runtime_hash)

    def init_report(
        self,
        at: float,
        init_ms: float,
        phase: str,
        status: str,
        error_type: str | None,
        initialization_type: str = ON_DEMAND,
    ) -> str:
        return log_lines.init_report(init_ms, phase, status, error_type)

    def restore_start(self, at: float, function: FunctionDefinition, runtime_version: str, runtime_hash: str) -> str:
        return log_lines.restore_start(runtime_version, function.region, runtime_hash)

    def restore_report(self, at: float, restore_ms: float) -> str:
        return log_lines.restore_report(restore_ms)

    def error(self, at: float, request_id: str, error_type: str, message: str, stack_trace: Sequence[str]) -> str:
        return log_lines.python_error(error_type, message, stack_trace)

    def logged(self, at: float, request_id: str, level: str, logger: str, message: str) -> str:
        return log_lines.python_logging(level, at, request_id, message)

    def start(self, at: float, report: Report, version: str) -> str:
        return log_lines.start(report.request_id, version)

    def ended(self, at: float, report: Report) -> list[str]:
        lines, failure, status, error_type = [], report.failure, None, None
        if failure is None:
            pass
        elif failure.how == "timeout":
            if self.new_style:
                status = "timeout"
            else:
                lines.append(log_lines.timed_out(at, report.request_id, report.timeout_s))
        elif failure.how == "exit":
            if self.new_style:
                status, error_type = "error", failure.type
            else:
                lines.append(log_lines.exited(report.request_id, failure.message))
        else:
            lines.append(self.error(at, report.request_id, failure.type, failure.message, failure.stack_trace))
            if failure.how == "init":
                status, error_type = "error", failure.type
                lines.append(self.init_report(at, report.duration_ms, "invoke", status, error_type))
        lines.append(log_lines.end(report.request_id))
        lines.append(
            log_lines.report(
                report.request_id,
                report.duration_ms,
                report.billed_ms,
                report.memory_mb,
                report.max_memory_mb,
                init_ms=report.init_ms,
                restore_ms=report.restore_ms,
                billed_restore_ms=report.billed_restore_ms,
                status=status,
                error_type=error_type,
                xray=report.xray,
            )
        )
        return lines


class JsonFormat:
    """JSON records. Failures have the new style: no source has seen another in this format."""

    level = logging.INFO
    new_style = True

    def init_start(
        self,
        at: float,
        function: FunctionDefinition,
        runtime_version: str,
        runtime_hash: str,
        initialization_type: str = ON_DEMAND,
    ) -> str:
        record = {"initializationType": initialization_type, "phase": "init"}
        return _platform(at, "initStart", record | _runtime(function, runtime_version, runtime_hash))

    def init_report(
        self,
        at: float,
        init_ms: float,
        phase: str,
        status: str,
        error_type: str | None,
        initialization_type: str = ON_DEMAND,
    ) -> str:
        record: dict[str, Any] = {"initializationType": initialization_type, "phase": phase, "status": status}
        if error_type:
            record["errorType"] = error_type
        return _platform(at, "initReport", record | {"metrics": {"durationMs": init_ms}})

    def restore_start(self, at: float, function: FunctionDefinition, runtime_version: str, runtime_hash: str) -> str:
        return _platform(at, "restoreStart", _runtime(function, runtime_version, runtime_hash))

    def restore_report(self, at: float, restore_ms: float) -> str:
        return _platform(at, "restoreReport", {"status": "success", "metrics": {"durationMs": restore_ms}})

    def error(self, at: float, request_id: str, error_type: str, message: str, stack_trace: Sequence[str]) -> str:
        return _line(
            {
                "timestamp": _seconds(at),
                "log_level": "ERROR",
                "errorMessage": message,
                "errorType": error_type,
                "requestId": request_id,
                "stackTrace": list(stack_trace),
            }
        )

    def logged(self, at: float, request_id: str, level: str, logger: str, message: str) -> str:
        line = {"timestamp": _seconds(at), "level": level, "message": message, "logger": logger}
        return _line(line | {"requestId": request_id})

    def start(self, at: float, report: Report, version: str) -> str:
        return _platform(at, "start", {"requestId": report.request_id, "version": version} | _tracing(report.xray))

    def ended(self, at: float, report: Report) -> list[str]:
        lines, failure, status = [], report.failure, "success"
        if failure is not None:
            status = "timeout" if failure.how == "timeout" else "error"
            if failure.how in ("init", "exception"):
                lines.append(self.error(at, report.request_id, failure.type, failure.message, failure.stack_trace))
            if failure.how == "init":
                lines.append(
                    self.init_report(at, report.duration_ms, "invoke", status, failure.type, report.initialization_type)
                )
            done = {"requestId": report.request_id, "status": status}
            done |= {} if failure.how == "timeout" else {"errorType": failure.type}
            lines.append(_platform(at, "runtimeDone", done | _tracing(report.xray)))
        metrics: dict[str, Any] = {"durationMs": report.duration_ms, "billedDurationMs": report.billed_ms}
        metrics |= {"memorySizeMB": report.memory_mb, "maxMemoryUsedMB": report.max_memory_mb}
        if report.init_ms is not None:
            metrics["initDurationMs"] = report.init_ms
        if report.restore_ms is not None:
            metrics["restoreDurationMs"] = report.restore_ms
        record = {"requestId": report.request_id, "metrics": metrics, "status": status} | _tracing(report.xray)
        lines.append(_platform(at, "report", record))
        return lines


def _platform(at: float, kind: str, record: dict[str, Any]) -> str:
    return _line({"time": log_lines.iso_millis(at), "type": f"platform.{kind}", "record": record})


def _runtime(function: FunctionDefinition, runtime_version: str, runtime_hash: str) -> dict[str, Any]:
    return {
        "runtimeVersion": runtime_version,
        "runtimeVersionArn": f"arn:aws:lambda:{function.region}::runtime:{runtime_hash}",
        "functionName": function.name,
        "functionVersion": function.version,
    }


def _tracing(xray: XRay | None) -> dict[str, Any]:
    if xray is None:
        return {}
    root, segment_id, sampled = xray
    value = f"Root={root};Parent={segment_id};Sampled={int(sampled)}"
    return {"tracing": {"spanId": segment_id, "type": "X-Amzn-Trace-Id", "value": value}}


def _seconds(at: float) -> str:
    """`2026-11-21T10:00:00Z`: the Python runtime's timestamps are whole seconds in this format."""
    return log_lines.iso_millis(int(at)).replace(".000Z", "Z")


def _line(record: dict[str, Any]) -> str:
    # not orjson: a handler's text may hold half a character, which has no UTF-8 form
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
