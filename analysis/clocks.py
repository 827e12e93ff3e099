"""How far the target's clock is ahead of each worker's, from bounds that hold whatever the network does.

A request cannot arrive before it was sent, nor be answered after its answer was there. With the server's clock ahead of
the client's by `offset`: arrived − started >= offset, and answered − ended <= offset. Every joined request narrows both
sides; what is left between them is the error of the estimate, about the least round trip. Arrival and answer are the
access log's. Without one the start of the handler stands for both, and the error is larger: a REPORT may be written
after the answer has gone.
"""

from __future__ import annotations

from typing import Any

import duckdb

ROUNDING_S = 0.001
"""The logs' times are whole milliseconds."""


def create_clock_offsets(db: duckdb.DuckDBPyConnection) -> None:
    """Make the table `clock_offsets`, a row per worker: worker, requests, low_s, high_s, correction_s.

    `correction_s` is what must be added to the client's times to compare them with the target's: the middle of the
    bounds where these rule out that the clocks agree, else 0. Needs `joined` and `gateway`.
    """
    db.execute(
        f"""CREATE TABLE clock_offsets AS
            WITH seen AS (
                SELECT j.worker, j.started_at, j.ended_at,
                       coalesce(g."at", j.inv_started_at - coalesce(j.inv_init_ms, 0) / 1000) AS arrived_at,
                       coalesce(g."at" + g.response_latency_ms / 1000, j.inv_started_at) AS answered_at
                FROM joined j LEFT JOIN gateway g ON g.request_id = j.request_id
                WHERE j.ended_at IS NOT NULL AND j.status <> 202
            ), bounds AS (
                SELECT worker, count(*) AS requests,
                       max(answered_at - ended_at) - {ROUNDING_S} AS low_s,
                       min(arrived_at - started_at) + {ROUNDING_S} AS high_s
                FROM seen WHERE arrived_at IS NOT NULL AND answered_at IS NOT NULL GROUP BY worker
            )
            SELECT *, CASE WHEN low_s <= high_s AND (low_s > 0 OR high_s < 0) THEN (low_s + high_s) / 2
                           ELSE 0 END AS correction_s
            FROM bounds"""
    )


def clocks(db: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The summary's `clocks`: per worker, how far the target's clock is ahead of its own, in milliseconds.

    `offset_ms` ± `error_ms`, None where the bounds contradict each other: one of the clocks was set during the run.
    `corrected`: whether the clocks differ for sure, so that times that cross from one to the other are corrected.
    """
    found = db.execute(
        "SELECT worker, requests, low_s, high_s, correction_s FROM clock_offsets ORDER BY worker"
    ).fetchall()
    return [
        {
            "worker": worker,
            "requests": requests,
            "offset_ms": (low_s + high_s) * 500 if low_s <= high_s else None,
            "error_ms": (high_s - low_s) * 500 if low_s <= high_s else None,
            "corrected": correction_s != 0,
        }
        for worker, requests, low_s, high_s, correction_s in found
    ]
