from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from analysis import log_groups
from analysis.errors import TargetError, UsageError
from config.settings import settings_from


class FakeCloudFormation:
    def __init__(self, outputs: dict[str, str] | None) -> None:
        self.outputs = outputs

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if self.outputs is None:
            raise ClientError({"Error": {"Code": "ValidationError", "Message": "does not exist"}}, "DescribeStacks")
        return {"Stacks": [{"Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in self.outputs.items()]}]}


def test_the_manifests_groups_win_over_lambdas_own() -> None:
    manifest = {
        "functions": {"a": "stack-a", "b": "arn:aws:lambda:eu-west-1:123456789012:function:stack-b:live"},
        "log_groups": {"a": "/custom/a"},
    }
    groups, required = log_groups.of_run(manifest, settings_from({}))
    assert groups == {"a": "/custom/a", "b": "/aws/lambda/stack-b"}
    assert required == frozenset()


def test_without_a_manifest_the_settings_functions_count() -> None:
    groups, _ = log_groups.of_run({}, settings_from({"VOTE_FUNCTION": "my-vote"}))
    assert groups == {"place-vote": "/aws/lambda/my-vote"}


def test_log_groups_that_are_named_are_the_only_ones_and_must_exist() -> None:
    settings = settings_from({"LOG_GROUPS": "/aws/lambda/swarmscope-place-vote,/x/other", "VOTE_FUNCTION": "mine"})
    manifest = {"functions": {"place-vote": "swarmscope-place-vote", "tally-votes": "swarmscope-tally-votes"}}
    groups, required = log_groups.of_run(manifest, settings)
    assert groups == {"place-vote": "/aws/lambda/swarmscope-place-vote", "other": "/x/other"}
    assert required == set(groups.values())


def test_no_group_at_all_names_the_variables_to_set() -> None:
    with pytest.raises(UsageError, match="LOG_GROUPS"):
        log_groups.of_run({}, settings_from({}))


def test_a_targets_groups_come_from_its_stack() -> None:
    stack = FakeCloudFormation({"PlaceVoteFunction": "s1-place-vote", "ApiId": "x"})
    groups = log_groups.of_target(settings_from({"STACK_NAME": "s1"}), stack)
    assert groups == {"place-vote": "/aws/lambda/s1-place-vote"}


def test_variables_spare_the_question_for_the_stack() -> None:
    groups = log_groups.of_target(settings_from({"LOG_GROUPS": "/aws/lambda/f"}), FakeCloudFormation(None))
    assert groups == {"f": "/aws/lambda/f"}


def test_a_stack_that_does_not_exist_is_named() -> None:
    with pytest.raises(TargetError, match="swarmscope"):
        log_groups.of_target(settings_from({}), FakeCloudFormation(None))
