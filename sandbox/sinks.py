"""Where the services write: the logs and the metrics as their writers see them."""

from __future__ import annotations

from typing import Protocol, TypeAlias

Dimensions: TypeAlias = tuple[tuple[str, str], ...]
"""(name, value) pairs, in the order of their names."""


class LogSink(Protocol):
    """Where log events go (`sandbox.logs.LogStore`)."""

    def append(self, group: str, stream: str, timestamp: float, message: str) -> None: ...


class MetricSink(Protocol):
    """Where metric values go (`sandbox.metrics.Metrics`). `dimensions`: ((name, value), ...)."""

    def add(self, namespace: str, name: str, dimensions: Dimensions, at: float, value: float) -> None: ...


class NoMetrics:
    """A MetricSink that keeps nothing."""

    def add(self, namespace: str, name: str, dimensions: Dimensions, at: float, value: float) -> None:
        pass
