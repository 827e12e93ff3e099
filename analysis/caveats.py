"""What keeps a run from being whole, and what a reader should know of it besides: one line each, for the summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from analysis.clocks import rows_far_off
from analysis.evidence import Evidence
from analysis.formatting import date_and_time, plural, share, timespan, usd
from analysis.join import Coverage, counts
from analysis.requests_table import UNINVOKED
from analysis.run_facts import RunFacts, has_functions
from analysis.starts import starts_told
from runstore.rundir import ABORTED, COMPLETE

STRANGERS_TOLERATED = 0.01
"""Share of the invocations that may answer no request before the summary warns of others who use the functions."""
COVERAGE_WANTED = 0.99
"""Share of the requests that reached a function that should be joined to it; below it the summary warns."""

_STATES = {
    "interrupted": "the run was interrupted: what was recorded until then is analysed",
    "failed": "the run failed: what was recorded until then is analysed",
    "running": "the run is still going, or its load generator was killed: what was recorded so far is analysed",
    None: "manifest.json does not say how the run ended",
}


def shortcomings(facts: RunFacts, evidence: Evidence, coverage: Coverage) -> Iterator[str]:
    """What makes the run or its data incomplete."""
    manifest, pulled = facts.manifest, facts.pulled
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
    elif not pulled and has_functions(manifest):
        yield "the logs were not fetched: `python -m analysis analyze` does"
    elif pulled and not coverage.invocations and coverage.requests != _uninvoked(evidence.db):
        yield "the logs hold no invocation of this run"


def _shortfall(worker: Mapping[str, Any]) -> str:
    """How far the load fell short without a worker, as the end of a sentence."""
    short = worker.get("shortfall")
    if not short:
        return ""
    lasted = timespan(short["until"] - short["from"])
    return f"; without it the load was {share(short['share'])} below the plan for {lasted}"


def _uninvoked(db: duckdb.DuckDBPyConnection) -> int:
    """Requests of which no invocation is to be expected."""
    return int(counts(db, f"SELECT count(*) FROM requests WHERE sent AND {UNINVOKED}")[0])


def reservations(facts: RunFacts, db: duckdb.DuckDBPyConnection, coverage: Coverage) -> Iterator[str]:
    """What a reader should know, and does not make the run incomplete."""
    manifest, pulled = facts.manifest, facts.pulled
    yield from manifest.get("warnings") or ()
    for worker in manifest.get("workers") or ():
        if worker.get("left_at") is not None:
            yield f"worker {worker.get('index')} left at {date_and_time(worker['left_at'])}{_shortfall(worker)}"
    yield from pulled.get("warnings") or ()
    if not pulled and not has_functions(manifest):
        yield "no function is known for this run: only the client's side was analysed"
    elif pulled and coverage.reached_matched < COVERAGE_WANTED * coverage.reached:
        yield (
            f"{coverage.reached_matched} of {coverage.reached} requests known to have reached a function were joined "
            "to their invocation: see `join`"
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


def _limit_reached(aborted: Mapping[str, Any]) -> str:
    """Which of the user's limits ended the run, with what was found and what is allowed."""
    value, allowed = aborted.get("value"), aborted.get("allowed")
    if aborted["limit"] == "MAX_COST_USD":
        found = "what no price is known of" if value is None else usd(value)
        return f"MAX_COST_USD ended the run: its requests had cost about {found}, {usd(allowed)} are allowed"
    return f"{aborted['limit']} ended the run: {value} users, {allowed} are allowed"


def _lacks_memory(db: duckdb.DuckDBPyConnection) -> bool:
    invocations, measured = counts(db, "SELECT count(*), count(max_memory_mb) FROM invocations")
    return bool(invocations and not measured)
