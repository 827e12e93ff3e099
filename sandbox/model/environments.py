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


class AccountConcurrency:
    """Concurrency that functions without a reservation share: the account's limit less all reservations."""

    __slots__ = ("_parameters", "_rate", "busy", "reserved_busy", "unreserved_limit")

    def __init__(self, parameters: LambdaParameters, reserved_total: int = 0) -> None:
        self._parameters = parameters
        self.busy = 0
        """Unreserved executions at this moment."""
        self.reserved_busy = 0
        self.set_reserved(reserved_total)

    def set_reserved(self, reserved_total: int) -> None:
        """Reservations changed."""
        self.unreserved_limit = max(0, self._parameters.account_concurrency - reserved_total)
        rate = self.unreserved_limit * self._parameters.request_rate_per_concurrency
        self._rate = TokenBucket(rate, rate)

    def take_request(self, now: float) -> bool:
        return self._rate.take(now)


class FunctionConcurrency:
    """One function's executions, its limits, and how quickly it may grow."""

    __slots__ = ("_account", "_parameters", "_rate", "_scaling", "busy", "reserved")

    def __init__(self, parameters: LambdaParameters, account: AccountConcurrency, reserved: int | None) -> None:
        self._parameters = parameters
        self._account = account
        self._scaling = TokenBucket(
            parameters.scaling_environments / parameters.scaling_interval_s, parameters.scaling_environments
        )
        self.busy = 0
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
            if self.busy >= self.reserved:
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

    def _count(self, executions: int) -> None:
        if self.reserved is None:
            self._account.busy += executions
        else:
            self._account.reserved_busy += executions

    def _request_rate(self, reserved: int | None) -> TokenBucket:
        rate = (reserved or 0) * self._parameters.request_rate_per_concurrency
        return TokenBucket(rate, rate)
