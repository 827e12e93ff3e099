"""What really happened: the counts every figure of an analysis can be held against.

Plain counters, raised by the gateway, the functions and the services as things happen, under logical names. Counted
from the requests and events themselves, not from the log lines the analysis reads.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from sandbox.model.parameters import ChainParameters

# A correlation id as JSON key, at any depth of JSON within JSON (an SNS message is a string within the event, so its
# quotes come with backslashes). The id itself is what stands between the next two quotes.
_CORRELATION_ID = re.compile(rb'correlation_id(\\*)"\s*:\s*\1"([^"\\]+)')


def correlation_id(payload: bytes) -> bytes | None:
    """The first `correlation_id` in an event or a request body; None where there is none."""
    found = _CORRELATION_ID.search(payload)
    return found.group(2) if found else None


def completed_messages(event: bytes, result: bytes = b"") -> Counter[bytes]:
    """The correlation ids of an event that a function succeeded on: of each, how many messages of the batch have it.

    Records that the `result` names as failed (`batchItemFailures`) are left out. A stream's records are in base64.
    """
    if b'"aws:kinesis"' not in event and b"batchItemFailures" not in result:
        found = Counter(match[1] for match in _CORRELATION_ID.findall(event))
        if found.total() == len(found) or b'"Records"' not in event:
            return Counter(found.keys())
    failed = failed_items(result)
    messages: set[tuple[str | None, bytes]] = set()  # one that names its id twice is one, as are two copies of it
    for record in orjson.loads(event)["Records"]:
        of_stream = record.get("kinesis")
        if of_stream is not None:
            item, content = of_stream["sequenceNumber"], base64.b64decode(of_stream["data"])
        else:
            item, content = record.get("messageId"), orjson.dumps(record)
        if item not in failed:
            messages.update((item, match[1]) for match in _CORRELATION_ID.findall(content))
    return Counter(message for _, message in messages)


def failed_items(result: bytes) -> set[str]:
    """The `itemIdentifier` of each of a result's `batchItemFailures`; empty for a result without any."""
    try:
        return {failure["itemIdentifier"] for failure in orjson.loads(result)["batchItemFailures"]}
    except (ValueError, TypeError, KeyError):
        return set()


class FunctionTruth:
    """One function's invocations. Throttled attempts are in `throttles` alone."""

    __slots__ = (
        "billed_ms",
        "cold_starts",
        "errors",
        "invocations",
        "provisioned_starts",
        "suppressed_inits",
        "throttles",
        "timeouts",
    )

    def __init__(self) -> None:
        self.invocations = 0
        self.cold_starts = 0
        self.errors = 0
        """Every failed invocation, timeouts included (as the AWS/Lambda metric counts them)."""
        self.timeouts = 0
        self.throttles = 0
        self.provisioned_starts = 0
        """First invocations of provisioned environments; no caller waited for their inits."""
        self.suppressed_inits = 0
        """Inits that were repeated within an invocation."""
        self.billed_ms = 0

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class StreamTruth:
    """One stream's records: accepted, and attempts refused for the shard's limits."""

    __slots__ = ("accepted", "throttled")

    def __init__(self) -> None:
        self.accepted = 0
        self.throttled = 0

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class QueueTruth:
    """One queue's messages."""

    __slots__ = ("accepted", "dead_lettered", "deleted", "received")

    def __init__(self) -> None:
        self.accepted = 0
        """Sent to it, or moved to it from a queue whose dead-letter queue it is."""
        self.received = 0
        """Handed out; a message that comes back counts again."""
        self.deleted = 0
        self.dead_lettered = 0
        """Moved to its dead-letter queue."""

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class ChainTruth:
    """One chain's messages by correlation id."""

    __slots__ = ("_messages", "accepted", "completed", "duplicated", "lost", "sent")

    def __init__(self) -> None:
        self.sent = 0
        """Requests to the chain's first function that the API received, or messages that the chain's queue, topic,
        bus or stream did."""
        self.accepted = 0
        """... and answered with 2xx."""
        self.completed = 0
        """Correlation ids with which the chain's last function succeeded ..."""
        self.duplicated = 0
        """... and those with which it did so more than once, be it on two messages of one batch."""
        self.lost = 0
        """Correlation ids that were accepted and not completed: final once nothing is pending, before that what is
        under way is among them."""
        self._messages: dict[bytes, int] = {}
        """Correlation id -> twice its completions, and one more where it was accepted."""

    def answered(self, body: bytes, status: int | None) -> None:
        """The API answered a request to the chain's first function, or a service a message with this body; `status`
        None: the answer never came, so that nobody may count on the message."""
        self.sent += 1
        if status is None or not 200 <= status < 300:
            return
        self.accepted += 1
        message = correlation_id(body)
        if message is not None:
            known = self._messages.get(message, 0)
            self._messages[message] = known | 1
            if not known:
                self.lost += 1

    def succeeded(self, event: bytes, result: bytes = b"") -> None:
        """The chain's last function succeeded on this event, but for what the result names as failed."""
        for message, times in completed_messages(event, result).items():
            known = self._messages.get(message, 0)
            self._messages[message] = known + 2 * times
            if known < 2:
                self.completed += 1
                self.lost -= known
            if known < 4 <= known + 2 * times:
                self.duplicated += 1

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("sent", "accepted", "completed", "lost", "duplicated")}


class Truth:
    """All counters of a sandbox. `chains` names the chains to follow."""

    def __init__(self, chains: Mapping[str, ChainParameters] | None = None) -> None:
        self._chain_parameters = dict(chains or {})
        self.pending = 0
        """Requests, invocations, deliveries and retries under way or still to come. Whoever schedules one adds 1, and
        takes it off when it has happened or has become something else that is counted."""
        self.reset()

    def reset(self) -> None:
        """Forget everything counted so far, but not what is pending: that is still to come."""
        self.api_requests = 0
        self.api_by_status: dict[str, int] = {}
        self.invoke_requests = 0
        self.invoke_by_status: dict[str, int] = {}
        self._functions: dict[str, FunctionTruth] = {}
        self._streams: dict[str, StreamTruth] = {}
        self._queues: dict[str, QueueTruth] = {}
        self.messages: dict[str, int] = {}
        """AWS service -> messages taken from its callers over the wire (not from functions)."""
        self._chains = {name: ChainTruth() for name in self._chain_parameters}
        self.chain_by_first = {chain.first: self._chains[name] for name, chain in self._chain_parameters.items()}
        """The chain that begins at a function, by its logical name, or at `queue/events` and the like."""
        self.chain_by_last = {chain.last: self._chains[name] for name, chain in self._chain_parameters.items()}

    def function(self, logical_name: str) -> FunctionTruth:
        counts = self._functions.get(logical_name)
        if counts is None:
            counts = self._functions[logical_name] = FunctionTruth()
        return counts

    def stream(self, logical_name: str) -> StreamTruth:
        counts = self._streams.get(logical_name)
        if counts is None:
            counts = self._streams[logical_name] = StreamTruth()
        return counts

    def queue(self, logical_name: str) -> QueueTruth:
        counts = self._queues.get(logical_name)
        if counts is None:
            counts = self._queues[logical_name] = QueueTruth()
        return counts

    def taken(self, service: str, messages: int) -> None:
        """A service took messages from a caller."""
        self.messages[service] = self.messages.get(service, 0) + messages

    def message_answered(self, entrance: str, body: bytes, status: int) -> None:
        """A queue, topic, bus or stream took a message or refused it. `entrance`: `queue/events` and the like."""
        chain = self.chain_by_first.get(entrance)
        if chain is not None:
            chain.answered(body, status)

    def api_answered(self, status: int | None) -> None:
        """API Gateway answered a request; `status` None: the answer was cut off, so that nobody knows it."""
        self.api_requests += 1
        key = "none" if status is None else str(status)
        self.api_by_status[key] = self.api_by_status.get(key, 0) + 1

    def invoke_answered(self, status: int) -> None:
        """The Lambda API answered an Invoke call."""
        self.invoke_requests += 1
        self.invoke_by_status[str(status)] = self.invoke_by_status.get(str(status), 0) + 1

    def as_dict(self) -> dict[str, Any]:
        """The contract's `truth.json`, with `invoke` (the Lambda API's answers), `queues` and `messages` beside."""
        return {
            "api": {"requests": self.api_requests, "by_status": dict(sorted(self.api_by_status.items()))},
            "invoke": {"requests": self.invoke_requests, "by_status": dict(sorted(self.invoke_by_status.items()))},
            # one that is provisioned and was never called has done nothing
            "functions": {
                name: told
                for name, counts in sorted(self._functions.items())
                if any((told := counts.as_dict()).values())
            },
            "streams": {name: counts.as_dict() for name, counts in sorted(self._streams.items())},
            "queues": {name: counts.as_dict() for name, counts in sorted(self._queues.items())},
            "messages": dict(sorted(self.messages.items())),
            "chains": {name: counts.as_dict() for name, counts in sorted(self._chains.items())},
            "pending": self.pending,
        }
