"""How sure a run's figures are: standard errors from resampling, by the units that stand or fall together.

Requests that one execution environment served are not independent: they share its host, its cold start, its caches. So
whole environments are resampled and never single requests; an environment is a log stream. A request without an
invocation (refused, cut off on the way, its logs not fetched) has no environment: how many of them there are, and how
long they took, is resampled by the second in which they began, for what refuses one refuses its neighbours.

1. Each of RESAMPLES draws takes as many environments as there are, with replacement (the cluster bootstrap: Davison and
   Hinkley, Bootstrap Methods and their Application, 1997, section 3.8), and as many seconds; percentiles and rates are
   computed anew in each.
2. The standard error is the standard deviation over the draws, of percentiles and costs that of their logarithm. With n
   units it comes out too small by the factor sqrt(1 - 1/n), which is put right; n is Kish's effective number (sum of
   sizes)^2 / (sum of squared sizes) (Survey Sampling, 1965), since units differ in size.
3. Intervals take Student's t with n - 1 degrees of freedom (the t interval on a bootstrap standard error: Efron and
   Tibshirani, An Introduction to the Bootstrap, 1993, chapter 12). Lambda reuses the environment that was used last, so
   that a few of them serve nearly all requests, and intervals with the normal distribution's quantiles are too narrow
   then: `python -m benchmarks.compare` measures both.

Where one environment served nearly all, it says nothing about another: times, cold starts and costs have no interval.
Failures are resampled by the second then, for a run that fails throughout must not pass as one of which nobody can
tell; an outage that lasts for many seconds makes that interval too narrow. Where nearly all is in one second, too, the
error is the binomial one with LEAST_FREEDOM, by which little less than a complete failure is sure.

An event that is rare leaves too little to resample: the variance of a rate is at least the binomial one, of the rate
with one event and one non-event more than were seen (as Agresti and Coull, The American Statistician 52, 1998, do with
two).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

RESAMPLES = 1000
SEED = 1
"""The same data give the same figures."""
MAX_UNITS = 2000
"""Of more environments some are put together; of more seconds, longer blocks are made."""
BEYOND = 10
"""A percentile that fewer requests lie beyond has no interval."""
LEAST_FREEDOM = 0.5
"""Degrees of freedom below which units tell nothing: practically all rows are in one."""
PERCENTILES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}

UNSURE_SHARE = 0.01
"""Of the cost: what functions with too few environments may cost without making the whole unsure. Nobody knows how that
varies; it counts as if it could as well be nothing, or twice as much."""

# Where response times are counted: quantiles of the sample, dense where percentiles are looked for. A percentile of a
# draw is interpolated between two of them.
_GRID = np.unique(np.concatenate((np.linspace(0, 0.9, 361), np.linspace(0.9, 1, 401))))
_TOO_FEW_UNITS = "one execution environment served nearly all of it, and says nothing about another"


@dataclass(frozen=True)
class Arrivals:
    """The measured arrivals of a run in the open model."""

    due_at: Floats
    """Epoch seconds."""
    dropped: Booleans


@dataclass(frozen=True)
class Sample:
    """The measured requests of a run, or of one version in it, and the invocations that they led to."""

    response_ms: Floats
    """Of each request; NaN where no response ended."""
    failed: Booleans
    started_at: Floats
    """Epoch seconds."""
    environment: Integers
    """Number of the execution environment that served the request, from 0; -1: none, or not known."""
    invocation_environment: Integers
    """Of each invocation, warm-up included; -1: not known."""
    invocation_function: Integers
    invocation_measured: Booleans
    cold: Booleans
    gb_s: Floats
    """Billed for each invocation."""
    requests_paid: int = 0
    """Requests that gb_s was spent on, warm-up included."""
    usd_per_gb_s: float | None = None
    """None: nothing was priced."""
    other_usd_per_million: float | None = None
    """What a million requests cost beside Lambda's compute."""
    arrivals: Arrivals | None = None
    """None: users who wait for their answers drop nothing, and what never arrived belongs to no version."""


@dataclass(frozen=True)
class Estimate:
    """A figure and how sure it is. Where a stored one says something else, it is refused."""

    value: Annotated[float, Field(allow_inf_nan=False)] | None
    """None: nothing was measured."""
    error: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Standard error: of a rate, or of the natural logarithm of anything else. None: not known, `why` says why."""
    freedom: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Degrees of freedom of the error."""
    why: str | None = None
    requests_needed: int | None = None
    """How many requests would give it an interval, where their number is what is lacking: then the error is a rough
    one, from which no more follows than how many would decide."""
    of: Annotated[int, Field(gt=0)] | None = None
    """Of a rate: how many it is a share of. None: no rate, or not known, of a baseline of an earlier version."""


NO_DATA = Estimate(None, why="nothing was measured")


def estimates(sample: Sample) -> dict[str, Estimate]:
    """Name of a metric -> its estimate: PERCENTILES, `error_rate`, `cold_start_rate`, `cost_per_million_usd`, and where
    there are arrivals `dropped_rate`."""
    random = np.random.default_rng(SEED)
    arrivals = sample.arrivals
    return {
        **_of_requests(sample, random),
        "cold_start_rate": _cold_start_rate(sample, random),
        "cost_per_million_usd": _cost_per_million(sample, random),
        **({} if arrivals is None else {"dropped_rate": _dropped_rate(arrivals, random)}),
    }


def describe_units(sample: Sample) -> dict[str, int]:
    """What is resampled: requests, the environments that served them, and requests without one."""
    served = sample.environment >= 0
    return {
        "requests": len(served),
        "environments": len(np.unique(sample.environment[served])),
        "requests_without_environment": int((~served).sum()),
    }


def interval_half_width(error: float, freedom: float, confidence: float) -> float:
    """Half the width of the interval around an estimate that has this error."""
    from scipy.special import stdtrit  # takes longer to import than all the rest, and most commands compare nothing

    return float(error * stdtrit(freedom, 0.5 + confidence / 2))


def error_together(errors: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(error, degrees of freedom) of a sum or difference of independent estimates, from those of each.

    Degrees of freedom as Welch and Satterthwaite have them.
    """
    total = sum(error**2 for error, _ in errors)
    if not total:
        return 0.0, min(freedom for _, freedom in errors)
    return math.sqrt(total), total**2 / sum(error**4 / freedom for error, freedom in errors)


def error_with_more(estimate: Estimate, times: float) -> tuple[float, float]:
    """(error, degrees of freedom) that an estimate with an error would have of so many times as many requests, at the
    same rate and with the same spread over so many times as many units."""
    assert estimate.value is not None and estimate.error is not None and estimate.freedom is not None
    freedom = (estimate.freedom + 1) * times - 1
    if estimate.of is None:
        return estimate.error / math.sqrt(times), freedom
    # The error of a rate of which nothing was seen falls with the number of requests, and not with its root.
    events = estimate.value * estimate.of
    now, then = (_binomial_error(events * number, estimate.of * number) for number in (1.0, times))
    return estimate.error * then / now, freedom


def _of_requests(sample: Sample, random: np.random.Generator) -> dict[str, Estimate]:
    requests = len(sample.failed)
    if not requests:
        return dict.fromkeys((*PERCENTILES, "error_rate"), NO_DATA)
    answered = ~np.isnan(sample.response_ms)
    edges = _edges(sample.response_ms[answered]) if answered.any() else np.zeros(2)
    bins = len(edges) - 1
    first, last = (np.searchsorted(edges, sample.response_ms, side=side) for side in ("left", "right"))
    place = np.where(last - first == 2, first, np.minimum(last - 1, bins - 1))
    place[~answered] = bins
    columns = bins + 2  # a column for each bin, one for what has no response time, one for failures

    def tally(unit: Integers, units: int, rows: Booleans) -> Floats:
        """(units, columns): rows of each unit in each bin, and its failures."""
        counts = np.bincount(unit * columns + place[rows], minlength=units * columns)
        counts += np.bincount(unit[sample.failed[rows]] * columns + bins + 1, minlength=units * columns)
        return counts.reshape(units, columns).astype(np.float64)

    served = sample.environment >= 0
    others = ~served
    sizes, drawn = [], np.zeros((RESAMPLES, columns))
    seconds = _blocks(sample.started_at)
    weight_of_second = _weights(seconds.max() + 1, random)
    if served.any():
        environment = _units(sample.environment[served])
        size = np.bincount(environment)
        weights = _weights(len(size), random)
        # How many were served, and how many not, is as in the seconds that were drawn; who they are, among those that
        # were served, is as in the environments that were drawn.
        served_in_second = np.bincount(seconds[served], minlength=weight_of_second.shape[1])
        scale = (weight_of_second @ served_in_second) / (weights @ size) if others.any() else np.ones(RESAMPLES)
        drawn += (weights @ tally(environment, len(size), served)) * scale[:, None]
        sizes.append(size)
    if others.any():
        drawn += weight_of_second @ tally(seconds[others], weight_of_second.shape[1], others)
        sizes.append(np.bincount(seconds[others]))
    units = _effective(np.concatenate(sizes))

    if units - 1 < LEAST_FREEDOM:
        error_rate = _rate_by_second(sample.failed, sample.started_at, random)
    else:
        rates = _ratios(drawn, np.arange(columns) == bins + 1, np.arange(columns) <= bins)
        error_rate = _rate(int(sample.failed.sum()), requests, _spread(rates, units), units)
    found = {"error_rate": error_rate}
    below = np.cumsum(drawn[:, :bins], axis=1)
    below = below[below[:, -1] > 0]
    for name, share in PERCENTILES.items():
        if not answered.any():
            found[name] = NO_DATA
            continue
        value = float(np.quantile(sample.response_ms[answered], share))
        times = _percentile(below, edges, share)
        if value > 0 and times.min() > 0:
            found[name] = _positive(value, _spread(np.log(times), units), units)
        else:
            found[name] = Estimate(value, why="times of 0 ms change by no factor")
        needed = round(BEYOND / (1 - share))
        if answered.sum() < needed:
            why = f"fewer than {BEYOND} requests lie beyond it"
            found[name] = replace(found[name], why=why, requests_needed=needed)
    return found


def _edges(times: Floats) -> Floats:
    """Where the bins that times are counted in begin and end. A time that many have is a bin of its own, of no width:
    spread over the one up to the next time, it would hide how far a percentile between the two is from sure."""
    edges, often = np.unique(np.quantile(times, _GRID), return_counts=True)
    return np.repeat(edges, np.minimum(often, 2))


def _percentile(below: Floats, edges: Floats, share: float) -> Floats:
    """(draws,): the percentile of each draw. `below`: (draws, bins), rows up to the end of each bin."""
    target = share * below[:, -1]
    place = np.minimum((below < target[:, None]).sum(axis=1), below.shape[1] - 1)
    draw = np.arange(len(below))
    start = np.where(place > 0, below[draw, place - 1], 0.0)
    inside = (target - start) / np.maximum(below[draw, place] - start, np.finfo(float).tiny)
    return edges[place] + np.clip(inside, 0, 1) * (edges[place + 1] - edges[place])


def _cold_start_rate(sample: Sample, random: np.random.Generator) -> Estimate:
    cold = sample.cold[sample.invocation_measured]
    if not len(cold):
        return NO_DATA
    unit = _units(sample.invocation_environment[sample.invocation_measured])
    size = np.bincount(unit)
    units, weights = _effective(size), _weights(len(size), random)
    rates = _ratios(weights, np.bincount(unit, weights=cold), size)
    return _rate(int(cold.sum()), len(cold), _spread(rates, units), units)


def _dropped_rate(arrivals: Arrivals, random: np.random.Generator) -> Estimate:
    """By the second in which they were due: what leaves one arrival without a slot leaves its neighbours without."""
    if not len(arrivals.dropped):
        return NO_DATA
    return _rate_by_second(arrivals.dropped, arrivals.due_at, random)


def _rate_by_second(happened: Booleans, at: Floats, random: np.random.Generator) -> Estimate:
    """`at`: epoch seconds."""
    seconds, events = _blocks(at), int(happened.sum())
    size = np.bincount(seconds)
    units, weights = _effective(size), _weights(len(size), random)
    if units - 1 < LEAST_FREEDOM:
        error = _binomial_error(events, len(happened))
        return Estimate(events / len(happened), error, LEAST_FREEDOM, of=len(happened))
    rates = _ratios(weights, np.bincount(seconds, weights=happened), size)
    return _rate(events, len(happened), _spread(rates, units), units)


def _cost_per_million(sample: Sample, random: np.random.Generator) -> Estimate:
    """What varies: of each function the mean over its invocations, and the share of the requests that reached one."""
    if sample.other_usd_per_million is None or sample.usd_per_gb_s is None or not sample.requests_paid:
        return NO_DATA
    usd_per_million = sample.usd_per_gb_s / sample.requests_paid * 1e6
    value = sample.other_usd_per_million + usd_per_million * float(sample.gb_s.sum())
    errors, unsure = [], 0.0
    for function in np.unique(sample.invocation_function):
        rows = sample.invocation_function == function
        unit = _units(sample.invocation_environment[rows])
        size = np.bincount(unit)
        units, weights = _effective(size), _weights(len(size), random)
        if units - 1 < LEAST_FREEDOM:
            unsure += usd_per_million * float(sample.gb_s[rows].sum())
            continue
        means = _ratios(weights, np.bincount(unit, weights=sample.gb_s[rows]), size)
        errors.append((_spread(means, units) * int(rows.sum()) * usd_per_million, units - 1))
    if unsure > UNSURE_SHARE * value:
        return Estimate(value, why=_TOO_FEW_UNITS)
    if value <= 0 or not errors:
        return Estimate(value, why="it costs nothing")
    if unsure:
        errors.append((unsure, 1.0))
    share_error, units = _share_served(sample, random)
    if share_error:
        errors.append((share_error * usd_per_million * float(sample.gb_s.sum()), units - 1))
    error, freedom = error_together(errors)
    return Estimate(value, error / value, freedom)


def _share_served(sample: Sample, random: np.random.Generator) -> tuple[float, float]:
    """(relative error of the share of requests that an environment served, effective seconds).

    (0, 0) where one served all of them, or none.
    """
    served = sample.environment >= 0
    if served.all() or not served.any():
        return 0.0, 0.0
    seconds = _blocks(sample.started_at)
    size = np.bincount(seconds)
    units, weights = _effective(size), _weights(len(size), random)
    shares = _ratios(weights, np.bincount(seconds, weights=served), size)
    return (_spread(shares, units) / float(served.mean()), units) if units - 1 >= LEAST_FREEDOM else (0.0, 0.0)


def _rate(events: int, of: int, error: float, units: float) -> Estimate:
    if units - 1 < LEAST_FREEDOM:
        return Estimate(events / of, why=_TOO_FEW_UNITS)
    return Estimate(events / of, max(error, _binomial_error(events, of)), units - 1, of=of)


def _binomial_error(events: float, of: float) -> float:
    adjusted = (events + 1) / (of + 2)
    return math.sqrt(adjusted * (1 - adjusted) / of)


def _positive(value: float, error: float, units: float) -> Estimate:
    if units - 1 < LEAST_FREEDOM:
        return Estimate(value, why=_TOO_FEW_UNITS)
    return Estimate(value, error, units - 1)


def _units(environment: Integers) -> Integers:
    """Environments numbered from 0 without gaps, MAX_UNITS of them at most."""
    return np.unique(environment, return_inverse=True)[1] % MAX_UNITS


def _blocks(started_at: Floats) -> Integers:
    """The second of the run, from 0, in which each request began; of a long run a block of seconds."""
    elapsed = started_at - started_at.min()
    return (elapsed // max(1.0, (elapsed.max() + 1) / MAX_UNITS)).astype(np.int64)


def _weights(units: int, random: np.random.Generator) -> Floats:
    """(RESAMPLES, units): how often each unit is in each draw."""
    return random.multinomial(units, np.full(units, 1 / units), RESAMPLES).astype(np.float64)


def _ratios(weights: Floats, parts: NDArray[Any], of: NDArray[Any]) -> Floats:
    """The sum of the parts over that of the wholes in each draw that has any: of few requests in many seconds one may
    have none, which says nothing."""
    wholes = weights @ of
    return (weights @ parts)[wholes > 0] / wholes[wholes > 0]


def _effective(sizes: Integers) -> float:
    """How many units of equal size are worth as much as these."""
    return float(sizes.sum() ** 2 / (sizes.astype(np.float64) ** 2).sum())


def _spread(drawn: Floats, units: float) -> float:
    return float(drawn.std() * math.sqrt(units / (units - 1))) if units > 1 else math.nan
