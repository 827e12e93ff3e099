"""The log store: nothing lost, nothing twice, whichever of memory and disk an event is in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.logs import EVENT_SCHEMA, LogStore, Snapshot

EVER = 1 << 60


class Inline(Executor):
    """Does at once what it is given."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


class Waiting(Executor):
    """Does nothing until told to."""

    def __init__(self) -> None:
        self.work: list[Callable[[], Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.work.append(lambda: fn(*args, **kwargs))
        return Future()


def events_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in snapshot.paths]
    rows: list[dict[str, Any]] = pa.concat_tables([*tables, snapshot.tail()]).to_pylist()
    return sorted(rows, key=lambda row: int(row["seq"]))


def test_an_event_keeps_its_columns(tmp_path: Path) -> None:
    store = LogStore(lambda group, stream, timestamp: 2.5, folder=tmp_path)
    store.append("/g", "s", 1_800_000_000.1234, "é\n")
    store.append("/g", "s", 1_800_000_000.0, "second")
    first, second = events_of(store.snapshot(["/g"], 0, EVER))
    assert first == {
        "seq": 0,
        "log_group": "/g",
        "log_stream": "s",
        "at_ms": 1_800_000_000_123,
        "ingested_ms": 1_800_000_002_623,
        "size": 3,
        "message": "é\n",
    }
    assert (second["seq"], second["message"], len(store)) == (1, "second", 2)
    store.close()


def test_the_lag_may_differ_by_group_stream_and_time() -> None:
    store = LogStore(lambda group, stream, timestamp: 60.0 if (group, stream) == ("/g", "slow") else timestamp % 10)
    store.append("/g", "slow", 100.0, "a")
    store.append("/g", "fast", 103.0, "b")
    assert [row["ingested_ms"] for row in events_of(store.snapshot(["/g"], 0, EVER))] == [160_000, 106_000]
    store.close()


@pytest.mark.parametrize("written", [True, False], ids=["on disk", "on the way"])
def test_every_event_is_there_once(tmp_path: Path, written: bool) -> None:
    executor: Executor = Inline() if written else Waiting()
    store = LogStore(folder=tmp_path, executor=executor, chunk_rows=10, max_waiting_chunks=99)
    for index in range(35):
        store.append("/g", "s", float(index), str(index))
    rows = events_of(store.snapshot(["/g"], 0, EVER))
    assert [row["message"] for row in rows] == [str(index) for index in range(35)]
    assert [row["seq"] for row in rows] == list(range(35))
    assert len(list(tmp_path.glob("*.parquet"))) == (3 if written else 0)


def test_a_snapshot_does_not_see_what_comes_later() -> None:
    store = LogStore(chunk_rows=3)
    store.append("/g", "s", 1.0, "before")
    snapshot = store.snapshot(["/g"], 0, EVER)
    for index in range(5):
        store.append("/g", "s", 2.0, f"after {index}")
    store.flush()
    assert [row["message"] for row in events_of(snapshot)] == ["before"]
    store.close()


def test_only_segments_that_can_matter_are_read(tmp_path: Path) -> None:
    store = LogStore(folder=tmp_path, executor=Inline(), chunk_rows=2)
    for at, group in ((1.0, "/a"), (2.0, "/a"), (3.0, "/b"), (4.0, "/b")):
        store.append(group, "s", at, "")
    assert len(store.snapshot(["/a", "/b"], 0, EVER).segments) == 2
    assert len(store.snapshot(["/a"], 0, EVER).segments) == 1
    assert len(store.snapshot(["/a"], 2000, 2000).segments) == 1  # both ends belong to the window
    assert len(store.snapshot(["/a"], 2001, EVER).segments) == 0
    assert len(store.snapshot(["/a"], 0, 999).segments) == 0


def test_long_messages_seal_a_chunk_early(tmp_path: Path) -> None:
    store = LogStore(folder=tmp_path, executor=Inline(), chunk_rows=1000, chunk_characters=100)
    for _ in range(4):
        store.append("/g", "s", 1.0, "x" * 60)
    assert [segment.groups for segment in store.snapshot(["/g"], 0, EVER).segments] == [{"/g"}, {"/g"}]


def test_append_waits_for_the_disk_instead_of_filling_the_memory(tmp_path: Path) -> None:
    executor = Waiting()
    store = LogStore(folder=tmp_path, executor=executor, chunk_rows=1, max_waiting_chunks=2)
    store.append("/g", "s", 1.0, "a")
    store.append("/g", "s", 1.0, "b")
    third = threading.Thread(target=store.append, args=("/g", "s", 1.0, "c"))
    third.start()
    third.join(0.05)
    assert third.is_alive()
    executor.work[0]()
    third.join(60)
    assert not third.is_alive()
    assert [row["message"] for row in events_of(store.snapshot(["/g"], 0, EVER))] == ["a", "b", "c"]


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    store = LogStore(folder=folder, executor=Inline(), chunk_rows=1, max_waiting_chunks=9)
    store.append("/g", "s", 1.0, "a")
    store.append("/g", "s", 2.0, "b")
    assert [row["message"] for row in events_of(store.snapshot(["/g"], 0, EVER))] == ["a", "b"]
    with pytest.raises(OSError, match="missing"):
        store.flush()


def test_a_lone_surrogate_costs_one_character() -> None:
    store = LogStore()
    store.append("/g", "s", 1.0, "a\ud800b")
    assert events_of(store.snapshot(["/g"], 0, EVER))[0]["message"] == "a?b"
    store.close()


def test_clear_forgets_events_and_files_but_not_the_numbering(tmp_path: Path) -> None:
    store = LogStore(folder=tmp_path, executor=Inline(), chunk_rows=2)
    for _ in range(5):
        store.append("/g", "s", 1.0, "old")
    store.clear()
    assert events_of(store.snapshot(["/g"], 0, EVER)) == []
    assert list(tmp_path.iterdir()) == []
    store.append("/g", "s", 1.0, "new")
    assert [(row["seq"], row["message"]) for row in events_of(store.snapshot(["/g"], 0, EVER))] == [(5, "new")]


def test_the_temporary_folder_goes_with_the_store() -> None:
    store = LogStore(chunk_rows=1)
    store.append("/g", "s", 1.0, "a")
    store.flush()
    (segment,) = store.snapshot(["/g"], 0, EVER).segments
    assert segment.path.exists()
    store.close()
    assert not segment.path.parent.exists()


def test_an_empty_tail_has_the_schema() -> None:
    store = LogStore()
    assert store.snapshot(["/g"], 0, EVER).tail().schema == EVENT_SCHEMA
    store.close()


@pytest.mark.parametrize("flushed", [False, True])
def test_bytes_count_in_the_minute_in_which_they_arrived(tmp_path: Path, flushed: bool) -> None:
    store = LogStore(lambda group, stream, timestamp: 2.0, folder=tmp_path, chunk_rows=2, executor=Inline())
    for group, at, message in (
        ("/g", 0, "é\n"),
        ("/g", 57.9, "abc"),
        ("/g", 58, "d"),
        ("/h", 58, "other"),
        ("/g", 59, "e"),
    ):
        store.append(group, "s", 1_800_000_000 + at, message)
    if flushed:
        store.flush()
    assert store.ingested_bytes("/g") == {30_000_000: 6.0, 30_000_001: 2.0}
    assert store.ingested_bytes("/h") == {30_000_001: 5.0}
    assert store.ingested_bytes("/nothing") == {}
