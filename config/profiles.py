"""A load profile as one frozen value: resolved, scaled and ready to run.

`config.profile_files` makes it of a file, `config.load_curve` says what load it asks for at which moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass
from typing import Any

from config.thresholds import Threshold, parse_threshold

FLOWS = ("vote", "shop", "direct", "events", "custom")
SIGNED_FLOWS = frozenset({"direct", "events"})
"""Flows that call AWS services themselves: they sign their requests and go through no API."""

EVEN, POISSON = "even", "poisson"
"""How arrivals follow one another."""
USERS_AT_START = 20
MOST_USERS = 2000
"""Of a search for the breakpoint: how finely rates can be told apart, and how many tokens there are at most."""


@dataclass(frozen=True)
class Stage:
    """One stretch of the load."""

    duration_s: float
    users: int | None
    """Users at the end of the stage; None in the open model."""
    spawn_rate: float | None
    """Users started a second, or by how much the arrival rate changes in a second; None ramps evenly over the whole
    stage."""
    rate: float | None = None
    """Arrivals a second at the end of the stage; None in the closed model."""


@dataclass(frozen=True)
class BreakpointPlan:
    """How the highest arrival rate that holds is searched for, instead of stages. Rates are arrivals a second."""

    start_rate: float
    max_rate: float
    """The search goes no higher."""
    growth: float
    """Factor from one step of the climb to the next."""
    settle_s: float
    """From a change of the rate to the first moment that is judged; and the least rest after a rate that broke."""
    hold_s: float
    """How long a rate must keep to the thresholds."""
    precision: float
    """How far apart the highest rate that held and the lowest that broke may stay, as a share of the latter."""
    confirmations: int
    """Tries by which both of them must be certain."""
    recovery_limit_s: float
    """How long to wait, after a rate that broke, for all open requests to be answered."""
    lag_limit_ms: float
    """Above this p99 of the time from when a request was due to its start, it is the generator that is measured."""
    memory_mb: float
    """Assumed memory of the functions behind a request, for the running cost."""

    @property
    def rate_per_user(self) -> float:
        """What each of Locust's users stands for: rates are multiples of it."""
        return max(self.start_rate / USERS_AT_START, self.max_rate / MOST_USERS)


@dataclass(frozen=True)
class Profile:
    """A load profile, resolved: scaled and ready to run."""

    name: str
    description: str
    flows: Mapping[str, float]
    """Flow -> its share of the users; the shares add up to 1."""
    model: str
    """`closed`: users that wait for their answers. `open`: arrivals that wait for nothing."""
    think_time_s: tuple[float, float] | None
    """Shortest and longest wait after an answer; None where the profile paces or does not wait."""
    pacing_s: float | None
    """Start to start of one user's requests; None where it does not pace."""
    warmup_s: float
    """Requests started earlier than this are recorded as `warmup` and left out of percentiles and thresholds."""
    stages: tuple[Stage, ...]
    messages: int | None
    """Stop after so many requests, one after another by one user; None for a run that ends with its stages."""
    results_share: float
    """Share of the vote flow's requests that read the tally (`GET /vote/{vote_id}`), 0 to 1."""
    poison_share: float
    """Share of the events flow's messages that their consumer fails on, again and again, 0 to 1."""
    chain_limit_s: float
    """A chain that takes longer than this is late."""
    thresholds: tuple[Threshold, ...]
    scale: float
    time_scale: float
    arrivals: str | None = None
    """`even` or `poisson`; None in the closed model."""
    max_in_flight: int | None = None
    """Requests that a process may have open at once, in the open model; arrivals beyond it are dropped."""
    rate_per_user: float | None = None
    """Arrivals a second for each Locust user, in an open run whose users Locust's own options or the search for a
    breakpoint set; else None."""
    response_limit_s: float | None = None
    """A request that takes as long as this fails, whatever was answered; None: it may take its time."""
    breakpoint: BreakpointPlan | None = None
    """Where there is one there are no stages, and the run ends when the search does."""

    @property
    def duration_s(self) -> float | None:
        """None where nobody knows before."""
        return None if self.breakpoint is not None else sum(stage.duration_s for stage in self.stages)

    @property
    def peak_users(self) -> int:
        """The most users at once; in the open model, the most requests that one process may have open at once."""
        return self.peak_users_of_stages if self.max_in_flight is None else self.max_in_flight

    @property
    def peak_users_of_stages(self) -> int:
        """The most of Locust's users at once that the stages ask for; 0 where they ask for arrivals."""
        return max((stage.users or 0 for stage in self.stages), default=0)

    @property
    def peak_rate(self) -> float | None:
        """The most arrivals a second; None in the closed model."""
        if self.breakpoint is not None:
            return self.breakpoint.max_rate
        return max((stage.rate for stage in self.stages if stage.rate is not None), default=None)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the manifest; `profile_from_dict` turns it back."""
        return asdict(self) | {
            "flows": dict(self.flows),
            "thresholds": {t.text: _action_text(t) for t in self.thresholds},
        }


def profile_from_dict(values: Mapping[str, Any]) -> Profile:
    """The profile that `Profile.as_dict` wrote into a manifest. Raises KeyError or ValueError on anything else."""
    return Profile(
        **{
            **{
                # What a manifest does not know yet has its default.
                key: values[key]
                for key, field in Profile.__dataclass_fields__.items()
                if key in values or field.default is MISSING
            },
            "think_time_s": None if values["think_time_s"] is None else tuple(values["think_time_s"]),
            "stages": tuple(Stage(**stage) for stage in values["stages"]),
            "thresholds": tuple(parse_threshold(text, action) for text, action in values["thresholds"].items()),
            "breakpoint": BreakpointPlan(**values["breakpoint"]) if values.get("breakpoint") else None,
        }
    )


def _action_text(threshold: Threshold) -> str:
    return "fail" if threshold.abort_after_s is None else f"abort after {threshold.abort_after_s:g}s"
