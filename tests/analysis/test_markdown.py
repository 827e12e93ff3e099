from __future__ import annotations

import re
from typing import Any

import pytest
from markdown_it import MarkdownIt

from analysis import markdown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("[click](http://evil.example)", r"\[click\](http&#58;//evil.example)"),
        ("www.evil.example", "www&#46;evil.example"),
        ("*bold* _it_ `code` ~no~", r"\*bold\* \_it\_ \`code\` \~no\~"),
        ("@octocat fixed #12", "@&#8203;octocat fixed #&#8203;12"),
        ("a & b", "a &amp; b"),
        ("p95_ms < 1000", r"p95\_ms &lt; 1000"),
    ],
)
def test_markdown_renders_the_text_itself(text: str, escaped: str) -> None:
    assert markdown.escape(text) == escaped


def test_a_name_with_a_line_end_stays_in_its_row() -> None:
    document = markdown.render({"client": {"endpoints": {"GET /\n# heading | x": {"requests": 1}}}})
    (row,) = [line for line in document.splitlines() if "heading" in line]
    assert row.startswith(r"| GET / # heading \| x | 1 |")


def test_many_causes_are_cut_short_and_counted() -> None:
    causes = [{"error_type": f"E{number}", "requests": 1} for number in range(8)]
    document = markdown.render({"root_causes": causes})
    assert "E4" in document
    assert "E5" not in document
    assert "3 more in report.html" in document


def test_advice_stands_on_a_line_of_its_own_where_line_ends_are_blanks() -> None:
    """As in files and step summaries; in comments GitHub keeps every line end."""
    document = markdown.render({"root_causes": [{"error_type": "KeyError", "requests": 1, "advice": "look there"}]})
    assert re.search(r"\(– of all that failed\)<br />\s*→ look there", MarkdownIt("commonmark").render(document))


@pytest.mark.parametrize(("complete", "order"), [(False, ["Warnings", "Endpoints"]), (True, ["Endpoints", "Warnings"])])
def test_what_makes_a_run_incomplete_comes_first(complete: bool, order: list[str]) -> None:
    run = {"complete": complete, "warnings": ["the logs were not fetched whole"]}
    document = markdown.render({"run": run, "client": {"endpoints": {"GET /": {"requests": 1}}}})
    assert re.findall("### (.*)", document) == order


def many(number: int, name: str) -> dict[str, Any]:
    """A run with that many endpoints, functions, thresholds, warnings and causes, all of long names."""
    names = [f"{name} {index}" for index in range(number)]
    return {
        "run": {"complete": True, "warnings": names},
        "client": {"endpoints": {each: {"requests": 1} for each in names}},
        "functions": {each: {"invocations": 1} for each in names},
        "chains": {each: {"sent": 1} for each in names},
        "thresholds": [{"expression": each, "value": 1.0, "verdict": "pass"} for each in names[:-1]]
        + [{"expression": "the broken one", "value": 1.0, "verdict": "fail"}],
        "root_causes": [{"error_type": each, "advice": each, "requests": 1} for each in names],
    }


def test_long_tables_are_cut_and_say_by_how_much() -> None:
    document = markdown.render(many(500, "GET /item"))
    assert document.count("GET /item") < 150
    assert document.count("… and 480 more rows.") == 4
    assert "the broken one" in document, "what is broken is not what is cut"


@pytest.mark.parametrize("name", ["@|" * 500, "漢" * 1000, "x" * 1000])
def test_it_fits_into_one_comment_whatever_the_names(name: str) -> None:
    document = markdown.render(many(500, name))
    assert len(document.encode()) <= 65_536
    assert document.startswith("## ❌ Failed: 1 of 500 thresholds broken")


def test_what_is_left_out_for_its_length_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "MOST_BYTES", 4_000)
    document = markdown.render(many(500, "GET /item"))
    assert re.search(r"\nLeft out for their length: .*Chains.*\. See report\.html\.\n$", document)
    assert "### Chains" not in document and "### Thresholds" in document
    assert len(document.encode()) <= 4_100
