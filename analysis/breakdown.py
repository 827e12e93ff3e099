"""Where the time of a request went.

```
|<------------------------------ response_ms (client) ------------------------------>|
| client + network |<------------ responseLatency (access log) ------------->|
|                  | gateway |<----- integration latency (access log) ------>|
|                  |         | Lambda service | init (REPORT) | handler (REPORT Duration) |
```

`client_network_ms` = response_ms − responseLatency; `gateway_ms` = responseLatency − integration latency; `init_ms` and
`handler_ms` are the REPORT line's (a restore of SnapStart is an init); `service_ms` is what remains of the integration
latency: Lambda's own overhead and its queue. Without a line in the access log (a direct invoke passes no gateway, an
API may have no log) `client_network_ms` is response_ms − init − handler, and holds what else there was on the way. It
is not known of what was answered before its function had run: with 202, or by an API in less time than that took.
Differences of times that each side took on its own clock, so clocks need not agree; the gateway's are whole
milliseconds, so a part can come out negative by less than two.

Only measured requests; of each part those that have its figures (`count`). A warm start spent 0 ms in init, so that the
means of the parts add up to the mean of the whole; an init that ran ahead of any request (`analysis.starts`, proactive)
was nobody's wait and counts as none, and so is what ran on after API Gateway had given up (504): of those, init and
handler together are at most the integration latency.
"""

from __future__ import annotations

from typing import Any

import duckdb

from analysis.distributions import distribution

_PARTS = {
    "client_network_ms": """CASE WHEN gateway_response_latency_ms IS NOT NULL
                                 THEN response_ms - gateway_response_latency_ms
                                 WHEN status <> 202
                                 AND (method = 'Invoke' OR response_ms >= waited_init_ms + waited_handler_ms)
                                 THEN response_ms - waited_init_ms - waited_handler_ms
                            END""",
    "gateway_ms": "gateway_response_latency_ms - gateway_integration_latency_ms",
    "service_ms": "gateway_integration_latency_ms - waited_init_ms - waited_handler_ms",
    "init_ms": "waited_init_ms",
    "handler_ms": "waited_handler_ms",
}
_STATISTICS = "count mean p50 p95"


def breakdown(db: duckdb.DuckDBPyConnection) -> dict[str, dict[str, dict[str, Any]]]:
    """The summary's `breakdown`: endpoint -> part -> count, mean, p50, p95."""
    parts = ", ".join(f"{distribution(sql, _STATISTICS)} AS {part}" for part, sql in _PARTS.items())
    found = db.execute(
        f"""WITH ran AS (
                SELECT j.*,
                       CASE WHEN s.class IS DISTINCT FROM 'proactive'
                            THEN coalesce(inv_init_ms, s.restored_ms, 0) ELSE 0 END AS ran_init_ms,
                       CASE WHEN g.status = 504 THEN g.integration_latency_ms END AS waited_ms
                FROM joined j LEFT JOIN starts s USING (inv) LEFT JOIN gateway g ON g.request_id = j.request_id
            ), waited AS (
                -- least() passes NULL over
                SELECT *, CASE WHEN inv_duration_ms IS NOT NULL THEN least(ran_init_ms, waited_ms) END AS waited_init_ms
                FROM ran
            )
            SELECT endpoint, {parts} FROM (
                SELECT *, CASE WHEN inv_duration_ms IS NOT NULL
                               THEN least(inv_duration_ms, waited_ms - waited_init_ms) END AS waited_handler_ms
                FROM waited)
            WHERE sent AND measured AND endpoint IS NOT NULL
            GROUP BY endpoint ORDER BY count(*) DESC, endpoint"""
    ).fetchall()
    return {endpoint: dict(zip(_PARTS, map(_whole_count, row), strict=True)) for endpoint, *row in found}


def _whole_count(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "count": int(part["count"])}
