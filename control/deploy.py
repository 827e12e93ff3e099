"""`python -m control deploy | destroy`: the sample applications on a target.

$ python -m control deploy --target aws --parameter ShardCount=2
uploaded s3://swarmscope-artefacts-123456789012-eu-west-1/vote-2f1c….zip
...
ApiBaseUrl   https://a1b2c3.execute-api.eu-west-1.amazonaws.com/prod
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from config.aws import client
from config.settings import Settings
from control.endpoints import check_reachable
from control.packages import package
from control.stack import Cloud, Plan, Progress, artefact_bucket, carry_out, delete, delete_bucket, describe, make_plan

STACK_DIR = Path(__file__).parents[1] / "stack"
APPLICATIONS = ("vote", "shop", "events")


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


def deploy(
    settings: Settings, overrides: Mapping[str, str], progress: Progress, *, dry_run: bool = False
) -> tuple[Plan, dict[str, str] | None]:
    """Deploy the sample applications. -> the plan, and the stack's outputs (None for a dry run).

    Raises ConfigError, DeployError and botocore's errors.
    """
    cloud = cloud_for(settings)
    template = (STACK_DIR / "template.yaml").read_text()
    packages = [package(STACK_DIR / application) for application in APPLICATIONS]
    if settings.target == "aws" and describe(cloud, settings.stack_name) is None and not _has_api_logs_role(settings):
        overrides = {"CreateApiLogsRole": "true"} | dict(overrides)
    plan = make_plan(cloud, settings.stack_name, template, packages, overrides)
    if dry_run:
        return plan, None
    return plan, carry_out(cloud, plan, template, packages, progress)


def destroy(settings: Settings, progress: Progress, *, dry_run: bool = False) -> list[str]:
    """Delete the stack and its artefact bucket. -> what was (or would be) deleted; empty where nothing was there."""
    cloud = cloud_for(settings)
    bucket = artefact_bucket(cloud, settings.stack_name)
    if dry_run:
        there = describe(cloud, settings.stack_name) is not None
        return [f"stack {settings.stack_name}", f"bucket {bucket}"] if there else []
    deleted = [f"stack {settings.stack_name}"] if delete(cloud, settings.stack_name, progress) else []
    return deleted + ([f"bucket {bucket}"] if delete_bucket(cloud, bucket, progress) else [])


def _has_api_logs_role(settings: Settings) -> bool:
    """Whether API Gateway may write access logs in this account and Region: it has one role for all APIs."""
    return bool(client(settings, "apigateway").get_account().get("cloudwatchRoleArn"))
