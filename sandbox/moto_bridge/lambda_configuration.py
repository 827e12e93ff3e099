"""TracingConfig, LoggingConfig and SnapStart of a function: moto takes tracing only at creation, the others never."""

from __future__ import annotations

from typing import Any

from moto.awslambda.models import LambdaFunction

_create = LambdaFunction.__init__
_update = LambdaFunction.update_configuration
_describe = LambdaFunction.get_configuration


def install() -> None:
    """Teach moto's LambdaFunction these settings. Calling it again changes nothing."""
    mended: Any = LambdaFunction
    mended.__init__ = _create_with_all
    mended.update_configuration = update_with_all
    mended.get_configuration = describe_with_all


def log_group(function: LambdaFunction) -> str:
    """The log group the function writes to: its LoggingConfig's, else `/aws/lambda/<name>`."""
    return function.logs_group_name


def log_format(function: Any) -> str:
    """The format of its log events: `Text` or `JSON`."""
    return str(function.logging_config["LogFormat"])


def snap_start(function: Any) -> bool:
    """Whether it is a version that SnapStart applies to."""
    return function.snap_start == "PublishedVersions" and str(function.version) != "$LATEST"


def _create_with_all(self: Any, account_id: str, spec: dict[str, Any], *args: Any, **kwargs: Any) -> None:
    _create(self, account_id, spec, *args, **kwargs)
    _set_logging(self, spec.get("LoggingConfig") or {})
    self.snap_start = (spec.get("SnapStart") or {}).get("ApplyOn", "None")


def update_with_all(self: Any, config_updates: dict[str, Any]) -> dict[str, Any]:
    if "TracingConfig" in config_updates:
        self.tracing_config = config_updates["TracingConfig"]
    if "LoggingConfig" in config_updates:
        _set_logging(self, config_updates["LoggingConfig"])
    if "SnapStart" in config_updates:
        self.snap_start = config_updates["SnapStart"].get("ApplyOn", "None")
    answer: dict[str, Any] = _update(self, config_updates)
    return answer


def describe_with_all(self: Any, on_create: bool = False) -> dict[str, Any]:
    settings = {
        "LoggingConfig": self.logging_config,
        "SnapStart": {"ApplyOn": self.snap_start, "OptimizationStatus": "On" if snap_start(self) else "Off"},
    }
    return {**_describe(self, on_create), **settings}


def _set_logging(function: Any, config: dict[str, Any]) -> None:
    default = f"/aws/lambda/{function.function_name}"
    function.logging_config = {"LogFormat": "Text", "LogGroup": default, **config}
    function.logs_group_name = function.logging_config["LogGroup"]
