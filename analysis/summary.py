"""`summary.json`: everything the analysis has to say about a run, as one dictionary.

Built from the run's files alone (requests-*.csv, what the pull wrote, manifest.json), so that it can be built again
anywhere, any time. Where nothing was measured a value is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from analysis import cloudwatch_metrics, deployment, table_snapshot
from analysis.breakdown import breakdown
from analysis.causes import root_causes
from analysis.chains import Settling, chains, change_between
from analysis.clocks import clocks, create_clock_offsets, rows_far_off
from analysis.cold_starts import cold_start_shares
from analysis.cost import UNKNOWN_REGION, RunFacts, measure, price
from analysis.endpoints import client
from analysis.errors import DataFormatError
from analysis.evidence import Evidence
from analysis.formatting import date_and_time, plural, share, timespan, usd
from analysis.functions import Limits, create_measured_invocations, functions
from analysis.join import Coverage, counts
from analysis.metrics import disagreements, expectations, judge_metrics
from analysis.run_files import SUMMARY_SCHEMA, read_json, read_pull
from analysis.starts import create_starts, starts_told
from analysis.thresholds import judge_thresholds
from analysis.windows import worst_window
from config.metric_limits import MetricLimits, load_metric_limits
from config.prices import load_prices
from config.thresholds import Threshold, parse_threshold
from runstore.rundir import ABORTED, COMPLETE, RunDir

STRANGERS_TOLERATED = 0.01
"""Share of the invocations that may answer no request before the summary warns of others who use the functions."""
COVERAGE_WANTED = 0.99
"""Share of the requests that reached a function that should be joined to it; below it the summary warns."""
CHAIN_LIMIT_S = 60.0
"""A profile's default."""

_STATES = {
    "interrupted": "the run was interrupted: what was recorded until then is analysed",
    "failed": "the run failed: what was recorded until then is analysed",
    "running": "the run is still going, or its load generator was killed: what was recorded so far is analysed",
    None: "manifest.json does not say how the run ended",
}


def build_summary(
    run: RunDir,
    evidence: Evidence,
    coverage: Coverage,
    limits: Limits | None = None,
    also: tuple[str, ...] = (),
    metric_limits: MetricLimits | None = None,
) -> dict[str, Any]:
    """The summary of a run whose requests and invocations are joined (`analysis.join`).

    `also`: what makes the run's data incomplete and stands in none of its files, one line each. `metric_limits`: what
    CloudWatch metrics should hold; None for the shipped ones.
    """
    db, manifest = evidence.db, read_json(run, "manifest.json")
    pulled, metrics = read_pull(run), read_json(run, cloudwatch_metrics.FILE)
    deployed = read_json(run, deployment.FILE)
    create_measured_invocations(db)
    create_starts(db)
    create_clock_offsets(db)
    of_client = client(db)
    of_functions = functions(
        db,
        manifest.get("functions") or () if pulled else (),
        metrics.get("functions") or {},
        limits or Limits(),
        starts_told=starts_told(db, manifest.get("target")),
    )
    expected = expectations(db, of_functions, metrics, deployed)
    shortcomings = [*also, *_shortcomings(manifest, pulled, evidence, coverage)]
    summary: dict[str, Any] = {
        "schema": SUMMARY_SCHEMA,
        "run": {
            "id": manifest.get("run_id", run.run_id),
            "profile": (manifest.get("profile") or {}).get("name"),
            "flows": list(manifest.get("flows") or ()),
            "target": manifest.get("target"),
            "simulated": manifest.get("simulated"),
            "region": manifest.get("region"),
            "started_at": manifest.get("started_at"),
            "ended_at": manifest.get("ended_at"),
            "workers": list(manifest.get("workers") or ()),
            "complete": not shortcomings,
            "aborted": manifest.get("aborted"),
            "warnings": list(
                dict.fromkeys(
                    (
                        *shortcomings,
                        *_warnings(db, manifest, pulled, coverage),
                        *disagreements(metrics, expected),
                    )
                )
            ),
        },
        "client": of_client,
        "functions": of_functions,
        "cold_start_shares": cold_start_shares(db),
        "join": coverage.as_dict(),
        "clocks": clocks(db, manifest.get("workers") or ()),
        "breakdown": breakdown(db),
        "chains": chains(
            db,
            _settling(manifest, pulled),
            _table_changes(run),
            (manifest.get("custom_flow") or {}).get("chains") or (),
        ),
        "root_causes": root_causes(db, deployed),
        "breakpoint": manifest.get("breakpoint"),
        "metrics": judge_metrics(metrics, expected, metric_limits or load_metric_limits()),
        "custom_metrics": metrics.get("custom") or [],
        "cost": price(
            measure(db, RunFacts(manifest, pulled, metrics, deployed)),
            load_prices(manifest.get("region") or UNKNOWN_REGION),
            of_client["requests"],
            simulated=manifest.get("simulated"),
        ),
    }
    judged = judge_thresholds(
        summary, _thresholds(manifest), lambda threshold: worst_window(db, threshold), manifest.get("aborted")
    )
    return finite({**summary, "thresholds": judged})


def finite(value: Any) -> Any:
    """The same structure with None for numbers that are none: JSON has no infinity, which a sum of absurd times is."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _thresholds(manifest: Mapping[str, Any]) -> list[Threshold]:
    """Those that the run must hold; a search for the breakpoint is there to break the others."""
    profile = manifest.get("profile") or {}
    try:
        parsed = [parse_threshold(text, action) for text, action in (profile.get("thresholds") or {}).items()]
    except ValueError as unknown:
        raise DataFormatError(f"manifest.json: a threshold of the profile: {unknown}", "mend it there") from None
    return [threshold for threshold in parsed if not profile.get("breakpoint") or threshold.action == "abort"]


def _lacks_memory(db: duckdb.DuckDBPyConnection) -> bool:
    invocations, measured = counts(db, "SELECT count(*), count(max_memory_mb) FROM invocations")
    return bool(invocations and not measured)


def _settling(manifest: Mapping[str, Any], pulled: Mapping[str, Any]) -> Settling:
    limit_s = (manifest.get("profile") or {}).get("chain_limit_s") or CHAIN_LIMIT_S
    whole = bool(pulled.get("complete"))
    return Settling(
        limit_s=limit_s,
        watched_until=(pulled.get("watched_until") or manifest.get("ended_at")) if whole else None,
        settled=manifest.get("settled_at") is not None,
    )


def _limit_reached(aborted: Mapping[str, Any]) -> str:
    """Which of the user's limits ended the run, with what was found and what is allowed."""
    value, allowed = aborted.get("value"), aborted.get("allowed")
    if aborted["limit"] == "MAX_COST_USD":
        found = "what no price is known of" if value is None else usd(value)
        return f"MAX_COST_USD ended the run: its requests had cost about {found}, {usd(allowed)} are allowed"
    return f"{aborted['limit']} ended the run: {value} users, {allowed} are allowed"


def _table_changes(run: RunDir) -> dict[str, dict[str, dict[str, float]]]:
    """Logical table -> what changed in it from the snapshot before the run to the one after."""
    before = read_json(run, table_snapshot.BEFORE).get("tables") or {}
    after = read_json(run, table_snapshot.AFTER).get("tables") or {}
    return {table: change_between(before[table], after[table]) for table in before if table in after}


def _shortcomings(
    manifest: Mapping[str, Any], pulled: Mapping[str, Any], evidence: Evidence, coverage: Coverage
) -> Iterator[str]:
    """What makes the run or its data incomplete."""
    state = manifest.get("state")
    if state not in (COMPLETE, ABORTED):
        yield _STATES.get(state, f"the run ended as {state!r}")
    if (aborted := manifest.get("aborted") or {}).get("limit"):
        yield _limit_reached(aborted)
    for worker in manifest.get("workers") or ():
        lost, missing = worker.get("lost_at") is not None, worker.get("missing_rows")
        if lost or missing:
            rows = f"{missing} of its rows are missing" if missing else "its last second may be missing"
            heard = f", last heard at {date_and_time(worker['lost_at'])}" if lost else ""
            ended = "was lost" if lost else "did not hand over everything"
            yield f"worker {worker.get('index')} {ended}: {rows}{heard}{_shortfall(worker)}"
        elif worker.get("failed"):
            yield f"worker {worker.get('index')} could not send: {worker['failed']}{_shortfall(worker)}"
    read = evidence.read
    if not read.rows:
        yield "no request was recorded: look at the load generator's own output"
    for file, count in read.unreadable.items():
        yield f"{file}: {plural(count, 'line')} could not be read and stayed out"
    for file, count in read.missing.items():
        yield f"{file}: {plural(count, 'row')} missing in between"
    for file, count in read.repeated.items():
        yield f"{file}: {plural(count, 'row')} repeated"
    for file, original in read.copies.items():
        yield f"{file} begins with the same row as {original}: a copy counts every request again, so take it away"
    if pulled and not pulled.get("complete"):
        yield "the logs were not fetched whole: figures of functions, joins and causes may be too low"
    elif not pulled and _has_functions(manifest):
        yield "the logs were not fetched: `python -m analysis analyze` does"
    elif pulled and not coverage.invocations and coverage.requests != _dry_runs(evidence.db):
        yield "the logs hold no invocation of this run"


def _shortfall(worker: Mapping[str, Any]) -> str:
    """How far the load fell short without a worker, as the end of a sentence."""
    short = worker.get("shortfall")
    if not short:
        return ""
    lasted = timespan(short["until"] - short["from"])
    return f"; without it the load was {share(short['share'])} below the plan for {lasted}"


def _dry_runs(db: duckdb.DuckDBPyConnection) -> int:
    """Direct invokes that Lambda only checked."""
    return int(counts(db, "SELECT count(*) FROM requests WHERE sent AND method = 'Invoke' AND status = 204")[0])


def _has_functions(manifest: Mapping[str, Any]) -> bool:
    return bool(manifest.get("functions") or manifest.get("log_groups"))


def _warnings(
    db: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any], pulled: Mapping[str, Any], coverage: Coverage
) -> Iterator[str]:
    """What a reader should know, and does not make the run incomplete."""
    yield from manifest.get("warnings") or ()
    for worker in manifest.get("workers") or ():
        if worker.get("left_at") is not None:
            yield f"worker {worker.get('index')} left at {date_and_time(worker['left_at'])}{_shortfall(worker)}"
    yield from pulled.get("warnings") or ()
    if not pulled and not _has_functions(manifest):
        yield "no function is known for this run: only the client's side was analysed"
    elif coverage.reached_matched < COVERAGE_WANTED * coverage.reached:
        yield (
            f"{coverage.reached_matched} of {coverage.reached} requests that reached a function were joined to their "
            "invocation: see `join`"
        )
    if not starts_told(db, manifest.get("target")):
        yield "the logs tell nothing of how environments began: cold starts are not known"
    if _lacks_memory(db):
        yield "no REPORT line tells how much memory was used"
    for worker, rows in rows_far_off(db).items():
        yield (
            f"worker {worker}: {plural(rows, 'request')} began a week or more away from the others by its clock, which "
            "cannot be right: they count, and have no part in rates, windows and the picture over time"
        )
    yield from _mixed_with_others(pulled, coverage)
    orphans = db.execute("SELECT count(*) FROM log_errors ANTI JOIN error_owners USING (line)").fetchone()
    if orphans and orphans[0]:
        yield f"{plural(orphans[0], 'error line')} of invocations that left no REPORT line: counted nowhere"


def _mixed_with_others(pulled: Mapping[str, Any], coverage: Coverage) -> Iterator[str]:
    """Events are a run's by their time: who else used the functions at that time is in its figures."""
    strangers, invocations = f"{coverage.unmatched_invocations:,}", plural(coverage.invocations, "invocation")
    told = f"{strangers} of {invocations} answer no request of this run"
    others = pulled.get("overlapping_runs") or ()
    for other in others:
        yield (
            f"run {other['run_id']} used the same functions from {date_and_time(other['started_at'])} to "
            f"{date_and_time(other['ended_at'])}, at the same time as this one: {told}, and figures of functions, "
            "metrics and cost are those of both"
        )
    if not others and coverage.unmatched_invocations > STRANGERS_TOLERATED * coverage.invocations:
        yield (
            f"{told} (unjoined.csv lists them): somebody else may have used the functions at the same time, and is in "
            "their figures, metrics and cost"
        )
