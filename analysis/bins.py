"""`python -m analysis bins RUN`: both sides of a run by time bin, the client's figures beside those of the logs.

Works for a run that has nothing but Locust's CSVs and a log group: what the logs hold is fetched first, where it was
not yet.

| column | meaning |
|---|---|
| at | when the bin begins, UTC |
| users | Locust's users at the end of the bin |
| requests, failures | requests that started in the bin; without request rows, that Locust's history counts in it |
| requests_per_s | requests divided by the width of the bin |
| client_p50_ms, client_p95_ms, client_p99_ms | response times; without request rows Locust's, rounded, since start |
| invocations, cold_starts | that started in the bin |
| errors, timeouts | of these, the failed ones, and those that failed by timeout |
| throttles | of CloudWatch's metrics, which count by the minute: None in bins that are not whole minutes |
| duration_p50_ms, duration_p95_ms, duration_p99_ms | of the invocations that started in the bin, without init |
| concurrency | the most invocations that were under way at once, their inits included |

Percentiles interpolate linearly between order statistics. What was not measured is absent (None), not 0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import duckdb
import numpy as np
import pandas as pd
from rich.console import Console

from analysis import cloudwatch_metrics, locust_csv, terminal
from analysis.attribution import attribute_lines
from analysis.console import console, print_lines
from analysis.errors import INCOMPLETE, OK, AnalysisError, NoRowsError, UsageError
from analysis.evidence import open_evidence
from analysis.formatting import count, date_and_time, decimal, milliseconds
from analysis.functions import COLD, OCCUPIED_FROM
from analysis.options import dry_run_option, format_option, run_argument
from analysis.requests_table import literal
from analysis.run_files import read_json, read_pull
from analysis.series import most_at_once
from analysis.starts import starts_told
from analysis.tables import Column, Row, Table, text
from analysis.workplace import at_work_in
from config.settings import Settings, load_settings
from config.timespans import parse_timespan
from runstore import rundir
from runstore.rundir import RunDir

MAX_BINS = 1_000_000
_PERCENTILES = ("50", "95", "99")
COLUMNS: tuple[str, ...] = (
    "at",
    "users",
    "requests",
    "requests_per_s",
    "failures",
    *(f"client_p{percent}_ms" for percent in _PERCENTILES),
    "invocations",
    "cold_starts",
    "errors",
    "timeouts",
    "throttles",
    *(f"duration_p{percent}_ms" for percent in _PERCENTILES),
    "concurrency",
)
_COUNTS = (
    *("users", "requests", "failures"),
    *("invocations", "cold_starts", "errors", "timeouts", "throttles", "concurrency"),
)
_CLIENT = {
    "at": text("UTC"),
    "users": Column("users"),
    "requests": Column("requests"),
    "requests_per_s": Column("rate", "/s"),
    "failures": Column("failed"),
    **{f"client_p{percent}_ms": Column(f"p{percent}", "ms") for percent in _PERCENTILES},
}
_FUNCTIONS = {
    "at": text("UTC"),
    "invocations": Column("invoked"),
    "cold_starts": Column("cold"),
    "errors": Column("errors"),
    "timeouts": Column("timeouts"),
    "throttles": Column("throttled"),
    "concurrency": Column("at once"),
    **{f"duration_p{percent}_ms": Column(f"p{percent}", "ms") for percent in _PERCENTILES},
}
"""What the columns are called in the terminal, where all of them side by side are too wide."""


def table(run: RunDir, every_s: float, functions: Sequence[str] = ()) -> pd.DataFrame:
    """The bins of a run that was pulled, one row each, in COLUMNS; `at` is a datetime in UTC.

    `functions` (logical names) limits the figures of the logs to them. Raises UsageError for a function that left no
    invocation, bins that are no whole seconds or more than MAX_BINS, NoRowsError for a run without anything to show.
    """
    if every_s < 1 or every_s != int(every_s):
        raise UsageError(f"bins of {every_s:g} s", "Locust's history counts by the second: use whole seconds")
    evidence = open_evidence(run)
    db = evidence.db
    _limit_to(db, functions)
    attribute_lines(db)
    history = _history(run)
    span = _span(db, history)
    if span is None:
        raise NoRowsError(f"{run.run_id} has neither requests nor invocations nor Locust's history")
    begin = math.floor(span[0] / every_s) * every_s
    bins = math.floor((span[1] - begin) / every_s) + 1
    if bins > MAX_BINS:
        first, last = map(date_and_time, span)
        raise UsageError(
            f"{count(bins)} bins of {every_s:g} s: the run's times go from {first} to {last}",
            "use wider bins; if it did not last that long, the clock of a worker was wrong: see started_at",
        )
    edges = begin + every_s * np.arange(bins + 1)
    frame = pd.DataFrame(index=pd.RangeIndex(len(edges) - 1, name="bin"))
    frame["at"] = pd.to_datetime(edges[:-1], unit="s", utc=True)
    parts = [
        _requests(db, begin, every_s) if evidence.read.rows else _of_history(history, edges),
        _invocations(db, begin, every_s),
        _users(history, edges),
        _throttles(run, functions, begin, every_s),
    ]
    for part in parts:
        frame = frame.join(part)
    for column in ("requests", "failures") if evidence.read.rows or history is not None else ():
        frame[column] = frame[column].fillna(0)
    for column in ("invocations", "cold_starts", "errors", "timeouts"):
        frame[column] = frame[column].fillna(0)
    if not starts_told(db, read_json(run, "manifest.json").get("target")):
        frame["cold_starts"] = None
    frame["requests_per_s"] = frame["requests"] / every_s
    frame["concurrency"] = _concurrency(db, edges)
    frame = frame.reindex(columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(_COUNTS, "Int64"))


def _limit_to(db: duckdb.DuckDBPyConnection, functions: Sequence[str]) -> None:
    if not functions:
        return
    known = {name for (name,) in db.execute("SELECT DISTINCT function FROM invocations").fetchall()}
    unknown = [name for name in functions if name not in known]
    if unknown:
        raise UsageError(f"no invocation of {', '.join(unknown)}", f"there are some of: {', '.join(sorted(known))}")
    chosen = ", ".join(literal(name) for name in functions)
    for source in ("invocations", "log_errors", "correlations"):
        # a temporary view goes before the table or view of the same name
        db.execute(f"CREATE TEMP VIEW {source} AS FROM memory.main.{source} WHERE function IN ({chosen})")


def _history(run: RunDir) -> pd.DataFrame | None:
    """Locust's sums by second, with `second` (epoch) beside them; None for a run without a history."""
    files = sorted(run.path.glob("*_stats_history.csv"))
    if not files:
        return None
    history = locust_csv.read_history(files[0])
    history = history[history["Aggregated"] & history["Timestamp"].notna()].sort_values("Timestamp", kind="stable")
    return history.assign(second=history["Timestamp"].map(lambda at: at.timestamp())) if len(history) else None


def _span(db: duckdb.DuckDBPyConnection, history: pd.DataFrame | None) -> tuple[float, float] | None:
    spans = db.execute(
        """SELECT min(started_at), max(coalesce(started_at, ended_at)) FROM requests
           UNION ALL SELECT min(started_at), max(started_at) FROM invocations"""
    ).fetchall()
    if history is not None:
        spans.append((history["second"].min(), history["second"].max()))
    begins = [begin for begin, _ in spans if begin is not None]
    return (min(begins), max(end for _, end in spans if end is not None)) if begins else None


def _requests(db: duckdb.DuckDBPyConnection, begin: float, every_s: float) -> pd.DataFrame:
    return (
        db.execute(
            f"""SELECT floor((started_at - $begin) / $every_s)::BIGINT AS bin, count(*) AS requests,
                   count(*) FILTER (WHERE NOT ok) AS failures, {_quantiles("client", "response_ms")}
            FROM requests WHERE started_at IS NOT NULL GROUP BY bin""",
            {"begin": begin, "every_s": every_s},
        )
        .df()
        .set_index("bin")
    )


def _invocations(db: duckdb.DuckDBPyConnection, begin: float, every_s: float) -> pd.DataFrame:
    return (
        db.execute(
            f"""SELECT floor((started_at - $begin) / $every_s)::BIGINT AS bin, count(*) AS invocations,
                   count(*) FILTER (WHERE {COLD}) AS cold_starts,
                   count(f.inv) AS errors, count(*) FILTER (WHERE f.timed_out) AS timeouts,
                   {_quantiles("duration", "duration_ms")}
            FROM invocations LEFT JOIN invocation_failures f USING (inv) WHERE started_at IS NOT NULL GROUP BY bin""",
            {"begin": begin, "every_s": every_s},
        )
        .df()
        .set_index("bin")
    )


def _quantiles(prefix: str, column: str) -> str:
    return ", ".join(
        f"quantile_cont({column}, {int(percent) / 100}) AS {prefix}_p{percent}_ms" for percent in _PERCENTILES
    )


def _of_history(history: pd.DataFrame | None, edges: np.ndarray) -> pd.DataFrame:
    """What Locust's history says of each bin: the growth of its totals, and its percentiles at the end of the bin."""
    names = ["requests", "failures", *(f"client_p{percent}_ms" for percent in _PERCENTILES)]
    if history is None:
        return pd.DataFrame(columns=names, index=pd.RangeIndex(0, name="bin"), dtype="Float64")
    seconds = history["second"].to_numpy()
    last = np.searchsorted(seconds, edges, "left") - 1
    found: dict[str, Any] = {}
    for name, column in (("requests", "Total Request Count"), ("failures", "Total Failure Count")):
        totals = history[column].fillna(0).to_numpy(dtype=float)
        at_edges = np.where(last >= 0, totals[np.maximum(last, 0)], 0.0)
        # a reset of Locust's statistics, as when spawning is complete, begins to count from 0 again
        found[name] = np.maximum(np.diff(at_edges), 0.0)
    measured = last[1:] > last[:-1]
    for percent in _PERCENTILES:
        column = f"{percent}%"
        values = (
            history[column].to_numpy(dtype=float, na_value=np.nan)
            if column in history
            else np.full(len(seconds), np.nan)
        )
        found[f"client_p{percent}_ms"] = np.where(measured, values[np.maximum(last[1:], 0)], np.nan)
    return pd.DataFrame(found, index=pd.RangeIndex(len(edges) - 1, name="bin"))


def _users(history: pd.DataFrame | None, edges: np.ndarray) -> pd.DataFrame:
    index = pd.RangeIndex(len(edges) - 1, name="bin")
    if history is None:
        return pd.DataFrame({"users": np.nan}, index=index)
    last = np.searchsorted(history["second"].to_numpy(), edges, "left") - 1
    users = history["User Count"].to_numpy(dtype=float, na_value=np.nan)
    return pd.DataFrame({"users": np.where(last[1:] > last[:-1], users[np.maximum(last[1:], 0)], np.nan)}, index=index)


def _throttles(run: RunDir, functions: Sequence[str], begin: float, every_s: float) -> pd.DataFrame:
    metrics = read_json(run, cloudwatch_metrics.FILE)
    period_s = metrics.get("period_s")
    if not period_s or every_s % period_s or begin % period_s:
        return pd.DataFrame({"throttles": []}, index=pd.RangeIndex(0, name="bin"), dtype=float)
    points = [
        point
        for function, series in (metrics.get("series") or {}).items()
        if not functions or function in functions
        for point in series.get("Throttles", ())
    ]
    frame = pd.DataFrame(points, columns=["second", "throttles"], dtype=float)
    frame["bin"] = ((frame["second"] - begin) // every_s).astype(int)
    return frame.groupby("bin")[["throttles"]].sum()


def _concurrency(db: duckdb.DuckDBPyConnection, edges: np.ndarray) -> np.ndarray:
    known = db.execute(
        f"SELECT {OCCUPIED_FROM} AS begun_at, reported_at FROM invocations "
        "WHERE started_at IS NOT NULL AND reported_at IS NOT NULL"
    ).fetchnumpy()
    return most_at_once(np.asarray(known["begun_at"]), np.asarray(known["reported_at"]), np.asarray(edges, dtype=float))


def pull_if_needed(run: RunDir, settings: Settings) -> int:
    """Fetch the logs of a run that has none yet; -> the exit code that this deserves.

    What cannot be fetched is said, and does not take the client's side away.
    """
    from analysis.pull import pull_showing

    if read_pull(run).get("complete"):
        return OK
    try:
        with at_work_in(run):
            pulled = pull_showing(run, settings, Console(stderr=True))
    except AnalysisError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    for warning in pulled.warnings:
        click.echo(f"warning: {warning}", err=True)
    return OK if pulled.complete else INCOMPLETE


@click.command("bins")
@run_argument
@click.option("--every", default="10s", show_default=True, metavar="TIME", help="Width of a bin.")
@click.option("--function", "functions", multiple=True, metavar="FUNCTION", help="Only this function. Repeatable.")
@format_option("table", "csv", "json")
@dry_run_option
def bins_command(run: str, every: str, functions: tuple[str, ...], form: str, dry_run: bool) -> int:
    """Print what client and logs saw in each time bin of RUN; the logs are fetched first, where they were not."""
    try:
        every_s = parse_timespan(every)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--every") from None
    settings = load_settings()
    found = rundir.find(run, settings.runs_dir)
    if dry_run:
        from analysis.pull import rehearse

        there = read_pull(found).get("complete")
        print_lines(["the logs are there already"] if there else rehearse(found, settings))
        return OK
    exit_code = pull_if_needed(found, settings)
    frame = table(found, every_s, functions)
    if frame["throttles"].isna().all():
        click.echo("throttles: CloudWatch counts them by the minute; --every 1m shows them", err=True)
    written = frame.assign(at=frame["at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    if form == "csv":
        click.echo(written.to_csv(index=False, lineterminator="\n"), nl=False)
    else:
        rows = [{str(name): _plain(value) for name, value in row.items()} for row in written.to_dict("records")]
        if form == "json":
            click.echo(json.dumps(rows, indent=1))
        else:
            to = console()
            terminal.print_table(_drawn("What the client saw", _CLIENT, rows), to)
            to.print()
            terminal.print_table(_drawn("What the functions did", _FUNCTIONS, rows), to)
    return exit_code


def _drawn(title: str, columns: Mapping[str, Column], rows: Iterable[Mapping[str, Any]]) -> Table:
    cells = (Row(tuple(_brief(name, row[name]) for name in columns)) for row in rows)
    return Table(title, tuple(columns.values()), tuple(cells))


def _brief(column: str, value: Any) -> str:
    if column == "at":
        return str(value)[11:19]
    if column.endswith("_ms"):
        return milliseconds(value)
    return decimal(value) if column == "requests_per_s" else count(value)


def _plain(value: Any) -> Any:
    """A cell as JSON has it: what was not measured is null."""
    if pd.isna(value):
        return None
    return value if isinstance(value, str | int) else round(float(value), 3)
