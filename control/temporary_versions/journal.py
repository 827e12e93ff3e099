"""The journal of an experiment on a function: what it is about to change, on disk before each change.

`runs/<command>/<id>/journal.jsonl`: a line with the function as it was found, then a line before each change, then a
line once everything is taken back. Whoever finds a journal without that last line can take back what its run began,
however that ended; a line that was cut off stands for a change that was not made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

FILE = "journal.jsonl"
SCHEMA = 1


class Whereabouts(NamedTuple):
    """Which AWS, or what stands for it, has a function."""

    target: str
    region: str
    endpoint_url: str | None
    """None: AWS itself."""


@dataclass(frozen=True)
class Found:
    """The function before anything was changed, and where it is."""

    run_id: str
    target: str
    region: str
    endpoint_url: str | None
    """None: AWS itself."""
    own_sandbox: bool
    """The run started the sandbox itself: what it left there is gone with it."""
    function: str
    """Name or ARN, as it was given."""
    memory_mb: int
    """Of $LATEST."""
    code_sha256: str
    versions: tuple[str, ...]
    """The published versions that were there."""

    @property
    def whereabouts(self) -> Whereabouts:
        return Whereabouts(self.target, self.region, self.endpoint_url)


class Journal:
    """The journal of one run, written or read."""

    def __init__(self, path: Path, found: Found, changes: list[dict[str, Any]], *, closed: bool) -> None:
        self.path = path
        self.found = found
        self.changes = changes
        self.closed = closed

    @classmethod
    def create(cls, directory: Path, found: Found) -> Journal:
        journal = cls(directory / FILE, found, [], closed=False)
        journal._write({"journal": SCHEMA, **asdict(found)})
        # The name, too, must be there after a crash of the machine.
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return journal

    @classmethod
    def read(cls, path: Path) -> Journal | None:
        """None where nothing had been changed yet: the first line is not whole."""
        entries = list(_whole_lines(path))
        if not entries or entries[0].pop("journal", None) != SCHEMA:
            return None
        found = Found(**{**entries[0], "versions": tuple(entries[0]["versions"])})
        changes = [entry for entry in entries[1:] if "closed" not in entry]
        return cls(path, found, changes, closed=len(changes) + 1 < len(entries))

    def about_to(self, change: str, **facts: Any) -> None:
        """Note a change that comes next; on disk when this returns."""
        entry = {"about_to": change, **facts}
        self.changes.append(entry)
        self._write(entry)

    def close(self) -> None:
        """Everything is taken back."""
        self.closed = True
        self._write({"closed": True})

    def noted(self, change: str, fact: str) -> list[Any]:
        """The values of `fact` in every such change."""
        return [entry[fact] for entry in self.changes if entry["about_to"] == change]

    def _write(self, entry: dict[str, Any]) -> None:
        with self.path.open("ab") as file:
            if file.tell() and not _ends_in_line_feed(self.path):
                file.write(b"\n")
            file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def open_journals(directory: Path) -> list[Journal]:
    """The journals in the directories below `directory` whose runs left something, oldest first."""
    found = (Journal.read(path) for path in sorted(directory.glob(f"*/{FILE}")))
    return [journal for journal in found if journal is not None and not journal.closed]


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # empty, or cut off: its change had not begun
        if isinstance(entry, dict):
            yield entry


def _ends_in_line_feed(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
