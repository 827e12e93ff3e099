from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from analysis import errors, pipeline
from analysis.__main__ import main
from analysis.evidence import Evidence
from config.errors import ConfigError
from runstore.rundir import RunDir

SUMMARY = Path(__file__).parent / "golden" / "summary.json"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directory of a run that was analysed."""
    (tmp_path / "manifest.json").write_text("{}")
    shutil.copy(SUMMARY, tmp_path / "summary.json")
    return tmp_path


def call(*args: str) -> Result:
    return CliRunner().invoke(main, list(args), catch_exceptions=False)


def test_summary_as_text_says_the_verdict_first(run: Path) -> None:
    result = call("summary", str(run))
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "Failed: 2 of 3 thresholds broken (1 without data)")


def test_summary_as_json_is_the_summary(run: Path) -> None:
    assert json.loads(call("summary", str(run), "--format", "json").stdout) == json.loads(SUMMARY.read_text())


def test_summary_as_markdown(run: Path) -> None:
    assert call("summary", str(run), "--format", "markdown").stdout.startswith("## ❌ Failed")


def test_report_names_what_it_wrote(run: Path) -> None:
    result = call("report", str(run))
    assert result.stdout.splitlines() == [str(run / name) for name in ("report.html", "summary.md", "junit.xml")]


def test_an_unknown_run_is_wrong_usage(tmp_path: Path) -> None:
    result = call("summary", str(tmp_path / "nowhere"))
    assert result.exit_code == 2
    assert "no run" in result.stderr


def test_a_run_that_was_not_analysed_says_how(run: Path) -> None:
    (run / "summary.json").unlink()
    result = call("summary", str(run))
    assert result.exit_code == 2
    assert f"hint: analyse it first: python -m analysis analyze {run.name}" in result.stderr


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_a_broken_summary_is_incomplete_data(run: Path, text: str) -> None:
    (run / "summary.json").write_text(text)
    assert call("report", str(run)).exit_code == 3


@pytest.mark.parametrize("command", ["summary", "report", "cost"])
def test_a_summary_of_another_version_is_named_with_what_to_do(run: Path, command: str) -> None:
    (run / "summary.json").write_text('{"schema": 99, "run": "x", "client": [], "cost": 7}')
    result = call(command, str(run))
    assert result.exit_code == 3
    assert "summary.json has schema 99, and here 1 is read\nhint: analyse the run again: python -m" in result.stderr


def test_statistics_of_a_run_without_logs_is_incomplete_data(run: Path) -> None:
    assert call("statistics", str(run)).exit_code == 3


def test_an_unknown_option_is_wrong_usage() -> None:
    assert call("summary", "--colour").exit_code == 2


@pytest.mark.parametrize(
    ("error", "exit_code", "said"),
    [
        (
            errors.TargetError("no log group /x", "check LOG_GROUPS"),
            2,
            "error: no log group /x\nhint: check LOG_GROUPS\n",
        ),
        (errors.PullError("a query failed"), 3, "error: a query failed\n"),
        (ConfigError(["TARGET is 'x'", "MAX_USERS is 'y'"]), 2, "error: TARGET is 'x'\nerror: MAX_USERS is 'y'\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_expected_errors_become_exit_codes(error: BaseException, exit_code: int, said: str) -> None:
    with patch("analysis.__main__.find_run", side_effect=error):
        result = call("summary", "latest")
    assert (result.exit_code, result.stderr) == (exit_code, said)


def test_ctrl_c_during_a_query_is_an_interruption(tiny_run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB looks for signals itself, and raises an error of its own choice."""

    def interrupted(evidence: Evidence, file: Path) -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        evidence.db.execute("SELECT count(*) FROM range(20_000_000_000)").fetchall()

    monkeypatch.setattr(pipeline, "join", interrupted)
    result = call("analyze", str(tiny_run.path), "--no-pull")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
    assert not list(tiny_run.path.glob(".*"))


def test_debug_shows_where_an_error_came_from() -> None:
    with patch("analysis.__main__.find_run", side_effect=errors.PullError("a query failed")):
        result = call("--debug", "summary", "latest")
    assert result.exit_code == 3
    assert "Traceback (most recent call last)" in result.stderr


def test_a_defect_keeps_its_traceback() -> None:
    with patch("analysis.__main__.find_run", side_effect=ZeroDivisionError), pytest.raises(ZeroDivisionError):
        call("summary", "latest")


def test_starting_it_loads_neither_pandas_nor_boto3() -> None:
    code = "import sys, analysis.__main__; print(*{'pandas', 'boto3', 'duckdb', 'plotly', 'rich'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == ""


def test_analyze_writes_everything_and_ends_with_the_verdict(tiny_run: RunDir) -> None:
    result = call("analyze", str(tiny_run.path), "--no-pull")
    assert result.exit_code == 1
    assert result.stdout.startswith("Failed: 2 of 4 thresholds broken")
    for name in ("summary.json", "joined.parquet", "report.html", "summary.md", "junit.xml"):
        assert tiny_run.file(name).is_file(), name


def test_analyze_counts_under_the_limits_it_is_given(tiny_run: RunDir) -> None:
    call("analyze", str(tiny_run.path), "--no-pull", "--duration-limit-ms", "3000", "--memory-headroom-mb", "186")
    summary = json.loads(tiny_run.file("summary.json").read_text())
    vote = summary["functions"]["place-vote"]
    assert vote["limits"] == {"duration_ms": 3000.0, "memory_headroom_mb": 186.0}
    assert vote["under_limit_memory"] > 0


def test_a_run_that_was_interrupted_is_analysed_and_incomplete(tiny_run: RunDir) -> None:
    tiny_run.update_manifest(state="interrupted")
    result = call("analyze", str(tiny_run.path), "--no-pull")
    assert result.exit_code == 3
    assert "interrupted" in result.stdout
    assert tiny_run.file("report.html").is_file()


def test_a_run_without_logs_still_gives_a_report(tiny_run: RunDir) -> None:
    for name in ("invocations", "log_errors", "correlations", "access_log"):
        tiny_run.file(f"{name}.parquet").unlink()
    tiny_run.file("pull.json").unlink()
    assert call("analyze", str(tiny_run.path), "--no-pull").exit_code == 3
    assert tiny_run.file("report.html").is_file()


def test_a_run_without_any_request_still_gives_a_report(tiny_run: RunDir) -> None:
    for file in tiny_run.requests_files():
        file.write_text(file.read_text().splitlines()[0] + "\n")
    assert call("analyze", str(tiny_run.path), "--no-pull").exit_code == 3
    assert tiny_run.file("report.html").is_file()


def test_a_full_disk_is_no_broken_threshold(run: Path) -> None:
    with patch("runstore.rundir.RunDir.write_text", side_effect=OSError(28, "No space left on device")):
        result = call("report", str(run))
    assert result.exit_code == errors.INCOMPLETE
    assert "No space left on device" in result.stderr


@pytest.mark.parametrize("command", ["pull", "bins"])
def test_a_pull_that_may_not_write_names_the_file_and_is_no_defect(tiny_run: RunDir, command: str) -> None:
    tiny_run.file("pull.json").unlink()
    in_the_way = tiny_run.path / "pull" / ".known.partial.partial"
    in_the_way.mkdir(parents=True)
    result = call(command, str(tiny_run.path))
    assert result.exit_code == errors.INCOMPLETE
    assert in_the_way.name in result.stderr


@pytest.mark.parametrize("number", ["nan", "inf", "1e999"])
@pytest.mark.parametrize(
    "command",
    [
        ("cost", "--invocations", "1", "--memory-mb", "128", "--duration-ms"),
        ("statistics", "--memory-headroom-mb"),
        ("analyze", "--duration-limit-ms"),
        ("compare", "a", "b", "--within"),
        ("compare", "a", "b", "--confidence"),
    ],
    ids=" ".join,
)
def test_a_number_that_is_none_is_refused(command: tuple[str, ...], number: str) -> None:
    result = call(*command, number)
    assert result.exit_code == errors.USAGE
    assert "no finite number" in result.output or "not in the range" in result.output


@pytest.mark.parametrize("damaged", ["joined.parquet", "invocations.parquet", "manifest.json", "pull.json"])
def test_a_report_of_damaged_files_names_the_file_and_is_no_defect(run: Path, damaged: str) -> None:
    (run / damaged).write_text("not what its name says")
    result = call("report", str(run))
    assert result.exit_code == errors.INCOMPLETE
    assert damaged in result.output


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("manifest.json", "", "is not JSON"),
        ("manifest.json", "\ufeff{}", "is not JSON"),
        ("manifest.json", "[]", "is not a JSON object"),
        ("manifest.json", '{"seed": NaN}', "is not JSON: NaN is no number"),
        ("manifest.json", "[" * 200_000, "is nested too deep"),
        ("manifest.json", '{"schema": 2}', "has schema 2, and here 1 is read"),
        ("manifest.json", '{"workers": "two"}', "is not what it should be: workers: Input should be a valid list"),
        ("manifest.json", '{"workers": [{}, {"rows": "7"}]}', "workers.2.rows: Input should be a valid number"),
        ("manifest.json", '{"started_at": 1e300}', "started_at: Input should be less than"),
        (
            "manifest.json",
            '{"warnings": [1, 2, 3, 4, 5]}',
            "warnings.3: Input should be an instance of str; and 2 ",
        ),
        ("pull.json", '{"complete": "yes"}', "complete: Input should be a valid boolean"),
        (
            "metrics.json",
            '{"functions": {"f": {"Errors": "none"}}}',
            "functions.f.Errors: Input should be a valid",
        ),
        (
            "metrics.json",
            '{"functions": {"f": {"Errors": 1e999}}}',
            "functions.f.Errors: Input should be a finite",
        ),
        ("deployment.json", '{"account": 1000}', "account: Input should be"),
        ("tables_before.json", '{"tables": {"shops": [{"stock": 5}]}}', "tables.shops.1.record_type: Field required"),
    ],
)
def test_a_file_that_holds_something_else_is_named_with_what_to_do(
    tiny_run: RunDir, file: str, text: str, said: str
) -> None:
    tiny_run.file(file).write_text(text)
    result = call("analyze", str(tiny_run.path), "--no-pull")
    assert result.exit_code == errors.INCOMPLETE
    assert result.stderr.startswith(f"error: {tiny_run.file(file)} ")
    assert said in result.stderr
    assert "\nhint: " in result.stderr


@pytest.mark.parametrize("command", ["summary", "report", "cost"])
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("run", [], "run: Input should be a valid dictionary"),
        ("functions", {"place-vote": 7}, "functions.place-vote: Input should be a valid dictionary"),
        ("cost", {"items": [{"item": "kms_requests"}]}, "cost.items.1.quantity: Field required"),
    ],
)
def test_a_summary_that_holds_something_else_is_named(
    run: Path, command: str, key: str, value: object, said: str
) -> None:
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {key: value}))
    result = call(command, str(run))
    assert result.exit_code == errors.INCOMPLETE
    assert result.stderr.startswith(f"error: {run / 'summary.json'} is not what it should be: {said}")


def test_costs_of_what_has_no_price_here_are_named(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["cost"]["items"][0]["item"] = "qubits"
    (run / "summary.json").write_text(json.dumps(summary))
    result = call("cost", str(run))
    assert result.exit_code == errors.USAGE
    assert "has costs of qubits, which have no price here" in result.stderr


def test_what_an_earlier_version_did_not_know_may_be_absent(tiny_run: RunDir) -> None:
    """Of the files of a run only what figures are made of is asked for; unknown keys are nobody's trouble."""
    tiny_run.file("manifest.json").write_text('{"run_id": "old", "of_tomorrow": [{}], "workers": null}')
    for file in ("pull.json", "metrics.json", "tables_before.json"):
        tiny_run.file(file).write_text("{}")
    result = call("analyze", str(tiny_run.path), "--no-pull")
    assert result.stdout.startswith("Incomplete: ")
    assert "manifest.json does not say how the run ended" in result.stdout
