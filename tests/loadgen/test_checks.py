"""What counts as a failure, and in which words."""

from __future__ import annotations

import pytest

from loadgen.checks import (
    ACCEPTED_STATUS,
    all_of,
    equals,
    has,
    invoke_failure,
    matches,
    no_error_member,
    proxy_status_200,
    status_in,
    success_status,
    under,
)
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
        (
            response(403, b'{"message":"Forbidden"}', x_amzn_ErrorType="ForbiddenException"),
            "HTTP 403 Forbidden: ForbiddenException",
        ),
        (
            response(403, x_amzn_ErrorType="ExpiredTokenException:http://internal.amazon.com/coral/"),
            "HTTP 403 Forbidden: ExpiredTokenException",
        ),
        (response(401, b'{"message":"Unauthorized"}', www_authenticate="Bearer"), "HTTP 401 Unauthorized"),
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
            "FunctionError Handled: Sandbox.Timedout: RequestId: 5b5e0fe6-4c2f-4c07-9d0a-1d1f7d3b2a01 Error: "
            "Task timed out after 3.00 seconds",
        ),
        (
            response(
                200,
                b'{"errorType": "%b", "errorMessage": "one\\ntwo"}' % (b"E" * 5000),
                X_Amz_Function_Error="Unhandled",
            ),
            f"FunctionError Unhandled: {'E' * 200}: one",
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


@pytest.mark.parametrize(
    ("check", "answer", "error"),
    [
        (status_in(200, 404), response(404), ""),
        (status_in(201), response(201), ""),
        (status_in(201), response(200), "check failed: status is 201"),
        (status_in(404, 200), response(202), "check failed: status is 200 or 404"),
        (status_in(201), response(502), "HTTP 502 Bad Gateway"),
        (has("$.a.b"), response(200, b'{"a": {"b": null}}'), ""),
        (has("$.a.b"), response(200, b'{"a": ["b"]}'), "check failed: body has $.a.b"),
        (has("$.a[?@.b > 1]"), response(200, b'{"a": [{"b": 1}, {"b": 2}]}'), ""),
        (has("$.a[2]"), response(200, b'{"a": [1, 2]}'), "check failed: body has $.a[2]"),
        (has("$.a"), response(200, b"not JSON"), "check failed: body has $.a"),
        (has("$.a"), response(200, b"[]"), "check failed: body has $.a"),
        (has("$[0]"), response(200, b"[1]"), ""),
        (equals("$.state", "open"), response(200, b'{"state": "open"}'), ""),
        (equals("$.state", "open"), response(200, b'{"state": "shut"}'), 'check failed: $.state is "open"'),
        (equals("$.state", "open"), response(200, b"{}"), 'check failed: $.state is "open"'),
        (equals("$.n", 1), response(200, b'{"n": 1.0}'), ""),
        (equals("$.n", 1), response(200, b'{"n": true}'), "check failed: $.n is 1"),
        (equals("$.n", 1), response(200, b'{"n": "1"}'), "check failed: $.n is 1"),
        (equals("$.l", [1, None]), response(200, b'{"l": [1, null]}'), ""),
        (matches("$.id", "^[0-9]+$"), response(200, b'{"id": "17"}'), ""),
        (matches("$.id", "^[0-9]+$"), response(200, b'{"id": "x"}'), "check failed: $.id matches ^[0-9]+$"),
        (matches("$.id", "17"), response(200, b'{"id": 17}'), "check failed: $.id matches 17"),
        (no_error_member, response(200, b'{"error": null, "errors": [], "errorType": ""}'), ""),
        (no_error_member, response(200, b"not JSON"), ""),
        (no_error_member, response(200, b'{"errors": [{"message": "no"}]}'), "check failed: no error member"),
        (no_error_member, response(200, b'{"errorMessage": "no"}'), "check failed: no error member"),
    ],
)
def test_named_checks(check, answer, error):
    assert check(answer) == error


@pytest.mark.parametrize(
    ("elapsed_ms", "error"),
    [(499.9, ""), (500.0, "check failed: time under 500ms"), (None, "check failed: time under 500ms")],
)
def test_time_under_a_limit(elapsed_ms, error):
    answer = response(200)
    answer.elapsed_ms = elapsed_ms
    assert under(0.5)(answer) == error


def test_the_first_check_that_fails_names_the_request():
    check = all_of(success_status, has("$.a"), has("$.b"))
    assert check(response(200, b'{"a": 1, "b": 2}')) == ""
    assert check(response(200, b'{"a": 1}')) == "check failed: body has $.b"
    assert check(response(200, b"{}")) == "check failed: body has $.a"
    assert check(response(500, b"{}")) == "HTTP 500 Internal Server Error"


@pytest.mark.parametrize("make", [lambda: has("$.a["), lambda: equals("a.b", 1), lambda: matches("$.a", "(")])
def test_what_cannot_be_understood_is_refused_when_it_is_made(make):
    with pytest.raises(ValueError, match=r"not a (JSONPath|regular expression)"):
        make()
