"""What the master says of a worker in the end, by what it heard of it."""

from __future__ import annotations

import logging

import pytest

from loadgen.known_worker import KnownWorker
from loadgen.recording import RowFile
from loadgen.shipping import Batch, Inbox, Outbox
from loadgen.shortfall import Gone, Shortfall
from runstore.rundir import RunDir

T0 = 1795255200.0
"""2026-11-21 10:00:00 UTC."""
TOLD = {"reopened_connections": 0, "date_offset": None, "complaints": [], "failure": None}


@pytest.fixture
def directory(tmp_path) -> RunDir:
    return RunDir(tmp_path)


@pytest.fixture
def worker(directory) -> KnownWorker:
    file = RowFile(directory.requests_file(1))
    return KnownWorker(1, "a-host_0a1b", file, Inbox(file.append), T0)


def batches(*rows: int) -> list[Batch]:
    """One batch for each number of rows."""
    sent: list[Batch] = []
    outbox = Outbox("run", 1, sent.append)
    for number in rows:
        outbox.put(number, b"row\n" * number, T0)
    return sent


def test_worker_that_handed_over_everything_has_its_rows_and_nothing_else(worker, directory):
    for batch in batches(2, 3):
        worker.receive(batch, T0 + 1, T0 + 1.01)
    worker.drained({**TOLD, "rows": 5}, T0 + 2)
    assert (worker.settled, worker.gone) == (True, None)
    assert worker.close(directory, None) == ({"index": 1, "host": "a-host", "rows": 5}, [])


def test_what_a_worker_tells_of_itself_is_kept(worker, directory):
    offset = {"answers": 9, "low_s": 0.1, "high_s": 0.2}
    told = {"rows": 0, "reopened_connections": 4, "date_offset": offset, "complaints": ["late"], "failure": "no token"}
    worker.drained(told, T0)
    entry, warnings = worker.close(directory, None)
    assert (entry["reopened_connections"], entry["date_offset"], entry["failed"]) == (4, offset, "no token")
    assert warnings == ["worker 1: late"]


def test_lost_worker_is_missing_the_rows_that_are_known_to_have_been_sent(worker, directory, caplog):
    first, _, last = batches(2, 3, 4)
    worker.receive(first, T0 + 1, T0 + 1)
    worker.receive(last, T0 + 2, T0 + 2)
    worker.missed(T0 + 9)
    assert worker.gone == Gone(at=T0 + 2, noticed_at=T0 + 9)
    short = Shortfall("arrivals", planned=60.0, delivered=45.0, since=T0 + 2, until=T0 + 8)
    with caplog.at_level(logging.WARNING):
        entry, _ = worker.close(directory, short)
    assert (entry["rows"], entry["missing_rows"], entry["lost_at"]) == (6, 3, T0 + 2)
    assert entry["shortfall"]["share"] == 0.25
    assert caplog.messages == [
        "Worker 1 was lost: requests of the second before may be missing",
        "Worker 1: 3 of its rows are missing",
        "Without worker 1 the load was 25.0% below the plan for 6.0 s",
    ]


def test_worker_that_left_by_itself_is_not_lost(worker, directory):
    worker.drained({**TOLD, "rows": 0}, T0 + 3)
    worker.left_at = T0 + 3
    assert worker.gone == Gone(T0 + 3, T0 + 3)
    entry, _ = worker.close(directory, None)
    assert entry == {"index": 1, "host": "a-host", "rows": 0, "left_at": T0 + 3}


def test_worker_that_came_back_is_told_with_its_silence(worker, directory):
    worker.missed(T0 + 4)
    assert worker.came_back(T0 + 6.5) == 6.5
    worker.drained({**TOLD, "rows": 0}, T0 + 8)
    assert worker.gone is None
    _, (warning,) = worker.close(directory, None)
    assert warning.startswith("worker 1 was not heard for 6.5 s from 10:00:00 UTC on, and came back")


@pytest.mark.parametrize(("ahead_s", "side"), [(3.0, "ahead of"), (-3.0, "behind"), (0.4, None), (-0.4, None)], ids=str)
def test_clock_that_differs_is_told_by_the_quickest_batch(worker, directory, ahead_s, side):
    for batch, took_s in zip(batches(1, 1, 1), (2.0, 0.01, 5.0), strict=True):
        worker.receive(batch, T0 + ahead_s, T0 + took_s)
    worker.drained({**TOLD, "rows": 3}, T0 + 9)
    entry, warnings = worker.close(directory, None)
    if side is None:
        assert ("clock_offset_s" in entry, warnings) == (False, [])
    else:
        assert entry["clock_offset_s"] == pytest.approx(ahead_s - 0.01)
        assert warnings == [f"the clock of worker 1 is 3.0 s {side} the master's, and its rows go by it"]


def test_clock_of_a_worker_that_sent_nothing_is_not_known(worker):
    assert worker.clock_offset_s is None
