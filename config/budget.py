"""MAX_COST_USD before a run: whether it can be kept at all, and whether what the profile plans is within it. Pure.

While the run goes `loadgen.guard` holds what was sent against it. Both estimates count what takes a request (API
Gateway, SQS, SNS, EventBridge, Kinesis), one invocation of a function behind it, and Lambda's time; what functions
call, logs and traces are not in them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from config.custom_flow import SERVICES, CustomFlow
from config.planned_load import planned_requests
from config.prices import API_ENTRY, MESSAGE_ENTRIES, Prices, requests_usd
from config.profiles import Profile
from config.settings import Settings

ASSUMED_MEMORY_MB = 1024.0
"""Of the functions behind a request: more than most have, so that the estimate is rather too high."""
ASSUMED_DURATION_MS = 100.0
"""Of an invocation that nobody has measured yet."""

Entries = Mapping[str | None, float]
"""Price item of what takes a request (None: an Invoke, which pays Lambda alone) -> so many of one request."""


@dataclass(frozen=True)
class Sending:
    """What the flows send, where that is not the profile's business."""

    destinations: Collection[str] = ()
    """The AWS services that flow events sends to, each as often; empty where they are not known yet."""
    event_batch: int = 1
    """Messages that it sends in one call."""
    custom: CustomFlow | None = None

    def entries(self, flow: str, *, counted: bool = False) -> Entries:
        """Of one request of a flow. `counted`: the profile counts messages, and so the parts of a batch."""
        if flow == "direct":
            return {None: 1.0}
        if flow == "events":
            batch = 1 if counted else self.event_batch
            each = batch / max(1, len(self.destinations))
            return {MESSAGE_ENTRIES[service]: each for service in self.destinations} or {None: float(batch)}
        if flow == "custom" and self.custom is not None:
            found: dict[str | None, float] = {}
            total = sum(request.weight for request in self.custom.requests)
            for request in self.custom.requests:
                service = SERVICES.get(request.kind)
                item = API_ENTRY if service is None else MESSAGE_ENTRIES.get(service)
                found[item] = found.get(item, 0.0) + request.weight / total * (1 if counted else request.batch)
            return found
        return {API_ENTRY: 1.0}


def planned_usd(prices: Prices, profile: Profile, sending: Sending = Sending()) -> float | None:
    """What the requests of a profile cost, if they take ASSUMED_DURATION_MS; None where their number or a price is not
    known."""
    requests = planned_requests(profile)
    if requests is None:
        return None
    total = 0.0
    for flow, share in profile.flows.items():
        for entry, each in sending.entries(flow, counted=profile.messages is not None).items():
            usd = requests_usd(
                prices,
                requests * share * each,
                duration_ms=ASSUMED_DURATION_MS,
                memory_mb=ASSUMED_MEMORY_MB,
                entry=entry,
            )
            if usd is None:
                return None
            total += usd
    return total


def budget_problems(settings: Settings, profile: Profile, prices: Prices, sending: Sending = Sending()) -> list[str]:
    """Why a run must not start, given MAX_COST_USD; empty where it may, or where there is no such limit."""
    limit = settings.max_cost_usd
    if limit is None:
        return []
    entries = {entry for flow in profile.flows for entry in sending.entries(flow)}
    items = ["lambda_requests", "lambda_x86_64_gb_s", *sorted(entry for entry in entries if entry is not None)]
    if missing := [item for item in items if prices.usd(item, 1) is None]:
        return [
            f"MAX_COST_USD: cannot be kept, for there are no prices of {', '.join(missing)} in region "
            f"{settings.region or '(AWS_REGION is not set)'}: add them below config/prices, or do not set it"
        ]
    requests = planned_requests(profile)
    if requests is None:
        return []
    usd = planned_usd(prices, profile, sending)
    if usd is None:
        return [
            f"MAX_COST_USD: cannot be kept, for profile {profile.name} plans up to {requests:,.0f} requests, and the "
            f"prices in region {settings.region} do not go so far: send less (SCALE) or for less long (TIME_SCALE)"
        ]
    if usd <= limit:
        return []
    return [
        f"MAX_COST_USD: profile {profile.name} plans up to {requests:,.0f} requests, about ${usd:,.4f} for what takes "
        f"them and for Lambda, and ${limit:,.4f} are allowed: send less (SCALE) or for less long (TIME_SCALE), or "
        "raise it"
    ]
