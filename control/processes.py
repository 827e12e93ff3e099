"""Processes that a run starts: each in a session of its own, with its output in a file, always stopped in the end.

In a session of its own a process does not get the terminal's Ctrl-C: who started it decides who is interrupted, and
in which order. Nor would it notice that its starter is gone: a watch beside it does, and ends it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

LAST_LINES = 15
OWN_PORTS = range(27_000, 32_000)
"""Below the ports that systems hand out to whoever asks for any: 32768 and up on Linux, 49152 and up (RFC 6335) on
others. One of those could go to any connection between our looking for it and its use."""

_WATCH = 'read -r leader && { read -r stopped || kill -s TERM -- "-$leader"; }'
"""What the shell beside a process does: the first line says who leads the session; a second comes when it was stopped,
the end of input when its starter died, however that happened, and left a session behind."""
_ANNOUNCE = 'echo $$ >&0; exec "$@" < /dev/null'
"""How a process begins: it says itself to the watch who it is, so that its starter may die at any moment."""

ROOT = Path(__file__).parents[1]
"""The repository: where the packages are that the processes run."""


class Process:
    """A running process and the file that its output goes to (None: the terminal, as our own does)."""

    def __init__(self, arguments: Sequence[str], output: Path | None, environment: Mapping[str, str]) -> None:
        self.output = output
        search_path = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with contextlib.ExitStack() as stack:
            sink = None if output is None else stack.enter_context(output.open("wb"))
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _ANNOUNCE, "sh", *arguments],
                stdin=self._watch.stdin,
                stdout=sink,
                stderr=None if sink is None else subprocess.STDOUT,
                env={**environment, "PYTHONPATH": os.pathsep.join(search_path)},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its own id, and that of the session and the process group that it leads."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def interrupt(self) -> None:
        """What Ctrl-C would do to it."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGINT)

    def wait(self, timeout_s: float) -> int | None:
        """-> its exit code, or None where it still runs after `timeout_s`."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, grace_s: float = 5.0) -> None:
        """End it and whatever it started: politely, then, after `grace_s`, not."""
        if self.exit_code is None:
            self._process.terminate()
            if self.wait(grace_s) is None:
                self._signal_session(signal.SIGKILL)
        self._signal_session(signal.SIGKILL)
        self._process.wait()
        self._watch.communicate(b"stopped\n")

    def last_lines(self, count: int = LAST_LINES) -> str:
        """The end of its output, for an error message; empty where it went to the terminal."""
        if self.output is None:
            return ""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-count:])

    def _signal_session(self, which: signal.Signals) -> None:
        # Gone already, or (on macOS) only a zombie is left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, which)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on, and that the kernel gives to nobody by itself until it is used.

    Raises OSError where all of those are taken.
    """
    for port in random.sample(OWN_PORTS, len(OWN_PORTS)):
        if is_port_free(host, port):
            return port
    raise OSError(f"no port from {OWN_PORTS.start} to {OWN_PORTS.stop - 1} is free on {host}")


def is_port_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
        return True
