from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from analysis.requests_table import create_requests
from analysis.series import MAX_BINS, bin_width, build, most_at_once
from runstore.columns import REQUEST_COLUMNS
from runstore.rundir import RunDir

T0 = 1_795_255_223.0


def write_requests(run: RunDir, rows: Iterable[dict[str, Any]]) -> None:
    with run.requests_file(0).open("w", newline="") as file:
        writer = csv.DictWriter(file, REQUEST_COLUMNS, restval="")
        writer.writeheader()
        for number, row in enumerate(rows, 1):
            writer.writerow({"worker": 0, "seq": number, "ok": 1, "phase": "measure", "name": "/vote", **row})


def write_invocations(run: RunDir, rows: list[tuple[str, float, float, float | None]]) -> None:
    """(function, started_at, reported_at, init_ms) rows as `invocations.parquet`."""
    db = duckdb.connect()
    db.execute(
        "CREATE TABLE i (function VARCHAR, started_at DOUBLE, reported_at DOUBLE, init_ms DOUBLE, restore_ms DOUBLE)"
    )
    if rows:
        db.executemany("INSERT INTO i VALUES (?, ?, ?, ?, NULL)", rows)
    db.execute(f"COPY i TO '{run.file('invocations.parquet')}' (FORMAT parquet)")


def write_history(run: RunDir, users: dict[float, int]) -> None:
    header = "Timestamp,User Count,Type,Name,Requests/s,Failures/s,Total Request Count"
    lines = [f"{at:.0f},{count},,Aggregated,0.0,0.0,0" for at, count in users.items()]
    run.file("locust_stats_history.csv").write_text("\r\n".join([header, *lines, ""]))


def values(array: Any) -> list[float | None]:
    return [None if math.isnan(value) else value for value in array.tolist()]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def test_a_run_that_has_nothing_has_no_series(run: RunDir) -> None:
    assert build(run) is None


def test_a_run_with_a_header_and_no_rows_has_no_series(run: RunDir) -> None:
    write_requests(run, [])
    write_invocations(run, [])
    assert build(run) is None


def test_requests_count_where_they_started(run: RunDir) -> None:
    write_requests(
        run,
        [
            {"started_at": T0 + 0.2, "response_ms": 100, "status": 200},
            {"started_at": T0 + 0.9, "response_ms": 1500, "status": 502, "ok": 0},
            {"started_at": T0 + 2.0, "response_ms": 200, "status": 200},
        ],
    )
    series = build(run)
    assert series is not None
    assert (series.starts_at, series.width_s, series.bins) == (T0, 1, 3)
    assert values(series.sent_per_s) == [2, 0, 1]
    assert values(series.failed_per_s) == [1, 0, 0]
    assert values(series.latency_ms["p50"]) == [800, None, 200]
    assert values(series.errors_per_s["502"]) == [1, 0, 0]


def test_errors_without_a_status_have_names(run: RunDir) -> None:
    write_requests(
        run,
        [
            {"scheduled_at": T0 + 0.5, "ok": 0, "error": "dropped"},
            {"started_at": T0, "ok": 0, "error": "unfinished"},
            {"started_at": T0, "ok": 0, "error": "connection refused", "response_ms": 1},
            {"started_at": T0, "ok": 0, "error": "x", "response_ms": 1, "status": 200, "function_error": "Unhandled"},
        ],
    )
    series = build(run)
    assert series is not None
    assert {label: sum(rate) for label, rate in series.errors_per_s.items()} == {
        "dropped": 1,
        "unfinished": 1,
        "no response": 1,
        "200 function error": 1,
    }
    assert values(series.sent_per_s) == [3], "what was dropped was never sent"


def test_offered_is_counted_where_it_was_due_and_only_where_something_was_dropped(run: RunDir) -> None:
    sent = [{"scheduled_at": T0 + 0.1, "started_at": T0 + 1.2, "response_ms": 1}]
    write_requests(run, sent)
    series = build(run)
    assert series is not None
    assert series.offered_per_s is None
    write_requests(run, [*sent, {"scheduled_at": T0 + 0.5, "ok": 0, "error": "dropped"}])
    series = build(run)
    assert series is not None
    assert (values(series.offered_per_s), values(series.sent_per_s)) == ([2, 0], [0, 1])


def test_warm_up_is_in_the_picture_and_marked(run: RunDir) -> None:
    write_requests(
        run,
        [
            {"started_at": T0, "response_ms": 5, "phase": "warmup"},
            {"started_at": T0 + 1.5, "response_ms": 5, "phase": "warmup"},
            {"started_at": T0 + 2, "response_ms": 5},
        ],
    )
    series = build(run)
    assert series is not None
    assert values(series.sent_per_s) == [1, 1, 1]
    assert series.warmup_until == T0 + 1.5


def test_half_a_last_line_is_left_out(run: RunDir) -> None:
    write_requests(run, [{"started_at": T0, "response_ms": 5}, {"started_at": T0, "response_ms": 5}])
    file = run.requests_file(0)
    file.write_bytes(file.read_bytes()[:-20])
    series = build(run)
    assert series is not None
    assert values(series.sent_per_s) == [1]


def test_the_joined_table_gives_the_same_as_the_csvs(run: RunDir) -> None:
    write_requests(
        run,
        [
            {"started_at": T0 + 0.25, "response_ms": 40.5, "status": 200},
            {"started_at": T0 + 1.25, "response_ms": 10.5, "status": 502, "ok": 0, "error": "502"},
        ],
    )
    from_csv = build(run)
    db = duckdb.connect()
    create_requests(db, run.requests_files())
    db.execute(f"COPY requests TO '{run.file('joined.parquet')}' (FORMAT parquet)")
    run.requests_file(0).unlink()
    joined = build(run)
    assert from_csv is not None
    assert joined is not None
    assert values(joined.latency_ms["p99"]) == values(from_csv.latency_ms["p99"]) == [40.5, 10.5]
    assert values(joined.errors_per_s["502"]) == values(from_csv.errors_per_s["502"]) == [0, 1]


def test_cold_starts_and_concurrency_of_each_function(run: RunDir) -> None:
    write_invocations(
        run,
        [
            ("vote", T0 + 0.0, T0 + 1.5, 200.0),
            ("vote", T0 + 0.5, T0 + 0.6, None),
            ("shop", T0 + 2.0, T0 + 2.5, 100.0),
        ],
    )
    series = build(run)
    assert series is not None
    assert values(series.cold_starts["vote"]) == [1, 0, 0]
    assert values(series.cold_starts["shop"]) == [0, 0, 1]
    assert values(series.concurrency["vote"]) == [2, 1, 0]
    assert values(series.concurrency["shop"]) == [0, 1, 1], "its init began in the second before"
    assert series.sent_per_s is None, "no requests were recorded, which is not a rate of 0"


def test_users_are_held_between_two_lines_of_the_history(run: RunDir) -> None:
    write_requests(run, [{"started_at": T0 + second, "response_ms": 1} for second in range(6)])
    write_history(run, {T0 + 1: 5, T0 + 3: 10})
    series = build(run)
    assert series is not None
    assert values(series.users) == [None, 5, 5, 10, None, None]


def test_a_run_with_a_history_alone_shows_its_users(run: RunDir) -> None:
    write_history(run, {T0: 1, T0 + 1: 2})
    series = build(run)
    assert series is not None
    assert values(series.users) == [1, 2]


def test_a_history_that_has_only_its_header_is_no_history(run: RunDir) -> None:
    write_history(run, {})
    assert build(run) is None


@pytest.mark.parametrize(
    "row",
    [
        {"started_at": T0, "response_ms": 9e8},
        {"started_at": 2.5e11, "response_ms": 1},
        {"started_at": 1.0, "response_ms": 9e8},
        {"scheduled_at": 2.5e11, "error": "dropped", "ok": 0},
        {"started_at": T0, "scheduled_at": 2.5e11, "response_ms": 1},
        {"started_at": T0, "scheduled_at": 1.0, "response_ms": 1},
    ],
    ids=str,
)
def test_absurd_times_neither_break_nor_stretch_the_picture(run: RunDir, row: dict[str, Any]) -> None:
    sound = [{"started_at": T0 + second, "response_ms": 10, "scheduled_at": T0 + second} for second in range(3)]
    dropped = {"scheduled_at": T0, "error": "dropped", "ok": 0}
    write_requests(run, [*sound, dropped, row])
    write_invocations(run, [("vote", T0, T0 + 1, 5.0), ("vote", -1e300, 1e308, 1e308), ("vote", T0, 1e308, None)])
    series = build(run)
    assert series is not None
    drawn_too = row.get("started_at") == T0
    assert (series.starts_at, series.width_s, series.bins) == (T0, 1, 3)
    assert values(series.latency_ms["p99"])[1:3] == [10, 10]
    assert series.not_drawn == 2 + (not drawn_too)
    assert values(series.concurrency["vote"])[:2] == [1, 0]


def test_a_clock_of_1970_in_half_of_the_rows_leaves_the_other_half(run: RunDir) -> None:
    write_requests(run, [{"started_at": at + second, "response_ms": 10} for at in (0, T0) for second in range(3)])
    series = build(run)
    assert series is not None
    assert (series.starts_at, series.bins, series.not_drawn) == (T0, 3, 3)


@pytest.mark.parametrize(
    ("seconds", "width"), [(0, 1), (600, 1), (601, 2), (3600, 10), (86_400, 300), (30 * 86_400, 2 * 3600)]
)
def test_a_long_run_gets_wider_bins(seconds: float, width: int) -> None:
    assert bin_width(seconds) == width
    assert seconds / width <= MAX_BINS


def test_an_interval_that_ends_as_the_next_begins_does_not_overlap_it() -> None:
    most = most_at_once(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array([0.0, 4.0]))
    assert most.tolist() == [1]


def test_the_most_at_once_equals_a_count_at_every_start() -> None:
    """Against the definition, on arbitrary intervals: at the start of each interval, how many hold that moment."""
    rng = np.random.default_rng(7)
    starts = rng.uniform(0, 10, 300)
    ends = starts + rng.exponential(0.7, 300)
    edges = np.arange(0, 12.0)
    expected = [
        max(
            int(((starts <= moment) & (moment < ends)).sum())
            for moment in [lower, *starts[(starts >= lower) & (starts < upper)]]
        )
        for lower, upper in itertools.pairwise(edges)
    ]
    assert most_at_once(starts, ends, edges).tolist() == expected
