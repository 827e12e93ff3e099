"""Which limit it was where Lambda refused to start an invocation.

A direct Invoke is told (`Reason`, AWS: Invoke, TooManyRequestsException). Behind API Gateway the client sees a bare 500
and the access log the status 429 of the Lambda service; there it follows from what was under way at that moment, by the
invocations' own lines, held against the limits of deployment.json:

| limit | where |
|---|---|
| request rate of the reserved concurrency | it has some, and ten times as many of its requests began within a second |
| request rate | it has none, and of all functions without ten times the account's concurrency began |
| reserved concurrency | the function has some, and as many of its invocations were under way |
| account concurrency | it has none, and all invocations of functions without came to what is left of the account's |
| scaling rate | both limits are known and neither was reached; the function had just added as many as it may |
| None | a limit is not known, or none of them is seen to have been reached |

The rate goes first: where both are seen, invocations are shorter than 100 ms, and it is the rate that holds them up.
Lambda counts only what is waited for (AWS: quotas), so events and later hops are not in it.

Invocations of functions whose logs were not read are not seen: where other applications use up the account's
concurrency, it is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from analysis.functions import COLD, OCCUPIED_FROM

RESERVED, ACCOUNT, SCALING = "reserved concurrency", "account concurrency", "scaling rate"
RESERVED_RATE, ACCOUNT_RATE, CALLER_RATE = "request rate of the reserved concurrency", "request rate", "caller's rate"
REASONS: Mapping[str, str] = {
    "ReservedFunctionConcurrentInvocationLimitExceeded": RESERVED,
    "ReservedFunctionInvocationRateLimitExceeded": RESERVED_RATE,
    "FunctionInvocationRateLimitExceeded": ACCOUNT_RATE,
    "CallerRateLimitExceeded": CALLER_RATE,
}
"""Reason of a TooManyRequestsException -> limit. ConcurrentInvocationLimitExceeded may be the account's or that of the
scaling rate."""

SCALING_ENVIRONMENTS, SCALING_S = 1_000, 10
"""So many environments a function adds in so many seconds (Lambda developer guide, scaling behavior)."""

REQUESTS_PER_ENVIRONMENT_S = 10
"""For each unit of a concurrency so many synchronous requests a second (AWS: Lambda quotas, invocation requests)."""

NEARBY_S = 0.25
"""The request is refused some time after the client sent it; so long before and after, invocations count as under way
at the same moment."""


def create_refused_starts(db: duckdb.DuckDBPyConnection, deployment: Mapping[str, Any]) -> None:
    """Make the table `refused_starts`: row, function, reached. Needs `joined`, `gateway`, `usual_functions`."""
    settings = deployment.get("functions") or {}
    reserved = {name: found.get("reserved_concurrency") for name, found in settings.items()}
    account = deployment.get("account") or {}
    db.execute("CREATE OR REPLACE TEMP TABLE limits (function VARCHAR, reserved BIGINT)")
    if reserved:
        db.executemany("INSERT INTO limits VALUES (?, ?)", list(reserved.items()))
    db.execute("CREATE OR REPLACE TEMP TABLE reasons (reason VARCHAR, reached VARCHAR)")
    db.executemany("INSERT INTO reasons VALUES (?, ?)", list(REASONS.items()))
    db.execute(
        """CREATE OR REPLACE TEMP TABLE refused AS
                SELECT j.row, coalesce(j.started_at, 0) AS moment, usual.function,
                       nullif(regexp_extract(j.error, '\\((\\w+LimitExceeded)\\)', 1), '') AS reason
                FROM joined j
                LEFT JOIN gateway g ON g.request_id = j.request_id
                LEFT JOIN usual_functions usual ON usual.endpoint = j.endpoint
                WHERE NOT j.ok AND (j.status = 429 AND j.method = 'Invoke'
                                    OR j.status IN (500, 503) AND g.integration_status = 429)""",
    )
    if not db.execute("SELECT 1 FROM refused LIMIT 1").fetchone():
        db.execute("CREATE OR REPLACE TABLE refused_starts (row BIGINT, function VARCHAR, reached VARCHAR)")
        return
    db.execute(
        f"""CREATE OR REPLACE TABLE refused_starts AS
            WITH changes AS (
                SELECT function, {OCCUPIED_FROM} AS moment, 1 AS change FROM invocations
                UNION ALL SELECT function, reported_at, -1 FROM invocations
            ), under_way AS (
                -- starts and ends of one moment count together: an environment is taken over from one to the next
                SELECT function, moment, sum(change) OVER (PARTITION BY function ORDER BY moment) AS busy FROM changes
            ), shared AS (
                SELECT moment, sum(change) OVER (ORDER BY moment) AS busy
                FROM changes LEFT JOIN limits USING (function) WHERE reserved IS NULL
            ), of_function AS ({_most_nearby("under_way", "function")}),
            of_account AS ({_most_nearby("shared", None)}),
            begun AS (
                SELECT function, reserved, {OCCUPIED_FROM} AS moment FROM invocations LEFT JOIN limits USING (function)
                SEMI JOIN (SELECT inv FROM joined WHERE status IS DISTINCT FROM 202) USING (inv)
            ), begun_of_function AS (
                SELECT function, moment, count(*) OVER (
                    PARTITION BY function ORDER BY moment RANGE BETWEEN 1.0 PRECEDING AND CURRENT ROW) AS busy
                FROM begun WHERE reserved IS NOT NULL
            ), begun_of_others AS (
                SELECT moment, count(*) OVER (ORDER BY moment RANGE BETWEEN 1.0 PRECEDING AND CURRENT ROW) AS busy
                FROM begun WHERE reserved IS NULL
            ), rate_of_function AS ({_most_around("begun_of_function", "function")}),
            rate_of_account AS ({_most_around("begun_of_others", None)}),
            environments AS (
                SELECT function, moment, count(*) OVER (PARTITION BY function ORDER BY moment) AS number
                FROM (SELECT function, {OCCUPIED_FROM} AS moment FROM invocations WHERE {COLD})
            ), added AS (
                SELECT r.row, coalesce(until.number, 0) - coalesce(before.number, 0) AS environments FROM refused r
                ASOF LEFT JOIN environments until
                    ON until.function = r.function AND until.moment <= r.moment + {NEARBY_S}
                ASOF LEFT JOIN environments before
                    ON before.function = r.function AND before.moment <= r.moment - {SCALING_S + NEARBY_S}
            )
            SELECT row, function,
                   CASE WHEN reasons.reached IS NOT NULL THEN reasons.reached
                        WHEN rate_of_function.busy >= l.reserved * {REQUESTS_PER_ENVIRONMENT_S} THEN '{RESERVED_RATE}'
                        WHEN l.reserved IS NULL
                             AND rate_of_account.busy >= $account * {REQUESTS_PER_ENVIRONMENT_S} THEN '{ACCOUNT_RATE}'
                        WHEN l.reserved IS NOT NULL AND of_function.busy >= l.reserved THEN '{RESERVED}'
                        WHEN l.reserved IS NULL AND of_account.busy >= $left THEN '{ACCOUNT}'
                        WHEN l.function IS NOT NULL AND $left IS NOT NULL
                             AND added.environments >= {SCALING_ENVIRONMENTS} THEN '{SCALING}' END AS reached
            FROM refused LEFT JOIN reasons USING (reason) LEFT JOIN limits l USING (function)
            LEFT JOIN of_function USING (row) LEFT JOIN of_account USING (row) LEFT JOIN added USING (row)
            LEFT JOIN rate_of_function USING (row) LEFT JOIN rate_of_account USING (row)""",
        {"left": account.get("unreserved_concurrency"), "account": account.get("concurrency")},
    )


def _most_nearby(steps: str, by: str | None) -> str:
    """A query: row, busy; the most that were under way around each refusal, by a running count `steps`."""
    same = f"r.{by} = s.{by} AND " if by else ""
    return f"""
        SELECT row, max(busy) AS busy FROM (
            SELECT row, busy FROM refused r ASOF JOIN {steps} s ON {same}s.moment <= r.moment - {NEARBY_S}
            UNION ALL {_most_around(steps, by)}
        ) GROUP BY row"""


def _most_around(steps: str, by: str | None) -> str:
    """The same of the steps themselves that lie around each refusal: what was counted before holds no longer."""
    same, key = (f"r.{by} = s.{by} AND ", f"{by}, ") if by else ("", "")
    bucket = f"floor(moment / {NEARBY_S})::BIGINT"
    return f"""
        SELECT row, max(busy) AS busy FROM (SELECT row, function, unnest([b - 1, b, b + 1]) AS bucket
                                            FROM (SELECT *, {bucket} AS b FROM refused)) r
        JOIN (SELECT {key}{bucket} AS bucket, max(busy) AS busy FROM {steps} GROUP BY ALL) s
        ON {same}s.bucket = r.bucket GROUP BY row"""
