"""Whole runs of the open model: what is offered does not depend on how the target answers."""

from __future__ import annotations

import csv
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

import pytest

from runstore.columns import REQUEST_COLUMNS

REPOSITORY = Path(__file__).parents[2]


def write_profile(directory: Path, text: str) -> str:
    path = directory / "arrivals.toml"
    path.write_text(f'description = "a test"\nflows = ["vote"]\nmodel = "open"\n{text}\n')
    return str(path)


def stages(*stages: tuple[str, float]) -> str:
    """Stages that jump to their rate."""
    return "".join(
        f'[[stages]]\nduration = "{duration}"\nrate = {rate}\nspawn_rate = 1e6\n' for duration, rate in stages
    )


def due_times(run, worker: str = "0") -> list[float]:
    """When the arrivals of one process were due, by the clock of that process."""
    return sorted(float(row["scheduled_at"]) for row in run.rows if row["worker"] == worker)


def offered_by_second(run, worker: str = "0") -> list[int]:
    """Rows of one process by the second in which they were due, from the first of them on."""
    due = due_times(run, worker)
    seconds = Counter(int(at - due[0]) for at in due)
    return [seconds[second] for second in range(round(due[-1] - due[0]))]


def dropped(run) -> list[dict[str, str]]:
    return [row for row in run.rows if row["error"] == "dropped"]


@pytest.fixture(scope="module")
def ramp(lasting_locust, lasting_server):
    """1 s from 0 to 40 a second, 4 s at 40, 1 s back to 0, in two processes: 20 + 160 + 20 arrivals."""
    text = "".join(f'[[stages]]\nduration = "{s}s"\nrate = {rate}\n' for s, rate in ((1, 40), (4, 40), (1, 0)))
    run = lasting_locust.run("--processes", "2", PROFILE=write_profile(lasting_locust.directory, text))
    assert run.finish() == 0, run.output
    return run


def test_arrivals_are_the_integral_of_the_rate_over_all_processes(ramp, lasting_server):
    assert len(ramp.rows) == pytest.approx(200, abs=1)
    assert len(set(ramp.counts(lasting_server).values())) == 1
    assert [worker["rows"] for worker in ramp.manifest["workers"]] == [100, pytest.approx(100, abs=1)]
    assert ramp.manifest["state"] == "complete"
    assert ramp.manifest["warnings"] == []


def test_every_request_says_when_it_was_due_and_when_it_started(ramp):
    begin, end = ramp.manifest["started_at"], ramp.manifest["ended_at"]
    for row in ramp.sent_rows:
        assert begin < float(row["scheduled_at"]) <= float(row["started_at"]) < end


def test_ramp_is_a_ramp_and_no_staircase(ramp):
    due = due_times(ramp)
    # Half of 0 to 40 in a second: 2.5 in the first half (t²/2 · 20), 7.5 in the second.
    rising = [at - due[0] + (1 / 10) ** 0.5 for at in due]
    assert sum(at < 0.5 for at in rising) == pytest.approx(2.5, abs=1)
    assert sum(0.5 <= at < 1.0 for at in rising) == pytest.approx(7.5, abs=1)


def test_users_of_locust_stand_for_the_rate_and_send_nothing_themselves(ramp):
    with (ramp.directory / "locust_stats_history.csv").open() as file:
        assert max(int(row["User Count"]) for row in csv.DictReader(file)) == 100


def test_slow_target_does_not_slow_the_arrivals_down(locust, server):
    server.delay_s = 1.0
    run = locust.run(PROFILE=write_profile(locust.directory, stages(("2s", 50))))
    assert run.finish() == 0
    assert offered_by_second(run) == pytest.approx([50, 50], abs=2)
    assert set(run.counts(server).values()) == {len(run.rows)}
    assert dropped(run) == []


def test_arrivals_without_a_free_slot_are_dropped_and_counted(locust, server):
    server.delay_s = 1.0
    profile = write_profile(locust.directory, "max_in_flight = 10\n" + stages(("2s", 50)))
    run = locust.run(PROFILE=profile)
    assert run.finish() == 0
    assert offered_by_second(run) == pytest.approx([50, 50], abs=2), "sent and dropped together"
    gone = dropped(run)
    sent = len(run.rows) - len(gone)
    assert len(gone) > 60
    assert set(run.counts(server).values()) == {sent}, "they fire no event"
    assert run.manifest["warnings"] == []
    assert run.manifest["workers"][0]["dropped"] == len(gone)
    filled = {column for row in gone for column in REQUEST_COLUMNS if row[column] != ""}
    assert filled == {"worker", "seq", "scheduled_at", "flow", "ok", "error", "phase"}
    assert {(row["flow"], row["ok"]) for row in gone} == {("vote", "0")}


def test_stall_of_six_seconds_shows_in_both_latencies(locust, server):
    answers, welcome = itertools.count(1), server.answer

    def answer(head: str) -> bytes:
        if next(answers) == 50:
            # Connections are taken by the kernel; nothing else happens.
            time.sleep(6)
        return welcome(head)

    server.answer = answer
    run = locust.run(PROFILE=write_profile(locust.directory, stages(("8s", 50))))
    assert run.finish() == 0
    assert offered_by_second(run) == pytest.approx([50] * 8, abs=2), "the target stands still, the arrivals do not"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "RUNS_DIR": str(run.runs)}
    command = [sys.executable, "-m", "analysis", "analyze", str(run.directory)]
    subprocess.run(command, cwd=locust.directory, env=environment, check=False, capture_output=True, timeout=120)
    client = json.loads((run.directory / "summary.json").read_text())["client"]
    assert client["requests"] == client["offered"] == len(run.rows)
    assert client["from_schedule"]["p99_ms"] > 5500
    assert client["p99_ms"] > 5500
    lags_ms = [1000 * (float(row["started_at"]) - float(row["scheduled_at"])) for row in run.rows]
    waits_ms = [float(row["response_ms"]) for row in run.rows]
    assert client["schedule_lag_ms"]["p99"] == pytest.approx(
        quantiles(lags_ms, n=100, method="inclusive")[98], abs=0.01
    )
    assert min(lag for lag, wait in zip(lags_ms, waits_ms, strict=True) if wait > 5500) < 1000, (
        "it was not the generator"
    )
    report = (run.directory / "report.html").read_text()
    assert "from when it was due" in report
    assert "from when it was sent" in report


def test_dropped_arrivals_of_workers_reach_the_master(locust, server):
    server.delay_s = 1.0
    profile = write_profile(locust.directory, "max_in_flight = 10\n" + stages(("2s", 60)))
    run = locust.run("--processes", "2", PROFILE=profile)
    assert run.finish() == 0
    assert len(run.rows) == pytest.approx(120, abs=1)
    assert server.count == run.csv_count == len(run.rows) - len(dropped(run)) < 60
    assert run.manifest["warnings"] == []


def test_arrivals_that_a_late_worker_missed_are_recorded_as_dropped(locust, server):
    late = locust.directory / "late.py"
    late.write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from loadgen import worker\n"
        "from locustfiles.vote import VoteUser\n"
        "start = worker.WorkerSession.test_start\n"
        "def start_late(self):\n"
        "    while self.runner.worker_index and not Path('go').exists():\n"
        "        time.sleep(0.02)\n"
        "    start(self)\n"
        "worker.WorkerSession.test_start = start_late\n"
    )
    profile = write_profile(locust.directory, stages(("4s", 100)))
    run = locust.run("--processes", "2", PROFILE=profile, locustfiles=str(late))
    server.wait_for(75)
    (locust.directory / "go").touch()
    assert run.finish() == 0
    assert [offered_by_second(run, worker) for worker in ("0", "1")] == [pytest.approx([50] * 4, abs=2)] * 2
    assert due_times(run, "1")[0] == pytest.approx(due_times(run, "0")[0], abs=1), "it came a second and a half late"
    assert {row["worker"] for row in dropped(run)} == {"1"}
    missed = [float(row["scheduled_at"]) for row in dropped(run)]
    caught = [float(row["scheduled_at"]) for row in run.rows if row["worker"] == "1" and row["started_at"]]
    assert max(missed) < min(caught, default=max(missed) + 1)
    assert server.count == len(run.rows) - len(dropped(run))


def test_poisson_arrivals_come_in_clusters(locust, server):
    profile = write_profile(locust.directory, 'arrivals = "poisson"\n' + stages(("2s", 200)))
    run = locust.run("--seed", "3", PROFILE=profile)
    assert run.finish() == 0
    due = sorted(float(row["scheduled_at"]) for row in run.rows)
    gaps = [b - a for a, b in pairwise(due)]
    mean = sum(gaps) / len(gaps)
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / mean == pytest.approx(1, abs=0.25)


def test_rate_needs_no_profile_and_follows_the_users_of_the_web_ui(locust, server):
    run, url = locust.web_ui(0, RATE="10")
    wait_for(lambda: reachable(url))
    post(f"{url}/swarm", user_count="2", spawn_rate="10", host=server.url)
    wait_for(lambda: server.count >= 30)
    post(f"{url}/swarm", user_count="8", spawn_rate="10", host=server.url)
    before = server.count
    wait_for(lambda: server.count >= before + 300)
    post(f"{url}/stop")
    run.wait_for_state("complete")
    by_second = offered_by_second(run)
    assert by_second[0] == pytest.approx(20, abs=1)
    assert by_second[-2] == pytest.approx(80, abs=1)
    assert run.manifest["profile"]["model"] == "open"
    assert run.manifest["profile"]["rate_per_user"] == 10


def test_mistake_in_a_task_ends_no_more_than_that_task(locust, server):
    own = locust.directory / "own.py"
    own.write_text(
        "from locust import events, task\n"
        "from loadgen.listeners import register\n"
        "from loadgen.users import ApiGatewayUser\n"
        "register(events)\n"
        "class Mistaken(ApiGatewayUser):\n"
        "    flow = 'own'\n"
        "    @task\n"
        "    def ask(self):\n"
        "        self.get('/a')\n"
        "        raise ValueError('of ours')\n"
    )
    run = locust.run("-u", "1", locustfiles=str(own), RATE="20")
    run.wait_for_rows(11)
    run.interrupt()
    run.finish()
    assert server.count == len(run.rows)
    assert "ValueError: of ours" in run.output


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def reachable(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=60).close()
    except OSError:
        return False
    return True


def post(url: str, **form: str) -> None:
    with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=60) as response:
        assert response.status == 200
