from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis import terminal
from analysis.console import console, print_lines
from analysis.tables import Column, Row, Table

SUMMARY: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "summary.json").read_text())


def printed(summary: dict[str, Any]) -> str:
    out = io.StringIO()
    terminal.print_summary(summary, console(out))
    return out.getvalue()


def test_the_verdict_is_the_first_line() -> None:
    assert printed(SUMMARY).splitlines()[0] == "Failed: 2 of 3 thresholds broken (1 without data)"


def test_it_fits_a_hundred_columns() -> None:
    assert max(len(line) for line in printed(SUMMARY).splitlines()) <= 100


def test_long_names_do_not_make_it_wider() -> None:
    long = "x" * 400
    summary = {
        "client": {"requests": 1, "failures": 1, "endpoints": {long: {"requests": 1, "p95_ms": 1.0}}},
        "functions": {long: {"invocations": 1}},
        "root_causes": [{"error_type": long, "frame": long, "advice": long, "examples": [long], "requests": 1}],
        "run": {"warnings": [long], "id": long},
    }
    assert max(len(line) for line in printed(summary).splitlines()) <= 100


def test_in_eighty_columns_the_tables_move_together_before_names_are_broken() -> None:
    names = ["shop-accept", "shop-decrypt", "shop-update-db"]
    function = {"invocations": 1000, "duration_ms": {"p50": 206.8, "p95": 1378.0, "p99": 1411.7}}
    console = Console(file=io.StringIO(), width=80)
    terminal.print_summary({"functions": dict.fromkeys(names, function)}, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [name for name in names if any(line.startswith(name + " ") for line in lines)] == names


def test_what_is_simulated_says_so() -> None:
    assert "SIMULATED" in printed(SUMMARY)
    assert "SIMULATED" not in printed({**SUMMARY, "run": {**SUMMARY["run"], "simulated": False}})


def test_a_pipe_gets_plain_text() -> None:
    assert "\x1b" not in printed(SUMMARY)


def test_markup_and_escape_sequences_in_data_are_shown_and_not_obeyed() -> None:
    hostile = "[bold red]loud[/] [link=http://x]y[/link] :boom: \x1b]0;title\x07"
    summary = {
        "client": {"endpoints": {hostile[:30]: {"requests": 1}}, "failures": 1, "requests": 1},
        "root_causes": [{"error_type": hostile, "advice": hostile, "requests": 1}],
        "run": {"warnings": [hostile]},
    }
    text = printed(summary)
    assert text.count("[bold red]loud[/] [link=http://x]y[/link] :boom:") >= 3
    assert "\x1b" not in text
    assert "\x07" not in text


def test_an_empty_summary_prints_that_it_is_incomplete() -> None:
    assert printed({}).startswith("Incomplete")


def test_a_narrow_terminal_is_kept_to() -> None:
    out = io.StringIO()
    terminal.print_summary(SUMMARY, Console(file=out, width=60, markup=False, emoji=False, highlight=False))
    assert max(len(line) for line in out.getvalue().splitlines()) <= 60


def test_long_tables_and_lists_are_cut_and_say_by_how_much() -> None:
    names = [f"name {number}" for number in range(1000)]
    text = printed(
        {
            "client": {"endpoints": {name: {"requests": 1} for name in names}},
            "root_causes": [{"error_type": name, "requests": 1} for name in names],
            "run": {"warnings": names},
        }
    )
    assert len(text.splitlines()) < 120
    for words in ("… and 970 more rows in report.html", "… and 990 more in report.html", "… and 980 more in report"):
        assert words in text


def test_absurd_figures_do_not_make_it_wider() -> None:
    figures = dict.fromkeys(("requests", "failures", "rps", "p50_ms", "p95_ms", "p99_ms", "max_ms"), 1e308)
    duration = dict.fromkeys(("p50", "p95", "p99"), 1e308)
    summary = {
        "client": {**figures, "endpoints": {"a": figures}},
        "functions": {"f": {"invocations": 10**300, "duration_ms": duration, "memory_mb": {"max": 1e308}}},
        "cost": {"run_usd": 1e308, "per_million_usd": 1e308, "items": []},
    }
    assert max(len(line) for line in printed(summary).splitlines()) <= 100


def test_numbers_that_do_not_fit_are_folded_and_not_cut() -> None:
    out = io.StringIO()
    numbers = tuple(str(1_000_000 + number) for number in range(8))
    table = Table("Numbers", tuple(Column(f"c{number}") for number in range(8)), (Row(numbers),))
    terminal.print_table(table, Console(file=out, width=50))
    _, *lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 50
    printed = "".join(lines)
    assert sum(printed.count(digit) for digit in "0123456789") == len("".join(numbers)) + len("01234567")


def test_prose_is_wrapped_in_a_terminal_and_left_as_it_is_in_a_file(monkeypatch: Any, capsys: Any) -> None:
    said = "would write " + ", ".join(["joined.parquet"] * 12)
    print_lines([said])
    assert capsys.readouterr().out == f"{said}\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    print_lines([said])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and " ".join(line.strip() for line in lines) == said
