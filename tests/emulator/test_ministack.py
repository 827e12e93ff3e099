"""The suite against an AWS that we did not write: MiniStack, deployed to, loaded, analysed, cleared up.

What MiniStack 1.5.33 lacks and the runs must survive: REPORT lines have no Init Duration and 0 MB of memory used,
nothing writes INIT_START, the request id that answers an Invoke is not the one in the logs, API Gateway writes no
access log, CloudWatch counts direct invokes only, and Logs Insights knows `fields`, `filter`, `sort` and `limit`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from analysis import locust_csv
from analysis.insights import Window, run_query
from analysis.log_queries import CORRELATION, ERROR, EVENTS, INIT, REPORT
from control.processes import ROOT, is_port_free
from runstore.rundir import RunDir
from tests.contract import breaches
from tests.emulator.processes import LIMIT_S, Emulator, Finished

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(2 * LIMIT_S)]

MESSAGES = 10
DEMO = Path(__file__).parent / "demo.toml"
REQUEST_ID = re.compile(r'(?:RequestId: |"request_id": ")([0-9a-f-]{36})')


class Run:
    """A run that has ended."""

    def __init__(self, finished: Finished, directory: Path) -> None:
        self.finished = finished
        self.run = RunDir(directory.resolve())
        assert self.run.file("summary.json").exists(), finished.output
        self.summary: dict[str, Any] = json.loads(self.run.file("summary.json").read_text())


@pytest.fixture(scope="module")
def deployed(emulator: Emulator) -> Finished:
    finished = emulator.control("deploy")
    assert finished.exit_code == 0, finished.output
    return finished


@pytest.fixture(scope="module")
def smoke(emulator: Emulator, deployed: Finished) -> Finished:
    return emulator.control("smoke")


def test_preflight_finds_its_way_about(emulator: Emulator, deployed: Finished) -> None:
    finished = emulator.control("preflight", "--scale", "0.05")
    assert finished.exit_code == 0, finished.output
    assert "Preflight of demo on emulator · SIMULATED, not AWS" in finished.output


@pytest.fixture(scope="module")
def perf(emulator: Emulator, smoke: Finished) -> Run:
    finished = emulator.control("perf", "--messages", str(MESSAGES))
    return Run(finished, emulator.directory / "runs" / "latest")


@pytest.fixture(scope="module")
def demo(emulator: Emulator, perf: Run) -> Run:
    finished = emulator.control("load", "--load-profile", str(DEMO))
    return Run(finished, emulator.directory / "runs" / "latest")


@pytest.fixture(scope="module", params=["perf", "demo"])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue(request.param)
    return found


def test_the_stack_is_deployed_with_all_its_outputs(deployed: Finished, aws: Any) -> None:
    (stack,) = aws("cloudformation").describe_stacks(StackName="swarmscope")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert [one["OutputKey"] for one in stack["Outputs"] if one["OutputKey"] not in deployed.output] == []


def test_the_smoke_message_arrives(smoke: Finished) -> None:
    assert smoke.exit_code == 0, smoke.output
    assert "changed by exactly what was sent" in smoke.output


def test_a_run_is_complete_and_holds_its_thresholds(run: Run) -> None:
    assert run.summary["run"]["complete"], run.finished.output
    assert [one for one in run.summary["thresholds"] if one["verdict"] != "pass"] == []
    assert run.finished.exit_code == 0, run.finished.output


def test_every_request_is_recorded(run: Run) -> None:
    rows = sum(file.read_bytes().count(b"\n") - 1 for file in run.run.requests_files())
    stats = locust_csv.read_stats(run.run.file("locust_stats.csv"))
    counted = int(stats[stats["Name"] == "Aggregated"]["Request Count"].iloc[0])
    assert run.summary["client"]["requests"] == rows == counted > 0
    assert run.summary["client"]["failures"] == 0


def test_every_request_is_joined_by_the_ids_that_there_are(run: Run) -> None:
    endpoints = run.summary["client"]["endpoints"]
    invokes = sum(one["requests"] for name, one in endpoints.items() if name.startswith("Invoke "))
    joined = run.summary["join"]
    assert joined["matched"] == joined["requests"] == run.summary["client"]["requests"]
    # The answer of an Invoke has another id than its log lines: there the payload's leads on.
    assert joined["by"] == {
        "lambda_request_id": joined["requests"] - invokes,
        "access_log": 0,
        "correlation_line": invokes,
        "trace_id": 0,
    }


def test_the_demo_has_requests_of_every_flow(demo: Run) -> None:
    assert {"POST /vote", "POST /shop", "Invoke place-vote"} <= demo.summary["client"]["endpoints"].keys()


def test_every_sale_arrives_and_the_table_agrees(run: Run) -> None:
    chain = run.summary["chains"]["shop"]
    assert chain["completed"] == chain["accepted"] == chain["sent"] > 0
    assert (chain["lost"], chain["duplicated"], chain["table_reconciled"]) == (0, 0, True)


def test_invocations_are_those_that_the_emulator_logged(smoke: Finished, perf: Run, demo: Run, aws: Any) -> None:
    logged: Counter[str] = Counter()
    pages = aws("logs").get_paginator("filter_log_events")
    for function, group in demo.run.read_manifest()["log_groups"].items():
        events = [event["message"] for page in pages.paginate(logGroupName=group) for event in page["events"]]
        logged[function] = sum(message.startswith("REPORT RequestId: ") for message in events)
    in_summaries: Counter[str] = Counter()
    for run in (perf, demo):
        in_summaries.update({name: one["invocations"] for name, one in run.summary["functions"].items()})
    # The smoke run, which was not analysed: one message through three functions.
    in_summaries.update({"shop-accept": 1, "shop-decrypt": 1, "shop-update-db": 1})
    assert +in_summaries == +logged


def test_what_the_emulator_does_not_tell_is_absent_and_said(run: Run) -> None:
    for function in run.summary["functions"].values():
        if function["invocations"]:
            assert (function["cold_starts"], function["cold_start_rate"]) == (None, None)
            assert set(function["init_ms"].values()) == {None}
            assert function["memory_mb"]["configured"] and function["memory_mb"]["max"] is None
    warnings = "\n".join(run.summary["run"]["warnings"])
    assert "cold starts are not known" in warnings
    assert "how much memory was used" in warnings


def test_the_summary_has_the_keys_that_others_build_on(run: Run) -> None:
    assert list(breaches(run.summary)) == []


def test_the_reports_are_written(run: Run) -> None:
    assert run.run.run_id in run.run.file("report.html").read_text()
    assert f"Run {run.run.run_id} on emulator (**simulated**" in run.run.file("summary.md").read_text()
    cases = list(ElementTree.parse(run.run.file("junit.xml")).iter("testcase"))
    assert len(cases) >= len(run.summary["thresholds"])


def test_a_run_can_be_analysed_again(perf: Run, emulator: Emulator) -> None:
    again = emulator.python("-m", "analysis", "analyze", str(perf.run.path))
    assert again.exit_code == 0, again.output
    summary = json.loads(perf.run.file("summary.json").read_text())
    assert (summary["join"], summary["chains"]) == (perf.summary["join"], perf.summary["chains"])


@pytest.mark.parametrize("cut_by", ["nothing", "request", "stream", "both"])
def test_what_the_pull_asks_for_is_answered_as_it_is_meant(demo: Run, aws: Any, cut_by: str) -> None:
    manifest = demo.run.read_manifest()
    group = manifest["log_groups"]["place-vote"]
    window = Window(int(manifest["started_at"]), int(manifest["ended_at"]) + 1)
    wanted = re.compile("|".join((REPORT, ERROR, INIT, CORRELATION)))
    events = [
        event
        for page in aws("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        for event in page["events"]
        if window.start * 1000 <= event["timestamp"] <= window.end * 1000 and wanted.search(event["message"])
    ]
    one = events[0]
    request_prefix = REQUEST_ID.findall(one["message"])[0][0] if cut_by in ("request", "both") else ""
    stream_prefix = one["logStreamName"].partition("]")[2][0] if cut_by in ("stream", "both") else ""
    text = EVENTS.text(request_prefix, stream_prefix)
    answered = run_query(aws("logs"), [group], text, window, clock=time.monotonic, sleep=time.sleep).rows
    meant = [
        event["eventId"]
        for event in events
        if REQUEST_ID.findall(event["message"])[0].startswith(request_prefix)
        and event["logStreamName"].partition("]")[2].startswith(stream_prefix)
    ]
    assert sorted(row["@ptr"] for row in answered) == sorted(meant)
    assert one["eventId"] in meant


def test_a_query_that_the_emulator_does_not_understand_is_no_answer(demo: Run, emulator: Emulator) -> None:
    asked = emulator.python("-m", "analysis", "query", "cold_starts", "--run", str(demo.run.path))
    assert asked.exit_code == 2
    assert "does not understand the query" in asked.output


def test_by_time_bin_cold_starts_are_unknown_too(demo: Run, emulator: Emulator) -> None:
    binned = emulator.python("-m", "analysis", "bins", str(demo.run.path), "--every", "1m", "--format", "json")
    assert binned.exit_code == 0, binned.output
    rows = json.loads(binned.output[binned.output.index("[") :])
    assert sum(row["requests"] for row in rows) == demo.summary["client"]["requests"]
    assert {row["cold_starts"] for row in rows} == {None}


def test_deploying_again_changes_nothing_and_destroying_leaves_nothing(demo: Run, emulator: Emulator, aws: Any) -> None:
    again = emulator.control("deploy")
    assert again.exit_code == 0, again.output
    destroyed = emulator.control("destroy")
    assert destroyed.exit_code == 0, destroyed.output
    assert aws("s3").list_buckets()["Buckets"] == []
    assert aws("lambda").list_functions()["Functions"] == []
    assert aws("dynamodb").list_tables()["TableNames"] == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_whoever_is_ended_leaves_no_process_port_or_directory(how: signal.Signals) -> None:
    holder = """if True:
        import signal, sys, time
        from tests.emulator.processes import emulator

        def interrupt(*_):
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, interrupt)
        with emulator() as started:
            print(started.endpoint, started.directory, started.group, flush=True)
            time.sleep(600)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", holder], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        endpoint, directory, group = process.stdout.readline().split()
        os.kill(process.pid, how)
        process.wait(60)
    finally:
        process.kill()
    deadline = time.monotonic() + 60
    while (left := _left(endpoint, directory, int(group))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def _left(endpoint: str, directory: str, group: int) -> list[str]:
    """What is still there of an emulator."""
    left = [f"directory {directory}"] if Path(directory).exists() else []
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        left.append(f"processes of group {group}")
    parts = urlsplit(endpoint)
    return left if is_port_free(str(parts.hostname), int(parts.port or 0)) else [*left, f"port of {endpoint}"]
