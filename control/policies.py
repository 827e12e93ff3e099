"""The IAM policies of those who use Swarmscope, one file a role in `control/policies/`.

load: whoever runs a test. analysis: whoever reads what it did; to run a test with its analysis takes both. tuning:
whoever tries other settings of functions. deploy: whoever makes the stack. alarms: whoever makes its alarms.

The files are templates: `${ACCOUNT}`, `${REGION}`, `${STACK}` and `${BUCKET}` (of its code) are to be filled in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from string import Template
from typing import Any

from control.artefacts import bucket_name

FOLDER = Path(__file__).with_name("policies")
ROLES = tuple(sorted(file.stem for file in FOLDER.glob("*.json")))


def policy(role: str, account: str, region: str, stack_name: str) -> dict[str, Any]:
    """A role's policy for one stack."""
    text = (FOLDER / f"{role}.json").read_text()
    bucket = bucket_name(stack_name, account, region)
    filled = Template(text).substitute(ACCOUNT=account, REGION=region, STACK=stack_name, BUCKET=bucket)
    return dict(json.loads(filled))


ROLES_OF_COMMANDS = {
    "alarms": ("alarms",),
    "deploy": ("deploy", "alarms"),
    "destroy": ("deploy",),
    "provisioned": ("tuning", "load", "analysis"),
    "tune": ("tuning",),
}
"""Who runs a command of `python -m control`; all others are run by `load` and `analysis`."""


def roles_that_allow(action: str, command: str | None = None) -> list[str]:
    """The roles whose policy has an action for the caller's own use, whatever the resource: of those who run the
    command, else any."""
    filled = {role: policy(role, "", "", "") for role in ROLES}
    own = {role: {"Statement": own_statements(found)} for role, found in filled.items()}
    allowing = [role for role, found in own.items() if allows([found], action, None)]
    its_own = ROLES_OF_COMMANDS.get(command or "", ("load", "analysis"))
    return [role for role in allowing if role in its_own] or allowing


def hint(action: str | None, command: str | None = None) -> str | None:
    """What to do where the action is missing, by the policies that have it; None where none has."""
    roles = [] if action is None else roles_that_allow(action, command)
    files = " or ".join(f"control/policies/{role}.json (`python -m control policy {role}` prints it)" for role in roles)
    return f"have a policy attached that allows it: {files}" if files else None


def own_statements(policy: dict[str, Any]) -> list[dict[str, Any]]:
    """What the caller may do, and not only CloudFormation in the caller's name."""
    return [
        statement for statement in policy["Statement"] if "aws:CalledVia" not in json.dumps(statement.get("Condition"))
    ]


def allows(policies: Iterable[dict[str, Any]], action: str, resource: str | None) -> bool:
    """Whether one of the policies allows the action on the resource (None: on any). Conditions are taken as met.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
    """
    return any(
        any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _listed(statement["Action"]))
        and (resource is None or any(fnmatchcase(resource, pattern) for pattern in _listed(statement["Resource"])))
        for policy in policies
        for statement in policy["Statement"]
    )


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
