"""What load a profile asks for at which moment: users in the closed model, arrivals a second in the open one. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from config.profiles import Profile, Stage

TOKENS = 100
"""Locust users of an open profile: each stands for a hundredth of the arrival rate, in one process, for one flow."""
OPEN_END_MARGIN_S = 0.5
"""What an open run goes on after its last stage, with no more arrivals: the clocks of its processes start a moment
after Locust's own, and the last arrivals are theirs."""


@dataclass(frozen=True)
class RateRamp:
    """A stretch over which the arrival rate changes evenly, or not at all. Rates are per second."""

    duration_s: float
    from_rate: float
    to_rate: float


def users_at(profile: Profile, elapsed_s: float) -> tuple[int, float] | None:
    """What the load should be `elapsed_s` seconds into the run: (users, users to start a second), None when over.

    A stage with a spawn rate asks for its users at once, at that rate. A stage without one climbs (or descends) in a
    straight line from where the last stage ended; Locust is asked once a second, so the rate is one step's worth.

    In the open model there are always as many users as there are tokens: what changes is the rate each stands for.
    """
    if profile.model == "open":
        assert profile.duration_s is not None
        return None if elapsed_s >= profile.duration_s + OPEN_END_MARGIN_S else (TOKENS, float(TOKENS))
    start_s, from_users = 0.0, 0
    for stage in profile.stages:
        assert stage.users is not None
        end_s = start_s + stage.duration_s
        if elapsed_s < end_s:
            if stage.spawn_rate is not None:
                return stage.users, stage.spawn_rate
            change = stage.users - from_users
            # Where the ramp should be when Locust asks again, a second from now.
            share = min(1.0, (elapsed_s - start_s + 1.0) / stage.duration_s)
            return round(from_users + change * share), max(abs(change) / stage.duration_s, 1.0)
        start_s, from_users = end_s, stage.users
    return None


def rate_ramps(profile: Profile) -> tuple[RateRamp, ...]:
    """The arrival rate of an open profile over its whole length, from 0 a second.

    A stage without a spawn rate changes the rate evenly from where the last one ended; one with it changes the rate by
    so much a second, and holds it once it is there.
    """
    return tuple(RateRamp(*ramp) for ramp in _ramps((stage, stage.rate) for stage in profile.stages))


def user_seconds(profile: Profile) -> float:
    """How many seconds all users of a closed profile go on for, added up."""
    ramps = _ramps((stage, stage.users) for stage in profile.stages)
    return sum(duration_s * (begin + end) / 2 for duration_s, begin, end in ramps)


def _ramps(stages: Iterable[tuple[Stage, float | None]]) -> Iterator[tuple[float, float, float]]:
    """Stages, each with its level at the end -> stretches in which the level changes evenly, or not at all: how many
    seconds, from which level to which. It begins at 0."""
    level = 0.0
    for stage, wanted in stages:
        assert wanted is not None
        change = wanted - level
        ramp_s = stage.duration_s
        if stage.spawn_rate is not None:
            ramp_s = min(ramp_s, abs(change) / stage.spawn_rate)
            change = math.copysign(stage.spawn_rate * ramp_s, change)
        if ramp_s:
            yield ramp_s, level, level + change
        if ramp_s < stage.duration_s:
            yield stage.duration_s - ramp_s, wanted, wanted
        level += change
