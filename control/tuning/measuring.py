"""Invoking: what each invocation reports of itself, by the REPORT line that comes back with its answer.

At the rates of a tuning run a few threads with boto3 do; its retries are off, so that every refusal is seen and
counted.
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from analysis.lambda_lines import parse_event
from control.tuning.payloads import Payload
from control.tuning.schedule import Call

Outcome = Literal["warm", "cold", "failed", "throttled", "lost"]
_REPORT = "REPORT RequestId: "
_ERROR_CHARACTERS = 300
_INIT_KEYS = ("init_ms", "restore_ms")


@dataclass(frozen=True)
class Invocation:
    """One invocation that was tried. What REPORT does not say is None."""

    call: Call
    started_at: float
    """Epoch seconds."""
    late_ms: float
    """After it was due; 0 where nothing was due."""
    client_ms: float
    outcome: Outcome
    """`warm` and `cold` succeeded. `failed`: the function did; `throttled`: Lambda refused it; `lost`: no answer, or
    none with a REPORT line."""
    error: str | None = None
    request_id: str | None = None
    duration_ms: float | None = None
    billed_ms: int | None = None
    init_ms: float | None = None
    """Init, or with SnapStart the restore; billed like the rest as far as `billed_ms` says."""
    max_memory_mb: int | None = None

    def row(self) -> dict[str, Any]:
        """For `invocations.jsonl`: what is known."""
        known = {
            "round": self.call.round,
            "memory_mb": self.call.memory_mb,
            "payload": self.call.payload,
            "started_at": round(self.started_at, 6),
            "late_ms": round(self.late_ms, 3),
            "client_ms": round(self.client_ms, 3),
            "outcome": self.outcome,
            "error": self.error,
            "request_id": self.request_id,
            "duration_ms": self.duration_ms,
            "billed_ms": self.billed_ms,
            "init_ms": self.init_ms,
            "max_memory_mb": self.max_memory_mb,
        }
        return {name: value for name, value in known.items() if value is not None}


class Invoker:
    """Invokes the aliases that stand for the memory values."""

    def __init__(
        self,
        client: Any,
        function: str,
        aliases: dict[int, str],
        payloads: Sequence[Payload],
        clock: Callable[[], float],
    ) -> None:
        """`client`: boto3's for Lambda, without retries; `aliases`: memory -> alias; `clock`: epoch seconds."""
        self._client = client
        self._function = function
        self._aliases = aliases
        self._payloads = payloads
        self._clock = clock

    def __call__(self, call: Call) -> Invocation:
        """Raises ClientError for what no other invocation would do better: no permission, no such function."""
        started_at = self._clock()

        def ended(outcome: Outcome, error: str | None = None, **facts: Any) -> Invocation:
            taken_ms = (self._clock() - started_at) * 1000
            shown = None if error is None else " ".join(error.split())[:_ERROR_CHARACTERS]
            return Invocation(call, started_at, 0.0, taken_ms, outcome, shown, **facts)

        try:
            answer = self._client.invoke(
                FunctionName=self._function,
                Qualifier=self._aliases[call.memory_mb],
                LogType="Tail",
                Payload=self._payloads[call.payload].content,
            )
            body = answer["Payload"].read()
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status == 429:
                return ended("throttled", error.response.get("Reason") or str(error))
            if status < 500:
                raise
            return ended("lost", str(error))
        except BotoCoreError as error:
            return ended("lost", str(error))
        request_id = answer["ResponseMetadata"]["RequestId"]
        report = report_of(answer.get("LogResult"), request_id)
        facts = {
            "request_id": request_id,
            "duration_ms": report.get("duration_ms"),
            "billed_ms": report.get("billed_ms"),
            "init_ms": next((report[key] for key in _INIT_KEYS if key in report), None),
            "max_memory_mb": report.get("max_memory_mb"),
        }
        failure = failure_of(answer.get("FunctionError"), body)
        if failure is not None:
            return ended("failed", failure, **facts)
        if facts["duration_ms"] is None or facts["billed_ms"] is None:
            return ended("lost", "the answer came without a REPORT line", **facts)
        return ended("warm" if facts["init_ms"] is None else "cold", **facts)


def report_of(log_result: str | None, request_id: str) -> dict[str, Any]:
    """The REPORT of an invocation in the tail of its log (base64, at most 4 KB, text or JSON); empty where there is
    none.

    A traced invocation's has a second line. Application lines that look like one are told apart by the request id.
    """
    text = base64.b64decode(log_result or "").decode("utf-8", "replace")
    at = text.rfind(f"{_REPORT}{request_id}")
    candidates = [text[at:]] if at >= 0 else [line for line in reversed(text.splitlines()) if line.startswith("{")]
    for candidate in candidates:
        event = parse_event(candidate)
        if event["kind"] == "report" and event.get("request_id", request_id) == request_id:
            return event
    return {}


def failure_of(function_error: str | None, body: bytes) -> str | None:
    """How a function failed: by an error, or by an answer that says so (of an API, of a batch); None: it did not."""
    try:
        document = json.loads(body) if body else None
    except ValueError:
        document = None
    answered = document if isinstance(document, dict) else {}
    if function_error is not None:
        said = [str(answered[key]) for key in ("errorType", "errorMessage") if answered.get(key)]
        return ": ".join(said) or function_error
    status = answered.get("statusCode")
    if isinstance(status, int) and status >= 400:
        return f"it answered with statusCode {status}: {answered.get('body') or ''}"
    if answered.get("batchItemFailures"):
        return f"it reports {len(answered['batchItemFailures'])} failed messages of its batch"
    return None


def measure(
    planned: Iterable[Call],
    invoke: Callable[[Call], Invocation],
    *,
    concurrency: int,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    take: Callable[[Invocation], bool],
) -> None:
    """Make the calls, `concurrency` at a time, each when it is due. Returns when all are made.

    A memory value whose function failed gets no more calls. `take` is called with each invocation, one at a time, and
    ends it all by returning False. What an invocation raises ends it all, too, and is raised here. When this is left by
    an exception, calls under way are left to themselves.
    """
    work = _Work(iter(planned), take, clock())
    workers = [
        threading.Thread(target=_make_calls, args=(work, invoke, clock, sleep), daemon=True, name=f"invoker-{number}")
        for number in range(concurrency)
    ]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(0.2)  # so that Ctrl-C comes through
    finally:
        work.over.set()
    if work.raised is not None:
        raise work.raised


class _Work:
    """What the workers share."""

    def __init__(self, planned: Iterator[Call], take: Callable[[Invocation], bool], started_at: float) -> None:
        self.started_at = started_at
        self.over = threading.Event()
        self.raised: BaseException | None = None
        self._planned = planned
        self._take = take
        self._stopped: set[int] = set()
        self._lock = threading.Lock()

    def next(self) -> Call | None:
        with self._lock:
            if self.over.is_set():
                return None
            return next(itertools.filterfalse(lambda call: call.memory_mb in self._stopped, self._planned), None)

    def is_stopped(self, call: Call) -> bool:
        return self.over.is_set() or call.memory_mb in self._stopped

    def took(self, invocation: Invocation) -> None:
        with self._lock:
            if self.over.is_set():
                return
            if invocation.outcome == "failed":
                self._stopped.add(invocation.call.memory_mb)
            if not self._take(invocation):
                self.over.set()

    def failed(self, error: BaseException) -> None:
        with self._lock:
            if not self.over.is_set():
                self.raised = error
            self.over.set()


def _make_calls(
    work: _Work, invoke: Callable[[Call], Invocation], clock: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    try:
        while (call := work.next()) is not None:
            late_s = 0.0
            if call.due_s is not None:
                early_s = work.started_at + call.due_s - clock()
                if early_s > 0:
                    sleep(early_s)
                if work.is_stopped(call):
                    continue
                late_s = max(0.0, clock() - work.started_at - call.due_s)
            work.took(replace(invoke(call), late_ms=late_s * 1000))
    except BaseException as error:  # noqa: BLE001 -- raised again by who waits for the workers
        work.failed(error)
