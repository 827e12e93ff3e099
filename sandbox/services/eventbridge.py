"""EventBridge: PutEvents, and the delivery to the functions that rules of the bus point to.

An event that matches a rule's pattern becomes one delivery for each function among its targets; a fault of the bus may
lose, double or delay it; after the modelled latency the function is invoked asynchronously, with Lambda's own retries.
Buses, rules and patterns are moto's. Other targets than functions, schedules and archives are not modelled.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from sandbox.clock import Scheduler
from sandbox.definitions import ACCOUNT_ID, EventRule, FunctionDefinition
from sandbox.identifiers import Identifiers
from sandbox.model.throttling import TokenBucket
from sandbox.services.errors import AwsError
from sandbox.services.neighbours import AsynchronousFunctions, DeliveryFaults, MessageTruth

ENTRIES_PER_PUT = 10
REQUEST_MAX_BYTES = 1024 * 1024
"""AWS: EventBridge quotas."""
_REQUIRED = ("Source", "DetailType", "Detail")

Answer = tuple[int, dict[str, Any]]


class Buses(Protocol):
    """The buses that exist; `sandbox.moto_bridge.MotoBridge` knows them."""

    def event_rules(self, bus: str, region: str) -> Sequence[EventRule] | None: ...
    def function(self, name: str, qualifier: str | None = None) -> FunctionDefinition | None: ...
    def logical_name(self, physical_name: str) -> str: ...


class EventBridgeService:
    """The data path of EventBridge."""

    def __init__(
        self,
        scheduler: Scheduler,
        buses: Buses,
        functions: AsynchronousFunctions,
        faults: DeliveryFaults,
        truth: MessageTruth,
        *,
        delivery_s: float,
        puts_per_s: float = math.inf,
        rng: random.Random,
    ) -> None:
        """`delivery_s`: from PutEvents to the hand-over to a function; `puts_per_s`: calls that the account may make.
        `rng` makes the event ids."""
        self._scheduler = scheduler
        self._buses = buses
        self._functions = functions
        self._faults = faults
        self._truth = truth
        self._delivery_s = delivery_s
        self._quota = TokenBucket(puts_per_s, puts_per_s)
        self._new_id = Identifiers(rng).uuid

    def put_events(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Answers even if every event was refused: `FailedEntryCount` and each entry's ErrorCode tell.

        Raises AwsError ValidationException for a call that is refused as a whole.
        """
        entries = parameters["Entries"]
        if not 1 <= len(entries) <= ENTRIES_PER_PUT:
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value at 'entries' failed to satisfy constraint: "
                f"Member must have length less than or equal to {ENTRIES_PER_PUT}",
            )
        if sum(_size(entry) for entry in entries) >= REQUEST_MAX_BYTES:
            raise AwsError("ValidationException", "Total size of the entries in the request is over the limit.")
        refused = not self._quota.take(self._scheduler.now())
        results = []
        for entry in entries:
            try:
                if refused:
                    raise AwsError("ThrottlingException", "Rate exceeded")
                results.append({"EventId": self._put(region, entry)})
            except AwsError as error:
                self._truth.message_answered(self._place(entry), entry.get("Detail", "").encode(), error.status)
                results.append({"ErrorCode": error.code, "ErrorMessage": error.message})
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

    def handle(self, action: str, body: bytes, region: str) -> Answer | None:
        """One request of the JSON protocol -> (status, document); None for what moto answers."""
        if action != "PutEvents":
            return None
        try:
            answer = self.put_events(region, orjson.loads(body))
        except AwsError as error:
            return error.status, {"__type": error.code, "message": error.message}
        except (KeyError, TypeError, ValueError) as error:
            return 400, {"__type": "SerializationException", "message": f"malformed {action} request: {error!r}"}
        self._truth.taken("events", len(answer["Entries"]) - answer["FailedEntryCount"])
        return 200, answer

    def _put(self, region: str, entry: Mapping[str, Any]) -> str:
        for name in _REQUIRED:
            if not entry.get(name):
                raise AwsError(
                    "InvalidArgument", f"Parameter {name} is not valid. Reason: {name} is a required argument."
                )
        try:
            detail = orjson.loads(entry["Detail"])
        except orjson.JSONDecodeError:
            detail = None
        if not isinstance(detail, dict):
            raise AwsError("MalformedDetail", "Detail is malformed.")
        bus = _bus(entry)
        event_id, now = self._new_id(), self._scheduler.now()
        rules = self._buses.event_rules(bus, region)
        if rules is None:
            return event_id  # an unknown bus answers alike, and the event vanishes (AWS: eb-putevents)
        place = self._place(entry)
        self._truth.message_answered(place, entry["Detail"].encode(), 200)
        event = {
            "version": "0",
            "id": event_id,
            "detail-type": entry["DetailType"],
            "source": entry["Source"],
            "account": ACCOUNT_ID,
            "time": f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": region,
            "resources": list(entry.get("Resources") or ()),
            "detail": detail,
        }
        payload = orjson.dumps(event)
        for rule in rules:
            if not rule.matches(event):
                continue
            for function_arn in rule.functions:
                fate = self._faults.delivery(place)
                for _ in range(fate.copies):
                    self._truth.pending += 1
                    deliver = functools.partial(self._deliver, function_arn, payload)
                    self._scheduler.at(now + self._delivery_s + fate.delay_s, deliver)
        return event_id

    def _place(self, entry: Mapping[str, Any]) -> str:
        return f"bus/{self._buses.logical_name(_bus(entry))}"

    def _deliver(self, function_arn: str, event: bytes) -> None:
        function = self._buses.function(function_arn)
        if function is not None:
            self._functions.invoke_async(function, event)
        self._truth.pending -= 1


def _bus(entry: Mapping[str, Any]) -> str:
    """The name of an entry's bus, which may be given by its ARN."""
    return str(entry.get("EventBusName") or "default").rpartition("/")[2]


def _size(entry: Mapping[str, Any]) -> int:
    """Bytes of an entry as EventBridge counts them (AWS: eb-putevents, calculating PutEvents event entry size)."""
    return sum(len(str(entry.get(name) or "").encode()) for name in _REQUIRED) + (14 if "Time" in entry else 0)
