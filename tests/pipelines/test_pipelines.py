"""The pipeline files of examples/: what they call exists, what they publish is made, and exit codes are told apart."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from analysis.__main__ import main as analysis
from config.profile_files import load_profile
from control.__main__ import main as control

ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "examples" / "pipelines"
SCRIPT = PIPELINES / "load-test.sh"
FILES = [PIPELINES / name for name in ("github-actions.yml", "gitlab-ci.yml", "buildspec.yml")]
SCHEMA = json.loads((ROOT / "tests/fixtures/buildspec/buildspec.schema.json").read_text())

# Each command writes what it would, and ends as the test says.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >>calls
mkdir -p runs/now && ln -sfn now runs/latest
case "$*" in
  "-m control smoke") echo smoke >runs/now/summary.md; exit "$SMOKE" ;;
  "-m control load "*)
    echo junit >runs/now/junit.xml; echo summary >runs/now/summary.md; echo report >runs/now/report.html
    exit "$LOAD" ;;
  "-m analysis baseline "*) echo "{}" >results/baseline.json; exit "$STORED" ;;
  "-m analysis compare "*) echo compared; exit "$COMPARED" ;;
esac
"""


class Pipeline:
    """The script in an empty directory, with a Python that only pretends."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python = directory / "python"
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)

    def run(self, *, smoke: int = 0, load: int = 0, stored: int = 0, compared: int = 0) -> int:
        codes = {"SMOKE": smoke, "LOAD": load, "STORED": stored, "COMPARED": compared}
        environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(self.python)}
        environment |= {name: str(code) for name, code in codes.items()}
        done = subprocess.run(
            ["sh", str(SCRIPT)], cwd=self.directory, env=environment, capture_output=True, timeout=60, check=False
        )
        return done.returncode

    @property
    def calls(self) -> list[str]:
        return [" ".join(line.split()[1:3]) for line in (self.directory / "calls").read_text().splitlines()]

    @property
    def results(self) -> set[str]:
        return {path.name for path in (self.directory / "results").iterdir()}


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path)


@pytest.fixture
def compared(pipeline: Pipeline) -> Pipeline:
    (pipeline.directory / "load-baseline.json").write_text("{}")
    return pipeline


def test_all_well_is_0_and_everything_is_published(compared: Pipeline) -> None:
    assert compared.run() == 0
    assert compared.calls == ["control smoke", "control load", "analysis baseline", "analysis compare"]
    assert compared.results == {"junit.xml", "summary.md", "report.html", "baseline.json", "comparison.md"}


def test_without_a_baseline_there_is_one_to_commit(pipeline: Pipeline) -> None:
    assert pipeline.run() == 0
    assert pipeline.calls[-1] == "analysis baseline"
    assert "baseline.json" in pipeline.results


@pytest.mark.parametrize(
    ("exit_code", "published"), [(1, {"summary.md"}), (2, set()), (3, {"summary.md"}), (130, set())]
)
def test_after_a_smoke_run_that_failed_no_load_is_sent(compared: Pipeline, exit_code: int, published: set[str]) -> None:
    assert compared.run(smoke=exit_code) == exit_code
    assert compared.calls == ["control smoke"]
    assert compared.results == published


def test_a_broken_threshold_is_1_and_is_compared_all_the_same(compared: Pipeline) -> None:
    assert compared.run(load=1) == 1
    assert "comparison.md" in compared.results


def test_an_incomplete_run_is_3_is_published_and_measures_nothing(compared: Pipeline) -> None:
    assert compared.run(load=3) == 3
    assert compared.calls == ["control smoke", "control load"]
    assert compared.results == {"junit.xml", "summary.md", "report.html"}


@pytest.mark.parametrize("exit_code", [2, 130])
def test_without_a_run_nothing_is_published(compared: Pipeline, exit_code: int) -> None:
    assert compared.run(load=exit_code) == exit_code
    assert compared.results == set()


@pytest.mark.parametrize("exit_code", [1, 2, 3])
def test_a_comparison_that_does_not_hold_ends_as_it_did(compared: Pipeline, exit_code: int) -> None:
    assert compared.run(compared=exit_code) == exit_code
    assert compared.run(load=1, compared=exit_code) == 1


def test_what_an_earlier_run_left_is_not_published_again(compared: Pipeline) -> None:
    assert compared.run() == 0
    (compared.directory / "results" / "mine.txt").write_text("not the script's")
    assert compared.run(load=2) == 2
    assert compared.results == {"mine.txt"}


def test_a_baseline_that_cannot_be_stored_ends_as_it_did(compared: Pipeline) -> None:
    assert compared.run(stored=3) == 3


def options(group: click.Group, name: str) -> set[str]:
    command = group.get_command(click.Context(group), name)
    assert command is not None, name
    return {option for param in command.params if isinstance(param, click.Option) for option in param.opts}


def test_every_command_of_the_script_exists_with_its_options() -> None:
    groups = {"control": control, "analysis": analysis}
    joined = SCRIPT.read_text().replace("\\\n", " ")
    called = re.findall(r'^ *"\$python" -m (\w+) (\w+)(.*)$', joined, re.MULTILINE)
    assert [name for _, name, _ in called] == ["smoke", "load", "baseline", "compare"]
    for package, name, rest in called:
        assert set(re.findall(r"--[a-z-]+", rest)) <= options(groups[package], name), name


def test_the_profile_can_be_run() -> None:
    profile = load_profile(str(PIPELINES / "profile.toml"))
    assert profile.thresholds and sum(stage.duration_s for stage in profile.stages) <= 60


def shell_lines(document: Any) -> list[str]:
    """Everything that a pipeline hands to a shell."""
    if isinstance(document, list):
        return [line for one in document for line in shell_lines(one)]
    if not isinstance(document, dict):
        return []
    lines: list[str] = []
    for key, value in document.items():
        if key in ("run", "script", "before_script", "commands", "finally"):
            texts = value if isinstance(value, list) else [value]
            lines += [line for text in texts for line in text.splitlines()]
        else:
            lines += shell_lines(value)
    return lines


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_pipeline_installs_and_runs_the_script_with_what_it_installed(path: Path) -> None:
    lines = shell_lines(yaml.safe_load(path.read_text()))
    assert "sh examples/pipelines/load-test.sh" in lines
    assert "python3 -m venv .venv" in lines
    assert [line for line in lines if re.fullmatch(r"\.venv/bin/python -m pip install .*-r requirements\.txt", line)]
    named = [name for line in lines for name in re.findall(r"[\w/-]+\.(?:sh|txt|toml)\b", line)]
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_each_publishes_the_junit_file_and_the_markdown_that_the_script_makes() -> None:
    github, gitlab, codebuild = (yaml.safe_load(path.read_text()) for path in FILES)
    steps = github["jobs"]["load-test"]["steps"]
    assert any(step.get("with", {}).get("report_paths") == "results/junit.xml" for step in steps)
    assert any('results/*.md >>"$GITHUB_STEP_SUMMARY"' in step.get("run", "") for step in steps)
    assert all(step.get("if") == "always()" for step in steps[steps.index(_script_step(steps)) + 1 :])
    artifacts = gitlab["load-test"]["artifacts"]
    assert (artifacts["when"], artifacts["paths"]) == ("always", ["results/"])
    assert artifacts["reports"]["junit"] == "results/junit.xml"
    report = codebuild["reports"]["load-test"]
    assert (report["base-directory"], report["files"], report["file-format"]) == ("results", ["junit.xml"], "JUNITXML")
    assert codebuild["artifacts"] == {"base-directory": "results", "files": ["**/*"]}


def _script_step(steps: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [step for step in steps if step.get("run") == "sh examples/pipelines/load-test.sh"]
    return found


BREAKAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a phase that there is not": lambda spec: spec["phases"].update(test={"commands": ["true"]}),
    "a phase without commands": lambda spec: spec["phases"]["build"].pop("commands"),
    "a key that there is not": lambda spec: spec["phases"]["build"].update(script=["true"]),
    "a report format that there is not": lambda spec: spec["reports"]["load-test"].update({"file-format": "JUNIT"}),
    "a report without files": lambda spec: spec["reports"]["load-test"].pop("files"),
    "no version": lambda spec: spec.pop("version"),
    "a variable that is no text": lambda spec: spec["env"]["variables"].update(WITHIN=10),
}


@pytest.mark.parametrize("what", BREAKAGES)
def test_a_buildspec_that_codebuild_would_refuse_is_refused(what: str) -> None:
    spec = yaml.safe_load((PIPELINES / "buildspec.yml").read_text())
    jsonschema.validate(spec, SCHEMA)
    broken = copy.deepcopy(spec)
    BREAKAGES[what](broken)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)
