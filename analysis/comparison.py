"""One run against another: of each figure whether it is worse, better, the same for all that matters, or not known.

The change from A to B has an interval (`analysis.bootstrap`), and `within` says what change would not matter:

    no difference    the interval lies inside ±within, so that a difference, if there is one, is too small to matter
    worse, better    it does not hold 0 (and reaches beyond `within`)
    inconclusive     anything else: more requests would decide, and about how many is said
    no data          a run does not have the figure, or not of the same things: a cost without what SNS took, say,
                     whose metric had not arrived

Times and costs change by a factor, and their interval is one of the ratio; rates change by a difference, for which
`within` is of A's rate, or RATE_WITHIN where that is more. Of all figures less is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from analysis import errors
from analysis.baseline import Baseline
from analysis.bootstrap import NO_DATA, Estimate, error_together, error_with_more, interval_half_width
from config.prices import ITEMS

WITHIN = 0.05
CONFIDENCE = 0.95
RATE_WITHIN = 0.001
"""Of a rate, a tenth of a percentage point never matters."""

Kind = Literal["ms", "rate", "usd"]
Outcome = Literal["worse", "better", "no difference", "inconclusive", "no data"]


@dataclass(frozen=True)
class Metric:
    name: str
    label: str
    kind: Kind


METRICS = (
    Metric("p50_ms", "p50", "ms"),
    Metric("p95_ms", "p95", "ms"),
    Metric("p99_ms", "p99", "ms"),
    Metric("error_rate", "error rate", "rate"),
    Metric("cold_start_rate", "cold-start rate", "rate"),
    Metric("cost_per_million_usd", "cost per million", "usd"),
    Metric("dropped_rate", "dropped arrivals", "rate"),
)
"""The last one of runs in the open model only."""


@dataclass(frozen=True)
class Compared:
    """One figure. `change`, `low` and `high` are relative to A (0.1: a tenth more), of a rate its difference."""

    metric: str
    """The name of one of METRICS."""
    a: float | None
    b: float | None
    change: float | None
    low: float | None
    """The interval; None, like `high`, where nobody can tell."""
    high: float | None
    verdict: Outcome
    requests_to_decide: int | None
    """Where inconclusive: how many requests each run should have. None: their number is not what is lacking."""
    why: str | None


@dataclass(frozen=True)
class Difference:
    """Something that should be the same in both runs, and is not."""

    fact: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Comparison:
    a: Baseline
    b: Baseline
    within: float
    confidence: float
    differences: tuple[Difference, ...]
    metrics: tuple[Compared, ...]

    @property
    def complete(self) -> bool:
        return self.a.complete and self.b.complete

    @property
    def verdict(self) -> Outcome:
        """Of all figures together: the gravest of them."""
        found = {one.verdict for one in self.metrics}
        order: tuple[Outcome, ...] = ("worse", "inconclusive", "better", "no difference")
        return next((outcome for outcome in order if outcome in found), "no data")

    @property
    def exit_code(self) -> int:
        if not self.complete:
            return errors.INCOMPLETE
        if self.verdict == "worse":
            return errors.THRESHOLD_FAILED
        # A run whose arrivals were all dropped has no error rate: that it is not worse is no good news.
        lost = any(one.a is not None and one.b is None for one in self.metrics) or bool(_lacking(self.b, self.a))
        return errors.INCOMPLETE if lost else errors.OK

    def as_dict(self) -> dict[str, Any]:
        """For `--format json`."""
        sides = {
            side: {
                "label": of.label,
                "simulated": of.simulated,
                "complete": of.complete,
                "resampled": of.resampled,
            }
            for side, of in (("a", self.a), ("b", self.b))
        }
        return {
            "schema": 1,
            **sides,
            "verdict": self.verdict,
            "within": self.within,
            "confidence": self.confidence,
            "differences": [asdict(one) for one in self.differences],
            "metrics": [asdict(one) for one in self.metrics],
        }


def compare(a: Baseline, b: Baseline, *, within: float = WITHIN, confidence: float = CONFIDENCE) -> Comparison:
    """B against A."""
    requests = a.resampled["requests"], b.resampled["requests"]
    return Comparison(
        a=a,
        b=b,
        within=within,
        confidence=confidence,
        differences=tuple(
            Difference(name, a.facts[name], b.facts[name])
            for name in a.facts
            if name in b.facts and a.facts[name] != b.facts[name]
        ),
        metrics=tuple(
            judge(
                metric,
                _estimate(metric, a, b),
                _estimate(metric, b, a),
                requests,
                within,
                confidence,
            )
            for metric in METRICS
            if metric.name in a.metrics or metric.name in b.metrics
        ),
    )


def _estimate(metric: Metric, of: Baseline, beside: Baseline) -> Estimate:
    """A figure of one side, as far as it can be held against that of the other."""
    if metric.name == "cost_per_million_usd" and (lacking := _lacking(of, beside)):
        services = (ITEMS[item].service if item in ITEMS else item for item in lacking)
        return Estimate(None, why=f"its cost lacks {', '.join(services)}")
    return of.metrics.get(metric.name, NO_DATA)


def _lacking(of: Baseline, beside: Baseline) -> list[str]:
    """What is not in the cost of one side and is in that of the other, if there is any.

    Nothing where it is not known of both: a baseline of an earlier version is compared as it always was.
    """
    if of.unpriced is None or beside.unpriced is None:
        return []
    return [item for item in of.unpriced if item not in beside.unpriced]


def judge(
    metric: Metric, a: Estimate, b: Estimate, requests: tuple[int, int], within: float, confidence: float
) -> Compared:
    """One figure of two runs of so many requests."""
    absolute = metric.kind == "rate"
    if a.value is None or b.value is None:
        lacking = [(side, one) for side, one in (("A", a), ("B", b)) if one.value is None]
        return _known(metric, a, b, None, None, None, "no data", why=_reasons(lacking))
    change = b.value - a.value if absolute else b.value / a.value - 1 if a.value else None
    unknown: Sequence[tuple[str, Estimate]] = [
        (side, one) for side, one in (("A", a), ("B", b)) if one.error is None or one.requests_needed is not None
    ]
    needed = [one.requests_needed for _, one in unknown]
    enough = None if None in needed else max((number for number in needed if number is not None), default=None)
    if change is None or a.error is None or b.error is None or a.freedom is None or b.freedom is None:
        return _known(metric, a, b, change, None, None, "inconclusive", enough, _reasons(unknown) or None)

    if absolute:
        distance, margin = change, max(within * a.value, RATE_WITHIN)
        bound = margin
    else:
        distance, margin = math.log1p(change), within
        bound = math.log1p(margin)
    low = high = None
    if not unknown:
        half = interval_half_width(*error_together([(a.error, a.freedom), (b.error, b.freedom)]), confidence)
        low, high = (end if absolute else _factor(end) for end in (distance - half, distance + half))
        if -margin < low and high < margin:
            return _known(metric, a, b, change, low, high, "no difference")
        if low > 0 or high < 0:
            return _known(metric, a, b, change, low, high, "worse" if low > 0 else "better")
    # The interval must leave either 0 or the bounds of the margin, whichever is nearer.
    wanted = max(abs(distance), bound - abs(distance))
    decisive = max(_requests_for(wanted, ((a, requests[0]), (b, requests[1])), confidence), enough or 0)
    return _known(metric, a, b, change, low, high, "inconclusive", _round_up(decisive), _reasons(unknown) or None)


def _requests_for(half_width: float, sides: Sequence[tuple[Estimate, int]], confidence: float) -> float:
    """How many requests each side should have for an interval of this half width; who has more keeps them."""

    def is_enough(requests: float) -> bool:
        errors = [error_with_more(one, max(requests / max(number, 1), 1.0)) for one, number in sides]
        return interval_half_width(*error_together(errors), confidence) <= half_width

    few = many = float(max(min(number for _, number in sides), 1))
    while not is_enough(many):
        few, many = many, 2 * many
    while many - few > 0.005 * many:
        middle = (few + many) / 2
        few, many = (few, middle) if is_enough(middle) else (middle, many)
    return many


def _reasons(unknown: Sequence[tuple[str, Estimate]]) -> str:
    """`A: nothing was measured; B: ...`, both sides together where they have the same reason."""
    reasons = {one.why: [side for side, other in unknown if other.why == one.why] for _, one in unknown}
    return "; ".join(f"{' and '.join(sides)}: {reason}" for reason, sides in reasons.items())


def _known(
    metric: Metric,
    a: Estimate,
    b: Estimate,
    change: float | None,
    low: float | None,
    high: float | None,
    verdict: Outcome,
    requests_to_decide: int | None = None,
    why: str | None = None,
) -> Compared:
    return Compared(metric.name, a.value, b.value, change, low, high, verdict, requests_to_decide, why)


def _factor(logarithm: float) -> float:
    """A relative change from its logarithm; one beyond all measure stays a number."""
    return math.expm1(min(logarithm, 50.0))


def _round_up(requests: float) -> int:
    """To two digits: it is an estimate."""
    unit = 10 ** max(math.floor(math.log10(max(requests, 1))) - 1, 0)
    return int(math.ceil(requests / unit) * unit)
