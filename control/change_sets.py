"""What CloudFormation is going to change, before it does: change sets.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-changesets.html
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from control.cloud import Cloud, is_unknown_to_target
from control.errors import DeployError

NAME = "swarmscope-deploy"
"""One name, so that what an interrupted deployment left is found again."""
_NOTHING = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True)
class Change:
    """What becomes of one resource."""

    action: str
    """`Add`, `Modify`, `Remove`, `Import`, `Dynamic`."""
    logical_id: str
    resource_type: str
    replacement: str | None = None
    """Of a modification: `True`, `False` or `Conditional`; None where the target does not say."""

    def __str__(self) -> str:
        replaced = {"True": ", REPLACED: what it holds is lost", "Conditional": ", perhaps replaced"}
        return f"{self.action} {self.logical_id} ({self.resource_type}){replaced.get(str(self.replacement), '')}"


@dataclass(frozen=True)
class ChangeSet:
    """A change set that can be executed."""

    id: str
    stack_id: str
    kind: str
    """`CREATE` or `UPDATE`."""
    changes: tuple[Change, ...]


class ChangeSetsUnknown(Exception):
    """The target has no change sets."""


def make(cloud: Cloud, kind: str, request: Mapping[str, Any]) -> ChangeSet | None:
    """A change set of a stack, ready to be executed; None where nothing would change.

    `kind`: `CREATE` or `UPDATE`; `request`: what CreateStack would be asked. Raises DeployError where the changes
    cannot be made, and ChangeSetsUnknown.
    """
    stack = request["StackName"]
    if kind == "UPDATE":
        _forget(cloud, stack, NAME)  # an interrupted deployment may have left it
    try:
        answer = cloud.cloudformation.create_change_set(**request, ChangeSetName=NAME, ChangeSetType=kind)
    except ClientError as refused:
        if is_unknown_to_target(refused):
            raise ChangeSetsUnknown from None
        if _says_nothing_changes(refused.response["Error"].get("Message", "")):
            return None
        raise
    made = ChangeSet(answer["Id"], answer["StackId"], kind, ())
    try:
        changes = _described(cloud, made)
    except BaseException:
        discard(cloud, made)
        raise
    if changes is None:
        discard(cloud, made)
        return None
    return replace(made, changes=changes)


def execute(cloud: Cloud, change_set: ChangeSet) -> None:
    """Begin with the changes."""
    cloud.cloudformation.execute_change_set(ChangeSetName=change_set.id, StackName=change_set.stack_id)


def discard(cloud: Cloud, change_set: ChangeSet) -> None:
    """Remove one that was not executed, as well as possible: this is done on the way out of something worse."""
    with suppress(ClientError, BotoCoreError):
        _forget(cloud, change_set.stack_id, change_set.id)
        if change_set.kind == "CREATE":
            # It made a stack without anything in it, to be reviewed. A stack that is being made is none of these.
            (stack,) = cloud.cloudformation.describe_stacks(StackName=change_set.stack_id)["Stacks"]
            if stack["StackStatus"] == "REVIEW_IN_PROGRESS":
                cloud.cloudformation.delete_stack(StackName=change_set.stack_id)


def _described(cloud: Cloud, change_set: ChangeSet) -> tuple[Change, ...] | None:
    """Its changes once it is ready; None where there are none."""
    which = {"StackName": change_set.stack_id, "ChangeSetName": change_set.id}
    while True:
        first = cloud.cloudformation.describe_change_set(**which)
        if not first["Status"].endswith(("_IN_PROGRESS", "_PENDING")):
            break
        cloud.sleep(cloud.poll_s)
    if first["Status"] == "FAILED":
        reason = first.get("StatusReason", "no reason given")
        if _says_nothing_changes(reason):
            return None
        raise DeployError(f"CloudFormation cannot make these changes: {reason}")
    found, page = list(first.get("Changes", ())), first
    while page.get("NextToken"):
        page = cloud.cloudformation.describe_change_set(**which, NextToken=page["NextToken"])
        found += page.get("Changes", ())
    resources = (change["ResourceChange"] for change in found if "ResourceChange" in change)
    return tuple(
        Change(told["Action"], told["LogicalResourceId"], told["ResourceType"], told.get("Replacement"))
        for told in resources
    )


def _forget(cloud: Cloud, stack: str, change_set: str) -> None:
    try:
        cloud.cloudformation.delete_change_set(StackName=stack, ChangeSetName=change_set)
    except ClientError as refused:
        if refused.response["Error"]["Code"] != "ChangeSetNotFound" and not is_unknown_to_target(refused):
            raise


def _says_nothing_changes(reason: str) -> bool:
    return any(words in reason for words in _NOTHING)
