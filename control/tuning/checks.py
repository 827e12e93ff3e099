"""Whether the chosen memory may be set for good: `--apply` and `--promote` do nothing unless every check passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.formatting import count, milliseconds
from control.tuning.figures import LEAST_WARM, Choice, MemoryFigures
from control.tuning.versions import differences_but_memory

MEMORY_SHARE, TIMEOUT_SHARE = 0.9, 0.8
"""Of the memory and of the timeout: what the greatest use seen may come to."""


@dataclass(frozen=True)
class Check:
    """One condition."""

    name: str
    passed: bool
    detail: str


def of_run(found: Sequence[MemoryFigures], choice: Choice | None, cut_short: str | None) -> list[Check]:
    """What had to come of the run. `cut_short`: why it ended early, if it did."""
    warm = ", ".join(f"{one.memory_mb} MB {count(one.warm)}" for one in found)
    return [
        Check("all invocations were made", cut_short is None, cut_short or "as many as were asked for"),
        Check(f"a value has at least {LEAST_WARM} warm invocations", choice is not None, warm),
    ]


def of_measurement(choice: Choice, chosen: MemoryFigures, timeout_s: float) -> list[Check]:
    """What the figures of the chosen value must be like."""
    memory_mb = choice.memory_mb
    unmeasured = chosen.throttled + chosen.lost
    used, slowest = chosen.max_memory_mb, chosen.slowest_ms
    return [
        Check(
            "each invocation was measured",
            unmeasured == 0,
            f"{count(chosen.throttled)} throttled, {count(chosen.lost)} without an answer at {memory_mb} MB",
        ),
        Check(
            f"uses at most {MEMORY_SHARE:.0%} of the memory",
            used is not None and used <= MEMORY_SHARE * memory_mb,
            f"{count(used)} of {memory_mb} MB",
        ),
        Check(
            f"takes at most {TIMEOUT_SHARE:.0%} of the timeout",
            slowest is not None and slowest <= TIMEOUT_SHARE * timeout_s * 1000,
            f"the slowest took {milliseconds(slowest)} ms of {timeout_s:g} s",
        ),
    ]


def of_latest(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Check]:
    """What must not have happened to $LATEST while the run went."""
    changed = differences_but_memory(before, now)
    if before["MemorySize"] != now["MemorySize"]:
        changed.append("MemorySize")
    return [
        Check("$LATEST is as it was at the start", not changed, f"changed: {', '.join(changed)}" if changed else "")
    ]


def of_alias(
    name: str,
    before: Mapping[str, Any] | None,
    now: Mapping[str, Any] | None,
    points_to: Mapping[str, Any] | None,
    promoted: Mapping[str, Any],
) -> list[Check]:
    """What an alias must be like to be moved.

    `before` and `now`: the alias at the start and at present; `points_to` and `promoted`: the configurations of the
    version that it has and of the one it would get.
    """
    if before is None or now is None or points_to is None:
        return [Check(f"there is an alias {name}", False, "no such alias")]
    moved = before.get("RevisionId") != now.get("RevisionId") or before["FunctionVersion"] != now["FunctionVersion"]
    weights = (now.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    different = differences_but_memory(points_to, promoted)
    is_version = now["FunctionVersion"] != "$LATEST"
    return [
        Check(f"alias {name} is as it was at the start", not moved, f"points to version {now['FunctionVersion']}"),
        Check(
            f"alias {name} points to one published version",
            is_version and not weights,
            "" if is_version and not weights else f"{now['FunctionVersion']}, weights {weights or 'none'}",
        ),
        Check(
            "the new version differs in nothing but memory",
            not different,
            f"code or settings differ as well: {', '.join(different)}"
            if different
            else f"{points_to['MemorySize']} MB to {promoted['MemorySize']} MB",
        ),
    ]
