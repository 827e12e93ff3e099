"""Thresholds: what a run must hold, written as `[scope: ]metric operator limit`.

```
threshold  = [ scope ": " ] metric operator limit
scope      = an endpoint ("POST /vote"), a flow ("vote"), a function ("place-vote"), a chain ("shop"); none = everything
metric     = one of METRICS
operator   = "<=" | ">=" | "==" | "!=" | "<" | ">"          (longer ones are tried first)
limit      = number [ "%" | "ms" | "s" ]
action     = "fail" | "abort" | "abort after " timespan
```

`error_rate < 0.5%` is the number 0.005; `p95_ms < 1s` is 1000. Parsed when the profile is loaded, so that a mistake
is found before the load and not after it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from config.timespans import parse_timespan

LATENCY_METRICS = ("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")
RATE_METRICS = ("error_rate", "success_rate", "cold_start_rate", "throttle_rate", "dropped_rate")
COUNT_METRICS = (
    "requests",
    "failures",
    "dropped",
    "invocations",
    "errors",
    "timeouts",
    "throttles",
    "cold_starts",
    "sent",
    "accepted",
    "completed",
    "lost",
    "duplicated",
    "late",
    "pending",
)
METRICS = (*LATENCY_METRICS, *RATE_METRICS, *COUNT_METRICS, "rps")

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
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
        (?P<operator><=|>=|==|!=|<|>)\s*
        (?P<number>\d+(?:\.\d+)?)\s*(?P<unit>%|ms|s)?""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Threshold:
    """One parsed threshold."""

    text: str
    """The expression as written."""
    scope: str | None
    """Endpoint, flow, function or chain; None for the whole run."""
    metric: str
    operator: str
    limit: float
    """In the metric's own unit: milliseconds for `*_ms`, a share from 0 to 1 for `*_rate`."""
    action: str
    """`fail` or `abort`."""
    abort_after_s: float | None
    """How long an `abort` threshold must be broken before it stops the run; None for `fail`."""

    def holds(self, value: float) -> bool:
        """Whether a measured value keeps to the limit."""
        return _OPERATORS[self.operator](value, self.limit)


def parse_threshold(expression: str, action: str = "fail") -> Threshold:
    """Parse one threshold. Raises ValueError naming the text, the reason and what is accepted."""
    match = _EXPRESSION.fullmatch(expression.strip())
    if match is None:
        raise ValueError(
            f"{expression!r} is not `[scope: ]metric operator limit`, e.g. `POST /vote: p95_ms < 1000` "
            f"(operators: {', '.join(_OPERATORS)})"
        )
    metric, unit = match["metric"], match["unit"]
    if metric not in METRICS:
        raise ValueError(f"{expression!r}: unknown metric {metric!r}; one of {', '.join(METRICS)}")
    limit = float(match["number"])
    if unit == "%":
        if metric not in RATE_METRICS:
            raise ValueError(f"{expression!r}: {metric} is not a share and takes no %")
        limit /= 100
    elif unit in ("ms", "s"):
        if metric not in LATENCY_METRICS:
            raise ValueError(f"{expression!r}: {metric} is not a time and takes no {unit}")
        limit *= 1000 if unit == "s" else 1
    kind, abort_after_s = _parse_action(expression, action)
    return Threshold(
        text=expression,
        scope=match["scope"],
        metric=metric,
        operator=match["operator"],
        limit=limit,
        action=kind,
        abort_after_s=abort_after_s,
    )


def _parse_action(expression: str, action: str) -> tuple[str, float | None]:
    if action == "fail":
        return "fail", None
    if action == "abort":
        return "abort", 0.0
    if isinstance(action, str) and action.startswith("abort after "):
        return "abort", parse_timespan(action.removeprefix("abort after "))
    raise ValueError(f"{expression!r}: action {action!r} is not one of fail, abort, `abort after 10s`")
