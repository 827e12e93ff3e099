"""The figures of each cause that advice about it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from analysis.advice import Cause, Peak, WentOn, advise

CAUSES_ADVISED = 40
"""Nobody mends the forty-first cause first."""

_OF_CAUSE = """kind, function, error_type, operation, resource, frame, count(*) AS requests,
               count(DISTINCT shard) AS shards_refusing,
               count_if(report_missing) AS reports_missing, max(inv_duration_ms) AS max_duration_ms,
               max(inv_memory_mb) AS memory_mb, max(inv_max_memory_mb) AS max_memory_mb"""
"""SQL for fields of a Cause, from the rows of `failed_requests`."""


def advise_on_causes(db: duckdb.DuckDBPyConnection, deployment: Mapping[str, Any]) -> dict[int, str]:
    """Cause -> what to do about it; only of the CAUSES_ADVISED largest. Needs the tables `failed_requests` and
    `usual_functions` of `analysis.causes`."""
    advised = f"(FROM failed_requests WHERE cause <= {CAUSES_ADVISED})"
    # Every cause needs some of these: all together they are one look at the invocations and one at the requests.
    db.execute(
        f"""CREATE OR REPLACE TEMP TABLE invoked_per_s AS
            SELECT function, floor(reported_at) AS second, count(*) AS invocations FROM invocations
            WHERE reported_at IS NOT NULL AND function IN (SELECT function FROM {advised}) GROUP BY ALL"""
    )
    db.execute(
        f"""CREATE OR REPLACE TEMP TABLE asked_per_s AS
            SELECT endpoint, floor(started_at) AS second, count(*) AS requests, sum(bytes_sent) AS bytes FROM requests
            WHERE started_at IS NOT NULL AND endpoint IN (SELECT endpoint FROM {advised}) GROUP BY ALL"""
    )
    # Whose start is refused is chance: all that call the function use its limit up.
    db.execute(
        f"""CREATE OR REPLACE TEMP TABLE called_per_s AS
            SELECT function, floor(started_at) AS second, count(*) AS requests
            FROM requests JOIN (FROM usual_functions WHERE function IN (
                SELECT function FROM {advised} WHERE kind = 'lambda_throttled')) USING (endpoint)
            WHERE started_at IS NOT NULL GROUP BY ALL"""
    )
    of_functions = _Functions.of(db)
    found = db.execute(
        f"""SELECT cause, list(DISTINCT endpoint), count(inv), count(inv) FILTER (WHERE failed), sum(inv_billed_ms),
                   {_OF_CAUSE}
            FROM {advised} GROUP BY ALL"""
    )
    names = [column[0] for column in found.description or ()][5:]
    advice = {}
    for cause, endpoints, invocations, failed, billed_ms, *values in found.fetchall():
        of_cause = dict(zip(names, values, strict=True))
        function, refused = of_cause["function"], of_cause["kind"] == "lambda_throttled"
        advice[cause] = advise(
            Cause(
                **of_cause,
                shards=_shards(of_cause["resource"], deployment),
                went_on=WentOn(invocations, failed, billed_ms) if invocations else None,
                invoked=_peak(db, "invocations", "invoked_per_s", "function", [function]),
                asked=(_peak(db, "requests", "called_per_s", "function", [function]) if refused else None)
                or _peak(db, "requests", "asked_per_s", "endpoint", endpoints),
                asked_bytes=_peak(db, "bytes", "asked_per_s", "endpoint", endpoints),
                busy_s=of_functions.busy_s.get(function),
                slowest_success_ms=of_functions.slowest_success_ms.get(function),
                timeout_s=_configured(deployment, function, "timeout_s"),
                reserved_concurrency=_configured(deployment, function, "reserved_concurrency"),
                account_concurrency=(deployment.get("account") or {}).get("concurrency"),
            )
        )
    return advice


def _configured(deployment: Mapping[str, Any], function: str | None, setting: str) -> Any:
    """A function's setting by deployment.json; None where it is not known."""
    return ((deployment.get("functions") or {}).get(function) or {}).get(setting)


def _shards(resource: str | None, deployment: Mapping[str, Any]) -> int | None:
    """Open shards of a resource `stream votes`."""
    kind, _, name = (resource or "").partition(" ")
    stream = (deployment.get("streams") or {}).get(name) if kind == "stream" else None
    return (stream or {}).get("shards")


def _peak(db: duckdb.DuckDBPyConnection, amount: str, table: str, by: str, values: list[str | None]) -> Peak | None:
    """The fullest second of the clock among the rows of `table`, which has one a second, whose `by` is in `values`."""
    row = db.execute(
        f"""SELECT sum({amount}) AS amount, second FROM {table} WHERE list_contains(?, {by}) GROUP BY second
            ORDER BY amount DESC NULLS LAST, second LIMIT 1""",
        [values],
    ).fetchone()
    return Peak(per_s=int(row[0]), at=row[1]) if row and row[0] is not None else None


@dataclass(frozen=True)
class _Functions:
    """By function."""

    busy_s: Mapping[str | None, float | None]
    """The mean time that an invocation holds an environment, init included."""
    slowest_success_ms: Mapping[str | None, float | None]

    @classmethod
    def of(cls, db: duckdb.DuckDBPyConnection) -> _Functions:
        busy = db.execute(
            "SELECT function, avg(duration_ms + coalesce(init_ms, 0)) / 1000 FROM invocations GROUP BY function"
        ).fetchall()
        slowest = db.execute(
            """SELECT function, max(duration_ms) FROM invocations ANTI JOIN invocation_failures USING (inv)
               GROUP BY function"""
        ).fetchall()
        return cls(dict(busy), dict(slowest))
