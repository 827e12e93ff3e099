"""`python -m control tune` as a user starts it, against a sandbox process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from config.aws import client
from config.settings import settings_from
from control.__main__ import main
from control.processes import ROOT
from control.temporary_versions.journal import open_journals

FUNCTION = "swarmscope-topic-consumer"
QUICK = ("--function", "topic-consumer", "--memory", "128,512")


@pytest.fixture(scope="module")
def environment(sandbox: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL": sandbox, "RUNS_DIR": str(tmp_path_factory.mktemp("runs")), "TARGET": "sandbox"}


@pytest.fixture(scope="module")
def tune(environment: dict[str, str]) -> Iterator[Any]:
    """The command, in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def run(*arguments: str, **variables: str) -> Result:
        return CliRunner().invoke(main, ["tune", *arguments], env=environment | variables)

    with chdir(environment["RUNS_DIR"]):
        yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def tuned(tune: Any) -> dict[str, Any]:
    """A whole run, on a sandbox that the stack is deployed into where it is not yet: its result."""
    done = tune(*QUICK, "--num", "16", "--format", "json")
    assert done.exit_code == 0, done.stderr
    return dict(json.loads(done.stdout))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "control", "tune", *arguments]


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return own | {"PYTHONPATH": str(ROOT)} | dict(environment)


@pytest.fixture(scope="module")
def lambda_client(environment: dict[str, str]) -> Any:
    return client(settings_from(environment), "lambda")


def state(lambda_client: Any) -> dict[str, Any]:
    versions = lambda_client.list_versions_by_function(FunctionName=FUNCTION)["Versions"]
    aliases = lambda_client.list_aliases(FunctionName=FUNCTION)["Aliases"]
    return {
        "memory": {one["Version"]: one["MemorySize"] for one in versions},
        "aliases": [one["Name"] for one in aliases],
    }


AS_DEPLOYED = {"memory": {"$LATEST": 128}, "aliases": []}


def test_a_run_measures_every_value_and_leaves_the_function_as_it_was(tuned, environment, lambda_client):
    assert [(one["memory_mb"], one["invocations"], one["failure"]) for one in tuned["values"]] == [
        (128, 16, None),
        (512, 16, None),
    ]
    assert all(one["warm"] + one["cold"]["invocations"] == 16 for one in tuned["values"])
    assert tuned["choice"]["memory_mb"] == 128
    assert state(lambda_client) == AS_DEPLOYED


def test_a_run_leaves_its_result_as_files(tuned, environment):
    directory = Path(environment["RUNS_DIR"]) / "tune" / tuned["run"]["id"]
    assert json.loads((directory / "tune.json").read_text()) == tuned
    assert (directory / "invocations.jsonl").read_text().count("\n") == 32
    assert (directory / "tune.md").read_text().startswith("## 128 MB by cost: ")
    assert "Plotly.newPlot" in (directory / "tune.html").read_text()


def test_what_a_killed_run_left_must_be_cleaned_before_the_next(tuned, tune, environment, lambda_client):
    """SIGKILL while it invokes; the sandbox's truth says what was there and what is."""
    runs = Path(environment["RUNS_DIR"])
    process = subprocess.Popen(
        command(*QUICK, "--num", "100000", "--rate", "20"),
        env=inherited(environment),
        cwd=runs,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while not any(path.stat().st_size for path in runs.glob("tune/*/invocations.jsonl") if _is_open(path)):
            assert time.monotonic() < end, "it never began to invoke"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    left = state(lambda_client)
    assert (sorted(left["memory"].values()), len(left["aliases"])) == ([128, 128, 512], 2)
    refused = tune(*QUICK)
    assert (refused.exit_code, "--clean" in refused.stderr) == (2, True)
    assert tune("--clean", "--dry-run").stdout.count("would take back") == 1
    cleaned = tune("--clean")
    assert (cleaned.exit_code, cleaned.stdout.count("deleted")) == (0, 4)
    assert state(lambda_client) == AS_DEPLOYED
    assert tune("--clean").stdout == "nothing was left\n"


def _is_open(rows: Path) -> bool:
    return rows.parent.name in {journal.found.run_id for journal in open_journals(rows.parents[1])}


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tuned, tune, environment, lambda_client):
    said = tune(*QUICK, "--apply", "--dry-run")
    assert (said.exit_code, "128, 512 MB" in said.stdout, "at most $" in said.stdout) == (0, True, True)
    assert state(lambda_client) == AS_DEPLOYED
    assert open_journals(Path(environment["RUNS_DIR"]) / "tune") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--function", "nope", "--payload", "event.json"), "FUNCTION: there is no nope in us-east-1"),
        ((*QUICK, "--num", "9", "--apply"), "nothing is chosen for --apply; NUM=15 does"),
        ((*QUICK, "--promote", "live"), "PROMOTE: swarmscope-topic-consumer has no alias 'live'"),
    ],
)
def test_what_is_wrong_is_told_by_its_variable_and_changes_nothing(
    tuned, tune, environment, arguments, message, lambda_client
):
    Path("event.json").write_text("{}")
    done = tune(*arguments)
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    assert state(lambda_client) == AS_DEPLOYED


def test_nothing_is_invoked_at_a_host_that_is_not_allowed(tune):
    variables = {"TARGET": "aws", "AWS_ENDPOINT_URL": "", "AWS_REGION": "eu-west-1", "ALLOWED_HOSTS": "api.example.com"}
    done = tune("--function", "mine", "--payload", "event.json", **variables)
    assert (done.exit_code, "ALLOWED_HOSTS: invoking at lambda.eu-west-1.amazonaws.com" in done.stderr) == (2, True)
