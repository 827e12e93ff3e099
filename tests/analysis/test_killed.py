"""An analysis that is killed leaves nothing to be taken for more than it is, and the next one clears up after it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from analysis import compare, pipeline, pull, report
from analysis.__main__ import main
from analysis.errors import UsageError
from analysis.evidence import Evidence
from analysis.puller import Progress, Reading
from analysis.run_facts import RunFacts
from analysis.workplace import at_work_in, clear
from runstore.rundir import RunDir

SUMMARY = Path(__file__).parent / "golden" / "summary.json"
RESULTS = ("joined.parquet", "unjoined.csv", "summary.json", "report.html", "summary.md", "junit.xml")


class KilledError(BaseException):
    """The process is gone: nothing of it runs any more."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], bool]:
    """Do some work by a process that is gone before its n-th change of a file's name; -> whether it came so far."""
    left: list[int] = []

    def mortal(change: Callable[..., Any]) -> Callable[..., Any]:
        def changing(*arguments: Any, **options: Any) -> Any:
            if left:
                if left[0] == 0:
                    raise KilledError
                left[0] -= 1
            return change(*arguments, **options)

        return changing

    monkeypatch.setattr(Path, "replace", mortal(Path.replace))
    monkeypatch.setattr(Path, "unlink", mortal(Path.unlink))

    def run(step: int, work: Callable[[], object]) -> bool:
        left.append(step)
        try:
            work()
        except KilledError:
            return True
        finally:
            left.clear()
        return False

    return run


def count_only(run_id: str, facts: RunFacts, evidence: Evidence, *_: object) -> dict[str, Any]:
    """A summary."""
    return {"client": {"requests": evidence.db.execute("FROM requests SELECT count(*)").fetchall()[0][0]}}


def rows_only(db: duckdb.DuckDBPyConnection, file: Path) -> None:
    """A table."""
    db.execute(f"COPY (SELECT seq FROM requests) TO '{file}' (FORMAT parquet)")


def test_tables_and_summary_belong_together_wherever_it_is_killed(tiny_run, killed_at, monkeypatch):
    """One worker's rows are analysed, then both."""
    monkeypatch.setattr(pipeline, "build_summary", count_only)
    monkeypatch.setattr(pipeline, "join", lambda evidence, file: rows_only(evidence.db, file))
    monkeypatch.setattr(pipeline, "write_unjoined", rows_only)
    other = tiny_run.file("requests-1.csv")
    rows = other.read_text()
    other.write_text(rows.splitlines()[0] + "\n")
    before = pipeline.explain(tiny_run)["client"]["requests"]
    for name in RESULTS[3:]:
        tiny_run.write_text(name, "of one worker's rows")
    other.write_text(rows)
    step = 0
    while killed_at(step, lambda: pipeline.explain(tiny_run)):
        joined = duckdb.read_parquet(str(tiny_run.file("joined.parquet"))).count("*").fetchall()[0][0]
        if tiny_run.file("summary.json").exists():
            assert json.loads(tiny_run.file("summary.json").read_text())["client"]["requests"] == joined == before
        else:
            told = CliRunner().invoke(main, ["summary", str(tiny_run.path)])
            assert (told.exit_code, "analyse it first" in told.stderr) == (2, True)
        shown = {tiny_run.file(name).read_text() for name in RESULTS[3:] if tiny_run.file(name).exists()}
        assert shown <= {"of one worker's rows"}
        assert not (shown and joined != before)
        step += 1
    assert step == 7
    assert json.loads(tiny_run.file("summary.json").read_text())["client"]["requests"] > before


def test_what_shows_it_is_written_whole_or_not_at_all(tiny_run, killed_at, monkeypatch):
    monkeypatch.setattr(report, "render", lambda *_: "a page")
    summary = json.loads(SUMMARY.read_text())
    for name in RESULTS[3:]:
        tiny_run.write_text(name, "as it was")
    for step, name in enumerate(RESULTS[3:]):
        assert killed_at(step, lambda: report.write_all(tiny_run, summary))
        assert tiny_run.file(name).read_text() == "as it was"
    assert not killed_at(3, lambda: report.write_all(tiny_run, summary))
    assert tiny_run.file("report.html").read_text() == "a page"


def test_half_rewritten_tables_are_not_those_of_the_pull_before(tiny_run, killed_at):
    assert tiny_run.file("pull.json").exists()
    nothing = Reading([], [], [], Progress(), 0.0, 0.0)
    assert killed_at(3, lambda: pull.write_tables(tiny_run.path, nothing, None))
    assert not tiny_run.file("pull.json").exists()


def test_what_a_killed_one_left_unfinished_goes_with_the_next(tiny_run):
    leave_behind(tiny_run)
    mine = {path.name for path in tiny_run.path.iterdir() if not path.name.startswith(".")}
    with at_work_in(tiny_run):
        assert {path.name for path in tiny_run.path.iterdir()} == mine | {".manifest.json.partial"}
        assert [path.name for path in tiny_run.file("pull").iterdir()] == ["events-1-2.parquet"]


def test_what_another_is_working_with_stays(tiny_run):
    leave_behind(tiny_run)
    before = sorted(tiny_run.path.rglob("*"))
    with at_work_in(tiny_run), at_work_in(tiny_run):
        leave_behind(tiny_run)
        with at_work_in(tiny_run):
            assert sorted(tiny_run.path.rglob("*")) == before


def test_runs_are_cleared_without_being_analysed_but_for_those_that_one_is_at_work_in(tiny_run):
    leave_behind(tiny_run)
    runs = tiny_run.path.parent
    (runs / "latest").symlink_to(tiny_run.path.name)
    with at_work_in(tiny_run):
        leave_behind(tiny_run)
        assert clear(runs) == []
        assert tiny_run.file(".spill").exists()
    leave_behind(tiny_run)
    assert {path.name for path in clear(runs)} >= {".spill", ".joined.parquet.partial", "events-3-4.partial"}
    assert not tiny_run.file(".spill").exists()
    assert clear(runs / "there-is-none") == []


def test_a_run_is_free_once_nobody_is_at_work_any_more(tiny_run):
    with at_work_in(tiny_run):
        pass
    directory = os.open(tiny_run.path, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(directory)


def leave_behind(run: RunDir) -> None:
    """What a SIGKILL leaves, some results, and a file of the load generator's that is none of our business."""
    for folder in (".requests-abc", ".spill", "pull"):
        run.file(folder).mkdir(exist_ok=True)
    for name in (
        ".requests-abc/requests.parquet",
        ".spill/duckdb_temp_storage.tmp",
        ".joined.parquet.partial",
        ".unjoined.csv.partial",
        ".invocations.parquet.ordinary",
        "pull/events-3-4.partial",
        "pull/events-1-2.parquet",
        ".manifest.json.partial",
    ):
        run.file(name).touch()


def test_a_baseline_takes_the_place_of_the_one_before(tmp_path):
    file = tmp_path / "baseline.json"
    compare._write(file, "as it was")
    compare._write(Path("/dev/null"), "nothing is moved to where a device is")
    compare._write(file, "anew")
    assert file.read_text() == "anew"
    with pytest.raises(UsageError, match="No such file"):
        compare._write(tmp_path / "no" / "such", "")
    assert [path.name for path in tmp_path.iterdir()] == ["baseline.json"]
