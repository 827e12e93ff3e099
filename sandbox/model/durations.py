"""How long an invocation takes: memory and chance in, milliseconds out."""

from __future__ import annotations

import random
from dataclasses import dataclass

from sandbox.model.parameters import FunctionTiming, LambdaParameters


@dataclass(frozen=True, slots=True)
class DurationModel:
    """`FunctionTiming` at one memory size. All in milliseconds."""

    least_ms: float
    jitter_ms: float
    first_call_ms: float
    mean_init_ms: float
    jitter_shape: float
    init_jitter: float

    def duration_ms(self, rng: random.Random, *, first_call: bool) -> float:
        """Duration of one invocation, without init."""
        shape = self.jitter_shape
        duration = self.least_ms + rng.gammavariate(shape, self.jitter_ms / shape) if self.jitter_ms else self.least_ms
        return duration + self.first_call_ms if first_call else duration

    def init_ms(self, rng: random.Random) -> float:
        """Duration of the init phase of one environment."""
        return self.mean_init_ms * rng.uniform(1.0 - self.init_jitter, 1.0 + self.init_jitter)


def duration_model(timing: FunctionTiming, memory_mb: int, parameters: LambdaParameters) -> DurationModel:
    """The model of a function at a memory size: CPU time stretches where it has less than a vCPU."""
    share = min(1.0, memory_mb / parameters.one_vcpu_mb)
    return DurationModel(
        least_ms=timing.io_ms + timing.cpu_ms / share,
        jitter_ms=timing.io_jitter_ms + timing.cpu_jitter_ms / share,
        first_call_ms=timing.first_io_ms + timing.first_cpu_ms / share,
        mean_init_ms=timing.init_ms,
        jitter_shape=parameters.jitter_shape,
        init_jitter=parameters.init_jitter,
    )
