"""What the command line makes of errors: a message and an exit code, never a traceback."""

import errno

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ReadTimeoutError,
)
from click.testing import CliRunner

from control import __main__ as command_line
from control import orchestrate

ENDPOINT = "http://127.0.0.1:1/"


@pytest.mark.parametrize(
    ("error", "exit_code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/a"), 3, "No space left on device: 'runs/a'"),
        (EndpointConnectionError(endpoint_url=ENDPOINT), 2, "AWS_ENDPOINT_URL"),
        (ConnectionClosedError(endpoint_url=ENDPOINT), 2, "AWS_ENDPOINT_URL"),
        (ReadTimeoutError(endpoint_url=ENDPOINT), 2, "AWS_ENDPOINT_URL"),
        (NoRegionError(), 2, "AWS_REGION"),
        (NoCredentialsError(), 2, "aws sso login --profile work"),
        (ClientError({"Error": {"Code": "ExpiredToken", "Message": "m"}}, "PutObject"), 2, "have expired (PutObject"),
        (
            ClientError(
                {
                    "Error": {
                        "Code": "AccessDeniedException",
                        "Message": "User: u is not authorized to perform: logs:StartQuery on resource: r because no",
                    }
                },
                "StartQuery",
            ),
            2,
            "error: not allowed: logs:StartQuery on r (StartQuery)\nhint: have a policy attached that allows it: "
            "control/policies/analysis.json (`python -m control policy analysis` prints it)\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_a_message_and_an_exit_code(monkeypatch, error, exit_code, said):
    def fail(*_):
        raise error

    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setattr(orchestrate, "load", fail)
    done = CliRunner().invoke(command_line.main, ["load"])
    assert (done.exit_code, said in done.output) == (exit_code, True), done.output


def test_a_worker_that_was_killed_says_so(monkeypatch):
    monkeypatch.setattr(orchestrate, "run_in_foreground", lambda *_: orchestrate.LocustEnd(-9, False, ""))
    done = CliRunner().invoke(command_line.main, ["worker", "--target", "sandbox"])
    assert (done.exit_code, "SIGKILL ended this worker" in done.output) == (3, True), done.output


def test_a_worker_says_where_it_looks_for_its_master(monkeypatch):
    monkeypatch.setattr(orchestrate, "run_in_foreground", lambda *_: orchestrate.LocustEnd(0, False, ""))
    done = CliRunner().invoke(command_line.main, ["worker", "--master-host", "10.0.0.5", "--master-port", "7000"])
    assert "looking for a master at 10.0.0.5:7000" in done.output
