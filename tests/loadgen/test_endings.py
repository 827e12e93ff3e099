"""Every way a run can end gives the server's count = rows = Locust's console = Locust's CSVs."""

from __future__ import annotations

from pathlib import Path

import pytest

SLOW_TO_END = Path(__file__).parent / "slow_to_end.py"

PROFILE = """
description = "a few votes"
flows = ["vote"]
think_time = "20ms"
"""


def profile(directory: Path, *stages: str) -> str:
    path = directory / "short.toml"
    path.write_text(PROFILE + "".join(f"[[stages]]\n{stage}\n" for stage in stages))
    return str(path)


def assert_one_count(run, server) -> None:
    counts = run.counts(server)
    assert len(set(counts.values())) == 1, f"{counts}\n{run.output}"
    assert counts["rows"] >= 20
    assert run.manifest["warnings"] == []
    assert not list(run.directory.glob("spool/*"))
    assert run.all_gone()


@pytest.fixture(params=["closed", "open"])
def model(request) -> dict[str, str]:
    """Variables that make of users what waits for answers, or what stands for five arrivals a second."""
    return {"closed": {}, "open": {"RATE": "5"}}[request.param]


def test_time_limit(locust, server, model):
    server.delay_s = 0.2
    run = locust.run("-u", "20", "-r", "20", "-t", "3s", **model)
    assert run.finish() == 0
    assert_one_count(run, server)
    assert run.manifest["state"] == "complete"
    assert {row["ok"] for row in run.rows} == {"1"}


def test_end_of_shape(locust, server):
    server.delay_s = 0.2
    run = locust.run(PROFILE=profile(locust.directory, 'duration = "3s"\nusers = 20\nspawn_rate = 20'))
    assert run.finish() == 0
    assert_one_count(run, server)
    assert run.manifest["state"] == "complete"
    assert run.manifest["profile"]["name"] == "short"


def test_ramp_down(locust, server):
    server.delay_s = 0.2
    stages = ('duration = "3s"\nusers = 30\nspawn_rate = 30', 'duration = "1s"\nusers = 1\nspawn_rate = 30')
    run = locust.run(PROFILE=profile(locust.directory, *stages))
    assert run.finish() == 0
    assert_one_count(run, server)
    assert {row["ok"] for row in run.rows} == {"1"}


def test_two_processes(locust, server, model):
    server.delay_s = 0.2
    run = locust.run("-u", "20", "-r", "20", "-t", "3s", "--processes", "2", **model)
    assert run.finish() == 0
    assert_one_count(run, server)
    assert [worker["rows"] > 0 for worker in run.manifest["workers"]] == [True, True]


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["alone", "two processes"])
def test_ctrl_c(locust, server, options, model):
    server.delay_s = 0.2
    run = locust.run("-u", "20", "-r", "20", *options, **model)
    run.wait_for_rows(21)
    run.interrupt()
    assert run.finish() == 0
    assert_one_count(run, server)
    assert run.manifest["state"] == "interrupted"
    assert {row["ok"] for row in run.rows} == {"1"}


def test_a_worker_asked_to_drain_while_it_ends_first_hands_over_its_statistics(locust, server):
    server.delay_s = 0.2
    run = locust.run("-u", "20", "-r", "20", "--processes", "2", locustfiles=str(SLOW_TO_END))
    run.wait_for_rows(21)
    run.interrupt()
    assert run.finish() == 0
    assert_one_count(run, server)


def test_ctrl_c_during_a_profile_exits_with_130(locust, server):
    run = locust.run(PROFILE=profile(locust.directory, 'duration = "60s"\nusers = 5\nspawn_rate = 5'))
    run.wait_for_rows(21)
    run.interrupt()
    assert run.finish() == 130
    assert_one_count(run, server)
    assert run.manifest["state"] == "interrupted"


def test_termination(locust, server):
    run = locust.run("-u", "5", "-r", "5")
    run.wait_for_rows(21)
    run.processes[0].terminate()
    run.finish()
    assert_one_count(run, server)
    assert run.manifest["state"] == "interrupted"


def test_termination_during_a_profile(locust, server):
    run = locust.run(PROFILE=profile(locust.directory, 'duration = "60s"\nusers = 5\nspawn_rate = 5'))
    run.wait_for_rows(21)
    run.processes[0].terminate()
    assert run.finish() == 130
    assert_one_count(run, server)
    assert run.manifest["state"] == "interrupted"


def test_ctrl_c_of_the_master_alone_stops_its_workers(locust, server):
    server.delay_s = 0.2
    run = locust.distributed(2, "-u", "20", "-r", "20")
    run.wait_for_rows(21)
    run.interrupt()
    assert run.finish() == 0
    assert_one_count(run, server)
    assert [worker["rows"] > 0 for worker in run.manifest["workers"]] == [True, True]


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["alone", "two processes"])
def test_requests_still_open_at_the_deadline_are_unfinished_rows(locust, server, options, model):
    server.delay_s = 60
    run = locust.run("-u", "6", "-r", "6", "--stop-timeout", "1", *options, **model)
    server.wait_for(7 if model else 6)
    run.interrupt()
    run.finish()
    # The last ones may still lie in their sockets.
    server.wait_for(len(run.sent_rows))
    counts = run.counts(server)
    assert len(set(counts.values())) == 1, counts
    assert counts["rows"] == 6 if not model else counts["rows"] > 6
    assert {(row["error"], row["ok"], row["response_ms"], row["status"]) for row in run.rows} == {
        ("unfinished", "0", "", "")
    }


def test_second_ctrl_c_gives_up_open_requests(locust, server, model):
    run = locust.run("-u", "6", "-r", "6", "--stop-timeout", "600", **model)
    run.wait_for_rows(21)
    server.wait_for(server.slow_down(600) + 6)
    run.interrupt()
    run.wait_for_output("a second Ctrl-C")
    run.interrupt()
    run.finish()
    server.wait_for(len(run.sent_rows))
    assert_one_count(run, server)
    unfinished = sum(row["error"] == "unfinished" for row in run.rows)
    assert unfinished == 6 if not model else unfinished >= 6
