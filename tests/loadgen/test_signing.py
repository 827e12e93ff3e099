"""Signatures that verify, and credentials from where they should come."""

from __future__ import annotations

import pytest
from botocore.credentials import Credentials

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
