"""MAX_COST_USD before a run: whether it can be kept at all, and whether what the profile plans is within it. Pure.

While the run goes `loadgen.guard` holds what was sent against it. Both estimates count API Gateway's and Lambda's
requests and Lambda's time; what functions call, logs and traces are not in them.
"""

from __future__ import annotations

from config.planned_load import planned_requests
from config.prices import Prices, requests_usd
from config.profiles import SIGNED_FLOWS, Profile
from config.settings import Settings

ASSUMED_MEMORY_MB = 1024.0
"""Of the functions behind a request: more than most have, so that the estimate is rather too high."""
ASSUMED_DURATION_MS = 100.0
"""Of an invocation that nobody has measured yet."""


def planned_usd(prices: Prices, profile: Profile) -> float | None:
    """What the requests of a profile cost, if they take ASSUMED_DURATION_MS; None where their number or a price is not
    known."""
    requests = planned_requests(profile)
    if requests is None:
        return None
    total = 0.0
    for flow, share in profile.flows.items():
        usd = requests_usd(
            prices,
            requests * share,
            duration_ms=ASSUMED_DURATION_MS,
            memory_mb=ASSUMED_MEMORY_MB,
            api=None if flow in SIGNED_FLOWS else "rest",
        )
        if usd is None:
            return None
        total += usd
    return total


def budget_problems(settings: Settings, profile: Profile, prices: Prices) -> list[str]:
    """Why a run must not start, given MAX_COST_USD; empty where it may, or where there is no such limit."""
    limit = settings.max_cost_usd
    if limit is None:
        return []
    if requests_usd(prices, 1, duration_ms=1, memory_mb=1) is None:
        return [
            "MAX_COST_USD: cannot be kept, for there are no prices of API Gateway and Lambda in region "
            f"{settings.region or '(AWS_REGION is not set)'}: add them below config/prices, or do not set it"
        ]
    requests = planned_requests(profile)
    if requests is None:
        return []
    usd = planned_usd(prices, profile)
    if usd is None:
        return [
            f"MAX_COST_USD: cannot be kept, for profile {profile.name} plans up to {requests:,.0f} requests, and the "
            f"prices in region {settings.region} do not go so far: send less (SCALE) or for less long (TIME_SCALE)"
        ]
    if usd <= limit:
        return []
    return [
        f"MAX_COST_USD: profile {profile.name} plans up to {requests:,.0f} requests, about ${usd:,.4f} for API Gateway "
        f"and Lambda, and ${limit:,.4f} are allowed: send less (SCALE) or for less long (TIME_SCALE), or raise it"
    ]
