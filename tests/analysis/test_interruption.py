"""Signals to a process that is in the middle of a query, or is not."""

from __future__ import annotations

import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from analysis import interruption
from analysis.errors import is_interruption
from analysis.evidence import connect

SORTING = "CREATE TABLE sorted AS SELECT hash(i) AS h FROM range(60_000_000) t(i) ORDER BY h"


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    interruption.end_on((signal.SIGTERM,))
    yield
    signal.signal(signal.SIGTERM, handler)


def send() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_query_ends_while_it_sorts() -> None:
    """Whoever clears up after it is left in peace."""
    db, sent_at, cleared = connect(), [], []
    begun = time.process_time()

    def end() -> None:
        while time.process_time() < begun + 0.5:  # nothing but the query can take so much of the processor
            time.sleep(0.01)
        sent_at.append(time.process_time())
        send()

    threading.Thread(target=end).start()
    with pytest.raises((duckdb.InterruptException, RuntimeError)) as told:
        try:
            db.execute(SORTING)
        finally:
            took_s = time.process_time() - sent_at[0]
            cleared += range(1000)
    assert is_interruption(told.value)
    assert len(cleared) == 1000
    assert took_s < 5, "of the processor, however busy the machine is: to sort them all takes nine and more"
    assert db.execute("SELECT 1").fetchall() == [(1,)]


def test_a_query_ends_for_which_rows_are_made_meanwhile() -> None:
    """The signal may come while Python makes some, in the thread that waits for the query."""
    db = connect()
    batch = pa.RecordBatch.from_pydict({"i": [1, 2, 3]})

    def rows() -> Iterator[pa.RecordBatch]:
        threading.Timer(0.1, send).start()
        while True:
            time.sleep(0.001)
            yield batch

    db.register("rows_made", pa.RecordBatchReader.from_batches(batch.schema, rows()))
    with pytest.raises((duckdb.Error, RuntimeError, KeyboardInterrupt)) as told:
        db.execute("SELECT count(*) FROM rows_made").fetchall()
    assert is_interruption(told.value)


@pytest.mark.parametrize("kept_busy", [0, 30_000_000], ids=["at once", "late"])
def test_a_query_that_begins_after_the_signal_goes_on(kept_busy: int) -> None:
    """Also where the thread that the signal wakes gets no turn until long after: a sum is one instruction."""
    db = connect()
    with pytest.raises(KeyboardInterrupt):
        send()
        time.sleep(60)  # until the handler runs
    sum(range(kept_busy))
    begun = time.monotonic()
    while time.monotonic() < begun + 3 * interruption.GRACE_S:
        assert db.execute("SELECT count(*) FROM range(5_000_000)").fetchall() == [(5_000_000,)]


def test_a_signal_is_an_interruption_also_where_a_connection_was_closed() -> None:
    db = connect()
    db.close()
    with pytest.raises(KeyboardInterrupt):
        send()
        time.sleep(60)  # until the handler runs


def test_connections_are_not_kept() -> None:
    db = connect()
    kept = weakref.ref(db)
    assert db in interruption._watch.connections
    del db
    assert kept() is None
