"""`python -m analysis parse`: Lambda log events in, one JSON object a line out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

import click

from analysis.lambda_lines import Event, parse_event


def events(source: BinaryIO, jsonl: bool) -> Iterator[Event]:
    """Each input line's event, in order: the line itself, or with `jsonl` the `message` of the object it holds.

    Only `\\n` ends a line: Python tracebacks of custom runtimes have `\\r` inside, and U+2028 is anybody's text. What
    is not UTF-8 is replaced, not refused.
    """
    for raw in source:
        line = raw.decode("utf-8", errors="replace").removesuffix("\n").removesuffix("\r")
        yield parse_event(_message(line) if jsonl else line)


def _message(line: str) -> str:
    """The `message` of a JSON object; "" (an unknown event) where there is none."""
    try:
        record = json.loads(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return ""
    message = record.get("message") if isinstance(record, dict) else None
    return message if isinstance(message, str) else ""


@click.command("parse")
@click.option("--jsonl", is_flag=True, help="Each line is a JSON object whose `message` holds the event.")
@click.argument("file", type=click.File("rb"), default="-")
def parse_command(file: BinaryIO, jsonl: bool) -> None:
    """Read Lambda log lines from FILE (or standard input) and print one JSON object for each.

    An event that cannot be understood is {"kind": "unknown"}.
    """
    for event in events(file, jsonl):
        click.echo(json.dumps(event))
