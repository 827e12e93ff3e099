"""Flow custom in whole runs of Locust: rows shared out among processes, also where one is killed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from urllib.parse import unquote

import pytest

from tests.loadgen.conftest import LocustRun

ROWS = 800
SECRET = "hunter2-of-the-environment"

FLOW = """
environment = ["TENANT_TOKEN"]
[payloads.orders]
file = "orders.jsonl"
order = "once"
[[requests]]
payload = "orders"
has = "$.sequence_number"
[requests.api]
path = "/orders/{{ row.customer }}"
headers = { X-Tenant = "{{ env.TENANT_TOKEN }}" }
[requests.body]
number = "{{ row.number }}"
customer = "{{ row.customer }}"
"""
HOSTILE = ['a"b\\', "Umlaut ü\r\nX-Evil: 1", "{{ 7 * 7 }}", "x/../y?z=1#", "'; DROP TABLE orders; --", "\u2028 \x00"]

PROFILE = """
description = "until all rows are used"
flows = ["custom"]
pacing = "0.1s"
[[stages]]
duration = "60s"
users = 30
spawn_rate = 30
"""


def write_flow(directory, rows):
    """-> the path of the flow's file."""
    lines = [json.dumps({"number": number, "customer": HOSTILE[number % len(HOSTILE)]}) for number in range(rows)]
    (directory / "orders.jsonl").write_text("\n".join(lines))
    (directory / "flow.toml").write_text(FLOW)
    (directory / "profile.toml").write_text(PROFILE)
    return str(directory / "flow.toml")


@pytest.fixture(scope="module")
def killed(lasting_locust, lasting_server) -> tuple[LocustRun, int]:
    """Three workers, of which one is killed in the middle; and the worst exit code of the others."""
    directory = lasting_locust.directory
    # Slow at first: all rows would be used in three seconds, and a busy machine may take those to begin or to kill.
    lasting_server.slow_down(0.5)
    run = lasting_locust.distributed(
        3,
        locustfiles="custom.py",
        CUSTOM_FLOW=write_flow(directory, ROWS),
        PROFILE=str(directory / "profile.toml"),
        TENANT_TOKEN=SECRET,
        HEARTBEAT_LIVENESS="3",
    )
    run.wait_for_rows(20, files=3)
    run.processes[1].kill()
    lasting_server.slow_down(0.01)
    return run, run.finish()


def sent_numbers(server) -> Counter:
    return Counter(json.loads(body)["number"] for body in server.bodies)


def test_no_row_is_sent_twice_and_none_is_lost_but_those_of_the_killed_worker(killed, lasting_server):
    run, _ = killed
    sent = sent_numbers(lasting_server)
    assert set(sent.values()) == {1}
    (warning,) = [text for text in run.manifest["warnings"] if "orders.jsonl" in text]
    held = int(warning.split()[2])
    assert ROWS - held <= len(sent) < ROWS
    assert len(run.rows) >= len(sent) - 60  # the last second of the killed one


def test_the_run_ends_by_itself_when_all_rows_are_used(killed):
    run, _ = killed
    assert run.manifest["ended_at"] - run.manifest["started_at"] < 60, "what the profile would last"
    assert {entry.get("lost_at") is not None for entry in run.manifest["workers"]} == {True, False}


def test_the_manifest_names_the_files_and_their_digests(killed, lasting_locust):
    flow = killed[0].manifest["custom_flow"]
    payload = (lasting_locust.directory / "orders.jsonl").read_bytes()
    assert flow["file"] == "flow.toml"
    assert flow["sha256"] == hashlib.sha256(FLOW.encode()).hexdigest()
    assert flow["payloads"]["orders"] == {
        "file": "orders.jsonl",
        "sha256": hashlib.sha256(payload).hexdigest(),
        "rows": ROWS,
        "order": "once",
        "rows_handed_out": ROWS,
        "rows_unsent": 0,
    }


def test_hostile_rows_arrive_as_they_are(killed, lasting_server):
    for head, body in zip(lasting_server.heads, lasting_server.bodies, strict=True):
        document = json.loads(body)
        customer = HOSTILE[document["number"] % len(HOSTILE)]
        assert document["customer"] == customer
        assert unquote(head.split(" ")[1]) == f"/orders/{customer}"
        assert f"\r\nX-Tenant: {SECRET}\r\n" in head
        assert "X-Evil:" not in head


def test_rows_are_joined_by_the_usual_ids(killed, lasting_server):
    correlation_ids = {row["correlation_id"] for row in killed[0].rows}
    assert len(correlation_ids) == len(killed[0].rows)
    assert correlation_ids <= {json.loads(body)["correlation_id"] for body in lasting_server.bodies}
    assert {row["name"] for row in killed[0].rows} == {"POST /orders/{row.customer}"}


def test_no_secret_reaches_a_file_or_the_output(killed):
    run, _ = killed
    for path in [*run.directory.rglob("*"), *run.outputs]:
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_arrivals_without_a_profile_end_too_when_all_rows_are_used_and_a_row_without_a_column_is_named(
    locust, server, tmp_path
):
    flow = write_flow(tmp_path, 41)
    text = (tmp_path / "orders.jsonl").read_text()
    for number in (7, 9):
        text = text.replace(f'"number": {number},', f'"numero": {number},')
    (tmp_path / "orders.jsonl").write_text(text)
    run = locust.run(
        *("-u", "2", "-r", "2", "-t", "60s", "--rate", "20"),
        locustfiles="custom.py",
        CUSTOM_FLOW=flow,
        TENANT_TOKEN=SECRET,
    )
    run.finish()
    assert sorted(sent_numbers(server)) == [number for number in range(41) if number not in (7, 9)]
    assert run.manifest["state"] == "complete"
    assert run.counts(server) == {"server": 39, "rows": 39, "console": 39, "csv": 39}
    # A page of the log for each row would be a book.
    assert (run.output.count("a request could not be written"), "Traceback" in run.output) == (1, False)
    assert run.manifest["warnings"] == [
        "flow custom: 2 requests could not be written and were not sent, the first: requests.1.body.number: "
        "there is no 'number', but 'numero', 'customer' (payload orders, line 8)"
    ]


def test_what_is_wrong_is_told_before_anything_is_sent(locust, server, tmp_path):
    flow = write_flow(tmp_path, 3)
    (tmp_path / "orders.jsonl").write_text('{"number": 1}\n{"number": ')
    run = locust.run("-u", "1", "-t", "5s", locustfiles="custom.py", CUSTOM_FLOW=flow)
    assert run.finish() == 2
    assert "orders.jsonl:2: not valid JSON" in run.output
    assert "environment: TENANT_TOKEN is not set" in run.output
    assert server.count == 0


def test_the_run_ends_too_where_a_worker_has_no_users(locust, server, tmp_path):
    flow = write_flow(tmp_path, 6)
    run = locust.distributed(2, "-u", "1", "-t", "60s", locustfiles="custom.py", CUSTOM_FLOW=flow, TENANT_TOKEN=SECRET)
    assert run.finish() == 0
    assert len(run.rows) == 6
