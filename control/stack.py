"""The sample applications' CloudFormation stack: plan, create, update, delete, wait.

The same code for AWS, for the sandbox and for third-party emulators: everything goes through the ordinary API. The
clients and the sleep come in a `Cloud`, so that nothing here looks at the environment or the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from config.errors import ConfigError
from control.errors import DeployError
from control.packages import Package

_REMAINS = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS", "DELETE_FAILED")
"""A stack in one of these states can only be deleted."""

Progress = Callable[[str], None]
"""Takes one line that says what has just happened."""


@dataclass(frozen=True)
class Cloud:
    """The clients of a deployment, and time."""

    cloudformation: Any
    s3: Any
    sts: Any
    region: str
    sleep: Callable[[float], None]
    poll_s: float = 2.0
    """Seconds between two looks at the stack."""


@dataclass(frozen=True)
class Plan:
    """What a deployment is going to do."""

    action: str
    """`create`, `update`, or `replace`: delete the remains of a failed creation, then create."""
    stack_name: str
    bucket: str
    """Where the code goes: `<stack>-artefacts-<account>-<region>`."""
    parameters: Mapping[str, str]
    """Everything but defaults: the code, what is set now, and what the existing stack had."""


def artefact_bucket(cloud: Cloud, stack_name: str) -> str:
    """The stack's bucket, in the lower case that S3 asks for."""
    account = cloud.sts.get_caller_identity()["Account"]
    return f"{stack_name}-artefacts-{account}-{cloud.region}".lower()


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
    cloud: Cloud, stack_name: str, template: str, packages: Sequence[Package], overrides: Mapping[str, str]
) -> Plan:
    """What deploying would do, without doing any of it.

    Raises ConfigError naming every override that the template does not know, and for a stack that is busy.
    """
    summary = cloud.cloudformation.get_template_summary(TemplateBody=template)
    defaults = {parameter["ParameterKey"]: parameter.get("DefaultValue") for parameter in summary["Parameters"]}
    bucket = artefact_bucket(cloud, stack_name)
    code = {"CodeBucket": bucket} | {f"{p.application.capitalize()}CodeKey": p.key for p in packages}
    settable = sorted(defaults.keys() - code.keys())
    unknown = [name for name in overrides if name not in settable]
    if unknown:
        there_are = f"the template has no such parameter; there are {', '.join(settable)}"
        raise ConfigError([f"--parameter {name}: {there_are}" for name in unknown])
    existing = describe(cloud, stack_name)
    status = None if existing is None else existing["StackStatus"]
    if status in (None, "DELETE_COMPLETE"):
        return Plan("create", stack_name, bucket, code | dict(overrides))
    if status in _REMAINS:
        return Plan("replace", stack_name, bucket, code | dict(overrides))
    if status.endswith("_IN_PROGRESS"):
        raise ConfigError(f"STACK_NAME: stack {stack_name} is busy ({status}); wait, or choose another name")
    assert existing is not None
    # Spelled out, because not every emulator knows UsePreviousValue for what was a default.
    before = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in existing.get("Parameters", ())}
    kept = {name: value for name, value in before.items() if name in defaults and value != str(defaults[name])}
    return Plan("update", stack_name, bucket, kept | code | dict(overrides))


def carry_out(
    cloud: Cloud, plan: Plan, template: str, packages: Sequence[Package], progress: Progress
) -> dict[str, str]:
    """Upload the code, create or update the stack, wait for it. -> the stack's outputs.

    Raises DeployError with the reasons that CloudFormation gives.
    """
    _upload(cloud, plan.bucket, packages, progress)
    if plan.action == "replace":
        progress(f"removing what an earlier attempt left of {plan.stack_name}")
        delete(cloud, plan.stack_name, progress)
    request = {
        "StackName": plan.stack_name,
        "TemplateBody": template,
        "Capabilities": ["CAPABILITY_IAM"],
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in plan.parameters.items()],
    }
    if plan.action != "update":
        stack_id = cloud.cloudformation.create_stack(**request)["StackId"]
        _wait(cloud, stack_id, "CREATE_COMPLETE", set(), progress)
    else:
        seen = {event["EventId"] for event in _events(cloud, plan.stack_name)}
        try:
            stack_id = cloud.cloudformation.update_stack(**request)["StackId"]
        except ClientError as refused:
            if "No updates are to be performed" not in refused.response["Error"].get("Message", ""):
                raise
            progress("nothing to change")
        else:
            _wait(cloud, stack_id, "UPDATE_COMPLETE", seen, progress)
    description = describe(cloud, plan.stack_name)
    if description is None:
        raise DeployError(f"stack {plan.stack_name} vanished while it was deployed")
    return outputs(description)


def delete(cloud: Cloud, stack_name: str, progress: Progress) -> bool:
    """Delete the stack and wait. -> whether there was one. Raises DeployError where it cannot be deleted."""
    description = describe(cloud, stack_name)
    if description is None or description["StackStatus"] == "DELETE_COMPLETE":
        return False
    seen = {event["EventId"] for event in _events(cloud, stack_name)}
    cloud.cloudformation.delete_stack(StackName=stack_name)
    _wait(cloud, description["StackId"], "DELETE_COMPLETE", seen, progress)
    return True


def delete_bucket(cloud: Cloud, bucket: str, progress: Progress) -> bool:
    """Empty and delete the artefact bucket. -> whether there was one."""
    try:
        for page in cloud.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for item in page.get("Contents", ()):
                cloud.s3.delete_object(Bucket=bucket, Key=item["Key"])
        cloud.s3.delete_bucket(Bucket=bucket)
    except ClientError as refused:
        if refused.response["Error"]["Code"] in ("NoSuchBucket", "404"):
            return False
        raise
    progress(f"deleted bucket {bucket}")
    return True


def _upload(cloud: Cloud, bucket: str, packages: Sequence[Package], progress: Progress) -> None:
    try:
        cloud.s3.head_bucket(Bucket=bucket)
    except ClientError as refused:
        if refused.response["Error"]["Code"] not in ("NoSuchBucket", "404"):
            raise
        # us-east-1 is the one Region that must not be named.
        where = {"CreateBucketConfiguration": {"LocationConstraint": cloud.region}}
        cloud.s3.create_bucket(Bucket=bucket, **({} if cloud.region == "us-east-1" else where))
        progress(f"made bucket {bucket}")
    for package in packages:
        cloud.s3.put_object(Bucket=bucket, Key=package.key, Body=package.content)
        progress(f"uploaded s3://{bucket}/{package.key}")


def _wait(cloud: Cloud, stack_id: str, wanted: str, seen: set[str], progress: Progress) -> None:
    """Poll until the stack stands still, passing on each event whose id is not in `seen`.

    Raises DeployError when it ends up as anything but `wanted`.
    """
    reported = set(seen)
    failures: list[str] = []
    while True:
        description = describe(cloud, stack_id)
        for event in _events(cloud, stack_id):
            if event["EventId"] in reported:
                continue
            reported.add(event["EventId"])
            progress(f"{event['ResourceStatus']} {event['LogicalResourceId']}")
            reason = event.get("ResourceStatusReason", "no reason given")
            # What was cancelled because something else failed is not a cause.
            if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason:
                failures.append(f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}")
        status = "DELETE_COMPLETE" if description is None else description["StackStatus"]
        if not status.endswith("_IN_PROGRESS"):
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
