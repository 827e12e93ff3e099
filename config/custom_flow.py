"""The flow `custom`: a TOML file that says what to send to the user's own API, functions, queues, topics, buses,
streams.

Read and checked as far as that goes without the payload files, the variables and the templates' syntax; all problems
are reported together, each with the file and the key. docs/custom-flow.md explains every key.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from config.errors import ConfigError, problems_of
from config.settings import function_name
from config.timespans import parse_timespan

MAX_BATCH = {"queue": 10, "topic": 10, "bus": 10, "stream": 500}
"""Messages that SQS, SNS, EventBridge and Kinesis take in one call (AWS documentation, quotas of each)."""
SERVICES = {"invoke": "lambda", "queue": "sqs", "topic": "sns", "bus": "events", "stream": "kinesis"}
"""Kind of request -> the AWS service that it calls, by its endpoint's name."""
KINDS = ("api", *SERVICES)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEMPLATE = re.compile(r"\{\{.*?(\}\}|$)|\{%.*?(%\}|$)|\{#.*?(#\}|$)")
"""One that is never closed, too: that is said when it is compiled."""
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token (RFC 9110, 5.6.2)."""
_OURS = ("host", "content-length", "content-type", "connection", "x-amzn-requestid", "x-amzn-trace-id")
"""Headers that the load generator writes itself."""

Timespan = Annotated[float, BeforeValidator(parse_timespan)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Payload(_Table):
    """Where rows come from."""

    file: str
    """Relative to the flow's own file."""
    order: Literal["sequential", "random", "once"] = "sequential"


class Api(_Table):
    """A call of the API at API_BASE_URL."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] = "POST"
    path: str = Field(pattern=r"^/")
    headers: dict[str, str] = Field(default_factory=dict)

    @field_validator("path")
    @classmethod
    def _encoded(cls, path: str) -> str:
        fixed = _TEMPLATE.sub("", path)
        if not (fixed.isascii() and fixed.isprintable()) or " " in fixed:
            raise ValueError(f"{path!r} must be percent-encoded; what templates put into it is, by itself")
        return path

    @field_validator("headers")
    @classmethod
    def _names(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not _HEADER.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if name.lower() in _OURS:
                raise ValueError(f"{name!r} is written by the load generator itself")
        return headers


class Invoke(_Table):
    """An Invoke of a function."""

    function: str
    """Name or ARN."""
    qualifier: str | None = None
    invocation_type: Literal["RequestResponse", "Event", "DryRun"] = "RequestResponse"
    log_type: Literal["None", "Tail"] = "None"


class Queue(_Table):
    """Messages to an SQS queue."""

    url: str
    batch: int = Field(1, ge=1, le=MAX_BATCH["queue"])


class Topic(_Table):
    """Messages to an SNS topic."""

    arn: str
    batch: int = Field(1, ge=1, le=MAX_BATCH["topic"])


class Bus(_Table):
    """Events to an EventBridge bus."""

    name: str
    """Name or ARN."""
    source: str
    detail_type: str
    batch: int = Field(1, ge=1, le=MAX_BATCH["bus"])


class Stream(_Table):
    """Records to a Kinesis stream."""

    name: str
    """Name or ARN."""
    batch: int = Field(1, ge=1, le=MAX_BATCH["stream"])


class Request(_Table):
    """One kind of request; exactly one of the KINDS is set."""

    name: str | None = Field(None, min_length=1)
    weight: float = Field(1.0, gt=0, allow_inf_nan=False)
    payload: str | None = None
    """Name of the payload whose rows it takes, one for each request or message."""
    body: Any = None
    api: Api | None = None
    invoke: Invoke | None = None
    queue: Queue | None = None
    topic: Topic | None = None
    bus: Bus | None = None
    stream: Stream | None = None
    status: tuple[int, ...] | None = None
    has: tuple[str, ...] = ()
    equals: dict[str, Any] = Field(default_factory=dict)
    matches: dict[str, str] = Field(default_factory=dict)
    no_error_member: bool = False
    under: Timespan | None = Field(None, gt=0)

    @field_validator("status", "has", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, int | str) else value

    @property
    def kind(self) -> str:
        """Which of KINDS it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def batch(self) -> int:
        """Messages in one call."""
        return int(getattr(getattr(self, self.kind), "batch", 1))

    @model_validator(mode="after")
    def _consistent(self) -> Request:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"one of {', '.join(KINDS)} says what it calls; it has {' and '.join(kinds) or 'none'}")
        if self.body is not None and not isinstance(self.body, dict | str):
            raise ValueError('body: a table, or one expression such as "{{ row }}" that makes one')
        answered = kinds[0] == "api" or (self.invoke and self.invoke.invocation_type == "RequestResponse")
        if self.status is not None and kinds[0] != "api":
            raise ValueError("status: for an api; any other call is judged as its service says")
        if not answered:
            checks = [key for key in ("has", "equals", "matches", "no_error_member") if getattr(self, key)]
            if checks:
                raise ValueError(
                    f"{', '.join(checks)}: nothing answers that could be looked into; only `under` is checked"
                )
        return self


class Chain(_Table):
    """Messages followed from function to function by their correlation id."""

    requests: tuple[str, ...] = Field(min_length=1)
    """Names of the requests that enter it."""
    functions: tuple[str, ...] = Field(min_length=1)
    """The functions that get the message, in their order."""


class CustomFlow(_Table):
    """The file."""

    description: str = ""
    environment: tuple[str, ...] = ()
    """Variables that templates may use; their values are never recorded."""
    functions: tuple[str, ...] = ()
    """Functions, by name or ARN, behind what is called: their logs are analysed."""
    correlation_key: str | Literal[False] = "correlation_id"
    """Key of a body that the correlation id goes under; False leaves it out."""
    chains: dict[str, Chain] = Field(default_factory=dict)
    """By name, as reports have it."""
    payloads: dict[str, Payload] = Field(default_factory=dict)
    requests: tuple[Request, ...]

    @field_validator("environment")
    @classmethod
    def _variables(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [name for name in names if not _VARIABLE.fullmatch(name)]:
            raise ValueError(f"no name of a variable: {', '.join(map(repr, wrong))}")
        return names

    @model_validator(mode="after")
    def _names_are_there(self) -> CustomFlow:
        if not self.requests:
            raise ValueError("requests: there is none")
        for number, request in enumerate(self.requests, 1):
            if request.payload is not None and request.payload not in self.payloads:
                known = ", ".join(self.payloads) or "none"
                raise ValueError(f"requests.{number}.payload: no payload {request.payload!r}; there are {known}")
        named = {request.name for request in self.requests if request.name is not None}
        for name, chain in self.chains.items():
            if unknown := set(chain.requests) - named:
                raise ValueError(f"chains.{name}.requests: no request is named {min(unknown)!r}")
        if self.chains and not self.correlation_key:
            raise ValueError("correlation_key: chains are followed by the correlation id, which it leaves out")
        if unused := set(self.payloads) - {request.payload for request in self.requests}:
            raise ValueError(f"payloads.{min(unused)}: no request takes its rows")
        return self

    @property
    def all_functions(self) -> list[str]:
        """Functions, by name or ARN, whose logs are analysed: those named, and those of chains."""
        of_chains = [function for chain in self.chains.values() for function in chain.functions]
        return list(dict.fromkeys([*self.functions, *of_chains]))

    def with_functions(self, known: Mapping[str, str]) -> dict[str, str]:
        """Logical name -> function, of those that are known and those that this flow names.

        Of a function that is not known its plain name is the logical one.
        """
        named = {self.logical_name(function, known): function for function in self.all_functions}
        return named | dict(known)

    @staticmethod
    def logical_name(function: str, known: Mapping[str, str]) -> str:
        """What reports call a function, given by logical name, name or ARN."""
        if function in known:
            return function
        plain = function_name(function)
        return next((logical for logical, name in known.items() if function_name(name) == plain), plain)

    @property
    def calls_api(self) -> bool:
        return any(request.kind == "api" for request in self.requests)

    @property
    def services(self) -> list[str]:
        """The AWS services that it calls itself, by their endpoints' names."""
        return list(dict.fromkeys(SERVICES[r.kind] for r in self.requests if r.kind in SERVICES))


@dataclass(frozen=True)
class CustomFlowFile:
    """A flow and where it was read."""

    path: Path
    sha256: str
    flow: CustomFlow


def load_custom_flow(path: Path) -> CustomFlowFile:
    """Read and check a flow's file. Raises ConfigError with every problem."""
    try:
        text = path.read_bytes()
        document = tomllib.loads(text.decode())
    except OSError as failure:
        raise ConfigError(f"CUSTOM_FLOW: {path}: {(failure.strerror or str(failure)).lower()}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as malformed:
        raise ConfigError(f"{path}: not valid TOML: {malformed}") from None
    return CustomFlowFile(path, hashlib.sha256(text).hexdigest(), custom_flow_from(document, str(path)))


def custom_flow_from(document: Mapping[str, Any], source: str) -> CustomFlow:
    """A flow from the content of its file; problems are reported against `source`. Raises ConfigError."""
    try:
        return CustomFlow.model_validate(document)
    except ValidationError as invalid:
        raise ConfigError(problems_of(invalid, source)) from None
