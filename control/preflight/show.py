"""A preflight as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.formatting import NOTHING, decimal, usd, visible
from control.preflight.expense import as_dict
from control.preflight.inspection import Preflight
from control.preflight.rows import FAIL, PASS, WARN, Row, worst

SCHEMA = 1
_STYLES = {PASS: "green", WARN: "yellow", FAIL: "bold red"}


def print_preflight(found: Preflight, out: Console) -> None:
    """Findings first, the bill below; checks that passed for several things alike share a line."""
    counts = {verdict: sum(row.verdict == verdict for row in found.rows) for verdict in (PASS, WARN, FAIL)}
    simulated = " · SIMULATED, not AWS" if found.simulated else ""
    out.print(
        Text(
            f"Preflight of {found.profile} on {found.target}{simulated}: {counts[PASS]} pass, {counts[WARN]} warn, "
            f"{counts[FAIL]} fail",
            style="bold",
        )
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="dim", show_edge=False)
    for heading in ("", "check", "finding, → what to do"):
        table.add_column(Text(heading), overflow="fold", vertical="top")
    for row in _folded(found.rows):
        # Below each other: most rows have nothing to do, and a column for that leaves no room for what they found.
        said = Text(visible(row.finding)) + Text(f"\n→ {row.advice}" if row.advice else "", style="bold")
        table.add_row(Text(row.verdict, style=_STYLES[row.verdict]), Text(row.check), said)
    out.print(table)
    out.print(_bill(found))
    for why in found.estimate.missing:
        out.print(Text(f"not in the sum: {visible(why)}", style="dim"))


def as_json(found: Preflight) -> dict[str, Any]:
    """Plain data: every row by itself, the bill, the load."""
    return {
        "schema": SCHEMA,
        "profile": found.profile,
        "target": found.target,
        "simulated": found.simulated,
        "verdict": worst(list(found.rows)),
        "load": {
            "requests": found.demand.requests,
            "peak_rate": found.demand.peak_rate,
            "duration_s": found.demand.duration_s,
        },
        "rows": [asdict(row) for row in found.rows],
        "cost": as_dict(found.estimate),
    }


def _folded(rows: tuple[Row, ...]) -> list[Row]:
    """Rows of one check with the same verdict and advice in one, in the order of their first; what is wrong first."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.check, row.verdict, row.advice), []).append(row)
    folded = []
    for (check, _, advice), members in groups.items():
        by_finding: dict[str, list[str]] = {}
        for row in members:
            by_finding.setdefault(row.finding, []).append(row.subject)
        said = "; ".join(
            f"{', '.join(filter(None, subjects))}: {finding}" if any(subjects) else finding
            for finding, subjects in by_finding.items()
        )
        folded.append(Row(check, "", members[0].verdict, said, advice))
    order = {FAIL: 0, WARN: 1, PASS: 2}
    return sorted(folded, key=lambda row: order[row.verdict])


def _bill(found: Preflight) -> Table:
    total = found.estimate.usd
    charged = "What AWS would charge" if found.simulated else "Estimated cost"
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        header_style="dim",
        show_edge=False,
        title=Text(f"{charged}, without free tier: {usd(total)}"),
        title_justify="left",
        title_style="bold",
    )
    table.add_column("service")
    for heading in ("quantity", "unit", "USD"):
        table.add_column(heading, justify="left" if heading == "unit" else "right")
    for item in as_dict(found.estimate)["items"]:
        table.add_row(
            str(item["service"]),
            NOTHING if item["quantity"] is None else decimal(item["quantity"]),
            str(item["unit"]),
            usd(item["usd"]),
        )
    return table
