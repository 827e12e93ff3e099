"""What the Lambda service keeps of functions, of their versions, and of each invocation under way."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from sandbox.code_package import CodePackage
from sandbox.definitions import FunctionDefinition
from sandbox.invoke_results import OnDone
from sandbox.log_formats import Failure, LogFormat
from sandbox.model.durations import DurationModel
from sandbox.model.environments import Environment, EnvironmentPool, FunctionConcurrency, ProvisionedEnvironments
from sandbox.runtime import HandlerError
from sandbox.truth import FunctionTruth


class VersionState:
    """One version and configuration of a function: its environments share code, memory and variables."""

    __slots__ = ("durations", "function", "log_format", "package", "pool")

    def __init__(
        self,
        function: FunctionDefinition,
        package: CodePackage,
        durations: DurationModel,
        pool: EnvironmentPool,
        log_format: LogFormat,
    ) -> None:
        self.function = function
        self.package = package
        self.durations = durations
        self.pool = pool
        self.log_format = log_format


class FunctionState:
    """One function: what its versions have in common."""

    __slots__ = ("arn", "concurrency", "dimensions", "logical_name", "provisioned", "rng", "truth", "versions")

    def __init__(
        self,
        logical_name: str,
        function: FunctionDefinition,
        concurrency: FunctionConcurrency,
        truth: FunctionTruth,
        seed: int,
    ) -> None:
        self.logical_name = logical_name
        self.arn = function.arn
        self.dimensions = (("FunctionName", function.name),)
        self.concurrency = concurrency
        self.truth = truth
        self.rng = random.Random(f"{seed}/{logical_name}")
        self.versions: dict[str, VersionState] = {}
        self.provisioned: dict[str, ProvisionedEnvironments] = {}
        """By version."""


class Invocation:
    """One invocation under way."""

    __slots__ = (
        "duration_ms",
        "environment",
        "error",
        "event",
        "fault",
        "init_ms",
        "lines",
        "log_tail",
        "on_done",
        "payload",
        "provisioned",
        "request_id",
        "restore_ms",
        "slow_init_ms",
        "spilled",
        "started_at",
        "state",
        "timed_out",
        "trace_header",
        "version",
        "xray",
    )

    state: FunctionState
    version: VersionState
    environment: Environment
    provisioned: ProvisionedEnvironments | None
    """Where the environment belongs to; None on demand."""
    spilled: bool
    """It runs on demand because no provisioned environment could take it."""
    payload: bytes
    event: Any
    request_id: str
    trace_header: str | None
    log_tail: bool
    on_done: OnDone
    init_ms: float | None
    """As REPORT shows it; None for a warm start and for a repeated init."""
    restore_ms: float | None
    """Of an environment that was restored from a snapshot."""
    slow_init_ms: float | None
    """What a fault lets the init of this invocation take, at first and repeated."""
    duration_ms: float
    started_at: float
    timed_out: bool
    error: HandlerError | None
    """Known before the handler runs: a failed init."""
    fault: Any
    lines: list[tuple[float, str]]
    """Log events written before the invocation starts: INIT_START and what the init wrote."""
    xray: tuple[str, str, bool] | None


class Ending(NamedTuple):
    """What an invocation's end shows of its outcome."""

    payload: bytes
    failure: Failure | None = None
    memory_mb: int | None = None
    """Where it is not the environment's high-water mark."""
