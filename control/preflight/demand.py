"""What a profile asks of the target at its peak, and in all. Pure.

One request of each flow uses so much of what is behind it; the sample applications' ways stand in stack/template.yaml:

    vote    API -> place-vote -> stream votes -> tally-votes -> table votes; a share of them API -> get-results
    shop    API -> shop-accept -> topic -> shop-decrypt (KMS) -> topic -> shop-update-db -> table shops
    direct  place-vote -> stream votes -> tally-votes -> table votes
    events  one of the destinations that there are -> its consumer

Of flow `custom` only what its file calls is known. Consumers of streams are not counted by requests: they get batches,
one at a time for each shard.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from config.custom_flow import MAX_BATCH, SERVICES, CustomFlow, Request
from config.planned_load import planned_peak_rate, planned_requests
from config.profiles import Profile

_VARIABLE = re.compile(r"\{\{\s*env\.(\w+)\s*\}\}")
_TEMPLATE = re.compile(r"\{\{.*?\}\}")
OF_SAMPLES = frozenset({"votes", "events"})
"""Logical names of the sample applications' streams; any other stream has the name that flow `custom` gives."""
SALES_OF_A_MESSAGE = 2
"""What the load generator puts into each message of flow shop; each is one write."""


class Use(NamedTuple):
    """Something that requests use up."""

    kind: str
    """`api`, `function`, `stream` (a record), `topic`, `queue`, `bus` (a message), `write`, `read` (a unit of a table),
    `decrypt`."""
    name: str = ""
    """Logical name, where there are several."""


BEHIND_API, DIRECT, ASYNCHRONOUS, OF_STREAM, OF_QUEUE = "api", "direct", "asynchronous", "stream", "queue"
"""How a function is called."""

_CONSUMERS = {
    "sqs": (Use("queue", "events"), "queue-consumer", OF_QUEUE),
    "sns": (Use("topic", "events"), "topic-consumer", ASYNCHRONOUS),
    "events": (Use("bus", "events"), "bus-consumer", ASYNCHRONOUS),
    "kinesis": (Use("stream", "events"), "stream-consumer", OF_STREAM),
}


class Sent(NamedTuple):
    """What the load generator itself sends messages to."""

    service: str
    """`sqs`, `sns`, `events` or `kinesis`."""
    destination: str
    """Name, ARN or URL; `events`: that of flow events."""
    batched: bool
    """Several messages a call."""


@dataclass(frozen=True)
class Demand:
    """The needs of one run."""

    requests: float | None
    """At most; None where nobody knows."""
    peak_rate: float | None
    """Requests a second, at most."""
    duration_s: float | None
    users: int | None
    """The most at once, each with one request open at most; None in the open model."""
    uses: Mapping[Use, float]
    """Of one request on the average."""
    triggers: Mapping[str, str]
    """Logical name of each function that takes part -> how it is called, first of all."""
    invoked: Mapping[str, tuple[str, ...]]
    """Of those, the functions that the load generator invokes itself -> the versions and aliases; empty: $LATEST."""
    unknown_share: frozenset[str]
    """Of those, the functions of which nobody knows how many requests lead to them."""
    api_methods: tuple[tuple[str, str], ...] = ()
    """(HTTP method, path) of each request to an API; what a template puts into the path is `*`."""
    sent: tuple[Sent, ...] = ()

    def rate(self, kind: str, name: str = "") -> float | None:
        """So many a second at the peak; 0 where the run does not use it; None where nobody knows."""
        share = self.uses.get(Use(kind, name), 0.0)
        return 0.0 if not share else None if self.peak_rate is None else share * self.peak_rate

    def total(self, kind: str, name: str | None = None) -> float | None:
        """So many in the whole run, of one or (None) of all of that kind."""
        share = sum(share for use, share in self.uses.items() if use.kind == kind and name in (None, use.name))
        return 0.0 if not share else None if self.requests is None else share * self.requests

    def names(self, kind: str) -> list[str]:
        """What the run uses of a kind, sorted."""
        return sorted(use.name for use, share in self.uses.items() if use.kind == kind and share)


def demand_of(
    profile: Profile,
    event_destinations: Iterable[str],
    functions: Mapping[str, str],
    custom: CustomFlow | None = None,
    *,
    variables: Mapping[str, str] = MappingProxyType({}),
    response_ms: float = 0.0,
    direct_is_asynchronous: bool = False,
    qualifiers: tuple[str, ...] = (),
    event_batch: int = 1,
) -> Demand:
    """`event_destinations`: the AWS services that flow events sends to; `functions`: logical name -> name, those known;
    `variables`: what templates of flow `custom` may name; `response_ms`: what an answer takes on the average, where it
    was measured; `qualifiers`: what flow direct calls of place-vote; `event_batch`: messages of events in a call."""
    uses: dict[Use, float] = defaultdict(float)
    triggers: dict[str, str] = {}
    unknown: set[str] = set()
    invoked: dict[str, tuple[str, ...]] = {}
    methods: list[tuple[str, str]] = []
    sent: list[Sent] = []
    destinations = [service for service in event_destinations if service in _CONSUMERS]

    def called(function: str, trigger: str, share: float) -> None:
        triggers.setdefault(function, trigger)
        uses[Use("function", function)] += share

    def voted(trigger: str, share: float) -> None:
        called("place-vote", trigger, share)
        triggers["tally-votes"] = OF_STREAM
        uses[Use("stream", "votes")] += share
        # At most: votes of a batch for the same id are written together.
        uses[Use("write", "votes")] += share

    for flow, share in profile.flows.items():
        if flow == "vote":
            read = share * profile.results_share
            uses[Use("api")] += share
            voted(BEHIND_API, share - read)
            methods.append(("POST", "/vote"))
            if read:
                methods.append(("GET", "/vote/*"))
                called("get-results", BEHIND_API, read)
                uses[Use("read", "votes")] += read * 0.5
        elif flow == "shop":
            methods.append(("POST", "/shop"))
            uses[Use("api")] += share
            called("shop-accept", BEHIND_API, share)
            uses[Use("topic", "sales")] += share
            called("shop-decrypt", ASYNCHRONOUS, share)
            uses[Use("decrypt")] += share
            uses[Use("topic", "decrypted-sales")] += share
            called("shop-update-db", ASYNCHRONOUS, share)
            uses[Use("write", "shops")] += share * SALES_OF_A_MESSAGE
        elif flow == "direct":
            voted(ASYNCHRONOUS if direct_is_asynchronous else DIRECT, share)
            invoked["place-vote"] = qualifiers
        elif flow == "events":
            # A profile that counts its messages counts those of a batch, too.
            messages = share if profile.messages else share * event_batch
            for service in destinations:
                use, consumer, trigger = _CONSUMERS[service]
                uses[use] += messages / len(destinations)
                sent.append(Sent(service, "events", event_batch > 1))
                if consumer in functions:
                    triggers[consumer] = trigger
                    if trigger != OF_STREAM:
                        uses[Use("function", consumer)] += messages / len(destinations)
        elif flow == "custom" and custom is not None:
            sent += [
                Sent(SERVICES[request.kind], _filled(_destination(request), variables), request.batch > 1)
                for request in custom.requests
                if request.kind in MAX_BATCH
            ]
            calls = [request.api for request in custom.requests if request.api is not None]
            methods += [(call.method, _TEMPLATE.sub("*", call.path).partition("?")[0]) for call in calls]
            _custom(custom, share, functions, variables, uses, triggers, unknown, invoked)
    return Demand(
        requests=planned_requests(profile, response_ms),
        peak_rate=planned_peak_rate(profile, response_ms),
        duration_s=profile.duration_s,
        users=profile.peak_users if profile.model == "closed" else None,
        uses=dict(uses),
        triggers=triggers,
        invoked=invoked,
        unknown_share=frozenset(unknown),
        api_methods=tuple(dict.fromkeys(methods)),
        sent=tuple(dict.fromkeys(sent)),
    )


def _custom(
    flow: CustomFlow,
    share: float,
    functions: Mapping[str, str],
    variables: Mapping[str, str],
    uses: dict[Use, float],
    triggers: dict[str, str],
    unknown: set[str],
    invoked: dict[str, tuple[str, ...]],
) -> None:
    total = sum(request.weight for request in flow.requests)
    for request in flow.requests:
        part = share * request.weight / total
        if request.api is not None:
            uses[Use("api")] += part
        elif request.invoke is not None:
            logical = flow.logical_name(_rendered(request.invoke.function, variables), functions)
            own = () if request.invoke.qualifier is None else (request.invoke.qualifier,)
            invoked[logical] = tuple(dict.fromkeys([*invoked.get(logical, ()), *own]))
            if request.invoke.invocation_type == "DryRun":
                continue
            asynchronous = request.invoke.invocation_type == "Event"
            triggers.setdefault(logical, ASYNCHRONOUS if asynchronous else DIRECT)
            uses[Use("function", logical)] += part
        else:
            uses[Use(request.kind, _rendered(_destination(request), variables))] += part * request.batch
    for function in flow.all_functions:
        logical = flow.logical_name(_rendered(function, variables), functions)
        if logical not in triggers:
            triggers[logical] = BEHIND_API if flow.calls_api else ASYNCHRONOUS
            unknown.add(logical)


def _rendered(text: str, variables: Mapping[str, str]) -> str:
    """The plain name in an address or ARN, with the variables that a template names by themselves put in."""
    return _filled(text, variables).rpartition("/")[2].rpartition(":")[2]


def _filled(text: str, variables: Mapping[str, str]) -> str:
    """With the variables that a template names by themselves put in."""
    return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]), text)


def _destination(request: Request) -> str:
    """The address of the queue, topic, bus or stream that a request sends to."""
    if request.queue is not None:
        address = request.queue.url
    elif request.topic is not None:
        address = request.topic.arn
    elif request.bus is not None:
        address = request.bus.name
    else:
        assert request.stream is not None
        address = request.stream.name
    return address
