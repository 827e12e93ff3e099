"""A master and several workers: whatever the channel does to rows, and whoever is killed."""

from __future__ import annotations

import csv
import json
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from runstore.columns import REQUEST_COLUMNS
from tests.loadgen.conftest import LocustRun

HERE = Path(__file__).parent
BAD_CHANNEL, QUICK_TO_MISS = str(HERE / "bad_channel.py"), str(HERE / "quick_to_miss.py")
PROFILE = """
description = "a test"
flows = ["vote"]
[[stages]]
duration = "10s"
users = 30
spawn_rate = 30
"""


@pytest.fixture(scope="module")
def mangled(lasting_locust):
    """Three workers whose rows get lost, come twice and out of order on their way."""
    run = lasting_locust.distributed(3, "-u", "12", "-r", "12", "--seed", "7", locustfiles=BAD_CHANNEL, RATE="10")
    run.wait_for_output("Recording this run")
    run.wait_for_rows(100, files=3)
    run.interrupt()
    assert run.finish() == 0, run.output
    return run


def channel(output: Path) -> list[int]:
    """What the channel did to the messages of a process: sent, lost, repeated, late."""
    found = re.search(r"channel: sent=(\d+) lost=(\d+) repeated=(\d+) late=(\d+)", output.read_text())
    assert found is not None, output.read_text()
    return list(map(int, found.groups()))


def test_channel_was_bad(mangled):
    acknowledgements, *rows = map(channel, mangled.outputs)
    assert min(acknowledgements) > 0
    assert min(map(sum, zip(*rows, strict=True))) > 0


def test_master_has_the_rows_that_the_target_counted_all_the_same(mangled, lasting_server):
    assert set(mangled.counts(lasting_server).values()) == {lasting_server.count}
    assert [worker["rows"] >= 100 for worker in mangled.manifest["workers"]] == [True] * 3
    [clock] = mangled.manifest["warnings"]
    assert "the clock of worker 1 is" in clock
    assert "ahead of the master's" in clock


def test_clock_that_is_ahead_of_the_masters_is_told(mangled):
    offsets = {worker["index"]: worker.get("clock_offset_s") for worker in mangled.manifest["workers"]}
    assert offsets == {0: None, 1: pytest.approx(3, abs=0.2), 2: None}


def test_ids_and_payloads_of_workers_never_collide(mangled, lasting_server):
    sent = [re.search(r"(?im)^x-amzn-requestid: (\S+)", head) for head in lasting_server.heads]
    ids = [found[1] for found in sent if found]
    assert len(set(ids)) == len(ids) == len(mangled.sent_rows)
    assert {row["request_id"] for row in mangled.sent_rows} == set(ids)
    tokens = [json.loads(body)["token"] for body in lasting_server.bodies]
    assert len(set(tokens)) == len(tokens), "each worker has random numbers of its own, of one seed"


def first_lost(run: LocustRun) -> dict:
    return min((worker for worker in run.manifest["workers"] if "lost_at" in worker), key=lambda one: one["lost_at"])


@dataclass
class Killed:
    """A run one of whose three workers was killed, and later all the others."""

    run: LocustRun
    killed_at: float
    """Just before it was."""
    dead_at: float
    all_killed_at: float
    exit_code: int


def wait_for_arrivals_of_now(run: LocustRun, files: int) -> None:
    """Until so many files have the rows of what was due up to this moment: nobody is held up who writes them."""
    deadline = time.monotonic() + 60
    while sum(time.time() - last_due_at(file) < 0.25 for file in run.directory.glob("requests-*.csv")) < files:
        assert time.monotonic() < deadline, run.output
        time.sleep(0.01)


def last_due_at(file: Path) -> float:
    whole = file.read_text().rpartition("\n")[0]
    _, last = csv.reader(["", whole.rpartition("\n")[2]])
    return float(dict(zip(REQUEST_COLUMNS, last, strict=True))["scheduled_at"])


@pytest.fixture(scope="module")
def arrivals(lasting_locust, lasting_server):
    """The open model, 90 arrivals a second; when one worker has been killed, another joins. In the end all die."""
    lasting_server.forget()
    run = lasting_locust.distributed(3, "-u", "30", "-r", "30", locustfiles=QUICK_TO_MISS, RATE="3")
    run.wait_for_output("Recording this run")
    run.wait_for_rows(20, files=3)
    wait_for_arrivals_of_now(run, files=3)
    killed_at = time.time()
    run.processes[1].kill()
    dead_at = time.time()
    lasting_locust.join(run)
    run.wait_for_output("All planned users are there again")
    run.wait_for_rows(20, files=4)
    lasting_server.wait_for(lasting_server.count + 150)
    wait_for_arrivals_of_now(run, files=3)
    all_killed_at = time.time()
    for process in run.processes[2:]:
        process.kill()
    return Killed(run, killed_at, dead_at, all_killed_at, run.finish())


def offered(run: LocustRun, begin: float, end: float) -> Counter[str]:
    """Worker -> arrivals due in a time."""
    return Counter(row["worker"] for row in run.rows if begin <= float(row["scheduled_at"]) < end)


def test_killed_worker_is_named_and_when(arrivals):
    lost = first_lost(arrivals.run)
    assert arrivals.killed_at - 1 < lost["lost_at"] < arrivals.dead_at + 1
    assert f"Worker {lost['index']} on {lost['host']} is missing" in arrivals.run.output


def test_killed_worker_costs_at_most_a_second_of_its_rows(arrivals, lasting_server):
    last: dict[int, float] = {}
    for row in arrivals.run.sent_rows:
        last[int(row["worker"])] = float(row["started_at"])
    first = last.pop(first_lost(arrivals.run)["index"])
    assert first > arrivals.killed_at - 1
    assert min(last.values()) > arrivals.all_killed_at - 1
    assert 0 <= lasting_server.count - len(arrivals.run.sent_rows) <= 30 + 90


def test_master_that_has_no_worker_left_ends(arrivals):
    assert (arrivals.exit_code, arrivals.run.manifest["state"]) == (3, "failed")


def test_arrivals_are_all_there_again_once_others_have_the_tokens(arrivals):
    short = first_lost(arrivals.run)["shortfall"]
    assert short["until"] < arrivals.all_killed_at
    by_worker = offered(arrivals.run, arrivals.all_killed_at - 1.3, arrivals.all_killed_at - 0.3)
    assert by_worker.total() == pytest.approx(90, abs=4)


def test_shortfall_is_what_the_rows_say(arrivals):
    short = first_lost(arrivals.run)["shortfall"]
    assert short["unit"] == "arrivals"
    # A quarter, where the fourth had its users by then.
    assert 0.2 < short["share"] < 0.36
    assert short["planned"] == pytest.approx(90 * (short["until"] - short["from"]), rel=0.02)
    assert offered(arrivals.run, short["from"], short["until"]).total() == pytest.approx(short["delivered"], abs=15)


def test_worker_that_joins_gets_its_share_and_an_index_of_its_own(arrivals):
    joined = arrivals.run.manifest["workers"][3]
    assert (joined["index"], joined["rows"] > 30) == (3, True)
    by_worker = offered(arrivals.run, arrivals.all_killed_at - 1.3, arrivals.all_killed_at - 0.3)
    assert by_worker["3"] == pytest.approx(30, abs=3)
    ids = [row["request_id"] for row in arrivals.run.sent_rows]
    assert len(set(ids)) == len(ids)


def test_rows_that_a_killed_worker_had_shipped_are_kept_where_its_disk_is_out_of_reach(locust, server):
    """The closed model; every worker has a directory of its own, as on a machine of its own."""
    profile = locust.directory / "own.toml"
    profile.write_text(PROFILE)
    elsewhere = ("--runs-dir", "elsewhere")
    run = locust.distributed(3, locustfiles=QUICK_TO_MISS, worker_options=elsewhere, PROFILE=str(profile))
    run.wait_for_rows(50, files=3)
    run.processes[1].kill()
    assert run.finish() == 3, "not all of it is there"
    assert run.manifest["state"] == "complete", "it went on to its end"
    lost = first_lost(run)
    assert lost["rows"] >= 50
    assert 0 <= server.count - len(run.rows) <= 10 / server.delay_s, "a second of ten users"
    short = lost["shortfall"]
    assert short["unit"] == "user_seconds"
    assert short["planned"] == pytest.approx(30 * (short["until"] - short["from"]), rel=0.02)
    assert short["share"] == pytest.approx(1 / 3, abs=0.06)


def test_worker_that_was_frozen_and_came_back_is_told_and_loses_nothing(locust, server):
    run = locust.distributed(2, "-u", "4", "-r", "4", RATE="2", HEARTBEAT_LIVENESS="3")
    run.wait_for_rows(4, files=2)
    run.processes[1].send_signal(signal.SIGSTOP)
    try:
        run.wait_for_output("is missing: last heard")
    finally:
        run.processes[1].send_signal(signal.SIGCONT)
    run.wait_for_output("is back after")
    run.processes[0].send_signal(signal.SIGINT)
    assert run.finish() == 0
    [warning] = run.manifest["warnings"]
    told = re.match(r"worker \d was not heard for (\d+\.\d) s from .* on, and came back: ", warning)
    assert told is not None and float(told[1]) > 3
    assert len(run.sent_rows) == server.count
    assert not any("lost_at" in worker for worker in run.manifest["workers"])
