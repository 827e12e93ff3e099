"""Runs that end while Locust goes on: completed, settled and analysed one after another, each with its own truth."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.table_snapshot import AFTER, BEFORE
from control.errors import ProcessError
from control.run_watch import RunWatch
from runstore.analysis_state import ENDED, WAITING, read_state
from runstore.rundir import COMPLETE, RUNNING, RunDir


class FakeAnalysis:
    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.stopped = 0

    def stop(self) -> None:
        self.stopped += 1


class Scene:
    """A runs directory, a sandbox and analyses, all under the test's control."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.now = 1000.0
        self.truth: dict[str, Any] = {"api": {"requests": 7}, "pending": 0}
        self.analyses: dict[str, FakeAnalysis] = {}
        self.told: list[str] = []
        self.watch = self.new_watch(lambda: self.truth)

    def new_watch(self, read_truth: Callable[[], dict[str, Any]] | None) -> RunWatch:
        return RunWatch(
            self.runs,
            complete=lambda run: run.update_manifest(completed=True),
            analyse=self._analyse,
            read_truth=read_truth,
            truth={"api": {"requests": 5}, "pending": 0},
            tables={"taken_at": 1.0, "tables": {}},
            settle_limit_s=lambda run: 30.0,
            tell=self.told.append,
            clock=lambda: self.now,
        )

    def _analyse(self, run: RunDir) -> FakeAnalysis:
        return self.analyses.setdefault(run.run_id, FakeAnalysis())

    def begin(self, run_id: str) -> RunDir:
        run = RunDir(self.runs / run_id)
        run.path.mkdir()
        run.update_manifest(state=RUNNING)
        return run

    def end(self, run: RunDir) -> None:
        run.update_manifest(state=COMPLETE)

    def analysed(self, run: RunDir, exit_code: int = 0, *, takes_tables: bool = True) -> None:
        """The run's analysis ends."""
        if takes_tables:
            run.write_json(AFTER, {"taken_at": self.now, "tables": {"shops": [{"run": run.run_id}]}})
        self.analyses[run.run_id].exit_code = exit_code
        self.step()

    def step(self, count: int = 3) -> None:
        for _ in range(count):
            self.watch.step()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def read(run: RunDir, name: str) -> Any:
    return json.loads(run.file(name).read_text())


def test_a_run_that_goes_on_is_left_alone(scene):
    run = scene.begin("1")
    scene.step()
    assert (scene.analyses, "completed" in run.read_manifest()) == ({}, False)


def test_a_run_that_has_ended_is_completed_and_analysed(scene):
    run = scene.begin("1")
    scene.end(run)
    scene.step()
    assert run.read_manifest()["completed"]
    assert read(run, "truth.json") == {"api": {"requests": 2}, "pending": 0}
    assert read(run, BEFORE)["taken_at"] == 1.0
    scene.analysed(run, 1)
    assert (scene.watch.exit_codes, scene.analyses["1"].stopped) == ([1], 1)
    state = read_state(run)
    assert (state.state, state.exit_code, state.message) == (ENDED, 1, "a threshold failed")


def test_deliveries_on_their_way_are_waited_for(scene):
    run = scene.begin("1")
    scene.end(run)
    scene.truth = {"api": {"requests": 7}, "pending": 3}
    scene.step()
    assert (read_state(run).state, scene.analyses) == (WAITING, {})
    scene.truth = {"api": {"requests": 8}, "pending": 0}
    scene.step()
    assert read(run, "truth.json")["api"] == {"requests": 3}
    assert run.read_manifest()["settled_at"] == 1000.0


def test_at_the_deadline_the_truth_is_kept_as_it_stands(scene):
    run = scene.begin("1")
    scene.end(run)
    scene.truth = {"api": {"requests": 7}, "pending": 3}
    scene.step()
    scene.now += 31
    scene.step()
    assert read(run, "truth.json")["pending"] == 3
    manifest = run.read_manifest()
    assert "settled_at" not in manifest
    (warning,) = manifest["warnings"]
    assert warning.startswith("3 deliveries or retries were still on the way 31 s after the run: ")
    assert "1" in scene.analyses


def test_the_second_run_gets_what_happened_after_the_first(scene):
    first = scene.begin("1")
    scene.end(first)
    scene.step()
    scene.analysed(first)
    second = scene.begin("2")
    scene.truth = {"api": {"requests": 107}, "pending": 0}
    scene.end(second)
    scene.step()
    assert read(second, "truth.json")["api"] == {"requests": 100}
    assert read(second, BEFORE)["tables"] == {"shops": [{"run": "1"}]}


def test_runs_whose_deliveries_mix_have_no_truth_and_the_next_one_has(scene):
    first = scene.begin("1")
    scene.end(first)
    scene.truth = {"api": {"requests": 7}, "pending": 3}
    scene.step()
    second = scene.begin("2")
    scene.step()
    scene.analysed(first)
    scene.truth = {"api": {"requests": 10}, "pending": 0}
    scene.end(second)
    scene.step()
    scene.analysed(second)
    assert not any(run.file(name).exists() for run in (first, second) for name in ("truth.json", BEFORE))
    third = scene.begin("3")
    scene.truth = {"api": {"requests": 11}, "pending": 0}
    scene.end(third)
    scene.step()
    assert read(third, "truth.json")["api"] == {"requests": 1}
    assert read(third, BEFORE)["tables"] == {"shops": [{"run": "2"}]}


def test_tables_are_not_compared_once_another_run_changes_them(scene):
    first = scene.begin("1")
    scene.end(first)
    scene.step()
    assert first.file(BEFORE).exists()
    second = scene.begin("2")
    scene.step()
    assert not first.file(BEFORE).exists()
    scene.analysed(first, takes_tables=False)
    scene.end(second)
    scene.step()
    assert not second.file(BEFORE).exists()


def test_a_sandbox_that_went_away_is_a_warning(tmp_path):
    def gone() -> dict[str, Any]:
        raise ProcessError("the sandbox is gone")

    scene = Scene(tmp_path)
    scene.watch = scene.new_watch(gone)
    run = scene.begin("1")
    scene.end(run)
    scene.step()
    assert run.read_manifest()["warnings"] == ["the sandbox is gone"]
    assert "1" in scene.analyses


def test_a_run_whose_locust_was_killed_is_analysed_in_the_end(scene):
    run = scene.begin("1")
    pauses = []

    def pause() -> None:
        pauses.append(1)
        if len(pauses) == 2:
            scene.analyses["1"].exit_code = -9

    scene.watch.finish(pause)
    assert (scene.watch.exit_codes, run.read_manifest()["completed"]) == ([3], True)


def test_a_run_that_cannot_be_written_to_does_not_end_the_others(scene):
    first = scene.begin("1")
    scene.end(first)
    scene.step(1)
    shutil.rmtree(first.path)
    scene.analyses["1"].exit_code = 0
    scene.step()
    assert scene.told[0].startswith("run 1 could not be analysed: ")
    second = scene.begin("2")
    scene.end(second)
    scene.step()
    scene.analysed(second)
    assert scene.watch.exit_codes == [3, 0]


def test_runs_of_before_are_nobodys_business(tmp_path):
    Scene(tmp_path).end(Scene(tmp_path).begin("0"))
    scene = Scene(tmp_path)
    scene.watch.finish(lambda: None)
    assert (scene.watch.exit_codes, scene.analyses) == ([], {})


def test_what_still_runs_is_stopped_on_the_way_out(scene):
    run = scene.begin("1")
    scene.end(run)
    scene.step()
    scene.watch.close()
    assert scene.analyses["1"].stopped == 1
