"""Which rate to try next on the way to a limit: climb until one breaks, bisect, then make sure. Pure, in whole units.

One try may be luck or a hiccup, so tries are votes. A rate is held where more of them held than broke, broken where
more broke, and tried again where they are even. The search climbs by a factor while nothing is broken, then halves the
gap between the highest rate that is held and the lowest that is broken. Once that is narrow enough, both ends are tried
again until each is certain: ahead by `confirmations` votes. An end that gives way there moves, and the search
goes on from where that leaves it; so a hiccup on the way up costs time, and not the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_VOTES = 7
"""An odd number. A rate that is not clearly held after so many tries does not hold."""
CLEARLY = 2


@dataclass
class Votes:
    """How tries of one rate went."""

    held: int = 0
    broken: int = 0

    @property
    def tries(self) -> int:
        return self.held + self.broken

    @property
    def is_even(self) -> bool:
        return self.held == self.broken

    @property
    def is_held(self) -> bool:
        return self.held - self.broken >= (1 if self.tries < MOST_VOTES else CLEARLY)

    @property
    def is_broken(self) -> bool:
        return not self.is_even and not self.is_held

    def is_certain(self, confirmations: int) -> bool:
        return self.tries >= MOST_VOTES or abs(self.held - self.broken) >= confirmations


class Bracketing:
    """The search for the highest rate that holds, from `start` up to `most`."""

    def __init__(self, start: int, most: int, growth: float, precision: float, confirmations: int) -> None:
        """`precision`: how wide the gap may stay, as a share of the rate that broke; it is at least one unit."""
        self._start = start
        self._most = most
        self._growth = growth
        self._precision = precision
        self._confirmations = confirmations
        self.votes: dict[int, Votes] = {}

    def record(self, rate: int, held: bool) -> None:
        """A try of `rate` has ended."""
        votes = self.votes.setdefault(rate, Votes())
        if held:
            votes.held += 1
        else:
            votes.broken += 1

    @property
    def lowest_broken(self) -> int | None:
        return min((rate for rate, votes in self.votes.items() if votes.is_broken), default=None)

    @property
    def highest_held(self) -> int | None:
        """Below everything that is broken: what held above that was luck."""
        broken = self.lowest_broken
        below = (rate for rate in self.votes if broken is None or rate < broken)
        return max((rate for rate in below if self.votes[rate].is_held), default=None)

    def next(self) -> int | None:
        """The rate to try next; None where the search is over."""
        if undecided := [rate for rate, votes in self.votes.items() if votes.is_even]:
            return min(undecided)
        held, broken = self.highest_held, self.lowest_broken
        if broken is None:
            if held is None:
                return self._start
            if held < self._most:
                return min(self._most, max(held + 1, math.ceil(held * self._growth)))
        elif broken - (held or 0) > max(1.0, self._precision * broken):
            return ((held or 0) + broken) // 2
        for end in (held, broken):
            if end is not None and not self.votes[end].is_certain(self._confirmations):
                return end
        return None
