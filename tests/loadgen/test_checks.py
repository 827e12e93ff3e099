"""What counts as a failure, and in which words."""

from __future__ import annotations

import pytest

from loadgen.checks import ACCEPTED_STATUS, invoke_failure, proxy_status_200, success_status
from loadgen.transport import Response


def response(status: int, body: bytes = b"", **headers: str) -> Response:
    return Response(status, {name.replace("_", "-").lower(): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (response(200), ""),
        (response(299), ""),
        (response(304), "HTTP 304 Not Modified"),
        (response(502, b'{"message": "Internal server error"}'), "HTTP 502 Bad Gateway"),
        (response(599), "HTTP 599"),
        (
            response(403, x_amzn_ErrorType="MissingAuthenticationTokenException"),
            "HTTP 403 Forbidden: MissingAuthenticationTokenException",
        ),
    ],
)
def test_status(answer, error):
    assert success_status(answer) == error


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (response(200, b'{"statusCode": 200}'), ""),
        (
            response(200, b'{"errorType": "KeyError", "errorMessage": "x"}', X_Amz_Function_Error="Unhandled"),
            "FunctionError Unhandled: KeyError: x",
        ),
        (
            response(
                200,
                b'{"errorType": "Sandbox.Timedout", "errorMessage": "RequestId: 5b5e0fe6-4c2f-4c07-9d0a-1d1f7d3b2a01 '
                b'Error: Task timed out after 3.00 seconds"}',
                X_Amz_Function_Error="Handled",
            ),
            "FunctionError Handled: Sandbox.Timedout: RequestId: <id> Error: Task timed out after 3.00 seconds",
        ),
        (response(200, b"not JSON", X_Amz_Function_Error="Unhandled"), "FunctionError Unhandled"),
        (
            response(
                429,
                b'{"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User"}',
                x_amzn_ErrorType="TooManyRequestsException:http://internal.amazon.com/",
            ),
            "HTTP 429 Too Many Requests: TooManyRequestsException (ReservedFunctionConcurrentInvocationLimitExceeded)",
        ),
        (response(202), "HTTP 202"),
        (response(500, b'["not an object"]'), "HTTP 500 Internal Server Error"),
    ],
)
def test_synchronous_invoke(answer, error):
    assert invoke_failure(answer) == error


@pytest.mark.parametrize(("kind", "status"), [("RequestResponse", 200), ("Event", 202), ("DryRun", 204)])
def test_each_invocation_type_has_its_status(kind, status):
    assert invoke_failure(response(status), ACCEPTED_STATUS[kind]) == ""
    assert invoke_failure(response(201), ACCEPTED_STATUS[kind]) == "HTTP 201"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"statusCode": 200, "body": ""}', ""),
        (b'{"statusCode": 400}', "payload statusCode 400"),
        (b"null", "payload statusCode None"),
        (b"", "payload statusCode None"),
    ],
)
def test_payload_of_a_proxy_function(body, error):
    assert proxy_status_200(response(200, body)) == error
