"""The smoke test: one shop message with two records, and the table changed by exactly that."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from analysis import table_snapshot
from analysis.chains import CHAINS, change_between

SMOKE_SHOP = "smoke"
"""All sales of a smoke test go to a shop of their own, so that nothing else on the stack changes the count."""

Change = Mapping[str, Mapping[str, float]]
"""Record type -> attribute -> change."""


def expected_change(messages: int) -> Change:
    """What so many shop messages add to the table."""
    [chain] = [chain for chain in CHAINS if chain.flow == "shop"]
    return {
        record: {name: float(number * messages) for name, number in numbers.items()}
        for record, numbers in chain.adds.items()
    }


def read_shop(dynamodb: Any, table: str) -> list[dict[str, Any]]:
    """The smoke shop's records as they stand."""
    items = table_snapshot.take(dynamodb, {"shops": table}, 0.0)["tables"]["shops"]
    return [item for item in items if item.get("shop_id") == SMOKE_SHOP]


def await_change(
    before: list[dict[str, Any]],
    read: Callable[[], list[dict[str, Any]]],
    expected: Change,
    deadline_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Change | None:
    """Wait until the table has changed by `expected`. None: it has. Else what had changed when the time was up."""
    end = clock() + deadline_s
    while True:
        change = _changes(before, read())
        if change == expected:
            return None
        if clock() >= end:
            return change
        sleep(0.5)


def _changes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Change:
    """What changed, without the numbers and records that did not."""
    changed = {
        record: {name: number for name, number in numbers.items() if number}
        for record, numbers in change_between(before, after).items()
    }
    return {record: numbers for record, numbers in changed.items() if numbers}


def explain(change: Change, expected: Change) -> list[str]:
    """One line for each number that is not what it should be."""
    return [
        f"{record} {attribute}: changed by {change.get(record, {}).get(attribute, 0):g}, expected {wanted:g}"
        for record, numbers in expected.items()
        for attribute, wanted in numbers.items()
        if change.get(record, {}).get(attribute, 0) != wanted
    ] + [f"{record}: not expected at all" for record in change if record not in expected]
