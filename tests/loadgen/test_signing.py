"""Signatures that verify, and credentials from where they should come."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from loadgen.signing import CredentialsNotFoundError, Signer, default_endpoint, find_credentials


@pytest.fixture
def nothing_configured(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_signed_headers():
    signer = Signer("lambda", "eu-west-1", Credentials("AKID", "secret", "token"))
    given = {"X-Amz-Invocation-Type": "RequestResponse"}
    headers = signer.headers("POST", "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/f", given, b"{}")
    assert headers["X-Amz-Invocation-Type"] == "RequestResponse"
    assert headers["X-Amz-Security-Token"] == "token"
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert "/eu-west-1/lambda/aws4_request" in headers["Authorization"]
    assert "SignedHeaders=host;x-amz-date;x-amz-invocation-type;x-amz-security-token" in headers["Authorization"]
    assert given == {"X-Amz-Invocation-Type": "RequestResponse"}, "what was given is not changed"


def botocore_authorization(
    signer_of: tuple[str, str, Credentials], at: float, method: str, url: str, headers: dict[str, str], body: bytes
) -> str:
    """What botocore's own signer says of the same request at the same time."""
    service, region, credentials = signer_of
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
    at=st.floats(0, 4e9),
)
def test_every_signature_is_botocore_s(method, host, path, query, headers, body, token, at):
    signer_of = ("lambda", "eu-west-1", Credentials("AKID", "secret", token))
    url = host + path + query
    expected = botocore_authorization(signer_of, at, method, url, headers, body)
    signed = Signer(*signer_of, clock=lambda: at).headers(method, url, headers, body)
    assert signed["Authorization"] == expected


def test_key_changes_with_the_day_and_with_renewed_credentials():
    class Renewed(Credentials):
        def get_frozen_credentials(self):
            return Credentials("AKID", secrets.pop(0)).get_frozen_credentials()

    secrets, times = ["a", "a", "b"], [86_399.9, 86_400.1, 86_400.2]
    clock = iter(times)
    signer = Signer("sqs", "us-east-1", Renewed("AKID", "unused"), clock=lambda: next(clock))
    for secret, at in zip(list(secrets), times, strict=True):
        expected = botocore_authorization(
            ("sqs", "us-east-1", Credentials("AKID", secret)), at, "POST", "https://q/", {}, b"x"
        )
        assert signer.headers("POST", "https://q/", {}, b"x")["Authorization"] == expected


def test_sandbox_never_sees_the_caller_s_credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    assert find_credentials("sandbox", "some-profile").access_key == "sandbox"


def test_credentials_of_the_environment(nothing_configured, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert find_credentials("aws", None).access_key == "mine"


def test_no_credentials_anywhere(nothing_configured):
    with pytest.raises(CredentialsNotFoundError, match="no AWS credentials found"):
        find_credentials("aws", None)


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        ("eu-west-1", "https://lambda.eu-west-1.amazonaws.com"),
        ("cn-north-1", "https://lambda.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_endpoint_of_a_region(nothing_configured, region, endpoint):
    assert default_endpoint("lambda", region, None) == endpoint
