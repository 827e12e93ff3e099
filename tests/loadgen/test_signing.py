"""Signatures that verify."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from loadgen.renewal import Lease
from loadgen.signing import Signer, default_endpoint


def lease(secret_key: str, token: str | None = None) -> Lease[ReadOnlyCredentials]:
    return Lease(ReadOnlyCredentials("AKID", secret_key, token))


def test_lines_of_a_signature():
    signer = Signer("lambda", "eu-west-1", lease("secret", "token"), clock=lambda: 1e9)
    given = {"X-Amz-Invocation-Type": "RequestResponse"}
    lines = signer.lines("POST", "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/f", given, b"{}")
    date, token, authorization, end = lines.split("\r\n")
    assert (date, token, end) == ("X-Amz-Date: 20010909T014640Z", "X-Amz-Security-Token: token", "")
    scope = "20010909/eu-west-1/lambda/aws4_request"
    assert authorization.startswith(f"Authorization: AWS4-HMAC-SHA256 Credential=AKID/{scope}, ")
    assert "SignedHeaders=host;x-amz-date;x-amz-invocation-type;x-amz-security-token, " in authorization


def authorization_of(lines: str) -> str:
    return lines.removesuffix("\r\n").rpartition("\r\nAuthorization: ")[2]


def botocore_authorization(
    service: str,
    region: str,
    credentials: ReadOnlyCredentials,
    at: float,
    method: str,
    url: str,
    headers: dict[str, str],
    body: bytes,
) -> str:
    """What botocore's own signer says of the same request at the same time."""
    request = AWSRequest(method, url, headers=headers, data=body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda: datetime.fromtimestamp(at, UTC))
        auth.SigV4Auth(credentials, service, region).add_auth(request)
    return request.headers["Authorization"]


NAMES = st.from_regex(r"\A[A-Za-z][A-Za-z0-9-]{0,15}\Z").filter(
    lambda name: name.lower() not in {"host", "date", "authorization", "x-amz-date", "x-amz-content-sha256"}
)
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)


@given(
    method=st.sampled_from(["POST", "GET"]),
    host=st.sampled_from(["https://a.amazonaws.com", "http://127.0.0.1:4566", "https://a.b:443", "http://[::1]:80"]),
    path=st.from_regex(r"\A(/[A-Za-z0-9%:$._~-]{0,9}){0,4}\Z"),
    query=st.from_regex(r"\A(\?[A-Za-z0-9%$=&._~-]{0,30})?\Z"),
    headers=st.dictionaries(NAMES, PRINTABLE, max_size=4).filter(lambda h: len({n.lower() for n in h}) == len(h)),
    body=st.binary(max_size=100),
    token=st.sampled_from([None, "token+/=="]),
    # Whole microseconds, as a datetime has them: it would round 1.9999996 up to a second that our clock never had.
    at=st.integers(0, 4 * 10**15).map(lambda microseconds: microseconds / 1e6),
)
def test_every_signature_is_botocore_s(method, host, path, query, headers, body, token, at):
    credentials = lease("secret", token)
    url = host + path + query
    expected = botocore_authorization("lambda", "eu-west-1", credentials.value, at, method, url, headers, body)
    signer = Signer("lambda", "eu-west-1", credentials, clock=lambda: at)
    for _ in range(2):  # made, and then made of what was kept
        assert authorization_of(signer.lines(method, url, headers, body)) == expected


def test_key_changes_with_the_day_and_with_renewed_credentials():
    credentials = SimpleNamespace(value=lease("a").value)
    times = [86_399.9, 86_400.1, 86_400.2]
    clock = iter(times)
    signer = Signer("sqs", "us-east-1", credentials, clock=lambda: next(clock))
    for secret_key, at in zip(["a", "a", "b"], times, strict=True):
        credentials.value = lease(secret_key).value
        expected = botocore_authorization("sqs", "us-east-1", credentials.value, at, "POST", "https://q/", {}, b"x")
        assert authorization_of(signer.lines("POST", "https://q/", {}, b"x")) == expected


def test_many_different_urls_are_signed_right_and_not_all_kept():
    signer = Signer("execute-api", "eu-west-1", lease("secret"), clock=lambda: 1e9)
    for number in range(3000):
        url = f"https://a.execute-api.eu-west-1.amazonaws.com/prod/vote/a%20{number}?b={number}&a=%2F"
        signed = authorization_of(signer.lines("GET", url, {}, b""))
        if number % 100 == 0:
            credentials = lease("secret").value
            assert signed == botocore_authorization("execute-api", "eu-west-1", credentials, 1e9, "GET", url, {}, b"")
    assert len(signer._targets) <= 1000
    assert len(signer._drafts) <= 1000


def test_what_is_kept_of_a_signature_is_not_taken_for_another_request():
    signer, credentials = Signer("sqs", "us-east-1", lease("secret"), clock=lambda: 1e9), lease("secret").value
    asked = [
        (method, url, headers, body)
        for method in ("GET", "POST")
        for url in ("https://q/a", "https://q/b")
        for headers in ({}, {"X-Amz-Target": "a"}, {"X-Amz-Target": "b"})
        for body in (b"x", b"y")
    ]
    for one in asked * 2:
        assert authorization_of(signer.lines(*one)) == botocore_authorization(
            "sqs", "us-east-1", credentials, 1e9, *one
        )


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        ("eu-west-1", "https://lambda.eu-west-1.amazonaws.com"),
        ("cn-north-1", "https://lambda.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_endpoint_of_a_region(region, endpoint):
    assert default_endpoint("lambda", region, None) == endpoint
