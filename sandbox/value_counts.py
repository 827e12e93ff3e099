"""The values that a metric had in a minute, in bounded memory.

    values = ValueCounts()
    values.add(12.3)
    values.add(1.0, times=1000)
    values.sum, values.percentile(99)

Number, sum, smallest and greatest are exact. The values themselves are kept with how often each came, the form in
which CloudWatch takes them (PutMetricData, "Values" and "Counts"): as they are up to MOST_DIFFERENT different ones, to
three digits beyond, so that percentiles are within half a percent then.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

MOST_DIFFERENT = 1_024
"""Different values that are kept as they are."""
_UNCOUNTED = 1_024
"""Values that wait to be counted together: one by one would cost more than all the rest."""


class ValueCounts:
    """Values and how often each came. Statistics of none raise ValueError."""

    __slots__ = ("_counts", "_greatest", "_rounded", "_smallest", "_sum", "_uncounted", "_values")

    def __init__(self) -> None:
        self._uncounted = array("d")
        self._values: NDArray[np.float64] = np.empty(0)
        self._counts: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._sum = 0.0
        self._smallest, self._greatest = math.inf, -math.inf
        self._rounded = False

    @classmethod
    def together(cls, parts: Iterable[ValueCounts]) -> ValueCounts:
        """All values of several."""
        whole = cls()
        for part in parts:
            part._count()
            whole._take(part._values, part._counts, part._sum, part._smallest, part._greatest)
            whole._rounded = whole._rounded or part._rounded
        return whole

    def add(self, value: float, times: int = 1) -> None:
        if times != 1:
            if times > 0:
                self._take(np.array([value]), np.array([times], dtype=np.int64), value * times, value, value)
            return
        self._uncounted.append(value)
        if len(self._uncounted) >= _UNCOUNTED:
            self._count()

    @property
    def count(self) -> int:
        return len(self._uncounted) + int(self._counts.sum())

    @property
    def sum(self) -> float:
        return math.fsum((self._sum, *self._uncounted))

    @property
    def mean(self) -> float:
        self._count_some("mean")
        return self.sum / self.count

    @property
    def smallest(self) -> float:
        self._count_some("smallest")
        return self._smallest

    @property
    def greatest(self) -> float:
        self._count_some("greatest")
        return self._greatest

    def percentile(self, percent: float) -> float:
        """Linearly between order statistics (numpy's default), from 0 to 100."""
        self._count_some("percentiles")
        upto = np.cumsum(self._counts)
        place = percent / 100 * (int(upto[-1]) - 1)
        below = math.floor(place)
        one, next_one = self._values[np.searchsorted(upto, (below, math.ceil(place)), side="right")]
        value = float(one + (next_one - one) * (place - below))
        # rounding may have put a value beyond the last one
        return min(max(value, self._smallest), self._greatest)

    def _count_some(self, statistic: str) -> None:
        """Count all that was added; raises ValueError where that is nothing, of which there is no such statistic."""
        self._count()
        if not len(self._values):
            raise ValueError(f"no values have no {statistic}")

    def _count(self) -> None:
        """Count what was added since the last time."""
        if not self._uncounted:
            return
        new = np.array(self._uncounted)
        total = math.fsum(self._uncounted)
        self._uncounted = array("d")
        self._take(new, np.ones(len(new), dtype=np.int64), total, float(new.min()), float(new.max()))

    def _take(
        self, values: NDArray[np.float64], counts: NDArray[np.int64], total: float, smallest: float, greatest: float
    ) -> None:
        self._sum = math.fsum((self._sum, total))
        self._smallest, self._greatest = min(self._smallest, smallest), max(self._greatest, greatest)
        values = np.concatenate((self._values, values))
        counts = np.concatenate((self._counts, counts))
        self._values, self._counts = _counted(_to_three_digits(values) if self._rounded else values, counts)
        if not self._rounded and len(self._values) > MOST_DIFFERENT:
            self._rounded = True
            self._values, self._counts = _counted(_to_three_digits(self._values), self._counts)


def _counted(values: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The different values in their order, and how often each is there."""
    different, which = np.unique(values, return_inverse=True)
    return different, np.bincount(which, weights=counts, minlength=len(different)).astype(np.int64)


def _to_three_digits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.abs(values)
    digits = np.floor(np.log10(size, where=size > 0, out=np.zeros_like(size)))
    unit = np.power(10.0, digits - 2)
    return np.round(values / unit) * unit
