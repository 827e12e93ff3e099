"""Where a sandbox keeps what it puts on the disk: one temporary directory, gone with its process, however that ends.

Who is killed can remove nothing, so the next one does it. Each holds a lock of the operating system in its directory,
which goes with the process: a directory whose lock can be had is that of a dead one. Standard library only, for
`make clean` runs this too: `python -m sandbox.workplace`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "swarmscope-sandbox-"
LOCK = "lock"


@contextmanager
def workplace() -> Iterator[Path]:
    """An empty directory of our own; those of dead sandboxes go first. Raises OSError where none can be made."""
    clear_dead()
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        with (path / f"{LOCK}.new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Only now does it have its name: nobody finds it there before it is ours.
            Path(lock.name).rename(path / LOCK)
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def clear_dead() -> list[Path]:
    """Remove the directories of sandboxes of this user that are dead; -> these."""
    cleared = []
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        try:
            if lock.parent.stat().st_uid != os.getuid():
                continue
            with lock.open("r+") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:  # it lives, or another cleared it away at this moment
            continue
        cleared.append(lock.parent)
    return cleared


if __name__ == "__main__":
    for directory in clear_dead():
        print(f"removed {directory}, of a sandbox that is gone")
