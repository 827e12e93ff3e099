"""Load profiles as files: `config/profiles/<name>.toml`, read, checked and scaled.

Everything that can be wrong with a profile is found here, before any load: unknown keys, stages too short for
Locust's one-second tick, thresholds that do not parse. All problems are reported together.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from config.errors import ConfigError, problems_of
from config.profiles import EVEN, FLOWS, BreakpointPlan, Profile, Stage
from config.thresholds import CLIENT_METRICS, Threshold, parse_threshold
from config.timespans import parse_timespan

PROFILES_DIR = Path(__file__).parent / "profiles"
DEFAULT_MAX_IN_FLIGHT = 1000

Timespan = Annotated[float, BeforeValidator(parse_timespan)]


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


def _chosen_flows(weights: Mapping[str, float], flows: str | None, problems: list[str]) -> Mapping[str, float]:
    """The flows of a profile, narrowed down to, or replaced by, those asked for."""
    if flows is None:
        return weights
    asked = [flow for flow in flows.replace(",", " ").split() if flow]
    unknown = [flow for flow in asked if flow not in FLOWS]
    if unknown or not asked:
        problems.append(f"FLOW: {flows!r}: a comma-separated list of {', '.join(FLOWS)}")
    return {flow: weights.get(flow, 1.0) for flow in asked}
