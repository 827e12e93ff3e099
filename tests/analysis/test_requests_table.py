import gc
from functools import partial

import pytest

from analysis import requests_table
from analysis.errors import DataFormatError
from analysis.evidence import connect
from analysis.whole_lines import DamagedLineError, WholeLines
from runstore.columns import REQUEST_COLUMNS

HEADER = ",".join(REQUEST_COLUMNS) + "\n"
EARLIER_HEADER = HEADER.replace(",init_ms", "")


def earlier_line(seq: int, error: str = "", ok: int = 1) -> str:
    return f"0,{seq},,1795255200.5,12.345,vote,/vote,POST,200,{ok},{error},,rid-{seq},,,,,90,60,measure\n"


def line(seq: int, error: str = "", ok: int = 1, init_ms: str = "") -> str:
    return earlier_line(seq, error, ok).replace("measure", f"measure,{init_ms}")


@pytest.fixture(params=["in memory", "on disk", "read again or in memory", "read again or on disk"], autouse=True)
def rows_kept(request, monkeypatch):
    if request.param.endswith("on disk"):
        monkeypatch.setattr(requests_table, "IN_MEMORY_BYTES", -1)
    if request.param.startswith("read again"):
        monkeypatch.setattr(requests_table, "READ_AGAIN_BYTES", -1)
        monkeypatch.setattr(
            requests_table, "create_requests", partial(requests_table.create_requests, few_queries=True)
        )
    return request.param


def read(tmp_path, **files):
    db = connect()
    paths = []
    for name, text in files.items():
        path = tmp_path / f"requests-{name}.csv"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return db, requests_table.create_requests(db, paths)


def test_values_get_their_types_and_empty_is_null(tmp_path):
    db, _ = read(tmp_path, a=HEADER + line(1))
    columns = "worker, seq, started_at, response_ms, status, ok, error, lambda_request_id, phase, init_ms"
    rows = db.execute(f"SELECT {columns} FROM requests").fetchall()
    assert rows == [("0", 1, 1795255200.5, 12.345, 200, True, None, None, "measure", None)]


def test_an_error_may_hold_commas_and_quotes(tmp_path):
    db, read_as = read(tmp_path, a=HEADER + line(1, '"said ""no"", twice"', ok=0))
    assert db.execute("SELECT error, ok FROM requests").fetchall() == [('said "no", twice', False)]
    assert not read_as.unreadable


@pytest.mark.parametrize("last", [line(3), line(3, init_ms="156.080")], ids=["warm", "cold"])
def test_a_cut_off_last_line_is_left_out_and_counted(tmp_path, last):
    """A killed writer may stop anywhere: one file for each place."""
    cuts = range(1, len(last))
    db, read_as = read(tmp_path, **{f"{cut:03d}": HEADER + line(1) + line(2) + last[:cut] for cut in cuts})
    assert read_as.unreadable == {f"requests-{cut:03d}.csv": 1 for cut in cuts}
    rows = dict(db.execute("SELECT file, list(seq ORDER BY row) FROM requests GROUP BY file").fetchall())
    assert len(rows) == len(cuts)
    assert all(seqs == [1, 2] for seqs in rows.values())


def test_arrow_and_duckdb_read_whole_files_alike(tmp_path, monkeypatch):
    """What is whole is read by the one, what is damaged by the other: values must not depend on the damage."""
    odd = [
        line(1, '"said ""no"", twice"', ok=0),
        line(2, '""'),
        line(3, " spaces "),
        line(4, "naïve ☃").replace("12.345", "1e-3").replace("90,60", "0,9000000000"),
        line(5).replace("12.345", "-0.0").replace(",200,", ",,").replace("1795255200.5", "1795255200.123456"),
        line(6, "NULL", init_ms="156.080").replace("12.345", ""),
        line(7, "\ttab"),
    ]
    files = {"a": HEADER + "".join(odd), "b": EARLIER_HEADER + earlier_line(1), "c": HEADER}

    def rows():
        db, read_as = read(tmp_path, **files)
        return db.execute("SELECT * REPLACE (response_ms::VARCHAR AS response_ms) FROM requests").fetchall(), read_as

    by_arrow = rows()

    def damaged(lines, *pool):
        raise DamagedLineError("a line is damaged")
        yield

    monkeypatch.setattr(WholeLines, "batches", damaged)
    assert rows() == by_arrow


def test_a_cut_off_last_line_of_an_earlier_version_is_left_out_and_counted(tmp_path):
    """One that lacks but its line end is whole: the phase shows it."""
    start, last = EARLIER_HEADER + earlier_line(1), earlier_line(2)
    db, read_as = read(tmp_path, **{f"{cut:03d}": start + last[:cut] for cut in range(1, len(last))})
    assert read_as.unreadable == {f"requests-{cut:03d}.csv": 1 for cut in range(1, len(last) - 1)}
    assert db.execute("SELECT file FROM requests WHERE seq = 2").fetchall() == [(f"requests-{len(last) - 1:03d}.csv",)]


def test_files_of_an_earlier_version_are_read_beside_others(tmp_path):
    db, _ = read(tmp_path, a=EARLIER_HEADER + earlier_line(1), b=HEADER + line(1, init_ms="156.080"))
    assert db.execute("SELECT init_ms FROM requests ORDER BY row").fetchall() == [(None,), (156.08,)]


def test_an_open_quote_does_not_swallow_the_file(tmp_path):
    db, read_as = read(tmp_path, a=HEADER + line(1) + '0,2,,1795255200.5,1.0,vote,/vote,POST,502,0,"half a sen')
    assert db.execute("SELECT count(*) FROM requests").fetchone() == (1,)
    assert read_as.unreadable == {"requests-a.csv": 1}


def test_open_quotes_in_the_middle_cost_their_own_lines(tmp_path):
    """The first would take all up to the second for one value, the third all up to the end of the file."""
    broken = '0,2,,1795255200.5,1.0,vote,/vote,POST,502,0,"half a sen\n'
    whole = line(4).replace("/vote,POST", '"a ""quoted"" name, with a comma",POST')
    text = HEADER + line(1) + broken + line(3) + broken + whole + broken + line(6)
    db, read_as = read(tmp_path, a=text, b=HEADER + line(1), c=HEADER + line(1) + "\x00\n")
    rows = db.execute("SELECT file, list(seq ORDER BY row) FROM requests GROUP BY file ORDER BY file").fetchall()
    assert rows == [("requests-a.csv", [1, 3, 4, 6]), ("requests-b.csv", [1]), ("requests-c.csv", [1])]
    assert read_as.unreadable == {"requests-a.csv": 3, "requests-c.csv": 1}
    assert read_as.missing == {"requests-a.csv": 2}


@pytest.mark.parametrize("damaged", [line(2).replace("rid-2", "a\rb"), line(2).replace("90,60", "\r,60")])
def test_a_carriage_return_in_the_middle_costs_its_own_line(tmp_path, damaged):
    _, read_as = read(tmp_path, a=HEADER + line(1) + "garbage\n" + damaged + line(3))
    assert (read_as.rows, dict(read_as.unreadable)) == (2, {"requests-a.csv": 2})


def test_garbage_in_the_middle_costs_its_own_line(tmp_path):
    _, read_as = read(tmp_path, a=HEADER + line(1) + "\x00\x00\n" + line(2))
    assert (read_as.rows, read_as.unreadable) == (2, {"requests-a.csv": 1})


def test_gaps_and_repetitions_are_counted_per_file(tmp_path):
    _, read_as = read(tmp_path, a=HEADER + line(1) + line(4), b=HEADER + line(1) + line(2) + line(2))
    assert read_as.missing == {"requests-a.csv": 2}
    assert read_as.repeated == {"requests-b.csv": 1}


@pytest.mark.parametrize("files", [{}, {"a": ""}, {"a": HEADER}, {"a": "", "b": HEADER}])
def test_nothing_recorded_is_an_empty_table(tmp_path, files):
    db, read_as = read(tmp_path, **files)
    assert db.execute("SELECT count(*) FROM requests").fetchone() == (0,)
    assert read_as.rows == 0


def test_a_header_without_a_column_is_refused(tmp_path):
    with pytest.raises(DataFormatError, match="no column phase"):
        read(tmp_path, a=HEADER.replace(",phase", "") + "1\n")


def test_columns_of_a_later_version_are_passed_over(tmp_path):
    wider = HEADER.rstrip("\n") + ",region\n" + line(1).rstrip("\n") + ",eu-west-1\n"
    _, read_as = read(tmp_path, a=HEADER + line(1), b=wider)
    assert read_as.rows == 2


@pytest.mark.parametrize(
    ("name", "method", "endpoint"),
    [("/vote", "POST", "POST /vote"), ("POST /vote", "POST", "POST /vote"), ("smoke", "", "smoke")],
)
def test_an_endpoint_is_named_by_method_and_name(tmp_path, name, method, endpoint):
    db, _ = read(tmp_path, a=HEADER + line(1).replace("/vote,POST", f"{name},{method}"))
    assert db.execute("SELECT endpoint FROM requests").fetchall() == [(endpoint,)]


def test_a_path_with_a_quote_is_read(tmp_path):
    directory = tmp_path / "it's here"
    directory.mkdir()
    _, read_as = read(directory, a=HEADER + line(1))
    assert read_as.rows == 1


def changed(**values):
    """The line of request 2 with these values in it."""
    row = dict(zip(REQUEST_COLUMNS, line(2).rstrip("\n").split(","), strict=True))
    return ",".join((row | values).values()) + "\n"


def test_lines_that_no_writer_of_ours_can_have_written_are_left_out_and_counted(tmp_path):
    damaged = [
        *({"response_ms": number} for number in ("nan", "inf", "1e308", "-1.0")),
        *({"started_at": number} for number in ("1e308", "1e15", "-5.0", "")),
        *({"scheduled_at": number} for number in ("1e308", "-inf")),
        {"started_at": "", "error": "dropped", "ok": "0"},
        {"init_ms": "1e308"},
        {"bytes_sent": "-1"},
        {"bytes_received": "9000000000000000000"},
        *({"seq": number} for number in ("0", "9000000000000000000", "")),
        {"ok": ""},
    ]
    db, read_as = read(tmp_path, a=HEADER + line(1) + "".join(changed(**values) for values in damaged) + line(3))
    assert db.execute("SELECT seq, response_ms FROM requests ORDER BY row").fetchall() == [(1, 12.345), (3, 12.345)]
    assert read_as.unreadable == {"requests-a.csv": len(damaged)}


def test_a_clock_that_is_not_set_and_a_wait_of_days_are_no_damage(tmp_path):
    _, read_as = read(tmp_path, a=HEADER + changed(started_at="17.5", seq="1", response_ms="259200000.000"))
    assert (read_as.rows, read_as.unreadable) == (1, {})


def test_a_row_with_a_long_text_is_read_and_the_text_cut(tmp_path):
    """DuckDB refuses lines of more than 2 MB, and passes over one of more than 32 MB at the end without a word."""
    quoted, endless = '"' + "x," * 1_050_000 + '"', "x" * 34_000_000
    db, read_as = read(
        tmp_path, a=HEADER + line(1) + line(2, quoted, ok=0) + line(3), b=HEADER + line(1, endless, ok=0)
    )
    cut = requests_table.LONGEST_TEXT
    assert db.execute("SELECT file, seq, error, phase FROM requests ORDER BY row").fetchall() == [
        ("requests-a.csv", 1, None, "measure"),
        ("requests-a.csv", 2, quoted[1 : 1 + cut], "measure"),
        ("requests-a.csv", 3, None, "measure"),
        ("requests-b.csv", 1, endless[:cut], "measure"),
    ]
    assert not (read_as.unreadable or read_as.missing or read_as.repeated)


def test_many_long_rows_fit_into_the_memory(tmp_path):
    """A query holds 2,048 at a time: they would be 2 GB. The limit is lower here for the test's sake."""
    file = tmp_path / "requests-a.csv"
    file.write_text(HEADER + "".join(line(seq, "x" * 1_000_000, ok=0) for seq in range(1, 81)))
    db = connect()
    db.execute("SET memory_limit = '70MB'")
    assert requests_table.create_requests(db, [file], tmp_path).rows == 80


@pytest.mark.parametrize("end", ["", "x", ',,"open quote'])
def test_a_long_last_line_that_is_cut_off_is_left_out_and_counted(tmp_path, end):
    last = line(2, '"' + "x" * 200_000 + '"', ok=0).rstrip("\n")
    _, read_as = read(tmp_path, a=HEADER + line(1) + (last + end if not end else last[: -len(end)] + end))
    assert (read_as.rows, read_as.unreadable) == (1, {"requests-a.csv": 1})


def test_a_header_that_is_none_is_an_error_and_no_defect(tmp_path):
    with pytest.raises(DataFormatError, match=r"requests-a\.csv"):
        read(tmp_path, a="x" * 200_000 + HEADER + line(1))


def test_rows_on_the_disk_go_with_the_connection(tmp_path, rows_kept):
    file = tmp_path / "requests-a.csv"
    file.write_text(HEADER + line(1))
    db = connect()
    requests_table.create_requests(db, [file], tmp_path)
    assert len(list(tmp_path.glob(".requests-*/requests.parquet"))) == (rows_kept == "on disk")
    db.close()
    del db
    gc.collect()
    assert not list(tmp_path.glob(".requests-*"))


@pytest.mark.parametrize(
    ("damaged", "unreadable"),
    [(line(2).replace("measure", "bad") + line(3), 1), (line(3) + line(2)[:-1], 1), ("\n" + line(3), None)],
    ids=["bad phase", "unended", "blank"],
)
def test_rows_beside_one_that_is_none_are_there_to_be_joined(tmp_path, damaged, unreadable):
    """DuckDB passes over a blank line without a word."""
    _, read_as = read(tmp_path, a=HEADER + line(1) + damaged)
    assert [seq for batch in read_as.kept.batches(100) for seq in batch.column("seq").to_pylist()] == [1, 3]
    assert unreadable is None or read_as.unreadable == {"requests-a.csv": unreadable}


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_lines_may_end_as_on_other_systems(tmp_path, end):
    db = connect()
    file = tmp_path / "requests-a.csv"
    file.write_bytes((HEADER + line(1) + line(2)).replace("\n", end).encode())
    assert requests_table.create_requests(db, [file]).rows == 2
