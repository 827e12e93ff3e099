"""The analyses of this web UI's runs: how far they are, and, where nobody else analyses them, what starts one.

An analysis is a process of its own: what it needs (pandas, DuckDB) is never imported into Locust.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from config.aws import process_environment
from loadgen.session import RecordingSession
from runstore.analysis_state import (
    ATTENDED,
    ENDED,
    RUNNING,
    WAITING,
    AnalysisState,
    outcome,
    read_state,
    write_state,
)
from runstore.rundir import RunDir

FILES: Mapping[str, tuple[str, str]] = {
    "report.html": ("Report", "text/html; charset=utf-8"),
    "summary.md": ("Summary", "text/plain; charset=utf-8"),
    "summary.json": ("JSON", "application/json"),
    "junit.xml": ("JUnit", "text/xml; charset=utf-8"),
}
"""What may be looked at in the web UI: file of the run directory -> title of the link, content type."""
ROOT = Path(__file__).parents[2]


class Analyses:
    """Of the runs of one session."""

    def __init__(self, environment: Environment, session: RecordingSession, environ: Mapping[str, str]) -> None:
        self._session = session
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._busy = False
        """An analysis goes on, or is about to: its process does not start in one step."""
        self.attended = environ.get(ATTENDED) == "1"
        """Whoever started Locust analyses each run as it ends."""
        environment.events.quit.add_listener(lambda **_: self.stop())

    def find(self, run_id: str) -> RunDir | None:
        """A run of this session; None for any other name."""
        return next((run for run in self._session.runs if run.run_id == run_id), None)

    def state(self, run: RunDir) -> AnalysisState | None:
        """None where nothing is known, because the run goes on or nobody has analysed it."""
        if self._goes_on(run):
            return None
        state = read_state(run)
        if state is None and self.attended:
            return AnalysisState(WAITING, "about to begin", time.time())
        return state

    def may_start(self, run: RunDir) -> bool:
        """Whether an analysis can be asked for here and now: one at a time, of a run that has ended."""
        return not (self.attended or self._goes_on(run)) and not self._busy

    def start(self, run: RunDir) -> bool:
        """Analyse a run in the background; False where it cannot be started now."""
        if not self.may_start(run):
            return False
        settings = self._session.chosen.settings
        variables = {
            **process_environment(settings, self._environ),
            "TARGET": settings.target,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), self._environ.get("PYTHONPATH")])),
        }
        command = [sys.executable, "-m", "analysis", "analyze", str(run.path.resolve())]
        self._busy = True
        try:
            write_state(run, AnalysisState(RUNNING, "fetching logs and joining them", time.time()))
            # A Ctrl-C is Locust's: its runs are drained first.
            self._process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, start_new_session=True)
        except BaseException:
            self._busy = False
            raise
        gevent.spawn(self._await_end, run, self._process)
        return True

    def stop(self) -> None:
        """Leave nothing running."""
        if self._process is not None:
            self._process.terminate()

    def listing(self) -> list[dict[str, Any]]:
        """All runs, newest first, as plain data for the page."""
        return [self._entry(run) for run in reversed(self._session.runs)]

    def _entry(self, run: RunDir) -> dict[str, Any]:
        state = self.state(run)
        over = state is None or state.state == ENDED
        return {
            "id": run.run_id,
            "state": "running" if self._goes_on(run) else run.read_manifest().get("state"),
            "analysis": None if state is None else {"state": state.state, "message": _progress(state, over)},
            "files": [
                {"name": name, "title": title}
                for name, (title, _) in FILES.items()
                if over and run.file(name).is_file()
            ],
            "may_start": self.may_start(run),
        }

    def _goes_on(self, run: RunDir) -> bool:
        return self._session.running and run is self._session.runs[-1]

    def _await_end(self, run: RunDir, process: subprocess.Popen[bytes]) -> None:
        exit_code = process.wait()
        self._process, self._busy = None, False
        write_state(run, AnalysisState(ENDED, outcome(exit_code), time.time(), exit_code))


def _progress(state: AnalysisState, over: bool) -> str:
    return state.message if over else f"{state.message} ({max(0.0, time.time() - state.since):.0f} s)"
