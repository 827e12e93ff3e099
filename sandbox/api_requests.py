"""A request to a deployed API: as it comes, while it is under way, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sandbox.api_stages import CompiledRoute, DeployedStage

Headers = Sequence[tuple[bytes, bytes]]


class ApiRequest(NamedTuple):
    """A request to a stage. `path` begins behind the stage's name, `sent_path` with it; header names are lower-case."""

    method: str
    path: str
    query_string: bytes
    headers: Headers
    body: bytes
    source_ip: str
    sent_path: str


class ApiResponse(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    cut: bool = False
    """The connection closes in the middle of it."""


OnAnswer = Callable[[ApiResponse], None]


class GatewayError(NamedTuple):
    """One of API Gateway's own answers."""

    status: int
    message: str
    error_type: str
    """x-amzn-ErrorType."""
    response_type: str
    """$context.error.responseType."""


class OpenRequest:
    """A request under way, and what the access log will say of it. Times are epoch seconds."""

    __slots__ = (
        "answered",
        "cut",
        "error",
        "extended_request_id",
        "integration_error",
        "integration_status",
        "lambda_request_id",
        "logged_request_id",
        "on_done",
        "received_at",
        "request",
        "request_id",
        "responded_at",
        "response_length",
        "route",
        "sent_at",
        "served_at",
        "stage",
        "status",
        "trace_header",
        "trace_root",
        "user_agent",
    )

    stage: DeployedStage
    request: ApiRequest
    route: CompiledRoute | None
    on_done: OnAnswer
    received_at: float
    request_id: str
    """Returned, and seen by the handler."""
    logged_request_id: str
    extended_request_id: str
    trace_root: str
    trace_header: str
    user_agent: str | None
    sent_at: float | None
    """Handed to Lambda."""
    served_at: float | None
    """Lambda answered."""
    responded_at: float
    answered: bool
    cut: bool
    """The connection is to close in the middle of the answer."""
    lambda_request_id: str | None
    integration_status: int | None
    """What the Lambda service answered (`$context.integration.integrationStatus`)."""
    integration_error: str | None
    error: GatewayError | None
    status: int
    response_length: int
