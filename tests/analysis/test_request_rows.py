"""Rows in memory, in their files and elsewhere: a join gets the same from each."""

import numpy as np
import pytest

from analysis import request_rows, requests_table
from analysis.evidence import connect
from analysis.request_rows import RequestRows, RowsInFiles, RowsInMemory
from analysis.requests_table import create_requests
from runstore.columns import DROPPED, REQUEST_COLUMNS

HEADER = ",".join(REQUEST_COLUMNS) + "\n"


def line(seq, *, method="POST", error="", request_id="", lambda_request_id="", started_at="1795255200.5"):
    return (
        f"0,{seq},1795255200.5,{started_at},1.5,vote,/vote,{method},200,1,{error},,{request_id},{lambda_request_id},"
        f"t{seq},,,90,60,measure,\n"
    )


FILES = [
    HEADER + line(1, request_id="g1", lambda_request_id="l1") + line(2, request_id="g2", error="HTTP 502"),
    HEADER
    + line(1, method="Invoke", request_id="i1")
    + line(2, error=DROPPED, started_at="")
    + line(3, request_id="g3", lambda_request_id="l3"),
]
KINDS = {"in memory": RowsInMemory, "in files": RowsInFiles, "in a view": RequestRows}


@pytest.fixture(params=KINDS)
def keep(request, tmp_path, monkeypatch):
    """A function that reads FILES: -> the database, the rows."""

    def read_files():
        if request.param != "in memory":
            monkeypatch.setattr(requests_table, "IN_MEMORY_BYTES", -1)
            monkeypatch.setattr(requests_table, "READ_AGAIN_BYTES", -1)
        paths = [tmp_path / f"requests-{number}.csv" for number in range(len(FILES))]
        for path, text in zip(paths, FILES, strict=True):
            path.write_text(text)
        db = connect()
        read = create_requests(db, paths, few_queries=request.param == "in files")
        assert type(read.kept) is KINDS[request.param]
        assert (read.rows, read.numbers) == (5, 5)
        return db, read.kept

    return read_files


@pytest.fixture
def kept(keep):
    return keep()


def test_named_are_the_invocations_of_sent_requests(kept):
    db, rows = kept
    found = db.execute(
        f"""SELECT row, id FROM {rows.named}
            JOIN (SELECT id, {request_rows.hashes("id")} FROM (VALUES ('l1'), ('l3'), ('i1'), ('g2'), (NULL)) ids(id))
            USING (hash, other_hash) ORDER BY row"""
    ).fetchall()
    assert found == [(0, "l1"), (2, "i1"), (4, "l3")]


@pytest.mark.parametrize("few", [1_000_000, 1], ids=["few nameless", "many nameless"])
@pytest.mark.parametrize(
    "wanted", [[0, 1, 2, 3, 4], [1, 2, 3], [1], [0, 1], []], ids=["all", "nameless", "one", "another", "none"]
)
def test_keys_of_the_rows_that_are_wanted(keep, monkeypatch, few, wanted):
    monkeypatch.setattr(request_rows, "_FEW", few)
    db, rows = keep()
    flags = np.isin(np.arange(5), wanted)
    found = db.execute(f"SELECT row, {', '.join(request_rows.KEYS)} FROM {rows.keys(flags)} ORDER BY row").fetchall()
    assert found == [
        row
        for row in [
            (0, "POST", None, "g1", "l1", None, "t1"),
            (1, "POST", "HTTP 502", "g2", None, None, "t2"),
            (2, "Invoke", None, "i1", None, None, "t1"),
            (3, "POST", DROPPED, None, None, None, "t2"),
            (4, "POST", None, "g3", "l3", None, "t3"),
        ]
        if row[0] in wanted
    ]


def test_keys_of_all(kept):
    db, rows = kept
    assert db.execute(f"SELECT list(row ORDER BY row) FROM {rows.keys()}").fetchone() == ([0, 1, 2, 3, 4],)


def test_batches_show_their_columns_first_and_have_every_row(kept):
    _, rows = kept
    first, *others = rows.batches(2)
    assert (len(first), first.schema.names) == (0, [*REQUEST_COLUMNS, "row"])
    assert all(batch.schema == first.schema for batch in others)
    assert [row for batch in others for row in batch.column("row").to_pylist()] == [0, 1, 2, 3, 4]


def test_rows_that_are_forgotten_leave_nothing_in_the_database(kept):
    db, rows = kept
    rows.forget()
    assert db.execute("SELECT table_name FROM duckdb_tables()").fetchall() == []
