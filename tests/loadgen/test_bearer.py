"""Bearer tokens: what a command may print, when it ends, and that nothing of it is ever shown."""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from loadgen.bearer import given_token, parse_token, token_of_command
from loadgen.renewal import RenewalError

NOW = 1_800_000_000.0


def jwt(claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part(claims)}.c2ln"


@pytest.mark.parametrize(
    ("output", "token", "expires_at"),
    [
        ("opaque-token\n", "opaque-token", None),
        ("  a.b.c ", "a.b.c", None),
        (jwt({"exp": NOW + 60}), jwt({"exp": NOW + 60}), NOW + 60),
        (jwt({"sub": "me?>~"}), jwt({"sub": "me?>~"}), None),
        (jwt([1]), jwt([1]), None),
        ('{"access_token":"t","expires_in":3600}', "t", NOW + 3600),
        ('{"access_token":"t","expires_in":"3600"}', "t", NOW + 3600),
        ('{"token":"t","expires_at":1800000100}', "t", NOW + 100),
        ('{"token":"t","expires_at":"2027-01-15T08:05:00Z"}', "t", NOW + 300),
        ('{"token":"t","expires_at":"2027-01-15T09:05:00+01:00"}', "t", NOW + 300),
        ('{"access_token":"t","token_type":"Bearer"}', "t", None),
        (json.dumps({"token": jwt({"exp": NOW + 60}), "expires_in": 3600}), jwt({"exp": NOW + 60}), NOW + 60),
    ],
)
def test_what_a_command_may_print(output, token, expires_at):
    lease = parse_token(output, NOW)
    assert (lease.value, lease.expires_at) == (token, expires_at)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("", "empty"),
        ("s3cret\nmore", "characters that no token may have"),
        ("s3cret caf\u00e9", "characters that no token may have"),
        ("{s3cret", "neither a token nor JSON"),
        ('{"s3cret": 1}', "without access_token or token"),
        ('{"token": 5}', "without access_token or token"),
        ('{"token": "s3cret", "expires_in": "soon"}', "expires_in is no number"),
        ('{"token": "s3cret", "expires_at": "2027-01-15T08:05:00"}', "expires_at is no number"),
        ('{"token": "s3cret", "expires_in": [1]}', "expires_in is no number"),
    ],
)
def test_what_is_no_token_is_refused_without_being_shown(output, said):
    with pytest.raises(RenewalError, match=said) as raised:
        parse_token(output, NOW)
    assert "s3cret" not in str(raised.value)


def test_a_given_token_ends_when_it_says():
    assert given_token(jwt({"exp": 5})).expires_at == 5


def command(directory: Path, script: str) -> str:
    program = directory / "token with blanks.py"
    program.write_text(script)
    return f"{sys.executable} '{program}' 's3cret'"


def test_a_command_is_run_without_a_shell(tmp_path):
    lease = token_of_command(command(tmp_path, "import sys; print(sys.argv[1] + '-$HOME')"), clock=lambda: NOW)
    assert (lease.value, lease.expires_at) == ("s3cret-$HOME", None)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; print('s3cret'); sys.exit(3)", "ended with status 3"),
        ("import sys; sys.stdout.buffer.write(b's3cret\\xff')", "printed what is no text"),
    ],
)
def test_a_command_that_fails_says_so_without_what_it_printed(tmp_path, script, said):
    with pytest.raises(RenewalError, match=said) as raised:
        token_of_command(command(tmp_path, script))
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("line", ["/no/such/s3cret", "s3cret 'open"])
def test_a_command_that_cannot_be_run(line):
    with pytest.raises(RenewalError, match="the command cannot be run: ") as raised:
        token_of_command(line)
    assert "s3cret" not in str(raised.value)


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path):
    pid_file = tmp_path / "pid"
    pid_file.touch()
    for limit_s in (1.5, 6.0, 24.0):
        with pytest.raises(RenewalError, match=f"did not end within {limit_s:g} s"):
            token_of_command(f"sh -c 'sleep 60 & echo $! > {pid_file}; wait'", limit_s=limit_s)
        if pid := pid_file.read_text():
            break
        # On a busy machine the command had not even come to its second process by then.
    assert is_gone_soon(int(pid))


def is_gone_soon(pid: int) -> bool:
    """Whether a process that was killed ends, which may take the kernel a moment; nobody may be there to bury it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False
