"""A threshold ends a whole run: its records are as complete as those of any other."""

from __future__ import annotations

import pytest

THRESHOLD = "vote: error_rate over 1s < 50%"

REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
PROFILE = f"""
description = "a test"
flows = ["vote"]
model = "open"
[[stages]]
duration = "60s"
rate = 60
spawn_rate = 1e6
[thresholds]
"{THRESHOLD}" = "abort after 1s"
"error_rate < 100%" = "abort after 50s"
"rps > 0" = "fail"
"""


@pytest.fixture(scope="module")
def aborted(lasting_locust, lasting_server):
    """A minute of 60 arrivals a second in two processes, to a target that refuses them all."""
    lasting_server.answer = lambda head: REFUSAL
    profile = lasting_locust.directory / "own.toml"
    profile.write_text(PROFILE)
    run = lasting_locust.run("--processes", "2", PROFILE=str(profile))
    return run, run.finish()


def test_run_ends_before_its_time_with_the_exit_code_of_a_failed_threshold(aborted):
    run, exit_code = aborted
    assert exit_code == 1, run.output
    assert run.manifest["ended_at"] - run.manifest["started_at"] < 60


def test_nothing_is_lost(aborted, lasting_server):
    run, _ = aborted
    assert len(set(run.counts(lasting_server).values())) == 1
    assert len(run.rows) > 100
    assert run.manifest["warnings"] == []
    assert len(run.manifest["workers"]) == 2


def test_manifest_says_what_when_and_by_how_much(aborted):
    manifest = aborted[0].manifest
    assert manifest["state"] == "aborted"
    assert manifest["started_at"] + 2.0 < manifest["aborted"].pop("at") <= manifest["ended_at"], "a window, then 1 s"
    assert manifest["aborted"].pop("broken_for_s") >= 1.0
    assert manifest["aborted"] == {"threshold": THRESHOLD, "value": 1.0, "window_s": 1.0}


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["alone", "two processes"])
def test_requests_open_when_it_aborts_may_take_their_time(locust, server, options):
    """Locust's master listens to its workers for half a second longer; these requests take a second and a half."""
    server.answer, server.delay_s = lambda head: REFUSAL, 1.5
    profile = locust.directory / "own.toml"
    profile.write_text(PROFILE)
    run = locust.run(*options, PROFILE=str(profile))
    assert run.finish() == 1, run.output
    assert len(set(run.counts(server).values())) == 1, run.output
    assert run.manifest["warnings"] == []
