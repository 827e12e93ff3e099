"""Rows: exact columns, one line each whatever is in them, and nothing lost without being counted."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import recording
from loadgen.recording import EndedRequest, RequestLog, RowFile, csv_field
from runstore.columns import HEADER, REQUEST_COLUMNS


def add(log: RequestLog, **changed) -> None:
    known = {
        "scheduled_at": None,
        "started_at": 1_800_000_000.5,
        "response_ms": 12.3456,
        "flow": "vote",
        "name": "POST /vote",
        "method": "POST",
        "status": 200,
        "error": "",
        "function_error": "",
        "request_id": "r",
        "lambda_request_id": "l",
        "trace_id": "t",
        "correlation_id": "c",
        "executed_version": "",
        "bytes_sent": 10,
        "bytes_received": 20,
        "init_ms": None,
    }
    log.add(EndedRequest(**known | changed))


class Flushed:
    """A log whose flushes are kept."""

    def __init__(self, measure_from: float = 0.0) -> None:
        self.flushes: list[tuple[int, bytes]] = []
        self.log = RequestLog(3, measure_from, lambda *flush: self.flushes.append(flush))

    def row(self, **changed) -> dict[str, str]:
        add(self.log, **changed)
        self.log.flush()
        lines = (HEADER + self.flushes[-1][1]).decode()
        assert lines.count("\n") == 2
        assert len(lines.splitlines()) == 2
        [row] = csv.DictReader(io.StringIO(lines))
        return row


def test_every_column_has_its_value_in_its_unit():
    assert Flushed().row(scheduled_at=1_800_000_000.25) == {
        "worker": "3",
        "seq": "1",
        "scheduled_at": "1800000000.250000",
        "started_at": "1800000000.500000",
        "response_ms": "12.346",
        "flow": "vote",
        "name": "POST /vote",
        "method": "POST",
        "status": "200",
        "ok": "1",
        "error": "",
        "function_error": "",
        "request_id": "r",
        "lambda_request_id": "l",
        "trace_id": "t",
        "correlation_id": "c",
        "executed_version": "",
        "bytes_sent": "10",
        "bytes_received": "20",
        "phase": "measure",
        "init_ms": "",
    }


def test_an_init_that_the_answer_told_stands_in_the_row():
    assert Flushed().row(init_ms=156.08)["init_ms"] == "156.080"


def test_header_is_the_shared_list_of_columns():
    assert HEADER.decode().strip().split(",") == list(REQUEST_COLUMNS)


def test_what_never_came_is_empty():
    row = Flushed().row(response_ms=None, status=None, error="no answer within 32 s")
    assert (row["scheduled_at"], row["response_ms"], row["status"], row["ok"]) == ("", "", "", "0")


@pytest.mark.parametrize(("started_at", "phase"), [(99.9, "warmup"), (100.0, "measure")])
def test_phase_follows_the_start(started_at, phase):
    assert Flushed(measure_from=100.0).row(started_at=started_at)["phase"] == phase


@pytest.mark.parametrize("column", ["flow", "name", "method", "error", "request_id", "trace_id", "executed_version"])
@pytest.mark.parametrize("hostile", ['a,b "c"', "x\r\ny,z", '","', "\x00\x1b[2J", "\u2028\x85\x0b", "\ud800", "é, ü"])
def test_hostile_text_stays_in_its_field_and_on_its_line(column, hostile):
    row = Flushed().row(**{column: hostile})
    assert row[column] == "".join(character if character.isprintable() else " " for character in hostile)
    assert row["phase"] == "measure"


@given(st.text(max_size=30))
def test_any_text_is_one_field_on_one_line(text):
    field = csv_field(text)
    assert len(field.splitlines()) <= 1
    [[read]] = csv.reader([field]) if field else [[""]]
    assert read == "".join(character if character.isprintable() else " " for character in text)


def test_rows_stand_in_the_order_in_which_requests_end_however_many_come_at_once():
    flushed = Flushed()
    for number in range(50):
        if number == 20:
            flushed.log.add_dropped(5.0, "vote")
        add(flushed.log, request_id=f"r,{number}" if number == 33 else f"r{number}")
    flushed.log.flush()
    [(count, lines)] = flushed.flushes
    rows = list(csv.DictReader(io.StringIO((HEADER + lines).decode())))
    assert count == len(rows) == 51
    assert [row["seq"] for row in rows] == [str(seq) for seq in range(1, 52)]
    ids = [f"r{number}" for number in range(50)]
    ids[33] = "r,33"
    assert [row["request_id"] for row in rows] == [*ids[:20], "", *ids[20:]]


def test_rows_are_made_and_counted_so_many_at_a_time():
    log = RequestLog(3, 0.0, lambda rows, lines: None, together=2)
    add(log)
    assert log.live.take() == []
    add(log)
    [(*_, tally)] = log.live.take()
    assert 2 in {sum(value.values()) for value in tally if isinstance(value, dict)}


def test_flush_says_which_rows_it_holds():
    flushed = Flushed()
    for _ in range(3):
        add(flushed.log)
    flushed.log.flush()
    add(flushed.log)
    flushed.log.flush()
    flushed.log.flush()
    assert [(rows, lines.count(b"\n")) for rows, lines in flushed.flushes] == [(3, 3), (1, 1)]


def test_file_without_rows_has_its_header(tmp_path):
    file = RowFile(tmp_path / "new" / "requests-0.csv")
    file.close()
    assert file.path.read_bytes() == HEADER


class FullDisk:
    """os.write that takes `room` bytes more, then nothing, as a full disk does."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        taken = bytes(data)[: self.room]
        if not taken:
            raise OSError(28, "No space left on device")
        self.room -= len(taken)
        return self._write(descriptor, taken)


def test_full_disk_leaves_whole_rows_and_the_rest_follows_when_there_is_room(tmp_path, monkeypatch):
    disk = FullDisk(len(HEADER) + 7)
    monkeypatch.setattr(recording.os, "write", disk)
    file = RowFile(tmp_path / "rows.csv")
    file.append(b"11111\n22222\n")
    assert file.path.read_bytes() == HEADER + b"11111\n"
    assert file.problem == "rows.csv: No space left on device"
    file.append(b"33333\n")
    disk.room = 1000
    file.append(b"44444\n")
    file.close()
    assert file.path.read_bytes() == HEADER + b"11111\n22222\n33333\n44444\n"
    assert (file.problem, file.lost_rows) == (None, 0)


def test_rows_that_never_found_room_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(recording.os, "write", FullDisk(len(HEADER) + 7))
    file = RowFile(tmp_path / "rows.csv")
    file.append(b"11111\n22222\n33333\n")
    file.close()
    assert file.path.read_bytes() == HEADER + b"11111\n"
    assert file.lost_rows == 2


def test_memory_is_bounded_while_the_disk_is_full(monkeypatch):
    monkeypatch.setattr(recording, "MAX_UNWRITTEN_BYTES", 1000)
    file = RowFile(Path("/dev/full"))
    for _ in range(100):
        file.append(b"x" * 99 + b"\n")
    file.close()
    assert file.lost_rows == 100
