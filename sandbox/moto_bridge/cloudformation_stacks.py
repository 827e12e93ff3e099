"""Seven things moto's CloudFormation does wrong with any stack.

- A resource that cannot be created fails the call and leaves a torso; on AWS, and here, the stack is rolled back.
- A resource whose condition is false is listed as an empty one.
- Updating a resource of a type that moto cannot update makes the stack lose it; here it stays as it was.
- What an update changes is found by the resources' own text and their direct references to parameters; here also where
  a condition changes, or a function's version.
- A parameter that an update leaves out does not go back to its default.
- An update that changes nothing succeeds; on AWS, and here, it is refused.
- A log group's retention is never updated.
"""

from __future__ import annotations

import re
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Event, Stack
from moto.logs.models import LogGroup, logs_backends

_SUBSTITUTED = re.compile(r"\$\{(\w+)")

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
    resource_map.build_resource_diff = _difference
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
    parameters = with_defaults(template, parameters)
    removed = list(self.build_resource_diff(template, parameters)["Remove"])
    _update_resources(self, template, parameters)
    for name in removed:
        self._parsed_resources.pop(name, None)


def _difference(self: Any, template: dict[str, Any], parameters: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """Names of the resources that become an update's `Add`, `Modify` and `Remove`."""
    after = parsing.ResourceMap(
        self.stack_id,
        self["AWS::StackName"],
        with_defaults(template, parameters),
        self.tags,
        self._region_name,
        self._account_id,
        template,
        self.cross_stack_resources,
    )
    after.load()
    old, new = _active(self, self._resource_json_map), _active(after, template["Resources"])
    before = with_defaults(self._template, self.input_parameters)
    changed = {name for name, value in with_defaults(template, parameters).items() if before.get(name) != value}
    held, holds = self.lazy_condition_map, after.lazy_condition_map
    changed |= {name for name in holds if name not in held or held[name] != holds[name]}
    modified = [name for name in new if name in old and (old[name] != new[name] or changed & _names_in(new[name]))]
    # another description is another version, of which the alias must know
    versions = {name for name in modified if new[name]["Type"] == "AWS::Lambda::Version"}
    modified += [name for name in new if name in old and name not in modified and versions & _names_in(new[name])]
    return {
        "Add": [name for name in new if name not in old],
        "Modify": modified,
        "Remove": [name for name in old if name not in new],
    }


def _active(resource_map: Any, resources: dict[str, Any]) -> dict[str, Any]:
    """The resources whose condition holds."""
    holds = resource_map.lazy_condition_map
    return {name: told for name, told in resources.items() if "Condition" not in told or holds[told["Condition"]]}


def _names_in(template: Any) -> set[str]:
    """Parameters, resources and conditions that a piece of a template refers to."""
    if isinstance(template, list):
        return set().union(*map(_names_in, template)) if template else set()
    if not isinstance(template, dict):
        return set()
    found: set[str] = set()
    for key, value in template.items():
        if key == "Ref":
            found.add(value)
        elif key == "Fn::Sub":
            found |= set(_SUBSTITUTED.findall(value if isinstance(value, str) else value[0]))
        elif key == "Fn::GetAtt":
            found.add(value.partition(".")[0] if isinstance(value, str) else value[0])
        elif key == "Fn::If":
            found.add(value[0])
        found |= _names_in(value)
    return found


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
