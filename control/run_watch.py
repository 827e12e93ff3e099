"""Completes and analyses the runs of a Locust that goes on afterwards, each as soon as it has ended.

    manifest says ended -> deliveries on their way have arrived -> truth.json -> `python -m analysis analyze` -> next

One thread, no waiting: `step` is called a few times a second and does what can be done now. What was looked at before
and after a run (the sandbox's truth, the shop's table) is that run's doing only where no other run went meanwhile; it
is left out where one did.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from analysis import table_snapshot
from control.errors import ProcessError
from control.sandbox_process import note_settling, since
from runstore.analysis_state import ENDED, RUNNING, WAITING, AnalysisState, outcome, write_state
from runstore.rundir import RUNNING as RUN_GOES_ON
from runstore.rundir import RunDir

CRASHED = 3
"""Exit code of an analysis that had to be killed: its run's data is incomplete."""


class Analysing(Protocol):
    """A process that analyses a run."""

    @property
    def exit_code(self) -> int | None:
        """None while it goes on."""

    def stop(self) -> None: ...


class RunWatch:
    """The runs of one Locust, in the order in which they were made."""

    def __init__(
        self,
        runs_dir: Path,
        *,
        complete: Callable[[RunDir], None],
        analyse: Callable[[RunDir], Analysing],
        read_truth: Callable[[], Mapping[str, Any]] | None,
        truth: Mapping[str, Any],
        tables: Mapping[str, Any] | None,
        settle_limit_s: Callable[[RunDir], float],
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Runs that are there already are nobody's business.

        `complete` puts the target's resources into the run directory; `read_truth` asks the sandbox what it counted,
        None without one; `truth` and `tables` are what stood there and in the shop's table before the first run.
        """
        self.exit_codes: list[int] = []
        """Of the analyses, in order."""
        self._runs_dir = runs_dir
        self._complete = complete
        self._analyse = analyse
        self._read_truth = read_truth
        self._truth: Mapping[str, Any] | None = truth
        self._tables = tables
        self._settle_limit_s = settle_limit_s
        self._tell = tell
        self._clock = clock
        self._done = set(self._paths())
        self._locust_ended = False
        self._process: Analysing | None = None
        self._steps = self._watch()

    @property
    def runs(self) -> int:
        """How many have ended so far."""
        return len(self.exit_codes)

    def step(self) -> None:
        """Do what can be done now."""
        next(self._steps, None)

    def finish(self, pause: Callable[[], None]) -> None:
        """Locust has ended: do what is left, with a `pause` between two steps."""
        self._locust_ended = True
        for _ in self._steps:
            pause()

    def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _watch(self) -> Iterator[None]:
        while True:
            run = self._next_run()
            if run is not None:
                try:
                    yield from self._attend_to(run)
                except OSError as failure:
                    # A full disk, a directory removed by hand: no reason to end the next run.
                    self._tell(f"run {run.run_id} could not be analysed: {failure}")
                    self.exit_codes.append(CRASHED)
                    self.close()
            elif self._locust_ended:
                return
            else:
                yield

    def _paths(self) -> list[Path]:
        """Oldest first; `latest` is but a name of one of them."""
        return sorted(path.parent for path in self._runs_dir.glob("*/manifest.json") if not path.parent.is_symlink())

    def _next_run(self) -> RunDir | None:
        """The oldest one that has ended. A Locust that was killed cannot say so, nor does it go on."""
        for path in self._paths():
            if path not in self._done:
                run = RunDir(path)
                if self._locust_ended or run.read_manifest().get("state") != RUN_GOES_ON:
                    self._done.add(path)
                    return run
        return None

    def _another_began(self) -> bool:
        return not self._done.issuperset(self._paths())

    def _attend_to(self, run: RunDir) -> Iterator[None]:
        self._complete(run)
        if self._read_truth is not None:
            yield from self._keep_truth(run, self._read_truth)
        tables, self._tables = self._tables, None
        if tables is not None and not self._another_began():
            run.write_json(table_snapshot.BEFORE, tables)
        yield from self._run_analysis(run)
        if not self._another_began() and run.file(table_snapshot.AFTER).exists():
            self._tables = json.loads(run.file(table_snapshot.AFTER).read_text())

    def _keep_truth(self, run: RunDir, read_truth: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
        """Wait until nothing is on its way any more, up to a deadline or the next run's start."""
        before, self._truth = self._truth, None
        began = self._clock()
        deadline = began + self._settle_limit_s(run)
        told = False
        while True:
            try:
                truth = read_truth()
            except ProcessError as gone:
                # What Locust recorded is still worth an analysis.
                run.update_manifest(warnings=[*run.read_manifest().get("warnings", ()), str(gone)])
                return
            if self._another_began():
                return
            settled = truth["pending"] == 0
            if settled or self._clock() >= deadline:
                break
            message = f"waiting for {truth['pending']} deliveries on their way"
            write_state(run, AnalysisState(WAITING, message, began))
            if not told:
                self._tell(f"run {run.run_id}: {message}")
                told = True
            yield
        if before is not None:
            run.write_json("truth.json", since(before, truth))
        if settled:
            self._truth = truth
        note_settling(run, truth["pending"], self._clock() - began, self._clock())

    def _run_analysis(self, run: RunDir) -> Iterator[None]:
        write_state(run, AnalysisState(RUNNING, "fetching logs and joining them", self._clock()))
        self._process = process = self._analyse(run)
        while process.exit_code is None:
            if self._another_began() and not run.file(table_snapshot.AFTER).exists():
                # The analysis would take the next run's changes for this one's.
                run.file(table_snapshot.BEFORE).unlink(missing_ok=True)
            yield
        process.stop()
        self._process = None
        exit_code = process.exit_code
        write_state(run, AnalysisState(ENDED, outcome(exit_code), self._clock(), exit_code))
        self.exit_codes.append(exit_code if exit_code >= 0 else CRASHED)
