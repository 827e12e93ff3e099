from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from analysis import bins
from analysis.errors import NoRowsError, UsageError
from runstore.rundir import RunDir

HISTORY = Path(__file__).parents[1] / "fixtures/locust-csv/results_stats_history.csv"
T0 = 1795255200.0
"""2026-11-21 10:00:00 UTC, as in conftest."""


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: None if pd.isna(value) else value for name, value in row.items()} for row in frame.to_dict("records")
    ]


def column(frame: pd.DataFrame, name: str) -> list[Any]:
    return [row[name] for row in rows(frame)]


def test_both_sides_stand_in_the_bin_in_which_they_began(build: Any) -> None:
    for at, status in ((0.5, 200), (9.9, 502), (10.0, 200), (31.0, 200)):
        build.request(at, status=status)
    build.invocation(1.0)
    build.invocation(10.005, ms=20)  # began in the bin before
    build.invocation(12.0, init_ms=100.0)
    frame = bins.table(build.write(), 10)
    assert list(frame.columns) == list(bins.COLUMNS)
    assert column(frame, "at") == [pd.Timestamp(T0 + second, unit="s", tz="UTC") for second in (0, 10, 20, 30)]
    assert column(frame, "requests") == [2, 1, 0, 1]
    assert column(frame, "requests_per_s") == [0.2, 0.1, 0.0, 0.1]
    assert column(frame, "failures") == [1, 0, 0, 0]
    assert column(frame, "invocations") == [2, 1, 0, 0]
    assert column(frame, "cold_starts") == [0, 1, 0, 0]


def test_dropped_arrivals_are_no_requests(build: Any) -> None:
    build.request(1.0)
    build.request(None, None, None, scheduled_at=T0 + 2, error="dropped")
    assert column(bins.table(build.write(), 10), "requests") == [1]


def test_percentiles_interpolate_and_are_absent_where_nothing_was(build: Any) -> None:
    for at, ms in ((1, 100.0), (2, 200.0), (3, 300.0), (25, 50.0)):
        build.request(at, ms)
        build.invocation(at, ms / 10)
    frame = bins.table(build.write(), 10)
    assert column(frame, "client_p50_ms") == [200.0, None, 50.0]
    assert column(frame, "client_p95_ms") == [pytest.approx(290.0), None, 50.0]
    assert column(frame, "duration_p50_ms") == [20.0, None, 5.0]


def test_a_failed_invocation_counts_once_however_often_it_was_told(build: Any) -> None:
    build.request(1.0)
    build.invocation(1.0, request_id="r", status="timeout")
    build.error(1.0, request_id="r", kind="timeout")
    build.error(0.9, kind="error")
    frame = bins.table(build.write(), 10)
    assert column(frame, "errors") == [1]
    assert column(frame, "timeouts") == [1]


def test_concurrency_is_the_most_at_once_in_the_bin(build: Any) -> None:
    for end in (5.0, 5.5, 6.0):  # three that overlap between 4.9 and 5, of which two reach into the next bin's second
        build.invocation(end, ms=1100)
    build.invocation(11.0, ms=2000)
    assert column(bins.table(build.write(), 5), "concurrency") == [3, 2]


def test_a_clock_that_was_never_set_makes_no_bins_of_decades(build: Any) -> None:
    build.request(1.0)
    build.request(1.0 - T0)
    with pytest.raises(UsageError, match=r"179,525,521 bins of 10 s: .* from 1970-01-01 00:00:01 UTC to 2026-11-21"):
        bins.table(build.write(), 10)


def test_an_init_is_a_place_of_the_concurrency(build: Any) -> None:
    """Lambda counts the environment from the request that it is made for: these two overlap in their inits only."""
    build.invocation(1.0, ms=10, init_ms=300.0)
    build.invocation(1.2, ms=10, init_ms=300.0)
    assert column(bins.table(build.write(), 5), "concurrency") == [2]


@pytest.mark.parametrize(("every_s", "throttles"), [(60, [4, 3]), (30, [None, None, None, None])])
def test_throttles_are_counted_by_the_minute_only(build: Any, every_s: float, throttles: list[int | None]) -> None:
    build.request(1.0)
    build.request(100.0)
    points = [[T0, 4.0], [T0 + 60, 3.0]]
    build.metrics = {"period_s": 60, "functions": {}, "series": {"place-vote": {"Throttles": points}}}
    assert column(bins.table(build.write(), every_s), "throttles") == throttles


def test_without_metrics_throttles_are_not_known(build: Any) -> None:
    build.request(1.0)
    assert column(bins.table(build.write(), 60), "throttles") == [None]


def test_one_function_alone(build: Any) -> None:
    build.request(1.0)
    build.invocation(1.0)
    build.invocation(1.0, function="tally-votes")
    run = build.write()
    assert column(bins.table(run, 10, ["tally-votes"]), "invocations") == [1]
    with pytest.raises(UsageError, match="place-vote, tally-votes"):
        bins.table(run, 10, ["tally"])


def test_locusts_history_alone_is_enough(tmp_path: Path) -> None:
    shutil.copy(HISTORY, tmp_path / "results_stats_history.csv")
    frame = bins.table(RunDir(tmp_path), 10)
    assert column(frame, "requests")[:2] == [11, 780]  # the total at :19, and what it grew by until :28
    assert sum(column(frame, "requests")) == 4807
    assert column(frame, "failures")[:2] == [11, 780]
    assert column(frame, "users")[:3] == [30, 50, 50]
    assert column(frame, "client_p95_ms")[:2] == [730.0, 620.0]
    assert column(frame, "invocations")[0] == 0 and column(frame, "throttles")[0] is None


def test_bins_in_which_locust_wrote_nothing_have_no_users(tmp_path: Path) -> None:
    shutil.copy(HISTORY, tmp_path / "results_stats_history.csv")
    frame = bins.table(RunDir(tmp_path), 10)
    assert column(frame, "users")[3] is None and column(frame, "client_p95_ms")[3] is None


def test_a_run_with_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NoRowsError):
        bins.table(RunDir(tmp_path), 10)


@pytest.mark.parametrize("every_s", [0.5, 1.5])
def test_bins_are_whole_seconds(build: Any, every_s: float) -> None:
    with pytest.raises(UsageError, match="whole seconds"):
        bins.table(build.write(), every_s)


def printed(run: RunDir, *arguments: str) -> str:
    result = CliRunner().invoke(
        bins.bins_command, [str(run.path), *arguments], standalone_mode=False, catch_exceptions=False
    )
    assert result.return_value == 0
    return result.stdout


def test_csv_and_json_have_every_column(build: Any) -> None:
    build.request(1.0)
    build.invocation(1.0)
    run = build.write()
    (as_json,) = json.loads(printed(run, "--format", "json"))
    assert list(as_json) == list(bins.COLUMNS)
    assert as_json["at"] == "2026-11-21T10:00:00Z" and as_json["requests"] == 1 and as_json["users"] is None
    (as_csv,) = csv.DictReader(io.StringIO(printed(run, "--format", "csv")))
    assert as_csv["invocations"] == "1" and as_csv["users"] == ""


def test_the_table_is_not_cut(build: Any) -> None:
    for at in range(30):
        build.request(at)
    shown = printed(build.write(), "--every", "1s")
    assert "…" not in shown and shown.count("10:00:") == 2 * 30
    assert max(map(len, shown.splitlines())) <= 100


def test_without_any_log_group_the_clients_side_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(HISTORY, tmp_path / "results_stats_history.csv")
    (tmp_path / "results_stats.csv").touch()
    result = CliRunner().invoke(bins.bins_command, [str(tmp_path), "--format", "csv"], standalone_mode=False)
    assert result.return_value == 2
    assert "LOG_GROUPS" in result.stderr
    assert sum(float(row["requests"]) for row in csv.DictReader(io.StringIO(result.stdout))) == 4807


def test_a_time_span_that_is_none_is_wrong_usage() -> None:
    result = CliRunner().invoke(bins.bins_command, ["latest", "--every", "soon"])
    assert result.exit_code == 2 and "soon" in result.output


def test_cold_starts_that_no_log_tells_are_not_known(build: Any) -> None:
    build.manifest["target"] = "emulator"
    build.invocation(1.0)
    assert column(bins.table(build.write(), 10.0), "cold_starts") == [None]
