"""Thresholds: what a run must hold, written as `[scope: ]metric [over window] operator limit`.

```
threshold  = [ scope ": " ] metric [ "over" window ] operator limit
scope      = an endpoint ("POST /vote"), a flow ("vote"), a function ("place-vote"), a chain ("shop"), "cost";
             none = everything
metric     = one of METRICS
operator   = "<=" | ">=" | "==" | "!=" | "<" | ">"          (longer ones are tried first)
limit      = number [ "%" | "ms" | "s" ]
window     = timespan, such as 10s, of at least 1 s
action     = "fail" | "abort" | "abort after " timespan
```

`error_rate < 0.5%` is the number 0.005, and a share is at most 1; `p95_ms < 1s` is 1000. Parsed when the profile is
loaded, so that a mistake is found before the load and not after it.

`shop: p95_ms < 1s` is about the first of that name: an endpoint, a flow, a function (its own time) or a chain (end to
end). The END_TO_END_METRICS are those of the chain, also where a flow has its name: `shop: end_to_end_p95_ms < 5s`.

Without a window a threshold is about the whole run (its measured rows). `p95_ms over 10s < 1000` is about every 10 s of
it: the worst of them is what is judged. A request counts in the window in which it ended, a dropped arrival in the one
in which it was due; windows that hold the warm-up, or lie outside the run, are none.

A function's invocation counts in the window in which it ended, a chain's message in the one in which it was sent.
Throttles and cost have none: CloudWatch counts by the minute.

An action `abort after 10s` ends the run once the threshold has been broken in every look at its window for 10 s;
`abort` does at the first. Such a threshold without a window is watched over DEFAULT_WINDOW_S as long as the run goes,
and judged over the whole run in the end.

Aborts are for what the client's side knows by itself, and while the run goes: CLIENT_METRICS of everything, of a flow
or of an endpoint.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from config.numbers import limit_of
from config.timespans import parse_timespan

LATENCY_METRICS = ("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")
END_TO_END_METRICS = tuple(f"end_to_end_{name}" for name in LATENCY_METRICS)
"""Of a chain, from the request to the end of its last function; nothing else answers to them."""
TIME_METRICS = (*LATENCY_METRICS, *END_TO_END_METRICS)
RATE_METRICS = ("error_rate", "success_rate", "cold_start_rate", "throttle_rate", "dropped_rate")
CHAIN_COUNTS = ("sent", "accepted", "completed", "lost", "duplicated", "late", "pending")
COUNT_METRICS = (
    "requests",
    "failures",
    "dropped",
    "invocations",
    "errors",
    "timeouts",
    "throttles",
    "cold_starts",
    *CHAIN_COUNTS,
)
CLIENT_METRICS = (
    *LATENCY_METRICS,
    "error_rate",
    "success_rate",
    "dropped_rate",
    "requests",
    "failures",
    "dropped",
    "rps",
)
"""What can abort a run: everything that the client knows without the target's logs."""
DEFAULT_WINDOW_S = 10.0
"""TIME_SCALE multiplies it."""
SHORTEST_WINDOW_S = 1.0
COST_SCOPE = "cost"
COST_METRICS = ("run_usd", "per_million_usd")
"""Of the scope `cost`, which has no others."""
WHOLE_RUN_METRICS = ("throttles", "throttle_rate", *COST_METRICS)
"""What cannot be measured over a window."""
METRICS = (*TIME_METRICS, *RATE_METRICS, *COUNT_METRICS, "rps", *COST_METRICS)

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_EXPRESSION = re.compile(
    r"""(?:(?P<scope>.+?)\s*:\s+)?          # a colon followed by a blank: paths may hold colons
        (?P<metric>[a-z0-9_]+)\s*
        (?:\bover\s+(?P<window>[0-9.]+[a-z][0-9.a-z]*)\s*)?
        (?P<operator><=|>=|==|!=|<|>)\s*
        (?P<number>\d+(?:\.\d+)?)\s*(?P<unit>%|ms|s)?""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Threshold:
    """One parsed threshold."""

    text: str
    """The expression as written, its window scaled."""
    scope: str | None
    """Endpoint, flow, function, chain or `cost`; None for the whole run."""
    metric: str
    operator: str
    limit: float
    """In the metric's own unit: milliseconds for `*_ms`, a share from 0 to 1 for `*_rate`."""
    action: str
    """`fail` or `abort`."""
    abort_after_s: float | None
    """How long an `abort` threshold must be broken before it stops the run; None for `fail`."""
    window_s: float | None = None
    """Length of the windows that are judged; None for the whole run."""

    def holds(self, value: float) -> bool:
        """Whether a measured value keeps to the limit."""
        return OPERATORS[self.operator](value, self.limit)


def parse_threshold(expression: str, action: str = "fail", time_scale: float = 1.0) -> Threshold:
    """Parse one threshold; `time_scale` multiplies its window and the time after which it aborts.

    Raises ValueError naming the text, every mistake in it and in its action, and what is accepted.
    """
    match = _EXPRESSION.fullmatch(expression.strip())
    problems: list[str] = []
    kind, abort_after_s = _parse_action(action, problems)
    if match is None:
        problems.insert(
            0,
            "not `[scope: ]metric [over window] operator limit`, e.g. `POST /vote: p95_ms < 1000` or "
            f"`error_rate over 10s < 1%` (operators: {', '.join(OPERATORS)})",
        )
        raise ValueError(f"{expression!r}: {'; '.join(problems)}")
    text, metric = expression.strip(), match["metric"]
    limit, window_s = _parse_limit(match, problems), None
    if match["window"] is not None:
        window_s = _parse_timespan(match["window"], problems) * time_scale
        if time_scale != 1:
            text = f"{text[: match.start('window')]}{window_s:g}s{text[match.end('window') :]}"
        if window_s < SHORTEST_WINDOW_S:
            problems.append(f"a window of {window_s:g} s is too short, it needs at least {SHORTEST_WINDOW_S:g} s")
    if metric not in METRICS:
        problems.append(f"unknown metric {metric!r}, not one of {', '.join(METRICS)}")
    else:
        if (metric in COST_METRICS) != (match["scope"] == COST_SCOPE):
            problems.append(
                f"scope {COST_SCOPE} has the metrics {' and '.join(COST_METRICS)}, and they have no other scope: "
                "`cost: run_usd < 5`"
            )
        if metric in END_TO_END_METRICS and match["scope"] is None:
            problems.append(f"{metric} is about one chain, its scope: `shop: {metric} < 5s`")
        if metric not in CLIENT_METRICS and kind == "abort":
            problems.append(
                f"{metric} is known only after the run, so it cannot abort it, as {', '.join(CLIENT_METRICS)} can"
            )
        if metric in WHOLE_RUN_METRICS and window_s is not None:
            problems.append(f"{metric} has no windows: throttles are counted by the minute, costs over the whole run")
    if problems:
        raise ValueError(f"{expression!r}: {'; '.join(problems)}")
    return Threshold(
        text=text,
        scope=match["scope"],
        metric=metric,
        operator=match["operator"],
        limit=limit,
        action=kind,
        abort_after_s=None if abort_after_s is None else abort_after_s * time_scale,
        window_s=window_s,
    )


def _parse_limit(match: re.Match[str], problems: list[str]) -> float:
    """The limit in the unit of its metric; what is wrong with it goes to `problems`."""
    metric, unit = match["metric"], match["unit"]
    limit = limit_of(match["number"], unit)
    if metric not in METRICS:
        return limit
    if unit == "%" and metric not in RATE_METRICS:
        problems.append(f"{metric} is not a share and takes no %")
    elif unit in ("ms", "s") and metric not in TIME_METRICS:
        problems.append(f"{metric} is not a time and takes no {unit}")
    elif metric in RATE_METRICS and limit > 1:
        most = "100%" if unit == "%" else f"1: write {match['number']}% if you mean per cent"
        problems.append(f"{metric} is a share of at most {most}")
    return limit


def _parse_action(action: str, problems: list[str]) -> tuple[str, float | None]:
    """Kind of an action, and seconds of one that aborts; what is wrong with it goes to `problems`."""
    if action == "fail":
        return "fail", None
    if action == "abort":
        return "abort", 0.0
    if isinstance(action, str) and action.startswith("abort after "):
        return "abort", _parse_timespan(action.removeprefix("abort after "), problems)
    problems.append(f"action {action!r} is not one of fail, abort, `abort after 10s`")
    return "fail", None


def _parse_timespan(text: str, problems: list[str]) -> float:
    """Seconds; infinite where it is no time span, which goes to `problems`."""
    try:
        return parse_timespan(text)
    except ValueError as unread:
        problems.append(str(unread))
        return math.inf
