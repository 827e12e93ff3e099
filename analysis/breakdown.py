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

Only measured requests that were answered and whose invocation is known; of each part those that have its figures
(`count`). What the gateway or Lambda refused is in none: it spent no time in a function, and would make the mean of one
part that of other requests than the next. A warm start spent 0 ms in init, so that the means of the parts add up to the
mean of the whole; an init that ran ahead of any request (`analysis.starts`, proactive) was nobody's wait and counts as
none, and so is what ran on after API Gateway had given up (504): of those, init and handler together are at most the
integration latency. Where the logs do not tell that an init ran ahead, for it began before them, the answer does: an
init for which it came too early was waited for as long as the answer leaves room.
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
_ROUNDING_MS = 2.0
"""By so much the gateway's whole milliseconds may be below a sum of parts."""


def breakdown(db: duckdb.DuckDBPyConnection) -> dict[str, dict[str, dict[str, Any]]]:
    """The summary's `breakdown`: endpoint -> part -> count, mean, p50, p95."""
    known = "response_ms IS NOT NULL AND inv_duration_ms IS NOT NULL"
    parts = ", ".join(f"{distribution(sql, _STATISTICS, where=known)} AS {part}" for part, sql in _PARTS.items())
    found = db.execute(
        f"""WITH ran AS (
                SELECT j.*,
                       CASE WHEN s.class IS DISTINCT FROM 'proactive'
                            THEN coalesce(inv_init_ms, s.restored_ms, 0) ELSE 0 END AS ran_init_ms,
                       CASE WHEN g.status = 504 THEN g.integration_latency_ms END AS waited_ms,
                       CASE WHEN g.status <> 504 THEN g.integration_latency_ms
                            WHEN j.method = 'Invoke' AND j.status <> 202 THEN response_ms END
                           - inv_duration_ms AS room_ms
                FROM joined j LEFT JOIN starts s USING (inv) LEFT JOIN gateway g ON g.request_id = j.request_id
            ), waited AS (
                -- least() passes NULL over
                SELECT *, CASE WHEN ran_init_ms > room_ms + {_ROUNDING_MS} THEN greatest(room_ms, 0)
                            ELSE least(ran_init_ms, waited_ms) END AS waited_init_ms
                FROM ran
            )
            SELECT endpoint, {parts} FROM (
                SELECT *, least(inv_duration_ms, waited_ms - waited_init_ms) AS waited_handler_ms FROM waited)
            WHERE sent AND measured AND endpoint IS NOT NULL
            GROUP BY endpoint ORDER BY count(*) DESC, endpoint"""
    ).fetchall()
    return {endpoint: dict(zip(_PARTS, map(_whole_count, row), strict=True)) for endpoint, *row in found}


def _whole_count(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "count": int(part["count"])}
