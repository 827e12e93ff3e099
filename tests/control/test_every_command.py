"""What holds for every command, of `python -m control` and of `python -m analysis`: its help, that a dry run changes
nothing, and what it says of wrong names, missing permissions and expired credentials.

A command that is new fails here until the tables know it.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from analysis.__main__ import main as analysis
from config.aws import client
from config.settings import Settings, settings_from
from control import target
from control.__main__ import main as control
from control.errors import ProcessError
from control.target import known_resources
from runstore.rundir import RunDir
from tests.ports import free_port

GROUPS: dict[str, click.Group] = {"control": control, "analysis": analysis}
COMMANDS = [(group, command) for group, main in GROUPS.items() for command in main.list_commands(click.Context(main))]
READING = {
    ("control", "policy"),
    ("control", "preflight"),
    *(("analysis", name) for name in ("baseline", "compare", "cost", "parse", "query", "statistics", "summary")),
}
"""They print, and change nothing; `baseline` writes a file where it is told to."""
CHANGING = [command for command in COMMANDS if command not in READING]
ENOUGH: dict[str, Sequence[str]] = {
    "alarms": ("create",),
    "master": ("--master-port", str(free_port())),
    "provisioned": ("--function", "place-vote"),
    "tune": ("--function", "topic-consumer", "--memory", "128", "--num", "1"),
    "ui": ("--web-port", str(free_port())),
}
"""What a command must be told to do its work."""
REQUESTS = Path(__file__).parents[1] / "fixtures" / "tiny_run" / "requests-0.csv"
GOLDEN = Path(__file__).parents[1] / "analysis" / "golden" / "summary.json"
_READS = re.compile(r"(Get|List|Describe|Head)[A-Z]|GET /")


@dataclass(frozen=True)
class World:
    """A sandbox with the stack, and a directory with a run that was analysed."""

    settings: Settings

    def run(self, group: str, *arguments: str, **variables: str) -> Result:
        environment = {
            "TARGET": "sandbox",
            "AWS_ENDPOINT_URL": str(self.settings.endpoint_url),
            "RUNS_DIR": str(self.settings.runs_dir),
        }
        return CliRunner().invoke(GROUPS[group], arguments, env=environment | variables)

    def tell(self, method: str, what: str, document: object = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.settings.endpoint_url}/_sandbox/{what}", body, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def called(self, work: Callable[[], object]) -> dict[str, str | None]:
        """Operation -> IAM action of all calls that the work makes."""
        before = self._counts()
        work()
        return {call[1]: call[3] for call, count in self._counts().items() if count > before.get(call, 0)}

    def _counts(self) -> dict[tuple[str, ...], int]:
        keys = ("service", "operation", "resource", "action")
        return {tuple(call[key] for key in keys): call["count"] for call in self.tell("GET", "calls")["calls"]}

    def files(self) -> dict[str, int]:
        """Everything in the runs directory but the lock, with the time of its last change."""
        return {
            str(path): path.lstat().st_mtime_ns for path in self.settings.runs_dir.rglob("*") if path.name != ".lock"
        }

    def function(self, name: str) -> Any:
        """What a command must leave as it was."""
        functions = client(self.settings, "lambda")
        configs = functions.list_provisioned_concurrency_configs(FunctionName=name)
        return (
            [one["Name"] for one in functions.list_aliases(FunctionName=name)["Aliases"]],
            [one["Version"] for one in functions.list_versions_by_function(FunctionName=name)["Versions"]],
            functions.get_function_configuration(FunctionName=name)["Description"],
            configs["ProvisionedConcurrencyConfigs"],
        )


@pytest.fixture(scope="module")
def world(sandbox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    runs = tmp_path_factory.mktemp("runs")
    settings = settings_from({"AWS_ENDPOINT_URL": sandbox, "RUNS_DIR": str(runs)})
    resources = known_resources(settings, lambda line: None)
    run = RunDir(runs / "20261121T100000Z-tiny")
    run.path.mkdir()
    run.update_manifest(**resources.manifest(), target="sandbox", started_at=1795255200.0, ended_at=1795255210.0)
    shutil.copy(GOLDEN, run.file("summary.json"))
    shutil.copy(REQUESTS, run.path)
    (runs / "latest").symlink_to(run.path.name)
    yield World(settings)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def faulty(world: World) -> Iterator[Callable[[object], None]]:
    yield lambda fault: world.tell("POST", "faults", fault)
    world.tell("DELETE", "faults")


@pytest.mark.parametrize(("group", "command"), COMMANDS)
def test_help_says_what_it_does(group, command):
    done = CliRunner().invoke(GROUPS[group], [command, "--help"])
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()[2].strip()) > 10
    undescribed = [line for line in done.stdout.splitlines() if re.fullmatch(r"  (-\w, )?--[\w-]+( [A-Z.=]+)?", line)]
    assert all(re.match(r" {10,}\S", follower) for follower in _followers(done.stdout, undescribed))


def _followers(text: str, lines: Sequence[str]) -> list[str]:
    """The line after each: a long option has its description there."""
    every = text.splitlines()
    return [every[every.index(line) + 1] for line in lines]


# -------------------------------------------------------------------- dry runs


@pytest.mark.parametrize(("group", "command"), CHANGING)
def test_a_dry_run_says_what_would_be_done_and_changes_nothing(world, group, command):
    files, done = world.files(), None

    def dry_run() -> None:
        nonlocal done
        done = world.run(group, command, *ENOUGH.get(command, ()), "--dry-run")

    called = world.called(dry_run)
    assert done is not None
    assert (done.exit_code, done.exception) == (0, None), done.output
    assert re.search(r"\bwould\b|nothing would change", done.stdout), done.output
    # Of a stack that is there CloudFormation says by a change set what would change.
    asks = {"CreateChangeSet", "DeleteChangeSet"} if command == "deploy" else set()
    assert [operation for operation in called if not _READS.match(operation)] == sorted(asks & called.keys())
    assert world.files() == files


@pytest.mark.parametrize(
    "arguments", [("preflight",), *((name, *ENOUGH[name], "--dry-run") for name in ("tune", "provisioned"))]
)
def test_who_only_looks_deploys_nothing_into_a_sandbox_of_somebodys(world, monkeypatch, arguments):
    def start(*_: object) -> None:
        raise ProcessError("a sandbox of its own")

    monkeypatch.setattr(target.SandboxProcess, "start", start)
    called = world.called(lambda: world.run("control", *arguments, "--stack-name", "nowhere"))
    assert called == {"DescribeStacks": "cloudformation:DescribeStacks"}
    done = world.run("control", *arguments, "--stack-name", "nowhere")
    assert (done.exit_code, "has no stack nowhere yet" in done.stderr) == (3, True), done.output
    assert "a sandbox of its own" in done.stderr


# -------------------------------------------------------------------- wrong names

EMULATOR = {"TARGET": "emulator", "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
"""As on AWS, a stack that is not there is not deployed."""
NO_STACK = "there is no stack nowhere in us-east-1"
WRONG: list[tuple[tuple[str, ...], dict[str, str], str]] = [
    (("control", "smoke", "--target", "azure"), {}, "TARGET: Input should be 'sandbox', 'aws' or 'emulator'"),
    (("control", "perf", "--messages", "many"), {}, "MESSAGES: 'many' is not a whole number"),
    (("control", "load", "--load-profile", "nope"), {}, "no profile 'nope'; there are api-stages"),
    (("control", "load", "--flows", "nope"), {}, "FLOW: 'nope': a comma-separated list of vote, shop"),
    (("control", "load", "--stack-name", "nowhere"), EMULATOR, NO_STACK),
    (("control", "ui", "--load-profile", "nope"), {}, "no profile 'nope'"),
    (("control", "master", "--load-profile", "nope"), {}, "no profile 'nope'"),
    (("control", "worker", "--master-host", "no host"), {}, "MASTER_HOST: there is no host"),
    (("control", "demo", "--scale", "much"), {}, "SCALE: 'much' is not a number"),
    (("control", "preflight", "--load-profile", "nope"), {}, "no profile 'nope'"),
    (("control", "deploy", "--parameter", "Shards=2"), {}, "--parameter Shards: the template has no such parameter"),
    (("control", "deploy", "--target", "azure"), {}, "TARGET: Input should be 'sandbox', 'aws' or 'emulator'"),
    (("control", "destroy", "--stack-name", "no/where"), {}, "STACK_NAME: "),
    (("control", "tune", "--function", "nope"), {}, "FUNCTION: there is no nope in us-east-1"),
    (("control", "provisioned", "--function", "nope"), {}, "nope is not what flow direct invokes"),
    (("control", "policy", "nope"), {}, "'nope' is not one of 'alarms', 'analysis'"),
    (("control", "alarms", "nope"), {}, "'nope' is not one of 'plan', 'create'"),
    (("control", "alarms", "create", "--stack-name", "nowhere"), {}, NO_STACK),
    *(
        (("analysis", name, *["nope"] * runs), {}, "no run 'nope'; newest runs in ")
        for name, runs in {
            **dict.fromkeys(("analyze", "baseline", "bins", "cost", "pull", "report", "statistics", "summary"), 1),
            "compare": 2,
        }.items()
    ),
    (("analysis", "query", "nope"), {}, "there is no query 'nope'\nhint: there are: billed, cold_starts"),
    (("analysis", "query", "errors", "--function", "nope"), {}, "no function nope\nhint: there are: place-vote"),
    (("analysis", "query", "errors"), {"STACK_NAME": "nowhere"}, "stack nowhere cannot be read"),
    (("analysis", "parse", "nope"), {}, "'nope': No such file or directory"),
    (("analysis", "cost", "--region", "nope"), {}, "there are no prices of region 'nope'"),
    (("analysis", "compare", "--baseline", "nope"), {}, "nope: No such file or directory"),
    *(
        ((group, command, *options), {"TARGET": "aws", "AWS_PROFILE": "nope"}, "The config profile (nope) could not be")
        for group, command, *options in (
            ("control", "alarms"),
            ("analysis", "pull"),
        )
    ),
]


def test_every_command_is_given_a_wrong_name():
    assert {arguments[:2] for arguments, _, _ in WRONG} == set(COMMANDS)


@pytest.mark.parametrize(("arguments", "variables", "told"), WRONG)
def test_a_wrong_name_is_told_and_nothing_is_changed(world, arguments, variables, told):
    files = world.files()
    done = world.run(*arguments, **variables)
    assert (done.exit_code, told in done.stderr) == (2, True), done.output
    assert "Traceback" not in done.stderr
    assert world.files() == files


# -------------------------------------------------------------------- permissions and credentials

QUICK = ("--lag", "0.1s", "--quiet", "0.1s", "--deadline", "0.2s")
ASKING: dict[tuple[str, ...], str] = {
    ("control", "smoke"): "load",
    ("control", "perf"): "load",
    ("control", "load"): "load",
    ("control", "ui", *ENOUGH["ui"]): "load",
    ("control", "master", *ENOUGH["master"]): "load",
    ("control", "alarms", "create", "--dry-run"): "alarms",
    ("control", "deploy", "--dry-run"): "deploy",
    ("control", "destroy", "--dry-run"): "deploy",
    ("control", "tune", *ENOUGH["tune"]): "tuning",
    ("control", "provisioned", *ENOUGH["provisioned"]): "tuning",
    ("analysis", "analyze"): "analysis",
    ("analysis", "bins"): "analysis",
    ("analysis", "pull", *QUICK): "analysis",
    ("analysis", "query", "errors"): "analysis",
}
"""Commands that ask AWS -> the role whose policy has what they ask first. `policy` asks what nobody can be denied, and
`preflight` tells of refusals in its table."""
ALONE = {("control", "demo"), ("control", "worker"), ("control", "policy"), ("control", "preflight")} | {
    ("analysis", name) for name in ("baseline", "compare", "cost", "parse", "report", "statistics", "summary")
}


def test_every_command_that_asks_aws_is_refused_once():
    assert {command[:2] for command in ASKING} == set(COMMANDS) - ALONE


@pytest.mark.parametrize(("arguments", "role"), ASKING.items())
def test_a_missing_permission_is_told_with_the_policy_that_has_it(world, faulty, arguments, role):
    faulty({"kind": "deny", "actions": ["*"]})
    done = world.run(*arguments)
    assert (done.exit_code, done.stderr.count("error: ")) == (2, 1), done.output
    assert re.search(r"error: not allowed: \w+:\w+ on \S+ \(\w+\)$", done.stderr, re.MULTILINE)
    assert f"control/policies/{role}.json" in done.stderr


@pytest.mark.parametrize("arguments", [*ASKING, ("control", "policy", "load")])
def test_expired_credentials_are_told_in_a_line(world, faulty, arguments):
    faulty({"kind": "expired_credentials"})
    done = world.run(*arguments)
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.exit_code, told.startswith("error: the AWS credentials have expired (")) == (2, True), done.output
    assert "hint: get new ones (`aws sso login`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("control", "destroy", "--dry-run"),
        ("control", "load", "--dry-run"),
        ("control", "tune", *ENOUGH["tune"]),
        ("analysis", "query", "errors", "--function", "place-vote"),
    ],
)
def test_each_action_that_is_missing_is_named(world, faulty, arguments):
    """Of those commands that do more about a refusal than let it through. What was made before is gone in the end, or
    said to be left, and then `--clean` takes it back."""
    before = world.function("swarmscope-topic-consumer")
    actions = {action for action in world.called(lambda: world.run(*arguments)).values() if action is not None}
    assert actions
    for action in sorted(actions):
        faulty({"kind": "deny", "actions": [action]})
        done = world.run(*arguments)
        world.tell("DELETE", "faults")
        told = [line for line in done.stderr.splitlines() if action in line]
        if "not everything could be taken back" in done.stderr:
            assert done.exit_code == 3
            assert world.run(*arguments[:2], "--clean").exit_code == 0
        else:
            assert (done.exit_code, done.stderr.count("error: ")) == (2, 1), f"{action}: {done.output}"
        assert told, f"{action}: {done.output}"
        assert "control/policies/" in done.stderr
        assert world.function("swarmscope-topic-consumer") == before, action
