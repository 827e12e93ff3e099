"""`python -m control deploy | destroy`: the sample applications on a target.

$ python -m control deploy --target aws --parameter ShardCount=2
uploaded s3://swarmscope-artefacts-123456789012-eu-west-1/vote-2f1c….zip
change: Modify VotesStream (AWS::Kinesis::Stream)
...
ApiBaseUrl   https://a1b2c3.execute-api.eu-west-1.amazonaws.com/prod

Later commands read the outputs from the stack itself: a copy on disk would be wrong after somebody else's deployment,
and missing on another machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from config.aws import client
from config.errors import ConfigError
from config.settings import Settings
from control import alarms, artefacts, stack
from control.change_sets import Change
from control.cloud import Cloud, Progress, is_unknown_to_target
from control.endpoints import check_reachable
from control.packages import package

STACK_DIR = Path(__file__).parents[1] / "stack"
APPLICATIONS = ("vote", "shop", "events")


@dataclass(frozen=True)
class Deployment:
    """What a deployment did, or would do."""

    plan: stack.Plan
    changes: tuple[Change, ...] | None = None
    """Of a dry run: what an update would change; None where the stack would be new or the target cannot tell."""
    outputs: dict[str, str] | None = None
    """Of the stack; None for a dry run."""


def cloud_for(settings: Settings) -> Cloud:
    """The clients for the target's control plane.

    Raises ConfigError where the region is unknown, or nothing answers at an endpoint of one's own.
    """
    if settings.endpoint_url is not None:
        hint = "start one with `make sandbox`" if settings.target == "sandbox" else ""
        check_reachable(settings.endpoint_url, "AWS_ENDPOINT_URL", hint)
    cloudformation = client(settings, "cloudformation")
    # An endpoint of one's own has no name per bucket.
    addressing = {"s3": {"addressing_style": "path"}} if settings.endpoint_url else {}
    return Cloud(
        cloudformation=cloudformation,
        s3=client(settings, "s3", **addressing),
        sts=client(settings, "sts"),
        region=cloudformation.meta.region_name,
        sleep=time.sleep,
        poll_s=2.0 if settings.target == "aws" else 0.2,
    )


def refuse_protected(settings: Settings) -> None:
    """Raise ConfigError where PROTECTED_STACKS names the stack."""
    for pattern in settings.protected_stacks:
        if fnmatchcase(settings.stack_name, pattern):
            raise ConfigError(
                f"STACK_NAME: {settings.stack_name} is protected (PROTECTED_STACKS has {pattern}); nothing was done"
            )


def deploy(
    settings: Settings,
    overrides: Mapping[str, str],
    progress: Progress,
    *,
    tags: Mapping[str, str] = MappingProxyType({}),
    dry_run: bool = False,
) -> Deployment:
    """Deploy the sample applications; in a dry run only say what would change.

    Raises ConfigError, DeployError and botocore's errors.
    """
    cloud = cloud_for(settings)
    template = (STACK_DIR / "template.yaml").read_text()
    packages = [package(STACK_DIR / application) for application in APPLICATIONS]
    if (
        settings.target == "aws"
        and stack.describe(cloud, settings.stack_name) is None
        and not _has_api_logs_role(settings)
    ):
        overrides = {"CreateApiLogsRole": "true"} | dict(overrides)
    plan = stack.make_plan(cloud, settings.stack_name, template, packages, overrides, tags, progress)
    if dry_run:
        return Deployment(plan, changes=stack.preview(cloud, plan, template))
    with _told_when_interrupted(plan.stack_name, progress):
        outputs = stack.carry_out(cloud, plan, template, packages, progress)
    return Deployment(plan, outputs=outputs)


def destroy(settings: Settings, progress: Progress, *, dry_run: bool = False) -> list[str]:
    """Delete the stack, its alarms and its artefact bucket. -> what was, or would be, deleted."""
    cloud = cloud_for(settings)
    bucket = artefacts.bucket_of(cloud, settings.stack_name)
    cloudwatch = client(settings, "cloudwatch")
    ringing = _alarms(cloudwatch, settings.stack_name)
    if dry_run:
        stack_there = stack.describe(cloud, settings.stack_name) is not None
        bucket_there = artefacts.exists(cloud, bucket)
    else:
        with _told_when_interrupted(settings.stack_name, progress):
            # In this order: a stack that cannot be deleted keeps its code and its alarms.
            stack_there = stack.delete(cloud, settings.stack_name, progress)
            alarms.delete(cloudwatch, ringing, progress)
            bucket_there = artefacts.delete(cloud, bucket)
    found = {
        f"stack {settings.stack_name}": stack_there,
        f"{len(ringing)} alarms": ringing,
        f"bucket {bucket.name}": bucket_there,
    }
    return [name for name, there in found.items() if there]


@contextmanager
def _told_when_interrupted(stack_name: str, progress: Progress) -> Iterator[None]:
    """Say what becomes of what was begun."""
    try:
        yield
    except KeyboardInterrupt:
        progress(
            f"CloudFormation goes on with what it has begun of stack {stack_name}: the same command again waits for it "
            "and finishes, `destroy` removes whatever is there"
        )
        raise


def _alarms(cloudwatch: Any, stack_name: str) -> list[str]:
    """Names of the stack's alarms (`control.alarms`): without its functions none of them could ring."""
    try:
        return sorted(alarms.existing(cloudwatch, stack_name))
    except ClientError as refused:
        if is_unknown_to_target(refused):
            return []
        raise


def _has_api_logs_role(settings: Settings) -> bool:
    """Whether API Gateway may write access logs in this account and Region: it has one role for all APIs."""
    return bool(client(settings, "apigateway").get_account().get("cloudwatchRoleArn"))
