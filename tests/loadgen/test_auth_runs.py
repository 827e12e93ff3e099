"""Whole runs of Locust against APIs that want to know who calls."""

from __future__ import annotations

import re
import shlex
from collections import Counter
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
        *("-u", "2", "-r", "2", "-t", "2s"),
        API_AUTH="iam",
        API_KEY="the-key",
        RESULTS_SHARE="0.5",
        AWS_SECRET_ACCESS_KEY="mine",
    )
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
echo x >> "$0"
if [ $(wc -l < "$0") -gt "$1" ]; then echo 'no s3cret for you'; exit 1; fi
echo "{\"access_token\": \"s3cret-$$-$(wc -l < "$0")\", \"expires_in\": 3}"
"""


def command(directory: Path, *, tokens: int = 1000) -> tuple[str, Path]:
    """A command that has so many tokens, and the file with a line for each time it is run."""
    calls = directory / "calls"
    return shlex.join(["sh", "-c", COMMAND, str(calls), str(tokens)]), calls


def test_a_token_is_renewed_while_requests_go_on(locust, server, tmp_path):
    line, calls = command(tmp_path)
    run = locust.run("-u", "5", "-t", "3s", API_AUTH="bearer", API_BEARER_COMMAND=line)
    assert run.finish() == 0, run.output
    tokens = [headers_of(head)["Authorization"] for head in server.heads]
    # One call comes before the run, to see whether there is a token at all; the last one's token may come too late.
    fetched = calls.read_text().count("x") - 1
    assert fetched - 1 <= len(set(tokens)) <= fetched and len(set(tokens)) >= 2
    # Once a new one is there nobody uses the old one.
    assert [token for token, before in zip(tokens, [None, *tokens], strict=False) if token != before] == list(
        dict.fromkeys(tokens)
    )
    assert run.manifest["warnings"] == []
    assert "s3cret" not in run.output + files_of(run)


def test_a_renewal_that_fails_on_workers_is_a_warning_of_the_run(locust, server, tmp_path):
    line, _ = command(tmp_path, tokens=4)
    run = locust.distributed(
        2, "-u", "4", "-r", "4", "-t", "3s", API_AUTH="bearer", API_BEARER_COMMAND=line, API_BASE_URL=server.url
    )
    assert run.finish() == 0, run.output
    assert len({headers_of(head)["Authorization"] for head in server.heads}) == 2
    assert [re.sub(r"\d+ attempts|; it had expired meanwhile", "", found) for found in run.manifest["warnings"]] == [
        f"worker {index}: Bearer token:  to renew it failed (the command ended with status 1)" for index in (0, 1)
    ]
    printed = "".join(output.read_text() for output in run.outputs)
    assert printed.count("requests go on with the old one, which lasts until") == 2
    assert "s3cret" not in printed + files_of(run)


def test_a_command_that_has_no_token_starts_no_run(locust, server, tmp_path):
    line, _ = command(tmp_path, tokens=0)
    run = locust.run("-u", "5", "-t", "60s", API_AUTH="bearer", API_BEARER_COMMAND=line)
    assert run.finish() == 2
    assert run.output.endswith("Cannot start:\n  API_BEARER_COMMAND: the command ended with status 1\n")
    assert server.count == 0


def test_a_token_that_is_gone_once_the_run_starts_ends_it_with_one_error(locust, server, tmp_path):
    line, calls = command(tmp_path, tokens=1)
    run = locust.run("-u", "50", "-r", "50", "-t", "60s", API_AUTH="bearer", API_BEARER_COMMAND=line)
    assert run.finish() == 3
    assert run.manifest["state"] == "failed"
    assert run.output.count("ERROR") == run.output.count("/ERROR/locust.runners: Bearer token: the command ended") == 1
    assert (server.count, calls.read_text().count("x")) == (0, 2)
    assert run.manifest["warnings"] == ["Bearer token: the command ended with status 1"]


def test_a_profile_that_a_missing_token_ends_exits_only_once_its_run_is_closed(locust, server, tmp_path):
    # The user that gives up and the end of the shape both stop the run, at the same time.
    line, _ = command(tmp_path, tokens=1)
    (tmp_path / "p.toml").write_text(
        'description = "x"\nflows = ["vote"]\n[[stages]]\nduration = "60s"\nusers = 4\nspawn_rate = 4'
    )
    run = locust.run(PROFILE=str(tmp_path / "p.toml"), API_AUTH="bearer", API_BEARER_COMMAND=line)
    assert run.finish() == 3
    assert run.manifest["state"] == "failed"


def test_workers_that_all_lack_their_token_fail_the_run(locust, server, tmp_path):
    line, _ = command(tmp_path, tokens=2)
    run = locust.distributed(
        2, "-u", "4", "-r", "4", "-t", "30s", API_AUTH="bearer", API_BEARER_COMMAND=line, API_BASE_URL=server.url
    )
    assert run.finish() == 3, run.output
    failures = {entry.get("failed") for entry in run.manifest["workers"]}
    assert (run.manifest["state"], failures) == ("failed", {"Bearer token: the command ended with status 1"})
    assert server.count == 0
