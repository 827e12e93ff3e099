"""Which invocation wrote a log line.

A line that names its request id belongs to that invocation; where an event was retried under one id, to the attempt
that was reported first at or after the line. A line without an id (an uncaught Python exception has none) belongs to
the first REPORT at or after it in the same log stream: an environment handles one request at a time, and reports it
before it takes the next.

Tables made of `log_errors`, `correlations` and `invocations`:

| table | columns |
|---|---|
| error_owners | line (of log_errors), inv; lines whose invocation left no REPORT are not in it |
| invocation_correlations | inv, correlation_id, gateway_request_id, message_id, failed |
| invocation_failures | inv, timed_out, kind, error_type, error_message, operation, resource, frame |

`invocation_failures` has one row for each failed invocation: what the line that says most about it says.
"""

from __future__ import annotations

import duckdb


def attribute_lines(db: duckdb.DuckDBPyConnection) -> None:
    """Make the tables."""
    db.execute(f"CREATE TABLE error_owners AS {_owners('log_errors')}")
    db.execute(
        f"""CREATE TABLE invocation_correlations AS
            SELECT DISTINCT inv, correlation_id, gateway_request_id, message_id, coalesce(failed, false) AS failed
            FROM correlations JOIN ({_owners("correlations")}) USING (line)"""
    )
    # The exception says more than the crash or the timeout that followed from it; the first of a kind more than the
    # next. REPORT's own status counts as a line that comes last.
    db.execute(
        """CREATE TABLE invocation_failures AS
            WITH said AS (
                SELECT inv, line, logged_at, kind, error_type, error_message, operation, resource, frame
                FROM log_errors JOIN error_owners USING (line)
                UNION ALL BY NAME
                SELECT inv, reported_at AS logged_at, error_type,
                       CASE status WHEN 'timeout' THEN 'timeout' ELSE 'status' END AS kind
                FROM invocations WHERE status IN ('error', 'failure', 'timeout')
            )
            SELECT inv, bool_or(kind = 'timeout') OVER (PARTITION BY inv) AS timed_out,
                   kind, error_type, error_message, operation, resource, frame
            FROM said
            QUALIFY row_number() OVER (
                PARTITION BY inv
                ORDER BY CASE kind WHEN 'error' THEN 0 WHEN 'runtime' THEN 1 WHEN 'timeout' THEN 2 ELSE 3 END,
                         logged_at, line
            ) = 1"""
    )


def _owners(lines: str) -> str:
    """A query: line, inv. Lines whose invocation has no REPORT are not in it."""
    return f"""
        SELECT l.line, arg_min(i.inv, CASE WHEN i.reported_at >= l.logged_at THEN i.reported_at - l.logged_at
                                           ELSE 1e9 + l.logged_at - i.reported_at END) AS inv
        FROM {lines} l JOIN invocations i USING (function, request_id)
        GROUP BY l.line
        UNION ALL
        SELECT l.line, i.inv
        FROM (FROM {lines} WHERE request_id IS NULL) l
        ASOF JOIN invocations i
        ON l.function = i.function AND l.log_stream = i.log_stream AND l.logged_at <= i.reported_at"""
