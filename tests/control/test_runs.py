"""Whole runs, as a user starts them: real processes on loopback, in a directory of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from config.settings import is_loopback
from control.processes import ROOT
from control.sandbox_process import is_sandbox
from runstore.rundir import RunDir
from tests.ports import NOBODY

pytestmark = pytest.mark.timeout(600)  # several processes one after another, on a machine that may be slow

VARIABLES_OF_OURS = ("TARGET", "STACK_NAME", "PROFILE", "FLOW", "SCALE", "TIME_SCALE", "API_BASE_URL", "RUN_ID")

LONG_PROFILE = """
description = "two users who would go on for ten minutes"
flows = ["vote"]
model = "closed"
think_time = "0.1s"
[[stages]]
duration = "600s"
users = 2
spawn_rate = 2
"""

SETTINGS_FOR_AWS = """
API_BASE_URL=https://api.example.com/prod
VOTE_FUNCTION=mine
SHOP_PUBLIC_KEY=bm8=
LOG_GROUPS=/mine
AWS_PROFILE=none
"""


def own_environment(folder: Path) -> dict[str, str]:
    """What a run gets: nothing of the developer's own settings or accounts, and no sandbox on the usual port."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and k not in VARIABLES_OF_OURS}
    return own | {
        "PYTHONPATH": str(ROOT),
        "RUNS_DIR": str(folder / "runs"),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{NOBODY}",
    }


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return own_environment(tmp_path)


def control(*arguments: str, cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "control", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=dict(environment), capture_output=True, text=True, timeout=200, check=False
    )


def the_run(environment: Mapping[str, str]) -> RunDir:
    return RunDir((Path(environment["RUNS_DIR"]) / "latest").resolve())


def await_rows(runs: Path, limit_s: float = 60.0) -> RunDir:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        for rows in runs.glob("2*/requests-*.csv"):
            if rows.read_bytes().count(b"\n") > 5:
                return RunDir(rows.parent)
        time.sleep(0.1)
    raise AssertionError("the run never got going")


@pytest.fixture(scope="module")
def smoked(tmp_path_factory: pytest.TempPathFactory, sandbox: str) -> tuple[subprocess.CompletedProcess[str], RunDir]:
    """The second of two smoke tests on one sandbox."""
    folder = tmp_path_factory.mktemp("smoke")
    environment = own_environment(folder) | {"AWS_ENDPOINT_URL": sandbox}
    control("smoke", cwd=folder, environment=environment)
    return control("smoke", cwd=folder, environment=environment), the_run(environment)


def test_a_smoke_message_arrives(smoked):
    done, _ = smoked
    assert (done.returncode, done.stderr[-500:]) == (0, done.stderr[-500:])
    assert done.stdout.startswith("arrived: table swarmscope-shops")


def test_the_manifest_names_what_the_analysis_needs(smoked):
    manifest = smoked[1].read_manifest()
    assert manifest["functions"]["shop-update-db"] == "swarmscope-shop-update-db"
    assert manifest["log_groups"]["shop-accept"] == "/aws/lambda/swarmscope-shop-accept"
    assert manifest["access_log_group"] == "/aws/apigateway/swarmscope-access"
    assert manifest["settled_at"] > manifest["ended_at"]


def test_the_truth_of_a_run_leaves_out_what_a_shared_sandbox_did_before(smoked):
    truth = json.loads(smoked[1].file("truth.json").read_text())
    assert truth["chains"]["shop"] == {"sent": 1, "accepted": 1, "completed": 1, "lost": 0, "duplicated": 0}


def test_the_stack_is_deployed_described_and_destroyed(tmp_path, environment, sandbox):
    environment |= {"AWS_ENDPOINT_URL": sandbox, "STACK_NAME": "other"}
    planned = control("deploy", "--dry-run", "--parameter", "ShardCount=2", cwd=tmp_path, environment=environment)
    assert planned.stdout.startswith("would create stack other")
    deployed = control("deploy", "--parameter", "ShardCount=2", cwd=tmp_path, environment=environment)
    assert (deployed.returncode, "other-votes" in deployed.stdout) == (0, True)
    assert f" {sandbox}/restapis/" in deployed.stdout
    destroyed = control("destroy", cwd=tmp_path, environment=environment)
    assert "deleted stack other" in destroyed.stdout
    assert (
        control("destroy", cwd=tmp_path, environment=environment).stdout
        == "there is no stack other, and no bucket of it\n"
    )


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run that was interrupted, and a second one that was tried meanwhile; looked at from several sides."""
    folder = tmp_path_factory.mktemp("interrupted")
    (folder / "long.toml").write_text(LONG_PROFILE)
    (folder / ".env").write_text(SETTINGS_FOR_AWS)
    environment = own_environment(folder)
    command = [sys.executable, "-m", "control", "load", "--load-profile", "long.toml", "--workers", "1"]
    with (folder / "out").open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)
        try:
            run = await_rows(folder / "runs")
            second = control("load", "--load-profile", "long.toml", cwd=folder, environment=environment)
            process.send_signal(signal.SIGINT)
            exit_code = process.wait(120)
        finally:
            process.kill()
    # Looked at now: later its port may be that of another test's sandbox.
    sandbox_there = is_sandbox(run.read_manifest()["endpoint_url"])
    out = (folder / "out").read_text()
    return {"exit_code": exit_code, "second": second, "run": run, "out": out, "sandbox_there": sandbox_there}


def test_an_interrupted_run_ends_with_130(interrupted):
    assert interrupted["exit_code"] == 130, interrupted["out"][-2000:]


def test_an_interrupted_run_is_analysed_and_marked_incomplete(interrupted):
    summary = json.loads(interrupted["run"].file("summary.json").read_text())
    assert summary["run"]["complete"] is False
    assert summary["client"]["requests"] > 0
    assert summary["join"]["matched"] == summary["client"]["requests"]


def test_the_sandbox_of_an_interrupted_run_is_gone(interrupted):
    assert interrupted["sandbox_there"] is False


def test_settings_for_aws_in_env_file_do_not_reach_a_sandbox_of_its_own(interrupted):
    manifest = interrupted["run"].read_manifest()
    assert manifest["functions"]["place-vote"] == "swarmscope-place-vote"
    assert manifest["log_groups"]["place-vote"] == "/aws/lambda/swarmscope-place-vote"
    assert is_loopback(urlsplit(manifest["api_base_url"]).hostname)


def test_a_second_run_beside_the_first_is_refused_naming_it(interrupted):
    assert interrupted["second"].returncode == 2
    assert interrupted["run"].run_id in interrupted["second"].stderr


def test_every_mistake_is_reported_at_once_before_anything_starts(tmp_path, environment):
    environment |= {"SCALE": "lots", "MAX_USERS": "none"}
    done = control("load", "--load-profile", "nope", "--workers", "-1", cwd=tmp_path, environment=environment)
    assert done.returncode == 2
    problems = [line.split(":")[1].strip() for line in done.stderr.splitlines()]
    assert problems == ["MAX_USERS", "SCALE", "WORKERS", "PROFILE"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["deploy", "destroy"])
def test_without_a_sandbox_there_is_nothing_to_deploy_to(tmp_path, environment, command):
    done = control(command, cwd=tmp_path, environment=environment)
    assert done.returncode == 2
    assert "make sandbox" in done.stderr


def test_load_never_leaves_this_machine_with_the_sandbox_as_target(tmp_path, environment, sandbox):
    environment |= {"AWS_ENDPOINT_URL": sandbox, "API_BASE_URL": "https://api.example.com/prod"}
    done = control("smoke", cwd=tmp_path, environment=environment)
    assert done.returncode == 2
    assert "ALLOWED_HOSTS: load to api.example.com is not allowed" in done.stderr


def test_an_api_that_is_not_reachable_is_named(tmp_path, environment, sandbox):
    environment |= {"AWS_ENDPOINT_URL": sandbox, "API_BASE_URL": f"http://127.0.0.1:{NOBODY}/prod"}
    done = control("smoke", cwd=tmp_path, environment=environment)
    assert done.returncode == 2
    assert "API_BASE_URL: nothing answers" in done.stderr


def test_a_stack_that_is_not_in_this_region_leaves_its_variables_missing(tmp_path, environment, sandbox):
    environment |= {
        "TARGET": "emulator",
        "AWS_ENDPOINT_URL": sandbox,
        "AWS_REGION": "eu-west-1",
        "STACK_NAME": "elsewhere",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    done = control("load", "--load-profile", "demo", cwd=tmp_path, environment=environment)
    assert done.returncode == 2
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [
        "API_BASE_URL",
        "SHOP_PUBLIC_KEY",
        "VOTE_FUNCTION",
    ]
    assert "there is no stack elsewhere in eu-west-1" in done.stderr
