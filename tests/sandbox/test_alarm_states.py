"""The state of an alarm, by what was measured."""

from dataclasses import replace

import pytest

from sandbox.alarm_states import AlarmDefinition, MetricStat, alarm_state
from sandbox.metrics import Metrics

FUNCTION = (("FunctionName", "place-vote"),)
NOW = 1_795_255_230.0
"""Half a minute into a minute: the last whole one begins 90 seconds before."""
LAST = 1_795_255_140


def metric(name: str, statistic: str = "Sum") -> MetricStat:
    return MetricStat("AWS/Lambda", name, FUNCTION, statistic)


ERRORS = AlarmDefinition(
    metrics={"m1": metric("Errors")},
    expression="m1",
    comparison="GreaterThanThreshold",
    threshold=2,
    period_s=60,
    evaluation_periods=3,
    datapoints=2,
    treat_missing="notBreaching",
)


def measured(**minutes: list[float]) -> Metrics:
    """Metric -> its sums in the last minutes, oldest first; NaN: none."""
    metrics = Metrics()
    for name, values in minutes.items():
        for number, value in enumerate(values):
            if value == value:
                metrics.add("AWS/Lambda", name, FUNCTION, LAST - 60 * (len(values) - 1 - number), value)
    return metrics


NONE = float("nan")


@pytest.mark.parametrize(
    ("sums", "state"),
    [([3, 0, 3], "ALARM"), ([3, 0, 2], "OK"), ([3, 3, 0, 0, 3], "OK"), ([NONE, 3, 3], "ALARM"), ([], "OK")],
    ids=["two of three beyond", "one of three", "what lies before does not count", "one missing", "nothing measured"],
)
def test_so_many_datapoints_beyond_the_threshold_ring(sums, state):
    assert alarm_state(ERRORS, measured(Errors=sums), NOW)[0] == state


def test_the_minute_that_goes_on_is_not_judged():
    metrics = measured(Errors=[9, 0, 0])
    metrics.add("AWS/Lambda", "Errors", FUNCTION, NOW, 9)
    assert alarm_state(ERRORS, metrics, NOW)[0] == "OK"


@pytest.mark.parametrize(
    ("treatment", "state"), [("breaching", "ALARM"), ("notBreaching", "OK"), ("missing", "INSUFFICIENT_DATA")]
)
def test_missing_data_are_treated_as_asked_for(treatment, state):
    assert alarm_state(replace(ERRORS, treat_missing=treatment), Metrics(), NOW)[0] == state


def test_missing_data_that_are_ignored_leave_the_state():
    assert alarm_state(replace(ERRORS, treat_missing="ignore"), Metrics(), NOW) is None


SHARE = replace(
    ERRORS,
    metrics={"part": metric("Errors"), "whole": metric("Invocations")},
    expression="part / whole",
    threshold=0.01,
)


def test_a_share_is_judged_by_metric_math():
    assert alarm_state(SHARE, measured(Errors=[1, 1, 2], Invocations=[100, 100, 100]), NOW)[0] == "OK"
    assert alarm_state(SHARE, measured(Errors=[1, 2, 2], Invocations=[100, 100, 100]), NOW)[0] == "ALARM"


def test_a_share_of_nothing_is_missing():
    state, reason = alarm_state(replace(SHARE, treat_missing="missing"), measured(Errors=[0], Invocations=[0]), NOW)
    assert (state, reason) == ("INSUFFICIENT_DATA", "Insufficient Data: 3 datapoints were unknown")


@pytest.mark.parametrize("expression", ["SEARCH('{AWS/Lambda}', 'Sum')", "part /", "part ** 2", "other / whole"])
def test_math_that_the_sandbox_does_not_know_is_no_state(expression):
    state, reason = alarm_state(replace(SHARE, expression=expression), measured(Errors=[9], Invocations=[9]), NOW)
    assert state == "INSUFFICIENT_DATA"
    assert reason.startswith("The sandbox cannot")
