"""What counts as a failure: an answer goes in, the reason comes out, empty where there is none.

Reasons are the same for every request that fails in the same way, so that they can be counted.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson

from loadgen.transport import Response

Check = Callable[[Response], str]


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


def invoke_failure(response: Response) -> str:
    """Why an Invoke failed: refused (with the reason of a throttle), or run and failed (with the exception's type).

    AWS documentation, "Invoke": a failed function answers 200 with X-Amz-Function-Error and a payload with errorType.
    """
    if response.status != 200:
        reason = _json_object(response.body).get("Reason")
        return success_status(response) + (f" ({reason})" if reason else "") or f"HTTP {response.status}"
    function_error = response.headers.get("x-amz-function-error")
    if function_error is None:
        return ""
    error_type = _json_object(response.body).get("errorType")
    return f"FunctionError {function_error}" + (f": {error_type}" if error_type else "")


def proxy_status_200(response: Response) -> str:
    """A function written for API Gateway answers 200 whatever happened; its verdict is the payload's statusCode."""
    status = _json_object(response.body).get("statusCode")
    return "" if status == 200 else f"payload statusCode {status}"


def _error_type(response: Response) -> str:
    """The exception's name: `x-amzn-ErrorType: TooManyRequestsException:http://...` -> its first part."""
    return response.headers.get("x-amzn-errortype", "").partition(":")[0]


def _json_object(body: bytes | bytearray) -> dict[str, Any]:
    """The JSON object in a body, empty where it is none."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
