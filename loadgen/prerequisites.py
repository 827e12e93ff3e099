"""What a run needs before it can send: users that can stand for its load, targets that are known and allowed, keys,
credentials, and a directory to write to."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import ConfigError
from config.profiles import SIGNED_FLOWS
from config.settings import Settings
from loadgen.api_access import signing_scope
from loadgen.credentials import CredentialsNotFoundError, find_credentials
from loadgen.custom_flow import FLOW as CUSTOM
from loadgen.options import Chosen
from loadgen.payloads import Seal
from loadgen.signing import default_endpoint
from loadgen.transport import parse_endpoint
from runstore import rundir

if TYPE_CHECKING:
    # Importing Locust patches the whole process; nothing here needs it.
    from locust import User

_SERVICE_VARIABLES = {"events": "EVENTBRIDGE"}


def check_model(chosen: Chosen, classes: Iterable[type[User]]) -> None:
    """Check that every user class can stand for arrivals where it must. Raises ConfigError."""
    others = [user_class.__name__ for user_class in classes if not hasattr(user_class, "flow")]
    if chosen.rate_per_user is not None and others:
        named = ", ".join(others)
        raise ConfigError(f"RATE: {named} send by themselves; only users of loadgen.users stand for arrivals")


def check_reachable(chosen: Chosen, classes: Iterable[type[User]], host: str | None, *, host_needed: bool) -> None:
    """Check that what the flows of the user classes need is known and allowed. Raises ConfigError with every problem.

    A `host` that is not the settings' own was given explicitly, with `-H` or in the web UI: that allows it, unless
    ALLOWED_HOSTS or the target say otherwise. `host_needed`: nobody will be asked for it later, as the web UI does.
    """
    settings = chosen.settings
    flows = {getattr(user_class, "flow", "") for user_class in classes} - {""}
    signing, calling = flows & SIGNED_FLOWS, flows - SIGNED_FLOWS
    if chosen.custom is not None:
        signing |= {CUSTOM} if chosen.custom.flow.services else set()
        calling -= set() if chosen.custom.flow.calls_api else {CUSTOM}
    problems = [
        *(_problems_of_the_api(settings, host, needed=host_needed) if calling else ()),
        *_problems_of_services(chosen, flows),
        *_problems_of_signing(settings, signing, host if calling else None, of_api=bool(calling)),
        *(_problems_of_the_shop(settings) if "shop" in flows else ()),
    ]
    if problems:
        raise ConfigError(problems)


def _problems_of_the_api(settings: Settings, host: str | None, *, needed: bool) -> Iterator[str]:
    if host is None:
        if needed:
            yield "API_BASE_URL: not set, and no -H given: where should the requests go?"
        return
    try:
        name = parse_endpoint(host).host
    except ValueError as malformed:
        yield f"API_BASE_URL or -H: {malformed}"
        return
    explicit = host != settings.api_base_url
    allowed = explicit and settings.allowed_hosts is None and settings.target != "sandbox"
    if not allowed and not settings.host_allowed(name):
        yield _not_allowed(name, settings)


def _problems_of_services(chosen: Chosen, flows: Collection[str]) -> Iterator[str]:
    settings = chosen.settings
    for service in called_services(flows, chosen) if settings.allowed_hosts is not None else ():
        # Without a region there may be none; that is told of who signs.
        if url := service_endpoint(service, settings):
            name = parse_endpoint(url).host
            if not settings.host_allowed(name):
                yield _not_allowed(name, settings)
    if "direct" in flows and "place-vote" not in settings.functions:
        yield "VOTE_FUNCTION: not set; flow direct needs the function's name or ARN"
    if "events" in flows and not settings.event_destinations:
        yield (
            "EVENTS_QUEUE_URL, EVENTS_TOPIC_ARN, EVENTS_BUS, EVENTS_STREAM: none is set; flow events needs one at least"
        )


def _problems_of_signing(
    settings: Settings, signing: Collection[str], host: str | None, *, of_api: bool
) -> Iterator[str]:
    """`signing`: flows that sign; `host`: of the API; `of_api`: whether there are requests to one."""
    signers = regional = [f"flow {flow}" for flow in sorted(signing)]
    if settings.api_auth == "iam" and of_api:
        signers = [*signers, "API_AUTH=iam"]
        if host is not None and not _names_region(host):
            regional = signers
    if regional and settings.region is None:
        yield f"AWS_REGION: not set; {', '.join(regional)} needs it"
    if signers:
        try:
            find_credentials(settings.target, settings.profile)
        except CredentialsNotFoundError as missing:
            yield f"AWS_PROFILE: AWS credentials: {missing}; {', '.join(signers)} signs requests"


def _names_region(host: str) -> bool:
    """Whether the region that requests are signed for stands in the address; so it does in a malformed one, of which
    another problem tells."""
    try:
        return bool(signing_scope(parse_endpoint(host).host, "")[1])
    except ValueError:
        return True


def _problems_of_the_shop(settings: Settings) -> Iterator[str]:
    if settings.shop_public_key is None:
        yield "SHOP_PUBLIC_KEY: not set; flow shop seals its messages with it"
        return
    try:
        Seal(settings.shop_public_key)
    except ValueError as unusable:
        yield f"SHOP_PUBLIC_KEY: {unusable}"


def _not_allowed(name: str, settings: Settings) -> str:
    return f"ALLOWED_HOSTS: load to {name} is not allowed with TARGET={settings.target}"


def check_recordable(chosen: Chosen) -> None:
    """Check that the run's directory can be made, by making one, while nothing is sent yet. Raises ConfigError."""
    try:
        chosen.runs_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".check-", dir=chosen.runs_dir) as scratch:
            rundir.create(Path(scratch), chosen.run_id or "run")
    except ValueError as malformed:
        raise ConfigError(f"RUN_ID: {malformed}") from None
    except OSError as failure:
        raise ConfigError(f"RUNS_DIR: cannot write to {chosen.runs_dir}: {failure.strerror}") from None


def called_services(flows: Iterable[str], chosen: Chosen) -> list[str]:
    """The AWS services that flows call themselves, by their endpoints' names."""
    flows = set(flows)
    called = ["lambda"] if "direct" in flows else []
    called += chosen.settings.event_destinations if "events" in flows else []
    called += chosen.custom.flow.services if CUSTOM in flows and chosen.custom is not None else []
    return list(dict.fromkeys(called))


def service_endpoint(service: str, settings: Settings) -> str:
    """Where a service is: AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, else the region's own; empty without a region.

    The variable of EventBridge is AWS_ENDPOINT_URL_EVENTBRIDGE, as the SDKs have it.
    """
    variable = f"AWS_ENDPOINT_URL_{_SERVICE_VARIABLES.get(service, service.upper())}"
    if variable in settings.service_endpoints:
        return settings.service_endpoints[variable]
    if settings.endpoint_url is not None:
        return settings.endpoint_url
    return default_endpoint(service, settings.region, settings.profile) if settings.region else ""
