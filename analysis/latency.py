"""How response times are distributed, from the raw rows: for each endpoint a curve of percentiles up to p99.99, and how
many requests took how long in each stretch of the run.

Of measured requests, as the client saw them. A curve ends where the requests do: the percentile p needs a request above
it, so that p99.9 is only there from a thousand requests on. What `Latency.histograms` hold is for looking at a stretch
of time: buckets are 10 % wide, and so is the error of a percentile read from them at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np

from analysis.evidence import connect
from analysis.series import LONGEST_ANSWER_MS, Floats, Series, create_client_rows
from runstore.rundir import RunDir

ALL = "all endpoints"
ENDPOINTS_DRAWN = 8
"""As many as there are colours to tell lines apart."""
STEPS_PER_NINE = 20
NINES = 4
LEVELS: Floats = 1 - 10.0 ** -(np.arange(STEPS_PER_NINE * NINES + 1) / STEPS_PER_NINE)
"""The percentiles of a curve as shares: evenly spaced where an axis gives each further nine (90, 99, 99.9 %) as much
room as the last."""
TABLE_LEVELS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}
STRETCHES = 120
BUCKET_RATIO = 1.1
LEAST_MS = 0.1
"""What took less is in bucket 0."""


@dataclass(frozen=True)
class Curve:
    endpoint: str | None
    """None: all endpoints together."""
    requests: int
    """Measured requests that have a response time."""
    values_ms: Floats
    """At each of LEVELS; NaN where there are too few requests."""
    at: Mapping[str, float | None]
    """The statistics of TABLE_LEVELS and `max`; None where there are too few requests."""
    histograms: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    """Stretch -> bucket -> requests; without those that are none."""


@dataclass(frozen=True)
class Latency:
    curves: Sequence[Curve]
    """All endpoints together, then the ENDPOINTS_DRAWN with the most requests; only the latter where there is one."""
    endpoints_left_out: int
    bins_per_stretch: int
    """How many bins of the series are one stretch of the histograms."""


def build(run: RunDir, series: Series | None) -> Latency | None:
    """The curves of a run; None where no measured request has a response time."""
    if series is None:
        return None
    db = connect(run.file(".spill"))
    if not create_client_rows(db, run):
        return None
    merged = -(-series.bins // STRETCHES)
    names = _create_timed(db, series.starts_at, series.width_s * merged)
    if not names:
        return None
    drawn = names[:ENDPOINTS_DRAWN]
    db.execute("CREATE TABLE drawn AS SELECT unnest($names) AS endpoint", {"names": drawn})
    wanted: list[str | None] = [*drawn] if len(names) == 1 else [None, *drawn]
    percentiles, histograms = _percentiles(db), _histograms(db)
    return Latency(
        curves=[_curve(name, *percentiles[name], histograms[name]) for name in wanted],
        endpoints_left_out=len(names) - len(drawn),
        bins_per_stretch=merged,
    )


def _create_timed(db: duckdb.DuckDBPyConnection, starts_at: float, stretch_s: float) -> list[str]:
    """Make the table `timed` of what has a response time that somebody can have waited; -> endpoints, largest first."""
    db.execute(
        f"""CREATE TABLE timed AS
            SELECT coalesce(endpoint, 'unnamed') AS endpoint, response_ms,
                   CAST(least(greatest(floor((started_at - {starts_at!r}) / {stretch_s!r}), 0), {STRETCHES})
                       AS UTINYINT) AS stretch,
                   CAST(greatest(floor(ln(greatest(response_ms, {LEAST_MS}) / {LEAST_MS}) / ln({BUCKET_RATIO})), 0)
                       AS UTINYINT) AS bucket
            FROM requests
            WHERE sent AND measured AND started_at IS NOT NULL AND response_ms BETWEEN 0 AND {LONGEST_ANSWER_MS}"""
    )
    found = db.execute("SELECT endpoint FROM timed GROUP BY endpoint ORDER BY count(*) DESC, endpoint").fetchall()
    return [endpoint for (endpoint,) in found]


_Percentiles = tuple[int, list[float], float]


def _percentiles(db: duckdb.DuckDBPyConnection) -> dict[str | None, _Percentiles]:
    """Endpoint, or None for all -> requests, values at LEVELS and then at TABLE_LEVELS, greatest value."""
    levels = [*LEVELS.tolist(), *TABLE_LEVELS.values()]
    columns = "count(*), quantile_cont(response_ms, $levels), max(response_ms)"
    found = db.execute(
        f"""SELECT NULL AS endpoint, {columns} FROM timed
            UNION ALL SELECT endpoint, {columns} FROM timed SEMI JOIN drawn USING (endpoint) GROUP BY endpoint""",
        {"levels": levels},
    ).fetchall()
    return {endpoint: (requests, values, greatest) for endpoint, requests, values, greatest in found}


def _histograms(db: duckdb.DuckDBPyConnection) -> dict[str | None, dict[int, dict[int, int]]]:
    found = db.execute(
        """SELECT endpoint, stretch, bucket, count(*) FROM timed SEMI JOIN drawn USING (endpoint) GROUP BY ALL
           UNION ALL SELECT NULL, stretch, bucket, count(*) FROM timed GROUP BY ALL"""
    ).fetchall()
    histograms: dict[str | None, dict[int, dict[int, int]]] = {}
    for endpoint, stretch, bucket, requests in found:
        histograms.setdefault(endpoint, {}).setdefault(stretch, {})[bucket] = requests
    return histograms


def _curve(
    endpoint: str | None,
    requests: int,
    values: list[float],
    greatest: float,
    histograms: Mapping[int, Mapping[int, int]],
) -> Curve:
    told = 1 - 1 / requests + 1e-12  # beyond it no request is left
    ms = np.array(values[: len(LEVELS)])
    of_table = zip(TABLE_LEVELS.items(), values[len(LEVELS) :], strict=True)
    at = {name: value if level <= told else None for (name, level), value in of_table}
    return Curve(endpoint, requests, np.where(told >= LEVELS, ms, np.nan), {**at, "max": greatest}, histograms)
