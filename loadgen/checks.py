"""What counts as a failure: an answer goes in, the reason comes out, empty where there is none.

Reasons are the same for every request that fails in the same way, so that they can be counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson

from loadgen.transport import Response

Check = Callable[[Response], str]

ACCEPTED_STATUS = {"RequestResponse": 200, "Event": 202, "DryRun": 204}
"""Invocation type -> the status of an Invoke that Lambda took (AWS documentation, "Invoke")."""

_MESSAGE_CHARACTERS = 200
_VARYING = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{16,}\b|\b\d{4}-\d\d-\d\dT[\d:.]+Z",
    re.IGNORECASE,
)
"""Ids and times: what differs between two requests that failed in the same way."""


def success_status(response: Response) -> str:
    """Every status but 2xx is a failure: `HTTP 502 Bad Gateway`."""
    status = response.status
    if 200 <= status < 300:
        return ""
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    error_type = _error_type(response)
    return f"HTTP {status}{phrase}" + (f": {error_type}" if error_type else "")


def invoke_failure(response: Response, accepted_status: int = 200) -> str:
    """Why an Invoke failed: refused (with the reason of a throttle), or run and failed (with the exception).

    AWS documentation, "Invoke": a failed function answers 200 with X-Amz-Function-Error (`Unhandled` or `Handled`) and
    a payload with errorType and errorMessage. Ids and times in the message are masked.
    """
    if response.status != accepted_status:
        reason = _json_object(response.body).get("Reason")
        return success_status(response) + (f" ({reason})" if reason else "") or f"HTTP {response.status}"
    function_error = response.headers.get("x-amz-function-error")
    if function_error is None:
        return ""
    raised = _json_object(response.body)
    parts = [f"FunctionError {function_error}", raised.get("errorType"), _constant(raised.get("errorMessage"))]
    return ": ".join(str(part) for part in parts if part)


def proxy_status_200(response: Response) -> str:
    """A function written for API Gateway answers 200 whatever happened; its verdict is the payload's statusCode."""
    status = _json_object(response.body).get("statusCode")
    return "" if status == 200 else f"payload statusCode {status}"


def _constant(message: object) -> str:
    """The first line of an exception's message, without what varies."""
    text = message.strip() if isinstance(message, str) else ""
    return _VARYING.sub("<id>", text.partition("\n")[0])[:_MESSAGE_CHARACTERS]


def _error_type(response: Response) -> str:
    """The exception's name: `x-amzn-ErrorType: TooManyRequestsException:http://...` -> its first part.

    Some services put their namespace before it: `com.amazonaws.sqs#QueueDoesNotExist`.
    """
    return response.headers.get("x-amzn-errortype", "").partition(":")[0].rpartition("#")[2]


def _json_object(body: bytes | bytearray) -> dict[str, Any]:
    """The JSON object in a body, empty where it is none."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
