from __future__ import annotations

import pytest

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
