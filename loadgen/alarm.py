"""A clock for one greenlet that wakes within a tenth of a millisecond.

gevent's own timers end with epoll's time-out, which counts whole milliseconds: at 2,000 arrivals a second they come in
clumps of two. On Linux a timerfd is watched instead, which the kernel makes readable on time.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from typing import Protocol

import gevent
from gevent.event import Event

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK, _TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC  # the same numbers (Linux, timerfd_create(2))
_READABLE = 1
_AT_ONCE_S = 1e-9


class Alarm(Protocol):
    """Only one greenlet waits; any may ring."""

    def wait(self, seconds: float | None) -> None:
        """Let others run, for so long or until somebody rings; None: until somebody rings."""

    def ring(self) -> None:
        """End the wait that goes, or the next one. Once closed there is none."""

    def close(self) -> None: ...


def new_alarm() -> Alarm:
    return _TimerAlarm() if sys.platform == "linux" else _EventAlarm()


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    """struct itimerspec (timerfd_settime(2))."""

    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class _TimerAlarm:
    """On a timerfd: Python has it from 3.13 on only, so that it is called in the C library."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        descriptor = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._descriptor: int | None = descriptor
        self._timer = _Timer()
        self._hub = gevent.get_hub()
        self._watcher = self._hub.loop.io(descriptor, _READABLE)
        self._rung = False

    def wait(self, seconds: float | None) -> None:
        if not self._rung:
            if seconds is None:
                self._sleep()
            elif seconds > 0:
                self._set(seconds)
                self._sleep()
            else:
                gevent.sleep(0)
        self._rung = False

    def ring(self) -> None:
        self._rung = True
        if self._descriptor is not None:
            self._set(_AT_ONCE_S)

    def close(self) -> None:
        if self._descriptor is not None:
            self._watcher.close()
            os.close(self._descriptor)
            self._descriptor = None

    def _set(self, seconds: float) -> None:
        whole = int(seconds)
        self._timer.value.seconds = whole
        self._timer.value.nanoseconds = int((seconds - whole) * 1e9) or 1
        self._libc.timerfd_settime(self._descriptor, 0, ctypes.byref(self._timer), None)

    def _sleep(self) -> None:
        assert self._descriptor is not None
        self._hub.wait(self._watcher)
        with suppress(BlockingIOError):
            os.read(self._descriptor, 8)


class _EventAlarm:
    """With gevent's own timers, in milliseconds."""

    def __init__(self) -> None:
        self._event = Event()

    def wait(self, seconds: float | None) -> None:
        self._event.wait(seconds if seconds is None else max(0.0, seconds))
        self._event.clear()

    def ring(self) -> None:
        self._event.set()

    def close(self) -> None:
        pass
