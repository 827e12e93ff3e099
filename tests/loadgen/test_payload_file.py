"""Payload files: what is a row, where chunks end, what is wrong with a file and in which line."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import payload_file
from loadgen.payload_file import PayloadFile, PayloadFileError, parse, read_chunk, records, sha256_of, survey


def rows_of(file: PayloadFile) -> list[tuple[int, dict]]:
    """Line and row of everything in a file, chunk by chunk."""
    return [
        (record.line, parse(record.text, file.columns))
        for index in range(len(file.chunks))
        for record in read_chunk(file.path, file.chunks[index])
    ]


def written(directory: Path, name: str, content: str | bytes) -> Path:
    path = directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.jsonl", '{"a": 1}', [(1, {"a": 1})]),
        ("a.jsonl", '{"a": 1}\n{"a": 2}\n', [(1, {"a": 1}), (2, {"a": 2})]),
        ("a.jsonl", '{"a": 1}\n{"a": 2}', [(1, {"a": 1}), (2, {"a": 2})]),
        ("a.jsonl", '{"a": 1}\r\n\r\n{"a": 2}\r\n', [(1, {"a": 1}), (3, {"a": 2})]),
        ("a.jsonl", '\n\n{"a": "x\\ny"}\n\n', [(3, {"a": "x\ny"})]),
        ("a.jsonl", '\ufeff{"a": "ü"}', [(1, {"a": "ü"})]),
        ("a.csv", "a,b\n1,2", [(2, {"a": "1", "b": "2"})]),
        ("a.csv", "a,b\r\n1,2\r\n3,\r\n", [(2, {"a": "1", "b": "2"}), (3, {"a": "3", "b": ""})]),
        ("a.csv", '\ufeffa, b\n"1,5","say ""hi"""\n', [(2, {"a": "1,5", "b": 'say "hi"'})]),
        ("a.csv", 'a,b\n"1\n2\r\n3",x\n\n4,y', [(2, {"a": "1\n2\r\n3", "b": "x"}), (6, {"a": "4", "b": "y"})]),
        ("a.csv", '"a\nb",c\n1,2\n', [(3, {"a\nb": "1", "c": "2"})]),
    ],
)
def test_rows_and_their_lines(tmp_path, name, content, rows):
    file = survey(written(tmp_path, name, content))
    assert rows_of(file) == rows
    assert file.rows == len(rows)


@pytest.mark.parametrize(
    ("name", "content", "problems"),
    [
        ("a.jsonl", "", ["there is no row in it"]),
        ("a.jsonl", "\n \r\n", ["there is no row in it"]),
        ("a.csv", "a,b\n", ["there is no row in it"]),
        ("a.csv", "a,b", ["there is no row in it"]),
        ("a.jsonl", '{"a": 1}\n{"a": ', ["2: not valid JSON"]),
        ("a.jsonl", '[1]\n{"a": 1}\n7', ["1: not a JSON object", "3: not a JSON object"]),
        ("a.jsonl", b'{"a": "\xff"}', ["1: not valid JSON"]),
        ("a.csv", "a,b\n1\n1,2,3\n", ["2: 1 fields, and the header has 2", "3: 3 fields, and the header has 2"]),
        ("a.csv", 'a,b\n1,2\n3,"4\n5,6\n', ["3: not valid CSV: unexpected end of data"]),
        ("a.csv", 'a,b\n1,5" pipe\n2,x\n3,6" pipe\n', ["2: not valid CSV: a quote in a field that is not quoted"]),
        ("a.csv", 'a,b\n"1"x,2\n', ["2: not valid CSV"]),
        ("a.csv", b"a,b\n\xff,2\n", ["2: not UTF-8 text"]),
        ("a.csv", "a,a\n1,2\n", ["1: the header names a column twice"]),
        ("a.csv", "a,\n1,2\n", ["1: the header names a column twice, or one not at all"]),
        ("a.json", "{}", ["a payload file is called *.jsonl or *.csv"]),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path, name, content, problems):
    path = written(tmp_path, name, content)
    with pytest.raises(PayloadFileError) as refused:
        survey(path)
    assert len(refused.value.problems) == len(problems)
    for said, expected in zip(refused.value.problems, problems, strict=True):
        assert str(path) in said
        assert expected in said


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PayloadFileError, match=r"gone\.csv: no such file or directory"):
        survey(tmp_path / "gone.csv")


def test_no_more_than_the_first_twenty_problems_are_told(tmp_path):
    with pytest.raises(PayloadFileError) as refused:
        survey(written(tmp_path, "a.jsonl", "x\n" * 1000))
    assert len(refused.value.problems) == 20


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_row_longer_than_any_body_is_refused_without_being_gathered(tmp_path, monkeypatch, name):
    monkeypatch.setattr(payload_file, "MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(payload_file, "CHUNK_BYTES", 100)
    with pytest.raises(PayloadFileError, match="a row of more than 1000 bytes"):
        survey(written(tmp_path, name, 'a\n"' + "x\n" * 5000 if name == "a.csv" else "x" * 5000))


@pytest.mark.parametrize("chunk_bytes", [1, 7, 64, 1000, 1 << 20])
def test_chunks_of_any_size_hold_every_row_once(tmp_path, monkeypatch, chunk_bytes):
    monkeypatch.setattr(payload_file, "CHUNK_BYTES", chunk_bytes)
    expected = [{"n": str(number), "t": f'a "{number}"\nb,' * (number % 4)} for number in range(50)]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["n", "t"])
    writer.writeheader()
    writer.writerows(expected)
    file = survey(written(tmp_path, "a.csv", text.getvalue()))
    assert [row for _, row in rows_of(file)] == expected
    jsonl = survey(written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, expected))))
    assert [row for _, row in rows_of(jsonl)] == expected
    assert [line for line, _ in rows_of(jsonl)] == list(range(1, 51))


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_characters="\r\x00", exclude_categories=["Cs"])), st.text('a\n",')),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 30),
)
def test_whatever_a_writer_quotes_is_read_back(rows, chunk_bytes):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    data = text.getvalue().encode()
    end, found, start, line = 0, [], 0, 1
    while start < len(data):
        end = min(len(data), end + chunk_bytes)
        last = len(data) if end == len(data) else start + payload_file._last_row_end(data[start:end], True)
        found += [
            (record.line, tuple(parse(record.text, ("a", "b")).values()))
            for record in records(data[start:last], line, True)
        ]
        line += data.count(b"\n", start, last)
        start = last
    assert [row for _, row in found] == rows
    assert [number for number, _ in found] == [
        1 + sum("".join(row).count("\n") + 1 for row in rows[:index]) for index in range(len(rows))
    ]


def test_a_file_is_never_read_whole(tmp_path):
    path = tmp_path / "large.jsonl"
    row = json.dumps({"text": "x" * 200}).encode() + b"\n"
    with path.open("wb") as file:
        for _ in range(20):
            file.write(row * 2000)
    tracemalloc.start()
    try:
        surveyed = survey(path)
        read_chunk(path, surveyed.chunks[len(surveyed.chunks) - 1])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert surveyed.rows == 40_000
    assert path.stat().st_size > 8_000_000
    assert peak < 3_000_000


def test_the_digest_is_that_of_sha256sum(tmp_path):
    path = written(tmp_path, "a.csv", "\ufeffa\n" + "1\n" * 300_000)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    pauses: list[None] = []
    assert survey(path).sha256 == digest == sha256_of(path, lambda: pauses.append(None))
    assert len(pauses) > 1


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"a": 1}\n{"a": 2}\n')
    file = survey(path)
    path.write_text('{"a": 1, "b": 2345}\n')
    with pytest.raises(PayloadFileError, match="has changed since the run began"):
        read_chunk(path, file.chunks[0])
