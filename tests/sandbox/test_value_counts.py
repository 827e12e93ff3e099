"""The values of a metric: exact while they are few, bounded when they are many."""

import random
import sys

import numpy as np
import pytest

from sandbox.value_counts import MOST_DIFFERENT, ValueCounts


def counted(values: list[float]) -> ValueCounts:
    counts = ValueCounts()
    for value in values:
        counts.add(value)
    return counts


def durations(number: int) -> list[float]:
    random_ = random.Random(1)
    return [round(random_.lognormvariate(3.5, 0.8), 2) for _ in range(number)]


@pytest.mark.parametrize("percent", [0, 1, 50, 95, 99.5, 100])
def test_percentiles_of_few_values_are_those_of_numpy(percent: float) -> None:
    values = durations(MOST_DIFFERENT)
    assert counted(values).percentile(percent) == pytest.approx(np.percentile(values, percent), rel=1e-12)


@pytest.mark.parametrize("percent", [0, 1, 50, 95, 99.5, 100])
def test_percentiles_of_many_values_are_within_half_a_percent(percent: float) -> None:
    values = durations(60_000)
    assert counted(values).percentile(percent) == pytest.approx(np.percentile(values, percent), rel=0.005)


def test_sums_counts_and_extremes_of_many_values_are_exact() -> None:
    values = durations(60_000)
    counts = counted(values)
    assert (counts.count, counts.smallest, counts.greatest) == (60_000, min(values), max(values))
    assert counts.sum == pytest.approx(sum(values), rel=1e-13)


def test_whole_numbers_stay_what_they_are() -> None:
    counts = counted([float(number % 900) for number in range(90_000)])
    assert (counts.sum, counts.percentile(50)) == (100 * 899 * 900 / 2, 449.5)


def test_memory_does_not_grow_with_the_number_of_values() -> None:
    counts = counted(durations(100_000))
    held = [getattr(counts, name) for name in ValueCounts.__slots__]
    assert sum(sys.getsizeof(one) for one in held) < 60_000


def test_several_together_are_all_their_values() -> None:
    one, other = durations(2_000)[:1_000], [5.0, 7.0]
    whole = ValueCounts.together([counted(one), counted(other)])
    assert (whole.count, whole.sum) == (1_002, pytest.approx(sum(one) + 12))
    assert whole.percentile(90) == pytest.approx(np.percentile(one + other, 90))


def test_a_value_may_come_many_times_at_once() -> None:
    counts = counted([1.0])
    counts.add(3.0, times=10**9)
    assert (counts.count, counts.sum, counts.percentile(50)) == (10**9 + 1, 3e9 + 1, 3.0)


def test_values_may_be_nothing_and_less() -> None:
    counts = counted([-float(number) for number in range(2_000)])
    assert (counts.smallest, counts.greatest) == (-1999, 0)
    assert counts.percentile(50) == pytest.approx(-999.5, rel=0.005)


@pytest.mark.parametrize("statistic", ["mean", "smallest", "greatest"])
def test_of_no_values_there_is_no_statistic(statistic: str) -> None:
    with pytest.raises(ValueError, match="no values"):
        getattr(ValueCounts(), statistic)
