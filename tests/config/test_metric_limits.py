"""Limits of CloudWatch metrics: the shipped ones, and a file of the user's over them."""

import pytest

from config.errors import ConfigError
from config.metric_limits import load_metric_limits, parse_condition


@pytest.mark.parametrize(
    ("text", "limit", "holds", "broken"),
    [
        ("< 50%", 0.5, 0.49, 0.5),
        ("> 5s", 5000, 5001, 5000),
        ("<=20ms", 20, 20, 21),
        ("== 0", 0, 0, 1),
        ("< 0.1%", 0.001, 0, 0.001),
        ("< 35%", 0.35, 0.34, 35 / 100),
        ("> 0.7%", 0.007, 0.0071, 7 / 1000),
    ],
)
def test_a_condition_is_read_as_written(text, limit, holds, broken):
    condition = parse_condition(text)
    assert condition.limit == pytest.approx(limit)
    assert condition.holds(holds)
    assert not condition.holds(broken)


def test_the_shipped_limits_are_those_of_the_issue():
    limits = load_metric_limits()
    shown = {
        name: (one.reference, one.target and one.target.text, one.alert and one.alert.text)
        for group in (limits.functions, limits.account)
        for name, one in group.items()
    }
    assert shown == {
        "Invocations": ("logs", None, None),
        "Duration": ("timeout", "< 50%", "> 80%"),
        "Errors": ("Invocations", "< 0.1%", "> 1%"),
        "Throttles": (None, "== 0", "> 0"),
        "ConcurrentExecutions": ("concurrency", "< 80%", "> 90%"),
        "DeadLetterErrors": (None, "== 0", "> 0"),
        "IteratorAge": (None, "< 1s", "> 5s"),
        "AsyncEventsReceived": ("events", None, None),
        "AsyncEventAge": (None, "< 1s", "> 5s"),
        "UnreservedConcurrentExecutions": ("unreserved", "> 100", "< 50"),
    }
    assert set(limits.api) == {"Count", "4XXError", "5XXError", "Latency", "IntegrationLatency"}


def test_a_file_of_ones_own_replaces_single_metrics(tmp_path):
    own = tmp_path / "mine.toml"
    own.write_text('[functions.Errors]\nof = "Invocations"\ntarget = "< 5%"\n')
    limits = load_metric_limits(own)
    assert limits.functions["Errors"].target.text == "< 5%"
    assert limits.functions["Errors"].alert is None
    assert limits.functions["Duration"] == load_metric_limits().functions["Duration"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[functions.Errors]\ntarget = "few"', "functions.Errors.target"),
        ("[functions.Errors]\ntarget = 5", "functions.Errors.target"),
        ('[functions.Errors]\nalert = "> 1"', "either `target` or `matches`"),
        ('[functions.Errors]\nmatches = "logs"\ntarget = "> 1"', "either `target` or `matches`"),
        ('[functions.Errors]\nof = "logs"\nleft_of = "timeout"\ntarget = "> 1"', "one of `of`"),
        ('[functions.Errors]\nof = "moon"\ntarget = "> 1"', "there is no 'moon'"),
        ('[functions.Sunshine]\ntarget = "> 1"', "functions.Sunshine: is not read"),
        ('[function.Errors]\ntarget = "> 1"', "function"),
        ("[functions", "METRIC_LIMITS"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path, text, problem):
    own = tmp_path / "mine.toml"
    own.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_metric_limits(own)
    assert "mine.toml" in str(raised.value)
    assert problem in str(raised.value)


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path):
    own = tmp_path / "mine.toml"
    own.write_text(
        '[functions.Sunshine]\ntarget = "> 1"\n[functions.Errors]\nof = "moon"\ntarget = "> 1"\n'
        '[functions.Throttles]\ntarget = "few"\n[api.Rain]\ntarget = "> 1"\n'
    )
    with pytest.raises(ConfigError) as raised:
        load_metric_limits(own)
    problems = [problem.removeprefix(f"{own}: ")[:30] for problem in raised.value.problems]
    assert problems == [
        "functions.Throttles.target: 'f",
        "functions.Sunshine: is not rea",
        "functions.Errors: there is no ",
        "api.Rain: is not read; one of ",
    ]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"METRIC_LIMITS: .*gone.toml"):
        load_metric_limits(tmp_path / "gone.toml")
