"""`summary.json`: everything the analysis has to say about a run, as one dictionary.

Built from the run's files alone (requests-*.csv, what the pull wrote, manifest.json), so that it can be built again
anywhere, any time. Where nothing was measured a value is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from analysis.breakdown import breakdown
from analysis.causes import root_causes
from analysis.caveats import reservations, shortcomings
from analysis.chains import Settling, chains, change_between
from analysis.clocks import clocks, create_clock_offsets
from analysis.cold_starts import cold_start_shares
from analysis.cost import UNKNOWN_REGION, measure, price
from analysis.endpoints import client
from analysis.errors import DataFormatError
from analysis.evidence import Evidence
from analysis.functions import Limits, create_calls, create_measured_invocations, functions
from analysis.join import Coverage
from analysis.metrics import disagreements, expectations, judge_metrics
from analysis.run_facts import RunFacts
from analysis.run_files import SUMMARY_SCHEMA
from analysis.starts import create_starts, starts_told
from analysis.thresholds import judge_thresholds
from analysis.windows import worst_window
from config.metric_limits import MetricLimits, load_metric_limits
from config.prices import load_prices
from config.thresholds import Threshold, parse_threshold

CHAIN_LIMIT_S = 60.0
"""A profile's default."""


def build_summary(
    run_id: str,
    facts: RunFacts,
    evidence: Evidence,
    coverage: Coverage,
    limits: Limits | None = None,
    also: tuple[str, ...] = (),
    metric_limits: MetricLimits | None = None,
) -> dict[str, Any]:
    """The summary of a run whose requests and invocations are joined (`analysis.join`).

    `run_id`: of a run without a manifest. `also`: what makes the run's data incomplete and stands in none of its files,
    one line each. `metric_limits`: what CloudWatch metrics should hold; None for the shipped ones. Raises
    DataFormatError for a threshold of the manifest's that is none.
    """
    db, manifest, metrics = evidence.db, facts.manifest, facts.metrics
    thresholds = _thresholds(facts.profile)
    create_measured_invocations(db)
    create_starts(db, facts.pulled.get("started_at"))
    create_clock_offsets(db)
    told = starts_told(db, manifest.get("target"))
    create_calls(db, starts_told=told)
    of_client = client(db)
    of_functions = functions(
        db,
        manifest.get("functions") or () if facts.pulled else (),
        metrics.get("functions") or {},
        limits or Limits(),
        starts_told=told,
    )
    expected = expectations(db, of_functions, metrics, facts.deployment)
    incomplete = [*also, *shortcomings(facts, evidence, coverage)]
    warnings = [*incomplete, *reservations(facts, db, coverage), *disagreements(metrics, expected)]
    summary: dict[str, Any] = {
        "schema": SUMMARY_SCHEMA,
        "run": {**_about(run_id, facts), "complete": not incomplete, "warnings": list(dict.fromkeys(warnings))},
        "client": of_client,
        "functions": of_functions,
        "cold_start_shares": cold_start_shares(db),
        "join": coverage.as_dict(),
        "clocks": clocks(db, manifest.get("workers") or ()),
        "breakdown": breakdown(db),
        "chains": chains(
            db,
            _settling(facts),
            _table_changes(facts),
            (manifest.get("custom_flow") or {}).get("chains") or (),
        ),
        "root_causes": root_causes(db, facts.deployment),
        "breakpoint": manifest.get("breakpoint"),
        "metrics": judge_metrics(metrics, expected, metric_limits or load_metric_limits()),
        "custom_metrics": metrics.get("custom") or [],
        "cost": price(
            measure(db, facts),
            load_prices(manifest.get("region") or UNKNOWN_REGION),
            of_client["requests"],
            simulated=manifest.get("simulated"),
        ),
    }
    judged = judge_thresholds(
        summary, thresholds, lambda threshold: worst_window(db, threshold), manifest.get("aborted")
    )
    return finite({**summary, "thresholds": judged})


def _about(run_id: str, facts: RunFacts) -> dict[str, Any]:
    """What the manifest says of the run."""
    manifest = facts.manifest
    said = ("target", "simulated", "region", "started_at", "ended_at", "aborted")
    return {
        "id": manifest.get("run_id") or run_id,
        "profile": facts.profile.get("name"),
        **{name: list(manifest.get(name) or ()) for name in ("flows", "workers")},
        **{name: manifest.get(name) for name in said},
    }


def finite(value: Any) -> Any:
    """The same structure with None for numbers that are none: JSON has no infinity, which a sum of absurd times is."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _thresholds(profile: Mapping[str, Any]) -> list[Threshold]:
    """Those that the run must hold; a search for the breakpoint is there to break the others."""
    try:
        parsed = [parse_threshold(text, action) for text, action in (profile.get("thresholds") or {}).items()]
    except ValueError as unknown:
        raise DataFormatError(f"manifest.json: a threshold of the profile: {unknown}", "mend it there") from None
    return [threshold for threshold in parsed if not profile.get("breakpoint") or threshold.action == "abort"]


def _settling(facts: RunFacts) -> Settling:
    watched_until = facts.pulled.get("watched_until") or facts.manifest.get("ended_at")
    return Settling(
        limit_s=facts.profile.get("chain_limit_s") or CHAIN_LIMIT_S,
        watched_until=watched_until if facts.pulled.get("complete") else None,
        settled=facts.manifest.get("settled_at") is not None,
        logged=frozenset(facts.pulled.get("log_groups") or ()),
    )


def _table_changes(facts: RunFacts) -> dict[str, dict[str, dict[str, float]]]:
    """Logical table -> what changed in it from the snapshot before the run to the one after."""
    both = facts.tables_before.keys() & facts.tables_after.keys()
    return {table: change_between(facts.tables_before[table], facts.tables_after[table]) for table in both}
