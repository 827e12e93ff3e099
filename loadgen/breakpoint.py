"""The search for the breakpoint while a run goes: the highest arrival rate at which the thresholds hold.

    settling -> holding -> (held) the next rate
                        -> (broken) resting, until every open request is answered -> the next rate

Which rate is next is the business of `loadgen.bracketing`. A rate is judged by the live figures of its hold alone:

- a threshold with a window breaks the rate as soon as one such window, wholly inside the hold, breaks it; one without a
  window is judged over the whole hold, at its end. A threshold that nothing was measured for does not hold.
- arrivals dropped because all `max_in_flight` slots were taken break it too: the rate was never on the target. Then
  `max_in_flight` is what was found, not the target's limit, and the result says so.
- where the generator itself was at its limit (a process above CPU_LIMIT_PERCENT of a core over the hold, schedule lag
  p99 above the profile's limit, or fewer arrivals offered than wanted) nothing was measured of the target at all. What
  comes late comes in clumps, which break a target that would hold. The rate is tried again; after SATURATED_TRIES in a
  row the search ends and its result is void.

Pure: time is an argument, in seconds of the clock of the live figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from config.profiles import BreakpointPlan
from config.thresholds import Threshold
from loadgen.abort import live_value
from loadgen.bracketing import Bracketing
from loadgen.live import LiveFigures, LiveWindow

CPU_LIMIT_PERCENT = 90.0
OFFERED_SHARE = 0.9
"""Fewer arrivals than this share of those wanted, and by more than chance explains: the generator fell short."""
SATURATED_TRIES = 3
MOST_STEPS = 60
"""A search that needs more is of a target that wavers too much to have a breakpoint."""
SHORTEST_REST_S = 2.0
"""Until workers have heard that the rate is 0, and told how many requests they have open."""

HELD, BROKE, CAPPED, SATURATED = "held", "broke", "capped", "saturated"
"""Outcomes of a step: `capped` is broken by dropped arrivals, `saturated` by the generator."""

FOUND, AT_MOST, COST, GENERATOR, NOT_RECOVERED, STEPS = "found", "max", "cost", "generator", "not recovered", "steps"
"""Why a search ended: the gap is narrow and both ends certain; the profile's `max` holds; MAX_COST_USD; the generator
is at its limit; the target did not answer what it had open; too many steps. None: the run ended before the search."""


@dataclass(frozen=True)
class Step:
    """One try of one rate."""

    rate: float
    """Arrivals a second that were wanted."""
    began_at: float
    """Epoch seconds: the rate was asked for."""
    judged_from: float
    judged_until: float
    outcome: str
    reason: str | None
    """What broke: the expression of a threshold, or what was wrong in words. None where the rate held."""
    value: float | None
    """What was measured of that threshold; None where nothing was, or it was none."""
    offered_rps: float | None
    rps: float | None
    error_rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    dropped: int
    in_flight: int
    lag_p99_ms: float | None
    cpu_percent: float | None
    """Of the busiest process."""


Cost = Callable[[LiveFigures], float | None]
"""figures -> what the requests so far cost in USD; None where it is not known."""


class Breakpoint:
    """One search, from its first look at the figures on."""

    def __init__(
        self,
        plan: BreakpointPlan,
        thresholds: Sequence[Threshold],
        warmup_s: float,
        cost: Cost,
        max_cost_usd: float | None,
        epoch: float,
    ) -> None:
        """`thresholds`: those with action `fail` say what holds. `epoch`: epoch seconds when the clock was 0."""
        self._plan = plan
        self._thresholds = [threshold for threshold in thresholds if threshold.action == "fail"]
        self._warmup_s = warmup_s
        self._cost = cost
        self._max_cost_usd = max_cost_usd
        self._epoch = epoch
        unit = plan.rate_per_user
        self._search = Bracketing(
            start=max(1, round(plan.start_rate / unit)),
            most=round(plan.max_rate / unit),
            growth=plan.growth,
            precision=plan.precision,
            confirmations=plan.confirmations,
        )
        self._users: int | None = self._search.next()
        """Of the step that goes or, while the target rests, of the next one."""
        self._began: float | None = None
        """When that step began; None before it."""
        self._in_flight_before = 0
        """At the first moment of its hold that was looked at."""
        self._holding = False
        self._resting_since: float | None = None
        self._saturated = 0
        """Steps in a row, up to now, that say nothing of the target."""
        self._usd: float | None = None
        self.steps: list[Step] = []
        self.ended_by: str | None = None

    @property
    def first_users(self) -> int:
        """What to begin with, before there are any figures."""
        assert self._users is not None
        return self._users

    def users(self, figures: LiveFigures, now: float) -> int | None:
        """How many of Locust's users there should be; None where the search is over. Ask about once a second."""
        if self.ended_by is None:
            self._usd = self._cost(figures)
            if self._max_cost_usd is not None and self._usd is not None and self._usd >= self._max_cost_usd:
                self.ended_by = COST
            elif self._resting_since is not None:
                self._rest(figures, now, self._resting_since)
            elif self._began is None:
                self._began = now
            else:
                self._look(figures, now, self._began)
        if self.ended_by is not None:
            return None
        return 0 if self._resting_since is not None else self._users

    def result(self) -> dict[str, Any]:
        """What is known so far, as plain data for the manifest: rates are arrivals a second, or None."""
        held, broken = self._search.highest_held, self._search.lowest_broken
        breaking = [step for step in self.steps if broken is not None and step.rate == self._rate(broken)]
        limited_by = next((step for step in breaking if step.outcome in (BROKE, CAPPED)), None)
        return {
            "rate": None if held is None else self._rate(held),
            "void": self.ended_by == GENERATOR,
            "ended_by": self.ended_by,
            "reason": self.steps[-1].reason if self.ended_by == GENERATOR else None,
            "held": self._votes(held),
            "lowest_broken": None if broken is None else self._rate(broken),
            "broken": self._votes(broken),
            "limited_by": None if limited_by is None else limited_by.reason,
            "capped": limited_by is not None and limited_by.outcome == CAPPED,
            "precision": self._plan.precision,
            "hold_s": self._plan.hold_s,
            "cost_usd": self._usd,
            "max_cost_usd": self._max_cost_usd,
            "thresholds": [threshold.text for threshold in self._thresholds],
            "steps": [asdict(step) for step in self.steps],
        }

    def _rate(self, users: int) -> float:
        return round(users * self._plan.rate_per_user, 6)

    def _votes(self, users: int | None) -> dict[str, int] | None:
        if users is None:
            return None
        votes = self._search.votes[users]
        return {"held": votes.held, "broke": votes.broken}

    def _rest(self, figures: LiveFigures, now: float, since: float) -> None:
        """Wait for the target to answer all that it has, and at least for as long as a rate takes to settle."""
        rested_s = now - since
        if rested_s >= max(self._plan.settle_s, SHORTEST_REST_S) and not figures.in_flight(now):
            self._resting_since, self._began = None, now
        elif rested_s >= self._plan.recovery_limit_s:
            self.ended_by = NOT_RECOVERED

    def _look(self, figures: LiveFigures, now: float, began: float) -> None:
        """Judge the rate, as far as it can be judged by now."""
        judged_from = began + self._plan.settle_s + (0.0 if self.steps else self._warmup_s)
        if now < judged_from:
            return
        if not self._holding:
            self._holding = True
            self._in_flight_before = figures.in_flight(now)
        held_s = now - judged_from
        over = held_s >= self._plan.hold_s
        broken = self._broken(figures, now, held_s, over)
        if broken is None and not over:
            return
        step = self._step(figures.over(now, held_s), figures.in_flight(now), now, began, judged_from, broken)
        self.steps.append(step)
        self._go_on(step, now)

    def _broken(
        self, figures: LiveFigures, now: float, held_s: float, over: bool
    ) -> tuple[Threshold, float | None] | None:
        """The first threshold that the rate breaks, with the value that does."""
        for threshold in self._thresholds:
            window_s = threshold.window_s
            if window_s is None:
                if not over:
                    continue
                window_s = held_s
            if held_s >= window_s:
                value = live_value(figures.over(now, window_s, threshold.scope), threshold.metric)
                if value is None or not threshold.holds(value):
                    return threshold, value
        return None

    def _step(
        self,
        window: LiveWindow,
        in_flight: int,
        now: float,
        began: float,
        judged_from: float,
        broken: tuple[Threshold, float | None] | None,
    ) -> Step:
        assert self._users is not None
        rate = self._rate(self._users)
        # What was started is what ended and what is open more than before.
        started = max(0, window.offered + in_flight - self._in_flight_before)
        offered_rps = started / window.span_s if window.span_s else None
        outcome, reason, value = HELD, None, None
        if saturated := self._saturation(window, started, rate):
            outcome, reason = SATURATED, saturated
        elif broken is not None:
            outcome, reason, value = BROKE, broken[0].text, broken[1]
        elif window.dropped:
            outcome = CAPPED
            reason = f"max_in_flight: {window.dropped} of {window.offered} arrivals found no free slot"
        return Step(
            rate=rate,
            began_at=self._epoch + began,
            judged_from=self._epoch + judged_from,
            judged_until=self._epoch + now,
            outcome=outcome,
            reason=reason,
            value=value,
            offered_rps=offered_rps,
            rps=window.rps,
            error_rate=window.error_rate,
            p50_ms=window.percentile_ms(0.5),
            p95_ms=window.percentile_ms(0.95),
            p99_ms=window.percentile_ms(0.99),
            dropped=window.dropped,
            in_flight=in_flight,
            lag_p99_ms=window.lag_percentile_ms(0.99),
            cpu_percent=max(window.cpu_percent.values(), default=None),
        )

    def _saturation(self, window: LiveWindow, started: int, rate: float) -> str | None:
        """How the generator was at its limit; None where it was not."""
        process, cpu_percent = max(window.cpu_percent.items(), key=lambda item: item[1], default=("", 0.0))
        if cpu_percent > CPU_LIMIT_PERCENT:
            return f"process {process} took {cpu_percent:.0f} % of a core, more than {CPU_LIMIT_PERCENT:.0f} %"
        lag_ms = window.lag_percentile_ms(0.99)
        if lag_ms is not None and lag_ms > self._plan.lag_limit_ms:
            return f"schedule lag p99 was {lag_ms:.1f} ms, more than {self._plan.lag_limit_ms:g} ms"
        wanted = rate * window.span_s
        if started < OFFERED_SHARE * wanted - 3 * math.sqrt(wanted):
            return f"only {started / window.span_s:.1f} of {rate:g} arrivals a second were offered"
        return None

    def _go_on(self, step: Step, now: float) -> None:
        """After a step."""
        assert self._users is not None
        if step.outcome == SATURATED:
            self._saturated += 1
        else:
            self._saturated = 0
            self._search.record(self._users, step.outcome == HELD)
            self._users = self._search.next()
        self._holding = False
        if self._saturated == SATURATED_TRIES:
            self.ended_by = GENERATOR
        elif self._users is None:
            self.ended_by = FOUND if self._search.lowest_broken is not None else AT_MOST
        elif len(self.steps) >= MOST_STEPS:
            self.ended_by = STEPS
        elif step.outcome == HELD:
            self._began = now
        else:
            self._began, self._resting_since = None, now
