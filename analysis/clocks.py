"""How far the target's clock is ahead of each worker's, from bounds that hold whatever the network does: those of the
logs, and those of the answers' Date headers.

A request cannot arrive before it was sent, nor be answered after its answer was there. With the server's clock ahead of
the client's by `offset`: arrived − started >= offset, and answered − ended <= offset. Every joined request narrows both
sides; what is left between them is the error of the estimate, about the least round trip. Arrival and answer are the
access log's. Without one, or where it does not say when a request came (`requestTimeEpoch`), the start of the handler
stands for both, and the error is larger: a REPORT may be written after the answer has gone. Of a pair that only a trace
made nothing is known: its handler may have run long after the answer, behind a queue.

The Date headers are the load generator's business (`loadgen.server_clock`), which leaves its bounds in the manifest:
a run without logs has them too. They are shown beside; nothing is corrected by them.

A machine whose clock was never set is years away from the others. Its requests count like any; what is measured
between two times (rates, windows, what is drawn) leaves them out (`near_the_others`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from analysis.join import counts

ROUNDING_S = 0.001
"""The logs' times are whole milliseconds."""
LONGEST_RUN_S = 7 * 86_400.0
"""What began longer before or after the middle row than this had no working clock."""


def near_the_others(db: duckdb.DuckDBPyConnection, table: str = "requests", moment: str = "started_at") -> str:
    """SQL: whether the column `moment` (epoch seconds) of a row of `table` lies within LONGEST_RUN_S of the middle one.

    NULL of a row without it; `true` where all rows are near, which is seen without a look for the middle.
    """
    first, last = counts(db, f"SELECT min({moment}), max({moment}) FROM {table}")
    if first is None or last - first < LONGEST_RUN_S:
        return "true"
    return f"(abs({moment} - {middle_time(db, table, moment)!r}) < {LONGEST_RUN_S})"


def middle_time(db: duckdb.DuckDBPyConnection, table: str, moment: str) -> float | None:
    """The middle one of the values of a column; None where there are none.

    Where two halves are years apart, one of the later: the other is that of a clock that was never set.
    """
    (middle,) = counts(db, f"SELECT -quantile_disc(-{moment}, 0.5) FROM {table}")
    return None if middle is None else float(middle)


def rows_far_off(db: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Worker -> its requests that began by a clock that did not work; only workers that have some."""
    far = f"NOT {near_the_others(db)}"
    return dict(
        db.execute(f"SELECT worker, count(*) FROM requests WHERE {far} GROUP BY worker ORDER BY worker").fetchall()
    )


def create_clock_offsets(db: duckdb.DuckDBPyConnection) -> None:
    """Make the table `clock_offsets`, a row per worker: worker, requests, low_s, high_s, correction_s.

    `correction_s` is what must be added to the client's times to compare them with the target's: the middle of the
    bounds where these rule out that the clocks agree, else 0. Needs `joined` and `gateway`.
    """
    db.execute(
        f"""CREATE TABLE clock_offsets AS
            WITH begun AS (
                SELECT *, CASE WHEN matched_by <> 'trace_id' THEN inv_started_at END AS begun_at FROM joined
            ), seen AS (
                SELECT j.worker, j.started_at, j.ended_at,
                       coalesce(g."at", begun_at - coalesce(j.inv_init_ms, 0) / 1000) AS arrived_at,
                       coalesce(g."at" + g.response_latency_ms / 1000, begun_at) AS answered_at
                FROM begun j LEFT JOIN gateway g ON g.request_id = j.request_id AND g.at_is_logged IS NOT TRUE
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
