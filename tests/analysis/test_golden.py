"""Whole outputs from one fixed summary (`golden/summary.json`), compared with the files beside it.

A golden file that is missing fails. To write them again after a wanted change, and then read the difference:

    REGENERATE_GOLDEN=1 .venv/bin/pytest tests/analysis/test_golden.py
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import junit, markdown, statistics_table, terminal
from analysis.console import console

GOLDEN = Path(__file__).parent / "golden"
COMMAND = "REGENERATE_GOLDEN=1 .venv/bin/pytest tests/analysis/test_golden.py"


def as_text(summary: dict[str, Any]) -> str:
    out = io.StringIO()
    terminal.print_summary(summary, console(out))
    return out.getvalue()


def as_statistics(_: dict[str, Any]) -> str:
    one = statistics_table.FunctionStatistics(
        function="shop-accept",
        log_group="/aws/lambda/swarmscope-shop-accept",
        first_at=1795255224.003,
        last_at=1795255284.1,
        records=101,
        min_duration_ms=177.4,
        max_duration_ms=931.02,
        mean_duration_ms=217.9142,
        total_duration_ms=22009.33,
        min_billed_ms=178.0,
        max_billed_ms=932.0,
        mean_billed_ms=218.4059,
        total_billed_ms=22059.0,
        under_limit_duration=100,
        over_limit_duration=1,
        min_memory_mb=69.0,
        max_memory_mb=72.0,
        mean_memory_mb=70.9,
        configured_memory_mb=(128.0,),
        under_limit_memory=0,
        over_limit_memory=101,
    )
    return statistics_table.render([one])


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("summary.txt", as_text),
        ("summary.md", markdown.render),
        ("junit.xml", junit.render),
        ("statistics.txt", as_statistics),
    ],
)
def test_output_is_the_golden_one(name: str, render: Callable[[dict[str, Any]], str]) -> None:
    rendered = render(json.loads((GOLDEN / "summary.json").read_text(encoding="utf-8")))
    file = GOLDEN / name
    if os.environ.get("REGENERATE_GOLDEN") == "1":
        file.write_text(rendered, encoding="utf-8")
    assert file.is_file(), f"there is no {file.name} to compare with; write it with: {COMMAND}"
    assert rendered == file.read_text(encoding="utf-8"), f"if the change is wanted: {COMMAND}"
