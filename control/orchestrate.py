"""A run from end to end: target ready -> Locust -> truth -> analysis -> exit code.

    settings and profile checked -> runs directory locked -> sandbox and stack -> Locust (and its workers)
    -> manifest completed -> truth.json (sandbox) -> pull, join, report -> everything stopped

Every step after Locust reads files of the run directory; an interrupted run takes the same way and ends with 130.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis import errors, table_snapshot
from analysis.functions import Limits
from config.aws import client, process_environment
from config.errors import ConfigError
from config.profiles import FLOWS
from config.settings import load_settings
from control.errors import ProcessError
from control.locust_process import LocustEnd, run_headless, run_in_foreground
from control.processes import Process
from control.progress import RunProgress
from control.run_lock import run_lock
from control.run_request import Checked, Request, check, with_options
from control.run_watch import RunWatch
from control.sandbox_process import note_settling, read_truth
from control.scratch import scratch_directory
from control.smoke import await_change, expected_change, explain, read_shop
from control.target import ReadyTarget, ready_target
from runstore.analysis_state import ATTENDED
from runstore.rundir import FAILED, RUNNING, RunDir, new_run_id
from runstore.spool import recover_all

SETTLE_LIMIT_S = 30.0
"""How long to wait for deliveries still on their way in the sandbox, beyond the profile's chain limit."""


class Stage:
    """A run on its way: the locked runs directory, the ready target, a folder for the processes' output."""

    def __init__(self, checked: Checked, target: ReadyTarget, run_id: str, logs: Path, console: Console) -> None:
        self.checked = checked
        self.target = target
        self.run_id = run_id
        self.logs = logs
        self.console = console
        self.tables_before: dict[str, Any] | None = None
        self.target_gone = False

    @property
    def run(self) -> RunDir:
        return RunDir(self.target.settings.runs_dir / self.run_id)

    def locust_environment(self, run_id: str | None) -> dict[str, str]:
        """Everything Locust must know, as variables; without a run id each test start makes its own."""
        settings = self.target.settings
        return {
            **process_environment(settings, self.checked.environ),
            **self.target.resources.environment(),
            **self.checked.request.variables(),
            "TARGET": settings.target,
            "STACK_NAME": settings.stack_name,
            "RUNS_DIR": str(settings.runs_dir),
            "RUN_ID": run_id or "",
        }

    def look_at_tables(self, flows: Collection[str]) -> None:
        """Remember what stands in the tables that a chain of these flows writes to."""
        tables = {name: table for name, table in self.target.resources.tables.items() if name == "shops"}
        if tables and "shop" in flows:
            self.tables_before = table_snapshot.take(client(self.target.settings, "dynamodb"), tables, time.time())

    def load(self) -> LocustEnd:
        """Put the profile's load on the target. Raises ProcessError where Locust did not get going."""
        self.look_at_tables(self.checked.profile.flows)
        with RunProgress(self.console, self.run, self.checked.profile) as progress:
            end = run_headless(self.locust_environment(self.run_id), self.checked.workers, self.logs, progress.update)
        if not self.run.manifest_file.exists():
            if end.interrupted:
                raise KeyboardInterrupt
            if end.exit_code == ConfigError.exit_code and end.problems:
                raise ConfigError(end.problems)
            raise ProcessError(
                f"Locust ended ({end.exit_code}) before the run began; its last words:\n{end.last_lines}"
            )
        return end

    def complete(self, run: RunDir) -> None:
        """Put into the run directory what only we know: the target's resources, the truth, the processes' output."""
        self.keep_resources(run)
        if self.tables_before is not None:
            run.write_json(table_snapshot.BEFORE, self.tables_before)
        if self.target.sandbox is not None:
            self._keep_truth(run)

    def keep_resources(self, run: RunDir) -> None:
        """Put into the run directory what the target is made of, and the processes' output."""
        known = {name: value for name, value in self.target.resources.manifest().items() if value}
        if run.read_manifest()["state"] == RUNNING:
            # The load generator was killed before it could say so, and before it took its workers' last rows.
            recover_all(run)
            known["state"] = FAILED
        run.update_manifest(**known)
        for log in self.logs.glob("*.log"):
            shutil.copyfile(log, run.file(log.name))

    def watch_runs(self) -> RunWatch:
        """Complete and analyse the runs of a Locust that goes on, from now on."""
        sandbox = self.target.sandbox
        return RunWatch(
            self.target.settings.runs_dir,
            complete=self.keep_resources,
            analyse=self._start_analysis,
            read_truth=None if sandbox is None else lambda: self._read_truth(sandbox),
            truth=self.target.truth_before,
            tables=self.tables_before,
            settle_limit_s=lambda run: run.read_manifest()["profile"]["chain_limit_s"] + SETTLE_LIMIT_S,
            tell=lambda line: self.console.print(line, markup=False, highlight=False, soft_wrap=True),
        )

    def _read_truth(self, sandbox: str) -> dict[str, Any]:
        try:
            return read_truth(sandbox)
        except ProcessError:
            self.target_gone = True
            raise

    def _start_analysis(self, run: RunDir) -> Process:
        """The analysis as a process of its own, which talks to the terminal as ours does."""
        environment = self.locust_environment(None) | {
            "LOG_GROUPS": ",".join(self.target.resources.log_groups.values())
        }
        return Process([sys.executable, "-m", "analysis", "analyze", str(run.path)], None, environment)

    def analyse(self, run: RunDir, out: Console, limits: Limits | None = None) -> int:
        """-> the analysis' exit code."""
        from analysis import pipeline

        exit_code = pipeline.analyze(run, self.target.settings, console=out, limits=limits)
        # That a sandbox went away during the run is no wrong configuration.
        return errors.INCOMPLETE if exit_code == errors.USAGE and self.target_gone else exit_code

    def _keep_truth(self, run: RunDir) -> None:
        limit_s = self.checked.profile.chain_limit_s + SETTLE_LIMIT_S
        try:
            with self.console.status("waiting for deliveries on their way") as status:
                truth = self.target.truth(
                    limit_s, lambda pending: status.update(f"waiting for {pending} deliveries on their way")
                )
        except ProcessError as gone:
            # What Locust recorded is still worth an analysis.
            self.target_gone = True
            run.update_manifest(warnings=[*run.read_manifest().get("warnings", ()), str(gone)])
            return
        run.write_json("truth.json", truth)
        note_settling(run, truth["pending"], limit_s, time.time())


@contextmanager
def stage(checked: Checked, console: Console, *, every_flow: bool = False) -> Iterator[Stage]:
    """Lock the runs directory, make the target ready; in the end stop whatever was started.

    `every_flow`: also for flows that the profile does not have, as far as what they need is there.
    """
    settings = checked.settings
    run_id = unused_run_id(settings.runs_dir, checked.profile.name, time.time())
    with (
        run_lock(settings.runs_dir, run_id),
        scratch_directory() as logs,
        ready_target(
            settings,
            checked.profile.flows,
            logs,
            lambda line: console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True),
            private=checked.request.private_sandbox,
            # The same seed on both sides: a run can be repeated.
            sandbox_options=["--seed", checked.request.seed] if checked.request.seed is not None else [],
            parameters=checked.request.parameters,
            every_flow=every_flow,
            custom=checked.custom,
        ) as target,
    ):
        yield Stage(checked, target, run_id, logs, console)


def load(
    request: Request,
    console: Console,
    out: Console,
    limits: Limits | None = None,
    then: Callable[[RunDir, int], int] = lambda run, exit_code: exit_code,
) -> int:
    """Run a profile from end to end; `then` may add to what is printed and judge anew. -> the contract's exit code."""
    with stage(check(request, os.environ), console) as ready:
        end = ready.load()
        ready.complete(ready.run)
        exit_code = then(ready.run, ready.analyse(ready.run, out, limits))
        return errors.INTERRUPTED if end.interrupted else exit_code


def smoke(request: Request, console: Console, out: Console) -> int:
    """Send the smoke profile's messages and wait until the table has changed by exactly what they hold.

    -> 0 only then, else 1, with the analysis of what became of them.
    """
    with stage(check(request, os.environ), console) as ready:
        resources, settings = ready.target.resources, ready.target.settings
        if "shops" not in resources.tables:
            raise ConfigError(f"STACK_NAME: smoke reads table shops of stack {settings.stack_name}, which is not there")
        dynamodb, table = client(settings, "dynamodb"), resources.tables["shops"]
        before = read_shop(dynamodb, table)
        end = ready.load()
        expected = expected_change(ready.checked.profile.messages or 1)
        deadline_s = 0.0 if end.interrupted else ready.checked.profile.chain_limit_s
        with console.status(f"waiting for table {table}"):
            change = await_change(before, lambda: read_shop(dynamodb, table), expected, deadline_s)
        ready.complete(ready.run)
        if change is None:
            out.print(f"arrived: table {table} changed by exactly what was sent", markup=False, highlight=False)
            return errors.INTERRUPTED if end.interrupted else errors.OK
        for line in explain(change, expected):
            out.print(f"not arrived: {line}", markup=False, highlight=False)
        ready.analyse(ready.run, out)
        return errors.INTERRUPTED if end.interrupted else errors.THRESHOLD_FAILED


def attend(request: Request, options: Sequence[str], console: Console, *, interactive: bool) -> int:
    """Run Locust in the foreground (web UI, or a master for workers elsewhere) and analyse each run as it ends.

    -> the worst exit code among them. Ctrl-C is how an interactive Locust is ended; any other is interrupted by it.
    """
    with stage(check(request, os.environ), console, every_flow=interactive) as ready:
        # In the web UI any flow may be chosen; on AWS a whole table is not read for a flow that may never be.
        any_flow = interactive and ready.target.sandbox is not None
        ready.look_at_tables(FLOWS if any_flow else ready.checked.profile.flows)
        with closing(ready.watch_runs()) as watch:
            end = run_in_foreground(ready.locust_environment(None) | {ATTENDED: "1"}, options, watch.step)
            watch.finish(lambda: time.sleep(0.25))
        if not (watch.runs or end.interrupted) and end.exit_code not in (0, None):
            raise ProcessError(f"Locust ended with {end.exit_code} and left no run")
        if end.interrupted and not interactive:
            return errors.INTERRUPTED
        exit_codes = [
            errors.INCOMPLETE if code == errors.USAGE and ready.target_gone else code for code in watch.exit_codes
        ]
        return max(exit_codes, default=errors.OK)


def work(target: str | None, options: Sequence[str]) -> int:
    """Run a Locust worker in the foreground until its master ends or Ctrl-C. -> 0, 130, or 3 where it failed.

    Raises ProcessError where a signal ended it.
    """
    environ = with_options(os.environ, target, None)
    settings = load_settings(environ)
    environment = {**process_environment(settings, environ), "TARGET": settings.target}
    end = run_in_foreground(environment, ["--worker", *options])
    if end.interrupted:
        return errors.INTERRUPTED
    if end.exit_code is not None and end.exit_code < 0:
        name = signal.Signals(-end.exit_code).name
        raise ProcessError(f"{name} ended this worker; the run goes on without it, and its report says so")
    return errors.OK if end.exit_code == 0 else errors.INCOMPLETE


def unused_run_id(runs_dir: Path, profile: str, now: float) -> str:
    """A new run id that no directory has yet."""
    run_id = new_run_id(profile, now)
    candidate, number = run_id, 1
    while (runs_dir / candidate).exists():
        number += 1
        candidate = f"{run_id}-{number}"
    return candidate
