"""moto's alarms: what they judge, and the state that the model finds them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from sandbox.alarm_states import AlarmDefinition, MetricStat, State
from sandbox.definitions import ACCOUNT_ID

ONE = "m1"
UNKNOWN: tuple[State, str] = (
    "INSUFFICIENT_DATA",
    "The sandbox judges alarms with a metric, its periods and a fixed threshold only",
)


def judge(region: str, state_of: Callable[[AlarmDefinition], tuple[State, str] | None]) -> None:
    """Put every metric alarm of a Region into the state that `state_of` tells; None leaves it as it is."""
    for alarm in list(cloudwatch_backends[ACCOUNT_ID][region].alarms.values()):
        if alarm.rule is not None:
            continue  # a composite alarm has no metric
        definition = _definition(alarm)
        judged = UNKNOWN if definition is None else state_of(definition)
        if judged is not None and judged[0] != alarm.state_value:
            alarm.update_state(judged[1], "{}", judged[0])
        elif judged is not None:
            alarm.state_reason = judged[1]


def _definition(alarm: Any) -> AlarmDefinition | None:
    """None where it has no metric, no periods or no fixed threshold (anomaly detection): moto takes such alarms as they
    come."""
    if alarm.metric_data_queries:
        stats = {query.id: query.metric_stat for query in alarm.metric_data_queries if query.metric_stat}
        metrics = {identifier: _of_query(stat) for identifier, stat in stats.items()}
        expressions = [query.expression for query in alarm.metric_data_queries if query.expression]
        # Without a formula there is but one metric.
        expression = next(iter([*expressions, *metrics]), "")
        period = next((stat.period for stat in stats.values()), None)
    else:
        statistic = alarm.statistic or alarm.extended_statistic
        metrics = {ONE: MetricStat(alarm.namespace, alarm.metric_name, _dimensions(alarm.dimensions), statistic)}
        expression, period = ONE, alarm.period
    if alarm.threshold is None or not period or not alarm.evaluation_periods:
        return None
    if not all(stat.name and stat.statistic for stat in metrics.values()):
        return None
    return AlarmDefinition(
        metrics=metrics,
        expression=expression,
        comparison=alarm.comparison_operator,
        threshold=float(alarm.threshold),
        period_s=int(period),
        evaluation_periods=int(alarm.evaluation_periods),
        datapoints=int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
        treat_missing=alarm.treat_missing_data or "missing",
    )


def _of_query(stat: Any) -> MetricStat:
    return MetricStat(stat.metric.namespace, stat.metric.metric_name, _dimensions(stat.metric.dimensions), stat.stat)


def _dimensions(given: Any) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((one.name, one.value) for one in given or ()))
