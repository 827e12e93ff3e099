"""Facts as the target would tell them, for checks that look at one thing in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from config.profile_files import load_profile, profile_from
from config.profiles import Profile
from control.preflight.demand import Demand, demand_of
from control.preflight.facts import Function, Measured, Unknown

DENIED = Unknown("lambda:GetX", "not allowed: lambda:GetX on * (GetX)", denied=True)

_FUNCTION = Function(
    name="swarmscope-place-vote",
    timeout_s=15,
    memory_mb=256,
    architecture="x86_64",
    tracing="Active",
    log_group="/aws/lambda/swarmscope-place-vote",
    log_format="Text",
    application_log_level=None,
    system_log_level=None,
    dead_letter=None,
    on_failure=None,
    reserved=None,
    provisioned=(),
)


def function(**changes: Any) -> Function:
    return replace(_FUNCTION, **changes)


def measured(**changes: Any) -> Measured:
    return replace(Measured("20261121T100000Z-x", ("vote",), requests=1000, duration_s=10.0), **changes)


def paced(users: int = 100, pacing: str | None = "1s", **keys: Any) -> Profile:
    """`users` for a minute, each with a request every `pacing`; None: as fast as they are answered."""
    stages = [{"duration": "60s", "users": users, "spawn_rate": 1e6}]
    document = {"description": "a test", "flows": ["vote"], "stages": stages, **keys}
    document |= {} if pacing is None else {"pacing": pacing}
    return profile_from(document, name="mine", source="mine.toml")


def demand(profile: str | Profile, **known: Any) -> Demand:
    chosen = load_profile(profile) if isinstance(profile, str) else profile
    return demand_of(chosen, known.pop("event_destinations", ()), known.pop("functions", {}), **known)
