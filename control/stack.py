"""The sample applications' CloudFormation stack: plan, preview, create, update, delete, wait.

The same code for AWS, for the sandbox and for third-party emulators: everything goes through the ordinary API. The
clients and the sleep come in a `Cloud`, so that nothing here looks at the environment or the clock.

Each step can be the last one: whatever is interrupted, the next deployment or deletion goes on from what is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from config.errors import ConfigError
from control import artefacts, change_sets
from control.artefacts import Bucket
from control.change_sets import Change, ChangeSetsUnknown
from control.cloud import Cloud, Progress
from control.errors import DeployError
from control.packages import Package

_REMAINS = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS", "DELETE_FAILED")
"""A stack in one of these states can only be deleted."""
STACK_TAG = "swarmscope:stack"
"""Everything that a deployment makes bears it, with the stack's name."""
_STARTING_POLLS = 5
"""Looks at a stack that shows no sign of its update, after which it counts as updated."""


@dataclass(frozen=True)
class Plan:
    """What a deployment is going to do."""

    action: str
    """`create`, `update`, or `replace`: delete the remains of a failed creation, then create."""
    stack_name: str
    bucket: Bucket
    """Where the code goes."""
    parameters: Mapping[str, str]
    """Everything but defaults: the code, what is set now, and what the existing stack had."""
    tags: Mapping[str, str]

    def request(self, template: str) -> dict[str, Any]:
        """What CloudFormation is asked for."""
        return {
            "StackName": self.stack_name,
            "TemplateBody": template,
            "Capabilities": ["CAPABILITY_IAM"],
            "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in self.parameters.items()],
            "Tags": [{"Key": name, "Value": value} for name, value in self.tags.items()],
        }


def describe(cloud: Cloud, stack: str) -> dict[str, Any] | None:
    """The stack, by name or id, as CloudFormation describes it; None where there is none.

    By its id a deleted stack is still described.
    """
    try:
        stacks = cloud.cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as refused:
        if _is_missing(refused):
            return None
        raise
    return dict(stacks[0]) if stacks else None


def outputs(description: Mapping[str, Any]) -> dict[str, str]:
    """Output key -> value of a described stack."""
    return {output["OutputKey"]: output["OutputValue"] for output in description.get("Outputs", ())}


def make_plan(
    cloud: Cloud,
    stack_name: str,
    template: str,
    packages: Sequence[Package],
    overrides: Mapping[str, str],
    tags: Mapping[str, str] | None = None,
    progress: Progress = lambda line: None,
) -> Plan:
    """What deploying would do, without doing any of it. Waits for a stack that something else is busy with.

    Raises ConfigError naming every override that the template does not know, and for a stack that `deploy` did not
    make.
    """
    summary = cloud.cloudformation.get_template_summary(TemplateBody=template)
    defaults = {parameter["ParameterKey"]: parameter.get("DefaultValue") for parameter in summary["Parameters"]}
    bucket = artefacts.bucket_of(cloud, stack_name)
    code = {"CodeBucket": bucket.name} | {f"{p.application.capitalize()}CodeKey": p.key for p in packages}
    settable = sorted(defaults.keys() - code.keys())
    unknown = [name for name in overrides if name not in settable]
    if unknown:
        there_are = f"the template has no such parameter; there are {', '.join(settable)}"
        raise ConfigError([f"--parameter {name}: {there_are}" for name in unknown])
    tags = {STACK_TAG: stack_name} | dict(tags or {})
    existing = settled(cloud, stack_name, progress)
    if existing is not None:
        _refuse_foreign(existing)
    if existing is None:
        return Plan("create", stack_name, bucket, code | dict(overrides), tags)
    status = existing["StackStatus"]
    if status in _REMAINS:
        return Plan("replace", stack_name, bucket, code | dict(overrides), tags)
    if status == "UPDATE_ROLLBACK_FAILED":
        raise DeployError(
            f"stack {stack_name} is stuck ({status}): `aws cloudformation continue-update-rollback --stack-name "
            f"{stack_name}`, then deploy again; or destroy it"
        )
    # Spelled out, because not every emulator knows UsePreviousValue for what was a default.
    before = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in existing.get("Parameters", ())}
    kept = {name: value for name, value in before.items() if name in defaults and value != str(defaults[name])}
    had = {tag["Key"]: tag["Value"] for tag in existing.get("Tags", ())}
    return Plan("update", stack_name, bucket, kept | code | dict(overrides), had | tags)


def _refuse_foreign(description: Mapping[str, Any]) -> None:
    """A name by mistake must not cost anybody's stack. One that was only reviewed has no tags, and nothing to lose."""
    named = {tag["Key"] for tag in description.get("Tags", ())}
    if STACK_TAG not in named and description["StackStatus"] != "REVIEW_IN_PROGRESS":
        name = description["StackName"]
        raise ConfigError(
            f"STACK_NAME: stack {name} was not made by `deploy` (it has no tag {STACK_TAG}): choose another name"
        )


def settled(cloud: Cloud, stack_name: str, progress: Progress) -> dict[str, Any] | None:
    """The stack once CloudFormation has finished with it, by whomever it was begun; None where there is none."""
    description = describe(cloud, stack_name)
    told = False
    while description is not None:
        status = description["StackStatus"]
        if status == "DELETE_COMPLETE":
            return None
        if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
            return description
        if not told:
            progress(f"stack {stack_name} is busy ({status}): waiting for it")
            told = True
        cloud.sleep(cloud.poll_s)
        description = describe(cloud, description["StackId"])
    return None


def preview(cloud: Cloud, plan: Plan, template: str) -> tuple[Change, ...] | None:
    """What an update would change; empty: nothing. None where that cannot be said: the stack would be new, or the
    target has no change sets.

    A change set is made for it, and deleted again.
    """
    if plan.action != "update":
        return None
    try:
        change_set = change_sets.make(cloud, "UPDATE", plan.request(template))
    except ChangeSetsUnknown:
        return None
    if change_set is None:
        return ()
    change_sets.discard(cloud, change_set)
    return change_set.changes


def carry_out(
    cloud: Cloud, plan: Plan, template: str, packages: Sequence[Package], progress: Progress
) -> dict[str, str]:
    """Upload the code, create or update the stack, wait for it. -> the stack's outputs.

    Raises DeployError with the reasons that CloudFormation gives.
    """
    artefacts.upload(cloud, plan.bucket, packages, plan.tags, progress)
    if plan.action == "replace":
        progress(f"removing what an earlier attempt left of {plan.stack_name}")
        delete(cloud, plan.stack_name, progress)
    seen = {event["EventId"] for event in _events(cloud, plan.stack_name)} if plan.action == "update" else set()
    stack_id = _begin(cloud, plan, template, progress)
    if stack_id is not None:
        wanted = "UPDATE_COMPLETE" if plan.action == "update" else "CREATE_COMPLETE"
        _wait(cloud, stack_id, wanted, seen, progress)
    description = describe(cloud, plan.stack_name)
    if description is None:
        raise DeployError(f"stack {plan.stack_name} vanished while it was deployed")
    return outputs(description)


def _begin(cloud: Cloud, plan: Plan, template: str, progress: Progress) -> str | None:
    """Have CloudFormation begin. -> the stack's id; None where there is nothing to change."""
    request = plan.request(template)
    try:
        change_set = change_sets.make(cloud, "UPDATE" if plan.action == "update" else "CREATE", request)
    except ChangeSetsUnknown:
        return _begin_unseen(cloud, plan.action, request, progress)
    if change_set is None:
        progress("nothing to change")
        return None
    try:
        if plan.action == "update":
            for change in change_set.changes:
                progress(f"change: {change}")
        else:
            progress(f"change: Add {len(change_set.changes)} resources")
        change_sets.execute(cloud, change_set)
    except BaseException:
        change_sets.discard(cloud, change_set)
        raise
    return change_set.stack_id


def _begin_unseen(cloud: Cloud, action: str, request: Mapping[str, Any], progress: Progress) -> str | None:
    """As `_begin`, at a target without change sets."""
    if action != "update":
        return str(cloud.cloudformation.create_stack(**request)["StackId"])
    try:
        return str(cloud.cloudformation.update_stack(**request)["StackId"])
    except ClientError as refused:
        if "No updates are to be performed" not in refused.response["Error"].get("Message", ""):
            raise
    progress("nothing to change")
    return None


def delete(cloud: Cloud, stack_name: str, progress: Progress) -> bool:
    """Delete the stack and wait. -> whether there was one.

    Raises DeployError where it cannot be deleted, ConfigError where `deploy` did not make it.
    """
    there = describe(cloud, stack_name)
    if there is None or there["StackStatus"] == "DELETE_COMPLETE":
        return False
    _refuse_foreign(there)
    description = settled(cloud, stack_name, progress)
    if description is not None:
        seen = {event["EventId"] for event in _events(cloud, stack_name)}
        cloud.cloudformation.delete_stack(StackName=stack_name)
        _wait(cloud, description["StackId"], "DELETE_COMPLETE", seen, progress)
    return True


def _wait(cloud: Cloud, stack_id: str, wanted: str, seen: set[str], progress: Progress) -> None:
    """Poll until the stack stands still, passing on each event whose id is not in `seen`.

    Raises DeployError when it ends up as anything but `wanted`.
    """
    reported = set(seen)
    failures: list[str] = []
    polls = 0
    while True:
        description = describe(cloud, stack_id)
        for event in _events(cloud, stack_id):
            if event["EventId"] in reported:
                continue
            reported.add(event["EventId"])
            if not event["ResourceStatus"].endswith("_IN_PROGRESS"):
                progress(f"{event['ResourceStatus']} {event['LogicalResourceId']}")
            reason = event.get("ResourceStatusReason", "no reason given")
            # What was cancelled because something else failed is not a cause.
            if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason:
                failures.append(f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}")
        status = "DELETE_COMPLETE" if description is None else description["StackStatus"]
        polls += 1
        # A change set is executed a moment after it was asked for: until then the stack stands as it stood before.
        begun = wanted != "UPDATE_COMPLETE" or len(reported) > len(seen) or polls >= _STARTING_POLLS
        if begun and not status.endswith("_IN_PROGRESS"):
            break
        cloud.sleep(cloud.poll_s)
    if status != wanted:
        reasons = failures or [(description or {}).get("StackStatusReason", "no reason given")]
        raise DeployError("\n".join([f"the stack ended as {status}, not {wanted}:", *(f"  {r}" for r in reasons)]))


def _events(cloud: Cloud, stack: str) -> list[dict[str, Any]]:
    """The stack's events, oldest first; none where it is gone."""
    try:
        pages = cloud.cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
        return [event for page in pages for event in page["StackEvents"]][::-1]
    except ClientError as refused:
        if _is_missing(refused):
            return []
        raise


def _is_missing(refused: ClientError) -> bool:
    """CloudFormation answers ValidationError both for a stack that is not there and for bad input."""
    return "does not exist" in refused.response["Error"].get("Message", "")
