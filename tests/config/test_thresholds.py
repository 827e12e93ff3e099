import pytest

from config.thresholds import parse_threshold
from config.timespans import parse_timespan


@pytest.mark.parametrize(
    ("text", "scope", "metric", "operator", "limit"),
    [
        ("POST /vote: p95_ms < 1000", "POST /vote", "p95_ms", "<", 1000),
        ("p95_ms<=1s", None, "p95_ms", "<=", 1000),
        ("error_rate < 0.5%", None, "error_rate", "<", 0.005),
        ("error_rate < 1", None, "error_rate", "<", 1),
        ("success_rate >= 100%", None, "success_rate", ">=", 1),
        ("place-vote: cold_start_rate < 1%", "place-vote", "cold_start_rate", "<", 0.01),
        ("shop: end_to_end_max_ms < 5s", "shop", "end_to_end_max_ms", "<", 5000),
        ("GET /a:b: failures == 0", "GET /a:b", "failures", "==", 0),
        ("cost: run_usd < 5", "cost", "run_usd", "<", 5),
        ("cost: per_million_usd<=9.99", "cost", "per_million_usd", "<=", 9.99),
    ],
)
def test_threshold_is_read_as_written(text, scope, metric, operator, limit):
    threshold = parse_threshold(text)
    assert (threshold.scope, threshold.metric, threshold.operator) == (scope, metric, operator)
    assert threshold.limit == pytest.approx(limit)


def test_the_limit_itself_does_not_hold_under_less_than():
    assert not parse_threshold("p95_ms < 1000").holds(1000)


@pytest.mark.parametrize(
    ("text", "value"),
    [("error_rate <= 0.7%", 7 / 1000), ("p95_ms <= 1.001s", 1001.0), ("error_rate == 2.9%", 29 / 1000)],
)
def test_the_limit_itself_holds_under_at_most(text, value):
    assert parse_threshold(text).holds(value)


def test_abort_after_is_seconds():
    assert parse_threshold("p95_ms < 1", "abort after 10s").abort_after_s == 10


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("p95_ms", "operator"),
        ("p95_ms < fast", "operator"),
        ("p95_ms < 5%", "not a share"),
        ("error_rate < 5ms", "not a time"),
        ("p42_ms < 5", "unknown metric"),
        ("error_rate < 5", "error_rate is a share of at most 1: write 5% if you mean per cent"),
        ("vote: success_rate > 99.5", "success_rate is a share of at most 1: write 99.5% if you mean per cent"),
        ("error_rate < 150%", "error_rate is a share of at most 100%"),
        ("end_to_end_p95_ms < 5s", "about one chain"),
        ("throttles over 10s == 0", "throttles has no windows"),
        ("run_usd < 5", "scope cost has the metrics"),
        ("place-vote: run_usd < 5", "scope cost has the metrics"),
        ("cost: p95_ms < 5", "scope cost has the metrics"),
        ("cost: run_usd over 10s < 5", "run_usd has no windows: .* costs over the whole run"),
        ("cost: run_usd < 5%", "not a share"),
        ("", "operator"),
    ],
)
def test_a_mistake_is_named(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_threshold(text)


@pytest.mark.parametrize(
    ("text", "action", "mistakes"),
    [
        (
            "p95_ms over 0.1s < 5%",
            "abort after x",
            ["'x' is not a time span", "takes no %", "a window of 0.1 s is too short"],
        ),
        ("p42_ms over 10x < 5", "stop", ["action 'stop'", "'10x' is not a time span", "unknown metric 'p42_ms'"]),
        ("cost: p95_ms < 5%", "fail", ["takes no %", "scope cost has the metrics"]),
        ("cold_starts < 5%", "abort", ["takes no %", "only after the run"]),
        ("p95_ms", "stop", ["operator", "action 'stop'"]),
    ],
)
def test_all_mistakes_of_one_expression_are_told_at_once(text, action, mistakes):
    with pytest.raises(ValueError, match="; ".join(f".*{mistake}[^;]*" for mistake in mistakes)) as raised:
        parse_threshold(text, action)
    assert str(raised.value).startswith(f"{text!r}: ")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("500ms", 0.5), ("2", 2), (0.96, 0.96)]
)
def test_timespan(text, seconds):
    assert parse_timespan(text) == seconds


@pytest.mark.parametrize("text", ["", "fast", "10x", "-3s", "5s garbage", -1, float("nan"), float("inf"), True])
def test_timespan_refuses(text):
    with pytest.raises(ValueError, match="time span"):
        parse_timespan(text)


@pytest.mark.parametrize(
    ("text", "window_s", "limit"),
    [
        ("p95_ms over 10s < 1000", 10, 1000),
        ("POST /vote: error_rate over 1m30s<1%", 90, 0.01),
        ("rps over 1s >= 500", 1, 500),
        ("p95_ms < 1s", None, 1000),
    ],
)
def test_window_stands_behind_over(text, window_s, limit):
    threshold = parse_threshold(text)
    assert (threshold.text, threshold.window_s) == (text, window_s)
    assert threshold.limit == pytest.approx(limit)


def test_time_scale_multiplies_window_and_abort_and_the_text_says_so():
    threshold = parse_threshold("vote: p95_ms over 1m < 1000", "abort after 30s", 0.1)
    assert (threshold.text, threshold.window_s, threshold.abort_after_s) == ("vote: p95_ms over 6s < 1000", 6.0, 3.0)
    assert parse_threshold("p95_ms over 1m < 1000", "fail").text == "p95_ms over 1m < 1000"


@pytest.mark.parametrize(
    ("text", "action", "reason"),
    [
        ("p95_ms over 500ms < 5", "fail", "0.5 s is too short"),
        ("p95_ms over fast < 5", "fail", "operator"),
        (
            "place-vote: throttle_rate over 10s < 1%",
            "fail",
            "throttle_rate has no windows: throttles are counted by the minute",
        ),
        ("place-vote: cold_start_rate over 10s < 1%", "abort", "cold_start_rate is known only after the run"),
        ("shop: lost == 0", "abort after 10s", "lost is known only after the run"),
        ("p95_ms < 5", "abort after a while", "time span"),
        ("p95_ms < 5", "stop", "fail, abort"),
    ],
)
def test_what_cannot_be_known_over_a_window_or_during_the_run_is_refused(text, action, reason):
    with pytest.raises(ValueError, match=reason):
        parse_threshold(text, action)
