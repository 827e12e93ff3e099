"""The settings of a run: `.env` beside the working directory, overruled by the real environment.

One function reads them, once, into a frozen value; nothing else looks at the environment. With TARGET=sandbox every
`AWS_*` variable of the caller is set aside, except an AWS_ENDPOINT_URL on the loopback, so that a run against the
sandbox can never reach an account.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from config.errors import ConfigError

SANDBOX_ENDPOINT = "http://127.0.0.1:4566"
SANDBOX_REGION = "us-east-1"
_SERVICE_ENDPOINT = "AWS_ENDPOINT_URL_"

FUNCTION_VARIABLES: Mapping[str, str] = {
    "place-vote": "VOTE_FUNCTION",
    "tally-votes": "TALLY_FUNCTION",
    "get-results": "RESULTS_FUNCTION",
    "shop-accept": "SHOP_ACCEPT_FUNCTION",
    "shop-decrypt": "SHOP_DECRYPT_FUNCTION",
    "shop-update-db": "SHOP_UPDATE_DB_FUNCTION",
    "queue-consumer": "QUEUE_CONSUMER_FUNCTION",
    "topic-consumer": "TOPIC_CONSUMER_FUNCTION",
    "bus-consumer": "BUS_CONSUMER_FUNCTION",
    "stream-consumer": "STREAM_CONSUMER_FUNCTION",
}
"""Logical name of each sample function -> the variable that names the real one."""


EVENT_VARIABLES: Mapping[str, str] = {
    "sqs": "EVENTS_QUEUE_URL",
    "sns": "EVENTS_TOPIC_ARN",
    "events": "EVENTS_BUS",
    "kinesis": "EVENTS_STREAM",
}
"""AWS service -> the variable that says where flow `events` sends its messages there."""


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host is None:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def function_name(function: str) -> str:
    """The plain name of a function given by name, `name:alias`, ARN or partial ARN."""
    parts = function.split(":")
    return parts[parts.index("function") + 1] if "function" in parts[:-1] else parts[0]


def host_of(url: str) -> str | None:
    """The host that a URL names; None where it names none, or is no URL."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def shown_url(url: str) -> str:
    """A URL as messages and files may show it: without the user name, password, query and fragment that it may have.

    `https://me:secret@host/stage?key=1` -> `https://***@host/stage?***`.
    """
    shown = re.sub(r"^([^/?#]*//)?[^/?#]*@", r"\1***@", url)
    return re.sub(r"([?#]).*", r"\1***", shown, flags=re.DOTALL)


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    nothing_else = not (parts.username or parts.query or parts.fragment or any(map(str.isspace, url)))
    return parts.scheme in ("http", "https") and bool(parts.hostname) and nothing_else


def _words(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
"""Names separated by commas or blanks."""


class Settings(BaseModel):
    """Every setting, checked. The alias of a field is the variable that sets it; None means not set."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore", hide_input_in_errors=True)

    target: Literal["sandbox", "aws", "emulator"] = Field("sandbox", alias="TARGET")
    stack_name: str = Field("swarmscope", alias="STACK_NAME", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,80}$")
    protected_stacks: Words = Field((), alias="PROTECTED_STACKS")
    """Names, with wildcards, of stacks that are never deployed or destroyed."""
    api_base_url: str | None = Field(None, alias="API_BASE_URL")
    api_key: SecretStr | None = Field(None, alias="API_KEY")
    api_key_id: str | None = Field(None, alias="API_KEY_ID")
    """API Gateway's id of that key, which is no secret: the preflight finds its usage plan by it."""
    api_auth: Literal["none", "iam", "bearer"] = Field("none", alias="API_AUTH")
    api_bearer_token: SecretStr | None = Field(None, alias="API_BEARER_TOKEN")
    api_bearer_command: SecretStr | None = Field(None, alias="API_BEARER_COMMAND")
    """Prints a token; a secret itself, for there may be one among its arguments."""
    functions: Mapping[str, str] = Field(default_factory=dict)
    """Logical name -> function name or ARN, only those that a variable names."""
    shop_public_key: str | None = Field(None, alias="SHOP_PUBLIC_KEY")
    """Base64 of the DER form that KMS GetPublicKey returns."""
    log_groups: Words = Field((), alias="LOG_GROUPS")
    access_log_group: str | None = Field(None, alias="ACCESS_LOG_GROUP")
    allowed_hosts: Words | None = Field(None, alias="ALLOWED_HOSTS")
    max_users: int | None = Field(None, alias="MAX_USERS", gt=0)
    max_cost_usd: float | None = Field(None, alias="MAX_COST_USD", gt=0)
    events_queue_url: str | None = Field(None, alias="EVENTS_QUEUE_URL", pattern=r"^https?://\S+/\S+$")
    events_topic_arn: str | None = Field(None, alias="EVENTS_TOPIC_ARN", pattern=r"^arn:[^:\s]+:sns:\S+$")
    events_bus: str | None = Field(None, alias="EVENTS_BUS")
    """Name or ARN."""
    events_stream: str | None = Field(None, alias="EVENTS_STREAM")
    """Name or ARN."""
    trace_sample: float | None = Field(None, alias="TRACE_SAMPLE", ge=0, le=1)
    region: str | None = Field(None, alias="AWS_REGION")
    profile: str | None = Field(None, alias="AWS_PROFILE")
    endpoint_url: str | None = Field(None, alias="AWS_ENDPOINT_URL")
    service_endpoints: Mapping[str, str] = Field(default_factory=dict)
    """Variable -> URL, of the services that have an endpoint of their own: `AWS_ENDPOINT_URL_LAMBDA` and the like."""
    metric_limits: Path | None = Field(None, alias="METRIC_LIMITS")
    """A file of the user's over config/metrics.toml."""
    custom_metrics: Words = Field((), alias="CUSTOM_METRICS")
    """Namespaces of metrics that functions emit."""
    runs_dir: Path = Field(Path("runs"), alias="RUNS_DIR")
    web_user: str | None = Field(None, alias="WEB_USER")
    web_password: SecretStr | None = Field(None, alias="WEB_PASSWORD")
    """Of the web UI, with `--web-login`."""

    @field_validator("endpoint_url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        if url is not None and not (_is_base_url(url) and urlsplit(url).path in ("", "/")):
            raise ValueError(f"{shown_url(url)!r} is not a URL such as http://127.0.0.1:4566")
        return url

    @field_validator("api_base_url")
    @classmethod
    def _is_url_of_api(cls, url: str | None) -> str | None:
        if url is not None and not _is_base_url(url):
            raise ValueError(f"{shown_url(url)!r} is not a URL such as https://host/stage")
        return url

    @field_validator("service_endpoints")
    @classmethod
    def _are_urls(cls, endpoints: Mapping[str, str]) -> Mapping[str, str]:
        malformed = [f"{variable} {shown_url(url)!r}" for variable, url in endpoints.items() if not _is_base_url(url)]
        if malformed:
            raise ValueError(f"{', '.join(malformed)}: not a URL such as https://host:port")
        return endpoints

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.api_auth == "bearer" and (self.api_bearer_token is None) == (self.api_bearer_command is None):
            raise ValueError("API_BEARER_TOKEN, API_BEARER_COMMAND: one of them is needed with API_AUTH=bearer")
        if self.target == "emulator" and self.endpoint_url is None:
            raise ValueError("AWS_ENDPOINT_URL: needed with TARGET=emulator, e.g. http://127.0.0.1:4566")
        return self

    def web_credentials(self) -> tuple[str, str]:
        """User name and password of the web UI. Raises ConfigError where one is missing."""
        missing = [
            f"{name}: not set, and --web-login needs it, in the environment or in .env"
            for name, value in (("WEB_USER", self.web_user), ("WEB_PASSWORD", self.web_password))
            if value is None
        ]
        if self.web_user is None or self.web_password is None:
            raise ConfigError(missing)
        return self.web_user, self.web_password.get_secret_value()

    @property
    def event_destinations(self) -> dict[str, str]:
        """AWS service -> where flow `events` sends its messages there; only those that a variable names."""
        named = {service: getattr(self, variable.lower()) for service, variable in EVENT_VARIABLES.items()}
        return {service: destination for service, destination in named.items() if destination}

    @property
    def simulated(self) -> bool:
        """Whether the figures come from a model of AWS and not from AWS."""
        return self.target != "aws"

    @property
    def sampled_share(self) -> float:
        """Share of requests marked Sampled=1: traces are billed on AWS and free in the sandbox."""
        if self.trace_sample is not None:
            return self.trace_sample
        return 0.01 if self.target == "aws" else 1.0

    def host_allowed(self, host: str | None) -> bool:
        """Whether load may go to `host`.

        Unset ALLOWED_HOSTS means the loopback and the host of API_BASE_URL; with the sandbox as the target it is the
        loopback, whatever else is set.
        """
        if is_loopback(host):
            return True
        if host is None or self.target == "sandbox":
            return False
        if self.allowed_hosts is None:
            return self.api_base_url is not None and host == host_of(self.api_base_url)
        return host in self.allowed_hosts


def load_settings(environ: Mapping[str, str] | None = None, dotenv: str | Path | None = ".env") -> Settings:
    """The settings from `environ` (default: the process's own) over those of the file `dotenv`, where it exists.

    Raises ConfigError with every problem. An empty value counts as not set, as in `make load PROFILE=`.
    """
    real = os.environ if environ is None else environ
    found: dict[str, str] = {}
    if dotenv is not None and Path(dotenv).is_file():
        found = {name: value for name, value in dotenv_values(dotenv, interpolate=False).items() if value}
    found |= {name: value for name, value in real.items() if value}
    return settings_from(found)


def settings_from(variables: Mapping[str, str]) -> Settings:
    """Settings of a plain dictionary of variables. Raises ConfigError with every problem."""
    values: dict[str, Any] = dict(variables)
    if values.get("AWS_REGION") is None and values.get("AWS_DEFAULT_REGION"):
        values["AWS_REGION"] = values["AWS_DEFAULT_REGION"]
    if values.get("TARGET", "sandbox") == "sandbox":
        values = _set_aside_aws(values)
    values["functions"] = {
        logical: values[variable] for logical, variable in FUNCTION_VARIABLES.items() if values.get(variable)
    }
    values["service_endpoints"] = {
        name: value for name, value in values.items() if name.startswith(_SERVICE_ENDPOINT) and value
    }
    try:
        return Settings.model_validate(values)
    except ValidationError as invalid:
        problems = []
        for error in invalid.errors():
            where = ".".join(str(part) for part in error["loc"]).replace("service_endpoints", f"{_SERVICE_ENDPOINT}*")
            message = error["msg"].removeprefix("Value error, ")
            problems.append(f"{where}: {message} (see .env.example)" if where else message)
        raise ConfigError(problems) from None


def _set_aside_aws(values: Mapping[str, Any]) -> dict[str, Any]:
    endpoint = values.get("AWS_ENDPOINT_URL")
    kept = {name: value for name, value in values.items() if not name.startswith("AWS_")}
    local = isinstance(endpoint, str) and is_loopback(host_of(endpoint))
    return kept | {"AWS_ENDPOINT_URL": endpoint if local else SANDBOX_ENDPOINT, "AWS_REGION": SANDBOX_REGION}
