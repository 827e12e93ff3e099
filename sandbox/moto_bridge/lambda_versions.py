"""Versions, aliases and updates of a function as AWS has them, where moto is more lenient.

- A version's number is never given again, a publish without a change gives the version there is, and CodeSha256 and
  RevisionId are preconditions. DeleteFunction with a qualifier spares what an alias refers to.
- An update of configuration or code takes a while: LastUpdateStatus is InProgress meanwhile, and who updates or
  publishes then is refused.
- Every change has its RevisionId: an update, its end and a publish change that of $LATEST, an update that of an alias.

Sources: AWS Lambda API reference (PublishVersion, UpdateFunctionConfiguration, UpdateAlias, DeleteFunction); what AWS
answered to LocalStack's validated tests of versions, aliases and revisions (tests/aws/services/lambda_/
test_lambda_api.py); deletes of versions as measured in https://github.com/floci-io/floci/pull/2824.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from moto.awslambda.exceptions import (
    ConflictException,
    InvalidParameterValueException,
    LambdaClientError,
    PreconditionFailedException,
    UnknownFunctionException,
    ValidationException,
)
from moto.awslambda.models import LambdaAlias, LambdaBackend, LambdaFunction, LambdaStorage
from moto.awslambda.responses import LambdaResponse

from sandbox.moto_bridge import lambda_configuration

LEAST_MEMORY_MB, GREATEST_MEMORY_MB = 128, 10_240
_NOT_CONTENT = ("FunctionArn", "LastModified", "LastUpdateStatus", "RevisionId", "State", "Version")
"""What GetFunctionConfiguration shows that may differ between $LATEST and the version that is made from it."""


class _Conflict(LambdaClientError):
    code = 409

    def __init__(self, message: str) -> None:
        super().__init__("ResourceConflictException", message)


_change_code = LambdaFunction.update_function_code
_configure = LambdaBackend.update_function_configuration
_deploy_code = LambdaBackend.update_function_code
_create_alias = LambdaStorage.put_alias
_change_alias = LambdaAlias.update
_delete = LambdaStorage.del_function
_list_versions = LambdaStorage.list_versions_by_function
_list_aliases = LambdaStorage.list_aliases


class _Updates:
    """How long updates take, by whose clock: moto's state is one for the process, and so is this."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = lambda: 0.0
        self.duration_s = 0.0


_updates = _Updates()


def install(now: Callable[[], float], update_s: float) -> None:
    """Teach moto all this, after `lambda_configuration`. Calling it again changes only what is passed.

    An update takes `update_s` by the clock `now`.
    """
    _updates.now, _updates.duration_s = now, update_s
    function: Any = LambdaFunction
    function.get_configuration = _describe_with_revision
    function.update_configuration = _change_configuration_with_revision
    function.update_function_code = _change_code_with_revision
    backend: Any = LambdaBackend
    backend.update_function_configuration = _configure_where_allowed
    backend.update_function_code = _deploy_where_allowed
    storage: Any = LambdaStorage
    storage.publish_version = _publish
    storage.put_alias = _create_alias_once
    storage.del_function = _delete_unless_referenced
    storage.list_versions_by_function = _list_versions_by_name_or_arn
    storage.list_aliases = _list_aliases_by_name_or_arn
    alias: Any = LambdaAlias
    alias.update = _change_alias_with_revision
    response: Any = LambdaResponse
    response.publish_version = _answer_publish
    response.update_alias = _answer_update_alias


# -------------------------------------------------------------------- revisions and updates


def _describe_with_revision(self: Any, on_create: bool = False) -> dict[str, Any]:
    shown: dict[str, Any] = lambda_configuration.describe_with_all(self, on_create)
    updating = _is_updating(self)
    if updating and not on_create:
        shown["LastUpdateStatus"] = "InProgress"
    # The end of an update changes it once more.
    shown["RevisionId"] = str(uuid.uuid5(_revision(self), str(updating)))
    return shown


def _revision(changed: Any) -> uuid.UUID:
    found: uuid.UUID | None = changed.__dict__.get("revision")
    if found is None:
        found = changed.revision = uuid.uuid4()
    return found


def _is_updating(function: Any) -> bool:
    return bool(function.__dict__.get("update_ends_at", 0.0) > _updates.now())


def _change_configuration_with_revision(self: Any, config_updates: dict[str, Any]) -> dict[str, Any]:
    lambda_configuration.update_with_all(self, config_updates)
    self.revision = uuid.uuid4()
    shown: dict[str, Any] = self.get_configuration()
    return shown


def _change_code_with_revision(self: Any, updated_spec: dict[str, Any]) -> dict[str, Any]:
    _change_code(self, updated_spec)
    self.revision = uuid.uuid4()
    shown: dict[str, Any] = self.get_configuration()
    return shown


def _configure_where_allowed(self: Any, function_name: str, qualifier: str | None, body: dict[str, Any]) -> Any:
    latest = _latest_to_change(self, function_name, qualifier, body)
    memory_mb = body.get("MemorySize")
    if memory_mb is not None and not LEAST_MEMORY_MB <= memory_mb <= GREATEST_MEMORY_MB:
        bound = (
            f"greater than or equal to {LEAST_MEMORY_MB}"
            if memory_mb < LEAST_MEMORY_MB
            else f"less than or equal to {GREATEST_MEMORY_MB}"
        )
        raise ValidationException(str(memory_mb), "memorySize", f"Member must have value {bound}")
    _configure(self, function_name, qualifier, body)  # type: ignore[arg-type]
    latest.update_ends_at = _updates.now() + _updates.duration_s
    return latest.get_configuration()


def _deploy_where_allowed(self: Any, function_name: str, qualifier: str | None, body: dict[str, Any]) -> Any:
    latest = _latest_to_change(self, function_name, qualifier, body)
    answer = _deploy_code(self, function_name, qualifier, body)  # type: ignore[arg-type]
    latest.update_ends_at = _updates.now() + _updates.duration_s
    return answer if body.get("Publish") else latest.get_configuration()


def _latest_to_change(backend: Any, name: str, qualifier: str | None, body: dict[str, Any]) -> Any:
    function = backend.get_function(name, qualifier)
    if function.version != "$LATEST":
        raise InvalidParameterValueException("Current operation does not support versions other than $LATEST")
    _require_settled(function)
    _require_revision(function.get_configuration()["RevisionId"], body)
    return function


def _require_settled(function: Any) -> None:
    if _is_updating(function):
        raise _Conflict(
            "The operation cannot be performed at this time. An update is in progress for resource: "
            f"{function.function_arn}"
        )


def _require_revision(current: str, body: dict[str, Any]) -> None:
    if body.get("RevisionId") not in (None, "", current):
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )


# -------------------------------------------------------------------- versions


def _answer_publish(self: Any) -> tuple[int, dict[str, int], str]:
    name = unquote(self.path.split("/")[-2])
    body = json.loads(self.body or "{}")
    latest = self.backend._lambdas.get_function_by_name_or_arn_forbid_qualifier(name)
    _require_settled(latest)
    _require_revision(latest.get_configuration()["RevisionId"], body)
    expected = body.get("CodeSha256")
    if expected and expected != latest.code_sha_256:
        raise InvalidParameterValueException(
            f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST ({latest.code_sha_256}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )
    version = self.backend.publish_version(name, body.get("Description") or "")
    return 201, {"status": 201}, json.dumps(version.get_configuration())


def _publish(self: Any, name_or_arn: str, description: str = "") -> Any:
    latest = self.get_function_by_name_or_arn_forbid_qualifier(name_or_arn)
    versions = self._functions[latest.function_name]
    content = {key: value for key, value in latest.get_configuration().items() if key not in _NOT_CONTENT}
    content_before, published = versions.get("last_published", (None, None))
    if published in versions["versions"] and content_before == content:
        return published
    versions["numbers_given"] = versions.get("numbers_given", 0) + 1
    version: Any = copy.copy(latest)
    version.set_version(versions["numbers_given"])
    version.revision, version.update_ends_at = uuid.uuid4(), 0.0
    if description:
        version.description = description
    versions["versions"].append(version)
    versions["last_published"] = content, version
    self._arns[version.function_arn] = version
    latest.revision = uuid.uuid4()
    return version


def _list_versions_by_name_or_arn(self: Any, name: str) -> Any:
    return _list_versions(self, self.get_function_by_name_or_arn_with_qualifier(unquote(name)).function_name)


def _list_aliases_by_name_or_arn(self: Any, function_name: str) -> Any:
    return _list_aliases(self, unquote(function_name))


def _delete_unless_referenced(self: Any, name_or_arn: str, qualifier: str | None = None) -> None:
    name, _, in_name = name_or_arn.rpartition(":function:")[2].partition(":")
    qualifier = in_name or qualifier
    if not qualifier:
        return _delete(self, name_or_arn)
    if qualifier == "$LATEST":
        raise InvalidParameterValueException("$LATEST version cannot be deleted without deleting the function.")
    if name not in self._functions:
        raise UnknownFunctionException(f"{name_or_arn}:{qualifier}")
    if self._get_version(name, qualifier) is None:
        return None  # AWS answers 204 for a version that is not there
    referring = [alias.name for alias in self._get_function_aliases(name).values() if qualifier in _versions_of(alias)]
    if referring:
        raise _Conflict(
            f"Unable to delete version because the following aliases reference it: [{', '.join(sorted(referring))}]"
        )
    return _delete(self, name_or_arn, qualifier)


def _versions_of(alias: Any) -> set[str]:
    weighted = (alias.routing_config or {}).get("AdditionalVersionWeights") or {}
    return {alias.function_version, *weighted}


# -------------------------------------------------------------------- aliases


def _create_alias_once(self: Any, *args: Any, **kwargs: Any) -> LambdaAlias:
    try:
        return _create_alias(self, *args, **kwargs)
    except ConflictException as taken:
        raise _Conflict(str(taken.message)) from None


def _answer_update_alias(self: Any) -> tuple[int, dict[str, int], str]:
    name, alias_name = unquote(self.path.rsplit("/")[-3]), unquote(self.path.rsplit("/", 2)[-1])
    body = json.loads(self.body)
    _require_revision(self.backend.get_alias(name=alias_name, function_name=name).revision_id, body)
    alias = self.backend.update_alias(
        name=alias_name,
        function_name=name,
        function_version=body.get("FunctionVersion"),
        description=body.get("Description"),
        routing_config=body.get("RoutingConfig"),
    )
    return 200, {"status": 200}, json.dumps(alias.to_json())


def _change_alias_with_revision(self: Any, *args: Any, **kwargs: Any) -> None:
    _change_alias(self, *args, **kwargs)
    self.revision_id = str(uuid.uuid4())
