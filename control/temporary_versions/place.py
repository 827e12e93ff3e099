"""Where the function of an experiment is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from config.aws import client
from config.errors import ConfigError
from config.prices import Prices, load_prices
from config.settings import FUNCTION_VARIABLES, Settings, function_name
from control.scratch import scratch_directory
from control.stack_outputs import RunTarget
from control.target import find_resources, ready_target
from control.temporary_versions.journal import Found, Whereabouts
from control.temporary_versions.versions import FunctionVersions


@dataclass(frozen=True)
class Place:
    """Where the function is."""

    target: str
    simulated: bool
    region: str
    endpoint_url: str | None
    own_sandbox: bool
    prices: Prices

    @property
    def whereabouts(self) -> Whereabouts:
        return Whereabouts(self.target, self.region, self.endpoint_url)

    def found(self, run_id: str, function: FunctionVersions, before: Mapping[str, Any]) -> Found:
        """What the journal of a run begins with. `before`: the configuration of $LATEST."""
        return Found(
            run_id=run_id,
            target=self.target,
            region=self.region,
            endpoint_url=self.endpoint_url,
            own_sandbox=self.own_sandbox,
            function=function.name,
            memory_mb=before["MemorySize"],
            code_sha256=before["CodeSha256"],
            versions=tuple(function.published()),
        )


@contextmanager
def placed(
    settings: Settings, function: str, say: Callable[[str], None], *, look_only: bool = False
) -> Iterator[tuple[Settings, Place, RunTarget | None]]:
    """The settings with the endpoint there is, the place, and the stack's resources where they are needed.

    `look_only`: see `control.target.reachable_target`.
    """
    given_endpoint = settings.endpoint_url
    if settings.target == "sandbox":
        with scratch_directory() as logs, ready_target(settings, (), logs, say, look_only=look_only) as target:
            own = target.settings.endpoint_url != given_endpoint
            yield target.settings, place_of(target.settings, own_sandbox=own), target.resources
        return
    # A function of the user's own needs no stack, nor the right to look for one.
    resources = find_resources(settings, (), say) if function in FUNCTION_VARIABLES else None
    yield settings, place_of(settings, own_sandbox=False), resources


def place_of(settings: Settings, *, own_sandbox: bool) -> Place:
    """Raises ConfigError where ALLOWED_HOSTS does not name Lambda's host."""
    control_client = client(settings, "lambda")
    host = urlsplit(control_client.meta.endpoint_url).hostname
    if settings.allowed_hosts is not None and not settings.host_allowed(host):
        raise ConfigError(f"ALLOWED_HOSTS: invoking at {host} is not allowed with TARGET={settings.target}")
    target, region, endpoint_url = whereabouts(settings, control_client)
    return Place(target, settings.simulated, region, endpoint_url, own_sandbox, load_prices(region))


def whereabouts(settings: Settings, control_client: Any) -> Whereabouts:
    """`control_client`: any of boto3's, which has come to a region."""
    return Whereabouts(settings.target, control_client.meta.region_name, settings.endpoint_url)


def existing(function: FunctionVersions, place: Place, name: str) -> dict[str, Any]:
    """Its configuration. Raises ConfigError where there is no such function."""
    try:
        return function.configuration()
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise ConfigError(f"FUNCTION: there is no {name} in {place.region} (TARGET={place.target})") from None


def unqualified(name: str) -> str:
    """A function's name or ARN as it is. Raises ConfigError where it names a version or an alias."""
    if not name.endswith(function_name(name)):
        raise ConfigError(f"FUNCTION: {name} names a version or an alias; versions are made of $LATEST")
    return name
