"""Lambda's provisioned-concurrency calls, which moto lacks. State only: the configurations that were put.

https://docs.aws.amazon.com/lambda/latest/api/API_PutProvisionedConcurrencyConfig.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from sandbox.definitions import FunctionDefinition

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

    def __init__(
        self,
        find_function: Callable[[str, str | None, str], FunctionDefinition | None],
        timestamp: Callable[[], str],
    ) -> None:
        """`find_function(name or ARN, qualifier, region)`; `timestamp()` -> now in ISO 8601."""
        self._find_function = find_function
        self._timestamp = timestamp
        self._configs: dict[str, dict[str, ProvisionedConfig]] = {}

    def requested(self, function_arn: str, qualifier: str) -> int:
        """Environments asked for under an unqualified function ARN and a version or alias; 0 where nothing was."""
        config = self._configs.get(function_arn, {}).get(qualifier)
        return config.requested if config else 0

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
            listed = [{"FunctionArn": f"{function.arn}:{q}", **_shown(c)} for q, c in sorted(configs.items())]
            return 200, {"ProvisionedConcurrencyConfigs": listed}
        if qualifier is None or qualifier == "$LATEST":
            return _error(
                400,
                "InvalidParameterValueException",
                "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
            )
        if method == "PUT":
            requested = orjson.loads(body or b"{}").get("ProvisionedConcurrentExecutions")
            if not isinstance(requested, int) or requested < 1:
                return _error(
                    400, "InvalidParameterValueException", "ProvisionedConcurrentExecutions must be a positive integer"
                )
            configs[qualifier] = ProvisionedConfig(requested, self._timestamp())
            return 202, _shown(configs[qualifier])
        if qualifier not in configs:
            return _error(
                404,
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
            )
        if method == "DELETE":
            del configs[qualifier]
            return 204, {}
        return 200, _shown(configs[qualifier])


def _shown(config: ProvisionedConfig) -> dict[str, Any]:
    return {
        "RequestedProvisionedConcurrentExecutions": config.requested,
        "AvailableProvisionedConcurrentExecutions": config.requested,
        "AllocatedProvisionedConcurrentExecutions": config.requested,
        "Status": "READY",
        "LastModified": config.last_modified,
    }


def _error(status: int, code: str, message: str) -> Answer:
    return status, {"Type": "User", "__type": code, "message": message}
