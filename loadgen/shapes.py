"""A load profile as a Locust shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic, time
from typing import Any

from locust import LoadTestShape

from config.load_curve import users_at
from config.prices import load_prices
from config.profiles import MOST_USERS, Profile
from config.settings import Settings
from loadgen.breakpoint import Breakpoint, Cost
from loadgen.live import LiveFigures
from loadgen.running_cost import running_cost_usd


class ProfileShape(LoadTestShape):
    """Asks for the users of a profile, second by second.

    Made and set in `init` and never put into a locustfile: a shape class in its namespace would switch `-u`, `-r` and
    `-t` off for everybody.
    """

    use_common_options = True
    """Keeps the form of the web UI."""

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        self._profile = profile
        self.all_sent = False
        """Set once nothing is left to send."""
        self.over = False
        """The profile has come to its end; a run that stops without it was cut short."""

    def reset_time(self) -> None:
        super().reset_time()
        self.all_sent = self.over = False

    def tick(self) -> tuple[int, float] | None:
        now = None if self.all_sent else users_at(self._profile, self.get_run_time())
        self.over = now is None
        return now


class BreakpointShape(ProfileShape):
    """Asks for as many users as the search for the breakpoint wants: each stands for so many arrivals a second."""

    def __init__(self, profile: Profile, cost: Cost, max_cost_usd: float | None) -> None:
        super().__init__(profile)
        assert profile.breakpoint is not None
        plan = profile.breakpoint
        self._new_search: Callable[[], Breakpoint] = lambda: Breakpoint(
            plan, profile.thresholds, profile.warmup_s, cost, max_cost_usd, epoch=time() - monotonic()
        )
        self._search = self._new_search()
        self.figures: LiveFigures | None = None
        """Of the run that goes; None before there are any."""

    def reset_time(self) -> None:
        super().reset_time()
        self._search = self._new_search()

    def tick(self) -> tuple[int, float] | None:
        users = self._search.first_users
        if self.figures is not None:
            wanted = self._search.users(self.figures, monotonic())
            if wanted is None:
                self.over = True
                return None
            users = wanted
        # All at once: a rate that climbs slowly would be judged before it is there.
        return users, float(MOST_USERS)

    def result(self) -> dict[str, Any]:
        """What the search has found so far; see `Breakpoint.result`."""
        return self._search.result()


def shape_of(profile: Profile, settings: Settings) -> ProfileShape:
    """What says how many users there should be."""
    plan = profile.breakpoint
    if plan is None:
        return ProfileShape(profile)
    cost = partial(running_cost_usd, load_prices(settings.region or ""), plan.memory_mb)
    return BreakpointShape(profile, cost, settings.max_cost_usd)
