"""A run's thresholds held against its summary: pass, fail or no data.

`scope: metric` is looked up in the summary, in the block of the endpoint, the flow, the function or the chain of that
name, whichever knows the metric first; without a scope in the whole client, or, where the metric is one of functions
or chains, over all of them together; with the scope `cost` in the cost of the run. Counts are those of the measured
rows, like the percentiles and rates; throttles and dropped deliveries have no rows to tell warm-up by and count over
the whole run.

A scope or metric that nothing was measured for is `no data`: it does not hold. A cost that some item is missing from is
a lower bound: it decides what no higher cost would decide otherwise, and is `no data` for the rest.

A threshold with a window is held against the worst of them (`analysis.windows`). One that aborted the run does not
hold, whatever the whole run comes to: its value is the one that it aborted with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from analysis.cost import left_out
from analysis.formatting import ratio
from analysis.windows import Window
from config.thresholds import COST_SCOPE, END_TO_END_METRICS, LATENCY_METRICS, Threshold

Block = Mapping[str, Any]

_COUNTED_AMONG: Mapping[str, str] = {
    **dict.fromkeys(("failures", "dropped"), "requests"),
    **dict.fromkeys(("errors", "timeouts", "cold_starts"), "invocations"),
    **dict.fromkeys(("accepted", "completed", "lost", "duplicated", "late", "pending"), "sent"),
}
"""Count -> the count of those that could have been in it: none of none was not measured."""


def judge_thresholds(
    summary: Mapping[str, Any],
    thresholds: Iterable[Threshold],
    worst_window: Callable[[Threshold], Window | None],
    aborted: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The summary's `thresholds`: expression, value, verdict (`pass`, `fail`, `no data`), action, aborted, window_at,
    lower_bound.

    `worst_window` is asked about thresholds that have a window; `aborted` is the manifest's. `window_at`: when the
    window that the value is of began, epoch seconds; None where it is of the whole run. `lower_bound`: the value is
    a cost that something is left out of.
    """
    return [_judged(summary, threshold, worst_window, aborted) for threshold in thresholds]


def _judged(
    summary: Mapping[str, Any],
    threshold: Threshold,
    worst_window: Callable[[Threshold], Window | None],
    aborted: Mapping[str, Any] | None,
) -> dict[str, Any]:
    did_abort = aborted is not None and aborted.get("threshold") == threshold.text
    window, value = None, None
    if aborted is not None and did_abort:
        window = Window(aborted["at"] - aborted["window_s"], aborted["value"])
    elif threshold.window_s is not None:
        window = worst_window(threshold)
    else:
        value = measured_value(summary, threshold.scope, threshold.metric)
    if window is not None:
        value = window.value
    lower_bound = (
        value is not None and threshold.scope == COST_SCOPE and bool(left_out(summary["cost"], threshold.metric))
    )
    return {
        "expression": threshold.text,
        "value": value,
        "verdict": _verdict(threshold, value, lower_bound),
        "action": threshold.action,
        "aborted": did_abort,
        "window_at": None if window is None else window.started_at,
        "lower_bound": lower_bound,
    }


def _verdict(threshold: Threshold, value: float | None, lower_bound: bool) -> str:
    if value is None:
        return "no data"
    holds = threshold.holds(value)
    # decided where all that is not less has one verdict
    if lower_bound and (value < threshold.limit or holds != threshold.holds(math.inf)):
        return "no data"
    return "pass" if holds else "fail"


def measured_value(summary: Mapping[str, Any], scope: str | None, metric: str) -> float | None:
    """The value of a metric in a summary; None where nothing was measured."""
    for block in _blocks(summary, scope):
        value = _value(block, metric)
        if value is not None:
            return value
    return None


def _blocks(summary: Mapping[str, Any], scope: str | None) -> Iterator[Block]:
    """The blocks that may know a metric of this scope, in the order in which they are asked."""
    if scope == COST_SCOPE:
        yield summary["cost"]
        return
    client, functions, chains = summary["client"], summary["functions"], summary["chains"]
    if scope is None:
        yield client
        yield _together(functions.values())
        yield _together(chains.values())
        return
    for blocks in (client["endpoints"], client["flows"], functions, chains):
        if scope in blocks:
            yield blocks[scope]


def _value(block: Block, metric: str) -> float | None:
    measured = block.get("measured", {})
    if metric in measured:
        among = _COUNTED_AMONG.get(metric)
        of_none = among is not None and not measured[metric] and measured.get(among) == 0
        return None if of_none else measured[metric]
    if metric == "success_rate":
        error_rate = block.get("error_rate")
        return None if error_rate is None else 1 - error_rate
    if metric in END_TO_END_METRICS:
        return (block.get("end_to_end_ms") or {}).get(metric.removeprefix("end_to_end_").removesuffix("_ms"))
    if metric in LATENCY_METRICS and metric not in block:
        # A function's own time, a chain's end to end.
        times = block.get("duration_ms") or block.get("end_to_end_ms") or {}
        return times.get(metric.removesuffix("_ms"))
    return block.get(metric)


def _together(blocks: Iterable[Block]) -> Block:
    """Counts of several blocks added up, and the rates that follow from them; a count that one lacks is unknown."""
    blocks = list(blocks)
    if not blocks:
        return {}
    measured = {
        name: None
        if any(block["measured"][name] is None for block in blocks)
        else sum(block["measured"][name] for block in blocks)
        for name in blocks[0]["measured"]
    }
    total: dict[str, Any] = {"measured": measured}
    invocations = measured.get("invocations")
    if invocations:
        total["cold_start_rate"] = ratio(measured["cold_starts"], invocations)
    # CloudWatch has no metrics of a function that was never called: nothing of it was throttled.
    throttles = [
        block.get("throttles")
        for block in blocks
        if block.get("throttles") is not None or block.get("invocations") != 0
    ]
    if throttles and None not in throttles:
        total["throttles"] = sum(throttles)
        offered = total["throttles"] + sum(block.get("invocations", 0) for block in blocks)
        total["throttle_rate"] = total["throttles"] / offered if offered else None
    return total
