"""MAX_COST_USD, shared by the arms of one experiment and what is provisioned for one of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.formatting import plural, usd
from config.budget import planned_usd
from config.errors import ConfigError
from config.prices import Prices, lambda_provisioned_item
from config.profiles import Profile
from control.errors import ControlError
from control.function_configuration import architecture_of
from control.provisioned.result import Arm, Result, kept_usd


class Budget:
    """What the experiment may cost, Lambda's part of it."""

    def __init__(
        self, max_usd: float | None, prices: Prices, before: Mapping[str, Any], environments: int, profile: Profile
    ) -> None:
        """`max_usd`: None: anything; `before`: the configuration of the function."""
        self._max_usd = max_usd
        self._profile, self._environments = profile, environments
        self._run_usd = planned_usd(prices, profile)
        self._prices, self._item = prices, lambda_provisioned_item(architecture_of(before))
        self.kept_usd = kept_usd(
            prices, architecture_of(before), before["MemorySize"], environments, profile.duration_s or 0.0
        )
        """For what is provisioned as long as the profile goes; None where its price is not known."""

    def check(self, arms: Sequence[Arm]) -> None:
        """Raises ConfigError where the plan costs too much, or the limit cannot be kept."""
        if self._max_usd is None:
            return
        if self.kept_usd is None:
            raise ConfigError(f"MAX_COST_USD: cannot be kept: {self._prices.why_unknown(self._item)}, or do not set it")
        # Where nobody knows how many requests there will be, the limit holds while they are sent.
        runs_usd = len(arms) * (self._run_usd or 0.0)
        if runs_usd + self.kept_usd > self._max_usd:
            raise ConfigError(
                f"MAX_COST_USD: {plural(len(arms), 'run')} of profile {self._profile.name} are planned to cost "
                f"{usd(runs_usd)}, {plural(self._environments, 'provisioned environment')} {usd(self.kept_usd)}, and "
                f"{usd(self._max_usd)} are allowed: send less (SCALE, TIME_SCALE), lower CONCURRENCY, or raise it"
            )

    def left_for(self, arm: Arm, so_far: Result) -> float | None:
        """USD that the requests of the next arm may cost; None: anything. Raises ControlError where nothing is left."""
        if self._max_usd is None:
            return None
        spent = sum(so_far.cost(one).run_usd or 0.0 for one in so_far.arms)
        left = self._max_usd - spent - ((self.kept_usd or 0.0) if arm == "provisioned" else 0.0)
        if left <= 0:
            raise ControlError(f"MAX_COST_USD: {usd(spent)} are spent, and nothing is left for arm {arm}")
        return left
