import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.parse import parse_command

SAMPLES = Path(__file__).parents[1] / "fixtures/lambda-lines/samples.jsonl"
ID = "8c360c87-d4b7-4423-b5f3-af02be3c1763"


def parsed(stdin: str | bytes, *arguments: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(parse_command, [*arguments, "-"], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_plain_text_is_one_event_a_line_in_order() -> None:
    events = parsed(f"START RequestId: {ID} Version: 3\n\nnonsense\nEND RequestId: {ID}")
    assert [event["kind"] for event in events] == ["start", "unknown", "unknown", "end"]


def test_jsonl_messages_of_several_lines_stay_whole() -> None:
    samples = [json.loads(line) for line in SAMPLES.read_text().splitlines()]
    stdin = "".join(json.dumps({"timestamp": 1, "message": sample["text"]}) + "\n" for sample in samples)
    events = parsed(stdin, "--jsonl")
    assert len(events) == len(samples)
    for event, sample in zip(events, samples, strict=True):
        assert {key: event.get(key) for key in sample["expect"]} == sample["expect"]


def test_carriage_returns_and_line_separators_do_not_end_a_line() -> None:
    events = parsed(b"[ERROR] RuntimeError: boom\rTraceback (most recent call last):\r  File\xe2\x80\xa8\n")
    assert [(event["error_type"], event["error_message"]) for event in events] == [("RuntimeError", "boom")]


def test_windows_line_ends_and_byte_order_mark_are_no_part_of_an_event() -> None:
    assert parsed(f"\ufeffEND RequestId: {ID}\r\n".encode()) == [{"kind": "end", "request_id": ID}]


@pytest.mark.parametrize("line", ["", "x", "3", "[]", '{"message": 3}', '{"text": "END"}', "[" * 100_000])
def test_a_jsonl_line_without_a_message_is_unknown(line: str) -> None:
    assert parsed(line + "\n", "--jsonl") == [{"kind": "unknown"}]


def test_bytes_that_are_no_text_are_unknown() -> None:
    assert parsed(b"\xff\xfe\x00\n") == [{"kind": "unknown"}]


def test_a_missing_file_is_a_usage_error_that_names_it() -> None:
    result = CliRunner().invoke(parse_command, ["no-such-file"])
    assert result.exit_code == 2
    assert "no-such-file" in result.output
