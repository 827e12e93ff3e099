"""Which invocation comes when: rounds in which every memory value gets one invocation with the same payload.

Whatever drifts while a run goes (a slower dependency, a busier host) hits all values alike, and what a round has in
common cancels out when values are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Call:
    """One invocation to come."""

    round: int
    """From 0."""
    memory_mb: int
    payload: int
    """Number of the payload, from 0."""
    due_s: float | None
    """Seconds after the start; None: as soon as somebody is free."""


def calls(
    memory_mb: Sequence[int], weights: Sequence[float], rounds: int, rate_per_s: float | None, random: Random
) -> list[Call]:
    """`rounds` rounds over all memory values, each in an order of its own; at even intervals where there is a rate.

    `weights` of the payloads, each above 0: a payload gets its share of the rounds.
    """
    planned: list[Call] = []
    for number, payload in enumerate(_payloads(weights, rounds, random)):
        for value in random.sample(memory_mb, len(memory_mb)):
            due_s = None if rate_per_s is None else len(planned) / rate_per_s
            planned.append(Call(number, value, payload, due_s))
    return planned


def _payloads(weights: Sequence[float], rounds: int, random: Random) -> list[int]:
    """The payload of each round: shares by the largest remainder, in random order."""
    total = sum(weights)
    exact = [rounds * weight / total for weight in weights]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda number: counts[number] - exact[number])
    for number in by_remainder[: rounds - sum(counts)]:
        counts[number] += 1
    chosen = [number for number, count in enumerate(counts) for _ in range(count)]
    random.shuffle(chosen)
    return chosen
