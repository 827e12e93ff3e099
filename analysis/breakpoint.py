"""What a search for the breakpoint came to, in words and as a drawing: from the summary's `breakpoint`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.formatting import decimal, plural, usd, visible

Found = Mapping[str, Any]


def in_words(found: Found) -> str:
    """The result in one sentence: `200 requests a second held (2 of 2 tries), 210 broke (2 of 2)`."""
    if found.get("void"):
        return f"void: the load generator was at its limit: {visible(found.get('reason'))}"
    rate, broken, ended_by = found.get("rate"), found.get("lowest_broken"), found.get("ended_by")
    held = (
        "no rate held" if rate is None else f"{decimal(rate)} requests a second held ({_tries(found, 'held', 'held')})"
    )
    if broken is not None:
        said = f"{held}, {decimal(broken)} broke ({_tries(found, 'broken', 'broke')})"
    elif ended_by == "max":
        said = f"{held}, as much as the profile allows: the breakpoint is higher"
    else:
        said = f"{held}, nothing broke"
    stopped = {
        "cost": f"at MAX_COST_USD ({usd(found.get('max_cost_usd'))})",
        "not recovered": "as the target did not answer in time what it had open",
        "steps": f"after {plural(len(found.get('steps') or ()), 'step')}, as the target wavers too much",
        None: "before its end",
    }
    return f"{said}; the search was stopped {stopped[ended_by]}" if ended_by in stopped else said


def limit_in_words(found: Found) -> str | None:
    """What broke at the lowest rate that broke; None where nothing did."""
    limited_by = found.get("limited_by")
    if limited_by is None:
        return None
    if found.get("capped"):
        return f"The limit was the generator's number of slots, not the target: {visible(limited_by)}"
    return f"What broke: {visible(limited_by)}"


def _tries(found: Found, end: str, outcome: str) -> str:
    """`2 of 3`: tries of one end of the gap that went as the verdict on it."""
    votes = found.get(end) or {}
    return f"{votes.get(outcome, 0)} of {sum(votes.values())}"


@dataclass(frozen=True)
class Bar:
    """One step as a rectangle of a drawing of WIDTH x HEIGHT: the higher, the higher its rate."""

    x: float
    width: float
    y: float
    outcome: str
    label: str


WIDTH, HEIGHT = 1000, 240


def bars(found: Found) -> list[Bar]:
    """The steps over time, the time between them left out as it was: empty where there is none."""
    steps = found.get("steps") or []
    if not steps:
        return []
    begin, end = steps[0]["began_at"], steps[-1]["judged_until"]
    highest = max(step["rate"] for step in steps)
    per_s = WIDTH / (end - begin) if end > begin else 0.0
    return [
        Bar(
            x=round((step["began_at"] - begin) * per_s, 2),
            width=round(max(2.0, (step["judged_until"] - step["began_at"]) * per_s), 2),
            y=round(HEIGHT - HEIGHT * step["rate"] / highest, 2),
            outcome=step["outcome"],
            label=f"{decimal(step['rate'])}/s {step['outcome']}"
            + (f": {visible(step['reason'], 200)}" if step.get("reason") else ""),
        )
        for step in steps
    ]
