"""Every number the sandbox's model of AWS is made of: name, unit, value, source. The only such place.

A file given with `--model` overrides any of them by the same names, in TOML:

    [lambda]
    async_retry_waits_s = [1.0, 2.0]

    [functions.place-vote]
    io_ms = 30.0

Sources, named in the text of each value:
  measured    the figures published for the shop application, a sequential run of 101 messages at 128 and 3008 MB
  AWS         AWS documentation (docs.aws.amazon.com), page in brackets
  assumption  no published figure; chosen so that it is plausible, and free to be overridden
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from sandbox.problems import problems_of

Share = Annotated[float, Field(ge=0, le=1)]


class ParametersError(ValueError):
    """A `--model` file that cannot be used; `problems` lists every one of them, each a line of text."""

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.problems = problems


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class FunctionTiming(_Section):
    """How long one function's handler takes, and what it occupies.

    duration = io + cpu / share, where share = min(1, memory_mb / one_vcpu_mb). Both parts have a least value and a
    varying one: `io_ms + g * io_jitter_ms` and `cpu_ms + g * cpu_jitter_ms`, with one g per invocation from a gamma
    distribution of mean 1 (so the least duration is `io_ms + cpu_ms / share`). The first call in a new execution
    environment takes `first_io_ms + first_cpu_ms / share` more (connections, lazily built clients, cold caches).
    """

    io_ms: NonNegativeFloat
    cpu_ms: NonNegativeFloat
    io_jitter_ms: NonNegativeFloat
    cpu_jitter_ms: NonNegativeFloat
    first_io_ms: NonNegativeFloat
    first_cpu_ms: NonNegativeFloat
    init_ms: PositiveFloat
    """Mean of the init phase; it does not depend on memory, because AWS gives init a full vCPU (assumption)."""
    memory_used_mb: tuple[PositiveInt, PositiveInt]
    """Least and greatest memory an environment comes to use."""


# Assumption: a small Python handler with one AWS call.
DEFAULT_TIMING = FunctionTiming(
    io_ms=12.0,
    cpu_ms=1.5,
    io_jitter_ms=3.0,
    cpu_jitter_ms=0.3,
    first_io_ms=20.0,
    first_cpu_ms=15.0,
    init_ms=250.0,
    memory_used_mb=(66, 72),
)

# By logical function name. The shop's three are fitted to the measured figures: cpu and io from the two least durations
# (128 MB has 128/1769 of a vCPU, 3008 MB a whole one), what a first call adds from the two greatest durations, and the
# jitter from the two means. The first message finds no environment anywhere downstream, so while it creeps through, the
# following ones start environments of their own: the 101 durations include one first call of shop-accept, 4 to 8 of
# shop-decrypt and 6 to 13 of shop-update-db, and the jitter is what is left of the mean after these.
FUNCTIONS: dict[str, FunctionTiming] = {
    # measured: 217.91 (177 .. first call 931) ms at 128 MB; 51.49 (35 .. 119) at 3008 MB
    "shop-accept": FunctionTiming(
        io_ms=23.9,
        cpu_ms=11.08,
        io_jitter_ms=14.4,
        cpu_jitter_ms=1.4,
        first_io_ms=18.0,
        first_cpu_ms=50.4,
        init_ms=230.0,
        memory_used_mb=(69, 72),
    ),
    # measured: 450.14 (383 .. 1201) ms at 128 MB; 88 (63 .. 170) at 3008 MB
    "shop-decrypt": FunctionTiming(
        io_ms=38.0,
        cpu_ms=24.96,
        io_jitter_ms=20.0,
        cpu_jitter_ms=0.0,
        first_io_ms=11.0,
        first_cpu_ms=55.6,
        init_ms=230.0,
        memory_used_mb=(69, 72),
    ),
    # measured: 456.55 (335 .. 1177) ms at 128 MB; 69 (42 .. 173) at 3008 MB
    "shop-update-db": FunctionTiming(
        io_ms=19.2,
        cpu_ms=22.85,
        io_jitter_ms=15.6,
        cpu_jitter_ms=2.86,
        first_io_ms=42.8,
        first_cpu_ms=46.2,
        init_ms=230.0,
        memory_used_mb=(69, 72),
    ),
    # assumption: about 30 ms at 256 MB, one put to a stream
    "place-vote": FunctionTiming(
        io_ms=11.0,
        cpu_ms=1.8,
        io_jitter_ms=4.0,
        cpu_jitter_ms=0.3,
        first_io_ms=25.0,
        first_cpu_ms=20.0,
        init_ms=250.0,
        memory_used_mb=(68, 73),
    ),
    # assumption: one table update for each vote_id of a batch
    "tally-votes": FunctionTiming(
        io_ms=14.0,
        cpu_ms=3.0,
        io_jitter_ms=5.0,
        cpu_jitter_ms=0.5,
        first_io_ms=25.0,
        first_cpu_ms=20.0,
        init_ms=260.0,
        memory_used_mb=(70, 76),
    ),
    # assumption: one read of a table
    "get-results": FunctionTiming(
        io_ms=7.0,
        cpu_ms=1.5,
        io_jitter_ms=3.0,
        cpu_jitter_ms=0.3,
        first_io_ms=25.0,
        first_cpu_ms=20.0,
        init_ms=250.0,
        memory_used_mb=(68, 72),
    ),
}


class LambdaParameters(_Section):
    """The Lambda service."""

    one_vcpu_mb: PositiveFloat = 1769.0
    """AWS [gettingstarted-limits]: memory at which a function has one vCPU; CPU is proportional below."""
    jitter_shape: PositiveFloat = 2.0
    """Assumption: shape of the gamma distribution of the jitter (1 = exponential, larger = narrower)."""
    init_jitter: Share = 0.15
    """Assumption: init durations spread evenly over this share below and above their mean."""
    account_concurrency: PositiveInt = 1000
    """AWS [gettingstarted-limits]: executions at a time, per account and Region."""
    scaling_environments: PositiveInt = 1000
    """AWS [scaling-behavior]: environments a function may add in each scaling interval; not accumulated."""
    scaling_interval_s: PositiveFloat = 10.0
    """AWS [scaling-behavior]."""
    request_rate_per_concurrency: PositiveFloat = 10.0
    """AWS [gettingstarted-limits]: synchronous requests per second for each unit of concurrency."""
    init_timeout_s: PositiveFloat = 10.0
    """AWS [lambda-runtime-environment]: limit of the init phase on demand."""
    proactive_init_share: Share = 0.0
    """AWS [lambda-runtime-environment]: Lambda may initialise environments ahead of requests; of new ones this share
    (assumption: none) ..."""
    proactive_init_lead_s: PositiveFloat = 30.0
    """... so long before (assumption)."""
    restore_ms: PositiveFloat = 400.0
    """AWS [snapstart-monitoring]: Restore Duration of the example, 398.97 ms; it spreads as inits do ..."""
    billed_restore_ms: NonNegativeInt = 182
    """... of which so much is billed."""
    provisioning_ms: NonNegativeFloat = 1000.0
    """Assumption: from the request for provisioned concurrency to the first environment's init; AWS may take a minute
    and more."""
    provisioned_environments_per_min: PositiveFloat = 6000.0
    """AWS [provisioned-concurrency]: how quickly a function's environments are provisioned."""
    provisioned_init_timeout_s: PositiveFloat = 130.0
    """AWS [lambda-runtime-environment]: limit of the init phase of a provisioned environment; the function's timeout
    where that is more."""
    unreserved_concurrency_min: NonNegativeInt = 100
    """AWS [provisioned-concurrency]: what reservations and provisioned concurrency have to leave of the account's."""
    idle_expiry_s: PositiveFloat = 420.0
    """Assumption: an environment without a call for so long is taken away."""
    environment_lifetime_s: PositiveFloat = 7200.0
    """AWS [lambda-runtime-environment] says "every few hours"; assumption: two."""
    retry_after_s: PositiveInt = 1
    """Assumption: Retry-After of a 429."""
    async_dispatch_ms: NonNegativeFloat = 12.0
    """Assumption: from the acceptance of an asynchronous event to its invocation."""
    async_retry_waits_s: tuple[PositiveFloat, ...] = (60.0, 120.0)
    """AWS [invocation-async-error-handling]: waits before the two further attempts after a function error."""
    async_throttle_wait_s: PositiveFloat = 1.0
    """AWS [invocation-async-error-handling]: first wait of a throttled asynchronous event; it doubles."""
    async_throttle_wait_max_s: PositiveFloat = 300.0
    """AWS [invocation-async-error-handling]: five minutes."""
    async_event_age_max_s: PositiveFloat = 21_600.0
    """AWS [invocation-async-error-handling]: six hours, then the event is dropped."""
    function_update_ms: NonNegativeFloat = 100.0
    """Assumption: how long an update of a function's code or configuration is InProgress."""
    payload_max_bytes: PositiveInt = 6 * 1024 * 1024
    """AWS [gettingstarted-limits]: request and response of a synchronous invocation."""
    async_payload_max_bytes: PositiveInt = 1024 * 1024
    """AWS [gettingstarted-limits]."""
    failure_style: Literal["new", "old"] = "new"
    """How a timeout, a crash or exhausted memory shows in the log: `Status:` in the REPORT line (AWS
    [lambda-runtime-environment]) or, as before and still seen, an event of its own."""
    runtime_version: str = "python:3.12.v18"
    """AWS [lambda-runtime-environment]: form of the INIT_START line."""
    trace_reservoir_per_s: NonNegativeFloat = 1.0
    """AWS [services-xray]: Lambda's own sampling where no decision came with the request: one a second ..."""
    trace_rate: Share = 0.05
    """... and 5 % of the rest."""


class GatewayParameters(_Section):
    """API Gateway, REST APIs."""

    overhead_ms: NonNegativeFloat = 3.0
    """Assumption: what API Gateway itself adds to a request."""
    account_rate_per_s: PositiveFloat = 10_000.0
    """AWS [limits]: all APIs of an account in a Region ..."""
    account_burst: PositiveInt = 5_000
    """... with a bucket of this size."""
    payload_max_bytes: PositiveInt = 10 * 1024 * 1024
    """AWS [limits]."""


class KinesisParameters(_Section):
    """Kinesis data streams."""

    shard_records_per_s: PositiveInt = 1000
    """AWS [service-sizes-and-limits]: in each second of the clock, no carry-over."""
    shard_bytes_per_s: PositiveInt = 1024 * 1024
    """AWS [service-sizes-and-limits]."""
    record_max_bytes: PositiveInt = 1024 * 1024
    """AWS [service-sizes-and-limits]; up to 10 MiB since 2025, out of the burst."""
    poll_interval_s: PositiveFloat = 0.25
    """AWS [service-sizes-and-limits] allows five reads a second and shard; Lambda's poller stays below (assumption)."""
    retry_pause_s: PositiveFloat = 1.0
    """Assumption: before a failed batch is handed to its function again."""


class SnsParameters(_Section):
    """SNS topics."""

    delivery_ms: NonNegativeFloat = 20.0
    """Assumption: from Publish to the hand-over to a function."""
    messages_per_s: PositiveFloat = 30_000.0
    """AWS [general/latest/gr/sns]: Publish in us-east-1, messages a second of an account; 300 to 9,000 elsewhere."""


class SqsParameters(_Section):
    """SQS queues, and Lambda's pollers of them."""

    delivery_ms: NonNegativeFloat = 20.0
    """Assumption: from the arrival of a message to the invocation, where a poller waits (long polling)."""
    pollers_at_first: PositiveInt = 5
    """AWS [services-sqs-scaling]: batches that Lambda processes at a time to begin with ..."""
    pollers_added_per_minute: NonNegativeFloat = 300.0
    """... and how many more in each minute while messages keep waiting ..."""
    pollers_max: PositiveInt = 1250
    """... up to so many for each mapping."""
    duplicate_after_s: NonNegativeFloat = 1.0
    """Assumption: when a fault doubles a message, its second copy comes so much later, as one does whose deletion did
    not reach all of SQS's servers (AWS [standard-queues-at-least-once-delivery])."""
    throttle_pause_s: PositiveFloat = 1.0
    """Assumption: before a batch that Lambda refused is handed over again."""


class EventBridgeParameters(_Section):
    """EventBridge event buses."""

    delivery_ms: NonNegativeFloat = 60.0
    """Assumption: from PutEvents to the hand-over to a function."""
    puts_per_s: PositiveFloat = 10_000.0
    """AWS [eb-quota]: PutEvents calls a second in us-east-1, us-west-2 and eu-west-1; 400 to 2,400 elsewhere."""


class LogsParameters(_Section):
    """CloudWatch Logs and Logs Insights."""

    ingestion_lag_s: NonNegativeFloat = 2.0
    """Assumption, for short runs; AWS says that minutes are possible [monitoring-cloudwatchlogs]."""
    insights_concurrent_queries: PositiveInt = 100
    """AWS [AnalyzingLogData]."""
    insights_latency_s: NonNegativeFloat = 0.3
    """Assumption: from StartQuery to Complete, at least."""
    insights_start_query_per_s: PositiveInt = 10
    """AWS [cloudwatch_limits_cwl]."""
    insights_get_results_per_s: PositiveInt = 10
    """AWS [cloudwatch_limits_cwl]."""


class ChainParameters(_Section):
    """A chain whose messages the truth follows by their correlation id."""

    first: str
    """Where messages enter it: logical name of the function behind the API, or of a `queue/...`, `topic/...`,
    `bus/...` or `stream/...`."""
    last: str
    """Logical name of the function whose success completes a message."""


class Parameters(_Section):
    """All of them. `lambda` being a Python keyword, that section is the attribute `lambda_`."""

    lambda_: LambdaParameters = Field(default=LambdaParameters(), alias="lambda")
    api_gateway: GatewayParameters = GatewayParameters()
    kinesis: KinesisParameters = KinesisParameters()
    sns: SnsParameters = SnsParameters()
    sqs: SqsParameters = SqsParameters()
    eventbridge: EventBridgeParameters = EventBridgeParameters()
    logs: LogsParameters = LogsParameters()
    functions: dict[str, FunctionTiming] = FUNCTIONS
    default_function: FunctionTiming = DEFAULT_TIMING
    chains: dict[str, ChainParameters] = {
        "shop": ChainParameters(first="shop-accept", last="shop-update-db"),
        "events-queue": ChainParameters(first="queue/events", last="queue-consumer"),
        "events-topic": ChainParameters(first="topic/events", last="topic-consumer"),
        "events-bus": ChainParameters(first="bus/events", last="bus-consumer"),
        "events-stream": ChainParameters(first="stream/events", last="stream-consumer"),
    }

    def timing(self, logical_name: str) -> FunctionTiming:
        """The timing of a function by its logical name; `default_function` for one that is not listed."""
        return self.functions.get(logical_name, self.default_function)


def parse_parameters(overrides: Mapping[str, Any], source: str = "model") -> Parameters:
    """The built-in parameters with `overrides` laid over them, section by section and name by name.

    A function that is not built in starts from `default_function`. Raises ParametersError naming every unknown key
    and every value out of bounds.
    """
    base = Parameters().model_dump(by_alias=True)
    functions = overrides.get("functions", {})
    if isinstance(functions, Mapping):
        default = _overlay(base["default_function"], overrides.get("default_function", {}))
        base["functions"] = dict.fromkeys(functions, default) | base["functions"]
    try:
        return Parameters.model_validate(_overlay(base, overrides))
    except ValidationError as error:
        raise ParametersError(source, problems_of(error)) from None


def load_parameters(path: Path | None) -> Parameters:
    """`parse_parameters` of a TOML file; None gives the built-in ones. Raises ParametersError."""
    if path is None:
        return Parameters()
    try:
        overrides = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ParametersError(str(path), [str(error)]) from None
    return parse_parameters(overrides, str(path))


def _overlay(base: Any, over: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(over, Mapping)):
        return over
    return base | {key: _overlay(base[key], value) if key in base else value for key, value in over.items()}
