"""Methods that want a signature or a key: who is let through, what the others are told, and that nothing runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore import auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from sandbox.definitions import Route
from tests.sandbox.lab import START, Lab
from tests.sandbox.test_gateway import header, lab

KEY = "a-key-of-twenty-characters"
SIGNED_ROUTE = Route("ANY", "/{proxy+}", "echo", None, authorization_type="AWS_IAM")
KEY_ROUTE = Route("ANY", "/{proxy+}", "echo", None, api_key_required=True)
PATH = "/vote/a%20b"
BODY = b'{"vote":1}'


def guarded(route: Route) -> Lab:
    return lab(
        routes=[route],
        api_keys=frozenset([KEY]),
        access_log_group="/access",
        access_log_format="$context.status $context.error.responseType $context.integration.requestId",
    )


def signed(
    *,
    access_key: str = "sandbox",
    secret_key: str = "sandbox",
    service: str = "execute-api",
    region: str = "us-east-1",
    at: float = START,
    headers: Mapping[str, str] | None = None,
    path: str = PATH,
    query: str = "",
    body: bytes = BODY,
) -> dict[str, str]:
    """Headers of a request as botocore signs it."""
    request = AWSRequest("POST", f"http://localhost/prod{path}{query}", headers=headers or {}, data=body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda: datetime.fromtimestamp(at, UTC))
        SigV4Auth(ReadOnlyCredentials(access_key, secret_key, None), service, region).add_auth(request)
    return dict(request.headers.items())


def send(sandbox: Lab, headers: Mapping[str, str], path: str = PATH, body: bytes = BODY, query: bytes = b"") -> Any:
    lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return sandbox.request("POST", path, body, headers=[(b"host", b"localhost"), *lines], query_string=query)


def test_a_signed_request_passes():
    assert send(guarded(SIGNED_ROUTE), signed()).status == 200


def test_the_query_the_content_type_and_what_is_not_signed_are_taken_into_account():
    headers = signed(query="?b=%20&a=1", headers={"Content-Type": "application/json", "X-Amz-Meta": " a  b "})
    answer = send(guarded(SIGNED_ROUTE), headers | {"x-amzn-trace-id": "Root=1"}, query=b"b=%20&a=1")
    assert answer.status == 200


def test_an_unsigned_request_is_refused_and_nothing_runs():
    sandbox = guarded(SIGNED_ROUTE)
    answer = send(sandbox, {})
    assert (answer.status, json.loads(answer.body)) == (403, {"message": "Missing Authentication Token"})
    assert header(answer, "x-amzn-errortype") == "MissingAuthenticationTokenException"
    assert sandbox.truth.as_dict()["api"] == {"requests": 1, "by_status": {"403": 1}}
    assert sandbox.truth.as_dict()["functions"] == {}
    assert sandbox.logs.messages("/access") == ["403 MISSING_AUTHENTICATION_TOKEN -"]


MISMATCH = "The request signature we calculated does not match"


@pytest.mark.parametrize(
    ("headers", "error_type", "message"),
    [
        (signed(secret_key="wrong"), "InvalidSignatureException", MISMATCH),
        (signed(body=b"{}"), "InvalidSignatureException", MISMATCH),
        (signed(path="/vote/other"), "InvalidSignatureException", MISMATCH),
        (signed(query="?a=1"), "InvalidSignatureException", MISMATCH),
        (signed(headers={"X-Amz-Content-SHA256": "0"}), "InvalidSignatureException", MISMATCH),
        (signed(access_key="AKID"), "UnrecognizedClientException", "The security token included"),
        (signed(service="lambda"), "InvalidSignatureException", "Credential should be scoped to "),
        (signed(region="eu-west-1"), "InvalidSignatureException", "Credential should be scoped to "),
        (
            signed(at=START - 301),
            "InvalidSignatureException",
            "Signature expired: 20270115T075459Z is now earlier than 20270115T075500Z (20270115T080000Z - 5 min.)",
        ),
        (
            signed(at=START + 301),
            "InvalidSignatureException",
            "Signature not yet current: 20270115T080501Z is still later than 20270115T080500Z",
        ),
        (
            {"Authorization": "Bearer t"},
            "IncompleteSignatureException",
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature'",
        ),
        (signed() | {"X-Amz-Date": "20270115"}, "InvalidSignatureException", "Date in X-Amz-Date"),
    ],
)
def test_what_is_wrong_with_a_signature_is_said(headers, error_type, message):
    sandbox = guarded(SIGNED_ROUTE)
    answer = send(sandbox, headers)
    assert (answer.status, header(answer, "x-amzn-errortype")) == (403, error_type)
    assert json.loads(answer.body)["message"].startswith(message)
    assert sandbox.truth.as_dict()["functions"] == {}


@pytest.mark.parametrize("at", [START - 300, START + 300])
def test_a_clock_may_be_five_minutes_off(at):
    assert send(guarded(SIGNED_ROUTE), signed(at=at)).status == 200


def test_a_key_of_the_usage_plan_passes():
    assert send(guarded(KEY_ROUTE), {"X-Api-Key": KEY}).status == 200


@pytest.mark.parametrize("headers", [{}, {"X-Api-Key": "another"}])
def test_no_key_or_another_is_forbidden(headers):
    sandbox = guarded(KEY_ROUTE)
    answer = send(sandbox, headers)
    assert (answer.status, json.loads(answer.body)) == (403, {"message": "Forbidden"})
    assert header(answer, "x-amzn-errortype") == "ForbiddenException"
    assert sandbox.logs.messages("/access") == ["403 INVALID_API_KEY -"]
    assert sandbox.truth.as_dict()["functions"] == {}


def test_a_method_may_want_both():
    both = Route("ANY", "/{proxy+}", "echo", None, authorization_type="AWS_IAM", api_key_required=True)
    assert send(guarded(both), signed()).status == 403
    assert send(guarded(both), signed() | {"X-Api-Key": KEY}).status == 200
