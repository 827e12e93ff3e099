"""`summary.md`: the run for a pull-request comment or a CI step summary.

GitHub renders Markdown with HTML inside it, mentions and links: whatever came from logs or names is escaped so that it
stays text. A comment holds 65,536 characters (a step summary 1 MiB), so that tables are cut after ROWS_SHOWN rows, and
sections that would not fit are left out; both say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from analysis import tables
from analysis.comparison import Comparison
from analysis.formatting import count, date_and_time, decimal, plural, share, timespan, visible
from analysis.verdict import answers, cause_title, causes, duration_s, judge

CAUSES_SHOWN = 5
ROWS_SHOWN = 20
WARNINGS_SHOWN = 20
MOST_BYTES = 60_000
"""Of the whole document: what GitHub takes as one comment, and some room for what others write above it."""
_ICONS = {"passed": "✅", "failed": "❌", "incomplete": "⚠️", "unjudged": "ℹ️"}
_OUTCOMES = {"worse": "❌", "better": "✅", "no difference": "✅", "inconclusive": "❔", "no data": "⚠️"}
_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LINK = re.compile(r"(?i)\b(?:https?|ftp)://|\bwww\.")
_REFERENCE = re.compile(r"(@|#|GH-)(?=\w)")


def escape(text: str) -> str:
    """`text` as Markdown that renders as exactly that text: no emphasis, link, table, HTML, mention or issue number.

    A zero-width space parts the sign of a mention from its name: GitHub looks for mentions after rendering, where no
    escape is left to see.
    """
    text = re.sub("[&<>]", lambda found: _ENTITIES[found[0]], text)
    text = _SPECIAL.sub(r"\\\1", text)
    text = _REFERENCE.sub(r"\1&#8203;", text)
    return _LINK.sub(lambda found: found[0].replace(":", "&#58;").replace(".", "&#46;"), text)


def render(summary: Mapping[str, Any]) -> str:
    """The whole document, ending in a line feed."""
    document, left_out = "", []
    for title, lines in _sections(summary):
        section = "\n".join((*([f"### {title}", ""] if title else []), *lines)) + "\n"
        if len((document + section).encode()) > MOST_BYTES:
            left_out.append(title)
        else:
            document += f"\n{section}" if document else section
    return document + (f"\nLeft out for their length: {', '.join(left_out)}. See report.html.\n" if left_out else "")


def render_comparison(found: Comparison) -> str:
    """One run against another, for a pull-request comment."""
    table = tables.comparison(found)
    lines = [f"## {_OUTCOMES[found.verdict]} {escape(tables.comparison_in_words(found))}", ""]
    lines += [f"- {escape(line)}" for line in tables.about_comparison(found)]
    lines += ["", *_table(table)]
    lines += ["", escape(table.note)] if table.note else []
    return "\n".join(lines) + "\n"


def render_table(table: tables.Table) -> str:
    """One table by itself, with what stands below it."""
    return "\n".join([*_table(table), *(["", escape(table.note)] if table.note else [])]) + "\n"


def _sections(summary: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Title and lines of each section, the most important first; the first one has no title."""
    yield "", list(_verdict(summary))
    run = summary.get("run") or {}
    incomplete = not run.get("complete", False)
    if incomplete:  # they say why
        yield from _warnings(run)
    found = causes(summary)
    if found:
        shown = [line for cause in found[:CAUSES_SHOWN] for line in _cause(cause)]
        yield "Why requests failed", [*shown, *_more("- … and {} more in report.html", len(found) - CAUSES_SHOWN)]
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
    ):
        if table.rows:
            more = _more("\n… and {} more rows.", len(table.rows) - ROWS_SHOWN)
            yield table.title, [*_table(table.first(ROWS_SHOWN).narrow()), *more]
    sentences = (
        ("What AWS would have charged: " if run.get("simulated") else "Cost: ", tables.cost_in_words(summary)),
        ("", tables.metrics_in_words(summary)),
        ("", tables.join_in_words(summary)),
    )
    said = [f"{begin}{escape(words)}." for begin, words in sentences if words]
    if said:
        yield "", ["\n\n".join(said)]
    if not incomplete:
        yield from _warnings(run)


def _warnings(run: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    warnings = run.get("warnings") or []
    if warnings:
        shown = [f"- {escape(visible(warning, 400))}" for warning in warnings[:WARNINGS_SHOWN]]
        yield "Warnings", [*shown, *_more("- … and {} more", len(warnings) - WARNINGS_SHOWN)]


def _more(words: str, left_out: int) -> list[str]:
    """The line that says how many were left out, where any were."""
    return [words.format(count(left_out))] if left_out > 0 else []


def _verdict(summary: Mapping[str, Any]) -> Iterator[str]:
    verdict = judge(summary)
    run, client = summary.get("run") or {}, summary.get("client") or {}
    yield f"## {_ICONS[verdict.kind]} {escape(verdict.headline)}"
    yield ""
    if verdict.detail:
        yield f"**{escape(verdict.detail)}**"
        yield ""
    lasted = timespan(duration_s(run))
    simulated = " (**simulated**, not AWS)" if run.get("simulated") else ""
    dropped = ""
    if client.get("dropped"):
        dropped = f"{count(client['dropped'])} of {count(client.get('offered'))} offered dropped, "
    yield (
        f"Run {escape(visible(run.get('id')))} on {escape(visible(run.get('target')))}{simulated}, "
        f"{date_and_time(run.get('started_at'))}, {lasted}: {plural(client.get('requests'), 'request')}, "
        f"{count(client.get('failures'))} failed, {dropped}{decimal(client.get('rps'))}/s."
    )


def _cause(cause: Mapping[str, Any]) -> Iterator[str]:
    where = f" at {escape(visible(cause['frame'], 120))}" if cause.get("frame") else ""
    several = len(cause["groups"]) > 1
    requests = (
        plural(cause["requests"], "request") if several else f"{escape(answers(cause))} × {count(cause['requests'])}"
    )
    split = f": {escape(answers(cause))}" if several else ""
    facts = f"- **{escape(cause_title(cause))}**: {requests} ({share(cause['share'])} of {cause['of']}){split}{where}"
    if not cause.get("advice"):
        yield facts
        return
    yield f"{facts}\\"  # a line break: only comments have one at every end of a line
    yield f"  → {escape(visible(cause['advice'], 600))}"


def _table(table: tables.Table) -> Iterator[str]:
    headers = (f"{column.header} ({column.unit})" if column.unit else column.header for column in table.columns)
    yield f"| {' | '.join(headers)} |"
    yield f"|{'|'.join('---:' if column.numeric else '---' for column in table.columns)}|"
    for row in table.rows:
        yield f"| {' | '.join(escape(cell) for cell in row.cells)} |"
