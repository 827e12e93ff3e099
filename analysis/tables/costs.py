"""What the run cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from analysis.cost import left_out
from analysis.formatting import decimal, usd, visible
from analysis.tables.table import Column, Summary, Table, plain_rows, section, text


def cost(summary: Summary, spent_on: str = "the run") -> Table:
    """`spent_on`: what the whole sum is for; a what-if has no run."""
    one = section(summary, "cost")
    items = one.get("items") or []
    return Table(
        "Cost",
        (
            text("service"),
            Column("quantity"),
            text("unit"),
            Column("cost", "USD"),
            Column("per million requests", "USD"),
        ),
        plain_rows(
            (
                visible(item.get("service")),
                decimal(item.get("quantity")),
                visible(item.get("unit")),
                usd(item.get("usd")),
                usd(item.get("per_million_usd")),
            )
            for item in items
        ),
        " ".join(_about_cost(one, spent_on)) if items else "",
    )


def cost_in_words(summary: Summary, spent_on: str = "the run") -> str | None:
    """`$0.26 for the run, $6.84 per million requests, without KMS`; None where nothing is priced."""
    one = section(summary, "cost")
    if one.get("run_usd") is None:
        return None
    missing = [visible(service) for service in left_out(one, "run_usd")]
    words = f"{usd(one['run_usd'])} for {spent_on}, {usd(one.get('per_million_usd'))} per million requests"
    return f"{words}, without {', '.join(missing)}" if missing else words


def _about_cost(one: Mapping[str, Any], spent_on: str) -> Iterable[str]:
    words = cost_in_words({"cost": one}, spent_on)
    if words:
        yield f"{words}."
    if one.get("simulated"):
        yield "The run was simulated: this is what AWS would have charged."
    yield f"Prices: {visible(one.get('prices'))}{', free tier taken off' if one.get('free_tier') else ''}."
    for note in (*(one.get("notes") or ()), *(one.get("unpriced") or ()), *(one.get("assumptions") or ())):
        yield f"{visible(note)}."
