"""What one Lambda log event says: text or JSON in, a dictionary out.

    >>> parse_event("REPORT RequestId: 8c3...\\tDuration: 12.50 ms\\tBilled Duration: 13 ms\\t...")
    {"kind": "report", "request_id": "8c3...", "duration_ms": 12.5, "billed_ms": 13, ...}

Values are found by their names, not by their places, because optional parts come and go (Init Duration, Restore
Duration, Status, the X-Ray line) and their order is not documented. A key is there only where the text has the whole
value: absent is absent, never 0, and what was cut off in the middle counts as absent. What cannot be understood is
`{"kind": "unknown"}`; nothing raises.

Sources of the forms: AWS Lambda developer guide (python-logging, lambda-runtime-environment, snapstart-monitoring,
monitoring-cloudwatchlogs-logformat, telemetry-schema-reference) and the Python runtime interface client's
`bootstrap.py`, which writes tracebacks with `\\n` or `\\r` between lines and no-break spaces as indentation.

It does not read files or join events: `analysis.parse`, `analysis.log_tables` and `analysis.join` do.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

Event = dict[str, Any]
"""Keys, each only where the text has the value.

| key | type, unit |
|---|---|
| kind | start, end, report, init_start, init_report, restore_start, restore_report, runtime_done, error, timeout, |
|      | app, xray, extension, unknown; another `platform.someThing` is some_thing |
| request_id, version | |
| duration_ms, init_ms, restore_ms | float, milliseconds |
| billed_ms, billed_restore_ms | int, milliseconds |
| memory_mb, max_memory_mb | int, in Lambda's MB (1,024 KB) |
| xray_trace_id, segment_id, sampled | the X-Ray Root; 16 hex digits; bool |
| status, error_type, error_message, timed_out_after_s, phase | |
| level, message, time | time as the text has it |
| stack_trace | the traceback's lines, where the event has one |
| correlation_id, gateway_request_id, hop, message_id | of a correlation line |
| type, initialization_type, runtime_version, runtime_version_arn, produced_bytes, ptr, name, state, events, | as |
| service, cold_start, function_memory_mb | named in the source |

An `error` is one the runtime wrote because an invocation failed. What the application logged itself, at any level and
with or without a traceback, is `app`.
"""

_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}(?![0-9a-fA-F-])"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_LEVELS = r"TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|NOTSET"
_END = r"(?=\s|$)"
_MS = rf"([0-9]{{1,12}}(?:\.[0-9]{{1,9}})?) ms{_END}"
_WHOLE_MS = rf"([0-9]{{1,12}}) ms{_END}"
_MB = rf"([0-9]{{1,9}}) MB{_END}"
_TRACE_ID = r"1-[0-9a-f]{8}-[0-9a-f]{24}(?![0-9a-f])"


def _boolean(text: str) -> bool:
    return text == "true"


_FIELDS: dict[str, tuple[str, re.Pattern[str], Callable[[str], Any]]] = {
    "RequestId": ("request_id", re.compile(rf"({_UUID})"), str),
    "Version": ("version", re.compile(rf"(\$LATEST|[0-9]{{1,18}}){_END}"), str),
    "Duration": ("duration_ms", re.compile(_MS), float),
    "Billed Duration": ("billed_ms", re.compile(_WHOLE_MS), int),
    "Memory Size": ("memory_mb", re.compile(_MB), int),
    "Max Memory Used": ("max_memory_mb", re.compile(_MB), int),
    "Init Duration": ("init_ms", re.compile(_MS), float),
    "Restore Duration": ("restore_ms", re.compile(_MS), float),
    "Billed Restore Duration": ("billed_restore_ms", re.compile(_WHOLE_MS), int),
    "XRAY TraceId": ("xray_trace_id", re.compile(rf"({_TRACE_ID})"), str),
    "SegmentId": ("segment_id", re.compile(r"([0-9a-f]{16})(?![0-9a-f])"), str),
    "Sampled": ("sampled", re.compile(rf"(true|false){_END}"), _boolean),
    "Status": ("status", re.compile(rf"(success|failure|error|timeout){_END}"), str),
    "Error Type": ("error_type", re.compile(r"([A-Za-z][\w.$]*)"), str),
    "Phase": ("phase", re.compile(rf"(init|invoke|restore|snap-start){_END}"), str),
    "Runtime Version": ("runtime_version", re.compile(r"([\w.:-]+)"), str),
    "Runtime Version ARN": ("runtime_version_arn", re.compile(r"(arn:[\w.:/-]+)"), str),
}
# The longest name first: "Billed Duration" must not be read as "Duration".
_FIELD = re.compile(r"(?<!\S)(" + "|".join(sorted(_FIELDS, key=len, reverse=True)) + r"): ")

_PLATFORM = re.compile(
    r"(START|END|REPORT) (?=RequestId: )"
    r"|(INIT_START|RESTORE_START)\s+(?=Runtime Version)"
    r"|(INIT_REPORT|RESTORE_REPORT) (?=\w+ Duration: |Phase: |Status: )"
    r"|(XRAY) (?=TraceId: )"
)
_TIMEOUT = re.compile(rf"(?:({_TIME})\s+)?({_UUID})\s+(?=Task timed out)")
_TIMED_OUT = re.compile(r"Task timed out after ([0-9]{1,6}\.[0-9]{2}) seconds")
_RUNTIME_ERROR = re.compile(rf"(?:({_TIME})\s+)?RequestId: ({_UUID}) (?:Error: |(?=Process exited before completing))")
_RUNTIME_TYPE = re.compile(r"(?:^|[\r\n ])((?:Runtime|Sandbox|Extension)\.\w+)\s*$")
_TRACEBACK = "Traceback (most recent call last):"
_PYTHON_ERROR = re.compile(r"\[ERROR\] (?:([^\W\d][\w.]*)(?:: |:?(?=[\r\n]|$)))?")
_PYTHON_APP = re.compile(rf"\[({_LEVELS})\](?:\t({_TIME})\t({_UUID})?\t|[ \t]+({_TIME})[ \t]+(?:({_UUID})[ \t]+)?)")
_NODE_APP = re.compile(rf"({_TIME})[ \t]+({_UUID}|undefined)[ \t]+({_LEVELS})[ \t]+")
_NODE_FAILURE = re.compile(r"(?:Invoke Error|Uncaught Exception|Unhandled Promise Rejection)\s+(?=\{)")
_EXTENSION = re.compile(
    r"EXTENSION\s+Name: (?P<name>[\w.-]+)\s+State: (?P<state>\w+)\s+Events: \[(?P<events>[A-Z, ]*)\]"
)
# What `aws logs tail`, `sam logs`, awslogs and an export put before an event: group, stream, time, in any order.
_EXPORT_PREFIX = re.compile(
    rf"""(?:
        (?P<time>{_TIME} | [0-9]{{13}})
      | [0-9]{{4}}/[0-9]{{2}}/[0-9]{{2}}/(?:[^\s\[\]]*)\[[^\s\[\]]+\][0-9a-f]+
      | /aws/\S+
    )(?:[ \t]+|,)""",
    re.VERBOSE,
)
_SNAKE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PLATFORM_TYPE = re.compile(r"platform\.([a-z][A-Za-z]{0,60})")

_JSON_METRICS = {
    "durationMs": "duration_ms",
    "billedDurationMs": "billed_ms",
    "memorySizeMB": "memory_mb",
    "maxMemoryUsedMB": "max_memory_mb",
    "initDurationMs": "init_ms",
    "restoreDurationMs": "restore_ms",
    "billedRestoreDurationMs": "billed_restore_ms",
    "producedBytes": "produced_bytes",
}
_JSON_RECORD = {
    "requestId": "request_id",
    "version": "version",
    "status": "status",
    "errorType": "error_type",
    "phase": "phase",
    "initializationType": "initialization_type",
    "runtimeVersion": "runtime_version",
    "runtimeVersionArn": "runtime_version_arn",
}
_DURATION_KEY = {"init_report": "init_ms", "restore_report": "restore_ms"}

_JSON_APP: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("request_id", ("requestId", "function_request_id", "request_id", "aws_request_id", "awsRequestId")),
    ("level", ("level", "log_level", "levelname")),
    ("time", ("timestamp", "time")),
    ("error_type", ("errorType",)),
    ("error_message", ("errorMessage",)),
    ("service", ("service",)),
)
"""Key of ours -> names of it in JSON lines, the first that is there wins: Lambda's own and those of Powertools."""

_CORRELATION_KEYS = ("correlation_id", "gateway_request_id", "hop", "message_id")


def parse_event(text: str) -> Event:
    """What the event says; see `Event` for the keys."""
    prefix_time = None
    rest = text.lstrip("\ufeff \t\r\n")
    # At most group, stream, time and a second time: more of them would be the application's own text.
    for _ in range(4):
        event = _parse(rest)
        if event is not None:
            if prefix_time is not None:
                event.setdefault("time", prefix_time)
            return event
        prefix = _EXPORT_PREFIX.match(rest)
        if prefix is None:
            break
        prefix_time = prefix["time"] or prefix_time
        rest = rest[prefix.end() :]
    return {"kind": "unknown"}


def is_failure(event: Event) -> bool:
    """Whether the event is evidence that an invocation failed, other than its REPORT."""
    return event["kind"] in ("error", "timeout")


def _parse(text: str) -> Event | None:
    if text.startswith(("{", "[{")):
        return _json_event(text)
    for form in (_platform, _timeout, _runtime_error, _python_app, _python_error, _node_app, _extension):
        event = form(text)
        if event is not None:
            return event
    return None


# --- text -----------------------------------------------------------------------------------------------------------


def _platform(text: str) -> Event | None:
    start = _PLATFORM.match(text)
    if start is None:
        return None
    kind = (start[1] or start[2] or start[3] or start[4]).lower()
    return {"kind": kind} | _fields(text[start.start(4) if kind == "xray" else start.end() :])


def _fields(text: str) -> Event:
    """Every `Name: value` of a platform line whose value is whole. The first of two with one name counts."""
    found: Event = {}
    for name in _FIELD.finditer(text):
        key, pattern, convert = _FIELDS[name[1]]
        value = pattern.match(text, name.end())
        if value is not None and key not in found:
            found[key] = convert(value[1])
    return found


def _timeout(text: str) -> Event | None:
    match = _TIMEOUT.match(text)
    if match is None:
        return None
    event: Event = {"kind": "timeout", "request_id": match[2]} | _timed_out_after(text[match.end() :])
    return event | ({"time": match[1]} if match[1] else {})


def _timed_out_after(text: str) -> Event:
    match = _TIMED_OUT.match(text)
    return {"timed_out_after_s": float(match[1])} if match else {}


def _runtime_error(text: str) -> Event | None:
    """`RequestId: <id> Error: <message>`, newline, `Runtime.<Type>`; or the old `... Process exited before ...`."""
    match = _RUNTIME_ERROR.match(text)
    if match is None:
        return None
    body = text[match.end() :].rstrip()
    error_type = _RUNTIME_TYPE.search(body, max(0, len(body) - 100))
    message = body[: error_type.start()].rstrip() if error_type else body
    event: Event = {"kind": "timeout" if message.startswith("Task timed out") else "error", "request_id": match[2]}
    if match[1]:
        event["time"] = match[1]
    if message:
        event["error_message"] = message
    if error_type:
        event["error_type"] = error_type[1]
    return event | _timed_out_after(message)


def _python_error(text: str) -> Event | None:
    """`[ERROR] <Type>: <message>` and, mostly, a traceback; the runtime leaves out a type or message that is empty."""
    match = _PYTHON_ERROR.match(text)
    if match is None:
        return None
    message, traceback, frames = _parted_at_traceback(text[match.end() :])
    if not match[1] and not traceback:
        return None
    event: Event = {"kind": "error", "level": "ERROR"}
    if match[1]:
        event["error_type"] = match[1]
    if message.strip():
        event["error_message"] = message.strip()
    if frames.strip():
        event["stack_trace"] = _lines(frames)
    return event


def _parted_at_traceback(text: str) -> tuple[str, str, str]:
    """Before the runtime's own traceback, its head, behind it. A message that quotes another one has such a line, too:
    the runtime's is the last."""
    last = max(text.rfind(f"{end}{_TRACEBACK}") for end in "\r\n")
    message, head, frames = text[last + 1 :].partition(_TRACEBACK)
    return text[: last + 1] + message, head, frames


def _python_app(text: str) -> Event | None:
    match = _PYTHON_APP.match(text)
    if match is None:
        return None
    event: Event = {"kind": "app", "level": match[1], "time": match[2] or match[4]}
    return _with_message(event, match[3] or match[5], text[match.end() :])


def _node_app(text: str) -> Event | None:
    match = _NODE_APP.match(text)
    if match is None:
        return None
    event: Event = {"kind": "app", "level": match[3], "time": match[1]}
    request_id = None if match[2] == "undefined" else match[2]
    rest = text[match.end() :]
    failure = _NODE_FAILURE.match(rest)
    if failure is None:
        return _with_message(event, request_id, rest)
    payload = _load_object(rest[failure.end() :]) or {}
    return _with_message(event | {"kind": "error"} | _error_payload(payload), request_id, rest)


def _with_message(event: Event, request_id: str | None, message: str) -> Event:
    if request_id:
        event["request_id"] = request_id
    if message.strip():
        event["message"] = message.rstrip("\r\n")
    return event


def _extension(text: str) -> Event | None:
    match = _EXTENSION.match(text)
    if match is None:
        return None
    events = [name for name in match["events"].replace(" ", "").split(",") if name]
    return {"kind": "extension", "name": match["name"], "state": match["state"], "events": events}


def _lines(text: str) -> list[str]:
    return [line.replace("\u00a0", " ") for line in re.split(r"[\r\n]+", text) if line.strip()]


# --- JSON -----------------------------------------------------------------------------------------------------------


def _json_event(text: str) -> Event | None:
    if text.startswith("[{"):
        return _insights_row(text)
    record = _load_object(text)
    if record is None:
        return None
    platform = _PLATFORM_TYPE.fullmatch(_text(record.get("type")) or "")
    if platform is not None and isinstance(record.get("record", {}), dict):
        return _platform_record(_SNAKE.sub("_", platform[1]).lower(), record)
    event = _app_record(record)
    return event if len(event) > 1 else None


def _platform_record(kind: str, envelope: Event) -> Event:
    event: Event = {"kind": kind, "type": envelope["type"]}
    record = envelope.get("record", {})
    if _text(envelope.get("time")):
        event["time"] = envelope["time"]
    for name, key in _JSON_RECORD.items():
        if _text(record.get(name)):
            event[key] = record[name]
    metrics = record.get("metrics")
    for name, key in _JSON_METRICS.items() if isinstance(metrics, dict) else ():
        value = metrics.get(name)
        if _is_amount(value):
            event[_DURATION_KEY.get(kind, key) if name == "durationMs" else key] = value
    tracing = record.get("tracing")
    if isinstance(tracing, dict):
        event |= _trace_header(_text(tracing.get("value")) or "")
    return event


def _trace_header(value: str) -> Event:
    """`Root=1-...;Parent=...;Sampled=1`: Parent is the caller's segment, so it is no `segment_id`."""
    parts = dict(part.strip().split("=", 1) for part in value.split(";") if "=" in part)
    event: Event = {}
    if re.fullmatch(_TRACE_ID, parts.get("Root", "")):
        event["xray_trace_id"] = parts["Root"]
    if parts.get("Sampled") in ("0", "1"):
        event["sampled"] = parts["Sampled"] == "1"
    return event


def _app_record(record: Event) -> Event:
    event: Event = {"kind": "app"}
    for key, names in _JSON_APP:
        value = next((record[name] for name in names if _text(record.get(name))), None)
        if value is not None:
            event[key] = value
    if re.fullmatch(_TRACE_ID, _text(record.get("xray_trace_id")) or ""):
        event["xray_trace_id"] = record["xray_trace_id"]
    if isinstance(record.get("cold_start"), bool):
        event["cold_start"] = record["cold_start"]
    memory = _text(record.get("function_memory_size")) or ""
    if re.fullmatch(r"[0-9]{1,6}", memory):
        event["function_memory_mb"] = int(memory)
    if record.get("swarmscope") == 1:
        event |= {key: record[key] for key in _CORRELATION_KEYS if _text(record.get(key))}
    message = record.get("message", record.get("msg"))
    if _text(message):
        event["message"] = message
    # Node.js in JSON format nests the payload of a failure in `message`.
    payload = message if isinstance(message, dict) and "errorType" in message else record
    # The runtime writes `log_level` (Python) or a bare payload; a logger's `level` means the application logged it.
    if "errorType" in payload and (payload is message or "level" not in record):
        event |= {"kind": "error"} | _error_payload(payload)
    elif isinstance(record.get("stackTrace"), list):
        event["stack_trace"] = _stack(record["stackTrace"])
    return event


def _error_payload(payload: Event) -> Event:
    """The keys of `{"errorType", "errorMessage", "stackTrace" | "stack"}` that are there."""
    event: Event = {}
    if _text(payload.get("errorType")):
        event["error_type"] = payload["errorType"]
    if _text(payload.get("errorMessage")):
        event["error_message"] = payload["errorMessage"]
        timed_out = _TIMED_OUT.search(payload["errorMessage"])
        if timed_out and event.get("error_type") in ("Sandbox.Timedout", "Sandbox.Timeout"):
            event |= {"kind": "timeout", "timed_out_after_s": float(timed_out[1])}
    stack = payload.get("stackTrace", payload.get("stack"))
    if isinstance(stack, list):
        event["stack_trace"] = _stack(stack)
    return event


def _stack(lines: list[Any]) -> list[str]:
    return [line for entry in lines if isinstance(entry, str) for line in _lines(entry)]


def _insights_row(text: str) -> Event | None:
    """A row of GetQueryResults, `[{"field", "value"}, ...]`: the event in its @message, with the row's own columns."""
    row = _load(text)
    if not isinstance(row, list) or not all(isinstance(cell, dict) for cell in row):
        return None
    cells = {cell.get("field"): cell.get("value") for cell in row if isinstance(cell.get("field"), str)}
    message = _text(cells.get("@message"))
    event = parse_event(message) if message and not message.startswith("[{") else {"kind": "unknown"}
    for field, key in (("@timestamp", "time"), ("@requestId", "request_id"), ("@ptr", "ptr")):
        if _text(cells.get(field)):
            event[key] = cells[field]
    return event if len(event) > 1 else None


def _load_object(text: str) -> Event | None:
    """The JSON object at the start of `text`, or as much of it as is sound where its end was cut off."""
    value = _load(text)
    if value is None:
        value = next((repaired for part in _closed_prefixes(text) if (repaired := _load(part)) is not None), None)
    return value if isinstance(value, dict) else None


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _closed_prefixes(text: str) -> Iterator[str]:
    """The longest prefixes of cut-off JSON that end after a whole value, with their brackets closed.

    Only a comma or a bracket proves that the value before it is whole: `"billedDurationMs":1` may have been 18.
    """
    closers: list[str] = []
    candidates: list[tuple[int, str]] = []
    in_string = escaped = False
    for index, character in enumerate(text):
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "{[":
            closers.append("}" if character == "{" else "]")
        elif character in "}]":
            if not closers or closers.pop() != character:
                break
            candidates.append((index + 1, "".join(reversed(closers))))
            if not closers:
                break
        elif character == "," and closers:
            candidates.append((index, "".join(reversed(closers))))
    for end, closing in reversed(candidates[-2:]):
        yield text[:end] + closing


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _is_amount(value: Any) -> bool:
    """A JSON number that can be a duration or a size."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15 and math.isfinite(value)
