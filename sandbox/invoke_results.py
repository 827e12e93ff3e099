"""The answer to an Invoke, and the refusals that are made without looking at the function.

Forms of the refusals from AWS documentation (API_Invoke) and botocore's service model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import orjson


class InvokeResult(NamedTuple):
    """The answer to an Invoke."""

    status: int
    """200, 202 or 204, or 4xx for a call that Lambda refused."""
    payload: bytes
    """The handler's result as JSON, the function error, or the refusal's JSON body."""
    function_error: str | None
    """`Unhandled` where the function failed."""
    executed_version: str | None
    request_id: str
    """The Lambda request id: in the log lines, in the handler's context and in x-amzn-RequestId."""
    log_tail: bytes | None = None
    """The last 4 KB of the invocation's log, where asked for."""
    error_code: str | None = None
    """`TooManyRequestsException` and the like for a refused call."""
    reason: str | None = None
    """Why it was throttled."""
    retry_after_s: int | None = None


OnDone = Callable[[InvokeResult], None]


def throttled(reason: str, retry_after_s: int, request_id: str) -> InvokeResult:
    """The invocation is beyond a limit. `reason`: which one."""
    body = orjson.dumps({"Reason": reason, "Type": "User", "message": "Rate Exceeded."})
    code = "TooManyRequestsException"
    return InvokeResult(429, body, None, None, request_id, error_code=code, reason=reason, retry_after_s=retry_after_s)


def invalid_request_content(error: ValueError, request_id: str) -> InvokeResult:
    """The event is not JSON."""
    return refusal(
        400, "InvalidRequestContentException", f"Could not parse request body into json: {error}", request_id
    )


def too_large(size: int, limit: int, request_id: str, invocation_type: str) -> InvokeResult:
    """The event is larger than Lambda takes."""
    message = f"{size} byte payload is too large for the {invocation_type} invocation type (limit {limit} bytes)"
    return refusal(413, "RequestTooLargeException", message, request_id)


def refusal(status: int, code: str, message: str, request_id: str) -> InvokeResult:
    """A call that Lambda refuses; the body carries the message under the key its error shape has."""
    key = "Message" if code == "ResourceNotFoundException" else "message"
    body = orjson.dumps({"Type": "User", key: message})
    return InvokeResult(status, body, None, None, request_id, error_code=code)
