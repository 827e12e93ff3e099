"""What a tuning run found: as a document for machines, as a table, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from analysis.formatting import NOTHING, count, decimal, milliseconds, percent, plural, usd, visible
from analysis.tables import Column, Row, Table, text
from config.prices import Prices, lambda_compute_item
from control.tuning.checks import Check
from control.tuning.figures import LEAST_WARM, WITHIN, Choice, Estimate, MemoryFigures, Strategy

SCHEMA = 1
MILLION = 1_000_000
MOST_TO_TELL = 100_000
"""Invocations at each value: beyond them two values are as good as equal."""
OTHER_ARCHITECTURE = {"x86_64": "arm64", "arm64": "x86_64"}


@dataclass(frozen=True)
class Result:
    """A run's outcome."""

    run_id: str
    function: str
    """Physical name."""
    target: str
    simulated: bool
    region: str
    architecture: str
    """What was measured, and whose price is taken."""
    memory_before_mb: int
    timeout_s: float
    started_at: float
    ended_at: float
    rounds: int
    concurrency: int
    rate_per_s: float | None
    payloads: int
    strategy: Strategy
    weight: float
    figures: Sequence[MemoryFigures]
    choices: Mapping[Strategy, Choice]
    """By each strategy, where any value was measured often enough."""
    prices: Prices
    greatest_late_ms: float
    cut_short: str | None = None
    checks: Sequence[Check] = ()
    kept: Sequence[str] = field(default_factory=list)
    """What was set for good, in words."""

    def usd_per_million(self, gb_s: Estimate | None) -> Estimate | None:
        """Lambda's compute for a million invocations; None where there is no price."""
        price = self.prices.usd(lambda_compute_item(self.architecture), 1.0)
        return None if gb_s is None or price is None else gb_s.times(price * MILLION)

    @property
    def choice(self) -> Choice | None:
        """By the strategy that was asked for; None where no value was measured often enough."""
        return self.choices.get(self.strategy)

    @property
    def too_few(self) -> list[MemoryFigures]:
        """Values that were not stopped, and have too few warm invocations to be compared."""
        return [one for one in self.figures if one.failure is None and not one.compared]

    def num_to_compare(self, one: MemoryFigures) -> int | None:
        """NUM with which a value could be compared. Arrivals at a rate meet in no certain number."""
        return one.num_to_compare(self.concurrency if self.rate_per_s is None else None)

    @property
    def run_usd(self) -> float | None:
        """What the run's own invocations cost: compute and requests, without what the function calls and its logs."""
        compute = self.prices.usd(lambda_compute_item(self.architecture), sum(one.spent_gb_s for one in self.figures))
        requests = self.prices.usd("lambda_requests", sum(one.billed for one in self.figures))
        return None if compute is None or requests is None else compute + requests

    @property
    def chosen(self) -> MemoryFigures | None:
        if self.choice is None:
            return None
        return next(one for one in self.figures if one.memory_mb == self.choice.memory_mb)

    def break_even_ms(self) -> float | None:
        """Mean duration below which the other architecture would be cheaper at the chosen memory; None: not known.

        It was not measured: how long the function takes there, nobody knows before it runs there.
        """
        chosen, other = self.chosen, OTHER_ARCHITECTURE.get(self.architecture)
        if chosen is None or chosen.duration_ms is None or other is None:
            return None
        own, others = (self.prices.usd(lambda_compute_item(name), 1.0) for name in (self.architecture, other))
        return None if not own or not others else chosen.duration_ms.value * own / others

    def document(self) -> dict[str, Any]:
        """`tune.json`."""
        values = []
        for one in self.figures:
            cost = self.usd_per_million(one.gb_s)
            cold_cost = None if one.cold is None else self.usd_per_million(Estimate(one.cold.gb_s))
            shown = asdict(one) | {
                "usd_per_million": None if cost is None else asdict(cost),
                "compared": one.compared,
                "num_to_compare": self.num_to_compare(one) if one in self.too_few else None,
            }
            if one.cold is not None:
                shown["cold"]["usd_per_million"] = None if cold_cost is None else cold_cost.value
            shown["score"] = None if self.choice is None else self.choice.scores.get(one.memory_mb)
            values.append(shown)
        return {
            "schema": SCHEMA,
            "run": {
                "id": self.run_id,
                "function": self.function,
                "target": self.target,
                "simulated": self.simulated,
                "region": self.region,
                "architecture": self.architecture,
                "memory_before_mb": self.memory_before_mb,
                "timeout_s": self.timeout_s,
                "started_at": self.started_at,
                "ended_at": self.ended_at,
                "rounds": self.rounds,
                "concurrency": self.concurrency,
                "rate_per_s": self.rate_per_s,
                "payloads": self.payloads,
                "greatest_late_ms": self.greatest_late_ms,
                "cut_short": self.cut_short,
                "cost_usd": self.run_usd,
            },
            "values": values,
            "least_warm": LEAST_WARM,
            "strategy": self.strategy,
            "choice": None if self.choice is None else _chosen(self.choice),
            "choices": {strategy: _chosen(choice) for strategy, choice in self.choices.items()},
            "prices": {
                "source": str(self.prices),
                "usd_per_gb_s": {name: self.prices.usd(lambda_compute_item(name), 1.0) for name in OTHER_ARCHITECTURE},
                "usd_per_million_requests": self.prices.usd("lambda_requests", MILLION),
            },
            "other_architecture": {
                "name": OTHER_ARCHITECTURE.get(self.architecture),
                "measured": False,
                "cheaper_below_ms": self.break_even_ms(),
            },
            "checks": [asdict(check) for check in self.checks],
            "kept": list(self.kept),
        }


def _chosen(choice: Choice) -> dict[str, Any]:
    return {key: value for key, value in asdict(choice).items() if key != "scores"}


def _not_compared(result: Result) -> str:
    few = result.too_few
    said = _listed([f"{one.memory_mb} MB ({count(one.warm)})" for one in few])
    needed = [number for one in few if (number := result.num_to_compare(one)) is not None]
    if result.cut_short is not None:
        advice = "the run was cut short"
    elif needed:
        advice = f"{'' if result.rate_per_s is None else 'about '}NUM={max(needed)} would do"
    else:
        advice = "what hindered them is to be mended first"
    return (
        f"Not compared, for fewer than {LEAST_WARM} invocations were warm: {said}. "
        f"Of so few the interval means little; {advice}."
    )


def _what_would_tell(choice: Choice) -> str:
    within_reach = sorted((number, mb) for mb, number in choice.num_to_tell.items() if number <= MOST_TO_TELL)
    if not within_reach:
        return "More invocations would hardly tell: as measured they are as good as equal."
    needed = _listed([f"NUM={count(_two_digits(number))} ({mb} MB)" for number, mb in within_reach])
    return f"More invocations would tell; if they are as far apart as measured, about {needed}."


def _two_digits(number: int) -> int:
    """Rounded: it is an estimate of an estimate."""
    return int(float(f"{number:.1e}"))


def headline(result: Result) -> str:
    """`512 MB by balanced: 81.4 ms, $0.6790 per million`."""
    choice, chosen = result.choice, result.chosen
    if choice is None or chosen is None or chosen.duration_ms is None:
        measured = any(one.duration_ms is not None for one in result.figures)
        return "Nothing is chosen: too few warm invocations" if measured else "Nothing could be measured"
    cost = result.usd_per_million(chosen.gb_s)
    by = f"balanced, weight {choice.weight:g}" if choice.strategy == "balanced" else choice.strategy
    paid = "" if cost is None else f", {usd(cost.value)} per million"
    return f"{choice.memory_mb} MB by {by}: {milliseconds(chosen.duration_ms.value)} ms{paid}"


def remarks(result: Result) -> Iterator[str]:
    """What a reader must know beside the table, a line each."""
    choice, chosen = result.choice, result.chosen
    if choice is not None and choice.tied_mb:
        tied = _listed([f"{value} MB" for value in sorted(choice.tied_mb)])
        yield (
            f"Tied: {tied} cannot be told from {choice.best_mb} MB, the best as measured"
            + ("" if choice.memory_mb == choice.best_mb else f"; {_why_not_best(choice)}")
            + f". {_what_would_tell(choice)}"
        )
    if result.too_few:
        yield _not_compared(result)
    if choice is not None and chosen is not None:
        before = next((one for one in result.figures if one.memory_mb == result.memory_before_mb), None)
        if before is None:
            yield f"$LATEST has {result.memory_before_mb} MB, which was not among the values."
        elif before is chosen:
            yield f"$LATEST has {result.memory_before_mb} MB already."
        elif before.compared and before.duration_ms and before.gb_s and chosen.duration_ms and chosen.gb_s:
            yield (
                f"Against {result.memory_before_mb} MB, which $LATEST has: duration "
                f"{_change(chosen.duration_ms.value, before.duration_ms.value)}, cost "
                f"{_change(chosen.gb_s.value, before.gb_s.value)}."
            )
    others = [f"{choice.memory_mb} MB by {name}" for name, choice in result.choices.items() if name != result.strategy]
    if others:
        yield f"It would be {_listed(others)}."
    for one in result.figures:
        value = f"{one.memory_mb} MB"
        if one.failure is not None:
            yield f"{value} was stopped after {plural(one.invocations, 'invocation')}: {visible(one.failure)}"
        if one.throttled:
            yield f"{value}: {count(one.throttled)} throttled."
        if one.lost:
            yield f"{value}: {count(one.lost)} could not be measured: {visible(one.why_lost)}"
    break_even, other = result.break_even_ms(), OTHER_ARCHITECTURE.get(result.architecture)
    if break_even is not None:
        yield (
            f"Measured and priced on {result.architecture}. On {other}, which was not measured, it would be cheaper "
            f"if it took less than {milliseconds(break_even)} ms."
        )
    requests = result.prices.usd("lambda_requests", MILLION)
    if requests is not None:
        yield f"Cost is Lambda's compute; requests are {usd(requests)} per million at every memory."
    else:
        yield f"{result.prices.why_unknown('lambda_requests')}; values were compared by GB-seconds."
    if result.rate_per_s is not None and result.greatest_late_ms >= 1000 / result.rate_per_s:
        yield f"Arrivals were up to {milliseconds(result.greatest_late_ms)} ms late: raise the concurrency."
    if result.cut_short is not None:
        yield f"Cut short: {result.cut_short}"
    tried = sum(one.invocations for one in result.figures)
    yield f"The run: {plural(tried, 'invocation')}, {usd(result.run_usd)}, {result.run_id}."


def table(result: Result) -> Table:
    """A row for each memory value."""
    choice = result.choice
    rows = []
    for one in result.figures:
        cost = result.usd_per_million(one.gb_s)
        cold = one.cold
        verdict = ""
        if one.failure is not None:
            verdict = "stopped"
        elif one in result.too_few:
            verdict = "too few"
        elif choice is not None and one.memory_mb == choice.memory_mb:
            verdict = "chosen"
        elif choice is not None and one.memory_mb in (choice.best_mb, *choice.tied_mb):
            verdict = "tied"
        cells = (
            str(one.memory_mb),
            count(one.warm),
            _number(one.duration_ms),
            _interval(one.duration_ms),
            milliseconds(one.p95_ms),
            NOTHING if cost is None else decimal(cost.value),
            NOTHING if cost is None else _interval(cost),
            count(cold.invocations if cold else None),
            milliseconds(None if cold is None else cold.init_ms + cold.duration_ms),
            count(one.max_memory_mb),
            verdict,
        )
        tone = {"chosen": "good", "tied": "warn", "too few": "warn", "stopped": "bad"}.get(verdict)
        rows.append(Row(cells, tone))  # type: ignore[arg-type]
    return Table(
        f"{visible(result.function)} by memory",
        (
            Column("memory", "MB"),
            Column("warm"),
            Column("mean", "ms"),
            Column("95 %", "ms"),
            Column("p95", "ms"),
            Column("cost", "$/M"),
            Column("95 %", "$/M"),
            Column("cold"),
            Column("with init", "ms"),
            Column("used", "MB"),
            text("choice"),
        ),
        tuple(rows),
    )


def checks_table(result: Result) -> Table:
    """What had to hold before anything was set for good."""
    return Table(
        "Checks",
        (text("check"), text(""), text("found")),
        tuple(
            Row(
                (check.name, "pass" if check.passed else "fail", visible(check.detail)),
                "good" if check.passed else "bad",
            )
            for check in result.checks
        ),
    )


def _number(estimate: Estimate | None) -> str:
    return milliseconds(None if estimate is None else estimate.value)


def _interval(estimate: Estimate | None) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return NOTHING
    return f"{decimal(estimate.low)}–{decimal(estimate.high)}"


def _change(value: float, before: float) -> str:
    return f"{100 * (value / before - 1):+.0f} %" if before else NOTHING


def _why_not_best(choice: Choice) -> str:
    better = "cheaper" if choice.strategy == "speed" else "faster"
    return f"{choice.memory_mb} MB is within {percent(WITHIN)} of it, and {better}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
