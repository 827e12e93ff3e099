"""Provisioned concurrency: environments of published versions that are made ahead of requests, in modelled time.

AWS [provisioned-concurrency]: Lambda makes up to 6,000 of them a minute, and none serves before all of them are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sandbox.clock import Scheduler
from sandbox.definitions import FunctionDefinition
from sandbox.model.environments import Environment, ProvisionedEnvironments
from sandbox.model.parameters import LambdaParameters


@dataclass(frozen=True)
class Allocation:
    """What there is of the provisioned concurrency of a version."""

    allocated: int = 0
    """Environments that are initialised."""
    available: int = 0
    """... and may serve."""
    failed: bool = False
    """An init failed, and no more are made."""


@dataclass(frozen=True)
class Initialised:
    """The init of an environment: when it ends, and whether it succeeds."""

    environment: Environment
    ends_at: float
    succeeded: bool


Version = tuple[str, str]
"""Function ARN and version."""


class Provisioning:
    """The provisioned environments of all functions."""

    def __init__(
        self,
        scheduler: Scheduler,
        parameters: LambdaParameters,
        initialise: Callable[[FunctionDefinition], Initialised],
    ) -> None:
        """`initialise(function)` begins the init of another environment now."""
        self._scheduler = scheduler
        self._delay_s = parameters.provisioning_ms / 1000
        self._interval_s = 60 / parameters.provisioned_environments_per_min
        self._request_rate = parameters.request_rate_per_concurrency
        self._initialise = initialise
        self.versions: dict[Version, ProvisionedEnvironments] = {}

    def ask(self, wanted: Sequence[tuple[FunctionDefinition, int]]) -> None:
        """So many environments of these versions, and of no others."""
        now, named = self._scheduler.now(), {(function.arn, function.version) for function, _ in wanted}
        for version in self.versions.keys() - named:
            self.versions.pop(version).ask(0, now)
        for function, requested in wanted:
            key = (function.arn, function.version)
            environments = self.versions.get(key)
            if environments is None:
                environments = self.versions[key] = ProvisionedEnvironments(self._request_rate)
            if environments.requested == requested:
                continue
            environments.ask(requested, now)
            make = partial(self._make, function, environments, environments.request)
            self._scheduler.at(now + self._delay_s, make)

    def allocation(self, function_arn: str, version: str) -> Allocation:
        environments = self.versions.get((function_arn, version))
        if environments is None:
            return Allocation()
        return Allocation(environments.allocated, environments.available, environments.failed)

    def of_function(self, function_arn: str) -> dict[str, ProvisionedEnvironments]:
        """By version."""
        return {version: found for (arn, version), found in self.versions.items() if arn == function_arn}

    def _make(self, function: FunctionDefinition, environments: ProvisionedEnvironments, request: int) -> None:
        """Begin the init of the next one, and come back for the one after it."""
        if environments.request != request or not environments.lacks():
            return
        made = self._initialise(function)
        environments.initialising += 1
        self._scheduler.at(made.ends_at, partial(self._made, environments, made))
        again = partial(self._make, function, environments, request)
        self._scheduler.at(self._scheduler.now() + self._interval_s, again)

    def _made(self, environments: ProvisionedEnvironments, made: Initialised) -> None:
        environments.initialising -= 1
        if made.succeeded:
            environments.add(made.environment, self._scheduler.now())
        else:
            environments.failed = True
