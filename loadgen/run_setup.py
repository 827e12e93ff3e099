"""What the next run of this process is made of: user classes, their weights, the shape; checked before any is set.

In the web UI one run follows another, each with a profile and flows of its own. So what Locust was given at first is
kept, and every run starts from that.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from locust import User
from locust.env import Environment
from locust.runners import MasterRunner, Runner

from config.budget import Sending, budget_problems
from config.errors import ConfigError, collect
from config.prices import load_prices
from loadgen.api_access import check_access
from loadgen.custom_flow import FLOW as CUSTOM
from loadgen.options import Chosen, adhoc_profile, choose_user_classes, flow_shares, resolve, with_custom
from loadgen.prerequisites import check_model, check_reachable, check_recordable
from loadgen.proxies import check_proxies
from loadgen.shapes import ProfileShape, shape_of


@dataclass(frozen=True)
class RunSetup:
    """A sound choice, and the user classes that it comes to."""

    chosen: Chosen
    weights: Mapping[type[User], float]
    shape: ProfileShape | None
    """None without a profile."""


class RunSetups:
    """Checks what is chosen for a run, and sets it in Locust."""

    def __init__(self, environment: Environment, runner: Runner) -> None:
        self._environment = environment
        self._runner = runner
        self._user_classes = list(environment.user_classes)
        self._own_shape = environment.shape_class
        self._replaced_weights: dict[type[User], float] = {}
        """The classes' own, where the flows of a run have given them others."""

    @property
    def flows(self) -> list[str]:
        """Those that the locustfiles given have user classes for, sorted."""
        return sorted({getattr(user_class, "flow", "") for user_class in self._user_classes} - {""})

    def check(
        self, options: Namespace, host: str | None, *, host_needed: bool, picked: Collection[str] = ()
    ) -> RunSetup:
        """Raises ConfigError with what is wrong; nothing has been changed then.

        `host`: where requests go, empty or None for the settings' own; `host_needed`: see `check_reachable`;
        `picked`: names of the only user classes to run, all where it is empty.
        """
        chosen = resolve(options)
        if unknown := set(picked) - {user_class.__name__ for user_class in self._user_classes}:
            raise ConfigError(f"there is no user class {', '.join(sorted(unknown))}")
        if not isinstance(self._runner, MasterRunner):
            # A master sends nothing: its workers have secrets of their own.
            check_access(chosen.settings)
            check_proxies(chosen.settings.target, os.environ)
        weights = {
            user_class: self._replaced_weights.get(user_class, user_class.weight)
            for user_class in self._user_classes
            if not picked or user_class.__name__ in picked
        }
        if chosen.flows is not None:
            weights = choose_user_classes(weights, chosen.flows)
        problems: list[str] = []
        complete = collect(problems, lambda: with_custom(chosen, weights))
        # What flow custom needs is in its file: where that cannot be read, the others are looked at.
        classes = weights if complete else [one for one in weights if getattr(one, "flow", "") != CUSTOM]
        chosen = complete or chosen
        host = host or chosen.settings.api_base_url
        collect(problems, lambda: check_reachable(chosen, classes, host, host_needed=host_needed))
        if problems and chosen.flows is None and len(self.flows) > 1:
            problems.append(
                f"FLOW: not set, so that all are to run ({', '.join(self.flows)}); --flows chooses among them"
            )
        collect(problems, lambda: check_model(chosen, weights))
        collect(problems, lambda: check_recordable(chosen))
        if chosen.settings.max_cost_usd is not None:
            profile = chosen.profile or adhoc_profile(options, flow_shares(weights), chosen)
            sending = Sending(
                chosen.settings.event_destinations,
                chosen.event_batch,
                None if chosen.custom is None else chosen.custom.flow,
            )
            problems += budget_problems(chosen.settings, profile, load_prices(chosen.settings.region or ""), sending)
        if isinstance(self._runner, MasterRunner) and chosen.profile is not None and chosen.profile.messages:
            problems.append(
                f"PROFILE: {chosen.profile.name} counts its messages: one process sends them, one after another; run "
                "it without --master and --processes"
            )
        if problems:
            raise ConfigError(problems)
        shape = None if chosen.profile is None else shape_of(chosen.profile, chosen.settings)
        return RunSetup(chosen, weights, shape)

    def apply(self, setup: RunSetup) -> None:
        """Let the next run be this one."""
        for user_class, weight in self._replaced_weights.items():
            user_class.weight = weight
        self._replaced_weights = {}
        if setup.chosen.flows is not None:
            self._replaced_weights = {user_class: user_class.weight for user_class in setup.weights}
            for user_class, weight in setup.weights.items():
                user_class.weight = weight
        self._environment.user_classes[:] = list(setup.weights)
        self._environment.shape_class = self._own_shape
        if setup.shape is not None:
            self._environment.shape_class = setup.shape
            setup.shape.runner = self._runner
