"""Load profiles: `config/profiles/<name>.toml`, read, checked and scaled into one frozen value.

Everything that can be wrong with a profile is found here, before any load: unknown keys, stages too short for
Locust's one-second tick, thresholds that do not parse. All problems are reported together.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from config.errors import ConfigError, problems_of
from config.thresholds import CLIENT_METRICS, Threshold, parse_threshold
from config.timespans import parse_timespan

PROFILES_DIR = Path(__file__).parent / "profiles"
FLOWS = ("vote", "shop", "direct", "events", "custom")
SIGNED_FLOWS = frozenset({"direct", "events"})
"""Flows that call AWS services themselves: they sign their requests and go through no API."""

TOKENS = 100
"""Locust users of an open profile: each stands for a hundredth of the arrival rate, in one process, for one flow."""
OPEN_END_MARGIN_S = 0.5
"""What an open run goes on after its last stage, with no more arrivals: the clocks of its processes start a moment
after Locust's own, and the last arrivals are theirs."""
DEFAULT_MAX_IN_FLIGHT = 1000
USERS_AT_START = 20
MOST_USERS = 2000
"""Of a search for the breakpoint: how finely rates can be told apart, and how many tokens there are at most."""
EVEN, POISSON = "even", "poisson"

Timespan = Annotated[float, BeforeValidator(parse_timespan)]


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
class RateRamp:
    """A stretch over which the arrival rate changes evenly, or not at all. Rates are per second."""

    duration_s: float
    from_rate: float
    to_rate: float


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


class _StageFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)

    duration: Timespan = Field(gt=0)
    users: int | None = Field(None, ge=0)
    rate: float | None = Field(None, ge=0, allow_inf_nan=False)
    spawn_rate: float | None = Field(None, gt=0, allow_inf_nan=False)

    def scaled(self, scale: float, time_scale: float) -> Stage:
        """At least one user stays of those there were."""
        return Stage(
            duration_s=self.duration * time_scale,
            users=self.users and max(1, round(self.users * scale)),
            spawn_rate=None if self.spawn_rate is None else self.spawn_rate * scale,
            rate=None if self.rate is None else self.rate * scale,
        )


class _BreakpointFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    start: float = Field(gt=0, allow_inf_nan=False)
    max: float = Field(gt=0, allow_inf_nan=False)
    growth: float = Field(1.5, gt=1, le=10)
    settle: Timespan = Field(5.0, gt=0)
    hold: Timespan = Field(20.0, gt=0)
    precision: float = Field(0.05, gt=0, lt=1)
    confirmations: int = Field(2, ge=1, le=5)
    recovery_limit: Timespan = Field(120.0, gt=0)
    schedule_lag_limit: Timespan = Field(0.05, gt=0)
    memory_mb: float = Field(1024.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _climbs(self) -> _BreakpointFile:
        if self.max <= self.start:
            raise ValueError(f"max: {self.max:g} is not above start ({self.start:g})")
        return self

    def plan(self, scale: float, time_scale: float) -> BreakpointPlan:
        return BreakpointPlan(
            start_rate=self.start * scale,
            max_rate=self.max * scale,
            growth=self.growth,
            settle_s=self.settle * time_scale,
            hold_s=self.hold * time_scale,
            precision=self.precision,
            confirmations=self.confirmations,
            recovery_limit_s=self.recovery_limit * time_scale,
            lag_limit_ms=self.schedule_lag_limit * 1000,
            memory_mb=self.memory_mb,
        )


class _ProfileFile(BaseModel):
    """The TOML file as written."""

    model_config = ConfigDict(extra="forbid")

    description: str
    flows: dict[str, float]
    model: Literal["closed", "open"] = "closed"
    arrivals: Literal["even", "poisson"] | None = None
    max_in_flight: int | None = Field(None, gt=0)
    think_time: tuple[Timespan, Timespan] | None = None
    pacing: Timespan | None = Field(None, gt=0)
    warmup: Timespan = 0.0
    messages: int | None = Field(None, gt=0)
    results_share: float = Field(0.0, ge=0, le=1)
    poison_share: float = Field(0.0, ge=0, le=1)
    chain_limit: Timespan = Field(60.0, gt=0)
    response_limit: Timespan | None = Field(None, gt=0)
    stages: list[_StageFile] = Field(default_factory=list)
    breakpoint: _BreakpointFile | None = None
    thresholds: dict[str, str] = Field(default_factory=dict)

    @field_validator("flows", mode="before")
    @classmethod
    def _weights(cls, value: object) -> object:
        if isinstance(value, list):
            value = dict.fromkeys(value, 1.0) if all(isinstance(flow, str) for flow in value) else None
        if not isinstance(value, dict) or not value:
            raise ValueError('a list of flows such as ["vote"], or weights such as {vote = 9, shop = 1}')
        unknown = [flow for flow in value if flow not in FLOWS]
        if unknown:
            raise ValueError(f"unknown flow {', '.join(map(repr, unknown))}; there are {', '.join(FLOWS)}")
        if not all(isinstance(weight, int | float) and 0 < weight < math.inf for weight in value.values()):
            raise ValueError("a weight is a number above 0")
        return value

    @field_validator("think_time", mode="before")
    @classmethod
    def _range(cls, value: object) -> object:
        return [value, value] if isinstance(value, str | int | float) else value

    @model_validator(mode="after")
    def _consistent(self) -> _ProfileFile:
        if self.think_time is not None and self.pacing is not None:
            raise ValueError("think_time and pacing exclude each other: a wait after the answer, or start to start")
        if self.think_time is not None and self.think_time[0] > self.think_time[1]:
            raise ValueError(f"think_time: the shortest wait comes first, got {list(self.think_time)}")
        if bool(self.stages) == (self.breakpoint is not None):
            raise ValueError("stages: a profile has [[stages]], or [breakpoint] instead of them")
        if self.breakpoint is not None and self.model != "open":
            raise ValueError(
                'breakpoint: only with model = "open": users that wait for answers slow down with the target'
            )
        wanted, other = ("rate", "users") if self.model == "open" else ("users", "rate")
        for number, stage in enumerate(self.stages, 1):
            if getattr(stage, wanted) is None:
                raise ValueError(f"stages.{number}.{wanted}: Field required")
            if getattr(stage, other) is not None:
                raise ValueError(f'stages.{number}.{other}: model = "{self.model}" has {wanted}, not {other}')
        theirs = ("think_time", "pacing", "messages") if self.model == "open" else ("arrivals", "max_in_flight")
        if misplaced := [key for key in theirs if getattr(self, key) is not None]:
            raise ValueError(f'{", ".join(misplaced)}: not with model = "{self.model}"')
        return self


def profile_names(profiles_dir: Path = PROFILES_DIR) -> list[str]:
    """The shipped profiles, sorted."""
    return sorted(path.stem for path in profiles_dir.glob("*.toml"))


def load_profile(
    name: str,
    *,
    scale: float = 1.0,
    time_scale: float = 1.0,
    flows: str | None = None,
    messages: int | None = None,
    profiles_dir: Path = PROFILES_DIR,
) -> Profile:
    """Read the profile `name`, or the file `name` where it is a path to one, and scale it.

    `scale` multiplies users, rates and spawn rates; `time_scale` multiplies stages, warm-up and the windows of
    thresholds, never think time or pacing. `flows` (comma-separated) keeps only those flows, with their weights where
    the profile has them; `messages` overrides the number of messages. Raises ConfigError with every problem.
    """
    path = Path(name) if name.endswith(".toml") else profiles_dir / f"{name}.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if name.endswith(".toml"):
            raise ConfigError(f"PROFILE: there is no file {path}") from None
        known = profile_names(profiles_dir)
        close = difflib.get_close_matches(name, known, n=1)
        known_are = f"did you mean {close[0]!r}? There are" if close else "there are"
        raise ConfigError(f"PROFILE: no profile {name!r}; {known_are} {', '.join(known)}") from None
    except OSError as failure:
        raise ConfigError(f"PROFILE: {path}: {(failure.strerror or str(failure)).lower()}") from None
    except tomllib.TOMLDecodeError as malformed:
        raise ConfigError(f"{path}: not valid TOML: {malformed}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    return profile_from(
        document, name=path.stem, source=str(path), scale=scale, time_scale=time_scale, flows=flows, messages=messages
    )


def profile_from(
    document: Mapping[str, Any],
    *,
    name: str,
    source: str,
    scale: float = 1.0,
    time_scale: float = 1.0,
    flows: str | None = None,
    messages: int | None = None,
) -> Profile:
    """A profile from the content of its TOML file; `source` is what problems are reported against."""
    problems: list[str] = []
    for variable, factor in (("SCALE", scale), ("TIME_SCALE", time_scale)):
        if not 0 < factor < float("inf"):
            problems.append(f"{variable}: {factor} is not a number above 0")
    try:
        read = _ProfileFile.model_validate(document)
    except ValidationError as invalid:
        problems += problems_of(invalid, source)
        read = None
    thresholds = _thresholds(document.get("thresholds"), source, time_scale, problems)
    if read is None or problems:
        raise ConfigError(problems)
    stages = tuple(stage.scaled(scale, time_scale) for stage in read.stages)
    problems += _too_short(stages, source, time_scale)
    plan = None if read.breakpoint is None else read.breakpoint.plan(scale, time_scale)
    if plan is not None:
        problems += _unsearchable(plan, thresholds, source, time_scale)
    counted = messages if messages is not None else read.messages
    if counted is not None and (read.model == "open" or max(stage.users or 0 for stage in stages) > 1):
        problems.append(f"{source}: messages are sent one after another by one user; its stages ask for more")
    weights = _chosen_flows(read.flows, flows, problems)
    watched = [t for t in thresholds if plan is not None or t.window_s is not None or t.action == "abort"]
    problems += _unwatchable(watched, {*read.flows, *weights}, source)
    if problems:
        raise ConfigError(problems)
    total = sum(weights.values())
    return Profile(
        name=name,
        description=read.description,
        flows={flow: weight / total for flow, weight in weights.items()},
        model=read.model,
        think_time_s=read.think_time,
        pacing_s=read.pacing,
        warmup_s=read.warmup * time_scale,
        stages=stages,
        messages=counted,
        results_share=read.results_share,
        poison_share=read.poison_share,
        chain_limit_s=read.chain_limit,
        thresholds=tuple(thresholds),
        scale=scale,
        time_scale=time_scale,
        arrivals=(read.arrivals or EVEN) if read.model == "open" else None,
        max_in_flight=(read.max_in_flight or DEFAULT_MAX_IN_FLIGHT) if read.model == "open" else None,
        rate_per_user=None if plan is None else plan.rate_per_user,
        breakpoint=plan,
        response_limit_s=read.response_limit,
    )


def _thresholds(written: object, source: str, time_scale: float, problems: list[str]) -> list[Threshold]:
    """Those that parse; of the others the problems. What is no table at all has been told as the file was read."""
    thresholds = []
    for expression, action in (written if isinstance(written, Mapping) else {}).items():
        try:
            thresholds.append(parse_threshold(expression, action, time_scale))
        except ValueError as unparsed:
            problems.append(f"{source}: thresholds: {unparsed}")
    return thresholds


def _too_short(stages: Iterable[Stage], source: str, time_scale: float) -> Iterator[str]:
    for number, stage in enumerate(stages, 1):
        if stage.duration_s < 1:
            yield (
                f"{source}: stage {number} lasts {stage.duration_s:g} s after TIME_SCALE={time_scale:g}; "
                "Locust changes the load once a second, so a stage needs at least 1 s"
            )


def _unsearchable(
    plan: BreakpointPlan, thresholds: Iterable[Threshold], source: str, time_scale: float
) -> Iterator[str]:
    """What keeps the search for a breakpoint from deciding whether a rate holds."""
    for key, span_s in (("settle", plan.settle_s), ("hold", plan.hold_s)):
        if span_s < 1:
            yield f"{source}: breakpoint.{key}: {span_s:g} s after TIME_SCALE={time_scale:g}; it needs at least 1 s"
    judging = [threshold for threshold in thresholds if threshold.action == "fail"]
    if not judging:
        yield f"{source}: thresholds: a search for the breakpoint needs one with the action `fail` that can break"
    for threshold in judging:
        if threshold.metric not in CLIENT_METRICS:
            yield (
                f"{source}: thresholds: {threshold.text!r}: {threshold.metric} is known only after the run, so it "
                f"cannot tell whether a rate holds; one of {', '.join(CLIENT_METRICS)} can"
            )
        if threshold.window_s is not None and threshold.window_s > plan.hold_s:
            yield f"{source}: thresholds: {threshold.text!r}: a window longer than breakpoint.hold ({plan.hold_s:g} s)"


def _unwatchable(thresholds: Iterable[Threshold], flows: Set[str], source: str) -> Iterator[str]:
    """What is wrong with the scopes of thresholds that look at a window: only the client's side is known there."""
    for threshold in thresholds:
        # The name of an endpoint holds a method and a blank.
        if threshold.scope is not None and " " not in threshold.scope and threshold.scope not in flows:
            yield (
                f"{source}: thresholds: {threshold.text!r}: {threshold.scope!r} is neither an endpoint (such as "
                f"'POST /vote') nor a flow of this profile ({', '.join(sorted(flows))}): nothing of it is known while "
                "the run goes, so it can neither abort it nor be measured over a window"
            )


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


def _chosen_flows(weights: Mapping[str, float], flows: str | None, problems: list[str]) -> Mapping[str, float]:
    """The flows of a profile, narrowed down to, or replaced by, those asked for."""
    if flows is None:
        return weights
    asked = [flow for flow in flows.replace(",", " ").split() if flow]
    unknown = [flow for flow in asked if flow not in FLOWS]
    if unknown or not asked:
        problems.append(f"FLOW: {flows!r}: a comma-separated list of {', '.join(FLOWS)}")
    return {flow: weights.get(flow, 1.0) for flow in asked}


def _action_text(threshold: Threshold) -> str:
    return "fail" if threshold.abort_after_s is None else f"abort after {threshold.abort_after_s:g}s"
