"""One tuning run against a function: publish, measure, choose, keep what was asked for, take everything else back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from config.errors import ConfigError
from config.prices import Prices, lambda_compute_item, lambda_gb_s
from control.function_configuration import architecture_of, timeout_s_of
from control.temporary_versions.journal import Journal
from control.temporary_versions.place import Place
from control.temporary_versions.taking_back import taken_back
from control.tuning import checks
from control.tuning.figures import STRATEGIES, Strategy, choose, figures
from control.tuning.measuring import Invocation, Invoker, measure
from control.tuning.payloads import Payload
from control.tuning.result import Result
from control.tuning.schedule import Call, calls
from control.tuning.versions import TunedVersion, TunedVersions

ROWS = "invocations.jsonl"


@dataclass(frozen=True)
class Plan:
    """What to measure, and what to do with the result."""

    memory_mb: tuple[int, ...]
    """In ascending order."""
    rounds: int
    """Invocations at each value."""
    payloads: Sequence[Payload]
    concurrency: int = 1
    rate_per_s: float | None = None
    """Arrivals; None: as fast as `concurrency` goes."""
    strategy: Strategy = "cost"
    weight: float = 0.5
    seed: int = 1
    apply: bool = False
    promote: str | None = None
    """An alias to move to the chosen version."""
    max_cost_usd: float | None = None


@dataclass(frozen=True)
class Edge:
    """Time and what is told of progress."""

    clock: Callable[[], float]
    """Epoch seconds."""
    sleep: Callable[[float], None]
    say: Callable[[str], None]
    count: Callable[[int], None] = lambda invocations: None
    """Told how many invocations have ended."""


def tune(
    plan: Plan,
    place: Place,
    function: TunedVersions,
    invoke_client: Any,
    directory: Path,
    edge: Edge,
    store: Callable[[Result], None],
) -> Result:
    """Do it all. `directory`: empty, for journal and rows; `store` is handed the result, and again when it was kept.

    However this is left, what the run changed is taken back, or stands in the journal. Raises ConfigError,
    VersionsError, LeftoversError, botocore's errors, KeyboardInterrupt.
    """
    before = function.configuration()
    alias = None if plan.promote is None else function.alias(plan.promote)
    if plan.promote is not None and alias is None:
        raise ConfigError(f"PROMOTE: {before['FunctionName']} has no alias {plan.promote!r}")
    journal = Journal.create(directory, place.found(directory.name, function, before))
    with taken_back(function, journal, edge.say):
        edge.say(f"publishing a version of {before['FunctionName']} for each of {len(plan.memory_mb)} memory values")
        versions = function.publish(plan.memory_mb, journal)
        aliases = {one.memory_mb: one.alias for one in versions}
        invoke = Invoker(invoke_client, function.name, aliases, plan.payloads, edge.clock)
        result = measure_versions(plan, place, before, invoke, directory, edge)
        store(result)
        if plan.apply or plan.promote is not None:
            result = _keep(plan, result, function, journal, before, alias, versions)
            store(result)
    return result


def measure_versions(
    plan: Plan,
    place: Place,
    before: dict[str, Any],
    invoke: Callable[[Call], Invocation],
    directory: Path,
    edge: Edge,
) -> Result:
    """Invoke what was published, and choose. `before`: the configuration of $LATEST."""
    planned = calls(
        plan.memory_mb,
        [payload.weight for payload in plan.payloads],
        plan.rounds,
        plan.rate_per_s,
        Random(plan.seed),
    )
    architecture = architecture_of(before)
    budget = _Budget(place.prices, architecture, plan.max_cost_usd)
    taken: list[Invocation] = []
    started_at = edge.clock()
    with (directory / ROWS).open("w", encoding="utf-8", buffering=1) as rows:

        def take(invocation: Invocation) -> bool:
            taken.append(invocation)
            rows.write(json.dumps(invocation.row(), separators=(",", ":")) + "\n")
            edge.count(len(taken))
            return budget.allows(invocation)

        edge.say(f"invoking: {plan.rounds} times at each value")
        measure(planned, invoke, concurrency=plan.concurrency, clock=edge.clock, sleep=edge.sleep, take=take)
    of_values = figures(plan.memory_mb, taken)
    return Result(
        run_id=directory.name,
        function=before["FunctionName"],
        target=place.target,
        simulated=place.simulated,
        region=place.region,
        architecture=architecture,
        memory_before_mb=before["MemorySize"],
        timeout_s=timeout_s_of(before),
        started_at=started_at,
        ended_at=edge.clock(),
        rounds=plan.rounds,
        concurrency=plan.concurrency,
        rate_per_s=plan.rate_per_s,
        payloads=len(plan.payloads),
        strategy=plan.strategy,
        weight=plan.weight,
        figures=of_values,
        choices={
            strategy: choice
            for strategy in STRATEGIES
            if (choice := choose(of_values, taken, strategy, plan.weight)) is not None
        },
        prices=place.prices,
        greatest_late_ms=max((one.late_ms for one in taken), default=0.0),
        cut_short=budget.exceeded,
    )


class _Budget:
    """MAX_COST_USD, while the run goes."""

    def __init__(self, prices: Prices, architecture: str, max_usd: float | None) -> None:
        self._usd_per_gb_s = prices.usd(lambda_compute_item(architecture), 1.0)
        self._usd_per_request = prices.usd("lambda_requests", 1.0)
        self._max_usd = max_usd
        self._usd = 0.0
        self.exceeded: str | None = None

    def allows(self, invocation: Invocation) -> bool:
        if self._usd_per_gb_s is not None and invocation.billed_ms is not None:
            gb_s = lambda_gb_s(invocation.billed_ms, invocation.call.memory_mb)
            self._usd += gb_s * self._usd_per_gb_s + (self._usd_per_request or 0.0)
        if self._max_usd is not None and self._usd > self._max_usd:
            self.exceeded = f"MAX_COST_USD={self._max_usd:g} is spent"
        return self.exceeded is None


def _keep(
    plan: Plan,
    result: Result,
    function: TunedVersions,
    journal: Journal,
    before: dict[str, Any],
    alias: dict[str, Any] | None,
    versions: Sequence[TunedVersion],
) -> Result:
    """Set the choice for good, as far as the plan says so and every check passed."""
    choice, chosen = result.choice, result.chosen
    made = checks.of_run(result.figures, choice, result.cut_short)
    if choice is None or chosen is None:
        return replace(result, checks=made)
    made += checks.of_measurement(choice, chosen, result.timeout_s)
    version = next(one.version for one in versions if one.memory_mb == choice.memory_mb)
    now = None
    if plan.apply:
        made += checks.of_latest(before, function.configuration())
    if plan.promote is not None:
        now = function.alias(plan.promote)
        points_to = None if now is None else function.configuration(now["FunctionVersion"])
        made += checks.of_alias(plan.promote, alias, now, points_to, function.configuration(version))
    kept = []
    if all(check.passed for check in made):
        if now is not None:
            function.promote(now, version, journal)
            kept.append(f"alias {plan.promote} points to version {version} with {choice.memory_mb} MB")
        if plan.apply:
            function.apply(choice.memory_mb, journal)
            kept.append(f"$LATEST has {choice.memory_mb} MB")
    return replace(result, checks=made, kept=kept)
