"""In which state an alarm is, by the sandbox's own metrics.

    state, reason = alarm_state(alarm, metrics, now)

Judged are the last `EvaluationPeriods` whole periods, as CloudWatch does: in ALARM where at least `DatapointsToAlarm`
of them are beyond the threshold, missing ones counted as TreatMissingData says. Metric math is what an alarm on a rate
needs: numbers, the ids of metrics, + - * / and parentheses; where a metric has no data point, the expression has none.
Left out: CloudWatch looks further back for missing data points than the periods it judges.

Source: Amazon CloudWatch user guide, "Using Amazon CloudWatch alarms", "Configuring how CloudWatch alarms treat missing
data"; "Using math expressions".
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sandbox.metrics import Metrics, MetricsError
from sandbox.sinks import Dimensions

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class MetricStat:
    """One metric, reduced to a value a period."""

    namespace: str
    name: str
    dimensions: Dimensions
    statistic: str


@dataclass(frozen=True)
class AlarmDefinition:
    """What is judged, and how."""

    metrics: Mapping[str, MetricStat]
    """By their ids; one alone has any id."""
    expression: str
    """Of these ids."""
    comparison: str
    threshold: float
    period_s: int
    evaluation_periods: int
    datapoints: int
    treat_missing: str
    """`breaching`, `notBreaching`, `ignore` or `missing`."""


def alarm_state(alarm: AlarmDefinition, metrics: Metrics, now: float) -> tuple[State, str] | None:
    """(state, reason) at `now` (epoch seconds); None: it stays as it is.

    What the sandbox cannot judge is INSUFFICIENT_DATA, with the reason.
    """
    try:
        return _judged(alarm, metrics, now)
    except MetricsError as unknown:
        return "INSUFFICIENT_DATA", str(unknown)


def _judged(alarm: AlarmDefinition, metrics: Metrics, now: float) -> tuple[State, str] | None:
    compare = _COMPARE.get(alarm.comparison)
    if compare is None:
        raise MetricsError("ValidationError", f"The sandbox knows no {alarm.comparison} in alarms")
    # The period that is still going on is not judged yet.
    end = int(now // alarm.period_s) * alarm.period_s
    start = end - alarm.period_s * alarm.evaluation_periods
    points = {
        identifier: metrics.values(
            stat.namespace, stat.name, stat.dimensions, start, end, alarm.period_s, stat.statistic
        )
        for identifier, stat in alarm.metrics.items()
    }
    formula = _parse(alarm.expression)
    found = [
        _value(formula, {identifier: values.get(at) for identifier, values in points.items()})
        for at in range(start, end, alarm.period_s)
    ]
    values = [value for value in found if value is not None]
    missing = len(found) - len(values)
    if not values and alarm.treat_missing == "ignore":
        return None
    if not values and alarm.treat_missing == "missing":
        return "INSUFFICIENT_DATA", f"Insufficient Data: {missing} datapoints were unknown"
    beyond = sum(compare(value, alarm.threshold) for value in values)
    beyond += missing if alarm.treat_missing == "breaching" else 0
    state: State = "ALARM" if beyond >= alarm.datapoints else "OK"
    return state, f"Threshold Crossed: {beyond} of the last {len(found)} datapoints ({_listed(values)}) were beyond it"


def _parse(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise MetricsError("ValidationError", f"The sandbox cannot read the expression {expression!r}") from None


def _value(node: ast.expr, of: Mapping[str, float | None]) -> float | None:
    """What an expression is in one period; None where a metric of it has no data point, and for a division by 0."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in of:
            return of[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            one, other = _value(left, of), _value(right, of)
            if one is None or other is None or (isinstance(op, ast.Div) and other == 0):
                return None
            return _ARITHMETIC[type(op)](one, other)
    raise MetricsError("ValidationError", f"The sandbox cannot evaluate {ast.unparse(node)} in an alarm")


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
