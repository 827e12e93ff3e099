"""Hold a summary against the sandbox's truth, count by count.

Only the sandbox knows what really happened, so only a run against it can be checked this way, and only where the
sandbox served nothing else: its counters do not know of runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INVOKE_PREFIX = "Invoke "
"""Endpoints called through the Lambda API."""

OPERATIONS = {
    **dict.fromkeys(("SendMessage", "SendMessageBatch"), "sqs"),
    **dict.fromkeys(("Publish", "PublishBatch"), "sns"),
    "PutEvents": "events",
    **dict.fromkeys(("PutRecord", "PutRecords"), "kinesis"),
}
"""First word of an endpoint -> the AWS service that took its messages. What begins otherwise is an API's."""

_FUNCTION_COUNTS = ("invocations", "cold_starts", "errors", "timeouts", "throttles")
_CHAIN_COUNTS = ("sent", "accepted", "completed", "lost", "duplicated")


@dataclass(frozen=True)
class Comparison:
    """One count on both sides."""

    name: str
    """Where it stands: `functions.place-vote.invocations`."""
    summary: float | None
    """None where the analysis could not measure it."""
    truth: int

    @property
    def equal(self) -> bool:
        return self.summary == self.truth


def compare(summary: Mapping[str, Any], truth: Mapping[str, Any]) -> list[Comparison]:
    """Every count that both `summary.json` and `truth.json` know.

    A function, status or chain that only one side has is compared with 0 on the other: an invocation that the analysis
    made up is as wrong as one that it lost.
    """
    return [
        *_requests("api", truth.get("api") or {}, _endpoints(summary, lambda name: not _is_api_of_aws(name))),
        *_requests(
            "invoke", truth.get("invoke") or {}, _endpoints(summary, lambda name: name.startswith(INVOKE_PREFIX))
        ),
        *_messages(summary["client"], truth.get("messages") or {}),
        *_functions(summary["functions"], truth["functions"]),
        *_chains(summary.get("chains") or {}, truth.get("chains") or {}),
    ]


def _is_api_of_aws(endpoint: str) -> bool:
    return endpoint.startswith(INVOKE_PREFIX) or _service(endpoint) is not None


def _service(endpoint: str) -> str | None:
    return OPERATIONS.get(endpoint.partition(" ")[0])


def _messages(client: Mapping[str, Any], truth: Mapping[str, int]) -> Iterator[Comparison]:
    """Messages that a service took: those of the client that did not fail, or only by a check of the client's."""
    taken: Counter[str] = Counter()
    failed_checks = client.get("failed_checks") or {}
    for endpoint, figures in client["endpoints"].items():
        service = _service(endpoint)
        if service is not None:
            taken[service] += figures["requests"] - figures["failures"]
            taken[service] += sum(failed_checks.get(endpoint, {}).values())
    for service in sorted(truth.keys() | taken.keys()):
        yield Comparison(f"messages.{service}", taken[service], truth.get(service, 0))


def _endpoints(summary: Mapping[str, Any], chosen: Callable[[str], bool]) -> list[Mapping[str, Any]]:
    return [figures for endpoint, figures in summary["client"]["endpoints"].items() if chosen(endpoint)]


def _requests(
    name: str, truth: Mapping[str, Any] | None, endpoints: Sequence[Mapping[str, Any]]
) -> Iterator[Comparison]:
    if not truth:
        return
    yield Comparison(f"{name}.requests", sum(figures["requests"] for figures in endpoints), truth["requests"])
    counted: Counter[str] = Counter()
    for figures in endpoints:
        counted.update(figures["status"])
    for status in sorted(truth["by_status"].keys() | counted.keys()):
        yield Comparison(f"{name}.by_status.{status}", counted[status], truth["by_status"].get(status, 0))


def _functions(summary: Mapping[str, Any], truth: Mapping[str, Any]) -> Iterator[Comparison]:
    for function in sorted(summary.keys() | truth.keys()):
        figures, real = summary.get(function), truth.get(function, {})
        if figures and not figures["invocations"] and not real:
            # Never called: CloudWatch has no metric of it, so its throttles are unknown, and there is nothing to hold.
            continue
        for count in _FUNCTION_COUNTS:
            yield Comparison(f"functions.{function}.{count}", figures[count] if figures else 0, real.get(count, 0))
        billed_ms = (figures["billed_ms"] or {}).get("sum") if figures else 0
        if figures and not figures["invocations"] and billed_ms is None:
            billed_ms = 0  # throttled every time: nothing ran, nothing was billed
        yield Comparison(f"functions.{function}.billed_ms", billed_ms, real.get("billed_ms", 0))


def _chains(summary: Mapping[str, Any], truth: Mapping[str, Any]) -> Iterator[Comparison]:
    for chain in sorted(summary.keys() | truth.keys()):
        figures, real = summary.get(chain), truth.get(chain, {})
        for count in _CHAIN_COUNTS:
            if count in real or figures is not None:
                yield Comparison(f"chains.{chain}.{count}", figures[count] if figures else 0, real.get(count, 0))
