"""Durations counted in buckets that grow by 2 %: what a live percentile needs, in a few words of memory. Pure.

A bucket holds durations that differ by less than 2 %, and stands for the one in its middle: a percentile read from it
is within 1 % of the recorded one (or within a microsecond, below 50 of them). Buckets of several processes add up.
"""

from __future__ import annotations

import math
from collections import Counter
from math import log

GROWTH = 1.02
PER_UNIT = 1 / math.log(GROWTH)

Buckets = dict[int, int]
"""Bucket -> how many durations fell into it."""


def bucket_of(duration_ms: float) -> int:
    """Buckets are those of 1 us + the duration, so that 0 has one."""
    return int(log(duration_ms * 1000.0 + 1.0) * PER_UNIT)


def middle_ms(bucket: int) -> float:
    return (math.exp((bucket + 0.5) / PER_UNIT) - 1.0) / 1000.0


class Histogram:
    """Durations in milliseconds, by bucket."""

    def __init__(self) -> None:
        self.buckets: Counter[int] = Counter()

    def add(self, buckets: Buckets) -> None:
        for bucket, count in buckets.items():
            self.buckets[bucket] += count

    def percentile_ms(self, share: float) -> float | None:
        """`share` from 0 to 1; linear between the two order statistics around it, None where nothing was counted."""
        total = self.buckets.total()
        if not total:
            return None
        rank = share * (total - 1)
        lower, upper = self._at_rank(math.floor(rank)), self._at_rank(math.ceil(rank))
        return lower + (upper - lower) * (rank - math.floor(rank))

    def _at_rank(self, rank: int) -> float:
        passed = 0
        for bucket in sorted(self.buckets):
            passed += self.buckets[bucket]
            if passed > rank:
                return middle_ms(bucket)
        raise IndexError(rank)
