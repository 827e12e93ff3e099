"""A directory for what a command's processes write meanwhile: it goes with the command, however that ends."""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_KEEPER = 'mkdir -m 700 -- "$1" && echo made && read -r nothing; rm -rf -- "$1" || { sleep 5; rm -rf -- "$1"; }'
"""The shell that makes it, and removes it at the end of its input: when we are through, or gone. Processes that outlive
us by a moment may still write to it, so that it is not empty in the end."""


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """An empty directory, gone in the end, after a SIGKILL too. Raises OSError where it cannot be made."""
    path = Path(tempfile.gettempdir(), f"swarmscope-{secrets.token_hex(4)}")
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", _KEEPER, "sh", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert keeper.stdout is not None
        if not keeper.stdout.readline():
            raise OSError(f"cannot make the directory {path}")
        yield path
    finally:
        keeper.communicate()
