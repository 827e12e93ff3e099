"""Credentials from where they should come, with the time they end."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loadgen.credentials import CredentialsNotFoundError, find_credentials
from tests.loadgen.conftest import no_credentials


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch, tmp_path):
    no_credentials(monkeypatch, tmp_path)


def profile_with_command(directory: Path, script: str) -> None:
    """A profile `work` whose credentials a command prints."""
    program = directory / "credentials.py"
    program.write_text(script)
    (directory / "config").write_text(f"[profile work]\ncredential_process = {sys.executable} {program}\n")


def test_sandbox_never_sees_the_callers_credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    found = find_credentials("sandbox", "some-profile")
    assert (found.value.access_key, found.value.secret_key, found.expires_at) == ("sandbox", "sandbox", None)


def test_credentials_of_the_environment_have_no_end(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    found = find_credentials("aws", None)
    assert (found.value.access_key, found.expires_at) == ("mine", None)


def test_credentials_are_fetched_anew_each_time_with_their_end(tmp_path):
    end = int(time.time()) + 3600
    answer = {
        "Version": 1,
        "AccessKeyId": "AKID",
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Expiration": datetime.fromtimestamp(end, UTC).isoformat(),
    }
    calls = tmp_path / "calls"
    profile_with_command(tmp_path, f"open({str(calls)!r}, 'a').write('x')\nprint({json.dumps(json.dumps(answer))})\n")
    for number in (1, 2):
        found = find_credentials("aws", "work")
        assert (found.value.token, found.expires_at) == ("token", end)
        assert len(calls.read_text()) == number


def test_no_credentials_anywhere():
    with pytest.raises(CredentialsNotFoundError, match="none found"):
        find_credentials("aws", None)


def test_nobody_is_asked_for_a_code(tmp_path):
    (tmp_path / "config").write_text(
        "[profile work]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n"
        "mfa_serial = arn:aws:iam::123456789012:mfa/me\n[profile base]\naws_access_key_id = a\n"
        "aws_secret_access_key = b\n"
    )
    with pytest.raises(CredentialsNotFoundError, match="asks for an MFA code"):
        find_credentials("aws", "work")


def test_what_aws_answers_is_never_logged(caplog):
    with caplog.at_level(logging.DEBUG):
        assert not logging.getLogger("botocore.parsers").isEnabledFor(logging.DEBUG)


def test_an_unknown_profile_is_named():
    with pytest.raises(CredentialsNotFoundError, match=r"The config profile \(nowhere\) could not be found"):
        find_credentials("aws", "nowhere")


def test_what_a_failing_command_prints_is_not_shown(tmp_path, caplog):
    profile_with_command(tmp_path, "import sys; sys.exit('s3cret')")
    with pytest.raises(CredentialsNotFoundError, match="custom-process: its command failed") as raised:
        find_credentials("aws", "work")
    assert "s3cret" not in str(raised.value) + caplog.text


def test_expired_credentials_that_cannot_be_renewed_are_none(monkeypatch, caplog):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")
    with pytest.raises(CredentialsNotFoundError, match="still expired"):
        find_credentials("aws", None)
    assert not caplog.records
