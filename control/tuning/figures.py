"""What was measured at each memory value, how sure that is, and which value is best.

Every figure is of warm invocations; cold ones have figures of their own, and what failed is in none.

**Intervals.** A round gave every value one invocation with the same payload, so whole rounds are resampled (1,000
draws): what a round has in common, such as its payload or a slow moment, stands or falls together. The standard error
is the spread over the draws, the interval takes Student's t on it, as `analysis.bootstrap` does with environments;
which environment served an invocation is not in the tail of its log.

**Compared** is what has LEAST_WARM warm invocations. The spread over resamples of n units is itself uncertain by about
1 / sqrt(2 (n - 1)) of it: a quarter with ten, a half with three; of one there is none.

**Best.** By `cost` the least GB-seconds, by `speed` the least mean duration, by `balanced` the least

    weight * cost / (greatest cost) + (1 - weight) * duration / (greatest duration)

as AWS Lambda Power Tuning defines it (https://github.com/alexcasalboni/aws-lambda-power-tuning, lambda/analyzer.js:
weight 0 is speed, 1 is cost, 0.5 the default).

**Ties.** A value is tied with the best where the interval of the difference between the two, over the same draws, holds
0. The confidence of each is raised (Bonferroni) so that with 95 % the one that is really best is the best or among the
tied. Of the best and what is tied with it and no more than WITHIN worse, `speed` takes the cheapest and `cost` the
fastest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.bootstrap import RESAMPLES, SEED, interval_half_width
from config.prices import lambda_gb_s
from control.tuning.measuring import Invocation

Strategy = Literal["cost", "speed", "balanced"]
STRATEGIES: tuple[Strategy, ...] = ("cost", "speed", "balanced")
CONFIDENCE = 0.95
LEAST_WARM = 10
"""Warm invocations that a memory value needs to be compared with others."""
WITHIN = 0.02
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval."""

    value: float
    low: float | None = None
    """None: a single invocation has no interval."""
    high: float | None = None

    def times(self, factor: float) -> Estimate:
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Estimate(self.value * factor, low, high)


@dataclass(frozen=True)
class Cold:
    """The cold starts at a memory value, means."""

    invocations: int
    init_ms: float
    duration_ms: float
    """Without the init."""
    gb_s: float
    """Billed, init included."""


@dataclass(frozen=True)
class MemoryFigures:
    """One memory value. None: nothing was measured."""

    memory_mb: int
    invocations: int
    """Tried."""
    warm: int
    throttled: int
    lost: int
    why_lost: str | None
    """Of the first that was lost."""
    failure: str | None
    """Why the value was stopped; it has no figures then."""
    duration_ms: Estimate | None
    p95_ms: float | None
    slowest_ms: float | None
    """Duration and init of the slowest, cold ones included: what the timeout is for."""
    gb_s: Estimate | None
    """Billed for an invocation."""
    max_memory_mb: int | None
    cold: Cold | None
    spent_gb_s: float
    """Billed for all invocations at this value, whatever became of them."""
    billed: int
    """Invocations that were billed."""

    @property
    def compared(self) -> bool:
        """Whether it was measured often enough to be chosen, or not."""
        return self.warm >= LEAST_WARM

    def num_to_compare(self, concurrency: int | None) -> int | None:
        """Invocations that would leave LEAST_WARM warm ones, if as large a share is lost or throttled again.

        `concurrency`: each invocation under way at a time may be a cold start; None: as many as were. None is returned
        where none was warm though not all were cold: more of them would be as vain, as far as anybody knows.
        """
        cold = self.cold.invocations if self.cold is not None else 0
        not_cold = self.invocations - cold
        if not_cold and not self.warm:
            return None
        share = self.warm / not_cold if not_cold else 1.0
        return max(cold, concurrency or 0) + math.ceil(LEAST_WARM / share)


@dataclass(frozen=True)
class Choice:
    """The best memory value by a strategy."""

    strategy: Strategy
    weight: float
    """Of cost; used by `balanced`."""
    memory_mb: int
    best_mb: int
    """The least score as measured; another than `memory_mb` where that is as good and better in the other respect."""
    tied_mb: tuple[int, ...]
    """What cannot be told apart from the best, without the best itself."""
    scores: dict[int, float]
    num_to_tell: dict[int, int] = field(default_factory=dict)
    """Of what is tied: about so many invocations at each value would tell it from the best, if both are as far apart as
    measured. What was measured equal is not in it."""


def figures(memory_mb: Sequence[int], invocations: Sequence[Invocation]) -> list[MemoryFigures]:
    """One for each memory value, in their order."""
    duration, billed = _matrix(memory_mb, invocations, "duration_ms"), _matrix(memory_mb, invocations, "billed_ms")
    draws = _draws(len(duration))
    found = []
    for column, value in enumerate(memory_mb):
        mine = [one for one in invocations if one.call.memory_mb == value]
        failure = next((one.error or "it failed" for one in mine if one.outcome == "failed"), None)
        warm = [one for one in mine if one.outcome == "warm"] if failure is None else []
        cold = [one for one in mine if one.outcome == "cold"] if failure is None else []
        durations = [one.duration_ms for one in warm if one.duration_ms is not None]
        used = [one.max_memory_mb for one in (*warm, *cold) if one.max_memory_mb is not None]
        paid = [one.billed_ms for one in mine if one.billed_ms is not None]
        gb_s = _estimate(billed[:, column], draws) if durations else None
        found.append(
            MemoryFigures(
                memory_mb=value,
                invocations=len(mine),
                warm=len(warm),
                throttled=sum(one.outcome == "throttled" for one in mine),
                lost=sum(one.outcome == "lost" for one in mine),
                why_lost=next((one.error for one in mine if one.outcome == "lost"), None),
                failure=failure,
                duration_ms=_estimate(duration[:, column], draws) if durations else None,
                p95_ms=float(np.quantile(durations, 0.95)) if durations else None,
                slowest_ms=max(((one.duration_ms or 0) + (one.init_ms or 0) for one in (*warm, *cold)), default=None),
                gb_s=None if gb_s is None else gb_s.times(lambda_gb_s(1, value)),
                max_memory_mb=max(used, default=None),
                cold=_cold(cold, value),
                spent_gb_s=lambda_gb_s(sum(paid), value),
                billed=len(paid),
            )
        )
    return found


def choose(
    found: Sequence[MemoryFigures], invocations: Sequence[Invocation], strategy: Strategy, weight: float = 0.5
) -> Choice | None:
    """The best of the values that can be compared, from their invocations; None where there is none."""
    measured = [one.memory_mb for one in found if one.compared]
    if not measured:
        return None
    duration = _matrix(measured, invocations, "duration_ms")
    gb_s = _matrix(measured, invocations, "billed_ms") * [lambda_gb_s(1, value) for value in measured]
    everything = np.ones((1, len(duration)))
    scores = _scores(_means(gb_s, everything), _means(duration, everything), strategy, weight)[0]
    best = int(np.argmin(scores))
    draws = _draws(len(duration))
    drawn = _scores(_means(gb_s, draws), _means(duration, draws), strategy, weight)
    warm = (~np.isnan(duration)).sum(axis=0)
    others = [column for column in range(len(measured)) if column != best]
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(others))
    tied, num_to_tell = [], {}
    for other in others:
        rounds = int(min(warm[best], warm[other]))
        error = _error(drawn[:, other] - drawn[:, best], rounds)
        difference = float(scores[other] - scores[best])
        half_width = interval_half_width(error, rounds - 1, confidence)
        if difference <= half_width:
            tied.append(other)
        if 0 < difference <= half_width:
            # The width goes with the square root of the invocations.
            num_to_tell[measured[other]] = math.ceil(rounds * (half_width / difference) ** 2)
    as_good = [best, *(other for other in tied if scores[other] <= scores[best] * (1 + WITHIN))]
    other_measure = {"cost": duration, "speed": gb_s}.get(strategy)
    chosen = best if other_measure is None else min(as_good, key=_means(other_measure, everything)[0].__getitem__)
    return Choice(
        strategy=strategy,
        weight=weight,
        memory_mb=measured[chosen],
        best_mb=measured[best],
        tied_mb=tuple(measured[other] for other in tied),
        scores={value: float(score) for value, score in zip(measured, scores, strict=True)},
        num_to_tell=num_to_tell,
    )


def _scores(gb_s: Floats, duration_ms: Floats, strategy: Strategy, weight: float) -> Floats:
    """(draws, values), the less the better."""
    if strategy == "cost":
        return gb_s
    if strategy == "speed":
        return duration_ms
    relative_cost = gb_s / np.fmax.reduce(gb_s, axis=1, keepdims=True)
    relative_duration = duration_ms / np.fmax.reduce(duration_ms, axis=1, keepdims=True)
    return np.asarray(weight * relative_cost + (1 - weight) * relative_duration)


def _matrix(memory_mb: Sequence[int], invocations: Sequence[Invocation], figure: str) -> Floats:
    """(rounds, values): a figure of the warm invocation; NaN where there was none."""
    rounds = max((one.call.round for one in invocations), default=-1) + 1
    found = np.full((rounds, len(memory_mb)), np.nan)
    column = {value: number for number, value in enumerate(memory_mb)}
    for one in invocations:
        if one.outcome == "warm" and one.call.memory_mb in column:
            found[one.call.round, column[one.call.memory_mb]] = getattr(one, figure)
    return found


def _draws(rounds: int) -> Floats:
    """(draws, rounds): how often each round is in each draw."""
    if not rounds:
        return np.zeros((RESAMPLES, 0))
    random = np.random.default_rng(SEED)
    return random.multinomial(rounds, np.full(rounds, 1 / rounds), RESAMPLES).astype(np.float64)


def _means(matrix: Floats, draws: Floats) -> Floats:
    """(draws, values): the mean over the rounds of each draw, of those that have a figure; NaN where none has."""
    there = ~np.isnan(matrix)
    with np.errstate(invalid="ignore"):
        return np.asarray((draws @ np.where(there, matrix, 0.0)) / (draws @ there.astype(np.float64)))


def _estimate(figure: Floats, draws: Floats) -> Estimate:
    there = figure[~np.isnan(figure)]
    value, rounds = float(there.mean()), len(there)
    if rounds < 2:
        return Estimate(value)
    half = interval_half_width(_error(_means(figure[:, None], draws)[:, 0], rounds), rounds - 1, CONFIDENCE)
    return Estimate(value, max(0.0, value - half), value + half)


def _error(drawn: Floats, rounds: int) -> float:
    """The standard error from the draws; n resampled units, two at least, understate it by sqrt(1 - 1/n)."""
    return float(np.nanstd(drawn) * np.sqrt(rounds / (rounds - 1)))


def _cold(invocations: Sequence[Invocation], memory_mb: int) -> Cold | None:
    if not invocations:
        return None

    def mean(figure: str) -> float:
        return float(np.mean([getattr(one, figure) for one in invocations]))

    return Cold(len(invocations), mean("init_ms"), mean("duration_ms"), lambda_gb_s(mean("billed_ms"), memory_mb))
