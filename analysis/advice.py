"""What to do about a cause of failures, with the arithmetic that leads there.

Rules and figures from AWS documentation: a Kinesis shard takes 1,000 records and 1 MiB a second, a call of PutRecords
500 records (streams, quotas); a function that is asked `a` times a second for `d` seconds each needs a × d environments
(Little's law; Lambda, concurrency), adds 1,000 of them in 10 s, takes 10 requests a second for each (Lambda, scaling
and quotas), and has 10,240 MB and 900 s at most (Lambda, quotas); API Gateway waits 29 s by default (REST quotas); a
table's write unit is one write of up to 1 KB a second, a read unit one strongly consistent read of up to 4 KB
(DynamoDB, capacity).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.formatting import count, decimal, time_of_day
from analysis.throttles import (
    ACCOUNT,
    ACCOUNT_RATE,
    CALLER_RATE,
    REQUESTS_PER_ENVIRONMENT_S,
    RESERVED,
    RESERVED_RATE,
    SCALING,
    SCALING_ENVIRONMENTS,
    SCALING_S,
)
from runstore.columns import CHECK_FAILED

SHARD_RECORDS_PER_S = 1_000
SHARD_BYTES_PER_S = 1024 * 1024
RECORDS_PER_CALL = 500
"""That PutRecords takes."""
TIMEOUT_HEADROOM = 1.5
MAX_TIMEOUT_S = 900
GATEWAY_WAIT_S = 29
MAX_MEMORY_MB = 10_240
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
class WentOn:
    """What became of the invocations of requests that API Gateway or the client gave up."""

    invocations: int
    failed: int
    billed_ms: float | None


@dataclass(frozen=True)
class Cause:
    """A group of failed requests and the figures that advice about it needs; None where they are not known."""

    kind: str
    requests: int
    function: str | None = None
    operation: str | None = None
    resource: str | None = None
    error_type: str | None = None
    reports_missing: int = 0
    """Requests whose answer or access log names an invocation that the logs have no REPORT of."""
    frame: str | None = None
    shards_refusing: int = 0
    """Shards of a stream that the error messages name."""
    shards: int | None = None
    """Shards that the stream has."""
    invoked: Peak | None = None
    """Invocations of the function."""
    asked: Peak | None = None
    """Requests to the endpoints that failed."""
    asked_bytes: Peak | None = None
    """Bytes of their bodies."""
    busy_s: float | None = None
    """Mean time that an invocation holds an environment, init included."""
    max_duration_ms: float | None = None
    slowest_success_ms: float | None = None
    """Duration of the slowest invocation of the function that did not fail."""
    memory_mb: float | None = None
    max_memory_mb: float | None = None
    timeout_s: float | None = None
    """The function's."""
    reserved_concurrency: int | None = None
    account_concurrency: int | None = None
    went_on: WentOn | None = None
    """Of a timeout of the gateway or the client, where the log has the invocations."""


def advise(cause: Cause) -> str:
    """One or two sentences on what to do."""
    rule = _RULES.get(cause.kind)
    if rule:
        return rule(cause)
    if cause.reports_missing:
        return (
            f"A function was invoked in {count(cause.reports_missing)} of {count(cause.requests)} cases, and the logs "
            "lack its REPORT and with it the evidence: fetch them again (python -m analysis pull --force)."
        )
    return "The logs hold no evidence: look at the examples by their ids."


def shards_needed(records_per_s: int, bytes_per_s: int = 0) -> int:
    """Shards that take so many records, and so many bytes, in one second: at 1,000 and 1 MiB each."""
    return max(1, math.ceil(records_per_s / SHARD_RECORDS_PER_S), math.ceil(bytes_per_s / SHARD_BYTES_PER_S))


def concurrency_needed(arrivals_per_s: float, busy_s: float) -> int:
    """Little's law: environments that are busy at once."""
    return max(1, math.ceil(arrivals_per_s * busy_s))


def memory_needed_mb(used_mb: float) -> int:
    """What was used and a quarter more, in steps of 64 MB, as far as a function can have that."""
    return min(math.ceil(used_mb * MEMORY_HEADROOM / MEMORY_STEP_MB) * MEMORY_STEP_MB, MAX_MEMORY_MB)


def _downstream(cause: Cause) -> str:
    what = cause.resource or "the resource"
    if cause.operation in ("PutRecord", "PutRecords"):
        return _shards(cause, what)
    ran = f" At the peak {cause.function} ran {cause.invoked.of('times')}" if cause.invoked else ""
    unit = _TABLE_UNITS.get(cause.operation or "")
    if unit and cause.invoked:
        return (
            f"{cause.operation} on {what} went beyond the table's capacity ({cause.error_type}).{ran}: with one call "
            f"each, and a unit for {unit[1]}, {what} needs at least {count(cause.invoked.per_s)} {unit[0]} units, "
            f"spread over its keys; or on-demand capacity.{_carries_more(cause)}"
        )
    rate = f"{ran}: for one call each the limit must be at least that.{_carries_more(cause)}" if ran else ""
    return (
        f"{cause.operation or 'A call'} on {what} was refused for its rate ({cause.error_type}).{rate} "
        "Raise that service's limit or capacity, retry with backoff, or put a queue in between."
    )


_TABLE_UNITS = {
    **dict.fromkeys(
        ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"),
        ("write", "each KB of a write"),
    ),
    **dict.fromkeys(
        ("GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems"),
        ("read", "each 4 KB of a consistent read"),
    ),
}


_BATCHES = frozenset(
    {
        "BatchGetItem",
        "BatchWriteItem",
        "PublishBatch",
        "PutEvents",
        "SendMessageBatch",
        "TransactGetItems",
        "TransactWriteItems",
    }
)
"""Operations of which a call takes several items or messages."""


def _carries_more(cause: Cause) -> str:
    """A caveat: from the invocations, which are counted, their number cannot be told."""
    if cause.operation not in _BATCHES:
        return ""
    return f" A call of {cause.operation} may carry more than one, and each counts: how many is not known here."


def _shards(cause: Cause, stream: str) -> str:
    if cause.invoked is None:
        return f"Give {stream} more shards: each takes 1,000 records and 1 MB a second."
    if cause.operation == "PutRecords":
        has = "" if cause.shards is None else f"; it has {count(cause.shards)}"
        return (
            f"The shard limit of {stream}: a shard takes 1,000 records and 1 MiB a second, and at the peak "
            f"{cause.function} ran {cause.invoked.of('times')}. A call of PutRecords may carry up to "
            f"{count(RECORDS_PER_CALL)} records, and how many these did is not known here: {stream} needs "
            f"ceil(records a second / 1,000) shards at least, with evenly spread partition keys{has}."
        )
    needed, arithmetic = _shards_for(
        f"The shard limit of {stream}: a shard takes 1,000 records a second, and at the peak {cause.function} put ",
        cause.invoked,
        cause.asked_bytes,
    )
    if needed <= max(1, cause.shards_refusing, cause.shards or 0):
        # Uneven keys fill one shard before the others; and what was counted by the log's clock was, by the stream's,
        # perhaps a little more in that second.
        refusing = f"{count(cause.shards_refusing)} of its shards" if cause.shards_refusing > 1 else "it"
        has = "it has" if cause.shards is None else f"the {count(cause.shards)} it has"
        return f"{arithmetic}, yet {refusing} refused: give it more shards than {has}, and spread the partition keys."
    has = "" if cause.shards is None else f"; it has {count(cause.shards)}"
    return f"{arithmetic} shards needed{has}."


def _shards_for(put: str, records: Peak, sent: Peak | None) -> tuple[int, str]:
    """(shards that take these records and bytes, `put` with the arithmetic). Bytes are named where they need more."""
    by_records = shards_needed(records.per_s)
    needed = shards_needed(records.per_s, sent.per_s if sent else 0)
    words = f"{put}{records.of('records')}: ceil({count(records.per_s)} / 1,000) = {by_records}"
    if sent and needed > by_records:
        words += (
            f"; it takes 1 MiB a second too, and the client sent {sent.of('bytes')}: "
            f"ceil({count(sent.per_s)} / {count(SHARD_BYTES_PER_S)}) = {needed}"
        )
    return needed, words


def _message_refused(cause: Cause) -> str:
    """Kinesis says in so many words that a shard was full; of the other services the name of the error has to do."""
    service = _SERVICES.get(cause.operation or "", "The service")
    if cause.error_type == "ProvisionedThroughputExceededException" and cause.asked:
        _, arithmetic = _shards_for(
            "The limit of the stream's shards: a shard takes 1,000 records a second, and at the peak the client sent ",
            cause.asked,
            cause.asked_bytes,
        )
        return f"{arithmetic} shards needed at least, with evenly spread partition keys."
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
    limit = cause.resource or ""
    refused = f"Lambda refused to start {cause.function or 'the function'}"
    refused += _REFUSED_FOR.get(limit, "").format(**vars(cause))
    if cause.asked is None or cause.busy_s is None:
        if limit == SCALING:
            return f"{refused}: let the load rise more slowly."
        return (
            f"{refused}: raise {_TO_RAISE[limit]}." if limit in _TO_RAISE else f"{refused}. {_what_could_tell(cause)}"
        )
    needed = concurrency_needed(cause.asked.per_s, cause.busy_s)
    littles = (
        f"{refused}: at the peak {cause.asked.of('requests')} × {cause.busy_s:.3f} s each need "
        f"{count(needed)} environments at once (Little's law)."
    )
    if limit == SCALING:
        return (
            f"{littles} A function adds at most {count(SCALING_ENVIRONMENTS)} environments in {SCALING_S} s: let the "
            f"load rise more slowly, or give it {count(needed)} of provisioned concurrency before."
        )
    by_rate = math.ceil(cause.asked.per_s / REQUESTS_PER_ENVIRONMENT_S)
    if limit in (RESERVED_RATE, ACCOUNT_RATE) or (limit in (RESERVED, ACCOUNT) and by_rate > needed):
        return (
            f"{littles} Each unit of concurrency takes {REQUESTS_PER_ENVIRONMENT_S} requests a second, however short: "
            f"ceil({count(cause.asked.per_s)} / {REQUESTS_PER_ENVIRONMENT_S}) = {count(by_rate)}. Raise "
            f"{_TO_RAISE[limit]} to {count(max(by_rate, needed))} or more."
        )
    if limit not in _TO_RAISE:
        return f"{littles} {_what_could_tell(cause)}"
    return (
        f"{littles} Raise {_TO_RAISE[limit]} above that; environments are also added at no "
        f"more than {count(SCALING_ENVIRONMENTS)} in {SCALING_S} s for each function."
    )


def _what_could_tell(cause: Cause) -> str:
    """Of a refused start for which no limit is seen to have been reached."""
    if cause.account_concurrency is None:
        limits = "the limits, once the pull may call GetAccountSettings and GetFunctionConcurrency"
    else:
        limits = (
            f"the account's metric ConcurrentExecutions beside its limit of {count(cause.account_concurrency)}, for "
            "functions whose logs were not read use that up, too"
        )
    return (
        "Nothing shows which limit it met. What could tell: the Reason in the answer to a direct Invoke (flow direct); "
        f"{limits}."
    )


_REFUSED_FOR = {
    RESERVED: " for its reserved concurrency ({reserved_concurrency})",
    ACCOUNT: " for the account's concurrency ({account_concurrency})",
    SCALING: " because it adds environments too fast",
    RESERVED_RATE: " for its request rate",
    ACCOUNT_RATE: " for its request rate",
    CALLER_RATE: " for the rate of its caller",
}
_TO_RAISE = {
    RESERVED: "its reserved concurrency",
    RESERVED_RATE: "its reserved concurrency",
    ACCOUNT: "the account's concurrency, or lower what other functions reserve,",
    ACCOUNT_RATE: "the account's concurrency",
    CALLER_RATE: "the account's quota of Invoke calls",
}


def _api_throttled(cause: Cause) -> str:
    peak = f" At the peak the client sent {cause.asked.of('requests')}." if cause.asked else ""
    return f"The API's own limit (usage plan, method, stage or account) refused the request.{peak} Raise it above that."


def _function_timeout(cause: Cause) -> str:
    ran = f" after {decimal(cause.max_duration_ms / 1000)} s" if cause.max_duration_ms else ""
    room, longest = "", max(cause.timeout_s or 0, (cause.max_duration_ms or 0) / 1000) >= MAX_TIMEOUT_S
    if cause.slowest_success_ms is not None:
        room = f" The slowest that succeeded took {decimal(cause.slowest_success_ms / 1000)} s"
        needed = math.ceil(cause.slowest_success_ms * TIMEOUT_HEADROOM / 1000)
        has = f", and it has {decimal(cause.timeout_s)} s." if cause.timeout_s is not None else "."
        if needed <= MAX_TIMEOUT_S:
            room += f": by that, a timeout of {count(needed)} s (× {TIMEOUT_HEADROOM}) does for ordinary calls{has}"
        else:
            room += (
                f", which leaves less room than × {TIMEOUT_HEADROOM} below Lambda's maximum of {MAX_TIMEOUT_S} s{has}"
            )
            longest = True
    last = (
        f"or let one invocation do less work: {MAX_TIMEOUT_S} s is Lambda's maximum."
        if longest
        else "or raise its timeout."
    )
    return (
        f"{cause.function} was stopped by its timeout{ran}.{room} Find what it waits for (its last log line says "
        f"where), give calls to other services a shorter time limit than its own, {last}"
    )


def _gateway_timeout(cause: Cause) -> str:
    if cause.went_on is None:
        went_on = " No invocation was found in the log."
    else:
        went_on = (
            f" {cause.function} went on in {count(cause.went_on.invocations)} of {count(cause.requests)} cases, ran"
            f"{_ran_and_billed(cause)}, and failed in {count(cause.went_on.failed)}."
        )
    return (
        f"API Gateway stops waiting after {GATEWAY_WAIT_S} s, while the function goes on and is billed.{went_on} "
        "Make it answer sooner, or answer at once and work behind a queue."
    )


def _client_timeout(cause: Cause) -> str:
    passed = "The client's own time limit passed before the answer was there"
    if cause.went_on is None:
        return (
            f"{passed}; what the target did with the request is not known. Give it longer than API Gateway's "
            f"{GATEWAY_WAIT_S} s, or look for what was slow at that time."
        )
    return (
        f"{passed}. {cause.function} was invoked in {count(cause.went_on.invocations)} of {count(cause.requests)} "
        f"cases, ran{_ran_and_billed(cause)}. Make it answer sooner, or give the client longer than that and than API "
        f"Gateway's {GATEWAY_WAIT_S} s; where it ran for less than the client waited, the way to it was slow."
    )


def _ran_and_billed(cause: Cause) -> str:
    """` for up to 40 s and was billed 40,000 ms`, as far as it is known."""
    ran = f" for up to {decimal(cause.max_duration_ms / 1000)} s" if cause.max_duration_ms else ""
    if cause.went_on is None or cause.went_on.billed_ms is None:
        return ran
    return f"{ran} and was billed {count(cause.went_on.billed_ms)} ms"


def _out_of_memory(cause: Cause) -> str:
    if cause.memory_mb is None or cause.max_memory_mb is None:
        return f"{cause.function} ran out of memory: give it more."
    needed = memory_needed_mb(cause.max_memory_mb)
    killed = f"{cause.function} used {count(cause.max_memory_mb)} of {count(cause.memory_mb)} MB and was killed"
    if needed < MAX_MEMORY_MB:
        return (
            f"{killed}: give it at least {count(needed)} MB (used × {MEMORY_HEADROOM}, in steps of {MEMORY_STEP_MB})."
        )
    if cause.memory_mb < MAX_MEMORY_MB:
        return (
            f"{killed}: give it {count(MAX_MEMORY_MB)} MB, which is Lambda's maximum; if that is not enough, let one "
            "invocation do less work."
        )
    return f"{killed}: that is Lambda's maximum. Let one invocation do less work: smaller batches, data read in parts."


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
    "client_timeout": _client_timeout,
    "connection_failed": lambda cause: (
        "No connection, or it broke: the address, the network, TLS, or a target that refuses or closes connections. "
        "The message says which."
    ),
    "no_response": lambda cause: "No answer came, and the message is all that is known of it.",
    "check_failed": lambda cause: (
        f"The answer came with a good status; the {cause.error_type.removeprefix(CHECK_FAILED)!r} check refused it."
        if cause.error_type is not None and cause.error_type.startswith(CHECK_FAILED)
        else "The answer came with a good status and did not pass the client's check of its content."
    ),
    "answered_error": lambda cause: (
        f"{cause.function or 'The function'} answered so itself, without failing: its own log lines say why."
    ),
    "invoke_refused": lambda cause: (
        "Lambda refused the call before any function ran: check the function's name, its version or alias (QUALIFIER), "
        "the Region, and what the caller may do."
    ),
    "refused": lambda cause: (
        # Without a word of the gateway's own the error type is but the status.
        "No invocation is known for these. Either the gateway refused them (path, method, authorisation), or a "
        "function answered so and nothing it left leads to it: docs/your-own-functions.md."
        if (cause.error_type or "").startswith("HTTP ")
        else "The gateway refused the request before any function: check path, method and authorisation."
    ),
    "dropped": lambda cause: (
        "The load generator found no free slot for these arrivals: they were offered and never sent. "
        "Add workers or connections, or let the target answer faster."
    ),
    "unfinished": lambda cause: (
        "The run ended before these were answered: let it drain longer, or look for what hangs."
    ),
}
