"""Whole runs of Locust: profiles, identity, messages, options, the web UI, full disks."""

from __future__ import annotations

import base64
import json
import re
import shlex
import socket
import time
import urllib.parse
import urllib.request
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.ports import refusing_port

PACING_S = 0.25


@pytest.fixture(scope="module")
def shop_public_key() -> str:
    key = rsa.generate_private_key(65537, 2048).public_key()
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def write_profile(directory: Path, text: str) -> str:
    path = directory / "own.toml"
    path.write_text(f'description = "a test"\n{text}\n')
    return str(path)


def as_lambda(head: str) -> bytes:
    """Answers as API Gateway and Lambda do: the ids sent come back."""
    request_id = re.search(r"(?i)^x-amzn-requestid: (\S+)", head, re.MULTILINE)
    trace = re.search(r"(?i)^x-amzn-trace-id: (\S+)", head, re.MULTILINE)
    assert request_id and trace
    body = b'{"statusCode": 200, "sequence_number": "1", "message_id": "1"}'
    return (
        f"HTTP/1.1 200 OK\r\nx-amzn-RequestId: {request_id[1]}\r\nX-Amzn-Trace-Id: {trace[1]}\r\n"
        f"X-Lambda-Request-Id: lambda-{request_id[1]}\r\nX-Amz-Executed-Version: $LATEST\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@pytest.fixture(scope="module")
def all_flows(lasting_locust, lasting_server, shop_public_key):
    """Eight users of three flows, paced, with a warm-up, in two processes."""
    lasting_server.answer = as_lambda
    profile = write_profile(
        lasting_locust.directory,
        f"""
        flows = {{vote = 5, shop = 1, direct = 2}}
        pacing = "{PACING_S}s"
        warmup = "2s"
        [[stages]]
        duration = "4s"
        users = 8
        spawn_rate = 8
        """,
    )
    run = lasting_locust.run(
        *("--processes", "2", "--csv", "locusts-own", "--run-id", "this-run", "--seed", "7"),
        locustfiles="",
        PROFILE=profile,
        SHOP_PUBLIC_KEY=shop_public_key,
        VOTE_FUNCTION="my-place-vote",
        AWS_ENDPOINT_URL=lasting_server.url,
        API_KEY="a-secret",
        TRACE_SAMPLE="0",
    )
    assert run.finish() == 0, run.output
    return run


def test_flows_get_their_shares_of_the_users(all_flows):
    rows = Counter(row["flow"] for row in all_flows.rows)
    assert rows.keys() == {"vote", "shop", "direct"}
    assert rows["vote"] / rows.total() == pytest.approx(5 / 8, abs=0.05)
    assert rows["shop"] / rows.total() == pytest.approx(1 / 8, abs=0.05)


def test_names_and_methods(all_flows):
    assert {(row["flow"], row["name"], row["method"]) for row in all_flows.rows} == {
        ("vote", "POST /vote", "POST"),
        ("shop", "POST /shop", "POST"),
        ("direct", "Invoke place-vote", "Invoke"),
    }


def test_requests_start_on_the_pace_s_grid(all_flows):
    for row in all_flows.rows:
        assert float(row["started_at"]) - float(row["scheduled_at"]) > -0.005
    starts = sorted(float(row["scheduled_at"]) for row in all_flows.rows)
    assert len(starts) <= 8 * ((starts[-1] - starts[0]) / PACING_S + 1), "nobody catches up"
    # Of the one user of the shop: some starts are late on a busy machine, and move the grid.
    gaps = [b - a for a, b in pairwise(sorted(float(r["scheduled_at"]) for r in all_flows.rows if r["flow"] == "shop"))]
    assert median(gaps) == pytest.approx(PACING_S, abs=0.005)


def test_rows_that_start_before_the_warm_up_ends_are_marked(all_flows):
    limit = all_flows.manifest["started_at"] + 2.0
    for row in all_flows.rows:
        assert (row["phase"] == "warmup") == (float(row["started_at"]) < limit)
    assert {row["phase"] for row in all_flows.rows} == {"warmup", "measure"}


def test_ids_of_a_row_are_those_the_server_saw(all_flows, lasting_server):
    seen = {}
    for head, body in zip(lasting_server.heads, lasting_server.bodies, strict=True):
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))}
        seen[headers["x-amzn-requestid"]] = (headers["x-amzn-trace-id"], json.loads(body)["correlation_id"], len(body))
    assert len(seen) == len(all_flows.rows)
    for row in all_flows.rows:
        trace, correlation_id, length = seen[row["request_id"]]
        assert trace == f"Root={row['trace_id']};Sampled=0"
        assert (row["correlation_id"], row["bytes_sent"]) == (correlation_id, str(length))
        assert UUID(row["request_id"]).version == UUID(correlation_id).version == 4


def test_lambda_request_id_is_the_answer_s(all_flows):
    for row in all_flows.rows:
        own = row["request_id"] if row["flow"] == "direct" else f"lambda-{row['request_id']}"
        assert (row["lambda_request_id"], row["executed_version"]) == (own, "$LATEST")


def test_direct_invokes_are_signed_and_name_the_function(all_flows, lasting_server):
    heads = [head for head in lasting_server.heads if "/functions/" in head]
    assert heads
    for head in heads:
        assert head.startswith("POST /2015-03-31/functions/my-place-vote/invocations HTTP/1.1\r\n")
        assert "Credential=sandbox/" in head
        assert "X-Amz-Invocation-Type: RequestResponse\r\n" in head
        assert "x-api-key" not in head


def test_api_key_goes_to_the_api_and_nowhere_else(all_flows, lasting_server):
    assert all("x-api-key: a-secret\r\n" in head for head in lasting_server.heads if "/functions/" not in head)
    for path in all_flows.directory.rglob("*"):
        assert not path.is_file() or b"a-secret" not in path.read_bytes(), path
    assert "a-secret" not in all_flows.output


def test_manifest_says_what_ran(all_flows):
    manifest = all_flows.manifest
    assert manifest["run_id"] == "this-run" == all_flows.directory.name
    assert manifest["profile"]["pacing_s"] == PACING_S
    assert manifest["flows"] == ["direct", "shop", "vote"]
    assert (manifest["target"], manifest["simulated"], manifest["seed"]) == ("sandbox", True, 7)
    assert manifest["functions"] == {"place-vote": "my-place-vote"}
    assert manifest["log_groups"] == {"place-vote": "/aws/lambda/my-place-vote"}
    assert manifest["versions"]["locust"]
    assert manifest["started_at"] < manifest["ended_at"]
    assert (manifest["state"], manifest["warnings"]) == ("complete", [])
    assert [worker["index"] for worker in manifest["workers"]] == [0, 1]


def test_locust_s_own_csv_files_are_complete_too(all_flows, lasting_locust):
    for kind in ("stats", "stats_history", "failures", "exceptions"):
        own = (lasting_locust.directory / f"locusts-own_{kind}.csv").read_bytes()
        assert own == (all_flows.directory / f"locust_{kind}.csv").read_bytes()
    assert all_flows.csv_count == len(all_flows.rows)


def test_messages_go_one_after_another_and_end_the_run(locust, server, shop_public_key):
    profile = write_profile(
        locust.directory, 'flows = ["shop"]\nmessages = 5\n[[stages]]\nduration = "60s"\nusers = 1\nspawn_rate = 1'
    )
    run = locust.run(locustfiles="", PROFILE=profile, SHOP_PUBLIC_KEY=shop_public_key, SHOP_ID="mine")
    assert run.finish() == 0
    assert set(run.counts(server).values()) == {5}
    assert {json.loads(body)["shop_id"] for body in server.bodies} == {"mine"}
    rows = sorted(run.rows, key=lambda row: float(row["started_at"]))
    ends = [float(row["started_at"]) + float(row["response_ms"]) / 1000 for row in rows]
    assert all(end <= float(row["started_at"]) + 1e-3 for end, row in zip(ends, rows[1:], strict=False))
    assert run.manifest["state"] == "complete"


def test_counted_messages_are_not_for_workers_and_every_problem_is_told(locust, server):
    run = locust.run("--processes", "2", locustfiles="", PROFILE="perf", FLOW="shop,custom")
    assert run.finish() == 2
    problems = [line.strip() for line in run.output.partition("Cannot start:\n")[2].splitlines()[:3]]
    assert [problem.partition(":")[0] for problem in problems] == ["CUSTOM_FLOW", "SHOP_PUBLIC_KEY", "PROFILE"]
    assert "counts its messages" in problems[2]


def test_mistake_in_a_check_loses_no_row(locust, server):
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
        "        self.get('/a', check=lambda response: response.no_such_thing)\n"
    )
    run = locust.run("-u", "1", locustfiles=str(own))
    run.wait_for_rows(3)
    run.interrupt()
    assert run.finish() == 1
    assert len(set(run.counts(server).values())) == 1
    assert {(row["flow"], row["error"], row["status"]) for row in run.rows} == {
        ("own", "AttributeError in the load generator", "200")
    }


LOCUSTFILE = """
from locust import events, task
from loadgen.listeners import register
from loadgen.users import ApiGatewayUser
register(events)

class Voter(ApiGatewayUser):
    flow = "vote"
"""


def test_task_that_sends_nothing_keeps_nobody_from_sending(locust, server, tmp_path):
    """Between two requests a user does not sleep for 0 s: only where the loop has had its turn otherwise."""
    tasks = """
    @task(100)
    def nothing(self):
        pass

    @task
    def vote(self):
        self.post("/vote", {"vote_id": "1"})
"""
    (tmp_path / "own.py").write_text(LOCUSTFILE + tasks)
    run = locust.run("-u", "5", "-r", "5", locustfiles=str(tmp_path / "own.py"))
    run.wait_for_rows(21)
    run.interrupt()
    assert run.finish() == 0
    assert set(run.counts(server).values()) == {server.count}


@pytest.mark.parametrize("workers", [0, 1], ids=["alone", "with a worker"])
def test_connections_that_the_server_closed_are_opened_anew_and_counted(locust, server, tmp_path, workers):
    server.hangs_up = True
    # The next request waits for long enough that the server has hung up by then.
    tasks = """
    @task
    def vote(self):
        self.post("/vote", {"vote_id": "1"})

    def wait_time(self):
        return 1.0
"""
    (tmp_path / "own.py").write_text(LOCUSTFILE + tasks)
    options, own = ("-u", "1"), str(tmp_path / "own.py")
    run = locust.distributed(workers, *options, locustfiles=own) if workers else locust.run(*options, locustfiles=own)
    run.wait_for_rows(3)
    run.interrupt()
    assert run.finish() == 0
    assert set(run.counts(server).values()) == {server.count}
    [worker] = run.manifest["workers"]
    assert worker["reopened_connections"] == server.count - 1 > 0


def test_run_id_that_exists_gets_a_number(locust, server):
    (locust.directory / "runs" / "mine").mkdir(parents=True)
    run = locust.run("-u", "1", "-t", "1s", RUN_ID="mine")
    assert run.finish() == 0
    assert run.directory.name == run.manifest["run_id"] == "mine-2"
    assert not list((locust.directory / "runs" / "mine").iterdir())


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["alone", "two processes"])
def test_wrong_options_are_all_listed_before_anything_is_sent(locust, server, options):
    run = locust.run(*options, PROFILE="demoo", SCALE="huge", RESULTS_SHARE="7")
    assert run.finish() == 2
    assert "did you mean 'demo'?" in run.output
    assert "SCALE: 'huge' is not a number" in run.output
    assert "RESULTS_SHARE: '7'" in run.output
    assert "Traceback" not in run.output
    assert server.count == 0
    assert not run.runs.exists()
    assert run.all_gone()


def test_who_gives_all_locustfiles_and_no_flow_is_told_that_flows_can_be_chosen(locust, server):
    run = locust.run("-u", "1", "-t", "5s", locustfiles="")
    assert run.finish() == 2
    assert "FLOW: not set, so that all are to run (custom, direct, events, shop, vote); --flows chooses" in run.output


def test_run_that_nothing_can_record_does_not_start(locust, server):
    (locust.directory / "runs").write_text("a file")
    run = locust.run("-u", "1", "-t", "5s")
    assert run.finish() == 2
    assert "RUNS_DIR" in run.output
    assert server.count == 0


def test_run_that_fails_to_start_is_no_run_that_goes(locust, server):
    broken = locust.directory / "broken.py"
    broken.write_text(
        "from locust import events\n"
        "from loadgen import lone\n"
        "from locustfiles.vote import VoteUser\n"
        "def fail(*_):\n"
        "    raise OSError(28, 'No space left on device')\n"
        "lone.Reporter = fail\n"
    )
    run = locust.run("-u", "1", "-t", "5s", locustfiles=str(broken))
    assert run.finish() == 3
    assert run.manifest["state"] == "failed"
    assert run.manifest["warnings"] == ["the run did not start: OSError: [Errno 28] No space left on device"]
    assert server.count == 0


def test_the_time_limit_counts_from_the_first_user(locust):
    run = locust.run("-u", "1", "-t", "1s")
    assert run.finish() == 0
    assert run.manifest["ended_at"] - run.manifest["started_at"] > 0.95


def test_api_that_is_not_there_makes_rows_that_say_so(locust):
    with refusing_port() as port:
        run = locust.run("-u", "2", "-r", "2", "-H", f"http://127.0.0.1:{port}")
        run.wait_for_rows(3)
        run.interrupt()
        assert run.finish() == 1, "Locust's own rule: a request failed"
    rows = run.rows
    assert len(rows) == run.console_count
    assert {row["error"] for row in rows} == {f"cannot connect to 127.0.0.1:{port}: connection refused"}
    assert {(row["status"], row["response_ms"], row["ok"]) for row in rows} == {("", "", "0")}


def test_share_of_requests_reads_the_tally(locust, server):
    server.answer = lambda head: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    run = locust.run("-u", "5", "-r", "5", RESULTS_SHARE="0.5")
    run.wait_for_rows(60)
    run.interrupt()
    assert run.finish() == 1
    by_name = defaultdict(set)
    for row in run.rows:
        by_name[row["name"]].add((row["method"], row["ok"], row["correlation_id"] != ""))
    assert by_name == {
        "POST /vote": {("POST", "0", True)},
        "GET /vote/{vote_id}": {("GET", "1", False)},
    }


def test_profile_stopped_by_hand_is_marked_as_cut_short(locust, server):
    profile = write_profile(
        locust.directory, 'flows = ["vote"]\n[[stages]]\nduration = "60s"\nusers = 3\nspawn_rate = 3'
    )
    run, url = locust.web_ui(0, PROFILE=profile)
    wait_for_port(url)
    post(f"{url}/swarm", user_count="1", spawn_rate="1", host=server.url)
    run.wait_for_state("running")
    run.wait_for_rows(20)
    post(f"{url}/stop")
    run.wait_for_state("interrupted")
    assert run.counts_of_run() == {"rows": server.count, "csv": server.count}


def test_host_typed_into_the_web_ui_is_checked_too(locust, server):
    run, url = locust.web_ui(0, TARGET="sandbox")
    wait_for_port(url)
    post(f"{url}/swarm", user_count="1", spawn_rate="1", host="http://api.example.com")
    run.wait_for_output("ALLOWED_HOSTS: load to api.example.com is not allowed")
    assert not list(run.runs.glob("*/manifest.json"))


def test_stop_right_after_the_start_leaves_no_user_behind(locust, server):
    """A worker has not begun to spawn users when the stop comes: Locust alone would let it spawn them after that."""
    run, url = locust.web_ui(1)
    wait_for_port(url)
    run.wait_for_output("reported as ready")
    for _ in range(3):
        post(f"{url}/swarm", user_count="5", spawn_rate="5", host=server.url)
        post(f"{url}/stop")
        run.wait_for_state("complete")
    before = server.count
    run.interrupt()
    run.finish()
    assert server.count == before


def test_full_disk_ends_nothing_and_is_reported(locust, server):
    """The limit on a file's size stands for the disk: rows beyond it find no room."""
    command = locust.command("vote.py", "-u", "5", "-r", "5")
    # Python would keep the first 16 KB of each module that it compiles, and all who import it later would fail.
    variables = {"PYTHONDONTWRITEBYTECODE": "1"}
    run = locust.start([["bash", "-c", f"ulimit -f 16; exec {shlex.join(command)}"]], variables)
    server.wait_for(300)
    run.interrupt()
    run.finish()
    [worker] = run.manifest["workers"]
    assert len(run.rows) == worker["rows"] > 0
    assert worker["rows"] + worker["missing_rows"] == server.count == run.console_count
    assert "request rows could not be written: requests-0.csv: " in " ".join(run.manifest["warnings"])


def wait_for_port(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection((str(parts.hostname), parts.port or 0)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def post(url: str, **form: str) -> None:
    with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=60) as response:
        assert response.status == 200


@pytest.mark.parametrize("workers", [0, 1], ids=["alone", "with a worker"])
def test_web_ui_runs_one_after_another_each_in_its_directory(locust, server, workers):
    run, url = locust.web_ui(workers)
    wait_for_port(url)
    if workers:
        run.wait_for_output("reported as ready")
    counts = []
    for _ in range(2):
        before = server.count
        post(f"{url}/swarm", user_count="5", spawn_rate="5", host=server.url)
        run.wait_for_state("running")
        run.wait_for_rows(50)
        post(f"{url}/stop")
        run.wait_for_state("complete")
        counts.append(server.count - before)
        assert run.counts_of_run() == {"rows": counts[-1], "csv": counts[-1]}
    run.interrupt()
    assert run.finish() == 0
    assert len(list(run.runs.glob("*/manifest.json"))) == 2 + 1, "and `latest`"
    assert sum(counts) == server.count
