"""Misbehaviour on request: which of the next events goes wrong, and how.

A fault is told as JSON, by rate or by count:

    {"kind": "fail", "function": "place-vote", "rate": 0.05}
    {"kind": "slow", "function": "get-results", "count": 3, "delay_ms": 2000}
    {"kind": "drop", "topic": "sales", "count": 7, "of": 500}
    {"kind": "delay", "queue": "events", "rate": 0.1, "delay_s": 5}
    {"kind": "throttle_api", "rate": 0.1}
    {"kind": "lag_logs", "lag_s": 30, "rate": 1.0}
    {"kind": "deny", "actions": ["lambda:UpdateFunctionConfiguration", "cloudformation:*"]}
    {"kind": "expired_credentials", "after": 12}

`rate` holds until the faults are cleared. `count` hits exactly so many of the next `of` events (drawn by the seeded
generator; without `of`, the very next ones). One event suffers at most one fault, so that counts on the same target
add up: 7 dropped and 5 duplicated of the same 500 deliveries are 12 different ones. What the caller may do has neither:
permissions are denied, and credentials stay expired, until the faults are cleared.

What was hit is kept, the newest of it: `Faults.hits` says which fault met which request.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from sandbox.problems import problems_of

ThrottleReason = Literal[
    "ConcurrentInvocationLimitExceeded",
    "FunctionInvocationRateLimitExceeded",
    "ReservedFunctionConcurrentInvocationLimitExceeded",
    "ReservedFunctionInvocationRateLimitExceeded",
    "CallerRateLimitExceeded",
]


HITS_KEPT = 100_000


class FaultsError(ValueError):
    """Faults that make no sense; `problems` lists every reason, each a line of text."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Fault(BaseModel):
    """A fault that hits some of the events of its target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Annotated[float, Field(gt=0, le=1)] | None = None
    count: PositiveInt | None = None
    of: Annotated[int, Field(gt=0, le=10_000_000)] | None = None

    @model_validator(mode="after")
    def _rate_or_count(self) -> _Fault:
        if (self.rate is None) == (self.count is None):
            raise ValueError("give either rate or count")
        if self.of is not None and (self.count is None or self.of < self.count):
            raise ValueError("of goes with a count, and is not below it")
        return self


class FailFunction(_Fault):
    """The handler raises instead of running."""

    kind: Literal["fail"]
    function: str
    error_type: str = "InjectedFault"
    error_message: str = "a fault asked for at /_sandbox/faults"


class SlowFunction(_Fault):
    """The handler takes longer, up to its timeout and beyond."""

    kind: Literal["slow"]
    function: str
    delay_ms: PositiveFloat


class CrashFunction(_Fault):
    """The runtime process exits in mid-invocation."""

    kind: Literal["crash"]
    function: str


class ExhaustMemory(_Fault):
    """The runtime process is killed for using all its memory."""

    kind: Literal["oom"]
    function: str


class FailInit(_Fault):
    """The environment starts its runtime again, and the handler's module cannot be loaded."""

    kind: Literal["fail_init"]
    function: str
    error_type: str = "Runtime.ImportModuleError"
    error_message: str = "Unable to import module 'handler': No module named 'a_fault'"


class RefuseCalls(_Fault):
    """An AWS service refuses what the handler asks of it in this invocation, as it does beyond its limits."""

    kind: Literal["refuse_call"]
    function: str
    operation: str
    """As AWS names it: `PutRecord`, `Decrypt`, `UpdateItem`."""
    error_type: str = "ThrottlingException"
    error_message: str = "Rate exceeded"


class MalformResponse(_Fault):
    """The handler succeeds, with an answer that API Gateway does not understand."""

    kind: Literal["malform"]
    function: str


class SlowInit(_Fault):
    """The init of a new environment takes so long; beyond the limit (10 s) it is broken off and repeated."""

    kind: Literal["slow_init"]
    function: str
    init_ms: PositiveFloat


class ThrottleFunction(_Fault):
    """Lambda refuses the invocation."""

    kind: Literal["throttle"]
    function: str
    reason: ThrottleReason = "ConcurrentInvocationLimitExceeded"


class ThrottleApi(_Fault):
    """API Gateway answers 429."""

    kind: Literal["throttle_api"]


class CutAnswer(_Fault):
    """The connection closes in the middle of the API's answer."""

    kind: Literal["cut"]


class _DeliveryFault(_Fault):
    """A fault of a topic (for one subscriber), of a queue, of a bus (for one target of a rule), or of a stream (for one
    mapping)."""

    topic: str | None = None
    queue: str | None = None
    bus: str | None = None
    stream: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> _DeliveryFault:
        if len(self._places()) != 1:
            raise ValueError("give one of topic, queue, bus and stream")
        return self

    def _places(self) -> list[str]:
        named = {"topic": self.topic, "queue": self.queue, "bus": self.bus, "stream": self.stream}
        return [f"{kind}/{name}" for kind, name in named.items() if name is not None]

    @property
    def place(self) -> str:
        """`topic/sales`, `queue/events`, `bus/events`, `stream/events`."""
        return self._places()[0]


class DropDelivery(_DeliveryFault):
    """The message is lost."""

    kind: Literal["drop"]


class DuplicateDelivery(_DeliveryFault):
    """The message comes twice."""

    kind: Literal["duplicate"]


class DelayDelivery(_DeliveryFault):
    """The message comes late."""

    kind: Literal["delay"]
    delay_s: PositiveFloat

    @model_validator(mode="after")
    def _not_in_a_stream(self) -> DelayDelivery:
        if self.stream is not None:
            raise ValueError("a stream keeps its order: slow its function down instead")
        return self


class LagLogs(_Fault):
    """Log events (of any group) become visible so much later than they otherwise would."""

    kind: Literal["lag_logs"]
    lag_s: PositiveFloat


class DenyActions(BaseModel):
    """The caller's policies do not allow these actions. What handlers call is their own roles' matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["deny"]
    actions: Annotated[list[Annotated[str, Field(pattern=r"^(\*|[\w-]+:[\w*?]+)$")]], Field(min_length=1)]
    """As in a policy, with its wildcards: `lambda:InvokeFunction`, `cloudformation:*`."""
    resources: Annotated[list[str], Field(min_length=1)] = ["*"]
    """ARNs, with wildcards."""

    def covers(self, action: str, resource: str) -> bool:
        """Whether it denies the action on the resource."""
        return any(_like(pattern.lower(), action.lower()) for pattern in self.actions) and any(
            _like(pattern, resource) for pattern in self.resources
        )


class ExpireCredentials(BaseModel):
    """The caller's credentials have expired."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["expired_credentials"]
    after: Annotated[int, Field(ge=0)] = 0
    """So many calls are let through first."""


RunFault = FailFunction | SlowFunction | CrashFunction | ExhaustMemory | FailInit | RefuseCalls | MalformResponse
ApiFault = ThrottleApi | CutAnswer
DeliveryFault = DropDelivery | DuplicateDelivery | DelayDelivery
Fault = Annotated[
    FailFunction
    | SlowFunction
    | CrashFunction
    | ExhaustMemory
    | FailInit
    | RefuseCalls
    | MalformResponse
    | SlowInit
    | ThrottleFunction
    | ThrottleApi
    | CutAnswer
    | DropDelivery
    | DuplicateDelivery
    | DelayDelivery
    | LagLogs
    | DenyActions
    | ExpireCredentials,
    Field(discriminator="kind"),
]
_FAULTS: TypeAdapter[list[Any]] = TypeAdapter(list[Fault])


@dataclass(frozen=True, slots=True)
class Delivery:
    """What becomes of one delivery: how many copies arrive (0 = lost), and how much later."""

    copies: int
    delay_s: float


ORDINARY_DELIVERY = Delivery(copies=1, delay_s=0.0)


def parse_faults(text: bytes) -> list[Any]:
    """Faults from JSON: one object, a list of them, or `{"faults": [...]}`. Raises FaultsError."""
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise FaultsError([f"not JSON: {error}"]) from None
    if isinstance(told, dict):
        told = told["faults"] if set(told) == {"faults"} else [told]
    try:
        return _FAULTS.validate_python(told)
    except ValidationError as error:
        raise FaultsError(problems_of(error)) from None


class _Active:
    """A fault in force, and how many events it has hit."""

    __slots__ = ("fault", "hits")

    def __init__(self, fault: Any) -> None:
        self.fault = fault
        self.hits = 0


class _Target:
    """The events of one target in order; decides the fate of each."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._events = 0
        self._planned: dict[int, _Active] = {}
        self._by_rate: list[_Active] = []

    def add(self, active: _Active) -> None:
        fault = active.fault
        if fault.rate is not None:
            self._by_rate.append(active)
            return
        window = range(self._events, self._events + (fault.of or fault.count))
        free = [position for position in window if position not in self._planned]
        if fault.of is None:  # the very next ones, behind what is already planned
            position = window.stop
            while len(free) < fault.count:
                if position not in self._planned:
                    free.append(position)
                position += 1
        if len(free) < fault.count:
            raise FaultsError([f"{fault.kind}: other faults leave only {len(free)} of the next {fault.of} events"])
        chosen = free if fault.of is None else self._rng.sample(free, fault.count)
        self._planned.update(dict.fromkeys(chosen, active))

    def next_event(self) -> Any | None:
        """The fault that the next event suffers."""
        hit = self._planned.pop(self._events, None)
        self._events += 1
        if hit is None:
            for active in self._by_rate:
                if self._rng.random() < active.fault.rate:
                    hit = active
                    break
        if hit is None:
            return None
        hit.hits += 1
        return hit.fault


class Faults:
    """The faults in force. Asking costs a look at an empty dictionary while there are none."""

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        self.clear()

    def clear(self) -> None:
        """No more faults."""
        self._targets: dict[tuple[str, str], _Target] = {}
        self._of_callers: list[_Active] = []
        self._calls_let_through = 0
        self._active: list[_Active] = []
        self.hits: deque[Mapping[str, str]] = deque(maxlen=HITS_KEPT)
        """Requests that suffered a fault, the oldest first: `kind`, `target` (function, or empty for an API), the
        Lambda or API `request_id`, and where a proxy event has it, `gateway_request_id`."""
        self.refused_calls: RefuseCalls | None = None
        """Set while a handler runs some of whose calls are to be refused."""

    def add(self, faults: list[Any]) -> None:
        """Put parsed faults in force beside those that are. Raises FaultsError."""
        for fault in faults:
            active = _Active(fault)
            if isinstance(fault, DenyActions | ExpireCredentials):
                self._of_callers.append(active)
                self._active.append(active)
                continue
            key = _target_of(fault)
            if key not in self._targets:
                self._targets[key] = _Target(random.Random(f"{self._seed}/{key}"))
            self._targets[key].add(active)
            self._active.append(active)

    def as_list(self) -> list[dict[str, Any]]:
        """The faults in force, each with `hits`: how many events it has hit so far."""
        return [active.fault.model_dump(exclude_none=True) | {"hits": active.hits} for active in self._active]

    def admission(self, function: str, request_id: str, event: Any = None) -> ThrottleFunction | None:
        """Asked for each attempt to invoke a function (logical name) with an event."""
        return self._next("admission", function, request_id, event)

    def run(self, function: str, request_id: str, event: Any = None) -> RunFault | None:
        """Asked for each invocation that was admitted."""
        return self._next("run", function, request_id, event)

    def init(self, function: str, request_id: str) -> SlowInit | None:
        """Asked for each new environment of a function; `request_id` is that of the invocation it is made for."""
        return self._next("init", function, request_id)

    def call(self, operation: str) -> RefuseCalls | None:
        """Asked for each call of an AWS service that a handler makes."""
        fault = self.refused_calls
        return fault if fault is not None and fault.operation == operation else None

    def caller(self, action: str | None, resource: str) -> DenyActions | ExpireCredentials | None:
        """Asked for each call of an AWS API from outside; `action`: what allows it, None where it needs nothing."""
        if not self._of_callers:
            return None
        for active in self._of_callers:
            fault = active.fault
            if isinstance(fault, ExpireCredentials):
                hit = self._calls_let_through >= fault.after
            else:
                hit = action is not None and fault.covers(action, resource)
            if hit:
                active.hits += 1
                return cast("DenyActions | ExpireCredentials", fault)
        self._calls_let_through += 1
        return None

    def denies(self, action: str, resource: str) -> bool:
        """Whether a call of that action would be denied; asking is no call."""
        denials = (active.fault for active in self._of_callers if isinstance(active.fault, DenyActions))
        return any(fault.covers(action, resource) for fault in denials)

    def api_request(self, request_id: str) -> ApiFault | None:
        """Asked for each API request."""
        return self._next("api", "", request_id)

    def delivery(self, place: str) -> Delivery:
        """Asked for each delivery of a message of a place: `topic/sales`, `queue/events`, `bus/events`."""
        fault: DeliveryFault | None = self._next("delivery", place)
        if fault is None:
            return ORDINARY_DELIVERY
        if isinstance(fault, DropDelivery):
            return Delivery(copies=0, delay_s=0.0)
        if isinstance(fault, DuplicateDelivery):
            return Delivery(copies=2, delay_s=0.0)
        return Delivery(copies=1, delay_s=fault.delay_s)

    def log_event(self) -> float:
        """Asked for each log event: how much later it becomes visible, seconds."""
        fault: LagLogs | None = self._next("logs", "")
        return 0.0 if fault is None else fault.lag_s

    @property
    def greatest_log_lag_s(self) -> float:
        """Of the faults in force."""
        return max((active.fault.lag_s for active in self._active if isinstance(active.fault, LagLogs)), default=0.0)

    def _next(self, kind: str, name: str, request_id: str | None = None, event: Any = None) -> Any | None:
        if not self._targets:
            return None
        target = self._targets.get((kind, name))
        fault = None if target is None else target.next_event()
        if fault is not None and request_id is not None:
            hit = {"kind": fault.kind, "target": name, "request_id": request_id}
            gateway_request_id = _gateway_request_id(event)
            self.hits.append(hit | ({"gateway_request_id": gateway_request_id} if gateway_request_id else {}))
        return fault


def _like(pattern: str, text: str) -> bool:
    """IAM's wildcards: `*` for any characters, `?` for one."""
    translated = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(translated, text) is not None


def _gateway_request_id(event: Any) -> str | None:
    """API Gateway's id of the request behind a proxy event."""
    context = event.get("requestContext") if isinstance(event, dict) else None
    found = context.get("requestId") if isinstance(context, dict) else None
    return found if isinstance(found, str) else None


def _target_of(fault: Any) -> tuple[str, str]:
    if isinstance(fault, ThrottleApi | CutAnswer):
        return "api", ""
    if isinstance(fault, SlowInit):
        return "init", fault.function
    if isinstance(fault, LagLogs):
        return "logs", ""
    if isinstance(fault, ThrottleFunction):
        return "admission", fault.function
    if isinstance(fault, DropDelivery | DuplicateDelivery | DelayDelivery):
        return "delivery", fault.place
    return "run", fault.function
