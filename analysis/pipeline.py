"""The analysis from end to end: pull -> join -> explain -> judge -> show.

Each step reads files of the run directory and writes files into it. What is already there whole is not fetched again:
a run that was pulled is analysed without its target, on another machine or weeks later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from analysis import table_snapshot
from analysis.errors import AnalysisError, InterruptedPullError
from analysis.evidence import open_evidence
from analysis.functions import Limits
from analysis.join import join, write_unjoined
from analysis.run_facts import has_functions, read_facts
from analysis.run_files import files_blamed, read_json, read_pull
from analysis.summary import build_summary
from analysis.verdict import judge
from analysis.workplace import SHOWN, at_work_in
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
    with at_work_in(run):
        failure = _fetch(run, settings, console, clock) if pull else None
        summary = explain(run, limits, () if failure is None else (str(failure).replace("\n", "; "),), metric_limits)
        terminal.print_summary(summary, console)
        for written in report.write_all(run, summary):
            _say(console, f"wrote {written}")
    if failure is None:
        return judge(summary).exit_code
    click.echo(f"error: {failure}", err=True)
    return failure.exit_code


def explain(
    run: RunDir,
    limits: Limits | None = None,
    also: tuple[str, ...] = (),
    metric_limits: MetricLimits | None = None,
) -> dict[str, Any]:
    """Join what lies in the run directory and summarise it; -> the summary.

    Writes joined.parquet, unjoined.csv and summary.json, which belong together: where this is killed, either there is
    no summary, or it is that of the other two.

    `also`, `metric_limits`: see `analysis.summary.build_summary`. Raises DataFormatError where a file is not what its
    name says, IncompleteError where one is damaged or cannot be written.
    """
    unfinished = {name: run.file(f".{name}.partial") for name in ("joined.parquet", "unjoined.csv")}
    facts = read_facts(run)
    with files_blamed(run):
        evidence = open_evidence(run)
        try:
            coverage = join(evidence, unfinished["joined.parquet"])
            write_unjoined(evidence.db, unfinished["unjoined.csv"])
            summary = build_summary(run.run_id, facts, evidence, coverage, limits, also, metric_limits)
        finally:
            evidence.db.close()
    for name in ("summary.json", *SHOWN):
        run.file(name).unlink(missing_ok=True)  # of an earlier analysis, of other tables
    for name, path in unfinished.items():
        path.replace(run.file(name))
    run.write_json("summary.json", summary)
    return summary


def rehearse(run: RunDir, settings: Settings, *, pull: bool = True) -> Iterator[str]:
    """What `analyze` would ask and write, in words. Raises what `analysis.pull.rehearse` raises."""
    if pull and _needs_target(run):
        from analysis import pull as pulling

        yield from pulling.rehearse(run, settings)
    written = ("joined.parquet", "unjoined.csv", "summary.json", *SHOWN)
    yield f"would write {', '.join(written)} in {run.path}"


def _needs_target(run: RunDir) -> bool:
    """Whether there are logs to fetch: not those of a run that has nothing but Locust's CSVs."""
    return has_functions(read_json(run, "manifest.json")) and not read_pull(run).get("complete")


def _fetch(run: RunDir, settings: Settings, console: Console, clock: Callable[[], float]) -> AnalysisError | None:
    """Everything that needs the target; the error that stopped it."""
    if _needs_target(run):
        from analysis.pull import pull_showing

        try:
            pull_showing(run, settings, console)
        except AnalysisError as error:
            return error
        except KeyboardInterrupt:
            return InterruptedPullError("fetching the logs was interrupted: analyse the run again to go on with it")
    _look_at_tables(run, settings, read_json(run, "manifest.json").get("tables") or {}, console, clock)
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
