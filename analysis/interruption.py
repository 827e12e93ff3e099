"""A Ctrl-C ends a query of DuckDB at once.

Python runs its signal handlers between two of its own instructions. DuckDB asks for them now and then, and waits for
its threads all the same; and sometimes it does not ask: a signal in the middle of sorting millions of rows was felt
seconds later, when the query was over. So the handler tells DuckDB to stop, or, where none has run for a while, a
thread that the signal wakes (`signal.set_wakeup_fd`).
"""

from __future__ import annotations

import contextlib
import select
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
        self.turn = threading.RLock()
        """Whoever ends queries holds it: the thread, or a handler, which another signal may interrupt."""
        self.written: socket.socket | None = None
        """What signals are written to; None before the first `end_on`."""
        self.unheard: socket.socket | None = None
        """Its other end: the numbers of the signals for which nobody has ended queries yet."""


_watch = _Watch()


def watch(connection: Interruptible) -> None:
    """A signal shall end its queries, too."""
    _watch.connections.add(connection)


def end_on(signals: Sequence[signal.Signals]) -> None:
    """From now on each of these raises KeyboardInterrupt in the main thread, where this is called, and ends queries."""
    if _watch.written is None:
        _watch.unheard, _watch.written = socket.socketpair()
        _watch.unheard.setblocking(False)
        _watch.written.setblocking(False)
        threading.Thread(target=_end_queries, args=(_watch.unheard, frozenset(signals)), daemon=True).start()
    signal.set_wakeup_fd(_watch.written.fileno(), warn_on_full_buffer=False)
    for one in signals:
        signal.signal(one, _handle)


def _handle(signum: int, frame: FrameType | None) -> None:
    with _watch.turn:
        # However late the thread wakes, this signal is none of its business: by then another query may have begun.
        _take(_watch.unheard)
        _interrupt_all()  # who runs no query does not notice
    duckdb: Any = sys.modules.get("duckdb")
    # An ended query has told it already, and whoever clears up after that is not to be interrupted.
    if duckdb is None or not isinstance(sys.exc_info()[1], duckdb.InterruptException):
        raise KeyboardInterrupt


def _end_queries(unheard: socket.socket, signals: frozenset[int]) -> None:
    woken = select.poll()
    woken.register(unheard, select.POLLIN)
    while True:
        woken.poll()
        time.sleep(GRACE_S)
        with _watch.turn:
            if not signals.isdisjoint(_take(unheard)):
                _interrupt_all()


def _take(unheard: socket.socket | None) -> bytes:
    """The numbers of the signals that nobody has taken yet."""
    try:
        return b"" if unheard is None else unheard.recv(4096)
    except BlockingIOError:
        return b""


def _interrupt_all() -> None:
    # of its own, so that the thread holds no connection while it waits
    for connection in list(_watch.connections):
        with contextlib.suppress(sys.modules["duckdb"].ConnectionException):  # closed, and somebody still holds it
            connection.interrupt()
