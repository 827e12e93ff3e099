from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from analysis.errors import DataFormatError, NoRowsError
from analysis.statistics_table import measure, render

T0 = 1_795_255_223.0


def write(path: Path, *rows: tuple[str, float, float | None, float | None, float | None, float | None]) -> Path:
    """(function, reported_at, duration_ms, billed_ms, memory_mb, max_memory_mb) rows as `invocations.parquet`."""
    db = duckdb.connect()
    db.execute(
        "CREATE TABLE i (function VARCHAR, log_group VARCHAR, reported_at DOUBLE, duration_ms DOUBLE,"
        " billed_ms DOUBLE, memory_mb DOUBLE, max_memory_mb DOUBLE)"
    )
    for row in rows:
        db.execute("INSERT INTO i VALUES (?, ?, ?, ?, ?, ?, ?)", [row[0], f"/aws/lambda/{row[0]}", *row[1:]])
    file = path / "invocations.parquet"
    db.execute(f"COPY i TO '{file}' (FORMAT parquet)")
    return file


def test_a_duration_at_its_limit_is_over_it(tmp_path: Path) -> None:
    rows = [("f", T0, duration, 1.0, 128.0, 70.0) for duration in (499.99, 500.0, 500.01)]
    (one,) = measure(write(tmp_path, *rows), duration_limit_ms=500)
    assert (one.under_limit_duration, one.over_limit_duration) == (1, 2)


def test_headroom_under_its_limit_means_too_little_is_left(tmp_path: Path) -> None:
    rows = [("f", T0, 1.0, 1.0, 128.0, used) for used in (99.0, 100.0, 101.0, 128.0)]
    (one,) = measure(write(tmp_path, *rows), memory_headroom_mb=28)
    assert (one.under_limit_memory, one.over_limit_memory) == (2, 2)


def test_the_figures_of_three_records(tmp_path: Path) -> None:
    (one,) = measure(
        write(
            tmp_path,
            ("f", T0 + 2, 30.5, 31.0, 128.0, 72.0),
            ("f", T0, 10.0, 10.0, 128.0, 69.0),
            ("f", T0 + 1, 20.0, 20.0, 128.0, 72.0),
        )
    )
    assert (one.first_at, one.last_at, one.records) == (T0, T0 + 2, 3)
    assert (one.min_duration_ms, one.max_duration_ms, one.total_duration_ms) == (10.0, 30.5, 60.5)
    assert one.mean_duration_ms == pytest.approx(60.5 / 3)
    assert (one.min_billed_ms, one.max_billed_ms, one.total_billed_ms) == (10.0, 31.0, 61.0)
    assert (one.min_memory_mb, one.max_memory_mb, one.mean_memory_mb) == (69.0, 72.0, 71.0)
    assert list(one.configured_memory_mb) == [128.0]


def test_functions_come_in_the_order_of_their_first_record(tmp_path: Path) -> None:
    file = write(tmp_path, ("b", T0 + 1, 1.0, 1.0, 1.0, 1.0), ("a", T0 + 2, 1.0, 1.0, 1.0, 1.0), ("c", T0, 1, 1, 1, 1))
    assert [one.function for one in measure(file)] == ["c", "b", "a"]


def test_values_that_are_absent_are_neither_under_nor_over(tmp_path: Path) -> None:
    (one,) = measure(write(tmp_path, ("f", T0, None, None, None, None)))
    assert one.records == 1
    assert one.mean_duration_ms is None
    assert (one.under_limit_duration, one.over_limit_duration) == (0, 0)
    assert (one.under_limit_memory, one.over_limit_memory) == (0, 0)
    assert "avg_duration          : –" in render([one])


def test_a_function_whose_memory_was_changed_shows_both_sizes(tmp_path: Path) -> None:
    measured = measure(write(tmp_path, ("f", T0, 1.0, 1.0, 3008.0, 70.0), ("f", T0, 1.0, 1.0, 128.0, 70.0)))
    assert "configured memory     : 128, 3008" in render(measured)


def test_no_record_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(NoRowsError, match="no REPORT line"):
        measure(write(tmp_path))


def test_a_run_without_invocations_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(NoRowsError) as caught:
        measure(tmp_path / "invocations.parquet")
    assert caught.value.hint is not None


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    file = tmp_path / "invocations.parquet"
    file.write_text("not parquet")
    with pytest.raises(DataFormatError, match=r"invocations\.parquet"):
        measure(file)
