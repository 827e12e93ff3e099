"""What a run is going to send, as far as its profile says so before anything is sent. Pure.

In the open model the profile says it to the request. In the closed model users wait for their answers: a paced user
sends no more than one request an interval, a user that thinks no more than one a think time and an answer. So these are
the most that can come. Users that neither pace nor think send as fast as they are answered; how fast that is nobody
knows before.
"""

from __future__ import annotations

from config.load_curve import rate_ramps, user_seconds
from config.profiles import Profile


def planned_requests(profile: Profile, response_ms: float = 0.0) -> float | None:
    """How many requests, at most; None where the profile does not say.

    `response_ms`: how long an answer is known to take on the average, at least.
    """
    if profile.messages is not None:
        return float(profile.messages)
    if profile.breakpoint is not None:
        return None
    if profile.rate_per_user is not None:
        return user_seconds(profile) * profile.rate_per_user or None
    if profile.model == "open":
        return sum(ramp.duration_s * (ramp.from_rate + ramp.to_rate) / 2 for ramp in rate_ramps(profile))
    interval_s = _interval_s(profile, response_ms)
    return (user_seconds(profile) / interval_s or None) if interval_s else None


def planned_peak_rate(profile: Profile, response_ms: float = 0.0) -> float | None:
    """How many requests a second, at most; None where the profile does not say. `response_ms` as above."""
    if profile.rate_per_user is not None and profile.breakpoint is None:
        return profile.peak_users_of_stages * profile.rate_per_user
    if profile.model == "open":
        return profile.peak_rate
    interval_s = _interval_s(profile, response_ms)
    return profile.peak_users_of_stages / interval_s if interval_s else None


def _interval_s(profile: Profile, response_ms: float) -> float:
    """From the start of a user's request to that of its next one, at least; 0 where nothing says so."""
    if profile.pacing_s is not None:
        return max(profile.pacing_s, response_ms / 1000)
    thinks_s = 0.0 if profile.think_time_s is None else sum(profile.think_time_s) / 2
    return thinks_s + response_ms / 1000
