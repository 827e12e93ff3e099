"""What is known of target and machine before a run. Plain values, asked for by `control.preflight.gather`.

Sources of the AWS figures: GetCallerIdentity, GetFunctionConfiguration, GetFunctionConcurrency,
GetFunctionEventInvokeConfig, ListProvisionedConcurrencyConfigs, ListEventSourceMappings, GetAccountSettings,
DescribeLogGroups, GetStage, GetAccount, GetUsagePlans, GetUsage, GetResources, GetBasePathMappings, GetApiMappings (API
Gateway), DescribeStreamSummary, DescribeTable, DescribeKey, GetServiceQuota, GetQueueAttributes (AWS API references).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Unknown:
    """A question that the target did not answer."""

    action: str
    """The IAM action that the question needs."""
    why: str
    denied: bool = False
    """Whether it is the permission that is missing."""
    hint: str = ""
    """What to do, where it is the credentials that are wrong."""


@dataclass(frozen=True)
class Absent:
    """The target has no such thing."""


@dataclass(frozen=True)
class Caller:
    account: str
    arn: str


@dataclass(frozen=True)
class Answer:
    """The answer to one request without any effect."""

    where: str
    """Host and port, or the name of a service."""
    asked: str
    """The request: `OPTIONS /prod`, `DryRun of place-vote`."""
    status: int | None
    """None where no answer came."""
    error: str = ""
    """The service's name of the error, or what went wrong with the connection."""
    ms: float | None = None
    clock_offset_s: float | None = None
    """By how much the answer's Date is ahead of this machine's clock in the middle of the exchange."""
    clock_error_s: float = 0.0
    """How far off that may be: what a Date leaves open, and half of the exchange."""
    missing: str = ""
    """The IAM action for the lack of which it was refused."""
    by_load: bool = True
    """Whether the load itself makes such calls."""


@dataclass(frozen=True)
class Provisioned:
    qualifier: str
    requested: int
    available: int
    status: str


@dataclass(frozen=True)
class Function:
    """A function, as a qualifier that the run calls has it."""

    name: str
    timeout_s: float
    memory_mb: int
    architecture: str
    tracing: str
    """`Active` or `PassThrough`."""
    log_group: str
    log_format: str
    """`Text` or `JSON`."""
    application_log_level: str | None
    """None with text."""
    system_log_level: str | None
    dead_letter: str | None
    """ARN of the function's own dead-letter queue or topic."""
    on_failure: str | Unknown | None
    """ARN of the destination of asynchronous events that failed."""
    reserved: int | Unknown | None
    """Of the function as a whole."""
    provisioned: tuple[Provisioned, ...] | Unknown
    """Of all its versions and aliases."""
    qualifier: str | None = None
    """The version or alias that the run calls; None where it calls none by name."""


def called(logical: str, qualifier: str | None) -> str:
    """What a function goes by in a row."""
    return f"{logical}:{qualifier}" if qualifier else logical


@dataclass(frozen=True)
class Source:
    """What hands a function records or messages."""

    function: str
    """Logical name."""
    kind: str
    """`kinesis`, `sqs`, `dynamodb`, ..."""
    name: str
    state: str
    on_failure: str | None
    maximum_concurrency: int | None
    parallelization: int


@dataclass(frozen=True)
class LogGroup:
    retention_days: int | None
    """None: events are kept for ever."""
    log_class: str
    """`STANDARD` or `INFREQUENT_ACCESS`."""


@dataclass(frozen=True)
class Account:
    """Lambda's quotas of the account in this Region."""

    concurrency: int
    unreserved: int


@dataclass(frozen=True)
class Limit:
    """A token bucket of API Gateway; None where no limit is set."""

    rate: float | None
    """Requests a second."""
    burst: float | None = None
    method: str = ""
    """`POST /vote`; empty: of all methods."""


@dataclass(frozen=True)
class UsagePlan:
    """What each API key of a plan may send."""

    name: str
    limits: tuple[Limit, ...]
    """For the stage, and for single methods of it."""
    quota: float | None = None
    """Requests a period."""
    period: str = ""
    """`DAY`, `WEEK` or `MONTH`."""
    key_id: str | None = None
    """The key that is known to be in this plan; None where nobody says which one the load has."""
    left: float | Unknown | None = None
    """Requests that this key may still send in the period; None where the target does not tell."""


@dataclass(frozen=True)
class Method:
    """What a method of a REST API asks of its caller."""

    name: str
    """`POST /vote`"""
    authorization: str
    """`NONE`, `AWS_IAM`, `CUSTOM`, ..."""
    key_required: bool


@dataclass(frozen=True)
class ApiAddress:
    """A stage of an API."""

    api_id: str
    stage: str
    domain: str = ""
    """The custom domain that leads to it; empty where it has its own address."""


@dataclass(frozen=True)
class Api:
    """What lets requests through to an API."""

    kind: str
    """`rest` or `http`."""
    address: ApiAddress
    of_stage: tuple[Limit, ...]
    of_account: Limit | Unknown
    access_log: bool
    plans: tuple[UsagePlan, ...] | Unknown = ()
    """Those that have the stage and, where it is known, the load's key; HTTP APIs have none."""
    methods: tuple[Method, ...] | Unknown = ()
    """Of a REST API, OPTIONS left out; of an HTTP API they are not asked for."""


@dataclass(frozen=True)
class Stream:
    mode: str
    """`PROVISIONED` or `ON_DEMAND`."""
    shards: int
    status: str


@dataclass(frozen=True)
class Table:
    mode: str
    """`PROVISIONED` or `PAY_PER_REQUEST`."""
    write_units: float
    """Provisioned, a second."""
    read_units: float
    warm_write_units: float | None
    """What an on-demand table takes at once; None where it does not say."""
    status: str


@dataclass(frozen=True)
class Key:
    spec: str
    """`RSA_2048`, `SYMMETRIC_DEFAULT`, ..."""
    state: str
    requests_per_s: float | Unknown | None
    """The account's quota of cryptographic operations with keys of that kind; None where no quota is known by name."""


@dataclass(frozen=True)
class Queue:
    visibility_timeout_s: float
    dead_letter: bool


@dataclass(frozen=True)
class Machine:
    """This machine, as one process sees it."""

    open_files: int | None
    """Soft limit; None: no limit."""
    open_files_hard: int | None
    ports: int
    """Ephemeral ports: connections to one address."""
    cores: int


@dataclass(frozen=True)
class Measured:
    """What an earlier run measured."""

    run_id: str
    flows: tuple[str, ...]
    requests: int
    duration_s: float
    mean_ms: Mapping[str, float] = field(default_factory=dict)
    """Logical name of a function -> its mean duration."""
    max_ms: Mapping[str, float] = field(default_factory=dict)
    max_memory_mb: Mapping[str, float] = field(default_factory=dict)
    invocations: Mapping[str, int] = field(default_factory=dict)
    response_ms: float | None = None
    """Mean time of a request."""
    quantities: Mapping[str, float] = field(default_factory=dict)
    """Item of the price list -> quantity of that run."""


@dataclass(frozen=True)
class Facts:
    """Everything that was asked. What a run has no use for is not there."""

    caller: Caller | Unknown
    asked: bool = False
    """Whether anything else was: without credentials nothing is."""
    answers: tuple[Answer, ...] = ()
    functions: Mapping[str, Mapping[str | None, Function | Absent | Unknown]] = field(default_factory=dict)
    """By logical name, those that take part, then by qualifier that is called; under None where none is."""
    sources: tuple[Source, ...] = ()
    log_groups: Mapping[str, LogGroup | Absent | Unknown] = field(default_factory=dict)
    account: Account | Unknown | None = None
    api: Api | Absent | Unknown | None = None
    streams: Mapping[str, Stream | Absent | Unknown] = field(default_factory=dict)
    tables: Mapping[str, Table | Absent | Unknown] = field(default_factory=dict)
    key: Key | Absent | Unknown | None = None
    queue: Queue | Absent | Unknown | None = None
    permissions: Mapping[str, bool] | Unknown | None = None
    """IAM action -> whether the caller's policies allow it; None where nothing had to be asked."""
    denied: tuple[str, ...] = ()
    """IAM actions that questions were refused for."""

    def there(self, logical: str) -> list[Function]:
        """A function as each of its qualifiers has it, in their order; those that are there."""
        return [one for one in self.functions.get(logical, {}).values() if isinstance(one, Function)]
