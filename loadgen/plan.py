"""What one run is: decided by the master or the lone process, handed to every worker when the run starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from config.profiles import Profile, profile_from_dict


@dataclass(frozen=True)
class RunPlan:
    """Everything a worker must know. No secrets: those come from each machine's own environment."""

    run_id: str
    started_at: float
    """Epoch seconds, by the master's clock."""
    profile: Profile
    target: str
    seed: int
    """Of what is random in payloads and waits; ids never repeat."""
    sampled_share: float
    results_share: float
    """Share of a vote user's requests that read the tally."""
    shop_id: str | None
    """The one shop all sales go to; None spreads them."""
    shop_public_key: str | None
    """Base64 of DER."""
    functions: Mapping[str, str]
    """Logical name -> function name or ARN."""
    lambda_endpoint: str
    region: str

    def as_message(self) -> dict[str, Any]:
        """Plain data that Locust can send to workers."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "profile": self.profile.as_dict(),
            "functions": dict(self.functions),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> RunPlan:
        return cls(**{**message, "profile": profile_from_dict(message["profile"])})
