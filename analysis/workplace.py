"""A run's directory while an analysis works in it: what a killed one left there unfinished is removed first, or by
`python -m analysis.workplace RUNS_DIR` (of `make clean`, for which this needs nothing but the standard library).

Results are written under another name and moved into place, so that nothing unfinished bears the name of a result.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runstore.rundir import RunDir

SHOWN = ("report.html", "summary.md", "junit.xml")
"""The files in which an analysis shows what it found."""
_FOLDERS = (".requests-*", ".spill")
_FILES = (".*.parquet.*", ".unjoined.csv.partial", "pull/*.partial")


@contextmanager
def at_work_in(run: RunDir) -> Iterator[None]:
    """Tell other analyses of the run that one is at work.

    Where no other is, what an earlier one that was killed left unfinished goes first, and in the end what this one did.
    """
    directory = os.open(run.path, os.O_RDONLY)
    try:
        _clear_unless_shared(run, directory)
        fcntl.flock(directory, fcntl.LOCK_SH)
        yield
    finally:
        _clear_unless_shared(run, directory)
        os.close(directory)


def clear(runs_dir: Path) -> list[Path]:
    """Remove what killed analyses left unfinished in the runs there; -> what was removed."""
    cleared = []
    for path in runs_dir.iterdir() if runs_dir.is_dir() else ():
        if path.is_symlink() or not path.is_dir():
            continue
        try:
            directory = os.open(path, os.O_RDONLY)
        except OSError:  # another user's
            continue
        try:
            cleared += _clear_unless_shared(RunDir(path), directory)
        finally:
            os.close(directory)
    return cleared


def _clear_unless_shared(run: RunDir, directory: int) -> list[Path]:
    cleared: list[Path] = []
    try:
        # The lock is the operating system's: who was killed has it no longer.
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return cleared
    for pattern in _FOLDERS:
        for folder in run.path.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)
            cleared.append(folder)
    for pattern in _FILES:
        for file in run.path.glob(pattern):
            with suppress(OSError):  # another user's: it disturbs nobody
                file.unlink()
                cleared.append(file)
    return cleared


if __name__ == "__main__":
    for left in clear(Path(sys.argv[1])):
        print(f"removed {left}, which an analysis that is gone left unfinished")
