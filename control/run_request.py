"""What a run is asked to be, checked before anything is started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config.budget import Sending, budget_problems
from config.custom_flow import MAX_BATCH, CustomFlow, load_custom_flow
from config.errors import ConfigError, collect
from config.numbers import MAX_SEED, number, whole_number
from config.prices import load_prices
from config.profile_files import load_profile
from config.profiles import Profile
from config.settings import Settings, load_settings


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line, unchecked. None: not said, so the profile or the settings decide."""

    profile: str
    target: str | None = None
    stack_name: str | None = None
    flows: str | None = None
    scale: str | None = None
    time_scale: str | None = None
    messages: str | None = None
    workers: str | None = None
    seed: str | None = None
    shop_id: str | None = None
    custom_flow: str | None = None
    """Path of the flow's file."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Of the stack's template, for a sandbox that the run starts."""
    private_sandbox: bool = False

    def variables(self) -> dict[str, str]:
        """The same as variables, for Locust; what was not said is empty, lest Locust finds something else in `.env`."""
        named = {
            "PROFILE": self.profile,
            "FLOW": self.flows,
            "SCALE": self.scale,
            "TIME_SCALE": self.time_scale,
            "MESSAGES": self.messages,
            "SEED": self.seed,
            "RATE": None,
            "CUSTOM_FLOW": self.custom_flow,
        }
        return {name: value or "" for name, value in named.items()} | (
            {"SHOP_ID": self.shop_id} if self.shop_id else {}
        )


@dataclass(frozen=True)
class Checked:
    """A request that is sound, with its settings and its profile."""

    request: Request
    settings: Settings
    profile: Profile
    workers: int
    """Locust worker processes; 0: one process does it all."""
    environ: Mapping[str, str]
    custom: CustomFlow | None = None
    """What flow `custom` sends; None where it is not among the profile's flows."""
    event_batch: int = 1
    """Messages that flow `events` sends in one call."""


def check(request: Request, environ: Mapping[str, str], *, limits: bool = True) -> Checked:
    """Everything that can be checked before anything is started. Raises ConfigError with every problem.

    `limits`: hold the plan against MAX_USERS and MAX_COST_USD.
    """
    environ = with_options(environ, request.target, request.stack_name)
    problems: list[str] = []
    settings = collect(problems, lambda: load_settings(environ))
    scale = number(problems, "SCALE", request.scale, 1.0)
    time_scale = number(problems, "TIME_SCALE", request.time_scale, 1.0)
    messages = whole_number(problems, "MESSAGES", request.messages, least=1)
    workers = whole_number(problems, "WORKERS", request.workers, least=0)
    whole_number(problems, "SEED", request.seed, least=0, most=MAX_SEED)
    event_batch = (
        whole_number(problems, "EVENT_BATCH", environ.get("EVENT_BATCH"), least=1, most=min(MAX_BATCH.values())) or 1
    )
    if environ.get("RATE"):
        problems.append("RATE: it is for Locust without a profile; SCALE multiplies the arrival rates of a profile")
    profile = collect(
        problems,
        lambda: load_profile(
            request.profile, scale=scale, time_scale=time_scale, flows=request.flows, messages=messages
        ),
    )
    if profile and profile.messages and workers:
        problems.append(
            f"WORKERS: not with profile {profile.name}, which counts its messages: one process sends them, one after "
            "another"
        )
    custom = None
    if profile is not None and "custom" in profile.flows:
        if request.custom_flow:
            path = Path(request.custom_flow)
            custom = collect(problems, lambda: load_custom_flow(path).flow)
        else:
            problems.append("CUSTOM_FLOW: not set; flow custom needs its TOML file (docs/custom-flow.md)")
    if settings and profile and limits:
        problems += _over_limits(settings, profile, Sending(settings.event_destinations, event_batch, custom))
    if problems or settings is None or profile is None:
        raise ConfigError(problems)
    return Checked(request, settings, profile, workers or 0, environ, custom, event_batch)


def _over_limits(settings: Settings, profile: Profile, sending: Sending) -> list[str]:
    """Which of the user's limits the plan breaks."""
    problems = []
    if settings.max_users is not None and profile.peak_users > settings.max_users:
        what = "users" if profile.model == "closed" else "open requests a process (max_in_flight)"
        problems.append(
            f"MAX_USERS: profile {profile.name} asks for {profile.peak_users} {what}, {settings.max_users} allowed"
        )
    if settings.max_cost_usd is not None:
        problems += budget_problems(settings, profile, load_prices(settings.region or ""), sending)
    return problems


def read_settings(target: str | None, stack_name: str | None) -> Settings:
    """The settings, with what the command line says about the target. Raises ConfigError."""
    return load_settings(with_options(os.environ, target, stack_name))


def with_options(environ: Mapping[str, str], target: str | None, stack_name: str | None) -> dict[str, str]:
    """The variables, with what the command line says about the target in their place."""
    given = {"TARGET": target, "STACK_NAME": stack_name}
    return {**environ, **{name: value for name, value in given.items() if value is not None}}
