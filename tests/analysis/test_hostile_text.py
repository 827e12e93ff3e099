"""Whatever stands in logs, payloads and names is shown as text by every renderer, and breaks none of them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from lxml import etree
from markdown_it import MarkdownIt
from rich.cells import cell_len

from analysis import junit, markdown, report, terminal
from analysis.console import WIDTH, console
from analysis.formatting import visible
from analysis.pipeline import explain
from tests.analysis import hostile
from tests.analysis.conftest import T0, RunBuilder
from tests.analysis.test_report import Page

SCHEMA = etree.XMLSchema(file=str(Path(__file__).parent.parent / "fixtures" / "junit" / "junit-10.xsd"))
everything = pytest.mark.parametrize("text", hostile.TEXTS.values(), ids=hostile.TEXTS)


def test_what_is_visible_can_stand_in_xml_and_in_utf_8() -> None:
    """Every code point there is, against the characters of XML 1.0 (https://www.w3.org/TR/xml/#charsets)."""
    shown = visible("".join(map(chr, range(0x300))), 10**6)
    for start in range(0, 0x110000, 900):
        shown += visible("x" + "".join(map(chr, range(start, min(start + 900, 0x110000)))), 10**6)
    assert not re.search("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", shown)
    shown.encode()


@everything
def test_the_terminal_shows_it_and_obeys_nothing(text: str) -> None:
    out = io.StringIO()
    terminal.print_summary(hostile.summary_with(text), console(out))
    printed = out.getvalue()
    assert max(cell_len(line) for line in printed.splitlines()) <= WIDTH
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", printed)
    assert len(printed) < 40_000


@everything
def test_markdown_renders_it_as_text(text: str) -> None:
    document = markdown.render(hostile.summary_with(text))
    plain = markdown.render(hostile.summary_with("harmless"))
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    expected = [token.type for token in parser.parse(plain)]
    tokens = parser.parse(document)
    assert [token.type for token in tokens] == expected, "no table, list or heading more or less"
    inline = {child.type for token in tokens for child in token.children or ()}
    assert inline <= {"text", "strong_open", "strong_close", "hardbreak", "text_special"}
    assert len(document.encode()) < markdown.MOST_BYTES


@everything
def test_markdown_has_nothing_that_github_turns_into_a_link(text: str) -> None:
    """GitHub looks for addresses, mentions and references in what was rendered: a word must not be left whole."""
    rendered = MarkdownIt("commonmark").enable(["table"]).render(markdown.render(hostile.summary_with(text)))
    shown = re.sub("&#8203;", "\u200b", rendered)
    assert not re.search(r"[@#]\w|\bGH-\w", shown)
    written = markdown.render(hostile.summary_with(text))
    assert not re.search(r"(?i)https?://|www\.|\w@\w", written)


@everything
@pytest.mark.parametrize("complete", [True, False])
def test_junit_is_valid(text: str, complete: bool) -> None:
    summary = hostile.summary_with(text)
    summary["run"]["complete"] = complete
    SCHEMA.assertValid(etree.fromstring(junit.render(summary).encode()))


def shape(html: str) -> tuple[set[tuple[str, ...]], str]:
    """What kinds of elements with which attributes there are, and the text."""
    page = Page(html)
    return {(tag, *sorted(attributes)) for tag, attributes in page.tags}, page.text


@everything
def test_the_page_has_no_element_that_it_should_not_have(text: str) -> None:
    harmless, _ = shape(report.render(hostile.summary_with("harmless"), manifest={"run_id": "harmless"}))
    found, shown = shape(report.render(hostile.summary_with(text), manifest={"run_id": text}))
    assert found <= harmless
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    assert len(shown) < 100_000


def test_a_run_that_is_hostile_throughout_is_analysed_and_shown(build: RunBuilder) -> None:
    """From rows, logs and manifest to every file that is written; a row is one line, as the recorder writes it."""
    texts = [text[:5000].encode("utf-8", "replace").decode() for text in hostile.TEXTS.values()]
    for number, text in enumerate(texts):
        name = " ".join(text.split())
        ids = {"request_id": f"l{number}", "function": text, "log_stream": text}
        build.request(
            at=number / 10, status=502, ok=0, name=name, flow=name, error=name, lambda_request_id=ids["request_id"]
        )
        build.invocation(at=number / 10 + 0.05, **ids)
        said = dict.fromkeys(("error_type", "error_message", "message", "frame", "operation", "resource"), text)
        build.error(at=number / 10 + 0.05, **ids, **said)
    every = " ".join(texts)
    build.manifest |= {
        "run_id": every, "profile": {"name": every, "description": every}, "flows": [every], "target": every,
        "region": every, "functions": {every: every}, "versions": {every: every}, "warnings": [every],
        "workers": [{"index": every, "host": every, "rows": 1, "lost_at": T0}],
    }  # fmt: skip
    build.pull = {"complete": True, "missing_log_groups": [every], "warnings": [every]}
    run = build.write()
    summary = explain(run)
    assert summary["client"]["failures"] == sum(cause["requests"] for cause in summary["root_causes"]) == len(texts)
    report.write_all(run, summary)
    page = Page(run.file("report.html").read_text(encoding="utf-8"))
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    assert not {"img"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    SCHEMA.assertValid(etree.parse(run.file("junit.xml")))
    assert run.file("summary.md").stat().st_size <= 65_536
    out = io.StringIO()
    terminal.print_summary(summary, console(out))
    assert max(cell_len(line) for line in out.getvalue().splitlines()) <= WIDTH
