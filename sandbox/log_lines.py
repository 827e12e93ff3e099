"""The lines AWS Lambda and its Python runtime write to CloudWatch Logs, in their exact text format.

Forms from AWS documentation (lambda-runtime-environment, python-logging, snapstart-monitoring), from real logs, and
for the error lines from the Python runtime interface client (awslambdaric/bootstrap.py). Tabs separate the fields of
REPORT, and the durations have two decimals, billed durations none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

NO_BREAK_SPACE = "\u00a0"


def log_stream(created_at: float, version: str, instance: str) -> str:
    """`2026/11/21/[$LATEST]<32 hex>`: one stream per execution environment."""
    return f"{datetime.fromtimestamp(created_at, UTC):%Y/%m/%d}/[{version}]{instance}"


def iso_millis(at: float) -> str:
    """`2026-11-21T10:00:00.123Z`."""
    millis = round(at * 1000)
    return f"{datetime.fromtimestamp(millis // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{millis % 1000:03d}Z"


def init_start(runtime_version: str, region: str, runtime_hash: str) -> str:
    arn = f"arn:aws:lambda:{region}::runtime:{runtime_hash}"
    return f"INIT_START Runtime Version: {runtime_version}\tRuntime Version ARN: {arn}\n"


def init_report(init_ms: float, phase: str, status: str, error_type: str | None) -> str:
    """Written when init fails, and always for provisioned concurrency.

    `phase` is `init`, or `invoke` for a repeated init.
    """
    cause = f"\tError Type: {error_type}" if error_type else ""
    return f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: {phase}\tStatus: {status}{cause}\n"


def restore_start(runtime_version: str, region: str, runtime_hash: str) -> str:
    return init_start(runtime_version, region, runtime_hash).replace("INIT_START", "RESTORE_START", 1)


def restore_report(restore_ms: float) -> str:
    return f"RESTORE_REPORT Restore Duration: {restore_ms:.2f} ms\n"


def start(request_id: str, version: str) -> str:
    return f"START RequestId: {request_id} Version: {version}\n"


def end(request_id: str) -> str:
    return f"END RequestId: {request_id}\n"


def report(
    request_id: str,
    duration_ms: float,
    billed_ms: int,
    memory_mb: int,
    max_memory_mb: int,
    *,
    init_ms: float | None = None,
    restore_ms: float | None = None,
    billed_restore_ms: int | None = None,
    status: str | None = None,
    error_type: str | None = None,
    xray: tuple[str, str, bool] | None = None,
) -> str:
    """REPORT, with its second line for a traced request: `xray` is (trace Root, segment id, sampled)."""
    line = (
        f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\tBilled Duration: {billed_ms} ms"
        f"\tMemory Size: {memory_mb} MB\tMax Memory Used: {max_memory_mb} MB\t"
    )
    if init_ms is not None:
        line += f"Init Duration: {init_ms:.2f} ms\t"
    if restore_ms is not None:
        line += f"Restore Duration: {restore_ms:.2f} ms\tBilled Restore Duration: {billed_restore_ms} ms\t"
    if status is not None:
        line += f"Status: {status}" + (f"\tError Type: {error_type}" if error_type else "")
    if xray is None:
        return line + "\n"
    root, segment_id, sampled = xray
    return f"{line}\nXRAY TraceId: {root}\tSegmentId: {segment_id}\tSampled: {'true' if sampled else 'false'}\t\n"


def timed_out(at: float, request_id: str, timeout_s: float) -> str:
    """The old style's event of its own before END."""
    return f"{iso_millis(at)} {request_id} Task timed out after {timeout_s:.2f} seconds\n\n"


def exited(request_id: str, reason: str) -> str:
    """The old style's event of its own before END, for a crash or exhausted memory."""
    return f"RequestId: {request_id} Error: {reason}\nRuntime.ExitError\n"


def python_error(error_type: str, message: str, stack_trace: Sequence[str]) -> str:
    """An uncaught exception: one event without a request id, indented by no-break spaces.

    `stack_trace` holds entries as `traceback.format_list` makes them, each of one or two lines.
    """
    lines = [f"[ERROR] {error_type}: {message}" if message else f"[ERROR] {error_type}"]
    lines.append("Traceback (most recent call last):")
    for entry in stack_trace:
        for line in entry.splitlines():
            stripped = line.lstrip(" ")
            lines.append(NO_BREAK_SPACE * (len(line) - len(stripped)) + stripped)
    return "\n".join(lines)


def python_logging(level: str, at: float, request_id: str, message: str) -> str:
    """A line of Python's `logging` in the text format."""
    return f"[{level}]\t{iso_millis(at)}\t{request_id}\t{message}\n"
