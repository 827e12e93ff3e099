"""The client's side: requests, failures, rates and response times, in all, per endpoint and per flow.

Counts cover the whole run; what follows `measured` and every percentile and rate cover the rows of phase `measure`.
Failures are Locust's own (`ok` = 0). Dropped arrivals were never sent and are counted apart; offered is both together.

Response times begin when a request was sent. `from_schedule` begins when it was due: it holds what a late start hid,
for requests that were due at some time (the open model, and pacing). `schedule_lag_ms` is the difference.
"""

from __future__ import annotations

from typing import Any

import duckdb

from analysis.clocks import near_the_others
from analysis.distributions import distribution, struct
from runstore.columns import CHECK_FAILED

NO_RESPONSE = "none"
"""Key, in `status`, of requests that got no response."""

_LAG_MS = "(started_at - scheduled_at) * 1000"

_COLUMNS = ", ".join(
    (
        "count(*) FILTER (WHERE sent) AS requests",
        "count(*) FILTER (WHERE sent AND NOT ok) AS failures",
        "count(*) FILTER (WHERE NOT sent) AS dropped",
        "count(*) AS offered",
        # Measured requests by the time from the first start to the last end among them.
        """count(*) FILTER (WHERE sent AND measured)
           / nullif(max(coalesce(ended_at, started_at)) FILTER (WHERE sent AND measured AND near)
                    - min(started_at) FILTER (WHERE sent AND measured AND near), 0) AS rps""",
        "unnest("
        + distribution("response_ms", "mean p50 p90 p95 p99 max", where="sent AND measured", suffix="_ms")
        + ")",
        distribution(f"response_ms + {_LAG_MS}", "mean p50 p90 p95 p99 max", where="sent AND measured", suffix="_ms")
        + " AS from_schedule",
        distribution(_LAG_MS, "mean p50 p95 p99 max", where="sent AND measured") + " AS schedule_lag_ms",
        "count(*) FILTER (WHERE sent AND measured AND NOT ok) / nullif(count(*) FILTER (WHERE sent AND measured), 0)"
        " AS error_rate",
        "count(*) FILTER (WHERE NOT sent AND measured) / nullif(count(*) FILTER (WHERE measured), 0) AS dropped_rate",
        struct(
            (
                ("requests", "count(*) FILTER (WHERE sent AND measured)"),
                ("failures", "count(*) FILTER (WHERE sent AND measured AND NOT ok)"),
                ("dropped", "count(*) FILTER (WHERE NOT sent AND measured)"),
            )
        )
        + " AS measured",
    )
)


def client(db: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """The summary's `client`: its own block, `endpoints` and `flows`, largest first."""
    requests = f"(SELECT *, {near_the_others(db)} AS near FROM requests)"
    (total,) = _blocks(db, f"SELECT {_COLUMNS} FROM {requests}")
    return {
        **total,
        "failed_checks": _failed_checks(db),
        "endpoints": _by(db, requests, "endpoint"),
        "flows": _by(db, requests, "flow"),
    }


def _failed_checks(db: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Endpoint -> name of a check -> requests that it refused; of the failures, those that the server took for good."""
    found: dict[str, dict[str, int]] = {}
    for endpoint, error, requests in db.execute(
        """SELECT endpoint, error, count(*) FROM requests WHERE starts_with(error, ?)
           GROUP BY ALL ORDER BY endpoint, count(*) DESC, error""",
        [CHECK_FAILED],
    ).fetchall():
        found.setdefault(endpoint, {})[error.removeprefix(CHECK_FAILED)] = requests
    return found


def _by(db: duckdb.DuckDBPyConnection, requests: str, column: str) -> dict[str, dict[str, Any]]:
    blocks = _blocks(
        db,
        f"""WITH statuses AS (
                SELECT {column}, map_from_entries(list((status, n) ORDER BY status)) AS status
                FROM (SELECT {column}, coalesce(status::VARCHAR, '{NO_RESPONSE}') AS status, count(*) AS n
                      FROM requests WHERE sent GROUP BY ALL)
                GROUP BY {column}
            )
            SELECT * FROM (SELECT {column}, {_COLUMNS} FROM {requests} WHERE {column} IS NOT NULL GROUP BY {column})
            LEFT JOIN statuses USING ({column}) ORDER BY requests DESC, {column}""",
    )
    return {block.pop(column): {**block, "status": block["status"] or {}} for block in blocks}


def _blocks(db: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    found = db.execute(query)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
