"""Why requests failed: each one traced to the log evidence there is, and grouped.

A failed request (Locust's `ok` = 0, dropped and unfinished ones too) falls under the first kind of this list that its
evidence fits; what fits none is `unknown`, a group like the others.

| kind | evidence |
|---|---|
| dropped, unfinished | the client's own record |
| check_failed | an answer that the client took for good by its status, and that one of its checks refused |
| message_refused | SQS, SNS, EventBridge or Kinesis did not take a message: an error status, or its entry in a 200 |
| gateway_timeout | 504: API Gateway stopped waiting; the function may have gone on |
| lambda_throttled | Lambda refused the invocation: 500 with integration status 429, or 429 to a direct Invoke |
| api_throttled | 429 of the API: no function was asked |
| function_timeout | the invocation ran into the function's timeout |
| out_of_memory, init_failure, crash | the environment broke: by the error type of REPORT or of the runtime's line |
| downstream_throttle | an uncaught exception whose code means that a service refused for its limits |
| exception | any other uncaught exception |
| function_error | a direct Invoke's FunctionError, with no line in the log to explain it |
| malformed_response | 502 of an invocation that succeeded: API Gateway did not understand its answer |
| no_response | no HTTP status: the network, the client, or its time limit |
| check_failed | any other 2xx that the client did not accept |
| answered_error | an error status that the function answered itself |
| refused | an error status without any invocation: the gateway refused |
| unknown | |

Groups are told apart by kind, status, flow, function, error type, operation, resource, frame and the message with its
ids, numbers and ARNs masked, so that a million failures come to a handful.
"""

from __future__ import annotations

from typing import Any

import duckdb

from analysis.advice import Cause, Peak, advise
from analysis.requests_table import literal
from analysis.timestamps import iso_utc
from runstore.columns import CHECK_FAILED, DROPPED, UNFINISHED

EXAMPLES = 3

THROTTLE_CODES: tuple[str, ...] = (
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "Throttled",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "KMSThrottlingException",
)
"""Error codes by which AWS services refuse a call for its rate (botocore service models, botocore.retries.standard)."""

SENDING_OPERATIONS: tuple[str, ...] = (
    "SendMessage",
    "SendMessageBatch",
    "Publish",
    "PublishBatch",
    "PutEvents",
    "PutRecord",
    "PutRecords",
)
"""Methods of the requests that send messages."""

INIT_FAILURES: tuple[str, ...] = (
    "Runtime.ImportModuleError",
    "Runtime.HandlerNotFound",
    "Runtime.InvalidEntrypoint",
    "Runtime.UserCodeSyntaxError",
    "Runtime.MalformedHandlerName",
    "InitError",
    "Extension.Crash",
)
"""Error types of code that could not even be loaded (Lambda developer guide; bootstrap.py of the Python runtime)."""

# botocore: "An error occurred (Code) when calling the Operation operation: text"; the class is the bare ClientError
# where the service's model does not name the code.
_CODE = r"regexp_extract(f.error_message, 'An error occurred \(([A-Za-z0-9_.]+)\)', 1)"
_ERROR_TYPE = f"""
    CASE WHEN {_CODE} <> '' AND coalesce(f.error_type, 'ClientError') LIKE '%ClientError' THEN {_CODE}
         ELSE f.error_type END"""


def _any_of(names: tuple[str, ...]) -> str:
    return ", ".join(map(literal, names))


_KIND = f"""
    CASE WHEN error = '{DROPPED}' THEN 'dropped'
         WHEN error = '{UNFINISHED}' THEN 'unfinished'
         WHEN starts_with(error, {literal(CHECK_FAILED)}) THEN 'check_failed'
         WHEN method IN ({_any_of(SENDING_OPERATIONS)}) AND status IS NOT NULL THEN 'message_refused'
         WHEN status = 504 THEN 'gateway_timeout'
         WHEN status = 429 AND method = 'Invoke' OR status = 500 AND integration_status = 429 THEN 'lambda_throttled'
         WHEN status = 429 THEN 'api_throttled'
         WHEN failed AND timed_out THEN 'function_timeout'
         WHEN failed AND (log_error_type = 'Runtime.OutOfMemory' OR log_message LIKE '%signal: killed%')
              THEN 'out_of_memory'
         WHEN failed AND log_error_type IN ({_any_of(INIT_FAILURES)}) THEN 'init_failure'
         WHEN failed AND (log_error_type LIKE 'Runtime.%' OR log_kind = 'runtime') THEN 'crash'
         WHEN failed AND log_error_type IN ({_any_of(THROTTLE_CODES)}) THEN 'downstream_throttle'
         WHEN failed THEN 'exception'
         WHEN function_error IS NOT NULL THEN 'function_error'
         WHEN status IS NULL THEN 'no_response'
         WHEN status BETWEEN 200 AND 299 THEN 'check_failed'
         WHEN status = 502 AND inv IS NOT NULL THEN 'malformed_response'
         WHEN inv IS NOT NULL THEN 'answered_error'
         WHEN status BETWEEN 400 AND 499 OR gateway_error_type IS NOT NULL THEN 'refused'
         ELSE 'unknown' END"""

# What stands as error type where no exception names one: AWS's own word, or ours in plain text.
_NAMED = f"""
    CASE kind WHEN 'function_timeout' THEN 'Task timed out'
              WHEN 'message_refused' THEN split_part(error, ': ', -1)
              WHEN 'gateway_timeout' THEN coalesce(gateway_error_type, 'INTEGRATION_TIMEOUT')
              WHEN 'lambda_throttled' THEN 'TooManyRequestsException'
              WHEN 'api_throttled' THEN coalesce(gateway_error_type, 'THROTTLED')
              WHEN 'out_of_memory' THEN 'Runtime.OutOfMemory'
              WHEN 'malformed_response' THEN 'malformed proxy response'
              WHEN 'function_error' THEN function_error
              WHEN 'no_response' THEN 'no response'
              WHEN 'check_failed' THEN CASE WHEN starts_with(error, {literal(CHECK_FAILED)}) THEN error
                                       ELSE 'check of the answer failed' END
              WHEN 'answered_error' THEN 'HTTP ' || status || ' by the function'
              WHEN 'refused' THEN coalesce(gateway_error_type, 'HTTP ' || status)
              ELSE coalesce(log_error_type, kind) END"""

_MASKS: tuple[tuple[str, str], ...] = (
    (r"arn:[\w-]+:[^\s''\"]+", "<arn>"),
    (r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b", "<id>"),
    (r"\b[0-9a-fA-F]*[0-9][0-9a-fA-F]{15,}\b", "<id>"),
    (r"[0-9]+(?:\.[0-9]+)?", "<n>"),
)


def masked(expression: str) -> str:
    """SQL: the first line of a message, its ARNs, ids and numbers replaced, at most 300 characters of it."""
    sql = f"split_part({expression}, chr(10), 1)"
    for pattern, mask in _MASKS:
        sql = f"regexp_replace({sql}, '{pattern}', '{mask}', 'g')"
    return f"left({sql}, 300)"


# One row for each failed request, with its kind and what groups it.
_FAILED = f"""
        WITH evidence AS (
            SELECT j.*, coalesce(j.started_at, j.scheduled_at) AS happened_at, g.integration_status,
                   g.error_type AS gateway_error_type, f.inv IS NOT NULL AS failed, f.timed_out, f.kind AS log_kind,
                   {_ERROR_TYPE} AS log_error_type, f.error_message AS log_message,
                   CASE WHEN j.method IN ({_any_of(SENDING_OPERATIONS)}) THEN j.method
                        ELSE f.operation END AS operation,
                   f.resource, f.frame,
                   coalesce(f.error_message, g.error_message, j.error) AS said,
                   coalesce(j.inv_function, usual.function) AS function
            FROM joined j
            LEFT JOIN gateway g ON g.request_id = j.request_id
            LEFT JOIN invocation_failures f ON f.inv = j.inv
            LEFT JOIN (
                -- the function that answered the endpoint's other requests, where there is exactly one
                SELECT endpoint, min(inv_function) AS function FROM joined WHERE inv IS NOT NULL
                GROUP BY endpoint HAVING count(DISTINCT inv_function) = 1
            ) usual ON usual.endpoint = j.endpoint
            WHERE NOT j.ok
        ), kinds AS (SELECT *, {_KIND} AS kind FROM evidence)
        SELECT kind, status, flow, endpoint, {_NAMED} AS error_type, operation, resource, frame,
               {masked("said")} AS pattern, happened_at,
               CASE WHEN kind IN ('dropped', 'no_response', 'api_throttled', 'refused') AND inv IS NULL THEN NULL
                    ELSE function END AS function,
               coalesce(request_id, lambda_request_id, correlation_id, worker || ':' || seq) AS example,
               nullif(regexp_extract(log_message, 'shardId-[0-9]+'), '') AS shard,
               inv_duration_ms, inv_memory_mb, inv_max_memory_mb
        FROM kinds"""


def root_causes(db: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The summary's `root_causes`, largest first. Needs the tables of `analysis.join`.

    `share` is of all failed and dropped requests.
    """
    db.execute(f"CREATE OR REPLACE TABLE failed_requests AS {_FAILED}")
    found = db.execute(
        f"""SELECT kind, status, flow, function, error_type, operation, resource, frame, pattern AS message,
                   count(*) AS requests, count(*) / sum(count(*)) OVER () AS share,
                   min(happened_at) AS first_at, max(happened_at) AS last_at,
                   arg_min(example, happened_at, {EXAMPLES}) AS examples,
                   list(DISTINCT endpoint) AS endpoints, count(DISTINCT shard) AS shards_refusing,
                   max(inv_duration_ms) AS max_duration_ms, max(inv_memory_mb) AS memory_mb,
                   max(inv_max_memory_mb) AS max_memory_mb
            FROM failed_requests GROUP BY ALL ORDER BY requests DESC, first_at, kind, function, message"""
    )
    names = [column[0] for column in found.description or ()]
    return [_group(db, dict(zip(names, row, strict=True))) for row in found.fetchall()]


def _group(db: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> dict[str, Any]:
    cause = Cause(
        kind=row["kind"],
        requests=row["requests"],
        function=row["function"],
        operation=row["operation"],
        resource=row["resource"],
        error_type=row["error_type"],
        frame=row["frame"],
        shards_refusing=row.pop("shards_refusing"),
        max_duration_ms=row.pop("max_duration_ms"),
        memory_mb=row.pop("memory_mb"),
        max_memory_mb=row.pop("max_memory_mb"),
        invoked=_peak(db, "invocations", "reported_at", "function", [row["function"]]),
        busy_s=_mean_busy_s(db, row["function"]),
        asked=_peak(db, "requests", "started_at", "endpoint", row.pop("endpoints")),
    )
    return {
        **row,
        "first_at": iso_utc(row["first_at"]),
        "last_at": iso_utc(row["last_at"]),
        "examples": [example for example in row["examples"] or () if example is not None],
        "advice": advise(cause),
    }


def _peak(db: duckdb.DuckDBPyConnection, table: str, column: str, by: str, values: list[str | None]) -> Peak | None:
    """The fullest second of the clock among the rows of `table` whose `by` is one of `values`."""
    row = db.execute(
        f"""SELECT count(*), floor({column}) AS second FROM {table}
            WHERE list_contains(?, {by}) AND {column} IS NOT NULL GROUP BY second ORDER BY 1 DESC, 2 LIMIT 1""",
        [values],
    ).fetchone()
    return Peak(per_s=row[0], at=row[1]) if row else None


def _mean_busy_s(db: duckdb.DuckDBPyConnection, function: str | None) -> float | None:
    row = db.execute(
        "SELECT avg(duration_ms + coalesce(init_ms, 0)) / 1000 FROM invocations WHERE function = ?", [function]
    ).fetchone()
    return row[0] if row else None
