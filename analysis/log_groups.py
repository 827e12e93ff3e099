"""Which log groups the analysis reads: those of a run, or those of the target's functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from analysis.errors import TargetError, UsageError, refused_caller
from config.settings import Settings


def of_run(manifest: Mapping[str, Any], settings: Settings) -> tuple[dict[str, str], frozenset[str]]:
    """-> (logical function -> its log group, groups that somebody named and that must exist).

    LOG_GROUPS names groups: those of functions that are known stand for them, any other for a function called like the
    last part of the group's name, without the stack's prefix. Without it, the groups are the manifest's, and Lambda's
    own (`/aws/lambda/<function>`) of the functions that the manifest or the settings know. Raises UsageError where that
    makes none.
    """
    functions = manifest.get("functions") or dict(settings.functions)
    usual = {logical: f"/aws/lambda/{unqualified(name)}" for logical, name in functions.items()}
    groups = usual | (manifest.get("log_groups") or {})
    if settings.log_groups:
        logical = {group: name for name, group in groups.items()}
        prefix = f"{manifest.get('stack_name') or settings.stack_name}-"
        named = {
            logical.get(group) or group.rsplit("/", 1)[-1].removeprefix(prefix): group for group in settings.log_groups
        }
        return named, frozenset(named.values())
    if not groups:
        raise UsageError(
            "no log group is known",
            "set LOG_GROUPS=/aws/lambda/<function> (several separated by commas), or VOTE_FUNCTION and the like",
        )
    return groups, frozenset()


def of_target(settings: Settings, cloudformation: Any) -> dict[str, str]:
    """Logical function -> log group, by the settings, else by the outputs of the stack that STACK_NAME names.

    Raises TargetError where there is no such stack, UsageError where it has no functions.
    """
    manifest: dict[str, Any] = {}
    if not settings.log_groups and not settings.functions:
        try:
            stacks = cloudformation.describe_stacks(StackName=settings.stack_name)["Stacks"]
        except (ClientError, BotoCoreError) as refused:
            raise refused_caller(refused) or TargetError(
                f"no log group is known, and stack {settings.stack_name} cannot be read: {refused}",
                "set LOG_GROUPS, or STACK_NAME and AWS_REGION of a deployed stack",
            ) from refused
        outputs = {one["OutputKey"]: one["OutputValue"] for stack in stacks for one in stack.get("Outputs", ())}
        prefix = f"{settings.stack_name}-"
        manifest["functions"] = {
            name.removeprefix(prefix): name for key, name in outputs.items() if key.endswith("Function")
        }
    return of_run(manifest, settings)[0]


def unqualified(function: str) -> str:
    """The name of a function given by name or ARN, with a version or without."""
    parts = function.split(":")
    return parts[6] if function.startswith("arn:") and len(parts) > 6 else parts[0]
