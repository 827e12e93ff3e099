"""The analysis from end to end: pull -> join -> explain -> judge -> show.

Each step reads files of the run directory and writes files into it. What is already there whole is not fetched again:
a run that was pulled is analysed without its target, on another machine or weeks later.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from analysis import table_snapshot
from analysis.errors import AnalysisError, InterruptedPullError
from analysis.evidence import open_evidence
from analysis.functions import Limits
from analysis.join import join, write_joined, write_unjoined
from analysis.run_files import files_blamed, read_json, read_pull
from analysis.summary import build_summary
from analysis.verdict import judge
from config import aws
from config.metric_limits import MetricLimits, load_metric_limits
from config.settings import Settings
from runstore.rundir import RunDir


def analyze(
    run: RunDir,
    settings: Settings,
    *,
    console: Console,
    pull: bool = True,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.time,
) -> int:
    """Analyse a run, print its summary to `console` and write everything there is to write.

    A pull that fails, or that Ctrl-C ends, does not take the client's side away: what there is is analysed, marked
    incomplete. Returns the exit code: that of the failed pull (130 of an interrupted one), else 3 for an incomplete
    run, 1 for a broken threshold, 0. A later Ctrl-C reaches the caller.
    """
    from analysis import report, terminal  # with plotly and jinja2: not for those who only join

    metric_limits = load_metric_limits(settings.metric_limits)
    failure = _fetch(run, settings, console, clock) if pull else None
    summary = explain(run, limits, () if failure is None else (str(failure).replace("\n", "; "),), metric_limits)
    terminal.print_summary(summary, console)
    for written in report.write_all(run, summary):
        _say(console, f"wrote {written}")
    return judge(summary).exit_code if failure is None else failure.exit_code


def explain(
    run: RunDir,
    limits: Limits | None = None,
    also: tuple[str, ...] = (),
    metric_limits: MetricLimits | None = None,
) -> dict[str, Any]:
    """Join what lies in the run directory and summarise it; -> the summary.

    Writes joined.parquet, unjoined.csv and summary.json.

    `also`, `metric_limits`: see `analysis.summary.build_summary`. Raises DataFormatError where a file is not what its
    name says, IncompleteError where one is damaged or cannot be written.
    """
    with files_blamed(run):
        evidence = open_evidence(run)
        try:
            coverage = join(evidence.db)
            write_joined(evidence.db, run.file("joined.parquet"))
            write_unjoined(evidence.db, run.file("unjoined.csv"))
            summary = build_summary(run, evidence, coverage, limits, also, metric_limits)
        finally:
            evidence.db.close()
    run.write_json("summary.json", summary)
    return summary


def _fetch(run: RunDir, settings: Settings, console: Console, clock: Callable[[], float]) -> AnalysisError | None:
    """Everything that needs the target; the error that stopped it."""
    manifest = read_json(run, "manifest.json")
    if not manifest.get("functions") and not manifest.get("log_groups"):
        return None
    if not read_pull(run).get("complete"):
        from analysis.pull import pull_showing

        try:
            with files_blamed(run):
                pull_showing(run, settings, console)
        except AnalysisError as error:
            return error
        except KeyboardInterrupt:
            return InterruptedPullError("fetching the logs was interrupted: analyse the run again to go on with it")
    _look_at_tables(run, settings, manifest.get("tables") or {}, console, clock)
    return None


def _look_at_tables(
    run: RunDir, settings: Settings, names: dict[str, str], console: Console, clock: Callable[[], float]
) -> None:
    """Take the snapshot that belongs to the one from before the run, where there is one."""
    before = read_json(run, table_snapshot.BEFORE).get("tables") or {}
    tables = {logical: names[logical] for logical in before if logical in names}
    if not tables or run.file(table_snapshot.AFTER).exists():
        return
    try:
        run.write_json(table_snapshot.AFTER, table_snapshot.take(aws.client(settings, "dynamodb"), tables, clock()))
    except (BotoCoreError, ClientError) as refused:
        _say(console, f"the tables were not compared with what they held before the run: {refused}")


def _say(console: Console, message: str) -> None:
    """One line beside the summary; never cut, never read as markup."""
    console.print(message, style="dim", markup=False, highlight=False, soft_wrap=True)
