"""Numbers of variables: what is none is a problem that names its variable, and no exception."""

import pytest

from config.numbers import MAX_SEED, limit_of, number, whole_number


@pytest.mark.parametrize("text", [None, ""])
def test_without_text_the_default_holds(text):
    problems = []
    assert number(problems, "SCALE", text, 1.5) == 1.5
    assert whole_number(problems, "SEED", text, least=0) is None
    assert problems == []


def test_numbers_are_read():
    problems = []
    assert number(problems, "SCALE", "1e-2", 1.0) == 0.01
    assert whole_number(problems, "SEED", str(MAX_SEED), least=0, most=MAX_SEED) == MAX_SEED
    assert problems == []


@pytest.mark.parametrize("text", ["many", "0", "-1", "11", "1.5", "1_0", "\u0663", "9" * 5000])
def test_what_is_no_such_whole_number_is_a_problem(text):
    problems = []
    assert whole_number(problems, "EVENT_BATCH", text, least=1, most=10) is None
    assert problems == [f"EVENT_BATCH: {text!r} is not a whole number from 1 to 10"]


def test_what_is_no_number_leaves_the_default():
    problems = []
    assert number(problems, "SCALE", "half", 1.0) == 1.0
    assert problems == ["SCALE: 'half' is not a number"]


@pytest.mark.parametrize(
    ("digits", "unit", "limit"),
    [("0.7", "%", 7 / 1000), ("35", "%", 35 / 100), ("1.001", "s", 1001.0), ("0.5", "ms", 0.5), ("12", None, 12.0)],
)
def test_a_limit_is_the_number_that_is_written(digits, unit, limit):
    """0.7 / 100, 35 * 0.01 and 1.001 * 1000 are each beside it by the last bit."""
    assert limit_of(digits, unit) == limit
