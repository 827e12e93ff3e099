"""One run at a time in a runs directory: two would share the target and spoil each other's figures.

The lock is the operating system's (it goes with the process, however that ends); the file's content is only for the
message.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.errors import ConfigError


@contextmanager
def run_lock(runs_dir: Path, run_id: str) -> Iterator[None]:
    """Hold the runs directory for `run_id`. Raises ConfigError naming the run that holds it."""
    path = runs_dir / ".lock"
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise ConfigError(f"RUNS_DIR: cannot write to {runs_dir}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"RUNS_DIR: {_holder(path)} is still going in {runs_dir}; wait for it, or stop it"
            ) from None
        file.truncate(0)
        file.write(json.dumps({"run_id": run_id, "pid": os.getpid()}))
        file.flush()
        yield


def _holder(path: Path) -> str:
    try:
        held = json.loads(path.read_text())
        return f"run {held['run_id']} (process {held['pid']})"
    except (OSError, ValueError, KeyError):
        return "another run"
