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
        rows = max(0, taken.read_bytes().count(b"\n") - 1) if taken.exists() else 0
        won += recover_rows(directory, worker, rows)
    return won


def recover_rows(directory: RunDir, worker: int | str, rows: int) -> int:
    """Add what a lost worker on this machine wrote but did not ship; returns how many rows that won over `rows`.

    Its spool holds every row it wrote since the start, the last perhaps cut off; where it has more than the master, it
    takes the place of the master's file, which may lack rows in the middle.
    """
    path = spool_file(directory, worker)
    try:
        content = path.read_bytes()
    except OSError:
        return 0
    whole = content[: content.rfind(b"\n") + 1]
    won = whole.count(b"\n") - 1 - rows
    if not whole.startswith(HEADER):
        return 0
    if won <= 0:
        remove_spool(path)
        return 0
    temporary = directory.path / f".requests-{worker}.partial"
    temporary.write_bytes(whole)
    temporary.replace(directory.requests_file(worker))
    remove_spool(path)
    return won
