"""What benchmarks ask the system."""

from __future__ import annotations

from math import isnan

from benchmarks.processes import steal_ticks

STAT = """\
cpu  4152686 2292240 1201850 3695143 35635 0 99069 52411 0 0
cpu0 1765376 1167382 585070 2166729 11599 0 30264 30381 0 0
cpu1 2387309 1124857 616780 1528414 24036 0 68805 22029 0 0
cpu10 1 2 3 4 5 6 7
intr 123 4 5 6 7 8 9 10 11
"""


def test_stolen_time_is_that_of_the_cores_asked_for() -> None:
    assert steal_ticks(STAT, [1]) == 22029
    assert steal_ticks(STAT, {0, 1}) == 30381 + 22029


def test_stolen_time_is_unknown_where_the_kernel_tells_none() -> None:
    assert isnan(steal_ticks(STAT, [10]))


def test_stolen_time_of_a_core_that_is_not_there_is_unknown() -> None:
    assert isnan(steal_ticks(STAT, [1, 2]))
