"""Six things moto's CloudFormation does wrong with any stack.

- A resource that cannot be created fails the call and leaves a torso; on AWS, and here, the stack is rolled back.
- A resource whose condition is false is listed as an empty one.
- Updating a resource of a type that moto cannot update makes the stack lose it; here it stays as it was.
- A parameter that an update leaves out does not go back to its default.
- An update that changes nothing succeeds; on AWS, and here, it is refused.
- A log group's retention is never updated.
"""

from __future__ import annotations

from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Event, Stack
from moto.logs.models import LogGroup, logs_backends

_create_stack = Stack.create_resources
_create_resource = parsing.parse_and_create_resource
_update_stack = Stack.update
_update_resources = parsing.ResourceMap.update
_update_resource = parsing.parse_and_update_resource


def install() -> None:
    """Mend moto. Calling it again changes nothing."""
    stack: Any = Stack
    stack.create_resources = _create_or_roll_back
    stack.update = _update_if_different
    stack.stack_resources = property(_existing_resources)
    resource_map: Any = parsing.ResourceMap
    resource_map.update = _update_with_defaults
    parsing.parse_and_create_resource = _create_named
    parsing.parse_and_update_resource = _update_or_keep
    log_group: Any = LogGroup
    log_group.update_from_cloudformation_json = classmethod(_update_log_group)


class _ResourceFailed(Exception):
    """A resource could not be created."""

    def __init__(self, logical_id: str, resource_type: str, reason: str) -> None:
        super().__init__(f"{logical_id}: {reason}")
        self.logical_id = logical_id
        self.resource_type = resource_type
        self.reason = reason


def _create_named(logical_id: str, resource_json: Any, resources_map: Any, account_id: str, region_name: str) -> Any:
    try:
        return _create_resource(logical_id, resource_json, resources_map, account_id, region_name)
    except _ResourceFailed:  # of one that this one refers to
        raise
    except Exception as error:
        reason = str(getattr(error, "message", None) or error)
        raise _ResourceFailed(logical_id, resource_json["Type"], reason) from error


def _create_or_roll_back(self: Any) -> None:
    try:
        _create_stack(self)
    except _ResourceFailed as failed:
        _report(self, failed, "ROLLBACK_IN_PROGRESS")
        self.resource_map.delete()
        # moto creates a resource when it is looked at: there must be none to look at
        self.resource_map._resource_json_map = {}
        self.template_dict = {**self.template_dict, "Outputs": {}}
        self.output_map = self._create_output_map()
        self.status = "ROLLBACK_COMPLETE"
        self._add_stack_event("ROLLBACK_COMPLETE")


def _report(stack: Any, failed: _ResourceFailed, stack_status: str) -> None:
    """The events of a failed resource and of the rollback that it causes."""
    stack.events.append(
        Event(
            stack.stack_id,
            stack.name,
            failed.logical_id,
            "",
            failed.resource_type,
            "CREATE_FAILED",
            failed.reason,
            None,
        )
    )
    stack._add_stack_event(stack_status, f"The following resource(s) failed to create: [{failed.logical_id}].")


def _update_if_different(
    self: Any,
    template: str,
    role_arn: str | None = None,
    parameters: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    if not differs(self, template, parameters, tags):
        raise ValidationError(message="No updates are to be performed.")
    before = self.template, self.role_arn, dict(self.resource_map.input_parameters), self.tags
    try:
        _update_stack(self, template, role_arn, parameters, tags)
    except _ResourceFailed as failed:
        _report(self, failed, "UPDATE_ROLLBACK_IN_PROGRESS")
        _update_stack(self, *before)
        self.status = "UPDATE_ROLLBACK_COMPLETE"
        self._add_stack_event("UPDATE_ROLLBACK_COMPLETE")


def differs(stack: Any, template: str, parameters: dict[str, Any] | None, tags: dict[str, str] | None) -> bool:
    """Whether a stack is to become anything but what it is."""
    wanted = with_defaults(stack.template_dict, parameters)
    same_parameters = wanted == with_defaults(stack.template_dict, stack.resource_map.input_parameters)
    return not (template == stack.template and same_parameters and tags in (None, stack.tags))


def _existing_resources(self: Stack) -> list[Any]:
    return [resource for resource in self.resource_map.values() if resource is not None]


def _update_with_defaults(
    self: parsing.ResourceMap, template: dict[str, Any], parameters: dict[str, Any] | None = None
) -> None:
    self.input_parameters = with_defaults(self._template, self.input_parameters)
    _update_resources(self, template, with_defaults(template, parameters))


def with_defaults(template: dict[str, Any], parameters: dict[str, Any] | None) -> dict[str, Any]:
    """Parameters with the defaults of those that are not given, in the form in which a caller would give them."""
    declared = template.get("Parameters", {})
    defaults = {
        name: str(slot["Default"]).lower() if isinstance(slot["Default"], bool) else str(slot["Default"])
        for name, slot in declared.items()
        if "Default" in slot
    }
    return {**defaults, **(parameters or {})}


def _update_or_keep(logical_id: str, resource_json: Any, resources_map: Any, account_id: str, region_name: str) -> Any:
    updated = _update_resource(logical_id, resource_json, resources_map, account_id, region_name)
    return resources_map[logical_id] if updated is None else updated


def _update_log_group(
    cls: type[LogGroup],
    original_resource: LogGroup,
    new_resource_name: str,
    cloudformation_json: dict[str, Any],
    account_id: str,
    region_name: str,
) -> LogGroup:
    properties = cloudformation_json["Properties"]
    if properties.get("LogGroupName", original_resource.name) != original_resource.name:
        logs_backends[account_id][region_name].delete_log_group(original_resource.name)
        return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)
    original_resource.set_retention_policy(properties.get("RetentionInDays"))
    return original_resource
