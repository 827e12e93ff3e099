"""How far a run is: time, users, requests, failures, from Locust's own history file."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from config.profiles import Profile
from runstore.rundir import RunDir

TAIL_BYTES = 4096


@dataclass(frozen=True)
class State:
    """Where a run stands."""

    users: int
    requests: int
    failures: int


class RunProgress:
    """A progress bar on stderr while Locust runs; where stderr is no terminal, one line at the start."""

    def __init__(
        self, console: Console, run: RunDir, profile: Profile, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._history = run.file("locust_stats_history.csv")
        self._messages = profile.messages
        self._clock = clock
        self._started_at = clock()
        self._looked_at = 0.0
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}"),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task(profile.name, total=profile.messages or profile.duration_s, state="")
        console.print(f"run {run.run_id}: {amount_of(profile)}", style="dim", markup=False, highlight=False)

    def __enter__(self) -> RunProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self) -> None:
        """Call it often: it looks at the file once a second."""
        now = self._clock()
        if now - self._looked_at < 1:
            return
        self._looked_at = now
        state = latest_state(self._history)
        if state is None:
            return
        self._progress.update(
            self._task,
            completed=now - self._started_at if self._messages is None else state.requests,
            state=f"{state.users} users, {state.requests} requests, {state.failures} failed",
        )


def amount_of(profile: Profile) -> str:
    """How much load a profile is, in a few words."""
    if profile.messages is not None:
        return f"messages: {profile.messages}"
    if profile.breakpoint is not None:
        return f"search for the breakpoint, up to {profile.peak_rate:g} arrivals/s"
    if profile.peak_rate is not None:
        return f"up to {profile.peak_rate:g} arrivals/s for {profile.duration_s:g} s"
    return f"up to {profile.peak_users} users for {profile.duration_s:g} s"


def latest_state(history: Path) -> State | None:
    """The last whole line of Locust's history that counts everything; None before there is one."""
    try:
        with history.open("rb") as file:
            header = file.readline().decode()
            start = file.tell()
            file.seek(0, 2)
            file.seek(max(start, file.tell() - TAIL_BYTES))
            lines = [line.decode(errors="replace") for line in file.readlines() if line.endswith(b"\n")]
    except OSError:
        return None
    for line in reversed(lines):
        row = dict(zip(next(csv.reader([header])), next(csv.reader([line])), strict=False))
        if row.get("Name") == "Aggregated":
            return State(int(row["User Count"]), int(row["Total Request Count"]), int(row["Total Failure Count"]))
    return None
