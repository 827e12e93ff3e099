"""Execution environments: which one serves the next invocation, and how many there may be."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from sandbox.model.parameters import LambdaParameters
from sandbox.model.throttling import TokenBucket


class Environment:
    """One execution environment of a function version."""

    __slots__ = (
        "calls",
        "created_at",
        "idle_since",
        "init_due",
        "log_stream",
        "memory_limit_mb",
        "memory_mb",
        "runtime",
    )

    def __init__(self, created_at: float, log_stream: str, memory_mb: int, memory_limit_mb: int) -> None:
        self.created_at = created_at
        self.idle_since = created_at
        self.log_stream = log_stream
        self.calls = 0
        """Calls since the last init."""
        self.memory_mb = memory_mb
        """High-water mark of the memory in use."""
        self.memory_limit_mb = memory_limit_mb
        """What the mark may come to in ordinary use."""
        self.init_due = False
        """After a timeout, a crash or a failed init: the next invocation repeats init within its own duration."""
        self.runtime: Any = None
        """What runs the handler."""

    def use_memory(self, rng: random.Random) -> int:
        """The high-water mark after one more call: it creeps up, rarely."""
        if self.memory_mb < self.memory_limit_mb and rng.random() < 0.02:
            self.memory_mb += 1
        return self.memory_mb


class EnvironmentPool:
    """The idle environments of one function version and configuration; the last used is the first reused."""

    __slots__ = ("_idle", "_idle_expiry_s", "_lifetime_s")

    def __init__(self, idle_expiry_s: float, lifetime_s: float) -> None:
        self._idle: deque[Environment] = deque()
        self._idle_expiry_s = idle_expiry_s
        self._lifetime_s = lifetime_s

    def take(self, now: float) -> Environment | None:
        """The environment to reuse; None where a new one is needed. Those idle for too long are gone by now."""
        idle = self._idle
        while idle and now - idle[0].idle_since >= self._idle_expiry_s:
            idle.popleft()
        while idle:
            environment = idle.pop()
            if now - environment.created_at < self._lifetime_s:
                return environment
        return None

    def give_back(self, environment: Environment, now: float) -> None:
        """The environment has served its invocation."""
        environment.idle_since = now
        self._idle.append(environment)

    def __len__(self) -> int:
        return len(self._idle)


class ProvisionedEnvironments:
    """The environments of one published version that are made ahead of any request and kept (provisioned concurrency).

    AWS [provisioned-concurrency]: none of what is asked for serves before all of it is there. They do not expire here;
    AWS replaces them in the background.
    """

    __slots__ = (
        "_idle",
        "_rate",
        "_rate_per_environment",
        "_waiting",
        "allocated",
        "busy",
        "failed",
        "initialising",
        "request",
        "requested",
    )

    def __init__(self, requests_per_s: float) -> None:
        """`requests_per_s`: what each environment may serve; what goes beyond runs on demand."""
        self._rate_per_environment = requests_per_s
        self._idle: list[Environment] = []
        self._waiting: list[Environment] = []
        self.requested = 0
        self.request = 0
        """How often another number was asked for: whoever makes environments for an earlier one stops."""
        self.initialising = 0
        self.allocated = 0
        """Initialised, whether they serve already or not."""
        self.busy = 0
        self.failed = False
        """An init failed, and no more are made."""
        self._rate = TokenBucket(0, 0)

    @property
    def available(self) -> int:
        """Environments that may serve."""
        return self.allocated - len(self._waiting)

    def ask(self, requested: int, now: float) -> None:
        """So many are wanted from now on. A surplus goes: first what does not serve yet, at last what is busy."""
        self.requested, self.failed = requested, False
        self.request += 1
        for environments in (self._waiting, self._idle):
            while environments and self.allocated > requested:
                environments.pop()
                self.allocated -= 1
        self._admit(now)

    def lacks(self) -> bool:
        """Whether another one has to be made."""
        return not self.failed and self.allocated + self.initialising < self.requested

    def add(self, environment: Environment, now: float) -> None:
        """The init of one has succeeded."""
        if self.allocated < self.requested:
            self.allocated += 1
            self._waiting.append(environment)
            self._admit(now)

    def take(self, now: float, *, synchronous: bool) -> Environment | None:
        """The environment for an invocation; None where it has to run on demand."""
        if not self._idle or (synchronous and not self._rate.take(now)):
            return None
        self.busy += 1
        return self._idle.pop()

    def give_back(self, environment: Environment, now: float) -> None:
        """The environment has served its invocation."""
        environment.idle_since = now
        self.busy -= 1
        if self.allocated > self.requested:
            self.allocated -= 1
        else:
            self._idle.append(environment)

    def _admit(self, now: float) -> None:
        if self.allocated >= self.requested:
            self._idle += self._waiting
            self._waiting.clear()
            rate = self.allocated * self._rate_per_environment
            self._rate = TokenBucket(rate, rate)


class AccountConcurrency:
    """Concurrency that functions without a reservation share: the account's limit less all reservations, and less what
    these functions have provisioned."""

    __slots__ = ("_parameters", "_rate", "busy", "provisioned_busy", "reserved_busy", "unreserved_limit")

    def __init__(self, parameters: LambdaParameters, reserved_total: int = 0) -> None:
        self._parameters = parameters
        self.busy = 0
        """Unreserved executions on demand at this moment."""
        self.provisioned_busy = 0
        """Executions in provisioned environments, of whatever function."""
        self.reserved_busy = 0
        self.set_reserved(reserved_total)

    def set_reserved(self, reserved_total: int) -> None:
        """Reservations, or what is provisioned without one, changed."""
        self.unreserved_limit = max(0, self._parameters.account_concurrency - reserved_total)
        rate = self.unreserved_limit * self._parameters.request_rate_per_concurrency
        self._rate = TokenBucket(rate, rate)

    def take_request(self, now: float) -> bool:
        return self._rate.take(now)


class FunctionConcurrency:
    """One function's executions, its limits, and how quickly it may grow."""

    __slots__ = ("_account", "_parameters", "_rate", "_scaling", "busy", "provisioned", "provisioned_busy", "reserved")

    def __init__(self, parameters: LambdaParameters, account: AccountConcurrency, reserved: int | None) -> None:
        self._parameters = parameters
        self._account = account
        self._scaling = TokenBucket(
            parameters.scaling_environments / parameters.scaling_interval_s, parameters.scaling_environments
        )
        self.busy = 0
        """Executions on demand at this moment."""
        self.provisioned = 0
        """Environments that are provisioned: a part of the reservation, which executions on demand cannot have."""
        self.provisioned_busy = 0
        self.reserved = reserved
        self._rate = self._request_rate(reserved)

    def set_reserved(self, reserved: int | None) -> None:
        """The reservation changed; None means the function draws on the account's unreserved concurrency."""
        self._count(-self.busy)
        self.reserved = reserved
        self._count(self.busy)
        self._rate = self._request_rate(reserved)

    def refusal(self, now: float, *, synchronous: bool) -> str | None:
        """Why one more execution is refused now (`Reason` of TooManyRequestsException); None where it may start.

        Only synchronous requests count against the request rate.
        """
        if self.reserved is not None:
            if self.busy >= self.reserved - self.provisioned:
                return "ReservedFunctionConcurrentInvocationLimitExceeded"
            if synchronous and not self._rate.take(now):
                return "ReservedFunctionInvocationRateLimitExceeded"
            return None
        if self._account.busy >= self._account.unreserved_limit:
            return "ConcurrentInvocationLimitExceeded"
        if synchronous and not self._account.take_request(now):
            return "FunctionInvocationRateLimitExceeded"
        return None

    def may_grow(self, now: float) -> bool:
        """Whether the function may have one more environment now; it has it if True."""
        return self._scaling.take(now)

    def start(self) -> None:
        """An execution starts."""
        self.busy += 1
        self._count(1)

    def end(self) -> None:
        """An execution has ended."""
        self.busy -= 1
        self._count(-1)

    def start_provisioned(self) -> None:
        """An execution starts in a provisioned environment, which nothing can refuse it."""
        self.provisioned_busy += 1
        self._account.provisioned_busy += 1

    def end_provisioned(self) -> None:
        self.provisioned_busy -= 1
        self._account.provisioned_busy -= 1

    def _count(self, executions: int) -> None:
        if self.reserved is None:
            self._account.busy += executions
        else:
            self._account.reserved_busy += executions

    def _request_rate(self, reserved: int | None) -> TokenBucket:
        rate = (reserved or 0) * self._parameters.request_rate_per_concurrency
        return TokenBucket(rate, rate)
