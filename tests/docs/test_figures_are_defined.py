"""Each heading that the report shows is defined in docs/reading-a-report.md, once, in the section of its table."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from analysis import figure, report, tables
from analysis.latency import Latency
from analysis.series import Series
from tests.analysis.hostile import summary_with

GUIDE = (Path(__file__).parents[2] / "docs" / "reading-a-report.md").read_text()
COMMON = "Endpoints"
"""What other sections do not define anew has its meaning from here: requests, failed, p95, ..."""
NAMED_FOR = {"function": "Functions", "chain": "Chains"}
SUMMARY = summary_with("x") | {"breakpoint": {"steps": []}, "join": {"requests": 1, "invocations": 1, "reached": 1}}
TABLES = [
    *(table(SUMMARY) for name in ("thresholds", "breakpoint", "workers", "endpoints", "schedule", "breakdown")
      for table in [getattr(tables, name)]),
    *(table(SUMMARY) for name in ("functions", "billing", "cold_starts", "chains", "hops", "metrics", "custom_metrics")
      for table in [getattr(tables, name)]),
    tables.cost(SUMMARY), tables.join(SUMMARY), tables.latency(Latency([], 0, 1)),
]  # fmt: skip


def sections() -> dict[str, list[str]]:
    """Heading -> the terms that its Markdown tables define: `a, b (`c`)` defines a and b."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^(?=##+ )", GUIDE, flags=re.MULTILINE)[1:]:
        heading = part.splitlines()[0].lstrip("# ")
        rows = re.findall(r"^\| (.+?) \| .*\|$", part, re.MULTILINE)
        cells = [re.sub(r" ?\(.*\)|`", "", cell) for cell in rows]
        found[heading] = [term.strip() for cell in cells for term in cell.split(", ") if not set(term) <= set("-|")]
    return found


SECTIONS = sections()


def columns() -> list[tuple[str, str]]:
    return [(table.title, column.header) for table in TABLES for column in table.columns]


@pytest.mark.parametrize(("title", "header"), sorted(set(columns())))
def test_every_column_of_a_table_is_defined(title: str, header: str) -> None:
    assert header in SECTIONS[title] + SECTIONS[NAMED_FOR.get(header, COMMON)]


@pytest.mark.parametrize("title", [table.title for table in TABLES])
def test_a_table_has_no_two_columns_of_one_name(title: str) -> None:
    (table,) = [table for table in TABLES if table.title == title]
    assert max(Counter((column.header, column.unit) for column in table.columns).values()) == 1


@pytest.mark.parametrize("label", [row.cells[0].removeprefix("… ") for row in tables.join(SUMMARY).rows])
def test_every_row_of_the_join_is_defined(label: str) -> None:
    assert any(label.startswith(term) for term in SECTIONS["Join"])


PULLED = {"complete": True, "slices": [], "queries_started": 1, "rows": 1, "missing_log_groups": ["g"]}


@pytest.mark.parametrize("label", [row.cells[0].removeprefix("… ") for row in tables.pull(PULLED).rows])
def test_every_row_of_the_pull_is_defined(label: str) -> None:
    assert label in ", ".join(SECTIONS["Pull"])


def test_every_row_of_the_charts_is_defined() -> None:
    one = np.ones(2)
    many = {"x": one}
    rates = {"users": one, "sent_per_s": one, "failed_per_s": one}
    drawn = figure.draw(
        Series(0.0, 1, 2, **rates, latency_ms={"p50": one}, errors_per_s=many, cold_starts=many, concurrency=many)
    )
    titles = [re.sub("</?b>|[,:].*", "", each["text"]) for each in drawn["wide"]["annotations"]]
    assert len(titles) == 6
    assert set(titles) <= set(SECTIONS["Over time"])


def test_every_tile_is_a_figure_that_is_defined() -> None:
    client = {
        "requests": 1,
        "failures": 1,
        "error_rate": 1,
        "dropped": 1,
        "offered": 2,
        "rps": 1,
        "p50_ms": 1,
        "p95_ms": 1,
        "p99_ms": 1,
    }
    functions = {"f": {"invocations": 1, "cold_starts": 1}}
    tiles = report.tiles({"client": client, "functions": functions, "cost": {"per_million_usd": 1}})
    labels = [re.sub(r",.*| \(.*| of .*", "", tile["label"]) for tile in tiles]
    assert len(labels) == 9
    known = {*SECTIONS[COMMON], *SECTIONS["Functions"], *SECTIONS["Cost"]}
    assert [label for label in labels if label not in known] == []


@pytest.mark.parametrize("section", SECTIONS)
def test_no_figure_is_defined_twice(section: str) -> None:
    headings = {"figure", "rows", "row", "kind", "metric", "item"}
    terms = Counter(term for term in SECTIONS[section] if term not in headings)
    assert [term for term, times in terms.items() if times > 1] == []
