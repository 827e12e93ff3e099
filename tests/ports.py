"""TCP ports for tests that run beside other tests.

A port of the kernel's choosing that was closed again may be somebody else's a moment later, for the kernel gives the
same ones to all. So what a test keeps for later lies below the kernel's own range, and each test process has its share.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from control.processes import is_port_free

NOBODY = 1
"""A port that nothing is ever given by chance: connections to it are refused."""
_FIRST, _SHARE, _SHARES = 20_000, 400, 16
"""Of ports from 20,000 on, so many for each of so many processes; `control.processes.free_port` stays above them."""


def _share() -> int:
    worker = re.search(r"\d+", os.environ.get("PYTEST_XDIST_WORKER", ""))
    return int(worker[0]) % (_SHARES - 1) if worker else _SHARES - 1


_numbers = itertools.count(random.randrange(_SHARE))


def free_port() -> int:
    """A port of the loopback that nobody listens on, and that no other test is given."""
    ports = (_FIRST + _share() * _SHARE + next(_numbers) % _SHARE for _ in range(_SHARE))
    return next(port for port in ports if is_port_free("127.0.0.1", port))


@contextmanager
def refusing_port(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port that is taken, and at which connections are refused: bound, and not listened on."""
    with socket.socket() as taken:
        taken.bind((host, port))
        yield taken.getsockname()[1]
