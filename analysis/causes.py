"""Why requests failed: each one traced to the log evidence there is, and grouped.

A failed request (Locust's `ok` = 0, dropped and unfinished ones too) falls under the first kind of this list that its
evidence fits; what fits none is `unknown`, a group like the others.

| kind | evidence |
|---|---|
| dropped, unfinished | the client's own record |
| check_failed | an answer that the client took for good by its status, and that one of its checks refused |
| message_refused | SQS, SNS, EventBridge or Kinesis did not take a message: an error status, or its entry in a 200 |
| gateway_timeout | 504, not the function's own: API Gateway stopped waiting; the invocation, where found, went on |
| lambda_throttled | Lambda refused the invocation: 500 or 503 with integration status 429, or 429 to a direct Invoke |
| invoke_refused | another 4xx to a direct Invoke: Lambda did not take the call |
| api_throttled | 429 of the API: no function was asked, so that no invocation is known |
| function_timeout | the invocation ran into the function's timeout |
| out_of_memory, init_failure, crash | the environment broke: by the error type of REPORT or of the runtime's line |
| downstream_throttle | an uncaught exception whose code means that a service refused for its limits |
| exception | any other uncaught exception; also an answer that the runtime could not write as JSON |
| function_error | a direct Invoke's FunctionError, with no line in the log to explain it |
| malformed_response | 502, not the function's own, of an invocation that succeeded: API Gateway did not understand it |
| client_timeout | no HTTP status: the client's own time limit passed |
| connection_failed | no HTTP status: no connection (address, refusal, TLS), or it broke |
| no_response | no HTTP status, for any other reason |
| check_failed | any other 2xx that the client did not accept |
| answered_error | an error status that the function answered itself: by its invocation, or by the access log |
| refused | a 4xx, or an error type of the gateway's in the access log, and no invocation is known, by its id neither |
| unknown | among others: an invocation is known by its id, and the logs lack its REPORT |

A *cause* is told by kind, function, error type, operation, resource, frame and the message with its ids, numbers and
ARNs masked, so that a million failures come to a handful; where one exception's messages still differ in more than
MAX_PATTERNS ways, those that are each less than RARE_PATTERN of it are one cause all the same. A cause may show in
several flows and with several statuses (502 behind the API, 200 with a function error to a direct Invoke): each is a
group of its own, with the number of its cause, and the advice is made once, from all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from analysis.cause_figures import advise_on_causes
from analysis.join import SENDING_OPERATIONS
from analysis.requests_table import literal
from analysis.starts import MARSHAL_ERROR
from analysis.throttles import create_refused_starts
from analysis.timestamps import iso_utc
from runstore.columns import CHECK_FAILED, DROPPED, UNFINISHED

EXAMPLES = 3
MAX_PATTERNS = 5
"""Messages of one exception in one line of code that are told apart; where there are more, those that are rare hold ids
of a form that is not known here."""
RARE_PATTERN = 0.05
"""A message is rare in less than this share of its exception's requests."""

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


# In the words of `loadgen.transport`, of the system, and of the exceptions of other HTTP clients. Those of urllib3
# begin with `HTTPSConnectionPool(...)`, whatever went wrong.
_TIMED_OUT = r"^no (whole )?answer within|\bread ?timed? ?out"
_CONNECTION = (
    r"connect|connection|\b(dns|tls|ssl|certificate|handshake|socket|unreachable|refused|reset|broken pipe)\b"
    r"|name or service|name resolution|no route"
)

_KIND = f"""
    CASE WHEN error = '{DROPPED}' THEN 'dropped'
         WHEN error = '{UNFINISHED}' THEN 'unfinished'
         WHEN starts_with(error, {literal(CHECK_FAILED)}) THEN 'check_failed'
         WHEN method IN ({_any_of(SENDING_OPERATIONS)}) AND status IS NOT NULL THEN 'message_refused'
         WHEN status = 504 AND NOT own_answer THEN 'gateway_timeout'
         WHEN status = 429 AND method = 'Invoke' OR status IN (500, 503) AND integration_status = 429
              THEN 'lambda_throttled'
         WHEN status BETWEEN 400 AND 499 AND method = 'Invoke' THEN 'invoke_refused'
         WHEN status = 429 AND inv IS NULL AND NOT named AND NOT own_answer THEN 'api_throttled'
         WHEN failed AND timed_out THEN 'function_timeout'
         WHEN failed AND (log_error_type = 'Runtime.OutOfMemory'
                          OR log_kind = 'runtime' AND log_message LIKE '%signal: killed%') THEN 'out_of_memory'
         WHEN failed AND log_error_type IN ({_any_of(INIT_FAILURES)}) THEN 'init_failure'
         WHEN failed AND log_error_type = '{MARSHAL_ERROR}' THEN 'exception'
         WHEN failed AND (log_error_type LIKE 'Runtime.%' OR log_kind = 'runtime') THEN 'crash'
         WHEN failed AND log_error_type IN ({_any_of(THROTTLE_CODES)}) THEN 'downstream_throttle'
         WHEN failed THEN 'exception'
         WHEN function_error IS NOT NULL THEN 'function_error'
         WHEN status IS NULL AND regexp_matches(error, {literal(_TIMED_OUT)}, 'i') THEN 'client_timeout'
         WHEN status IS NULL AND regexp_matches(error, {literal(_CONNECTION)}, 'i') THEN 'connection_failed'
         WHEN status IS NULL AND regexp_matches(error, 'timed? ?out', 'i') THEN 'client_timeout'
         WHEN status IS NULL THEN 'no_response'
         WHEN status BETWEEN 200 AND 299 THEN 'check_failed'
         WHEN status = 502 AND inv IS NOT NULL AND NOT own_answer THEN 'malformed_response'
         WHEN inv IS NOT NULL OR own_answer THEN 'answered_error'
         WHEN (status BETWEEN 400 AND 499 OR gateway_error_type IS NOT NULL) AND NOT named THEN 'refused'
         ELSE 'unknown' END"""

# What stands as error type where no exception names one: AWS's own word, or ours in plain text.
_NAMED = f"""
    CASE kind WHEN 'function_timeout' THEN 'Task timed out'
              WHEN 'message_refused' THEN split_part(error, ': ', -1)
              WHEN 'invoke_refused' THEN split_part(error, ': ', -1)
              WHEN 'gateway_timeout' THEN coalesce(gateway_error_type, 'INTEGRATION_TIMEOUT')
              WHEN 'lambda_throttled' THEN 'TooManyRequestsException'
              WHEN 'api_throttled' THEN coalesce(gateway_error_type, 'THROTTLED')
              WHEN 'out_of_memory' THEN 'Runtime.OutOfMemory'
              WHEN 'malformed_response' THEN 'malformed proxy response'
              WHEN 'function_error' THEN function_error
              WHEN 'client_timeout' THEN 'no answer in time'
              WHEN 'connection_failed' THEN 'connection failed'
              WHEN 'no_response' THEN 'no response'
              WHEN 'check_failed' THEN CASE WHEN starts_with(error, {literal(CHECK_FAILED)}) THEN error
                                       ELSE 'check of the answer failed' END
              WHEN 'answered_error' THEN 'HTTP ' || status || ' by the function'
              WHEN 'refused' THEN coalesce(gateway_error_type, 'HTTP ' || status)
              ELSE coalesce(log_error_type, kind) END"""

# What differs between two requests that fail alike. A word in which letters and digits take turns twice is an id.
_MASKS: tuple[tuple[str, str], ...] = (
    (r"arn:[\w-]+:[^\s''\"]+", "<arn>"),
    (r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b", "<id>"),
    (r"\b1-[0-9a-f]{8}-[0-9a-f]{24}\b", "<id>"),
    (r"\b[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?\b", "<n>"),
    (r"\b[0-9a-fA-F]{16,}\b", "<id>"),
    (r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "<id>"),
    (r"\b[0-9]+(?:[.,][0-9]+)*(?:[eE][+-]?[0-9]+)?\b", "<n>"),
    (r"\b(?:[A-Za-z_]+[0-9]+){2,}[A-Za-z_]*\b", "<id>"),
    (r"\b(?:[0-9]+[A-Za-z_]+){2,}[0-9]*\b", "<id>"),
    (r"[0-9]+(?:[.,][0-9]+)*", "<n>"),
    (r"(^|[^\w-])-<n>", r"\1<n>"),
)


def masked(expression: str) -> str:
    """SQL: the first line of a message, its ARNs, ids and numbers replaced, at most 300 characters of it."""
    sql = f"split_part({expression}, chr(10), 1)"
    for pattern, mask in _MASKS:
        sql = f"regexp_replace({sql}, '{pattern}', '{mask}', 'g')"
    return f"left({sql}, 300)"


# What the client saw says something of these; of the others only what the logs say does.
_BY_THE_CLIENT = (
    "unfinished",
    "message_refused",
    "invoke_refused",
    "function_error",
    "client_timeout",
    "connection_failed",
    "no_response",
    "check_failed",
    "unknown",
)
# Their names say it all, and the logs say it in several ways.
_IN_NO_WORDS = (
    "dropped",
    "gateway_timeout",
    "lambda_throttled",
    "api_throttled",
    "function_timeout",
    "out_of_memory",
    "malformed_response",
    "answered_error",
)
_SAID = f"""
    CASE WHEN kind IN ({_any_of(_BY_THE_CLIENT)}) THEN error
         WHEN kind = 'refused' THEN coalesce(gateway_error_message, error)
         WHEN kind NOT IN ({_any_of(_IN_NO_WORDS)}) THEN log_message END"""

_CAUSE = ("kind", "function", "error_type", "operation", "resource", "frame")

# One row for each failed request, with its kind and what groups it.
_FAILED = f"""
        WITH evidence AS (
            SELECT j.*, coalesce(j.started_at, j.scheduled_at) AS happened_at, g.integration_status,
                   g.error_type AS gateway_error_type, g.error_message AS gateway_error_message,
                   -- the Lambda service took the call, and what its function answered was passed on: so says the
                   -- access log, else a header that only the function could have set
                   coalesce(g.integration_status < 400 AND g.handler_status = j.status,
                            j.method <> 'Invoke' AND j.lambda_request_id IS NOT NULL AND j.inv IS NOT NULL,
                            false) AS own_answer,
                   -- an invocation was begun, whether or not the logs have its REPORT
                   coalesce(j.lambda_request_id, g.lambda_request_id) IS NOT NULL
                   AND coalesce(g.integration_status, 200) < 400 AS named,
                   f.inv IS NOT NULL AS failed, f.timed_out, f.kind AS log_kind,
                   {_ERROR_TYPE} AS log_error_type, f.error_message AS log_message,
                   CASE WHEN j.method IN ({_any_of(SENDING_OPERATIONS)}) THEN j.method
                        ELSE f.operation END AS operation,
                   coalesce(t.reached, f.resource) AS resource, f.frame,
                   coalesce(j.inv_function, t.function, usual.function) AS function
            FROM joined j
            LEFT JOIN gateway g ON g.request_id = j.request_id
            LEFT JOIN invocation_failures f ON f.inv = j.inv
            LEFT JOIN usual_functions usual ON usual.endpoint = j.endpoint
            LEFT JOIN refused_starts t ON t.row = j.row
            WHERE NOT j.ok
        ), kinds AS (SELECT *, {_KIND} AS kind FROM evidence)
        SELECT row, kind, status, flow, endpoint, {_NAMED} AS error_type,
               -- what an exception says of itself belongs to no other kind
               CASE WHEN kind NOT IN ('gateway_timeout', 'function_timeout') THEN operation END AS operation,
               CASE WHEN kind NOT IN ('gateway_timeout', 'function_timeout') THEN resource END AS resource,
               CASE WHEN kind NOT IN ('gateway_timeout', 'function_timeout') THEN frame END AS frame,
               {masked(_SAID)} AS pattern, happened_at,
               CASE WHEN kind IN ('dropped', 'client_timeout', 'connection_failed', 'no_response', 'api_throttled',
                                  'invoke_refused', 'refused') AND inv IS NULL THEN NULL
                    ELSE function END AS function,
               coalesce(request_id, lambda_request_id, correlation_id,
                        'requests-' || worker || '.csv row ' || seq) AS example,
               nullif(regexp_extract(log_message, 'shardId-[0-9]+'), '') AS shard,
               failed, named AND inv IS NULL AS report_missing,
               inv, inv_duration_ms, inv_billed_ms, inv_memory_mb, inv_max_memory_mb
        FROM kinds"""


def root_causes(db: duckdb.DuckDBPyConnection, deployment: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The summary's `root_causes`: the groups of the largest cause first. Needs the tables of `analysis.join`.

    `share` is of all failed and dropped requests. `deployment`: what deployment.json knows of functions, account and
    streams, of which the advice makes use.
    """
    deployment = deployment or {}
    db.execute(
        """CREATE OR REPLACE TABLE usual_functions AS
           -- the function that answered the endpoint's other requests, where there is exactly one; where none was
           -- answered, the one that a direct Invoke names
           SELECT endpoint, coalesce(answered, CASE WHEN list_contains($functions, called) THEN called END) AS function
           FROM (SELECT endpoint, regexp_extract(endpoint, '^Invoke ([^: ]+)', 1) AS called,
                        min(inv_function) AS answered, count(DISTINCT inv_function) AS several
                 FROM joined GROUP BY endpoint)
           WHERE several <= 1""",
        {"functions": list(deployment.get("functions") or ())},
    )
    create_refused_starts(db, deployment)
    db.execute(f"CREATE OR REPLACE TABLE failed_as_said AS {_FAILED}")
    by_cause = ", ".join(_CAUSE)
    # Groups are few where rows are millions: what belongs together is found among the groups.
    db.execute(
        f"""CREATE OR REPLACE TABLE failed_requests AS
            WITH said AS (
                SELECT {by_cause}, pattern, count(*) AS requests, min(happened_at) AS first_at
                FROM failed_as_said GROUP BY ALL
            ), counted AS (
                SELECT *, count(pattern) OVER alike > {MAX_PATTERNS}
                          AND requests < {RARE_PATTERN} * sum(requests) OVER alike AS merged
                FROM said WINDOW alike AS (PARTITION BY {by_cause})
            ), patterned AS (
                -- what is merged bears the name of the most usual of it
                SELECT *, CASE WHEN merged THEN first(pattern) OVER (
                              PARTITION BY {by_cause}, merged ORDER BY pattern IS NULL, requests DESC, pattern
                          ) ELSE pattern END AS shown
                FROM counted
            ), sized AS (
                SELECT *, sum(requests) OVER cause AS size, min(first_at) OVER cause AS since
                FROM patterned WINDOW cause AS (PARTITION BY {by_cause}, shown)
            ), numbered AS (
                SELECT *, dense_rank() OVER (ORDER BY size DESC, since, {by_cause}, shown) AS cause FROM sized
            )
            SELECT f.* REPLACE (n.shown AS pattern), n.cause
            FROM failed_as_said f JOIN numbered n
            ON {" AND ".join(f"f.{name} IS NOT DISTINCT FROM n.{name}" for name in (*_CAUSE, "pattern"))}"""
    )
    found = db.execute(
        f"""SELECT cause, kind, status, flow, function, error_type, operation, resource, frame, pattern AS message,
                   count(*) AS requests, count(*) / sum(count(*)) OVER () AS share,
                   min(happened_at) AS first_at, max(happened_at) AS last_at,
                   arg_min(example, (happened_at, row), {EXAMPLES}) AS examples
            FROM failed_requests GROUP BY ALL ORDER BY cause, requests DESC, first_at, flow, status"""
    )
    names = [column[0] for column in found.description or ()]
    rows = [dict(zip(names, values, strict=True)) for values in found.fetchall()]
    advice = advise_on_causes(db, deployment)
    return [
        {
            **row,
            "first_at": iso_utc(row["first_at"]),
            "last_at": iso_utc(row["last_at"]),
            "examples": [example for example in row["examples"] or () if example is not None],
            "advice": advice.get(row["cause"]),
        }
        for row in rows
    ]
