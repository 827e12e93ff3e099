"""Requests files read in pieces: what comes of them, and what is refused."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from analysis import whole_lines
from analysis.whole_lines import DamagedLineError, WholeLines

COLUMNS = {"seq": pa.int64(), "name": pa.string(), "ms": pa.float64()}
HEADER = ("seq", "name", "ms")


def lines_of(tmp_path, *texts, header=HEADER):
    paths = []
    for number, text in enumerate(texts):
        path = tmp_path / f"requests-{number}.csv"
        path.write_bytes((",".join(header) + "\n").encode() + text)
        paths.append(str(path))
    return WholeLines.of({header: paths}, COLUMNS)


def rows(lines):
    return [tuple(row.values()) for batch in lines.batches() for row in batch.to_pylist()]


@pytest.mark.parametrize("end", [b"\n", b""], ids=["ended", "unended"])
def test_every_size_of_piece_gives_the_same_rows(tmp_path, monkeypatch, end):
    """Lines of different lengths, so that pieces begin and end at, before and behind a line end."""
    texts = [b"\n".join(b"%d,%s,%d.5" % (seq, b"x" * (seq * 7 % 11), seq) for seq in range(1, 13)) + end] * 2
    lines = lines_of(tmp_path, *texts)
    expected = rows(lines)
    assert [(file, seq, row) for file, seq, _, _, row in expected] == [
        (f"requests-{file}.csv", seq, file * 12 + seq - 1) for file in range(2) for seq in range(1, 13)
    ]
    for piece in range(1, 200):
        monkeypatch.setattr(whole_lines, "PIECE_BYTES", piece)
        assert rows(lines) == expected, piece


def test_only_some_columns_of_some_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_lines, "PIECE_BYTES", 8)
    lines = lines_of(tmp_path, b"1,a,1\n2,b,2\n3,c,3\n")
    assert rows(lines.only(["name"], np.array([True, False, True]))) == [
        ("requests-0.csv", "a", 0),
        ("requests-0.csv", "c", 2),
    ]


def test_a_column_that_a_file_lacks_is_null_and_one_of_its_own_is_passed_over(tmp_path):
    lines = lines_of(tmp_path, b"1,mine,2.5\n", header=("seq", "own", "ms"))
    assert rows(lines) == [("requests-0.csv", 1, None, 2.5, 0)]


def test_duckdb_takes_them_for_a_table_as_often_as_it_likes(tmp_path):
    db = duckdb.connect()
    db.register("some_lines", lines_of(tmp_path, b"1,a,1\n2,b,2.5\n"))
    db.execute("CREATE VIEW twice AS SELECT sum(ms) AS ms FROM some_lines")
    assert [db.execute("FROM twice").fetchall() for _ in range(2)] == [[(3.5,)]] * 2


def test_a_query_that_needs_no_more_rows_ends_the_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_lines, "PIECE_BYTES", 6)
    db = duckdb.connect()
    db.register("some_lines", lines_of(tmp_path, b"1,a,1\n" * 5000))
    assert db.execute("SELECT seq FROM some_lines LIMIT 1").fetchall() == [(1,)]
    assert db.execute("SELECT count(*) FROM some_lines").fetchone() == (5000,)


def test_a_file_that_grows_keeps_its_rows(tmp_path):
    lines = lines_of(tmp_path, b"1,a,1\n")
    with (tmp_path / "requests-0.csv").open("ab") as file:
        file.write(b"2,b,2\n")
    assert [row[1] for row in rows(lines)] == [1]


def test_a_file_that_was_cut_is_named(tmp_path):
    lines = lines_of(tmp_path, b"1,a,1\n2,b,2\n")
    (tmp_path / "requests-0.csv").write_bytes(b"seq,name,ms\n1,a,1\n")
    with pytest.raises(DamagedLineError, match=r"requests-0\.csv"):
        rows(lines)


def test_text_that_is_not_ascii_is_read(tmp_path):
    assert rows(lines_of(tmp_path, "1,naïve ☃,1\n".encode()))[0][2] == "naïve ☃"


@pytest.mark.parametrize(
    "damage",
    [
        b"2,b\n",
        b"2,b,2,3\n",
        b"two,b,2\n",
        b"2,b,2 ms\n",
        b'2,"open,2\n',
        b"2,\xff,2\n",
        b"2," + b"x" * 100_000 + b",2\n",
        b"2," + b"x" * 9_000_000 + b",2\n",
        b"2,b",
    ],
    ids=["few", "many", "no number", "a unit", "a quote", "no text", "long", "longer", "cut"],
)
def test_a_line_that_is_not_whole_is_an_error_that_names_the_file(tmp_path, damage):
    lines = lines_of(tmp_path, b"1,a,1\n" * 3000 + damage + (b"3,c,3\n" * 3000 if damage.endswith(b"\n") else b""))
    with pytest.raises(DamagedLineError, match=r"requests-0\.csv"):
        rows(lines)
