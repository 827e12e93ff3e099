"""What the run is going to cost, by service, and whether the limits allow it. Pure.

An earlier run of the same flows says what a request takes of each service; without one the plan does, as far as it is
known: Lambda's time from given or measured durations and the memory configured, one record, message, write and decrypt
for each that the sample applications make. What nobody knows is None, said so, and in no sum. Free tiers are not taken
off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analysis.formatting import count, usd
from config.budget import Sending, budget_problems, planned_usd
from config.prices import ITEMS, BillLine, Prices, bill, lambda_compute_item, lambda_gb_s, lambda_provisioned_item
from config.profiles import Profile
from config.settings import Settings
from control.preflight.capacity import Durations
from control.preflight.demand import OF_STREAM, Demand
from control.preflight.facts import Api, Facts, Measured, Stream, Unknown
from control.preflight.rows import FAIL, PASS, WARN, Row

_BY_TIME = frozenset({"kinesis_shard_hours"})
_BY_ANALYSIS = frozenset({"metrics_read"})
"""Asked once a run, however many requests there were."""


@dataclass(frozen=True)
class Estimate:
    """The bill that is to be expected."""

    lines: tuple[BillLine, ...]
    source: str
    """`run 2026…` or `the plan`."""
    notes: tuple[str, ...] = ()
    """What else is not in it."""

    @property
    def usd(self) -> float | None:
        """Of all items with a price; None where none has."""
        known = [line.usd for line in self.lines if line.usd is not None]
        return sum(known) if known else None

    @property
    def missing(self) -> list[str]:
        """What is not in the sum."""
        return [*(line.why_unknown for line in self.lines if line.why_unknown is not None), *self.notes]


def estimate(demand: Demand, facts: Facts, durations: Durations, prices: Prices, sampled_share: float) -> Estimate:
    """What the run is expected to cost."""
    measured = durations.measured
    if measured is not None and durations.same_flows and measured.quantities and not durations.given:
        of_plan = planned(demand, facts, durations, sampled_share)
        # What no run can measure, such as the requests of a key, the plan knows.
        return Estimate(tuple(bill(prices, of_plan | scaled(demand, measured))), f"run {measured.run_id}")
    batched = [logical for logical, trigger in demand.triggers.items() if trigger == OF_STREAM]
    notes = [f"invocations of {', '.join(batched)}: how many batches they get nobody knows"] if batched else []
    lines = bill(prices, planned(demand, facts, durations, sampled_share))
    return Estimate(tuple(lines), "the plan", tuple(notes))


def scaled(demand: Demand, measured: Measured) -> dict[str, float | None]:
    """The quantities of an earlier run, by requests, and what goes by the clock by time."""
    by_requests = None if demand.requests is None or not measured.requests else demand.requests / measured.requests
    by_time = None if demand.duration_s is None or measured.duration_s <= 0 else demand.duration_s / measured.duration_s
    found: dict[str, float | None] = {}
    for item, quantity in measured.quantities.items():
        factor = 1.0 if item in _BY_ANALYSIS else by_time if item in _BY_TIME else by_requests
        found[item] = None if factor is None else quantity * factor
    return found


def planned(demand: Demand, facts: Facts, durations: Durations, sampled_share: float) -> dict[str, float | None]:
    """The quantities that follow from the plan."""
    found: dict[str, float | None] = {}
    calls = demand.total("function")
    found["lambda_requests"] = calls
    for logical, trigger in demand.triggers.items():
        there = facts.there(logical)
        if not there or trigger == OF_STREAM:
            continue  # consumers of streams get batches: how many nobody knows
        invocations, duration_ms = demand.total("function", logical), durations.of(logical)
        for function in there:  # flow direct calls its qualifiers in turns
            item = lambda_compute_item(function.architecture)
            gb_s = (
                None
                if invocations is None or duration_ms is None or logical in demand.unknown_share
                else lambda_gb_s(invocations / len(there) * duration_ms, function.memory_mb)
            )
            before = found.get(item, 0.0)
            found[item] = None if gb_s is None or before is None else before + gb_s
        if isinstance(there[0].provisioned, Unknown) or demand.duration_s is None:
            continue
        for kept in there[0].provisioned:
            # One that is not called is paid for, too; its memory is not known.
            function = next((one for one in there if one.qualifier == kept.qualifier), there[0])
            item = lambda_provisioned_item(function.architecture)
            gb_s = lambda_gb_s(kept.requested * demand.duration_s * 1000, function.memory_mb)
            found[item] = (found.get(item) or 0.0) + gb_s
    if demand.names("api"):
        kind = facts.api.kind if isinstance(facts.api, Api) else "rest"
        found[f"api_{kind}_requests"] = demand.total("api")
    if demand.names("stream"):
        streams = [facts.streams.get(name) for name in demand.names("stream")]
        hours = None if demand.duration_s is None else demand.duration_s / 3600
        provisioned = [one for one in streams if isinstance(one, Stream) and one.mode == "PROVISIONED"]
        whole = len(provisioned) == len(streams)
        found["kinesis_shard_hours"] = sum(one.shards for one in provisioned) * hours if whole and hours else None
        found["kinesis_put_units"] = demand.total("stream") if whole else None
    for kind, item in (
        ("topic", "sns_publishes"),
        ("queue", "sqs_requests"),
        ("bus", "eventbridge_events"),
        ("write", "dynamodb_write_units"),
        ("read", "dynamodb_read_units"),
        ("decrypt", "kms_requests"),
    ):
        if demand.names(kind):
            found[item] = demand.total(kind)
    if sampled_share:
        found["xray_traces"] = None if demand.requests is None else demand.requests * sampled_share
    found["logs_ingested_gb"] = None
    return found


def cost(found: Estimate, *, simulated: bool) -> Row:
    """The sum, and what is not in it."""
    total = found.usd
    without = sorted({ITEMS[line.item].service for line in found.lines if line.usd is None})
    missing = f"; without {', '.join(without)}" if without else ""
    charged = "AWS would charge" if simulated else "about"
    if total is None:
        return Row("cost", "", WARN, f"not known{missing}", "add prices below config/prices, or run it once small")
    return Row("cost", "", PASS, f"{charged} {usd(total)}, by {found.source}{missing}")


def limits(settings: Settings, profile: Profile, prices: Prices, sending: Sending) -> list[Row]:
    """MAX_USERS and MAX_COST_USD against the plan, as a run is held against them before it starts."""
    rows = []
    if settings.max_users is not None:
        asked = profile.peak_users
        what = "users" if profile.model == "closed" else "open requests a process (max_in_flight)"
        said = f"{count(asked)} {what} planned, {count(settings.max_users)} allowed"
        over = asked > settings.max_users
        rows.append(
            Row("limits", "MAX_USERS", FAIL if over else PASS, said, "lower SCALE, or raise it" if over else "")
        )
    if settings.max_cost_usd is not None:
        problems = budget_problems(settings, profile, prices, sending)
        rows += [
            Row("limits", "MAX_COST_USD", FAIL, problem.removeprefix("MAX_COST_USD: "), "the run would be refused")
            for problem in problems
        ]
        if not problems:
            plans = planned_usd(prices, profile, sending)
            said = "the plan says no number of requests" if plans is None else f"requests planned for {usd(plans)}"
            rows.append(
                Row(
                    "limits",
                    "MAX_COST_USD",
                    PASS,
                    f"{said}, {usd(settings.max_cost_usd)} allowed; a run that reaches it is ended",
                )
            )
    return rows


def as_dict(found: Estimate) -> dict[str, Any]:
    """For JSON."""
    return {
        "usd": found.usd,
        "source": found.source,
        "items": [
            {
                "item": line.item,
                "service": ITEMS[line.item].service,
                "quantity": line.quantity,
                "unit": ITEMS[line.item].unit,
                "usd": line.usd,
            }
            for line in found.lines
        ],
        "missing": found.missing,
    }
