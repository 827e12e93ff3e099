"""How far the target's clock is ahead of each worker's, from bounds that hold whatever the network does: those of the
logs, and those of the answers' Date headers.

A request cannot arrive before it was sent, nor be answered after its answer was there. With the server's clock ahead of
the client's by `offset`: arrived − started >= offset, and answered − ended <= offset. Every joined request narrows both
sides; what is left between them is the error of the estimate, about the least round trip. Arrival and answer are the
access log's. Without one the start of the handler stands for both, and the error is larger: a REPORT may be written
after the answer has gone.

The Date headers are the load generator's business (`loadgen.server_clock`), which leaves its bounds in the manifest:
a run without logs has them too. They are shown beside; nothing is corrected by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def clocks(db: duckdb.DuckDBPyConnection, workers: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """The summary's `clocks`: per worker, how far the target's clock is ahead of its own, in milliseconds.

    `workers`: entries of the manifest. `offset_ms` ± `error_ms` over `requests` is by the logs, `date_offset_ms` ±
    `date_error_ms` over `date_answers` by the Date headers. An offset is None where nothing bounds it (`requests` or
    `date_answers` is 0) or where its bounds contradict each other: one of the clocks was set during the run.
    `corrected`: whether the clocks differ for sure, so that times that cross from one to the other are corrected.
    """
    found = db.execute("SELECT worker, requests, low_s, high_s, correction_s FROM clock_offsets").fetchall()
    by_logs = {worker: known for worker, *known in found}
    by_date = {str(worker.get("index")): worker["date_offset"] for worker in workers if worker.get("date_offset")}
    rows = []
    for worker in sorted({*by_logs, *by_date}):
        requests, low_s, high_s, correction_s = by_logs.get(worker, (0, None, None, 0))
        date = by_date.get(worker, {})
        offset_ms, error_ms = _middle(low_s, high_s)
        date_offset_ms, date_error_ms = _middle(date.get("low_s"), date.get("high_s"))
        rows.append(
            {
                "worker": worker,
                "requests": requests,
                "offset_ms": offset_ms,
                "error_ms": error_ms,
                "corrected": correction_s != 0,
                "date_answers": date.get("answers", 0),
                "date_offset_ms": date_offset_ms,
                "date_error_ms": date_error_ms,
            }
        )
    return rows


def _middle(low_s: float | None, high_s: float | None) -> tuple[float | None, float | None]:
    """Bounds in seconds -> their middle and the distance of each from it, in milliseconds."""
    if low_s is None or high_s is None or low_s > high_s:
        return None, None
    return (low_s + high_s) * 500, (high_s - low_s) * 500
