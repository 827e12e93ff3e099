"""Locust as processes: one alone, or a master with its workers, headless, from start to drained.

Each process is in a session of its own: on Ctrl-C only the master (or the lone process) is told, and it drains its
workers in the right order.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from control.processes import ROOT, Process, free_port

CANNOT_START = "Cannot start:\n"
"""What stands before the problems that the load generator tells, one a line (`loadgen.listeners`)."""
DRAIN_LIMIT_S = 120.0
"""After an interruption: API Gateway's 29 s for open requests, the workers' last rows, and room to spare."""
WORKER_FAREWELL_S = 1.0
"""After the master's end its workers leave by themselves, if it could tell them."""
WORKER_EXIT_LIMIT_S = 15.0
"""A worker, or a master, that the others have left has its last rows to write."""


@dataclass(frozen=True)
class LocustEnd:
    """How a Locust run ended."""

    exit_code: int | None
    """None where it had to be ended."""
    interrupted: bool
    last_lines: str
    """The end of its output; where all its workers ended before it did, of theirs too."""

    @property
    def problems(self) -> list[str]:
        """What it found wrong with the configuration, where it did not start for that."""
        _, refused, listed = self.last_lines.partition(CANNOT_START)
        return [line.strip() for line in listed.splitlines() if line.strip()] if refused else []


def command(*options: str) -> list[str]:
    """Locust, by this interpreter, with all sample flows; which of them run is the profile's matter."""
    return [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles"), *options]


def run_headless(
    environment: Mapping[str, str],
    workers: int,
    logs: Path,
    progress: Callable[[], None] = lambda: None,
    poll_s: float = 0.25,
) -> LocustEnd:
    """Run Locust to its end, with `workers` worker processes (0: one process does it all).

    Its output goes to `locust*.log` in `logs`. `progress` is called every `poll_s` seconds. KeyboardInterrupt makes
    Locust stop and drain; a second one, or a drain that takes too long, ends it at once. A master left without
    workers, or workers left without their master, are stopped too.
    """
    with ExitStack() as stack:
        role: list[str] = []
        others: list[Process] = []
        if workers:
            # A port of its own: two runs on one machine, or somebody's Locust on 5557, do not meet.
            port = str(free_port())
            role = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port]
            role += ["--expect-workers", str(workers)]
        main = Process(command("--headless", *role), logs / "locust.log", environment)
        stack.callback(main.stop)
        for index in range(workers):
            worker = command("--worker", "--master-host", "127.0.0.1", "--master-port", port)
            others.append(Process(worker, logs / f"locust-worker-{index}.log", environment))
            stack.callback(others[-1].stop)
        return _follow(main, others, progress, poll_s)


def run_in_foreground(
    environment: Mapping[str, str],
    options: Sequence[str],
    progress: Callable[[], None] = lambda: None,
    poll_s: float = 0.25,
) -> LocustEnd:
    """Run one Locust process that talks to the terminal itself, such as the web UI, until it ends or Ctrl-C.

    `progress` is called every `poll_s` seconds.
    """
    with ExitStack() as stack:
        main = Process(command(*options), None, environment)
        stack.callback(main.stop)
        return _follow(main, [], progress, poll_s)


def _follow(main: Process, workers: Sequence[Process], progress: Callable[[], None], poll_s: float) -> LocustEnd:
    interrupted = lonely = False
    try:
        while main.exit_code is None and not lonely:
            progress()
            time.sleep(poll_s)
            # A master without workers waits for new ones; a moment shows whether it was about to end as they were.
            lonely = bool(workers) and all(worker.exit_code is not None for worker in workers)
            lonely = lonely and main.wait(WORKER_EXIT_LIMIT_S) is None
    except KeyboardInterrupt:
        interrupted = True
    if main.exit_code is None:
        main.interrupt()
        deadline = time.monotonic() + DRAIN_LIMIT_S
        while main.exit_code is None and time.monotonic() < deadline:
            progress()
            time.sleep(poll_s)
    for worker in workers:
        if worker.wait(WORKER_FAREWELL_S) is None:
            # Its master was killed, or interrupted before it knew of its workers, and told them nothing.
            worker.interrupt()
    for worker in workers:
        worker.wait(WORKER_EXIT_LIMIT_S)
    last = [main, *workers] if lonely else [main]
    return LocustEnd(main.exit_code, interrupted, "\n".join(process.last_lines() for process in last))
