"""The summary of a run in a terminal of 100 columns: the verdict in the first line, then why, then the figures.

Everything is printed as `rich.text.Text`, never as markup: what logs and payloads say is shown, not obeyed. Piped into
a file it is plain text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from analysis import tables
from analysis.comparison import Comparison
from analysis.formatting import (
    NOTHING,
    count,
    date_and_time,
    decimal,
    plural,
    share,
    time_of_day,
    timespan,
    visible,
)
from analysis.verdict import answers, cause_title, causes, duration_s, judge, message

EXAMPLES_SHOWN = 2
CAUSES_SHOWN = 10
ROWS_SHOWN = 30
WARNINGS_SHOWN = 20
_TONES = {"good": "green", "bad": "bold red", "warn": "yellow", None: ""}
_VERDICTS = {"passed": "bold green", "failed": "bold red", "incomplete": "bold yellow", "unjudged": "bold"}
_OUTCOMES = {"worse": "bold red", "better": "bold green", "no difference": "bold green", "inconclusive": "bold yellow"}


def print_summary(summary: Mapping[str, Any], to: Console) -> None:
    """Print the whole summary."""
    for part in _parts(summary):
        to.print(part)


def print_table(table: tables.Table, to: Console) -> None:
    """Print one table by itself, with what stands below it."""
    to.print(Text(table.title, style="bold"))
    to.print(_Fitting(table.narrow()))
    if table.note:
        to.print(Text(table.note))


def print_comparison(found: Comparison, to: Console) -> None:
    """Print one run against another."""
    to.print(Text(tables.comparison_in_words(found), style=_OUTCOMES.get(found.verdict, "bold")))
    for line in tables.about_comparison(found):
        to.print(Text(line))
    table = tables.comparison(found)
    to.print()
    to.print(_Fitting(table))
    if table.note:
        to.print(Text(table.note))


def _parts(summary: Mapping[str, Any]) -> Iterator[RenderableType]:
    verdict = judge(summary)
    yield Text(verdict.headline, style=_VERDICTS[verdict.kind])
    if verdict.detail:
        yield Text(verdict.detail)
    yield _about(summary.get("run") or {})
    client = summary.get("client") or {}
    offered = f" of {count(client.get('offered'))} offered" if client.get("dropped") else ""
    yield Text(
        f"{plural(client.get('requests'), 'request')}, {count(client.get('failures'))} failed, "
        f"{count(client.get('dropped'))} dropped{offered}, {decimal(client.get('rps'))} requests/s"
    )
    found = causes(summary)
    if found:
        yield _heading("Why requests failed")
        for number, cause in enumerate(found[:CAUSES_SHOWN], 1):
            yield from _cause(number, cause)
        yield from _more(len(found) - CAUSES_SHOWN, "")
    for table in (
        tables.thresholds(summary),
        tables.breakpoint(summary),
        tables.workers(summary),
        tables.endpoints(summary),
        tables.schedule(summary),
        tables.mean_request(summary),
        tables.functions(summary),
        tables.chains(summary),
        tables.metrics_out_of_limits(summary),
        tables.custom_metrics(summary),
    ):
        if table.rows:
            yield _heading(table.title)
            yield _Fitting(table.first(ROWS_SHOWN).narrow())
            yield from _more(len(table.rows) - ROWS_SHOWN, " rows")
    spent = tables.cost_in_words(summary)
    if spent:
        simulated = "What AWS would have charged" if (summary.get("run") or {}).get("simulated") else "Cost"
        yield Text(f"\n{simulated}: {spent}")
    held = tables.metrics_in_words(summary)
    if held:
        yield Text(held)
    joined = tables.join_in_words(summary)
    if joined:
        yield Text(f"\n{joined}")
    clock = tables.clocks_in_words(summary)
    if clock:
        yield Text(clock)
    warnings = (summary.get("run") or {}).get("warnings") or []
    if warnings:
        yield _heading("Warnings")
        for warning in warnings[:WARNINGS_SHOWN]:
            yield _indented(Text(f"! {visible(warning)}", style="yellow"), 1)
        yield from _more(len(warnings) - WARNINGS_SHOWN, "")


def _about(run: Mapping[str, Any]) -> Text:
    lasted = timespan(duration_s(run))
    about = Text(f"run {visible(run.get('id'))} on {visible(run.get('target'))}")
    if run.get("simulated"):
        about.append(" · SIMULATED, not AWS", style="bold magenta")
    about.append(
        f"\nflows {', '.join(visible(flow) for flow in run.get('flows') or []) or NOTHING}"
        f" · {date_and_time(run.get('started_at'))}, {lasted}"
    )
    return about


def _more(left_out: int, what: str) -> Iterator[Text]:
    if left_out > 0:
        yield Text(f" … and {count(left_out)} more{what} in report.html", style="dim")


def _heading(title: str) -> Text:
    return Text(f"\n{title}", style="bold")


def _indented(text: Text, blanks: int) -> Padding:
    """Text whose every line begins after so many blanks."""
    return Padding(text, (0, 0, 0, blanks), expand=False)


def _cause(number: int, cause: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield _indented(Text(f"{number}. {cause_title(cause)}", style="bold"), 1)
    several = len(cause["groups"]) > 1
    facts = plural(cause["requests"], "request") if several else f"{answers(cause)} × {count(cause['requests'])}"
    facts += f" ({share(cause['share'])} of {cause['of']})"
    if several:
        facts += f": {answers(cause)}"
    elif cause.get("flow"):
        facts += f" in flow {visible(cause['flow'], 40)}"
    if cause.get("frame"):
        facts += f" at {visible(cause['frame'], 120)}"
    facts += f", {time_of_day(cause.get('first_at'))} to {time_of_day(cause.get('last_at'))}"
    yield _indented(Text(facts), 4)
    said = message(cause)
    if said:
        yield _indented(Text(visible(said, 180), style="dim"), 4)
    examples = [visible(example, 64) for example in (cause.get("examples") or [])[:EXAMPLES_SHOWN]]
    if examples:
        yield _indented(Text(f"e.g. {', '.join(examples)}", style="dim"), 4)
    if cause.get("advice"):
        yield _indented(Text(f"→ {visible(cause['advice'])}", style="cyan"), 4)


class _Fitting:
    """A table with less room between its columns where it fits the console only so, and with folded numbers where it
    does not even then: rich would cut them off."""

    def __init__(self, table: tables.Table) -> None:
        self._table = table

    def __rich_console__(self, to: Console, options: ConsoleOptions) -> RenderResult:
        roomy, tight = _drawn(self._table, padding=1), _drawn(self._table, padding=0)
        if _widths(roomy, to).maximum <= options.max_width:
            yield roomy
        elif _widths(tight, to).maximum <= options.max_width:
            yield tight
        elif _widths(roomy, to).minimum <= options.max_width:
            yield roomy
        else:
            yield _drawn(self._table, padding=0, fold_numbers=_widths(tight, to).minimum > options.max_width)


def _widths(table: RichTable, on: Console) -> Measurement:
    """Columns that it takes where all is folded that may be, and where nothing is."""
    return Measurement.get(on, on.options.update(max_width=10_000), table)


def _drawn(table: tables.Table, padding: int, *, fold_numbers: bool = False) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, padding), header_style="dim", show_edge=False)
    for column in table.columns:
        header = f"{column.header}\n{column.unit}" if column.unit else column.header
        drawn.add_column(
            Text(header),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric and not fold_numbers,
            overflow="fold",
            vertical="top",
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row.cells), style=_TONES[row.tone])
    return drawn
