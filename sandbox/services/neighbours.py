"""What the services that deliver messages need of the parts of the sandbox around them. Each service says beside its
own what it needs to know of the resources that exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sandbox.definitions import FunctionDefinition


class Delivery(Protocol):
    """What becomes of one delivery; `sandbox.faults.Delivery`."""

    @property
    def copies(self) -> int: ...
    @property
    def delay_s(self) -> float: ...


class DeliveryFaults(Protocol):
    """`sandbox.faults.Faults`."""

    def delivery(self, place: str) -> Delivery: ...


class AsynchronousFunctions(Protocol):
    """Functions that are handed an event and not waited for; `sandbox.functions.LambdaService` runs them."""

    def invoke_async(self, function: FunctionDefinition, payload: bytes) -> Any: ...


class SynchronousFunctions(Protocol):
    """Functions whose result is waited for; `sandbox.functions.LambdaService` runs them."""

    def invoke(self, function: FunctionDefinition, payload: bytes, on_done: Callable[[Any], None]) -> None: ...


class MessageTruth(Protocol):
    """What is counted of messages; `sandbox.truth.Truth` has it."""

    pending: int

    def taken(self, service: str, messages: int) -> None: ...
    def message_answered(self, entrance: str, body: bytes, status: int) -> None: ...
