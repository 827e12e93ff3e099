"""Whole runs of Locust against APIs that want to know who calls."""

from __future__ import annotations

import re
import shlex
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import pytest
from botocore.credentials import ReadOnlyCredentials

from tests.loadgen.test_signing import botocore_authorization


def headers_of(head: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^(\S+): (.*)\r$", head))


def files_of(run) -> str:
    return "".join(file.read_text() for file in run.directory.rglob("*") if file.is_file())


EXPIRED = b"HTTP/1.1 403 X\r\nx-amzn-ErrorType: ExpiredTokenException\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def signed(lasting_locust, lasting_server):
    """A run whose every third request is refused."""
    welcome = lasting_server.answer
    answers = cycle([welcome, welcome, lambda head: EXPIRED])
    lasting_server.answer = lambda head: next(answers)(head)
    run = lasting_locust.run(
        *("-u", "2", "-r", "2"),
        API_AUTH="iam",
        API_KEY="the-key",
        RESULTS_SHARE="0.5",
        AWS_SECRET_ACCESS_KEY="mine",
    )
    run.wait_for_rows(60)
    run.interrupt()
    assert run.finish() == 1, run.output  # Locust's own code where a request failed
    return run


def test_every_request_of_an_iam_run_verifies(signed, lasting_server):
    credentials = ReadOnlyCredentials("sandbox", "sandbox", None)
    for head, body in zip(lasting_server.heads, lasting_server.bodies, strict=True):
        method, path, _ = head.partition("\r\n")[0].split(" ")
        headers = headers_of(head)
        at = datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        signed_headers = {"Content-Type": headers["Content-Type"]} if body else {}
        expected = botocore_authorization(
            "execute-api", "us-east-1", credentials, at, method, lasting_server.url + path, signed_headers, body
        )
        assert headers["Authorization"] == expected
        assert headers["Content-Length"] == str(len(body)) if body else "Content-Length" not in headers


def test_a_refused_request_is_a_failure_with_its_reason_and_is_not_tried_again(signed, lasting_server):
    errors = Counter(row["error"] for row in signed.rows)
    assert errors.keys() == {"", "HTTP 403 Forbidden: ExpiredTokenException"}
    assert errors["HTTP 403 Forbidden: ExpiredTokenException"] == lasting_server.count // 3
    assert len(signed.rows) == lasting_server.count


def test_ids_and_key_go_out_with_a_signature(signed, lasting_server):
    sent = {headers_of(head)["x-amzn-RequestId"] for head in lasting_server.heads}
    assert sent == {row["request_id"] for row in signed.rows} and len(sent) == len(signed.rows)
    assert all("X-Amzn-Trace-Id" in headers_of(head) for head in lasting_server.heads)
    assert {headers_of(head)["x-api-key"] for head in lasting_server.heads} == {"the-key"}


# A shell starts at once, even on a busy machine.
COMMAND = r"""
calls="$0-$PPID"
echo x >> "$calls"
if [ $(wc -l < "$calls") -gt "$1" ]; then echo 'no s3cret for you'; exit 1; fi
echo "{\"access_token\": \"s3cret-$$-$(wc -l < "$calls")\", \"expires_in\": 6}"
"""


def command(directory: Path, *, tokens: int = 1000) -> str:
    """A command that has so many tokens for each process that runs it: none gets another's where that is slow."""
    return shlex.join(["sh", "-c", COMMAND, str(directory / "calls"), str(tokens)])


def calls(directory: Path) -> int:
    """How often the command was run."""
    return sum(file.read_text().count("x") for file in directory.glob("calls-*"))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_token_is_renewed_while_requests_go_on(locust, server, tmp_path):
    run = locust.run("-u", "5", API_AUTH="bearer", API_BEARER_COMMAND=command(tmp_path))
    wait_for(lambda: len({headers_of(head)["Authorization"] for head in list(server.heads)}) >= 2)
    run.interrupt()
    assert run.finish() == 0, run.output
    sent = {headers["x-amzn-RequestId"]: headers["Authorization"] for headers in map(headers_of, server.heads)}
    tokens = [sent[row["request_id"]] for row in sorted(run.rows, key=lambda row: float(row["started_at"]))]
    # One call comes before the run, to see whether there is a token at all; between two others there is a second.
    fetched = calls(tmp_path) - 1
    assert len(set(tokens)) <= fetched <= run.manifest["ended_at"] - run.manifest["started_at"] + 1
    # Once a new one is there nobody uses the old one.
    assert [token for token, before in zip(tokens, [None, *tokens], strict=False) if token != before] == list(
        dict.fromkeys(tokens)
    )
    assert run.manifest["warnings"] == []
    assert "s3cret" not in run.output + files_of(run)


def test_a_renewal_that_fails_on_workers_is_a_warning_of_the_run(locust, server, tmp_path):
    line = command(tmp_path, tokens=2)
    run = locust.distributed(
        2, "-u", "4", "-r", "4", API_AUTH="bearer", API_BEARER_COMMAND=line, API_BASE_URL=server.url
    )
    run.wait_for_rows(1, files=2)
    wait_for(lambda: all("not renewed" in output.read_text() for output in run.outputs[1:]))
    run.interrupt()
    assert run.finish() == 0, run.output
    assert len({headers_of(head)["Authorization"] for head in server.heads}) == 2
    assert [re.sub(r"\d+ attempts|; it had expired meanwhile", "", found) for found in run.manifest["warnings"]] == [
        f"worker {index}: Bearer token:  to renew it failed (the command ended with status 1)" for index in (0, 1)
    ]
    printed = [output.read_text() for output in run.outputs]
    # At the first failure, and once more where the machine is so slow that the old one has come to its end.
    assert [text.count("not renewed (the command ended with status 1)") in (1, 2) for text in printed[1:]] == [True] * 2
    assert "s3cret" not in "".join(printed) + files_of(run)


def test_a_command_that_has_no_token_starts_no_run(locust, server, tmp_path):
    run = locust.run("-u", "5", "-t", "60s", API_AUTH="bearer", API_BEARER_COMMAND=command(tmp_path, tokens=0))
    assert run.finish() == 2
    assert run.output.endswith("Cannot start:\n  API_BEARER_COMMAND: the command ended with status 1\n")
    assert server.count == 0


def test_a_token_that_is_gone_once_the_run_starts_ends_it_with_one_error(locust, server, tmp_path):
    line = command(tmp_path, tokens=1)
    run = locust.run("-u", "50", "-r", "50", "-t", "60s", API_AUTH="bearer", API_BEARER_COMMAND=line)
    assert run.finish() == 3
    assert run.manifest["state"] == "failed"
    assert run.output.count("ERROR") == run.output.count("/ERROR/locust.runners: Bearer token: the command ended") == 1
    assert (server.count, calls(tmp_path)) == (0, 2)
    assert run.manifest["warnings"] == ["Bearer token: the command ended with status 1"]


def test_a_profile_that_a_missing_token_ends_exits_only_once_its_run_is_closed(locust, server, tmp_path):
    # The user that gives up and the end of the shape both stop the run, at the same time.
    (tmp_path / "p.toml").write_text(
        'description = "x"\nflows = ["vote"]\n[[stages]]\nduration = "60s"\nusers = 4\nspawn_rate = 4'
    )
    line = command(tmp_path, tokens=1)
    run = locust.run(PROFILE=str(tmp_path / "p.toml"), API_AUTH="bearer", API_BEARER_COMMAND=line)
    assert run.finish() == 3
    assert run.manifest["state"] == "failed"


def test_workers_that_all_lack_their_token_fail_the_run(locust, server, tmp_path):
    line = command(tmp_path, tokens=1)
    run = locust.distributed(
        2, "-u", "4", "-r", "4", "-t", "30s", API_AUTH="bearer", API_BEARER_COMMAND=line, API_BASE_URL=server.url
    )
    assert run.finish() == 3, run.output
    failures = {entry.get("failed") for entry in run.manifest["workers"]}
    assert (run.manifest["state"], failures) == ("failed", {"Bearer token: the command ended with status 1"})
    assert server.count == 0
