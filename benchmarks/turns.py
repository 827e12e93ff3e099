"""Processes that have a core to themselves in turns: they all live at once, and all but one stand still.

A machine's neighbours slow it down for seconds or minutes. Measured one after another each process meets another
machine; in turns of a fraction of a second all meet the same, and what they did is added up.

    turn = process.turn(0.25)   # goes on, is stopped (SIGCONT, SIGSTOP)
    turn + process.turn(0.25)
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass

from benchmarks.processes import cpu_s, stolen_s

_SETTLES_S = 0.003
"""From a process's stop until the server has answered all that was on its way: 50 requests of some 10 us each."""


@dataclass(frozen=True)
class Turn:
    """What a process did in one turn, or in several."""

    requests: int = 0
    """Those that it sent, whether or not it has read their answers."""
    took_s: float = 0.0
    cpu_s: float = 0.0
    """Of the process, all threads, user and system."""
    stolen_s: float = 0.0
    """What the hypervisor took from its core; not a number where that is not known."""

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.took_s

    @property
    def cpu_us_per_request(self) -> float:
        return self.cpu_s / self.requests * 1e6

    def __add__(self, other: Turn) -> Turn:
        return Turn(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


class TurnTaker:
    """A process that runs in its turns only, against a server that counts requests.

    Answers to its last requests wait for it, so that it begins each turn where it was: reading them belongs to a turn
    as reading the answers to its own last requests belongs to the next.
    """

    def __init__(self, process: subprocess.Popen[bytes], core: int, requests: Callable[[], int]) -> None:
        """`process` was started just now, and runs on `core`. `requests`: how many the server has been sent, by
        whomever: nobody else sends any while this process runs.
        """
        self.requests = 0
        """All that it has sent, up to its last stop or its end."""
        self._process = process
        self._core = core
        self._at_server = requests
        self._before = requests()

    def stop(self) -> None:
        """Raises ChildProcessError where it has ended by itself."""
        self._process.send_signal(signal.SIGSTOP)
        # Until all its threads stand still. How it ended, if it did, is left for others to see.
        seen = os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._stopped_at = time.perf_counter()
        if seen is None or seen.si_code != os.CLD_STOPPED:
            raise ChildProcessError("it has ended")
        time.sleep(_SETTLES_S)
        self.requests += self._at_server() - self._before

    def turn(self, seconds: float) -> Turn:
        """Let it go on for so long and stop it again. Raises ChildProcessError where it has ended by itself."""
        pid, cores, requests = self._process.pid, [self._core], self.requests
        used_s, stolen = cpu_s(pid), stolen_s(cores)
        self._go_on()
        began = time.perf_counter()
        time.sleep(seconds)
        self.stop()
        return Turn(self.requests - requests, self._stopped_at - began, cpu_s(pid) - used_s, stolen_s(cores) - stolen)

    def end(self, with_signal: signal.Signals) -> None:
        """Let it go on, to its end; it is killed where that takes long."""
        self._go_on()
        self._process.send_signal(with_signal)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self.requests += self._at_server() - self._before

    def _go_on(self) -> None:
        self._before = self._at_server()
        self._process.send_signal(signal.SIGCONT)
