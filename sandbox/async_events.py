"""Lambda's queue of asynchronous events (invocation type Event): retries after errors, patience with throttles.

Behaviour from AWS documentation (invocation-async-error-handling); the waits are parameters of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sandbox.clock import Scheduler
from sandbox.definitions import Definitions, FunctionDefinition
from sandbox.invoke_results import InvokeResult, OnDone
from sandbox.model.parameters import LambdaParameters
from sandbox.sinks import MetricSink
from sandbox.truth import Truth

NAMESPACE = "AWS/Lambda"

Attempt = Callable[[FunctionDefinition, bytes, str, str | None, OnDone], None]
"""(function, payload, request id, trace header, on_done): one invocation."""


class _AsyncEvent:
    """An event in a function's asynchronous queue."""

    __slots__ = (
        "accepted_at",
        "errors",
        "function",
        "on_settled",
        "payload",
        "request_id",
        "throttles",
        "trace_header",
    )

    def __init__(
        self,
        function: FunctionDefinition,
        payload: bytes,
        request_id: str,
        trace_header: str | None,
        accepted_at: float,
        on_settled: OnDone | None,
    ) -> None:
        self.function = function
        self.payload = payload
        self.request_id = request_id
        self.trace_header = trace_header
        self.accepted_at = accepted_at
        self.on_settled = on_settled
        self.errors = 0
        self.throttles = 0


class AsyncEvents:
    """The queue. All attempts at an event have one request id."""

    def __init__(
        self,
        definitions: Definitions,
        scheduler: Scheduler,
        parameters: LambdaParameters,
        *,
        attempt: Attempt,
        metrics: MetricSink,
        truth: Truth,
    ) -> None:
        self._definitions = definitions
        self._scheduler = scheduler
        self._parameters = parameters
        self._attempt = attempt
        self._metrics = metrics
        self._truth = truth

    def accept(
        self,
        function: FunctionDefinition,
        payload: bytes,
        request_id: str,
        trace_header: str | None,
        on_settled: OnDone | None,
    ) -> None:
        """Queue an event; `on_settled` gets the result of its last attempt."""
        now = self._scheduler.now()
        event = _AsyncEvent(function, payload, request_id, trace_header, now, on_settled)
        self._truth.pending += 1
        self._metrics.add(NAMESPACE, "AsyncEventsReceived", (("FunctionName", function.name),), now, 1.0)
        self._scheduler.at(now + self._parameters.async_dispatch_ms / 1000, partial(self._deliver, event))

    def _deliver(self, event: _AsyncEvent) -> None:
        now = self._scheduler.now()
        function = self._definitions.function(event.function.name, event.function.version) or event.function
        dimensions = (("FunctionName", function.name),)
        self._metrics.add(NAMESPACE, "AsyncEventAge", dimensions, now, (now - event.accepted_at) * 1000)
        self._attempt(function, event.payload, event.request_id, event.trace_header, partial(self._delivered, event))

    def _delivered(self, event: _AsyncEvent, result: InvokeResult) -> None:
        parameters, now = self._parameters, self._scheduler.now()
        wait_s: float | None = None
        if result.status == 429:
            wait_s = min(parameters.async_throttle_wait_s * 2**event.throttles, parameters.async_throttle_wait_max_s)
            event.throttles += 1
        elif result.function_error is not None:
            waits = parameters.async_retry_waits_s
            wait_s = waits[event.errors] if event.errors < len(waits) else None
            event.errors += 1
        if wait_s is not None and now + wait_s - event.accepted_at <= parameters.async_event_age_max_s:
            self._scheduler.at(now + wait_s, partial(self._deliver, event))
            return
        if result.status != 200 or result.function_error is not None:
            dimensions = (("FunctionName", event.function.name),)
            self._metrics.add(NAMESPACE, "AsyncEventsDropped", dimensions, now, 1.0)
        self._truth.pending -= 1
        if event.on_settled is not None:
            event.on_settled(result)
