"""moto's alarms: what they judge, and the state that the model finds them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from sandbox.alarm_states import AlarmDefinition, MetricStat, State
from sandbox.definitions import ACCOUNT_ID

ONE = "m1"


def judge(region: str, state_of: Callable[[AlarmDefinition], tuple[State, str] | None]) -> None:
    """Put every metric alarm of a Region into the state that `state_of` tells; None leaves it as it is."""
    for alarm in list(cloudwatch_backends[ACCOUNT_ID][region].alarms.values()):
        if alarm.rule is not None:
            continue  # a composite alarm has no metric
        judged = state_of(_definition(alarm))
        if judged is not None and judged[0] != alarm.state_value:
            alarm.update_state(judged[1], "{}", judged[0])
        elif judged is not None:
            alarm.state_reason = judged[1]


def _definition(alarm: Any) -> AlarmDefinition:
    if alarm.metric_data_queries:
        metrics = {query.id: _of_query(query.metric_stat) for query in alarm.metric_data_queries if query.metric_stat}
        expressions = [query for query in alarm.metric_data_queries if query.expression]
        periods = [query.metric_stat.period for query in alarm.metric_data_queries if query.metric_stat]
        expression, period = expressions[0].expression if expressions else next(iter(metrics)), periods[0]
    else:
        statistic = alarm.statistic or alarm.extended_statistic
        metrics = {ONE: MetricStat(alarm.namespace, alarm.metric_name, _dimensions(alarm.dimensions), statistic)}
        expression, period = ONE, alarm.period
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
