"""What to do about a cause of failures, with the arithmetic that leads there.

Rules and figures from AWS documentation: a Kinesis shard takes 1,000 records a second (streams, quotas); a function
that is asked `a` times a second for `d` seconds each needs a × d environments (Little's law; Lambda, concurrency);
API Gateway waits 29 s by default (REST quotas).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.formatting import count, decimal, time_of_day
from runstore.columns import CHECK_FAILED

SHARD_RECORDS_PER_S = 1_000
GATEWAY_WAIT_S = 29
MEMORY_STEP_MB = 64
MEMORY_HEADROOM = 1.25
"""Room that is advised beyond what was used."""


@dataclass(frozen=True)
class Peak:
    """The fullest second of the clock."""

    per_s: int
    at: float
    """Epoch seconds of its beginning."""

    def of(self, noun: str) -> str:
        """`1,176 records a second (at 10:00:37 UTC)`."""
        return f"{count(self.per_s)} {noun} a second (at {time_of_day(self.at)[:8]} UTC)"


@dataclass(frozen=True)
class Cause:
    """A group of failed requests and the figures that advice about it needs; None where they are not known."""

    kind: str
    requests: int
    function: str | None = None
    operation: str | None = None
    resource: str | None = None
    error_type: str | None = None
    frame: str | None = None
    shards_refusing: int = 0
    """Shards of a stream that the error messages name."""
    invoked: Peak | None = None
    """Invocations of the function."""
    asked: Peak | None = None
    """Requests to the endpoints that failed."""
    busy_s: float | None = None
    """Mean time that an invocation holds an environment, init included."""
    max_duration_ms: float | None = None
    memory_mb: float | None = None
    max_memory_mb: float | None = None


def advise(cause: Cause) -> str:
    """One or two sentences on what to do."""
    rule = _RULES.get(cause.kind)
    return rule(cause) if rule else "The logs hold no evidence: look at the examples by their ids."


def shards_needed(records_per_s: int) -> int:
    """Shards that take so many records in one second, at 1,000 each."""
    return max(1, math.ceil(records_per_s / SHARD_RECORDS_PER_S))


def concurrency_needed(arrivals_per_s: float, busy_s: float) -> int:
    """Little's law: environments that are busy at once."""
    return max(1, math.ceil(arrivals_per_s * busy_s))


def memory_needed_mb(used_mb: float) -> int:
    """What was used and a quarter more, in steps of 64 MB."""
    return math.ceil(used_mb * MEMORY_HEADROOM / MEMORY_STEP_MB) * MEMORY_STEP_MB


def _downstream(cause: Cause) -> str:
    what = cause.resource or "the resource"
    if cause.operation == "PutRecord":
        return _shards(cause, what)
    rate = f" At the peak {cause.function} ran {cause.invoked.of('times')}." if cause.invoked else ""
    return (
        f"{cause.operation or 'A call'} on {what} was refused for its rate ({cause.error_type}).{rate} "
        "Raise that service's limit or capacity, retry with backoff, or put a queue in between."
    )


def _shards(cause: Cause, stream: str) -> str:
    if cause.invoked is None:
        return f"Give {stream} more shards: each takes 1,000 records and 1 MB a second."
    offered = cause.invoked.per_s
    needed = shards_needed(offered)
    arithmetic = (
        f"The shard limit of {stream}: a shard takes 1,000 records a second, and at the peak {cause.function} put "
        f"{cause.invoked.of('records')}: "
        f"ceil({count(offered)} / 1,000) = {needed}"
    )
    if needed <= max(1, cause.shards_refusing):
        # Uneven keys fill one shard before the others; and what was counted by the log's clock was, by the stream's,
        # perhaps a little more in that second.
        refusing = f"{count(cause.shards_refusing)} of its shards" if cause.shards_refusing > 1 else "it"
        return f"{arithmetic}, yet {refusing} refused: give it more shards than it has, and spread the partition keys."
    return f"{arithmetic} shards needed."


def _message_refused(cause: Cause) -> str:
    """Kinesis says in so many words that a shard was full; of the other services the name of the error has to do."""
    service = _SERVICES.get(cause.operation or "", "The service")
    if cause.error_type == "ProvisionedThroughputExceededException" and cause.asked:
        offered = cause.asked.per_s
        return (
            "The limit of the stream's shards: each takes 1,000 records and 1 MB a second, and at the peak the client "
            f"sent {cause.asked.of('records')}: ceil({count(offered)} / 1,000) = {shards_needed(offered)} shards "
            "needed at least, with evenly spread partition keys."
        )
    peak = f" At the peak the client sent {cause.asked.of('messages')}." if cause.asked else ""
    return (
        f"{service} did not take the message ({cause.error_type}).{peak} A throttle wants a higher quota or fewer "
        "messages a second; anything else is in the message or its destination: size, form, name, permission."
    )


_SERVICES = {
    **dict.fromkeys(("SendMessage", "SendMessageBatch"), "SQS"),
    **dict.fromkeys(("Publish", "PublishBatch"), "SNS"),
    "PutEvents": "EventBridge",
    **dict.fromkeys(("PutRecord", "PutRecords"), "Kinesis"),
}


def _lambda_throttled(cause: Cause) -> str:
    name = cause.function or "the function"
    if cause.asked is None or cause.busy_s is None:
        return f"Lambda refused to start {name}: raise its reserved or the account's concurrency."
    needed = concurrency_needed(cause.asked.per_s, cause.busy_s)
    return (
        f"Lambda refused to start {name}: at the peak {cause.asked.of('requests')} × {cause.busy_s:.3f} s each need "
        f"{count(needed)} environments at once (Little's law). Raise its reserved or the account's concurrency above "
        "that; environments are also added at no more than 1,000 in 10 s for each function."
    )


def _api_throttled(cause: Cause) -> str:
    peak = f" At the peak the client sent {cause.asked.of('requests')}." if cause.asked else ""
    return f"The API's own limit (usage plan, method, stage or account) refused the request.{peak} Raise it above that."


def _function_timeout(cause: Cause) -> str:
    ran = f" after {decimal(cause.max_duration_ms / 1000)} s" if cause.max_duration_ms else ""
    return (
        f"{cause.function} was stopped by its timeout{ran}. Find what it waits for (its last log line says where), "
        "give calls to other services a shorter time limit than its own, or raise its timeout."
    )


def _gateway_timeout(cause: Cause) -> str:
    ran = f" The invocation ran {decimal(cause.max_duration_ms / 1000)} s." if cause.max_duration_ms else ""
    return (
        f"API Gateway stops waiting after {GATEWAY_WAIT_S} s, while the function goes on and is billed.{ran} "
        "Make it answer sooner, or answer at once and work behind a queue."
    )


def _out_of_memory(cause: Cause) -> str:
    if cause.memory_mb is None or cause.max_memory_mb is None:
        return f"{cause.function} ran out of memory: give it more."
    return (
        f"{cause.function} used {count(cause.max_memory_mb)} of {count(cause.memory_mb)} MB and was killed: "
        f"give it at least {count(memory_needed_mb(cause.max_memory_mb))} MB (used × 1.25, in steps of 64)."
    )


def _exception(cause: Cause) -> str:
    call = f" by {cause.operation}" if cause.operation else ""
    where = f"look at {cause.frame}" if cause.frame else "its traceback names no line of its own code"
    return f"{cause.function} let {cause.error_type}{call} through: {where}."


_RULES = {
    "downstream_throttle": _downstream,
    "message_refused": _message_refused,
    "lambda_throttled": _lambda_throttled,
    "api_throttled": _api_throttled,
    "function_timeout": _function_timeout,
    "gateway_timeout": _gateway_timeout,
    "out_of_memory": _out_of_memory,
    "exception": _exception,
    "crash": lambda cause: (
        f"The environment of {cause.function} broke down ({cause.error_type}): look for exit calls, native crashes and "
        "memory that ran out in the lines before its REPORT."
    ),
    "init_failure": lambda cause: (
        f"{cause.function} could not be loaded ({cause.error_type}): check its handler's name and its package."
    ),
    "function_error": lambda cause: "The answer carried a function error, and no line of the log explains it.",
    "malformed_response": lambda cause: (
        f"{cause.function} succeeded, but API Gateway cannot read its answer: it must be "
        '{"statusCode": number, "headers": object, "body": string}.'
    ),
    "no_response": lambda cause: (
        "No answer came: the network, the target's address, or the client's time limit. The message says which."
    ),
    "check_failed": lambda cause: (
        f"The answer came with a good status; the {cause.error_type.removeprefix(CHECK_FAILED)!r} check refused it."
        if cause.error_type is not None and cause.error_type.startswith(CHECK_FAILED)
        else "The answer came with a good status and did not pass the client's check of its content."
    ),
    "answered_error": lambda cause: f"{cause.function} answered so itself, without failing: its own log lines say why.",
    "refused": lambda cause: (
        "The gateway refused the request before any function: check path, method and authorisation."
    ),
    "dropped": lambda cause: (
        "The load generator found no free slot for these arrivals: they were offered and never sent. "
        "Add workers or connections, or let the target answer faster."
    ),
    "unfinished": lambda cause: (
        "The run ended before these were answered: let it drain longer, or look for what hangs."
    ),
}
