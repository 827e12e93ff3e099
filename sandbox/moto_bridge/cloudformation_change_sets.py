"""Change sets of moto's CloudFormation, as AWS has them.

moto finds one by its name whatever the stack, forgets that parameters alone may change resources, refuses one without
changes where AWS makes it and lets it fail, and executes it past all that holds for other creations and updates
(rollback, outputs, tags).

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-changesets.html
"""

from __future__ import annotations

from typing import Any

from moto.cloudformation.exceptions import AlreadyExistsException, ValidationError
from moto.cloudformation.models import Change, ChangeSet, CloudFormationBackend, Stack
from moto.cloudformation.responses import CloudFormationResponse

from sandbox.moto_bridge.cloudformation_stacks import differs

_create = CloudFormationBackend.create_change_set
_delete_stack = CloudFormationBackend.delete_stack

NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


class ChangeSetNotFound(ValidationError):
    """There is no such change set."""

    code = "ChangeSetNotFound"
    status_code = 404


def install() -> None:
    """Mend moto. Calling it again changes nothing."""
    change_set: Any = ChangeSet
    change_set.diff = _changes
    backend: Any = CloudFormationBackend
    backend.create_change_set = _create_or_fail
    backend.describe_change_set = _find
    backend.delete_change_set = _delete
    backend.execute_change_set = _execute
    backend.delete_stack = _delete_stack_with_change_sets
    # An update that changes nothing is refused where it is carried out.
    responses: Any = CloudFormationResponse
    responses._validate_different_update = lambda self, *_: None


def _changes(self: Any) -> list[Change]:
    """What executing would do to each resource."""
    before = self.stack.template_dict.get("Resources", {})
    after = self.template_dict["Resources"]
    found = self.stack.resource_map.build_resource_diff(self.template_dict, self.parameters)
    return [
        Change(action=action, logical_resource_id=name, resource_type=(after.get(name) or before[name])["Type"])
        for action, names in found.items()
        for name in names
    ]


def _create_or_fail(
    self: Any, stack_name: str, change_set_name: str, *, change_set_type: str, **given: Any
) -> tuple[str, str]:
    existing: Stack | None = next((stack for stack in self.stacks.values() if stack.name == stack_name), None)
    if any(other.stack is existing and other.change_set_name == change_set_name for other in self.change_sets.values()):
        raise AlreadyExistsException(f"ChangeSet {change_set_name} already exists")
    if change_set_type == "CREATE" and existing is not None:
        if existing.status != "REVIEW_IN_PROGRESS":
            raise AlreadyExistsException(f"Stack [{stack_name}] already exists and cannot be created again")
        del self.stacks[existing.stack_id]
    change_set_id, stack_id = _create(self, stack_name, change_set_name, change_set_type=change_set_type, **given)
    made = self.change_sets[change_set_id]
    same = change_set_type == "UPDATE" and not differs(made.stack, made.template, made.parameters, made.tags)
    made.status, made.execution_status = ("FAILED", "UNAVAILABLE") if same else ("CREATE_COMPLETE", "AVAILABLE")
    made.status_reason = NO_CHANGES if same else None
    return change_set_id, stack_id


def _find(self: Any, change_set_name: str) -> ChangeSet:
    """By its id, or by its name where that is unique."""
    found = [
        change_set
        for key, change_set in self.change_sets.items()
        if change_set_name in (key, change_set.change_set_name)
    ]
    if not found:
        raise ChangeSetNotFound(change_set_name, f"ChangeSet [{change_set_name}] does not exist")
    change_set: ChangeSet = found[-1]
    return change_set


def _delete(self: Any, change_set_name: str) -> None:
    del self.change_sets[_find(self, change_set_name).change_set_id]


def _execute(self: Any, change_set_name: str, stack_name: str | None = None) -> None:
    change_set: Any = _find(self, change_set_name)
    if change_set.execution_status != "AVAILABLE":
        message = f"ChangeSet [{change_set_name}] cannot be executed in its current status of [{change_set.status}]"
        raise ValidationError(change_set_name, message)
    stack = change_set.stack
    if change_set.change_set_type == "CREATE":
        new_stack: Any = Stack
        made = new_stack(
            stack_id=stack.stack_id,
            name=stack.name,
            template=change_set.template,
            parameters=change_set.parameters,
            account_id=self.account_id,
            region_name=self.region_name,
            notification_arns=change_set.notification_arns,
            tags=change_set.tags,
            role_arn=change_set.role_arn,
            cross_stack_resources=self.exports,
        )
        made.events = stack.events
        self.stacks[stack.stack_id] = made
        made._add_stack_event("CREATE_IN_PROGRESS", resource_status_reason="User Initiated")
        made.create_resources()
    else:
        stack.update(change_set.template, change_set.role_arn, change_set.parameters, change_set.tags)
    # Executing one deletes all the others of the stack: they are no longer true.
    _forget_all(self, stack.stack_id)


def _delete_stack_with_change_sets(self: Any, name_or_stack_id: str) -> None:
    ids = [stack.stack_id for stack in self.stacks.values() if name_or_stack_id in (stack.name, stack.stack_id)]
    _delete_stack(self, name_or_stack_id)
    for stack_id in ids:
        _forget_all(self, stack_id)


def _forget_all(self: Any, stack_id: str) -> None:
    for key in [key for key, change_set in self.change_sets.items() if change_set.stack_id == stack_id]:
        del self.change_sets[key]
