"""Each profile that is shipped, run small against a sandbox: every count of its summary equals the truth.

The runs are not part of `make test`, for they take minutes: `make test-profiles`. Load is scaled down so that any
machine keeps up with it, and time so that the shortest stage is a second; waits that take minutes on AWS are shortened.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.truth import compare
from config.profile_files import PROFILES_DIR
from control.processes import ROOT
from control.sandbox_process import SandboxProcess
from runstore.rundir import RunDir

MODEL = """
[logs]
ingestion_lag_s = 0.5

[lambda]
async_retry_waits_s = [0.5, 1.0]
async_throttle_wait_s = 0.2
"""

SMALL: dict[str, dict[str, str]] = {
    "smoke": {},
    "perf": {"MESSAGES": "10"},
    "demo": {"SCALE": "0.1", "TIME_SCALE": "0.2", "WORKERS": "2"},
    "vote-stress": {"SCALE": "0.1", "TIME_SCALE": "0.015"},
    "vote-10k": {"SCALE": "0.05", "TIME_SCALE": "0.015", "WORKERS": "2"},
    "api-stages": {"SCALE": "0.1", "TIME_SCALE": "0.02"},
    "direct-stages": {"SCALE": "0.2", "TIME_SCALE": "0.02"},
    "burst": {"SCALE": "0.5", "TIME_SCALE": "0.1"},
    "events-constant": {"SCALE": "0.3", "TIME_SCALE": "0.015"},
    "dead-letters": {"SCALE": "0.5", "TIME_SCALE": "0.08"},
    "soak": {"SCALE": "0.3", "TIME_SCALE": "0.01"},
    "breakpoint": {"SCALE": "1", "TIME_SCALE": "0.1"},
}
"""Profile -> the variables that make it small."""


def test_every_profile_that_is_shipped_is_here() -> None:
    assert set(SMALL) == {file.stem for file in PROFILES_DIR.glob("*.toml")}


def control(folder: Path, endpoint: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "PYTHONPATH": str(ROOT),
        "RUNS_DIR": str(folder / "runs"),
        "AWS_ENDPOINT_URL": endpoint,
        "SEED": "1",
        **variables,
    }
    command = [sys.executable, "-m", "control", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    """One for each run: CloudWatch counts by the minute, in which there must be no other."""
    (tmp_path / "model.toml").write_text(MODEL)
    running = SandboxProcess.start(tmp_path / "sandbox.log", ["--seed", "1", "--model", str(tmp_path / "model.toml")])
    try:
        short = ("--parameter", "QueueVisibilityTimeout=2", "--parameter", "ConsumerTimeout=1")
        deployed = control(tmp_path, running.endpoint, "deploy", *short)
        assert deployed.returncode == 0, deployed.stderr
        yield running
    finally:
        running.stop()


@pytest.mark.profiles
@pytest.mark.timeout(400)
def test_provisioned_concurrency_is_compared_under_the_burst(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Three arms of the shipped profile, each a run whose counts are the truth's, and nothing is left."""
    command = ("provisioned", "--function", "place-vote", "--concurrency", "40", "--warmer", "--format", "json")
    done = control(tmp_path, sandbox.endpoint, *command, TIME_SCALE="0.1")
    assert done.returncode == 0, done.stderr
    compared = json.loads(done.stdout)
    plain, warmer, provisioned = compared["arms"]
    assert [arm["arm"] for arm in compared["arms"]] == ["plain", "warmer", "provisioned"]
    # A tenth of burst's 14,500 arrivals, the same in each.
    assert {arm["requests"] for arm in compared["arms"]} == {plain["requests"]}
    assert plain["requests"] == pytest.approx(1450, abs=2)
    assert plain["cold_starts"] > provisioned["cold_starts"] == provisioned["on_demand"] == 0
    assert provisioned["spillover"] == 0
    assert (warmer["warmer_invocations"], warmer["warmer_failures"]) == (40, 0)
    assert provisioned["cost"]["standing_usd_per_hour"] > warmer["cost"]["standing_usd_per_hour"] > 0
    for arm in compared["arms"]:
        run = RunDir(tmp_path / "runs" / arm["run_id"])
        summary = json.loads(run.file("summary.json").read_text())
        assert [one for one in compare(summary, json.loads(run.file("truth.json").read_text())) if not one.equal] == []
        assert {one["verdict"] for one in summary["thresholds"]} == {"pass"}
    cleaned = control(tmp_path, sandbox.endpoint, "provisioned", "--clean")
    assert (cleaned.returncode, cleaned.stdout) == (0, "nothing was left\n")


@pytest.mark.profiles
@pytest.mark.timeout(400)
@pytest.mark.parametrize("profile", SMALL)
def test_summary_and_truth_are_equal(profile: str, sandbox: SandboxProcess, tmp_path: Path) -> None:
    done = control(tmp_path, sandbox.endpoint, "load", "--load-profile", profile, **SMALL[profile])
    run = RunDir((tmp_path / "runs" / "latest").resolve())
    assert run.file("summary.json").exists(), done.stderr
    summary = json.loads(run.file("summary.json").read_text())
    truth = json.loads(run.file("truth.json").read_text())
    assert [one for one in compare(summary, truth) if not one.equal] == [], done.stdout + done.stderr
    assert truth["pending"] == 0
    assert summary["run"]["complete"] is True, summary["run"]["warnings"]
    assert summary["client"]["requests"] > 0
