"""The target of a run, made ready: the sandbox found or started, the stack there, its resources known.

What was started for the run is stopped when the run is over, however it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from config.aws import client
from config.custom_flow import CustomFlow
from config.errors import ConfigError
from config.settings import FUNCTION_VARIABLES, Settings
from control.cloud import Progress
from control.deploy import cloud_for, deploy
from control.endpoints import check_reachable
from control.sandbox_process import SandboxProcess, is_sandbox, read_truth, settled_truth, since
from control.stack import describe, outputs
from control.stack_outputs import RunTarget, from_settings, with_custom, with_outputs, with_public_key

_NO_RESOURCES: dict[str, Any] = {
    "api_base_url": None,
    "functions": {},
    "log_groups": (),
    "access_log_group": None,
    "shop_public_key": None,
    "events_queue_url": None,
    "events_topic_arn": None,
    "events_bus": None,
    "events_stream": None,
}


@dataclass(frozen=True)
class ReadyTarget:
    """A target that load can be put on."""

    settings: Settings
    """With the endpoint that was really found or started."""
    resources: RunTarget
    sandbox: str | None
    """Endpoint of the sandbox; None for any other target."""
    truth_before: dict[str, Any] = field(default_factory=dict)
    """What the sandbox had counted before this run."""

    def truth(self, deadline_s: float, progress: Callable[[int], None]) -> dict[str, Any]:
        """What really happened in this run, once nothing is pending or `deadline_s` has passed."""
        assert self.sandbox is not None
        endpoint = self.sandbox
        return since(self.truth_before, settled_truth(lambda: read_truth(endpoint), deadline_s, progress=progress))


@contextmanager
def ready_target(
    settings: Settings,
    flows: Iterable[str],
    logs: Path,
    progress: Progress,
    *,
    private: bool = False,
    sandbox_options: Sequence[str] = (),
    parameters: Mapping[str, str] = MappingProxyType({}),
    every_flow: bool = False,
    custom: CustomFlow | None = None,
    look_only: bool = False,
) -> Iterator[ReadyTarget]:
    """Make the target ready for these flows; with `every_flow`, for all others too that it has the means for.

    `custom`: what flow `custom` sends, where it is known.

    With TARGET=sandbox one is started, with `sandbox_options`, where none answers at AWS_ENDPOINT_URL, or always with
    `private`; the stack is deployed into it, with `parameters` of its template, where it is not there yet. With
    `look_only` nothing is deployed into a sandbox that was found. Raises ConfigError with everything that the flows
    miss, DeployError, ProcessError.
    """
    with reachable_target(
        settings, logs, progress, private=private, sandbox_options=sandbox_options, look_only=look_only
    ) as reached:
        settings = reached
        sandbox = str(settings.endpoint_url) if settings.target == "sandbox" else None
        before = {} if sandbox is None else read_truth(sandbox)
        resources = find_resources(settings, flows, progress, parameters, custom)
        if every_flow:
            with suppress(ConfigError):
                resources = with_public_key(resources, client(settings, "kms"))
        yield ReadyTarget(settings, resources, sandbox, before)


@contextmanager
def reachable_target(
    settings: Settings,
    logs: Path,
    progress: Progress,
    *,
    private: bool = False,
    sandbox_options: Sequence[str] = (),
    look_only: bool = False,
) -> Iterator[Settings]:
    """The settings, with the endpoint of a sandbox that was found or, where the target is one and none answers (or with
    `private`), started; it is stopped in the end.

    `look_only`: what only looks must not deploy a stack into a sandbox of somebody's; where it is not there yet, there
    is one to look at in a sandbox of its own. Raises ProcessError.
    """
    if settings.target != "sandbox":
        yield settings
        return
    with ExitStack() as stack:
        sandbox = str(settings.endpoint_url)
        found = not private and is_sandbox(sandbox)
        if found and look_only and not _may_have_stack(settings):
            progress(f"the sandbox at {sandbox} has no stack {settings.stack_name} yet: looking at one elsewhere")
            found = False
        if found:
            progress(f"sandbox found at {sandbox}")
        else:
            started_at = time.monotonic()
            process = SandboxProcess.start(logs / "sandbox.log", sandbox_options)
            stack.callback(process.stop)
            sandbox = process.endpoint
            progress(f"sandbox started at {sandbox} ({time.monotonic() - started_at:.1f} s)")
            # Whatever API, function or key the variables name, it is not in a sandbox as new as this.
            if ignored := _named_resources(settings):
                progress(f"not used, for they name nothing in this sandbox: {', '.join(ignored)}; TARGET=aws uses them")
            settings = settings.model_copy(update=_NO_RESOURCES)
        yield settings.model_copy(update={"endpoint_url": sandbox})


def _may_have_stack(settings: Settings) -> bool:
    """Whether it is there, as far as one may know."""
    try:
        return describe(cloud_for(settings), settings.stack_name) is not None
    except (ClientError, BotoCoreError):
        return True  # whoever needs it asks again, and says what is wrong


def _named_resources(settings: Settings) -> list[str]:
    """The variables that name resources, of those that are set."""
    fields = type(settings).model_fields
    named = [str(fields[name].alias) for name in _NO_RESOURCES if name != "functions" and getattr(settings, name)]
    return named + [FUNCTION_VARIABLES[logical] for logical in settings.functions]


def find_resources(
    settings: Settings,
    flows: Iterable[str],
    progress: Progress,
    parameters: Mapping[str, str] = MappingProxyType({}),
    custom: CustomFlow | None = None,
) -> RunTarget:
    """What the flows need, from variables and the stack. Raises ConfigError with everything that is missing.

    A run deploys the stack with `parameters` where a sandbox has none yet, and never changes one that is there.
    """
    flows = list(flows)
    resources = known_resources(settings, progress, parameters, custom)
    if "shop" in flows:
        resources = with_public_key(resources, client(settings, "kms"))
    resources.require(flows, nowhere_else(settings), custom)
    calls_api = set(flows) & {"vote", "shop"} or (custom is not None and custom.calls_api)
    if resources.api_base_url is not None and calls_api:
        host = urlsplit(resources.api_base_url).hostname
        if not settings.model_copy(update={"api_base_url": resources.api_base_url}).host_allowed(host):
            raise ConfigError(f"ALLOWED_HOSTS: load to {host} is not allowed with TARGET={settings.target}")
        check_reachable(resources.api_base_url, "API_BASE_URL")
    return resources


def known_resources(
    settings: Settings,
    progress: Progress,
    parameters: Mapping[str, str] = MappingProxyType({}),
    custom: CustomFlow | None = None,
    *,
    look_only: bool = False,
) -> RunTarget:
    """What variables and the stack say, whatever it is needed for; see `find_resources`.

    `look_only`: nothing is deployed.
    """
    cloud = cloud_for(settings)
    description = describe(cloud, settings.stack_name)
    if parameters and (description is not None or settings.target != "sandbox"):
        pairs = " ".join(f"{name}={value}" for name, value in parameters.items())
        raise ConfigError(
            f"PARAMETERS: {pairs} is for a sandbox that the run starts; change a stack with "
            "`python -m control deploy --parameter NAME=VALUE`"
        )
    if description is None and settings.target == "sandbox" and not look_only:
        started_at = time.monotonic()
        done = deploy(settings, parameters, lambda _: None)
        progress(f"stack {settings.stack_name} deployed ({time.monotonic() - started_at:.1f} s)")
        resources = with_outputs(settings, done.outputs or {})
    elif description is None:
        resources = from_settings(settings)
    else:
        resources = with_outputs(settings, outputs(description))
    return with_custom(resources, custom, settings.log_groups)


def nowhere_else(settings: Settings) -> str:
    """Where a variable that is not set was looked for, too."""
    return f"there is no stack {settings.stack_name} in {settings.region or 'this region'}"
