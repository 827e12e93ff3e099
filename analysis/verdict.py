"""What a run comes down to: one verdict, the sentence that says it, and the exit code.

An incomplete run is incomplete before it is anything else: thresholds that hold on half of the data hold nothing.
A threshold without data fails. A run that set no thresholds is neither good nor bad, and ends with 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from analysis import breakpoint, errors
from analysis.formatting import count, plural, ratio, share, time_of_day, visible
from runstore.columns import DROPPED


@dataclass(frozen=True)
class Verdict:
    kind: Literal["passed", "failed", "incomplete", "unjudged"]
    headline: str
    """`Failed: 1 of 3 thresholds broken`."""
    detail: str | None
    """The main cause of failed requests in a sentence, or None where none failed."""
    exit_code: int


def judge(summary: Mapping[str, Any]) -> Verdict:
    """The verdict of a `summary.json`."""
    thresholds = summary.get("thresholds") or []
    broken = [t for t in thresholds if t.get("verdict") != "pass"]
    detail = _main_cause(summary)
    without_data = sum(t.get("verdict") == "no data" for t in broken)
    run = summary.get("run") or {}
    reasons = [aborted_by(run["aborted"])] if run.get("aborted") else []
    reasons += [_judged(len(broken), without_data, len(thresholds))] if thresholds else []
    judged = "; ".join(reasons)
    if not run.get("complete", False):
        also = f"; {judged}" if judged else ""
        return Verdict("incomplete", f"Incomplete: the run or its data is not whole{also}", detail, errors.INCOMPLETE)
    search = summary.get("breakpoint")
    if search and search.get("void"):
        return Verdict("incomplete", f"Breakpoint {breakpoint.in_words(search)}", detail, errors.INCOMPLETE)
    if broken:
        return Verdict("failed", f"Failed: {judged}", detail, errors.THRESHOLD_FAILED)
    if search:
        limit = breakpoint.limit_in_words(search)
        return Verdict("unjudged", f"Breakpoint: {breakpoint.in_words(search)}", limit or detail, errors.OK)
    if thresholds:
        return Verdict("passed", f"Passed: {judged}", detail, errors.OK)
    return Verdict("unjudged", "Done: the profile sets no thresholds", detail, errors.OK)


def aborted_by(aborted: Mapping[str, Any]) -> str:
    """`aborted by POST /vote: error_rate < 5% at 11:27:50 UTC`, or by MAX_COST_USD."""
    by = aborted.get("limit") or aborted.get("threshold")
    return f"aborted by {visible(by)} at {time_of_day(aborted.get('at'))} UTC"


def _judged(broken: int, without_data: int, total: int) -> str:
    if not broken:
        return "the one threshold holds" if total == 1 else f"all {total} thresholds hold"
    of = f"{broken} of {plural(total, 'threshold')} broken"
    return f"{of} ({without_data} without data)" if without_data else of


def _main_cause(summary: Mapping[str, Any]) -> str | None:
    client = summary.get("client") or {}
    requests, failures, dropped = client.get("requests"), client.get("failures"), client.get("dropped")
    never_sent = (
        f"{plural(dropped or 0, 'arrival')} found no free slot and {'was' if dropped == 1 else 'were'} never sent"
    )
    if not failures:
        return never_sent if dropped else None
    words = f"{count(failures)} of {plural(requests or 0, 'request')} failed ({share(ratio(failures, requests))})"
    requests_by_title: Counter[str] = Counter()
    for cause in summary.get("root_causes") or []:  # several causes may have one title, and differ in their frames
        if cause.get("error_type") != DROPPED:
            requests_by_title[cause_title(cause)] += cause.get("requests") or 0
    if requests_by_title:
        ((title, explained),) = requests_by_title.most_common(1)
        words += f", {'all' if explained == failures else count(explained)} of them: {title}"
    else:
        words += "; no cause was found in the logs"
    return f"{words}; {never_sent}" if dropped else words


def causes(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The root causes, each once: its largest group, with requests, share, times and examples of all its groups, and
    these as `groups`. A cause shows in several flows, each with its own status. `of`: what its share is one of."""
    by_number: dict[object, list[Mapping[str, Any]]] = {}
    for position, group in enumerate(summary.get("root_causes") or []):
        by_number.setdefault(group.get("cause", ("of its own", position)), []).append(group)
    dropped = (summary.get("client") or {}).get("dropped")
    of = "all that failed or were dropped" if dropped else "all that failed"
    return [{**_folded(groups), "of": of} for groups in by_number.values()]


def _folded(groups: list[Mapping[str, Any]]) -> dict[str, Any]:
    def of_all(name: str) -> list[Any]:
        return [group[name] for group in groups if group.get(name) is not None]

    return {
        **groups[0],
        "requests": sum(of_all("requests")),
        "share": sum(of_all("share")) if of_all("share") else None,
        "first_at": min(of_all("first_at"), default=None),
        "last_at": max(of_all("last_at"), default=None),
        "examples": [example for examples in of_all("examples") for example in examples],
        "groups": groups,
    }


def duration_s(run: Mapping[str, Any]) -> float | None:
    """How long a run took, by the summary's `run` or its manifest; None where it is not known, or ended before it
    began."""
    started_at, ended_at = run.get("started_at"), run.get("ended_at")
    if started_at is None or ended_at is None or ended_at < started_at:
        return None
    return float(ended_at - started_at)


def answers(cause: Mapping[str, Any]) -> str:
    """What the client got, for a cause of `causes`: `502`; of several groups
    `502 × 900 in flow vote, 200 with an error × 30 in flow direct`."""
    groups = cause["groups"]
    if len(groups) == 1:
        return answer(cause)
    return ", ".join(
        f"{answer(group)} × {count(group.get('requests'))} in flow {visible(group.get('flow'), 40)}" for group in groups
    )


def cause_title(cause: Mapping[str, Any]) -> str:
    """`place-vote: ProvisionedThroughputExceededException on PutRecord, stream votes`, as far as it is known."""
    what = visible(cause.get("error_type") or "unknown", 120)
    if cause.get("operation"):
        what += f" on {visible(cause['operation'], 60)}"
    if cause.get("resource"):
        what += f", {visible(cause['resource'], 80)}"
    elif cause.get("kind") == "lambda_throttled":
        what += ", limit not known"
    return f"{visible(cause['function'], 80)}: {what}" if cause.get("function") else what


def answer(cause: Mapping[str, Any]) -> str:
    """What the client got: the HTTP status, or what stood in its place."""
    status = cause.get("status")
    if status is not None:
        return f"{status} with an error" if isinstance(status, int) and status < 400 else visible(status)
    return "never sent" if cause.get("error_type") == DROPPED else "no response"


def message(cause: Mapping[str, Any]) -> str | None:
    """What the logs or the client said, on one line; None where the title of the cause says it already."""
    said = cause.get("message")
    return None if not said or visible(said) in cause_title(cause) else visible(said, 300)
