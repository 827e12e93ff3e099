"""What a lost worker left on this machine."""

from __future__ import annotations

import tracemalloc

import pytest

from runstore.columns import HEADER
from runstore.rundir import RunDir
from runstore.spool import recover_all, recover_rows, remove_spool, spool_file


@pytest.fixture
def run(tmp_path) -> RunDir:
    directory = RunDir(tmp_path / "run")
    directory.spool.mkdir(parents=True)
    directory.requests_file(3).write_bytes(HEADER + b"1\n3\n")
    return directory


@pytest.mark.parametrize(
    ("spooled", "won", "rows"),
    [
        (HEADER + b"1\n2\n3\n4\n", 2, b"1\n2\n3\n4\n"),
        (HEADER + b"1\n2\n3\n4\ncut o", 2, b"1\n2\n3\n4\n"),
        (HEADER + b"1\n2\n", 0, b"1\n3\n"),
        (HEADER, 0, b"1\n3\n"),
        (HEADER[:20], 0, b"1\n3\n"),
        (b"", 0, b"1\n3\n"),
        (b"something else\n1\n2\n3\n", 0, b"1\n3\n"),
    ],
    ids=["more", "cut off", "less", "header", "half a header", "empty", "not ours"],
)
def test_rows_that_only_the_spool_has_are_won(run, spooled, won, rows):
    spool_file(run, 3).write_bytes(spooled)
    assert recover_rows(run, 3, 2) == won
    assert run.requests_file(3).read_bytes() == HEADER + rows


def test_worker_of_another_machine_has_no_spool_here(run):
    assert recover_rows(run, 3, 2) == 0


def test_spool_leaves_no_empty_directories_on_a_machine_of_its_own(tmp_path):
    alone = RunDir(tmp_path / "runs" / "run")
    alone.spool.mkdir(parents=True)
    spool_file(alone, 0).write_bytes(HEADER)
    remove_spool(spool_file(alone, 0))
    assert not alone.path.exists()
    assert alone.path.parent.exists(), "the runs directory itself may stay"


def test_directories_with_anything_else_in_them_stay(run):
    spool_file(run, 3).write_bytes(HEADER)
    remove_spool(spool_file(run, 3))
    assert run.requests_file(3).exists()


def test_all_that_any_worker_left_is_won_where_there_is_no_master_any_more(run):
    spool_file(run, 3).write_bytes(HEADER + b"1\n2\n3\n")
    spool_file(run, 4).write_bytes(HEADER + b"1\n")
    assert recover_all(run) == 2
    assert [file.read_bytes() for file in run.requests_files()] == [HEADER + b"1\n2\n3\n", HEADER + b"1\n"]
    assert not run.spool.exists()
    assert recover_all(run) == 0


def test_rows_of_a_long_run_are_recovered_without_being_all_in_memory(run: RunDir) -> None:
    rows = 20_000
    path = spool_file(run, 0)
    path.write_bytes(HEADER + b"".join(b"%d,%s\n" % (seq, b"x" * 500) for seq in range(rows)) + b"half a row")
    tracemalloc.start()
    try:
        assert recover_rows(run, 0, 1) == rows - 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000, "the file has 10 MB"
    assert run.requests_file(0).read_bytes().endswith(b"x\n")
