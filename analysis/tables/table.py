"""A table as text, and what the modules beside it make tables with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from analysis.formatting import count

Summary = Mapping[str, Any]
Tone = Literal["good", "bad", "warn"]


@dataclass(frozen=True)
class Column:
    header: str
    unit: str = ""
    numeric: bool = True
    wide: bool = False


@dataclass(frozen=True)
class Row:
    cells: tuple[str, ...]
    tone: Tone | None = None


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def first(self, number: int) -> Table:
        """The table with so many rows at most: where there are more, those that call for attention before the others.
        Its note says how many were left out."""
        if len(self.rows) <= number:
            return self
        order = {"bad": 0, "warn": 1}
        worst = sorted(range(len(self.rows)), key=lambda index: order.get(self.rows[index].tone or "", 2))[:number]
        left_out = f"{count(len(self.rows) - number)} more rows are in summary.json."
        rows = tuple(self.rows[index] for index in sorted(worst))
        return replace(self, rows=rows, note=f"{self.note} {left_out}".strip())

    def narrow(self) -> Table:
        """The table without its wide columns."""
        keep = [index for index, column in enumerate(self.columns) if not column.wide]
        return replace(
            self,
            columns=tuple(self.columns[index] for index in keep),
            rows=tuple(Row(tuple(row.cells[index] for index in keep), row.tone) for row in self.rows),
        )


def text(header: str, wide: bool = False) -> Column:
    return Column(header, numeric=False, wide=wide)


def section(summary: Summary, *names: str) -> Mapping[str, Any]:
    """A nested object of the summary; an empty one where it is absent or null."""
    value: Any = summary
    for name in names:
        value = (value or {}).get(name)
    return value or {}


def plain_rows(rows: Iterable[Sequence[str]]) -> tuple[Row, ...]:
    return tuple(Row(tuple(cells)) for cells in rows)
