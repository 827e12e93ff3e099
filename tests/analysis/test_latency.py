from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import latency, latency_chart, series
from analysis.latency import BUCKET_RATIO, ENDPOINTS_DRAWN, LEAST_MS, LEVELS, Curve, Latency
from runstore.rundir import RunDir
from tests.analysis.test_series import T0, write_requests


def found(run: RunDir, rows: list[dict[str, Any]]) -> Latency | None:
    write_requests(run, [{"started_at": T0, **row} for row in rows])
    return latency.build(run, series.build(run))


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def test_percentiles_are_numpys_of_the_raw_rows(run: RunDir) -> None:
    ms = np.round(np.random.default_rng(3).lognormal(4, 1, 2000), 3)
    told = found(run, [{"response_ms": one} for one in ms])
    assert told is not None
    (curve,) = told.curves
    reached = LEVELS <= 1 - 1 / 2000
    assert curve.values_ms[reached] == pytest.approx(np.quantile(ms, LEVELS[reached]))
    assert curve.at["p99.9"] == pytest.approx(np.quantile(ms, 0.999))
    assert (curve.at["p99.99"], curve.at["max"]) == (None, ms.max())


def test_a_curve_ends_where_no_request_is_left(run: RunDir) -> None:
    told = found(run, [{"response_ms": number} for number in range(100)])
    assert told is not None
    (curve,) = told.curves
    assert LEVELS[~np.isnan(curve.values_ms)].max() == pytest.approx(0.99)


def test_warm_up_dropped_and_absurd_rows_are_left_out(run: RunDir) -> None:
    left_out: list[dict[str, Any]] = [
        {"response_ms": 5, "phase": "warmup"},
        {"started_at": "", "scheduled_at": T0, "error": "dropped", "ok": 0},
        {"response_ms": 1e308},
        {"response_ms": -1},
        {"response_ms": "", "error": "no connection", "ok": 0},
    ]
    told = found(run, [*left_out, {"response_ms": 7}])
    assert told is not None
    assert [(curve.requests, curve.at["max"]) for curve in told.curves] == [(1, 7.0)]


def test_many_endpoints_are_told_together_and_the_largest_alone(run: RunDir) -> None:
    rows = [{"response_ms": 5, "name": f"/item/{number}"} for number in range(100)]
    told = found(run, [*rows, {"response_ms": 9, "name": "/vote"}, {"response_ms": 9, "name": "/vote"}])
    assert told is not None
    assert [curve.endpoint for curve in told.curves][:2] == [None, "/vote"]
    assert len(told.curves) == 1 + ENDPOINTS_DRAWN
    assert told.endpoints_left_out == 101 - ENDPOINTS_DRAWN


def test_stretches_count_each_request_once_in_a_bucket_that_holds_its_time(run: RunDir) -> None:
    rows = [{"started_at": T0 + number, "response_ms": 1.3**number} for number in range(40)]
    told = found(run, [*rows, {"started_at": T0 + 900, "response_ms": 0}])  # 901 s: bins of 2 s, stretches of 8 s
    assert told is not None
    assert told.bins_per_stretch == 4
    (curve,) = told.curves
    counted = [(stretch, bucket, n) for stretch, buckets in curve.histograms.items() for bucket, n in buckets.items()]
    assert sum(n for _, _, n in counted) == 41
    for number, row in enumerate(rows):
        ms = max(row["response_ms"], LEAST_MS)
        buckets = curve.histograms[number // 8]
        assert any(
            LEAST_MS * BUCKET_RATIO**b <= ms * 1.0001 <= LEAST_MS * BUCKET_RATIO ** (b + 1) * 1.001 for b in buckets
        )


def test_a_run_without_a_response_has_none(run: RunDir) -> None:
    assert found(run, [{"response_ms": "", "ok": 0}]) is None
    assert latency.build(run, None) is None


def test_the_chart_has_as_many_digits_as_tell_percentiles_apart() -> None:
    (trace,) = latency_chart.draw(Latency([Curve("/vote", 20_000, LEVELS, {})], 0, 1))["traces"]
    assert len(set(trace["text"])) == len(LEVELS)
    assert [trace["text"][index] for index in (0, 20, 40, 60, 80)] == ["p0", "p90", "p99", "p99.9", "p99.99"]
