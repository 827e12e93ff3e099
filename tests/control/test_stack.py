"""Deploying through the ordinary API, against moto; what moto never does (fail, take time) against a hand-made fake."""

import io
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from config.errors import ConfigError
from control.deploy import APPLICATIONS, STACK_DIR
from control.errors import DeployError
from control.packages import Package, package
from control.stack import Cloud, carry_out, delete, delete_bucket, describe, make_plan, outputs

TEMPLATE = (STACK_DIR / "template.yaml").read_text()


def silent(line: str) -> None:
    pass


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        made = {name: boto3.client(name, region_name="eu-west-1") for name in ("cloudformation", "s3", "sts")}  # type: ignore[call-overload]
        yield Cloud(**made, region="eu-west-1", sleep=lambda _: None)


@pytest.fixture
def packages() -> list[Package]:
    return [package(STACK_DIR / name) for name in APPLICATIONS]


def deploy(cloud: Cloud, packages: list[Package], **overrides: str) -> dict[str, str]:
    return carry_out(
        cloud, make_plan(cloud, "Load-1", TEMPLATE, packages, overrides), TEMPLATE, packages, progress=silent
    )


@pytest.mark.filterwarnings("ignore:Tried to parse AWS..ApiGateway..Stage")
class TestOnMoto:
    def test_a_deployment_returns_the_stacks_outputs(self, cloud, packages):
        result = deploy(cloud, packages)
        assert result["PlaceVoteFunction"] == "Load-1-place-vote"
        assert result["VotesStreamName"] == "Load-1-votes"

    def test_the_bucket_is_named_after_stack_account_and_region_in_lower_case(self, cloud, packages):
        assert make_plan(cloud, "Load-1", TEMPLATE, packages, {}).bucket == "load-1-artefacts-123456789012-eu-west-1"

    def test_a_plan_changes_nothing(self, cloud, packages):
        make_plan(cloud, "Load-1", TEMPLATE, packages, {})
        assert describe(cloud, "Load-1") is None
        assert cloud.s3.list_buckets()["Buckets"] == []

    def test_a_second_deployment_keeps_parameters_set_before(self, cloud, packages):
        deploy(cloud, packages, ShardCount="3")
        deploy(cloud, packages, ShopAcceptMemory="512")
        description = describe(cloud, "Load-1")
        values = {p["ParameterKey"]: p["ParameterValue"] for p in description["Parameters"]}
        assert (values["ShardCount"], values["ShopAcceptMemory"]) == ("3", "512")

    def test_deploying_the_same_twice_is_fine(self, cloud, packages):
        assert deploy(cloud, packages).keys() == deploy(cloud, packages).keys()

    def test_changed_code_reaches_the_function(self, cloud, packages):
        deploy(cloud, packages)
        functions = boto3.client("lambda", region_name="eu-west-1")
        before = functions.get_function_configuration(FunctionName="Load-1-place-vote")["CodeSha256"]
        handler = (STACK_DIR / "vote" / "handler.py").read_bytes()
        deploy(cloud, [zipped("vote", handler + b"\n# changed\n"), *packages[1:]])
        assert functions.get_function_configuration(FunctionName="Load-1-place-vote")["CodeSha256"] != before

    def test_unknown_parameters_are_all_reported_before_anything_is_made(self, cloud, packages):
        with pytest.raises(ConfigError) as refused:
            make_plan(cloud, "Load-1", TEMPLATE, packages, {"Shards": "2", "Memory": "1", "CodeBucket": "mine"})
        assert [problem.split(":")[0] for problem in refused.value.problems] == [
            "--parameter Shards",
            "--parameter Memory",
            "--parameter CodeBucket",
        ]
        assert "ShardCount" in refused.value.problems[0]

    def test_deleting_takes_stack_and_bucket_away(self, cloud, packages):
        deploy(cloud, packages)
        bucket = make_plan(cloud, "Load-1", TEMPLATE, packages, {}).bucket
        assert delete(cloud, "Load-1", silent)
        assert delete_bucket(cloud, bucket, silent)
        assert cloud.s3.list_buckets()["Buckets"] == []
        assert cloud.cloudformation.list_stacks()["StackSummaries"][0]["StackStatus"] == "DELETE_COMPLETE"

    def test_deleting_what_is_not_there_says_so(self, cloud):
        assert not delete(cloud, "Load-1", silent)
        assert not delete_bucket(cloud, "load-1-artefacts", silent)


def zipped(application: str, source: bytes) -> Package:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("handler.py", source)
    return Package(application, buffer.getvalue())


class FakeCloudFormation:
    """Goes through the given stack states, one at each look; its events are all there from the start."""

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
        return {"Stacks": [{"StackId": "id", "StackStatus": status, "Outputs": [], "Parameters": []}]}

    def get_template_summary(self, TemplateBody: str) -> dict[str, Any]:
        return {"Parameters": [{"ParameterKey": name} for name in ("CodeBucket", "VoteCodeKey", "ShopCodeKey")]}

    def get_paginator(self, operation: str) -> Any:
        events = self.events

        class Paginator:
            def paginate(self, StackName: str) -> list[dict[str, Any]]:
                return [{"StackEvents": events[::-1]}]

        return Paginator()

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

    def head_bucket(self, Bucket: str) -> None:
        pass


def fake_cloud(cloudformation: FakeCloudFormation, slept: list[float]) -> Cloud:
    return Cloud(cloudformation, FakeStorage(), FakeStorage(), "us-east-1", slept.append)


def run(cloudformation: FakeCloudFormation, slept: list[float] | None = None) -> list[str]:
    cloud = fake_cloud(cloudformation, [] if slept is None else slept)
    lines: list[str] = []
    carry_out(cloud, make_plan(cloud, "s", TEMPLATE, [], {}), TEMPLATE, [], lines.append)
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


def test_a_busy_stack_is_left_alone():
    with pytest.raises(ConfigError, match="busy"):
        run(FakeCloudFormation(["x"], existing="UPDATE_IN_PROGRESS"))


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
