from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analysis import query
from analysis.errors import TargetError, UsageError
from analysis.insights import LogGroupNotFoundError, Window
from config.settings import settings_from
from runstore.rundir import RunDir
from tests.analysis.fake_logs import FakeLogs, FakeTime


def run(*arguments: str) -> str:
    result = CliRunner().invoke(query.query_command, arguments, standalone_mode=False, catch_exceptions=False)
    return result.stdout


def test_the_promised_queries_are_there_with_a_word_about_each() -> None:
    listed = run()
    for name in ("cold_starts", "memory", "error_rate", "percentiles", "statistics"):
        assert any(line.startswith(name) and len(line) > 30 for line in listed.splitlines())


def test_each_query_is_listed_in_one_line_that_fits() -> None:
    lines = run().splitlines()
    assert [line.split()[0] for line in lines] == query.names()
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", query.names())
def test_every_query_is_documented(name: str) -> None:
    assert f"| `{name}` |" in (Path(__file__).parents[2] / "docs" / "logs.md").read_text()


@pytest.mark.parametrize("name", query.names())
def test_what_is_printed_is_the_query_alone(name: str) -> None:
    printed = run(name, "--print")
    assert printed.strip() and "#" not in printed
    assert len(printed) < 10_000  # AWS: a query string has at most 10,000 characters


def test_the_width_of_bins_can_be_chosen() -> None:
    assert "bin(30s)" in run("cold_starts", "--print", "--bin", "30s")
    assert "bin(5m)" not in run("cold_starts", "--print", "--bin", "30s")


@pytest.mark.parametrize(
    ("text", "width"), [("30s", "30s"), ("60s", "1m"), ("1m30s", None), ("90m", None), ("2h", "2h"), ("500ms", "500ms")]
)
def test_widths_that_insights_would_change_silently_are_refused(text: str, width: str | None) -> None:
    """AWS: bin(300s) is taken for 60 s, because seconds are capped at 60."""
    if width is None:
        with pytest.raises(UsageError, match="no time bins of"):
            query.bin_width(text)
    else:
        assert query.bin_width(text) == width


def test_five_minutes_are_five_minutes() -> None:
    assert query.bin_width("300s") == "5m"


def test_an_unknown_query_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="cold_starts"):
        query.load("cold-start")


class Aggregating(FakeLogs):
    """Answers every query of an existing group with one row of figures."""

    def get_query_results(self, queryId: str) -> dict[str, Any]:
        group = self.queries[int(queryId) - 1]["logGroupNames"][0]
        row = [
            {"field": "count(*)", "value": "12"},
            {"field": "group", "value": group},
            {"field": "@ptr", "value": "p"},
        ]
        return {"status": "Complete", "results": [row], "statistics": {}}


def test_each_group_is_asked_and_its_rows_named_for_its_function() -> None:
    logs = Aggregating(FakeTime(1000.0), {"/a": [], "/b": []})
    rows = query.run_for_each(logs, {"a": "/a", "b": "/b", "never invoked": "/c"}, "stats count(*)", Window(0, 10))
    assert rows == [
        {"function": "a", "count(*)": "12", "group": "/a"},
        {"function": "b", "count(*)": "12", "group": "/b"},
    ]


def test_no_group_at_all_is_an_error_that_names_them() -> None:
    with pytest.raises(LogGroupNotFoundError, match="/c in region eu-west-1"):
        query.run_for_each(Aggregating(FakeTime(1000.0), {"/a": []}), {"c": "/c"}, "stats count(*)", Window(0, 10))


ROWS = [{"function": "a", "n": "12", "x": "1.5E8"}, {"function": "b", "late": "[link=x]<b>"}]


def test_json_has_numbers_and_leaves_out_what_a_row_lacks() -> None:
    assert json.loads(query.render(ROWS, "json")) == [
        {"function": "a", "n": 12, "x": 150000000},
        {"function": "b", "late": "[link=x]<b>"},
    ]


def test_csv_has_all_columns() -> None:
    assert query.render(ROWS, "csv") == "function,n,x,late\na,12,1.5E8,\nb,,,[link=x]<b>\n"


def test_a_table_shows_what_logs_say_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    query.print_table([*ROWS, {"function": "c\x1b[31m", "n": "1.23456"}])
    shown = capsys.readouterr().out
    assert "[link=x]<b>" in shown and "\x1b" not in shown and "1.235" in shown


def test_queries_lie_beside_the_code_as_plain_files() -> None:
    assert {path.suffix for path in Path(query.QUERIES).iterdir()} == {".txt"}


def test_a_target_that_passes_over_what_it_does_not_know_has_no_answer() -> None:
    logs = Aggregating(FakeTime(1000.0), {"/a": []})
    with pytest.raises(TargetError, match="does not understand the query"):
        query.run_for_each(logs, {"a": "/a"}, query.load("billed").text, Window(0, 10))


def test_a_runs_window_holds_what_went_on_behind_its_last_answer(tmp_path: Path) -> None:
    recorded = RunDir(tmp_path / "r")
    recorded.path.mkdir()
    recorded.update_manifest(started_at=100.5, ended_at=110.2, settled_at=119.9)
    window, _ = query._window(settings_from({"RUNS_DIR": str(tmp_path)}), "1h", "r")
    assert (window.start, window.end) == (100, 121)
