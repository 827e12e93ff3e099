"""`python -m control provisioned` as a process that is ended while Locust puts load on the provisioned arm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from config.aws import client
from config.settings import settings_from
from control.__main__ import main
from control.processes import ROOT
from control.target import known_resources
from control.temporary_versions.journal import open_journals
from tests.control.test_processes import is_alive, until

NAME = "swarmscope-place-vote"
LOCUST = "import os, sys, time; open(os.environ['STARTED'], 'w').write(str(os.getpid())); time.sleep(600)"
COMMAND = f"""
from control import locust_process
from control.provisioned import experiment
locust_process.command = lambda *options: [{sys.executable!r}, "-c", {LOCUST!r}]
experiment.ARMS = ("provisioned",)
from control.__main__ import main
main(["provisioned", "--function", "place-vote", "--concurrency", "1"])
"""
"""The command with but one arm, and a Locust that never ends."""


def state(functions: Any) -> Any:
    configs = functions.list_provisioned_concurrency_configs(FunctionName=NAME)["ProvisionedConcurrencyConfigs"]
    return (
        functions.get_function_configuration(FunctionName=NAME)["Description"],
        [one["Name"] for one in functions.list_aliases(FunctionName=NAME)["Aliases"]],
        [one["Version"] for one in functions.list_versions_by_function(FunctionName=NAME)["Versions"]],
        [one["Status"] for one in configs],
    )


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_ended_while_locust_runs_it_leaves_nothing_that_is_not_taken_back(sandbox, tmp_path, ending):
    variables = {"AWS_ENDPOINT_URL": sandbox, "RUNS_DIR": str(tmp_path / "runs"), "TARGET": "sandbox"}
    settings = settings_from(variables)
    known_resources(settings, lambda line: None)
    functions = client(settings, "lambda")
    before = state(functions)
    (tmp_path / "tmp").mkdir()
    started = tmp_path / "started"
    own = {"STARTED": str(started), "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | variables | own
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            until(lambda: process.poll() is not None or (started.exists() and started.read_text()), limit_s=60)
            going = state(functions)
            process.send_signal(ending)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (going[1][0].endswith("-provisioned"), len(going[2]), going[3]) == (True, 2, ["READY"]), said
    until(lambda: not is_alive(int(started.read_text())))
    until(lambda: not list((tmp_path / "tmp").iterdir()))
    if ending == signal.SIGINT:
        assert (process.returncode, said.splitlines()[-1]) == (130, "interrupted")
    else:
        assert (process.returncode, len(open_journals(tmp_path / "runs" / "provisioned"))) == (-9, 1)
        cleaned = CliRunner().invoke(main, ["provisioned", "--clean"], env=variables)
        assert (cleaned.exit_code, cleaned.stdout.count("deleted")) == (0, 3), cleaned.output
    assert open_journals(tmp_path / "runs" / "provisioned") == []
    assert state(functions) == before
