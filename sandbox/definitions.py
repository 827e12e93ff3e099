"""What the model needs to know of the AWS resources that exist.

The resources themselves (functions, APIs, topics, streams, their configuration) are moto's; these frozen values are
the model's view of them. `Definitions` is the seam: `sandbox.moto_bridge` implements it over moto's state, tests
implement it with literals. A value is valid for one `generation`; the bridge raises the generation whenever a
control-plane call may have changed something, so the data path never has to ask moto.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

ACCOUNT_ID = "123456789012"


@dataclass(frozen=True)
class FunctionDefinition:
    """One published version (or $LATEST) of a Lambda function."""

    name: str
    arn: str
    """Unqualified function ARN."""
    version: str
    """`$LATEST` or a number: what START lines and X-Amz-Executed-Version show."""
    handler: str
    """`module.function`."""
    memory_mb: int
    timeout_s: float
    environment: Mapping[str, str]
    code_sha256: str
    code_zip: bytes
    log_group: str
    log_format: str = "Text"
    """LoggingConfig.LogFormat: `Text` or `JSON`."""
    snap_start: bool = False
    """A published version whose environments are restored from a snapshot (SnapStart)."""
    tracing_active: bool = False
    reserved_concurrency: int | None = None

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]


@dataclass(frozen=True)
class Route:
    """One method of a REST API with a Lambda proxy integration."""

    method: str
    """`POST`, `GET`, ... or `ANY`."""
    path: str
    """Resource path as API Gateway writes it: `/vote/{vote_id}`."""
    function_name: str
    qualifier: str | None
    timeout_s: float = 29.0
    authorization_type: str | None = None
    """`AWS_IAM`; anything else lets every request through."""
    api_key_required: bool = False


@dataclass(frozen=True)
class ApiStage:
    """One deployed stage of a REST API."""

    api_id: str
    name: str
    stage: str
    routes: Sequence[Route]
    throttle_rate: float | None
    """Requests per second of the stage; None means the account's limit alone."""
    throttle_burst: int | None
    access_log_group: str | None
    access_log_format: str | None
    """The stage's access log template with `$context` variables."""
    tracing: bool
    api_keys: frozenset[str] = field(default=frozenset(), repr=False)
    """Values of the enabled keys that a usage plan gives access to this stage."""


@dataclass(frozen=True)
class StreamSource:
    """An event source mapping from a Kinesis stream to a function."""

    uuid: str
    stream_name: str
    stream_arn: str
    function_name: str
    qualifier: str | None
    batch_size: int
    window_s: float
    """MaximumBatchingWindowInSeconds."""
    starting_position: str
    max_retries: int | None = None
    """MaximumRetryAttempts; None: until the records expire."""
    bisects: bool = False
    """BisectBatchOnFunctionError."""
    on_failure_arn: str | None = None
    """DestinationConfig.OnFailure: the SQS queue that is told of discarded batches."""


@dataclass(frozen=True)
class QueueDefinition:
    """One standard SQS queue."""

    name: str
    arn: str
    visibility_timeout_s: float
    delay_s: float
    """DelaySeconds."""
    message_max_bytes: int
    wait_s: float
    """ReceiveMessageWaitTimeSeconds."""
    dead_letter_arn: str | None
    max_receive_count: int | None
    """A message received so often goes to the dead-letter queue instead of being received again."""


@dataclass(frozen=True)
class QueueSource:
    """An event source mapping from an SQS queue to a function."""

    uuid: str
    queue_arn: str
    function_name: str
    qualifier: str | None
    batch_size: int
    window_s: float
    """MaximumBatchingWindowInSeconds."""
    max_concurrency: int | None
    """ScalingConfig.MaximumConcurrency."""
    reports_failures: bool
    """FunctionResponseTypes has ReportBatchItemFailures: the function says which messages of a batch failed."""


@dataclass(frozen=True)
class EventRule:
    """An enabled rule of an event bus with an event pattern."""

    arn: str
    matches: Callable[[Mapping[str, Any]], bool]
    """Whether the rule's pattern matches an event."""
    functions: Sequence[str]
    """ARNs of the functions among its targets."""


class Definitions(Protocol):
    """The resources that exist now."""

    @property
    def generation(self) -> int:
        """Changes whenever any answer below may have changed."""
        ...

    def function(self, name: str, qualifier: str | None = None) -> FunctionDefinition | None:
        """By name, ARN or partial ARN (which may carry the qualifier). None where there is no such function,
        version or alias."""
        ...

    def api_stage(self, api_id: str | None, stage: str) -> ApiStage | None:
        """By API id, or, where that is None, the only deployed API that has such a stage."""
        ...

    def subscribed_functions(self, topic_arn: str) -> Sequence[tuple[str, str]]:
        """(subscription ARN, function ARN) of each lambda subscription of a topic. Empty for an unknown topic."""
        ...

    def topic_exists(self, topic_arn: str) -> bool: ...

    def shard_count(self, stream_name: str) -> int | None:
        """Open shards of a stream by name; None where there is none."""
        ...

    def stream_sources(self) -> Sequence[StreamSource]: ...

    def queue(self, name: str, region: str) -> QueueDefinition | None:
        """None where there is none, or where it is a FIFO queue."""
        ...

    def queue_sources(self) -> Sequence[QueueSource]: ...

    def event_rules(self, bus: str, region: str) -> Sequence[EventRule] | None:
        """The rules of a bus by its name; None where there is no such bus."""
        ...

    def logical_name(self, physical_name: str) -> str:
        """A resource's name without its stack's name in front: `place-vote` for `swarmscope-place-vote` of the stack
        `swarmscope`. A name that no CloudFormation stack owns stays as it is."""
        ...

    def provisioned_concurrency(self) -> Sequence[tuple[FunctionDefinition, int]]:
        """The published versions that environments are to be kept ready of, and how many. Each version once."""
        ...

    def reserved_concurrency_total(self) -> int:
        """Sum of the reserved concurrency of all functions: what is carved out of the account's."""
        ...
