from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from analysis.errors import PullError
from analysis.insights import Row
from analysis.slice_files import Fetched, Piece, save, saved
from analysis.slices import Slice

# 2026-10-03 20:36:17 UTC is 1791059777
FIRST, SECOND = Slice(1791059777, 1791059780), Slice(1791059780, 1791059790)


def piece(one: Slice = FIRST, text: str = "fields @message") -> Piece:
    return Piece("events", (("f", "/aws/lambda/f"),), one, text, 10_000)


def row(time: str, message: str = "m", ptr: str | None = None) -> Row:
    cells = {"@timestamp": f"2026-10-03 20:36:{time}", "@logStream": "s", "@message": message}
    return cells | ({"@ptr": ptr} if ptr else {})


def keep(folder: Path, rows: list[Row], one: Slice = FIRST) -> Fetched:
    return save(folder, piece(one), rows, read_at=5.0, matched=len(rows), bytes_scanned=7)


def messages(fetched: Fetched) -> list[str]:
    return [m for (m,) in duckdb.execute("SELECT message FROM read_parquet($1)", [str(fetched.path)]).fetchall()]


def test_an_event_in_the_second_that_two_slices_share_belongs_to_the_later_one(tmp_path: Path) -> None:
    shared = [row("19.999", "before", "1"), row("20.000", "at", "2"), row("20.500", "after", "3")]
    assert messages(keep(tmp_path, shared)) == ["before"]
    assert messages(keep(tmp_path, shared, SECOND)) == ["at", "after"]


TWO_IDS = '{"requestId": "1a", "message": {"$metadata": {"requestId": "e2"}}}'
FIRST_WITHOUT_DIGITS = '{"requestId": "-", "message": {"requestId": "1a"}}'


@pytest.mark.parametrize(
    ("prefix", "message", "kept"),
    [
        ("1", TWO_IDS, 1),
        ("e", TWO_IDS, 0),
        ("1a", TWO_IDS, 1),
        ("e2", TWO_IDS, 0),
        ("1a_", TWO_IDS, 1),
        ("e2_", TWO_IDS, 0),
        ("1", FIRST_WITHOUT_DIGITS, 1),
        ("other", "Traceback", 1),
        ("other", TWO_IDS, 0),
        ("", TWO_IDS, 1),
    ],
)
def test_an_event_that_names_two_requests_is_in_the_part_of_the_first(
    tmp_path: Path, prefix: str, message: str, kept: int
) -> None:
    assert keep(tmp_path, [row("18.000", message)], Slice(FIRST.start, FIRST.end, prefix)).rows == kept


def test_rows_with_one_pointer_are_one_event(tmp_path: Path) -> None:
    fetched = keep(tmp_path, [row("18.000", "a", "1"), row("18.000", "a", "1"), row("18.000", "a", "2")])
    assert messages(fetched) == ["a", "a"]
    assert (fetched.rows, fetched.matched) == (2, 3)


def test_without_pointers_equal_events_stay_apart(tmp_path: Path) -> None:
    assert keep(tmp_path, [row("18.000", "a"), row("18.000", "a"), row("18.000", "b")]).rows == 3


def test_what_was_saved_is_found_again_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    fetched = keep(tmp_path, [row("18.000"), row("17.500", "n")])
    assert fetched.newest == "2026-10-03 20:36:18.000"
    assert list(saved(tmp_path)) == [fetched]


def test_an_answer_without_rows_is_an_answer(tmp_path: Path) -> None:
    fetched = keep(tmp_path, [])
    assert list(saved(tmp_path)) == [fetched] and fetched.newest is None


def test_files_of_others_and_broken_ones_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    duckdb.execute(f"COPY (SELECT 1 AS x) TO '{tmp_path}/other.parquet'")
    assert list(saved(tmp_path)) == []
    assert list(saved(tmp_path / "nowhere")) == []


def test_another_query_is_another_piece() -> None:
    assert piece(text="a") != piece(text="b")


def test_text_that_has_no_utf8_form_is_saved_without_it(tmp_path: Path) -> None:
    assert messages(keep(tmp_path, [row("18.000", "a\ud800b")])) == ["a?b"]


@pytest.mark.parametrize("time", ["1791059778500", "2026-10-03T20:36:18.500Z", "2026-10-03 20:36:18.500"])
def test_timestamps_of_other_forms_are_placed_as_well(tmp_path: Path, time: str) -> None:
    assert keep(tmp_path, [{"@timestamp": time, "@message": "m"}]).rows == 1
    assert keep(tmp_path, [{"@timestamp": time, "@message": "m"}], SECOND).rows == 0


@pytest.mark.parametrize(
    ("cells", "told"), [({}, "no time: absent"), ({"@timestamp": "never"}, "no time: never")], ids=["none", "no time"]
)
def test_a_row_without_a_time_is_an_error_that_names_the_query(tmp_path: Path, cells: Row, told: str) -> None:
    with pytest.raises(PullError, match=f"query events gave a row whose @timestamp is {told}"):
        keep(tmp_path, [row("18.000"), {"@message": "m", **cells}])
    assert list(saved(tmp_path)) == []
