"""Lambda's provisioned-concurrency calls, which moto lacks: what was asked for, and how far the model has come with it.

https://docs.aws.amazon.com/lambda/latest/api/API_PutProvisionedConcurrencyConfig.html; the texts of the refusals are
those that LocalStack's tests have seen of AWS (localstack-core/localstack/services/lambda_/provider.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from sandbox.definitions import FunctionDefinition
from sandbox.provisioning import Allocation

_PATH = re.compile(r"/2019-09-30/functions/([^/]+)/provisioned-concurrency/?$")

Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class ProvisionedConfig:
    """Environments asked for, for one version or alias."""

    requested: int
    last_modified: str
    """ISO 8601, as the API shows it."""


class ProvisionedConcurrency:
    """Put, get, list and delete of provisioned concurrency, by function ARN and qualifier."""

    allocation: Callable[[str, str], Allocation]
    """(function ARN, version) -> what there is of it. Nothing, as long as there is no model that makes environments."""

    def __init__(
        self,
        find_function: Callable[[str, str | None, str], FunctionDefinition | None],
        timestamp: Callable[[], str],
        unreserved: Callable[[], int],
        unreserved_min: int,
    ) -> None:
        """`find_function(name or ARN, qualifier, region)`; `timestamp()` -> now in ISO 8601; `unreserved()` -> what no
        function has claimed of the account's concurrency, `unreserved_min` of which has to remain."""
        self._find_function = find_function
        self._timestamp = timestamp
        self._unreserved = unreserved
        self._unreserved_min = unreserved_min
        self._configs: dict[str, dict[str, ProvisionedConfig]] = {}
        self.allocation = lambda function_arn, version: Allocation()

    def clear(self) -> None:
        """Nothing is asked for any more."""
        self._configs.clear()

    def wanted(self) -> Sequence[tuple[FunctionDefinition, int]]:
        """The versions that environments are wanted of, and how many. What was asked for under a version or alias that
        is no more is forgotten."""
        wanted = []
        for function_arn, configs in self._configs.items():
            for qualifier, config in list(configs.items()):
                version = self._find_function(function_arn, qualifier, "")
                if version is None:
                    del configs[qualifier]
                else:
                    wanted.append((version, config.requested))
        return wanted

    def put(self, function_arn: str, qualifier: str, requested: int) -> None:
        """Ask for environments under a version or alias; 0 takes back what was asked for."""
        configs = self._configs.setdefault(function_arn, {})
        configs.pop(qualifier, None)
        if requested:
            configs[qualifier] = ProvisionedConfig(requested, self._timestamp())

    def handle(self, method: str, path: str, query_string: str, body: bytes, region: str) -> Answer | None:
        """-> (status, document), or None where the path is not one of these calls."""
        match = _PATH.match(path)
        if not match:
            return None
        query = parse_qs(query_string)
        name = unquote(match[1])
        qualifier = query.get("Qualifier", [None])[0]
        function = self._find_function(name, qualifier, region)
        if function is None:
            suffix = f":{qualifier}" if qualifier else ""
            return _error(404, "ResourceNotFoundException", f"Function not found: {name}{suffix}")
        configs = self._configs.setdefault(function.arn, {})
        if method == "GET" and query.get("List") == ["ALL"]:
            return 200, {"ProvisionedConcurrencyConfigs": self._listed(function.arn, region)}
        if qualifier is None or qualifier == "$LATEST":
            return _error(
                400,
                "InvalidParameterValueException",
                "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
            )
        if method == "PUT":
            requested = orjson.loads(body or b"{}").get("ProvisionedConcurrentExecutions")
            refusal = self._refusal(function, qualifier, requested)
            if refusal is not None:
                return refusal
            configs[qualifier] = ProvisionedConfig(requested, self._timestamp())
            there = self.allocation(function.arn, function.version)
            return 202, {**_shown(configs[qualifier], there), "Status": "IN_PROGRESS"}
        if qualifier not in configs:
            return _error(
                404,
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
            )
        if method == "DELETE":
            del configs[qualifier]
            return 204, {}
        return 200, _shown(configs[qualifier], self.allocation(function.arn, function.version))

    def _listed(self, function_arn: str, region: str) -> list[dict[str, Any]]:
        listed = []
        for qualifier, config in sorted(self._configs[function_arn].items()):
            version = self._find_function(function_arn, qualifier, region)
            if version is not None:
                shown = _shown(config, self.allocation(function_arn, version.version))
                listed.append({"FunctionArn": f"{function_arn}:{qualifier}", **shown})
        return listed

    def _refusal(self, function: FunctionDefinition, qualifier: str, requested: Any) -> Answer | None:
        """Why so many environments of a version are refused; None where they may be asked for."""
        invalid = "InvalidParameterValueException"
        if not isinstance(requested, int) or requested < 1:
            return _error(400, invalid, "ProvisionedConcurrentExecutions must be a positive integer")
        if function.snap_start:
            return _error(400, invalid, "Provisioned Concurrency is not supported for functions with SnapStart.")
        others = {name: config.requested for name, config in self._configs[function.arn].items() if name != qualifier}
        for name in others:
            other = self._find_function(function.arn, name, "")
            if other is None or other.version != function.version:
                continue
            message = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            if qualifier == function.version:
                message = "Version is pointed by a Provisioned Concurrency alias"
            return _error(409, "ResourceConflictException", message)
        if function.reserved_concurrency is not None:
            if sum(others.values()) + requested > function.reserved_concurrency:
                message = (
                    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for "
                    "function"
                )
                return _error(400, invalid, message)
            return None
        before = self._configs[function.arn].get(qualifier)
        unreserved = self._unreserved() + (before.requested if before else 0)
        if unreserved - requested < self._unreserved_min:
            message = (
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
                f"its minimum value of [{self._unreserved_min}]."
            )
            return _error(400, invalid, message)
        return None


def _shown(config: ProvisionedConfig, there: Allocation) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "RequestedProvisionedConcurrentExecutions": config.requested,
        "AvailableProvisionedConcurrentExecutions": there.available,
        "AllocatedProvisionedConcurrentExecutions": there.allocated,
        "Status": "READY" if there.available >= config.requested else "IN_PROGRESS",
        "LastModified": config.last_modified,
    }
    if there.failed:
        shown |= {"Status": "FAILED", "StatusReason": "FUNCTION_ERROR_INIT_FAILURE"}
    return shown


def _error(status: int, code: str, message: str) -> Answer:
    return status, {"Type": "User", "__type": code, "message": message}
