"""What one run is: decided by the master or the lone process, handed to every worker when the run starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from config.profiles import Profile, profile_from_dict
from loadgen.invocation import Invocation


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
    invocation: Invocation
    """How flow `direct` invokes."""
    event_destinations: Mapping[str, str]
    """AWS service (`sqs`, `sns`, `events`, `kinesis`) -> queue URL, topic ARN, bus, stream."""
    event_batch: int
    """Messages in one call of flow `events`."""
    poison_share: float
    """Share of these messages that their consumer fails on."""
    endpoints: Mapping[str, str]
    """AWS service -> URL, of the services that the flows call themselves."""
    region: str
    custom: Mapping[str, Any] | None = None
    """The flow `custom`, where it runs: see `custom_files.Custom`."""

    def as_message(self) -> dict[str, Any]:
        """Plain data that Locust can send to workers."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "profile": self.profile.as_dict(),
            "functions": dict(self.functions),
            "invocation": asdict(self.invocation),
            "event_destinations": dict(self.event_destinations),
            "endpoints": dict(self.endpoints),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> RunPlan:
        return cls(
            **{
                **message,
                "profile": profile_from_dict(message["profile"]),
                "invocation": Invocation(**message["invocation"]),
            }
        )
