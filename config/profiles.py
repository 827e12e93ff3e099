"""Load profiles: `config/profiles/<name>.toml`, read, checked and scaled into one frozen value.

Everything that can be wrong with a profile is found here, before any load: unknown keys, stages too short for
Locust's one-second tick, thresholds that do not parse. All problems are reported together.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from config.errors import ConfigError
from config.thresholds import Threshold, parse_threshold
from config.timespans import parse_timespan

PROFILES_DIR = Path(__file__).parent / "profiles"
FLOWS = ("vote", "shop", "direct", "events")

Timespan = Annotated[float, BeforeValidator(parse_timespan)]


@dataclass(frozen=True)
class Stage:
    """One stretch of the load."""

    duration_s: float
    users: int
    """Users at the end of the stage."""
    spawn_rate: float | None
    """Users started a second; None ramps evenly over the whole stage."""


@dataclass(frozen=True)
class Profile:
    """A load profile, resolved: scaled and ready to run."""

    name: str
    description: str
    flows: Mapping[str, float]
    """Flow -> its share of the users; the shares add up to 1."""
    model: str
    """`closed`: users that wait for their answers."""
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

    @property
    def duration_s(self) -> float:
        return sum(stage.duration_s for stage in self.stages)

    @property
    def peak_users(self) -> int:
        return max(stage.users for stage in self.stages)

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
    """
    start_s, from_users = 0.0, 0
    for stage in profile.stages:
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


class _StageFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)

    duration: Timespan = Field(gt=0)
    users: int = Field(ge=0)
    spawn_rate: float | None = Field(None, gt=0)


class _ProfileFile(BaseModel):
    """The TOML file as written."""

    model_config = ConfigDict(extra="forbid")

    description: str
    flows: dict[str, float]
    model: Literal["closed"] = "closed"
    think_time: tuple[Timespan, Timespan] | None = None
    pacing: Timespan | None = Field(None, gt=0)
    warmup: Timespan = 0.0
    messages: int | None = Field(None, gt=0)
    results_share: float = Field(0.0, ge=0, le=1)
    poison_share: float = Field(0.0, ge=0, le=1)
    chain_limit: Timespan = Field(60.0, gt=0)
    stages: list[_StageFile] = Field(min_length=1)
    thresholds: dict[str, str] = Field(default_factory=dict)

    @field_validator("flows", mode="before")
    @classmethod
    def _weights(cls, value: object) -> object:
        if isinstance(value, list):
            value = dict.fromkeys(value, 1.0)
        if not isinstance(value, dict) or not value:
            raise ValueError('a list of flows such as ["vote"], or weights such as {vote = 9, shop = 1}')
        unknown = [flow for flow in value if flow not in FLOWS]
        if unknown:
            raise ValueError(f"unknown flow {', '.join(map(repr, unknown))}; there are {', '.join(FLOWS)}")
        if not all(isinstance(weight, int | float) and weight > 0 for weight in value.values()):
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

    `scale` multiplies users and spawn rates; `time_scale` multiplies stages and warm-up, never think time or pacing.
    `flows` (comma-separated) keeps only those flows, with their weights where the profile has them; `messages`
    overrides the number of messages. Raises ConfigError with every problem.
    """
    path = Path(name) if name.endswith(".toml") else profiles_dir / f"{name}.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = profile_names(profiles_dir)
        close = difflib.get_close_matches(name, known, n=1)
        known_are = f"did you mean {close[0]!r}? There are" if close else "there are"
        raise ConfigError(f"PROFILE: no profile {name!r}; {known_are} {', '.join(known)}") from None
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
        for error in invalid.errors():
            where = ".".join(str(part + 1 if isinstance(part, int) else part) for part in error["loc"])
            message = error["msg"].removeprefix("Value error, ")
            if error["type"] == "extra_forbidden":
                message = "unknown key"
            problems.append(f"{source}: {where}: {message}" if where else f"{source}: {message}")
        read = None
    thresholds = []
    written = document.get("thresholds")
    for expression, action in (written if isinstance(written, Mapping) else {}).items():
        try:
            thresholds.append(parse_threshold(expression, action))
        except ValueError as unparsed:
            problems.append(f"{source}: thresholds: {unparsed}")
    if read is None or problems:
        raise ConfigError(problems)
    stages = tuple(
        Stage(
            duration_s=stage.duration * time_scale,
            users=round(stage.users * scale) if stage.users == 0 else max(1, round(stage.users * scale)),
            spawn_rate=None if stage.spawn_rate is None else stage.spawn_rate * scale,
        )
        for stage in read.stages
    )
    for number, stage in enumerate(stages, 1):
        if stage.duration_s < 1:
            problems.append(
                f"{source}: stage {number} lasts {stage.duration_s:g} s after TIME_SCALE={time_scale:g}; "
                "Locust changes the load once a second, so a stage needs at least 1 s"
            )
    counted = messages if messages is not None else read.messages
    if counted is not None and max(stage.users for stage in stages) > 1:
        problems.append(f"{source}: messages are sent one after another by one user; its stages ask for more")
    weights = _chosen_flows(read.flows, flows, problems)
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
    )


def profile_from_dict(values: Mapping[str, Any]) -> Profile:
    """The profile that `Profile.as_dict` wrote into a manifest. Raises KeyError or ValueError on anything else."""
    return Profile(
        **{
            **{key: values[key] for key in Profile.__dataclass_fields__},
            "think_time_s": None if values["think_time_s"] is None else tuple(values["think_time_s"]),
            "stages": tuple(Stage(**stage) for stage in values["stages"]),
            "thresholds": tuple(parse_threshold(text, action) for text, action in values["thresholds"].items()),
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
