"""Raw log events -> the tables of a run: invocations, log_errors, inits, correlations, access_log (Parquet).

DuckDB does the work over whole columns. A REPORT in the form that AWS writes for an ordinary invocation is split at its
blanks, and an ordinary record of the JSON format taken apart by `report_records`; every other event (failures,
SnapStart, older forms) goes through `lambda_lines.parse_event`, the one place that knows them all.

Times are epoch seconds, absent values NULL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from analysis import report_records
from analysis.evidence import connect
from analysis.lambda_lines import Event, is_failure, parse_event
from analysis.log_queries import ERROR, INIT
from analysis.requests_table import PARQUET, literal

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PIECES = """
    SELECT *, w[15] = 'MB\tInit' AS has_init, CASE WHEN has_init THEN w[18] ELSE w[15] END AS line_end,
           line_end IN ('MB\t\nXRAY', 'ms\t\nXRAY') AS has_trace,
           left(w[3], 36) AS request_id, try_cast(w[4] AS DECIMAL(14, 2)) AS duration, duration::DOUBLE AS duration_ms,
           try_cast(w[7] AS BIGINT) AS billed_ms, try_cast(w[10] AS BIGINT) AS memory_mb,
           try_cast(w[14] AS BIGINT) AS max_memory_mb,
           CASE WHEN has_init THEN try_cast(w[17] AS DECIMAL(14, 2)) END AS init, init::DOUBLE AS init_ms,
           CASE WHEN has_trace THEN left(w[-3], 35) END AS xray_trace_id,
           CASE WHEN has_trace THEN left(w[-2], 16) END AS segment_id,
           CASE WHEN has_trace THEN starts_with(w[-1], 'true\t') END AS sampled
    FROM (SELECT *, string_split(message, ' ') AS w FROM events)"""
"""SQL: what stands in the places of an ordinary REPORT, which is split at its blanks: so the numbers need not be cut
out of anything."""
_ORDINARY = f"""(
    w[1] = 'REPORT' AND w[2] = 'RequestId:'
    AND regexp_full_match(request_id, '{_UUID}') AND strlen(w[3]) = 46 AND ends_with(w[3], '\tDuration:')
    AND duration::VARCHAR = w[4] AND w[5] = 'ms\tBilled' AND w[6] = 'Duration:' AND billed_ms::VARCHAR = w[7]
    AND w[8] = 'ms\tMemory' AND w[9] = 'Size:' AND memory_mb::VARCHAR = w[10]
    AND w[11] = 'MB\tMax' AND w[12] = 'Memory' AND w[13] = 'Used:' AND max_memory_mb::VARCHAR = w[14]
    AND duration >= 0 AND billed_ms BETWEEN 0 AND 999999999
    AND memory_mb BETWEEN 0 AND 999999999 AND max_memory_mb BETWEEN 0 AND 999999999
    AND (NOT has_init OR w[16] = 'Duration:' AND init::VARCHAR = w[17] AND init >= 0)
    AND has_init = starts_with(line_end, 'ms\t')
    AND (NOT has_trace AND line_end IN ('ms\t', 'ms\t\n', 'MB\t', 'MB\t\n')
         OR has_trace AND w[-4] = 'TraceId:' AND strlen(xray_trace_id) = 35 AND starts_with(xray_trace_id, '1-')
            AND strlen(w[-3]) = 46 AND ends_with(w[-3], '\tSegmentId:') AND strlen(segment_id) = 16
            AND strlen(w[-2]) = 25 AND ends_with(w[-2], '\tSampled:')
            AND w[-1] IN ('true\t', 'true\t\n', 'false\t', 'false\t\n'))
    AND len(w) = 15 + CASE WHEN has_init THEN 3 ELSE 0 END + CASE WHEN has_trace THEN 4 ELSE 0 END
)"""
"""SQL: whether it was one: each word is there that AWS writes, and no other. An id of X-Ray counts by its length."""

REPORT_TYPES: Mapping[str, str] = {
    "request_id": "VARCHAR",
    "duration_ms": "DOUBLE",
    "billed_ms": "BIGINT",
    "memory_mb": "BIGINT",
    "max_memory_mb": "BIGINT",
    "init_ms": "DOUBLE",
    "restore_ms": "DOUBLE",
    "billed_restore_ms": "BIGINT",
    "status": "VARCHAR",
    "error_type": "VARCHAR",
    "xray_trace_id": "VARCHAR",
    "segment_id": "VARCHAR",
    "sampled": "BOOLEAN",
}
"""What a REPORT says, under the keys of `lambda_lines`, and DuckDB's type of each."""
_NEVER_ORDINARY = ("restore_ms", "billed_restore_ms", "status", "error_type")

_ERROR_TYPES: Mapping[str, str] = {
    "request_id": "VARCHAR",
    "kind": "VARCHAR",
    "error_type": "VARCHAR",
    "error_message": "VARCHAR",
    "operation": "VARCHAR",
    "resource": "VARCHAR",
    "frame": "VARCHAR",
    "message": "VARCHAR",
}
_INIT_TYPES: Mapping[str, str] = {
    "kind": "VARCHAR",
    "init_ms": "DOUBLE",
    "phase": "VARCHAR",
    "status": "VARCHAR",
    "error_type": "VARCHAR",
    "initialization_type": "VARCHAR",
}
_IS_REPORT = """(starts_with(message, 'REPORT RequestId: ') OR contains(message, '"platform.report"'))"""
# Most events are REPORT lines, which are nothing else.
_IS_CORRELATION = "(NOT starts_with(message, 'REPORT RequestId: ') AND contains(message, 'swarmscope'))"
_IS_INIT = f"(NOT starts_with(message, 'REPORT RequestId: ') AND regexp_matches(message, {literal(INIT)}))"
_IS_ERROR = f"(NOT starts_with(message, 'REPORT RequestId: ') AND regexp_matches(message, {literal(ERROR)}))"
"""SQL for the raw events that a table may be made of, as cheap as can be: the parser has the last word."""

_ARROW_TYPES = {"VARCHAR": pa.string(), "DOUBLE": pa.float64(), "BIGINT": pa.int64(), "BOOLEAN": pa.bool_()}
_PARSED_AT_ONCE = 20_000
"""Events that are parsed in one go."""

MESSAGE_LIMIT = 4000
"""Characters of an error event that are kept."""

_OPERATION = re.compile(r"An error occurred \([\w.]+\) when calling the (\w+) operation")
_RUNTIME = re.compile(r"(?:\S+\s+)?RequestId: ")
_FRAME = re.compile(r'File "/var/task/([^"]+)", line (\d+), in (\S+)')
_RESOURCES = (
    ("stream", re.compile(r"\bin stream ([\w.-]+) under account\b")),
    ("table", re.compile(r"\bTable: ([\w.-]+) not found")),
)
_ARN = re.compile(r"\barn:aws[\w-]*:(kinesis|dynamodb|sns|sqs|lambda|kms|events):[\w-]*:\d*:([\w./:-]*[\w-])")
_ARN_KINDS = {"sns": "topic", "sqs": "queue"}

_ACCESS_COLUMNS: Mapping[str, tuple[str, Sequence[str]]] = {
    "request_id": ("VARCHAR", ("requestId", "request_id")),
    "extended_request_id": ("VARCHAR", ("extendedRequestId", "extended_request_id")),
    "lambda_request_id": ("VARCHAR", ("integrationRequestId", "awsEndpointRequestId", "integration_request_id")),
    "status": ("SMALLINT", ("status",)),
    "integration_status": ("SMALLINT", ("lambdaServiceStatus", "integrationStatus", "integration_status")),
    "handler_status": ("SMALLINT", ("integrationStatus",)),
    "integration_latency_ms": ("DOUBLE", ("integrationLatency", "integration_latency")),
    "response_latency_ms": ("DOUBLE", ("responseLatency", "response_latency")),
    "path": ("VARCHAR", ("path", "resourcePath", "routeKey")),
    "method": ("VARCHAR", ("httpMethod", "method")),
    "xray_trace_id": ("VARCHAR", ("xrayTraceId", "xray_trace_id")),
    "error_type": ("VARCHAR", ("errorType", "errorResponseType", "error_type")),
    "error_message": ("VARCHAR", ("errorMessage", "integrationError", "error_message")),
}
"""Column -> its type and the keys it may have in an access log; the first that has a value counts. API Gateway writes
`-` for what is absent. integration_status is what the Lambda service answered, not the function; handler_status is what
the function did, in a log that has both (else it may be the service's too)."""

_TIMESTAMP = "coalesce(epoch(try_cast(timestamp AS TIMESTAMP)), try_cast(timestamp AS DOUBLE) / 1000)"
"""Insights writes `2026-11-21 10:00:00.123` (UTC); some emulators write epoch milliseconds."""

Files = Sequence[Path]


def write_invocations(files: Files, target: Path) -> int:
    """Write `invocations.parquet`, one row per REPORT event; -> its rows.

    Columns: function, log_group, log_stream, version, reported_at (when the REPORT was written), started_at
    (reported_at minus duration_ms, so without an init), ptr, and those of REPORT_TYPES; status is NULL where nothing
    failed, which text leaves out and JSON says. The attempts of an asynchronous event have one request_id and a row
    each. They are in no certain order: to keep one takes as much memory again as is written.
    """
    db = connect(target.parent / ".spill")
    db.execute("SET preserve_insertion_order = false")
    _create_events(db, files, _IS_REPORT)
    first = target.with_name(f".{target.name}.ordinary")
    absent = ", ".join(f"NULL::{REPORT_TYPES[key]} AS {key}" for key in _NEVER_ORDINARY)
    rows = _write(
        db,
        first,
        _invocations(
            f"""SELECT * REPLACE (CASE WHEN {_ORDINARY} THEN request_id END AS request_id), {absent}
                FROM ({_PIECES})"""
        ),
    )
    read = f"read_parquet({literal(str(first))})"
    others = f"FROM {read} WHERE request_id IS NULL"
    if not db.execute(f"SELECT 1 {others} LIMIT 1").fetchone():
        first.replace(target)
        return rows
    db.execute(f"CREATE VIEW others AS FROM events SEMI JOIN ({others}) USING (log_group, ptr)")
    db.execute(
        f"""CREATE TABLE records AS
            SELECT * REPLACE (CASE WHEN NOT ordinary THEN message END AS message)
            FROM ({report_records.read("others")})"""
    )
    _create_parsed(
        db, "records WHERE NOT ordinary", REPORT_TYPES, lambda message: _only(parse_event(message), "report")
    )
    parsed = """SELECT function, log_group, log_stream, logged_at, ptr, parsed.* EXCLUDE (log_group, ptr)
                FROM records JOIN parsed USING (log_group, ptr)"""
    rows = _write(
        db,
        target,
        f"""FROM {read} WHERE request_id IS NOT NULL UNION ALL BY NAME {_invocations(parsed)}
            UNION ALL BY NAME {_invocations("FROM records WHERE ordinary")}""",
    )
    first.unlink()
    return rows


def _invocations(reports: str) -> str:
    """SQL for the columns of invocations.parquet.

    Nothing runs in 0 MB: emulators that do not measure memory write that.
    """
    return f"""
        SELECT function, log_group, log_stream, request_id,
               nullif(regexp_extract(log_stream, '\\[([^\\]]+)\\]', 1), '') AS version,
               logged_at AS reported_at, logged_at - duration_ms / 1000 AS started_at,
               {", ".join(key for key in REPORT_TYPES if key != "request_id")}, ptr
        FROM (SELECT * REPLACE (nullif(status, 'success') AS status, nullif(max_memory_mb, 0) AS max_memory_mb)
              FROM ({reports}))"""


def write_errors(files: Files, target: Path, stack_name: str | None = None) -> int:
    """Write `log_errors.parquet`, one row per event that says that an invocation failed; -> its rows.

    Columns: function, log_group, log_stream, logged_at, request_id (only where the event has it), kind (`error` an
    exception, `timeout`, `runtime` a process that ended), error_type, error_message, operation (of the AWS call that
    failed), resource (`stream votes`, without the stack's prefix), frame (`handler.py:31 place_vote`, the innermost one
    of the user's code), message, ptr.
    """
    db = connect(target.parent / ".spill")
    _create_events(db, files, _IS_ERROR)
    _create_parsed(db, "events", _ERROR_TYPES, lambda message: describe_error(message, stack_name))
    return _write(
        db,
        target,
        f"""
        SELECT function, log_group, log_stream, logged_at,
               {", ".join(f"parsed.{key}" for key in _ERROR_TYPES)}, ptr
        FROM events JOIN parsed USING (log_group, ptr)
        """,
    )


def write_inits(files: Files, target: Path) -> int:
    """Write `inits.parquet`, one row per INIT_START and INIT_REPORT event; -> its rows.

    Columns: function, log_group, log_stream, logged_at, kind (`init_start`, `init_report`), init_ms, phase, status,
    error_type, initialization_type (of JSON records), ptr.
    """
    db = connect(target.parent / ".spill")
    _create_events(db, files, _IS_INIT)

    def read(message: str) -> Event | None:
        event = parse_event(message)
        return event if event["kind"] in ("init_start", "init_report") else None

    _create_parsed(db, "events", _INIT_TYPES, read)
    return _write(
        db,
        target,
        f"""
        SELECT function, log_group, log_stream, logged_at, {", ".join(f"parsed.{key}" for key in _INIT_TYPES)}, ptr
        FROM events JOIN parsed USING (log_group, ptr)
        """,
    )


def write_correlations(files: Files, target: Path) -> int:
    """Write `correlations.parquet`, one row per correlation line; -> its rows.

    Columns: function, log_group, log_stream, logged_at, correlation_id, gateway_request_id, request_id, hop,
    message_id, failed (true: the message alone, in an invocation that succeeded), ptr. The line may stand alone,
    behind the head that Python's logging puts before it, or as the `message` of a JSON log record, whose requestId
    then counts.
    """
    db = connect(target.parent / ".spill")
    _create_events(db, files, _IS_CORRELATION)
    return _write(
        db,
        target,
        rf"""
        WITH found AS (
            SELECT *, CASE WHEN starts_with(message, '{{') THEN message
                           ELSE regexp_extract(message, '(?s)\{{.*\}}') END AS braced
            FROM events
        ), records AS (
            -- NULL where it is no JSON: conditions may be evaluated in any order, and reading broken JSON is an error
            SELECT *, CASE WHEN json_valid(braced) THEN braced END AS record FROM found
        ), nested AS (
            SELECT *, json_extract_string(record, '$.message') AS inside FROM records
        ), lines AS (
            SELECT *, CASE WHEN inside LIKE '{{%swarmscope%' AND json_valid(inside) THEN inside ELSE record END AS line
            FROM nested
        )
        SELECT function, log_group, log_stream, logged_at,
               json_extract_string(line, '$.correlation_id') AS correlation_id,
               json_extract_string(line, '$.gateway_request_id') AS gateway_request_id,
               coalesce(json_extract_string(line, '$.request_id'), json_extract_string(record, '$.requestId'),
                        nullif(regexp_extract(message, '^\[[A-Z]+\]\s+\S+\s+({_UUID})\s', 1), '')) AS request_id,
               json_extract_string(line, '$.hop') AS hop,
               json_extract_string(line, '$.message_id') AS message_id,
               coalesce(json_extract_string(line, '$.failed') = 'true', false) AS failed, ptr
        FROM lines WHERE json_extract_string(line, '$.swarmscope') = '1'
        """,
    )


def write_access_log(files: Files, target: Path) -> tuple[int, int]:
    """Write `access_log.parquet`, one row per request to the API; -> (its rows, events that are no JSON object).

    Columns: at (arrival, where the log says it, else when it was logged), at_is_logged (whether it is the latter),
    those of _ACCESS_COLUMNS, ptr.
    """
    db = connect(target.parent / ".spill")
    _create_events(db, files)
    db.execute(
        """CREATE VIEW records AS
           SELECT * REPLACE (CASE WHEN json_valid(message) THEN message END AS message) FROM events"""
    )
    db.execute("CREATE VIEW objects AS SELECT * FROM records WHERE json_type(message) = 'OBJECT'")

    def value(keys: Sequence[str]) -> str:
        return "coalesce(" + ", ".join(f"nullif(json_extract_string(message, '$.{key}'), '-')" for key in keys) + ")"

    columns = ", ".join(
        f"{value(keys)} AS {name}" if kind == "VARCHAR" else f"try_cast({value(keys)} AS {kind}) AS {name}"
        for name, (kind, keys) in _ACCESS_COLUMNS.items()
    )
    arrival = f"try_cast({value(('requestTimeEpoch', 'request_time_epoch'))} AS DOUBLE) / 1000"
    arrived = f'coalesce({arrival}, logged_at) AS "at", {arrival} IS NULL AS at_is_logged'
    rows = _write(db, target, f"SELECT {arrived}, {columns}, ptr FROM objects")
    return rows, int(_scalar(db, "SELECT count(*) FROM events")) - rows


def request_ids(files: Files, function: str | None = None) -> str:
    """SQL for the distinct request ids (column request_id) of raw REPORT events, without reading more of them.

    `function`: of one function only, by its logical name.
    """
    if not files:
        return "SELECT NULL::VARCHAR AS request_id WHERE false"
    of_function = "" if function is None else f" AND function = {literal(function)}"
    return f"""SELECT DISTINCT regexp_extract(message, '(?:RequestId: |"requestId": ?")({_UUID})', 1) AS request_id
               FROM {_raw(files)} WHERE {_IS_REPORT}{of_function}"""


def newest_errors(files: Files) -> str:
    """SQL for the @timestamp (column newest) of each function's last event that may say that an invocation failed."""
    if not files:
        return "SELECT NULL::VARCHAR AS function, NULL::VARCHAR AS newest WHERE false"
    return f"""SELECT function::VARCHAR AS function, max(timestamp) AS newest
               FROM {_raw(files)} WHERE {_IS_ERROR} GROUP BY function"""


def describe_error(message: str, stack_name: str | None = None) -> Event | None:
    """What an event says about a failed invocation, under the keys of `log_errors.parquet`; None where it does not."""
    event = parse_event(message)
    process_ended = _process_ended(event) or (event["kind"] == "error" and _RUNTIME.match(message))
    if not is_failure(event) and not process_ended:
        return None
    told = event.get("error_message", "")
    operation = _OPERATION.search(told)
    frames = _FRAME.findall("\n".join(event.get("stack_trace", ())))
    return {
        "request_id": event.get("request_id"),
        "kind": "runtime" if process_ended else event["kind"],
        "error_type": event.get("error_type"),
        "error_message": told or None,
        "operation": operation[1] if operation else None,
        "resource": _resource(told, stack_name),
        "frame": f"{frames[-1][0]}:{frames[-1][1]} {frames[-1][2]}" if frames else None,
        "message": message[:MESSAGE_LIMIT],
    }


def _process_ended(event: Event) -> bool:
    """Whether it is a `platform.runtimeDone` that says how the process ended: of a crash, nothing else names the type
    in the JSON format. After an exception it repeats the type that the runtime logged with message and frames."""
    return event["kind"] == "runtime_done" and event.get("error_type", "").startswith(("Runtime.", "Extension."))


def _resource(text: str, stack_name: str | None) -> str | None:
    """`stream votes`: kind and name of the AWS resource that an error message names."""
    for kind, pattern in _RESOURCES:
        match = pattern.search(text)
        if match:
            return f"{kind} {_logical(match[1], stack_name)}"
    arn = _ARN.search(text)
    if arn is None:
        return None
    kind, slash, name = arn[2].partition("/") if "/" in arn[2] else arn[2].partition(":")
    if not slash:
        kind, name = _ARN_KINDS.get(arn[1], arn[1]), arn[2]
    return f"{kind} {_logical(name, stack_name)}"


def _logical(name: str, stack_name: str | None) -> str:
    return name.removeprefix(f"{stack_name}-") if stack_name else name


def _only(event: Event, kind: str) -> Event | None:
    return event if event["kind"] == kind else None


def _raw(files: Files) -> str:
    return f"read_parquet([{', '.join(literal(str(file)) for file in files)}])"


def _create_events(db: duckdb.DuckDBPyConnection, files: Files, condition: str = "true") -> None:
    """View `events`: raw events of a condition, with their time as `logged_at`; log_group and ptr tell them apart."""
    if not files:
        db.execute(
            "CREATE TABLE events (function VARCHAR, log_group VARCHAR, log_stream VARCHAR, logged_at DOUBLE, "
            "message VARCHAR, ptr VARCHAR)"
        )
        return
    db.execute(
        f"""CREATE VIEW events AS
            SELECT function::VARCHAR AS function, log_group::VARCHAR AS log_group, log_stream,
                   {_TIMESTAMP} AS logged_at, message, ptr
            FROM {_raw(files)} WHERE {condition}"""
    )


def _create_parsed(
    db: duckdb.DuckDBPyConnection, events: str, types: Mapping[str, str], read: Callable[[str], Event | None]
) -> None:
    """Table `parsed`: what `read` makes of each message of `events` (SQL), where it makes anything, beside the event's
    log_group and ptr."""
    columns_of_types = ", ".join(f"{key} {kind}" for key, kind in types.items())
    db.execute(f"CREATE TABLE parsed (log_group VARCHAR, ptr VARCHAR, {columns_of_types})")
    # read by a cursor of its own, while the table grows: millions of messages would not fit into the process
    messages = db.cursor().execute(f"SELECT log_group, ptr, message FROM {events}")
    while batch := messages.fetchmany(_PARSED_AT_ONCE):
        found = [(group, ptr, event) for group, ptr, message in batch if (event := read(message)) is not None]
        columns: dict[str, Any] = {
            "log_group": pa.array([group for group, _, _ in found], pa.string()),
            "ptr": pa.array([ptr for _, ptr, _ in found], pa.string()),
        }
        for key, kind in types.items():
            columns[key] = pa.array([_fit(event.get(key), kind) for _, _, event in found], _ARROW_TYPES[kind])
        db.register("parsed_batch", pa.table(columns))
        db.execute("INSERT INTO parsed FROM parsed_batch")
        db.unregister("parsed_batch")


def _fit(value: Any, kind: str) -> Any:
    """JSON knows one kind of number: 18.0 for a whole 18 is no error. And half a character, which has no UTF-8 form: an
    emoji that a handler cut in two."""
    if kind == "BIGINT" and value is not None:
        return round(value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _write(db: duckdb.DuckDBPyConnection, target: Path, select: str) -> int:
    """Write a query's rows to a Parquet file, whole or not at all; -> their number."""
    temporary = target.with_name(f".{target.name}.partial")
    db.execute(f"COPY ({select}) TO {literal(str(temporary))} ({PARQUET})")
    rows = int(_scalar(db, f"SELECT count(*) FROM read_parquet({literal(str(temporary))})"))
    temporary.replace(target)
    return rows


def _scalar(db: duckdb.DuckDBPyConnection, query: str) -> Any:
    row = db.execute(query).fetchone()
    assert row is not None
    return row[0]
