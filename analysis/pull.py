"""Everything the target knows about a run: logs and metrics, fetched into files of the run directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import duckdb
import pandas as pd
from rich.console import Console

from analysis import cloudwatch_metrics, deployment, errors, locust_csv, log_groups, log_tables
from analysis.console import print_lines
from analysis.errors import AnalysisError, DataFormatError, NoRowsError
from analysis.evidence import connect
from analysis.insights import MAX_ROWS, read_rows_quickly
from analysis.log_queries import ACCESS, EVENTS
from analysis.options import dry_run_option, run_argument
from analysis.pull_progress import PullProgress
from analysis.puller import REAL, SIMULATED, Patience, Progress, Puller, Reading, Scope
from analysis.requests_table import HTTP_METHODS, UNINVOKED, create_requests
from analysis.run_files import files_blamed, read_json
from analysis.workplace import at_work_in
from config import aws
from config.prices import load_prices
from config.settings import Settings, load_settings
from config.timespans import parse_timespan
from runstore import rundir
from runstore.rundir import RunDir

MAX_BACKGROUND_S = 900.0
"""How long after the end of a run events still count as its own when it is pulled later than that."""


TABLES = ("invocations", "log_errors", "inits", "correlations", "access_log")


@dataclass(frozen=True)
class Pulled:
    """How a pull ended. All of it, and more, is in `pull.json`."""

    complete: bool
    """Whether nothing that belongs to the run can be missing, as far as can be known."""
    warnings: list[str]
    tables: Mapping[str, int]
    """Of TABLES -> rows."""


def pull_run(
    run: RunDir,
    settings: Settings,
    *,
    force: bool = False,
    patience: Patience | None = None,
    limit: int = MAX_ROWS,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Pulled:
    """Fetch the logs and metrics of a run into its directory.

    Writes invocations, log_errors, inits, correlations and access_log (.parquet), metrics.json, pull.json, and the raw
    events below `pull/`. `force` fetches again what earlier pulls saved; `limit` is the number of rows asked of one
    query.

    Raises UsageError where no log group is known, LogGroupNotFoundError, NoRowsError where the logs hold nothing of the
    run, and what `analysis.insights.run_query` raises; of what was fetched until then, or until a Ctrl-C, the tables
    are written, and the next attempt goes on from there.
    """
    requests = connect(run.file(".spill"))
    create_requests(requests, run.requests_files(), run.path)
    scope = scope_of(run, settings, requests, clock())
    patience = patience or (SIMULATED if settings.simulated else REAL)
    folder = run.file("pull")
    if force:
        for path in folder.glob("*.parquet"):
            path.unlink()
    # What is refused is waited for by one pace for all queries, and not by each call for itself.
    logs = aws.client(settings, "logs", max_pool_connections=20, retries={"total_max_attempts": 1})
    read_rows_quickly(logs)
    puller = Puller(
        logs,
        scope,
        folder,
        requests,
        requests_per_second(requests) or locust_requests_per_second(run),
        patience,
        limit=limit,
        clock=clock,
        sleep=sleep,
        watch=watch,
    )
    stack_name = read_json(run, "manifest.json").get("stack_name") or settings.stack_name
    try:
        reading = puller.read()
        tables, warnings = write_tables(run.path, reading, stack_name)
        warnings += [f"there is no log group {group}: its function was not invoked" for group in reading.missing_groups]
        metrics, unknown = _pull_metrics(run, settings, scope, reading.watched_until, requests, patience, clock, sleep)
        warnings += unknown
    except (AnalysisError, KeyboardInterrupt):
        _keep(run, puller.so_far(), scope, stack_name, settings.region)
        raise
    found = bool(tables["invocations"]) or _nothing_invoked(requests)
    pulled = Pulled(
        complete=not reading.doubts and found,
        warnings=[*reading.doubts, *warnings, *metrics.warnings],
        tables=tables,
    )
    run.write_json("pull.json", _described(pulled, reading, scope, settings.region))
    if not found:
        raise NoRowsError(
            f"the logs hold no invocation of this run: there is no REPORT in {', '.join(scope.groups.values())} "
            f"in region {settings.region}",
            "check AWS_REGION, LOG_GROUPS and the functions, and the load generator's clock, by which the logs were "
            "asked for; with SystemLogLevel=WARN a function writes no REPORT",
        )
    return pulled


def _keep(run: RunDir, reading: Reading, scope: Scope, stack_name: str | None, region: str | None) -> None:
    """Write the tables of a pull that was ended early, where it had got anything."""
    if reading.answers:
        tables, warnings = write_tables(run.path, reading, stack_name)
        pulled = Pulled(complete=False, warnings=[*reading.doubts, *warnings], tables=tables)
        run.write_json("pull.json", _described(pulled, reading, scope, region))


def rehearse(run: RunDir, settings: Settings) -> Iterator[str]:
    """What a pull would ask and write, in words. Raises UsageError and NoRowsError, as the pull would."""
    requests = connect(run.file(".spill"))
    create_requests(requests, run.requests_files(), run.path)
    scope = scope_of(run, settings, requests, time.time())
    requests.close()
    groups = [*scope.groups.values(), *filter(None, [scope.access_log_group])]
    begin, end = (
        datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") for at in (scope.started_at, scope.ended_at)
    )
    region = settings.region or "the region of the AWS profile"
    yield f"would ask Logs Insights in {region} for what was logged from {begin} to {end} UTC, and after it, in:"
    yield from (f"  {group}" for group in groups)
    yield f"would ask CloudWatch for the metrics of {', '.join(scope.groups)}"
    yield f"would write {', '.join(f'{table}.parquet' for table in TABLES)}, metrics.json, pull.json in {run.path}"


def pull_showing(run: RunDir, settings: Settings, console: Console, **options: Any) -> Pulled:
    """`pull_run` with a progress bar on `console`. Raises IncompleteError also where a file is not to be written."""
    with files_blamed(run), PullProgress(console, load_prices(settings.region or "")) as bar:
        return pull_run(run, settings, watch=bar.update, **options)


def _pull_metrics(
    run: RunDir,
    settings: Settings,
    scope: Scope,
    watched_until: float,
    requests: duckdb.DuckDBPyConnection,
    patience: Patience,
    clock: Callable[[], float],
    sleep: Callable[[float], None] | None,
) -> tuple[cloudwatch_metrics.Metrics, list[str]]:
    """Write down what is deployed and what CloudWatch counted; -> (metrics, what could not be found of the former)."""
    manifest = read_json(run, "manifest.json")
    manifest = {**manifest, "functions": manifest.get("functions") or dict(settings.functions)}
    deployed = deployment.describe(lambda service: aws.client(settings, service), manifest)
    run.write_json(deployment.FILE, deployed.as_dict())
    metrics = cloudwatch_metrics.pull(
        aws.client(settings, "cloudwatch"),
        cloudwatch_metrics.watched_of(manifest, deployed.as_dict()),
        scope.started_at,
        watched_until,
        expected=_invocations_of(run.file("invocations.parquet")),
        answered=_answered(requests),
        patience=cloudwatch_metrics.Patience(
            until=clock() + patience.metrics_s,
            poll_s=max(patience.poll_s, 1.0),
            clock=clock,
            sleep=sleep or time.sleep,
        ),
        namespaces=settings.custom_metrics,
    )
    run.write_json(cloudwatch_metrics.FILE, metrics.as_dict())
    return metrics, list(deployed.warnings)


def _answered(requests: duckdb.DuckDBPyConnection) -> int:
    """Requests to an API that were answered."""
    row = requests.execute(f"SELECT count(status) FROM requests WHERE method IN {HTTP_METHODS}").fetchone()
    return row[0] if row else 0


def _nothing_invoked(requests: duckdb.DuckDBPyConnection) -> bool:
    """Whether there were requests, and none of which an invocation is to be expected."""
    row = requests.execute(f"SELECT bool_and({UNINVOKED}) FROM requests WHERE sent").fetchone()
    return bool(row and row[0])


def scope_of(run: RunDir, settings: Settings, requests: duckdb.DuckDBPyConnection, now: float) -> Scope:
    """Which logs of which time belong to the run.

    The window is the manifest's; for a run that has none, or that was killed, the requests' or Locust's own. Raises
    UsageError where no log group is known, NoRowsError where nothing says when the run was.
    """
    manifest = read_json(run, "manifest.json")
    groups, required = log_groups.of_run(manifest, settings)
    started_at, ended_at = _window(run, manifest, requests)
    others = _other_runs(run, groups)
    later = [other.started_at for other in others if other.started_at > ended_at]
    ends_before = min([now + MAX_BACKGROUND_S, *later])
    if now - ended_at > MAX_BACKGROUND_S:
        ends_before = min(ends_before, ended_at + MAX_BACKGROUND_S)
    return Scope(
        groups=groups,
        access_log_group=manifest.get("access_log_group") or settings.access_log_group,
        required=required,
        started_at=started_at,
        ended_at=ended_at,
        ends_before=ends_before,
        settled_at=manifest.get("settled_at"),
        overlapping=[
            asdict(other) for other in others if other.started_at <= ended_at and other.ended_at >= started_at
        ],
    )


def requests_per_second(requests: duckdb.DuckDBPyConnection) -> dict[int, int]:
    """Epoch second -> answers the client got in it: about when the invocations wrote their REPORT."""
    counted = requests.execute(
        "SELECT floor(coalesce(ended_at, started_at))::BIGINT AS second, count(*) FROM requests "
        "WHERE started_at IS NOT NULL GROUP BY second"
    )
    return {int(second): int(count) for second, count in counted.fetchall()}


def locust_requests_per_second(run: RunDir) -> dict[int, int]:
    """The same by Locust's history, for a run that has no request rows."""
    history = _history(run)
    if history is None:
        return {}
    seconds = history["Timestamp"].map(lambda at: int(at.timestamp()))
    counts = history["Total Request Count"].diff().fillna(history["Total Request Count"]).clip(lower=0)
    return {int(second): int(count) for second, count in zip(seconds, counts, strict=True) if count > 0}


def write_tables(directory: Path, reading: Reading, stack_name: str | None) -> tuple[dict[str, int], list[str]]:
    """Turn what was read into the tables of the run; -> (table -> rows, warnings).

    An earlier pull's word on its tables goes first: nobody shall take some of each for a whole.
    """
    (directory / "pull.json").unlink(missing_ok=True)
    events, access = reading.files(EVENTS), reading.files(ACCESS)
    tables = {
        "invocations": log_tables.write_invocations(events, directory / "invocations.parquet"),
        "log_errors": log_tables.write_errors(events, directory / "log_errors.parquet", stack_name),
        "inits": log_tables.write_inits(events, directory / "inits.parquet"),
        "correlations": log_tables.write_correlations(events, directory / "correlations.parquet"),
    }
    tables["access_log"], unreadable = log_tables.write_access_log(access, directory / "access_log.parquet")
    warnings = []
    if unreadable:
        warnings.append(f"{unreadable:,} lines of the access log are no JSON objects and were left out")
    return tables, warnings


def _window(run: RunDir, manifest: Mapping[str, Any], requests: duckdb.DuckDBPyConnection) -> tuple[float, float]:
    started_at, ended_at = manifest.get("started_at"), manifest.get("ended_at")
    spans = requests.execute("SELECT min(started_at), max(coalesce(ended_at, started_at)) FROM requests").fetchall()
    history = _history(run)
    if history is not None and len(history):
        at = history["Timestamp"]
        spans.append((at.min().timestamp(), at.max().timestamp() + 1))
    starts = [start for start, _ in spans if start is not None]
    ends = [end for _, end in spans if end is not None]
    if started_at is None and starts:
        started_at = min(starts)
    if ended_at is None and ends:
        ended_at = max(ends)
    if started_at is None or ended_at is None:
        raise NoRowsError(
            f"nothing in {run.path} says when the run was",
            "a manifest.json, a requests-*.csv or Locust's *_stats_history.csv would",
        )
    return float(started_at), max(float(ended_at), float(started_at))


@dataclass(frozen=True)
class _OtherRun:
    """Another run that writes to the same logs. Times are epoch seconds."""

    run_id: str
    started_at: float
    ended_at: float


def _other_runs(run: RunDir, groups: Mapping[str, str]) -> list[_OtherRun]:
    """Those beside this one that write to the same log groups of the same place, the earliest first."""
    place = _place(read_json(run, "manifest.json"))
    found = []
    for path in run.path.parent.glob("*/manifest.json"):
        other = RunDir(path.parent)
        if path.parent.is_symlink() or other.path == run.path:
            continue
        try:
            manifest = read_json(other, "manifest.json")
        except DataFormatError:
            continue  # another run's trouble
        started_at = manifest.get("started_at")
        shared = set((manifest.get("log_groups") or {}).values()) & set(groups.values())
        if not shared or started_at is None or _place(manifest) != place:
            continue
        ended_at = manifest.get("ended_at")
        if ended_at is None:  # it still goes, or was killed: then nothing was written later
            ended_at = max([started_at, *(file.stat().st_mtime for file in other.requests_files())])
        found.append(_OtherRun(str(manifest.get("run_id", other.run_id)), float(started_at), float(ended_at)))
    return sorted(found, key=lambda one: one.started_at)


def _place(manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a log group of a name is: two private sandboxes have groups of the same names."""
    return manifest.get("endpoint_url"), manifest.get("region")


def _history(run: RunDir) -> pd.DataFrame | None:
    """The rows of Locust's history that sum up all requests; None for a run without one."""
    files = sorted(run.path.glob("*_stats_history.csv"))
    if not files:
        return None
    history = locust_csv.read_history(files[0])
    return history[history["Aggregated"]]


def _invocations_of(table: Path) -> dict[str, int]:
    counted = duckdb.execute("SELECT function, count(*) FROM read_parquet($1) GROUP BY function", [str(table)])
    return dict(counted.fetchall())


def _described(pulled: Pulled, reading: Reading, scope: Scope, region: str | None) -> dict[str, Any]:
    return {
        "complete": pulled.complete,
        "warnings": pulled.warnings,
        "region": region,
        "started_at": scope.started_at,
        "ended_at": scope.ended_at,
        "watched_until": reading.watched_until,
        "lag_s": reading.lag_s,
        "rows": sum(one.rows for one in reading.answers),
        "tables": dict(pulled.tables),
        "bytes_scanned": reading.progress.bytes_scanned,
        "queries_started": reading.progress.queries,
        "queries_wasted": reading.progress.wasted,
        "queries_replaced": reading.progress.replaced,
        "log_groups": dict(scope.groups),
        "access_log_group": scope.access_log_group,
        "missing_log_groups": list(reading.missing_groups),
        "overlapping_runs": list(scope.overlapping),
        "queries": [query.text() for query in (EVENTS, ACCESS)],
        "slices": [
            {
                "query": one.piece.query,
                "groups": [group for _, group in one.piece.groups],
                "start": one.piece.slice.start,
                "end": one.piece.slice.end,
                "request_prefix": one.piece.slice.request_prefix,
                "stream_prefix": one.piece.slice.stream_prefix,
                "rows": one.rows,
                "matched": one.matched,
                "read_at": one.read_at,
                "status": "Complete",
            }
            for one in reading.answers
        ],
    }


@click.command("pull")
@run_argument
@click.option("--force", is_flag=True, help="Fetch again what was fetched before.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=MAX_ROWS,
    show_default=True,
    help="Rows of one query; slices are planned for half of it.",
)
@click.option("--lag", metavar="TIME", help="How long logs take to appear; default 1m on AWS, 3s elsewhere.")
@click.option("--quiet", metavar="TIME", help="Silence after which background work is over; default 1m on AWS, 3s.")
@click.option("--deadline", metavar="TIME", help="When to end with what there is; default 15m on AWS, 2m elsewhere.")
@dry_run_option
def pull_command(
    run: str, force: bool, limit: int, lag: str | None, quiet: str | None, deadline: str | None, dry_run: bool
) -> int:
    """Fetch logs and metrics of RUN into its directory."""
    settings = load_settings()
    usual = SIMULATED if settings.simulated else REAL
    patience = Patience(
        lag_s=_seconds("--lag", lag, usual.lag_s),
        quiet_s=_seconds("--quiet", quiet, usual.quiet_s),
        retry_s=max(usual.retry_s, _seconds("--quiet", quiet, 0.0)),
        poll_s=usual.poll_s,
        deadline_s=_seconds("--deadline", deadline, usual.deadline_s),
        metrics_s=min(usual.metrics_s, _seconds("--deadline", deadline, usual.deadline_s)),
    )
    found = rundir.find(run, settings.runs_dir)
    if dry_run:
        print_lines(rehearse(found, settings))
        return errors.OK
    with at_work_in(found):
        pulled = pull_showing(found, settings, Console(stderr=True), force=force, limit=limit, patience=patience)
    for warning in pulled.warnings:
        click.echo(f"warning: {warning}", err=True)
    for table, rows in pulled.tables.items():
        click.echo(f"{table} {rows}")
    return errors.OK if pulled.complete else errors.INCOMPLETE


def _seconds(option: str, text: str | None, default: float) -> float:
    if text is None:
        return default
    try:
        return parse_timespan(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
