"""The spool: what a worker writes on its own machine, until the master has it."""

from __future__ import annotations

from pathlib import Path

from runstore.columns import HEADER
from runstore.rundir import RunDir


def spool_file(directory: RunDir, worker: int | str) -> Path:
    return directory.spool / f"requests-{worker}.csv"


def remove_spool(path: Path) -> None:
    """Remove a spool file that has served, and on a machine of its own the empty directories around it."""
    path.unlink(missing_ok=True)
    for directory in (path.parent, path.parent.parent):
        try:
            directory.rmdir()
        except OSError:
            return


def recover_all(directory: RunDir) -> int:
    """Add what any worker on this machine wrote and no master took; returns how many rows that won.

    For a run whose master is gone: as long as one goes on, its workers still write.
    """
    won = 0
    for path in directory.spool.glob("requests-*.csv"):
        worker = path.stem.removeprefix("requests-")
        taken = directory.requests_file(worker)
        rows = max(0, _whole_lines(taken)[0] - 1) if taken.exists() else 0
        won += recover_rows(directory, worker, rows)
    return won


def recover_rows(directory: RunDir, worker: int | str, rows: int) -> int:
    """Add what a lost worker on this machine wrote but did not ship; returns how many rows that won over `rows`.

    Its spool holds every row it wrote since the start, the last perhaps cut off; where it has more than the master, it
    takes the place of the master's file, which may lack rows in the middle.
    """
    path = spool_file(directory, worker)
    try:
        lines, size = _whole_lines(path)
        with path.open("rb") as file:
            has_header = file.read(len(HEADER)) == HEADER
    except OSError:
        return 0
    won = lines - 1 - rows
    if not has_header:
        return 0
    if won <= 0:
        remove_spool(path)
        return 0
    temporary = directory.path / f".requests-{worker}.partial"
    with path.open("rb") as source, temporary.open("wb") as target:
        while size and (chunk := source.read(min(size, _CHUNK_BYTES))):
            target.write(chunk)
            size -= len(chunk)
    temporary.replace(directory.requests_file(worker))
    remove_spool(path)
    return won


_CHUNK_BYTES = 1 << 20
"""The rows of a long run are gigabytes: they are never all in memory."""


def _whole_lines(path: Path) -> tuple[int, int]:
    """How many lines of a file have an end, and how many bytes these are together."""
    lines = size = read = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            if ends := chunk.count(b"\n"):
                lines += ends
                size = read + chunk.rindex(b"\n") + 1
            read += len(chunk)
    return lines, size
