"""`python -m analysis query NAME`: a ready-made Logs Insights query against the functions' log groups.

The queries are files in `analysis/queries/`, as they could be pasted into the CloudWatch console; lines that begin with
`#` say what they do.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from analysis import log_groups
from analysis.console import console
from analysis.errors import TargetError, UsageError
from analysis.formatting import visible
from analysis.insights import LogGroupNotFoundError, Row, Window, run_query
from analysis.options import format_option
from analysis.run_files import read_json
from config import aws
from config.settings import Settings, load_settings
from config.timespans import parse_timespan
from runstore import rundir

QUERIES = Path(__file__).parent / "queries"
_BIN = re.compile(r"\bbin\(5m\)")
_NAMED = re.compile(r"\bas\s+(\w+(?:\s*,\s*\w+)*)")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class NamedQuery:
    name: str
    about: str
    text: str
    """The query, without its comment."""

    @property
    def shows(self) -> str:
        """The first sentence about it."""
        return self.about.partition(". ")[0].removesuffix(".")


def names() -> list[str]:
    """The names of all ready-made queries."""
    return sorted(path.stem for path in QUERIES.glob("*.txt"))


def load(name: str, every: str | None = None) -> NamedQuery:
    """A ready-made query; `every` replaces the width of its time bins, 5m.

    Raises UsageError for an unknown name.
    """
    if name not in names():
        raise UsageError(f"there is no query {name!r}", f"there are: {', '.join(names())}")
    lines = (QUERIES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    about = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    text = "\n".join(line for line in lines if line.strip() and not line.startswith("#"))
    return NamedQuery(name, about, text if every is None else _BIN.sub(f"bin({bin_width(every)})", text))


def bin_width(text: str) -> str:
    """A time span as bin() takes it: `90s` -> `90s` would silently become `60s`, so it is refused.

    Source: Logs Insights caps the number in front of each unit: ms 1000, s 60, m 60, h 24. Raises UsageError.
    """
    try:
        seconds = parse_timespan(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    for unit, size_s, most in (("h", 3600.0, 24), ("m", 60.0, 60), ("s", 1.0, 60), ("ms", 0.001, 1000)):
        count = seconds / size_s
        if count >= 1 and math.isclose(count, round(count)) and round(count) <= most:
            return f"{round(count)}{unit}"
    raise UsageError(
        f"Logs Insights has no time bins of {text}", "whole seconds or minutes up to 60, or whole hours up to 24"
    )


def run_for_each(client: Any, groups: Mapping[str, str], query: str, window: Window) -> list[Row]:
    """The query's rows of each group, with the function's name in front; groups that do not exist have none.

    Raises LogGroupNotFoundError where none of them exists, TargetError where the rows have nothing of what the query
    works out, and what `run_query` raises.
    """

    def of_one(group: str) -> Sequence[Row] | None:
        try:
            return run_query(client, [group], query, window, clock=time.monotonic, sleep=time.sleep).rows
        except LogGroupNotFoundError:
            return None

    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(groups, pool.map(of_one, groups.values()), strict=True))
    if all(rows is None for rows in found.values()):
        region = getattr(client.meta, "region_name", None)
        raise LogGroupNotFoundError(
            f"no log group {', '.join(groups.values())} in region {region}",
            "check LOG_GROUPS, STACK_NAME and AWS_REGION in .env",
        )
    answer = [
        {"function": function} | {name: value for name, value in row.items() if name != "@ptr"}
        for function, rows in found.items()
        for row in rows or ()
    ]
    named = {name for names in _NAMED.findall(query) for name in re.split(r"\s*,\s*", names)}
    if answer and named and named.isdisjoint(columns_of(answer)):
        raise TargetError(
            "the target does not understand the query: its answer has events, and nothing that the query works out",
            "some emulators know little of the language, and pass over the rest; the analysis of a run needs no more "
            "than `fields` and `filter`",
        )
    return answer


def render(rows: Sequence[Row], form: str) -> str:
    """Rows as `csv`, or `json` with numbers as numbers; columns in the order in which they first come."""
    columns = columns_of(rows)
    if form == "json":
        return json.dumps([{name: _value(value) for name, value in row.items()} for row in rows], indent=1) + "\n"
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a table on the terminal, numbers to the right; what does not fit is folded, and nothing cut."""
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns_of(rows):
        cells = [row[name] for row in rows if row.get(name) is not None]
        numeric = all(isinstance(_value(cell), int | float) for cell in cells)
        table.add_column(Text(visible(name)), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(_short(_value(row.get(name))), 400)) for name in columns_of(rows)))
    console().print(table)


def _short(value: Any) -> Any:
    """A number as a table shows it: to three decimals at most."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def _value(text: Any) -> Any:
    """Insights gives every value as text; a number among them as a number."""
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _window(settings: Settings, since: str, run: str | None) -> tuple[Window, dict[str, Any]]:
    if run is None:
        now = math.ceil(time.time())
        return Window(math.floor(now - parse_timespan(since)), now), {}
    manifest = read_json(rundir.find(run, settings.runs_dir), "manifest.json")
    started_at, ended_at = manifest.get("started_at"), manifest.get("ended_at")
    if started_at is None or ended_at is None:
        raise UsageError(f"the manifest of run {run} does not say when it was", "use --since")
    # what went on behind the last answer belongs to the run, where it is known when that was over
    over_at = max(ended_at, manifest.get("settled_at") or ended_at)
    return Window(math.floor(started_at), math.ceil(over_at) + 1), manifest


@click.command("query")
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--since", default="1h", show_default=True, metavar="TIME", help="Look back so far.")
@click.option("--run", metavar="RUN", help="Look at the time and the functions of this run instead.")
@click.option("--function", "only", multiple=True, metavar="FUNCTION", help="Only this function. Repeatable.")
@click.option("--bin", "every", metavar="TIME", help="Width of time bins instead of 5m.")
@format_option("table", "csv", "json")
@click.option("--print", "show", is_flag=True, help="Print the query instead of running it.")
def query_command(
    name: str | None, since: str, run: str | None, only: tuple[str, ...], every: str | None, form: str, show: bool
) -> None:
    """Run a ready-made Logs Insights query against the log groups of the target's functions.

    Without NAME: what queries there are, in a line each. More about one is said in analysis/queries/NAME.txt.
    """
    if name is None:
        for known in names():
            click.echo(f"{known:14} {load(known).shows}")
        return
    query = load(name, every)
    if show:
        click.echo(query.text)
        return
    settings = load_settings()
    try:
        window, manifest = _window(settings, since, run)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None
    if manifest:
        groups, _ = log_groups.of_run(manifest, settings)
    else:
        groups = log_groups.of_target(settings, aws.client(settings, "cloudformation"))
    unknown = [function for function in only if function not in groups]
    if unknown:
        raise UsageError(f"no function {', '.join(unknown)}", f"there are: {', '.join(groups)}")
    chosen = {function: group for function, group in groups.items() if not only or function in only}
    rows = run_for_each(aws.client(settings, "logs"), chosen, query.text, window)
    if form == "table":
        if rows:
            print_table(rows)
        else:
            click.echo("no rows", err=True)
    else:
        click.echo(render(rows, form), nl=False)
