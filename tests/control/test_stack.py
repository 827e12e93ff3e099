"""Deploying through the ordinary API, into a sandbox; what it never does (fail, take time) against a hand-made fake."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from config.aws import client
from config.errors import ConfigError
from config.settings import Settings, settings_from
from control import artefacts
from control.__main__ import main as control
from control.cloud import Cloud
from control.deploy import APPLICATIONS, STACK_DIR, cloud_for, deploy, destroy, refuse_protected
from control.errors import DeployError
from control.packages import Package, package
from control.processes import ROOT
from control.sandbox_process import SandboxProcess
from control.stack import carry_out, delete, describe, make_plan, outputs, preview

TEMPLATE = (STACK_DIR / "template.yaml").read_text()
SMALL = """
Parameters:
  CodeBucket: {Type: String}
  VoteCodeKey: {Type: String}
  Name: {Type: String, Default: a}
Resources:
  Topic: {Type: "AWS::SNS::Topic", Properties: {TopicName: !Ref Name}}
Outputs:
  Topic: {Value: !Ref Topic}
"""
NAME = "Load-1"
BUCKET = "load-1-artefacts-123456789012-us-east-1"


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    started = SandboxProcess.start(tmp_path_factory.mktemp("sandbox") / "log")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def clients(process: SandboxProcess) -> Cloud:
    """Made once: making them takes longer than what they are asked."""
    return replace(cloud_for(settings_from({"AWS_ENDPOINT_URL": process.endpoint})), sleep=lambda _: None)


@pytest.fixture(scope="module")
def sns(process: SandboxProcess) -> Any:
    return client(settings_from({"AWS_ENDPOINT_URL": process.endpoint}), "sns")


@pytest.fixture
def cloud(process: SandboxProcess, clients: Cloud) -> Cloud:
    """Of a sandbox without any resources."""
    reset = urllib.request.Request(f"{process.endpoint}/_sandbox/reset", b'{"resources": true}', method="POST")
    urllib.request.urlopen(reset, timeout=60).close()
    return clients


@pytest.fixture
def settings(process: SandboxProcess, cloud: Cloud) -> Settings:
    return settings_from({"AWS_ENDPOINT_URL": process.endpoint, "STACK_NAME": NAME})


def deploy_small(cloud: Cloud, **overrides: str) -> dict[str, str]:
    plan = make_plan(cloud, NAME, SMALL, [zipped("vote", b"")], overrides)
    return carry_out(cloud, plan, SMALL, [zipped("vote", b"")], silent)


def destroy_small(cloud: Cloud) -> None:
    delete(cloud, NAME, silent)
    artefacts.delete(cloud, artefacts.bucket_of(cloud, NAME))


def left_behind(cloud: Cloud, sns: Any) -> list[Any]:
    """Whatever there is in the account."""
    topics = sns.list_topics()["Topics"]
    change_sets = cloud.cloudformation.list_change_sets(StackName=NAME)["Summaries"]
    return [
        *cloud.s3.list_buckets()["Buckets"],
        *cloud.cloudformation.describe_stacks()["Stacks"],
        *topics,
        *change_sets,
    ]


class TestOnSandbox:
    def test_a_deployment_prints_the_stacks_outputs_and_destroying_leaves_nothing_of_it(self, settings, cloud, sns):
        variables = {"AWS_ENDPOINT_URL": settings.endpoint_url, "STACK_NAME": NAME, "TARGET": "sandbox"}
        done = CliRunner().invoke(control, ["deploy", "--alarms"], env=variables)
        assert done.exit_code == 0, done.output
        assert dict(line.split() for line in done.stdout.splitlines())["VotesStreamName"] == "Load-1-votes"
        cloudwatch = client(settings, "cloudwatch")
        made = len(cloudwatch.describe_alarms()["MetricAlarms"])
        assert made > 20
        found = ["stack Load-1", f"{made} alarms", f"bucket {BUCKET}"]
        assert destroy(settings, silent, dry_run=True) == found
        assert destroy(settings, silent) == found
        assert left_behind(cloud, sns) == cloudwatch.describe_alarms()["MetricAlarms"] == []
        assert destroy(settings, silent) == []

    def test_a_dry_run_of_a_new_stack_says_what_it_would_make_and_makes_nothing(self, settings, cloud, sns):
        variables = {"AWS_ENDPOINT_URL": settings.endpoint_url, "STACK_NAME": NAME, "TARGET": "sandbox"}
        done = CliRunner().invoke(control, ["deploy", "--dry-run", "--parameter", "ShardCount=2"], env=variables)
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines()[0] == f"would create stack {NAME}, with its code in bucket {BUCKET}"
        assert ["ShardCount", "2"] in [line.split() for line in done.stdout.splitlines()]
        assert left_behind(cloud, sns) == []

    def test_changed_code_reaches_the_function(self, settings, cloud):
        deploy(settings, {}, silent)
        functions = client(settings, "lambda")
        before = functions.get_function_configuration(FunctionName="Load-1-place-vote")["CodeSha256"]
        handler = (STACK_DIR / "vote" / "handler.py").read_bytes()
        packages = [
            zipped("vote", handler + b"\n# changed\n"),
            *(package(STACK_DIR / name) for name in APPLICATIONS[1:]),
        ]
        carry_out(cloud, make_plan(cloud, NAME, TEMPLATE, packages, {}), TEMPLATE, packages, silent)
        assert functions.get_function_configuration(FunctionName="Load-1-place-vote")["CodeSha256"] != before

    def test_a_plan_changes_nothing(self, cloud, sns):
        make_plan(cloud, NAME, SMALL, [], {})
        assert left_behind(cloud, sns) == []

    def test_a_second_deployment_keeps_parameters_and_tags_set_before(self, cloud):
        deploy_small(cloud, Name="b")
        plan = make_plan(cloud, NAME, SMALL, [], {}, {"team": "x"})
        carry_out(cloud, plan, SMALL, [], silent)
        assert make_plan(cloud, NAME, SMALL, [], {}).tags == {"swarmscope:stack": NAME, "team": "x"}
        assert plan.parameters["Name"] == "b"

    def test_what_is_made_is_tagged(self, cloud):
        deploy_small(cloud)
        wanted = {"Key": "swarmscope:stack", "Value": NAME}
        assert wanted in cloud.s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"]
        assert wanted in cloud.cloudformation.describe_stacks(StackName=NAME)["Stacks"][0]["Tags"]

    def test_the_bucket_is_private_encrypted_and_without_versions(self, cloud):
        deploy_small(cloud)
        blocked = cloud.s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
        assert set(blocked.values()) == {True}
        (rule,) = cloud.s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
        assert "Status" not in cloud.s3.get_bucket_versioning(Bucket=BUCKET)

    def test_a_bucket_with_versions_is_emptied_too(self, cloud, sns):
        deploy_small(cloud)
        cloud.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        for _ in range(2):
            cloud.s3.put_object(Bucket=BUCKET, Key="again", Body=b"x")
        cloud.s3.delete_object(Bucket=BUCKET, Key="again")
        destroy_small(cloud)
        assert left_behind(cloud, sns) == []

    def test_deploying_the_same_twice_changes_nothing(self, cloud):
        deploy_small(cloud)
        lines: list[str] = []
        carry_out(cloud, make_plan(cloud, NAME, SMALL, [zipped("vote", b"")], {}), SMALL, [], lines.append)
        assert lines == ["nothing to change"]

    def test_what_would_change_is_said_and_not_done(self, cloud):
        deploy_small(cloud)
        plan = make_plan(cloud, NAME, SMALL, [zipped("vote", b"")], {"Name": "b"})
        assert [str(change) for change in preview(cloud, plan, SMALL) or ()] == ["Modify Topic (AWS::SNS::Topic)"]
        assert cloud.cloudformation.list_change_sets(StackName=NAME)["Summaries"] == []
        assert preview(cloud, make_plan(cloud, NAME, SMALL, [zipped("vote", b"")], {}), SMALL) == ()

    def test_unknown_parameters_are_all_reported_before_anything_is_made(self, cloud):
        with pytest.raises(ConfigError) as refused:
            make_plan(cloud, NAME, TEMPLATE, [], {"Shards": "2", "Memory": "1", "CodeBucket": "mine"})
        assert [problem.split(":")[0] for problem in refused.value.problems] == [
            "--parameter Shards",
            "--parameter Memory",
            "--parameter CodeBucket",
        ]
        assert "ShardCount" in refused.value.problems[0]

    def test_somebody_elses_stack_is_neither_changed_nor_deleted(self, cloud, settings):
        cloud.cloudformation.create_stack(
            StackName=NAME, TemplateBody='{"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}'
        )
        with pytest.raises(ConfigError, match="was not made by `deploy`"):
            deploy_small(cloud)
        with pytest.raises(ConfigError, match="was not made by `deploy`"):
            destroy(settings, silent)
        assert describe(cloud, NAME) is not None

    @pytest.mark.parametrize(
        "action", ["s3:PutObject", "cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet"]
    )
    def test_a_missing_permission_leaves_nothing_that_destroying_does_not_find(self, process, cloud, sns, action):
        fault = f'{{"kind": "deny", "actions": ["{action}"]}}'.encode()
        urllib.request.urlopen(f"{process.endpoint}/_sandbox/faults", fault, timeout=60).close()
        with pytest.raises(ClientError, match=f"not authorized to perform: {action}"):
            deploy_small(cloud)
        destroy_small(cloud)
        assert left_behind(cloud, sns) == []


# ---------------------------------------------------------------- interrupted


class Killed(BaseException):
    """The process is no more."""


class Life:
    """Ends the process that uses a cloud's clients, right after one of its calls has been answered."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._left = 0
        self._ending: type[BaseException] | None = None
        for service in (cloud.cloudformation, cloud.s3, cloud.sts):
            service.meta.events.register("before-call", self._before)
            service.meta.events.register("after-call", self._after)

    def _before(self, **_: Any) -> None:
        if self._left <= 0 and self._ending is Killed:
            raise Killed  # what is dead cleans nothing up

    def _after(self, **_: Any) -> None:
        self._left -= 1
        if self._left == 0 and self._ending is not None:
            raise self._ending

    def ends(self, work: Callable[[Cloud], object], calls: int, ending: type[BaseException]) -> bool:
        """Whether the work was ended after so many calls; False where it had finished before."""
        self._left, self._ending = calls, ending
        try:
            work(self._cloud)
        except ending:
            return True
        finally:
            self._ending = None
        return False


@pytest.fixture(scope="module")
def life(clients: Cloud) -> Life:
    return Life(clients)


@pytest.mark.parametrize("ending", [Killed, KeyboardInterrupt])
def test_a_deployment_ended_after_any_call_is_finished_by_the_next_and_leaves_nothing(cloud, sns, life, ending):
    calls = 1
    while life.ends(deploy_small, calls, ending):
        if calls % 2:  # one after another: finished by the next, and destroyed as it was left
            assert deploy_small(cloud) == {"Topic": "arn:aws:sns:us-east-1:123456789012:a"}
        destroy_small(cloud)
        assert left_behind(cloud, sns) == [], f"after {calls} calls"
        calls += 1
    assert calls > 12


@pytest.mark.parametrize("ending", [Killed, KeyboardInterrupt])
def test_a_deletion_ended_after_any_call_is_finished_by_the_next(cloud, sns, life, ending):
    calls, ended = 1, True
    while ended:
        deploy_small(cloud)
        ended = life.ends(destroy_small, calls, ending)
        destroy_small(cloud)
        assert left_behind(cloud, sns) == [], f"after {calls} calls"
        calls += 1
    assert calls > 8


DEPLOY_A_BUCKET = """
import time
from control import artefacts
make = artefacts._make
artefacts._make = lambda *arguments: (make(*arguments), print("made a bucket", flush=True), time.sleep(600))
from control.__main__ import main
main(["deploy"])
"""
"""A deployment that does not get beyond its bucket."""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_deployment_that_is_really_killed_is_finished_by_the_next(process, settings, cloud, sns, number):
    environment = os.environ | {"TARGET": "sandbox", "AWS_ENDPOINT_URL": process.endpoint, "STACK_NAME": NAME}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-c", DEPLOY_A_BUCKET], cwd=ROOT, env=environment, text=True, **pipes
    ) as deploying:
        assert deploying.stdout is not None
        assert deploying.stdout.readline() == "made a bucket\n"
        deploying.send_signal(number)
        _, said = deploying.communicate(timeout=60)
    assert deploying.returncode == (-9 if number == signal.SIGKILL else 130)
    assert number == signal.SIGKILL or "the same command again" in said
    assert destroy(settings, silent)
    assert left_behind(cloud, sns) == []


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("names", "refused"), [("Load-1", True), ("prod,Load-*", True), ("load-1 Load", False), ("", False)]
)
def test_protected_stacks_are_refused(names, refused):
    settings = settings_from({"STACK_NAME": NAME, "PROTECTED_STACKS": names})
    if refused:
        with pytest.raises(ConfigError, match="Load-1 is protected"):
            refuse_protected(settings)
    else:
        refuse_protected(settings)


def test_a_long_stack_name_still_gives_a_bucket_name_and_one_of_its_own():
    stacks = "a-stack-with-quite-a-long-name", "a-stack-with-quite-a-long-name-2"
    names = [artefacts.bucket_name(stack, "123456789012", "ap-southeast-2") for stack in stacks]
    assert max(map(len, names)) <= 63
    assert len(set(names)) == 2


def zipped(application: str, source: bytes) -> Package:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), source)
    return Package(application, buffer.getvalue())


class FakeCloudFormation:
    """Goes through the given stack states, one at each look; its events are all there from the start.

    It has no change sets, as some emulators.
    """

    def __init__(self, states: list[str], events: list[dict[str, str]] = (), existing: str | None = None) -> None:  # type: ignore[assignment]
        self.states = states
        self.events = [{"EventId": str(i), "ResourceType": "T", **e} for i, e in enumerate(events)]
        self.existing = existing
        self.calls: list[str] = []

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if self.calls:
            status = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        elif self.existing:
            status = self.existing
        else:
            raise ClientError({"Error": {"Code": "ValidationError", "Message": "Stack with id x does not exist"}}, "D")
        tags = [{"Key": "swarmscope:stack", "Value": "s"}]
        return {"Stacks": [{"StackName": "s", "StackId": "id", "StackStatus": status, "Tags": tags}]}

    def get_template_summary(self, TemplateBody: str) -> dict[str, Any]:
        return {"Parameters": [{"ParameterKey": name} for name in ("CodeBucket", "VoteCodeKey", "ShopCodeKey")]}

    def get_paginator(self, operation: str) -> Any:
        events = self.events

        class Paginator:
            def paginate(self, StackName: str) -> list[dict[str, Any]]:
                return [{"StackEvents": events[::-1]}]

        return Paginator()

    def delete_change_set(self, **request: Any) -> None:
        raise ClientError({"Error": {"Code": "NotImplemented", "Message": "not here"}}, "D")

    def create_change_set(self, **request: Any) -> None:
        raise ClientError({"Error": {"Code": "InvalidAction", "Message": "not here"}}, "C")

    def create_stack(self, **request: Any) -> dict[str, str]:
        self.calls.append("create")
        return {"StackId": "id"}

    def update_stack(self, **request: Any) -> dict[str, str]:
        self.calls.append("update")
        raise ClientError({"Error": {"Code": "ValidationError", "Message": "No updates are to be performed."}}, "U")

    def delete_stack(self, StackName: str) -> None:
        self.calls.append("delete")


class FakeStorage:
    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "1"}

    def head_bucket(self, **request: Any) -> None:
        pass

    put_public_access_block = put_bucket_encryption = put_bucket_tagging = head_bucket


def fake_cloud(cloudformation: FakeCloudFormation, slept: list[float]) -> Cloud:
    return Cloud(cloudformation, FakeStorage(), FakeStorage(), "us-east-1", slept.append)


def run(cloudformation: FakeCloudFormation, slept: list[float] | None = None) -> list[str]:
    cloud = fake_cloud(cloudformation, [] if slept is None else slept)
    lines: list[str] = []
    plan = make_plan(cloud, "s", TEMPLATE, [], {}, progress=lines.append)
    carry_out(cloud, plan, TEMPLATE, [], lines.append)
    return lines


def test_a_deployment_waits_until_the_stack_is_complete():
    slept: list[float] = []
    run(FakeCloudFormation(["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"]), slept)
    assert slept == [2.0, 2.0]


def test_a_rolled_back_stack_is_an_error_with_the_causes_only():
    events = [
        {"ResourceStatus": "CREATE_FAILED", "LogicalResourceId": "Stage", "ResourceStatusReason": "no role"},
        {"ResourceStatus": "CREATE_FAILED", "LogicalResourceId": "Api", "ResourceStatusReason": "creation cancelled"},
    ]
    with pytest.raises(DeployError) as failed:
        run(FakeCloudFormation(["ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE"], events))
    assert str(failed.value).splitlines()[1:] == ["  Stage (T): no role"]


def test_nothing_to_change_is_fine():
    assert run(FakeCloudFormation(["UPDATE_COMPLETE"], existing="UPDATE_COMPLETE")) == ["nothing to change"]


def test_the_remains_of_a_failed_creation_are_replaced():
    cloudformation = FakeCloudFormation(["ROLLBACK_COMPLETE", "DELETE_COMPLETE"], existing="ROLLBACK_COMPLETE")
    cloud = fake_cloud(cloudformation, [])
    assert make_plan(cloud, "s", TEMPLATE, [], {}).action == "replace"


def test_a_stack_whose_rollback_failed_is_told_how_to_be_mended():
    with pytest.raises(DeployError, match="continue-update-rollback --stack-name s"):
        run(FakeCloudFormation([""], existing="UPDATE_ROLLBACK_FAILED"))


def test_a_busy_stack_is_waited_for():
    class Busy(FakeCloudFormation):
        looks = iter(["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"])

        def describe_stacks(self, StackName: str) -> dict[str, Any]:
            self.existing = next(self.looks, "CREATE_COMPLETE")
            return super().describe_stacks(StackName)

    slept: list[float] = []
    assert run(Busy([""]), slept) == ["stack s is busy (CREATE_IN_PROGRESS): waiting for it", "nothing to change"]
    assert slept == [2.0, 2.0]


def test_events_of_earlier_deployments_are_not_reported_again():
    events = [{"ResourceStatus": "CREATE_COMPLETE", "LogicalResourceId": "Api"}]
    assert "CREATE_COMPLETE Api" not in run(FakeCloudFormation(["UPDATE_COMPLETE"], events, existing="UPDATE_COMPLETE"))


def test_outputs_of_a_stack_without_any_are_empty():
    assert outputs({"StackName": "s"}) == {}


def test_the_same_source_gives_the_same_bytes_whatever_its_age(tmp_path: Path):
    folder = tmp_path / "vote"
    folder.mkdir()
    (folder / "handler.py").write_text("x = 1\n")
    first = package(folder)
    (folder / "handler.py").touch()
    assert package(folder) == first


def test_other_source_gives_another_key(tmp_path: Path):
    folder = tmp_path / "vote"
    folder.mkdir()
    (folder / "handler.py").write_text("x = 1\n")
    first = package(folder).key
    (folder / "handler.py").write_text("x = 2\n")
    assert package(folder).key != first
