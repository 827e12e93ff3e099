"""A Ctrl-C ends a query of DuckDB at once.

Python runs its signal handlers between two of its own instructions. DuckDB asks for them now and then, and waits for
its threads all the same; and sometimes it does not ask: a signal in the middle of sorting millions of rows was felt
seconds later, when the query was over. So the handler tells DuckDB to stop, or, where none has run for a while, a
thread that the signal wakes (`signal.set_wakeup_fd`).
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from types import FrameType
from typing import Any, Protocol

GRACE_S = 0.1
"""The time in which a handler has run, unless the main thread is in the middle of something else."""


class Interruptible(Protocol):
    """A connection of DuckDB's."""

    def interrupt(self) -> None: ...


class _Watch:
    """What the main thread and the one that the signal wakes have in common."""

    def __init__(self) -> None:
        self.connections: weakref.WeakSet[Interruptible] = weakref.WeakSet()
        self.handled_at = -GRACE_S
        """`time.monotonic` of the last handler."""
        self.written: socket.socket | None = None
        """What signals are written to; None before the first `end_on`."""


_watch = _Watch()


def watch(connection: Interruptible) -> None:
    """A signal shall end its queries, too."""
    _watch.connections.add(connection)


def end_on(signals: Sequence[signal.Signals]) -> None:
    """From now on each of these raises KeyboardInterrupt in the main thread, where this is called, and ends queries."""
    if _watch.written is None:
        woken, _watch.written = socket.socketpair()
        _watch.written.setblocking(False)
        threading.Thread(target=_end_queries, args=(woken, frozenset(signals)), daemon=True).start()
    signal.set_wakeup_fd(_watch.written.fileno(), warn_on_full_buffer=False)
    for one in signals:
        signal.signal(one, _handle)


def _handle(signum: int, frame: FrameType | None) -> None:
    _watch.handled_at = time.monotonic()
    _interrupt_all()  # who runs no query does not notice
    duckdb: Any = sys.modules.get("duckdb")
    # An ended query has told it already, and whoever clears up after that is not to be interrupted.
    if duckdb is None or not isinstance(sys.exc_info()[1], duckdb.InterruptException):
        raise KeyboardInterrupt


def _end_queries(woken: socket.socket, signals: frozenset[int]) -> None:
    while numbers := woken.recv(64):
        woken_at = time.monotonic()
        if not signals.isdisjoint(numbers):
            time.sleep(GRACE_S)
            if _watch.handled_at < woken_at - GRACE_S:
                _interrupt_all()


def _interrupt_all() -> None:
    # of its own, so that the thread holds no connection while it waits
    for connection in list(_watch.connections):
        connection.interrupt()
