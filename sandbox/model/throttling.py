"""Rate limits as AWS applies them."""

from __future__ import annotations


class TokenBucket:
    """A bucket of `capacity` tokens, refilled at `rate_per_s`, full at the start."""

    __slots__ = ("_at", "_capacity", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: float, capacity: float) -> None:
        self._rate_per_s = rate_per_s
        self._capacity = capacity
        self._tokens = capacity
        self._at = float("-inf")

    def take(self, now: float) -> bool:
        """Take one token; False where there is none."""
        if now > self._at:
            self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate_per_s)
            self._at = now
        if self._tokens < 1.0 - 1e-5:  # what rounding of epoch seconds may take away; it is paid back below
            return False
        self._tokens -= 1.0
        return True
