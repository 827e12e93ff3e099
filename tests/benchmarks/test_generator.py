"""What is made of the rounds of the generator's benchmark."""

from __future__ import annotations

from math import nan

import pytest

from benchmarks.generator import K6, OURS, compare
from benchmarks.turns import Turn


def turn(per_s: int, cpu_us: float, stolen_s: float = 0.0) -> Turn:
    return Turn(requests=per_s, took_s=1.0, cpu_s=per_s * cpu_us / 1e6, stolen_s=stolen_s)


def test_a_ratio_is_the_median_of_those_of_the_rounds() -> None:
    """A machine that is slow for a round is slow for all: the medians of the rates, 1,600 and 900, say 1.78."""
    rounds = [
        {OURS: turn(3000, 10), K6: turn(1000, 30)},
        {OURS: turn(1600, 20), K6: turn(500, 80)},
        {OURS: turn(1500, 20), K6: turn(900, 50)},
    ]
    of_k6 = compare({"plain": rounds})["plain"][K6]
    assert of_k6["requests_per_s"] == 900.0
    assert of_k6["swarmscope_times"] == 3.0
    assert of_k6["swarmscope_times_samples"] == [3.0, 3.2, 1.67]
    assert of_k6["swarmscope_times_by_cpu"] == 3.0
    assert of_k6["cpu_us_per_request"] == pytest.approx(50.0)


def test_without_ours_there_is_nothing_to_compare() -> None:
    alone = compare({"plain": [{K6: turn(1000, 30)}]})["plain"][K6]
    assert (alone["requests_per_s"], alone["swarmscope_times"], alone["swarmscope_times_by_cpu"]) == (
        1000.0,
        None,
        None,
    )


def test_what_was_stolen_is_a_share_of_all_turns_or_unknown() -> None:
    known = [{OURS: turn(1000, 30, 0.01)}, {OURS: turn(1000, 30, 0.03)}]
    assert compare({"tls": known})["tls"][OURS]["stolen_share"] == 0.02
    assert compare({"tls": [{OURS: turn(1000, 30, nan)}]})["tls"][OURS]["stolen_share"] is None
