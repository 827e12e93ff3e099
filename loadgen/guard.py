"""The limits that end a run while it goes: MAX_COST_USD and MAX_USERS. Pure.

What a run plans is refused before it starts (`config.budget`, `loadgen.options`). This is for what nobody can know
before: users that send as fast as they are answered, functions that take longer than expected, users that somebody
adds while the run goes, be it in the web UI, at the terminal, or by a shape of their own.

The cost is that of the requests that have really ended, by `loadgen.running_cost`. The search for a breakpoint looks at
its cost itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from config.budget import ASSUMED_MEMORY_MB
from config.prices import Prices
from config.profiles import Profile
from config.settings import Settings
from loadgen.live import LiveFigures
from loadgen.running_cost import running_cost_usd

MAX_COST_USD, MAX_USERS = "MAX_COST_USD", "MAX_USERS"
LOOK_EVERY_S = 1.0
"""The cost is that of the whole run, and adding it up takes a moment."""


@dataclass(frozen=True)
class LimitReached:
    """Why a run was ended."""

    limit: str
    """The variable."""
    value: float | None
    """USD so far, or users; None where the cost is not known any more, for lack of a price."""
    allowed: float

    def __str__(self) -> str:
        if self.limit == MAX_USERS:
            return f"MAX_USERS: {self.value} users, {self.allowed:g} allowed"
        so_far = "an amount that no price is known of" if self.value is None else f"about ${self.value:,.4f}"
        return f"MAX_COST_USD: the requests so far cost {so_far}, ${self.allowed:,.4f} are allowed"


class Guard:
    """The limits of one run."""

    def __init__(self, settings: Settings, prices: Callable[[], Prices], profile: Profile) -> None:
        """`prices` is asked only where there is a limit of the cost."""
        limited = settings.max_cost_usd is not None and profile.breakpoint is None
        self._max_cost_usd = settings.max_cost_usd if limited else None
        self._prices = prices() if limited else None
        # In the open model users stand for arrivals: MAX_USERS is about requests that are open there.
        self._max_users = settings.max_users if profile.model == "closed" else None

    def __bool__(self) -> bool:
        return self._max_cost_usd is not None or self._max_users is not None

    def look(self, figures: LiveFigures, users: int) -> LimitReached | None:
        """What ends the run now, if anything does. `users`: there are now."""
        if self._max_users is not None and users > self._max_users:
            return LimitReached(MAX_USERS, users, self._max_users)
        if self._max_cost_usd is not None and self._prices is not None:
            usd = running_cost_usd(self._prices, ASSUMED_MEMORY_MB, figures)
            if usd is None or usd >= self._max_cost_usd:
                return LimitReached(MAX_COST_USD, usd, self._max_cost_usd)
        return None
