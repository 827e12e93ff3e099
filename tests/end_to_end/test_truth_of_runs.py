"""Whole runs against sandboxes that know the truth: every count of the summary equals it, whatever goes wrong.

Each run goes the way a user's does: `python -m control load` with a profile of its own, real Locust processes, logs
pulled through Logs Insights. The stream's limit is lowered with `--model`, so that a load small enough for any machine
meets it as the demo's load meets the real one.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from analysis.truth import compare
from control.processes import ROOT
from control.sandbox_process import SandboxProcess
from runstore.rundir import RunDir
from tests.contract import breaches
from tests.end_to_end.recomputed import differing, figures

pytestmark = pytest.mark.timeout(600)  # a run from end to end, on a machine that may be slow

MODEL = """
[kinesis]
shard_records_per_s = 40

[logs]
ingestion_lag_s = 0.5

[lambda]
async_retry_waits_s = [0.5, 1.0]
async_throttle_wait_s = 0.2
"""

MIXED = """
description = "about 60 requests a second, of which a shard that takes 40 records refuses some"
flows = {vote = 60, shop = 20, direct = 20}
model = "closed"
pacing = "0.5s"
results_share = 0.1
[[stages]]
duration = "3s"
users = 40
[[stages]]
duration = "5s"
users = 40
"""

ARRIVALS = """
description = "100 arrivals a second, most of them sales, some of which find no free slot"
flows = {vote = 1, shop = 5}
model = "open"
arrivals = "poisson"
max_in_flight = 4
[[stages]]
duration = "7s"
rate = 100
spawn_rate = 10000
"""


@dataclass(frozen=True)
class Case:
    """One run and what is wrong in it."""

    name: str
    seed: int
    profile: str
    faults: list[dict[str, Any]]
    workers: int = 0
    parameters: tuple[str, ...] = ("ApiFunctionTimeout=2",)
    """Of the stack."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the run."""


CASES = [
    Case("a master and two workers", 2, MIXED, [], workers=2),
    Case(
        "everything fails a little",
        3,
        MIXED,
        [
            {"kind": "fail", "function": "place-vote", "count": 5, "of": 100},
            {"kind": "crash", "function": "place-vote", "count": 3, "of": 100},
            {"kind": "slow", "function": "shop-accept", "count": 2, "of": 20, "delay_ms": 2_500},
            {"kind": "throttle", "function": "place-vote", "count": 4, "of": 100},
            {"kind": "fail", "function": "shop-decrypt", "count": 3, "of": 30},
            {"kind": "throttle_api", "count": 6, "of": 100},
        ],
        variables={"LOG_TYPE": "Tail"},
    ),
    Case(
        "arrivals at two workers, 7 of 60 deliveries dropped, 5 duplicated",
        5,
        ARRIVALS,
        [
            {"kind": "drop", "topic": "sales", "count": 7, "of": 60},
            {"kind": "duplicate", "topic": "decrypted-sales", "count": 5, "of": 50},
        ],
        workers=2,
    ),
]


@dataclass(frozen=True)
class Outcome:
    exit_code: int
    output: str
    run: RunDir
    summary: dict[str, Any]
    truth: dict[str, Any]


def run_case(case: Case, folder: Path) -> Outcome:
    (folder / "model.toml").write_text(MODEL)
    (folder / "faults.json").write_text(json.dumps(case.faults))
    (folder / "profile.toml").write_text(case.profile)
    sandbox = SandboxProcess.start(
        folder / "sandbox.log", ["--seed", str(case.seed), "--model", str(folder / "model.toml")]
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {
        "PYTHONPATH": str(ROOT),
        "RUNS_DIR": str(folder / "runs"),
        "AWS_ENDPOINT_URL": sandbox.endpoint,
        "SEED": str(case.seed),
        **case.variables,
    }

    def control(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "control", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    try:
        deployed = control("deploy", *(word for parameter in case.parameters for word in ("--parameter", parameter)))
        assert deployed.returncode == 0, deployed.stderr
        if case.faults:
            told = urllib.request.Request(
                f"{sandbox.endpoint}/_sandbox/faults", data=json.dumps(case.faults).encode(), method="POST"
            )
            urllib.request.urlopen(told, timeout=60).close()
        done = control("load", "--load-profile", "profile.toml", "--workers", str(case.workers))
    finally:
        sandbox.stop()
    run = RunDir((folder / "runs" / "latest").resolve())
    assert run.file("summary.json").exists(), done.stderr
    return Outcome(
        done.returncode,
        done.stdout + done.stderr,
        run,
        json.loads(run.file("summary.json").read_text()),
        json.loads(run.file("truth.json").read_text()),
    )


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Outcome]:
    return request.param, run_case(request.param, tmp_path_factory.mktemp("run"))


def test_every_count_of_the_summary_equals_the_truth(outcome):
    result = outcome[1]
    different = [c for c in compare(result.summary, result.truth) if not c.equal]
    assert different == [], result.output[-3000:]
    assert result.summary["run"]["complete"] is True, result.summary["run"]["warnings"]
    assert result.truth["pending"] == 0
    assert result.truth["api"]["requests"] > 100


def test_the_summary_has_the_contracts_keys(outcome):
    summary = outcome[1].summary
    assert list(breaches(summary)) == []
    assert summary["metrics"] and summary["cost"]["items"]
    failed = summary["client"]["failures"] + summary["client"]["dropped"]
    assert bool(summary["root_causes"]) == bool(failed)


def test_every_figure_is_what_pandas_makes_of_the_raw_files(outcome):
    """Times, rates and counts of requests, functions and parts of requests, and of the chain from end to end."""
    found = list(figures(outcome[1].run))
    assert len(found) > 150
    assert differing(found) == []


def test_at_least_99_percent_of_what_reached_a_function_is_joined(outcome):
    join = outcome[1].summary["join"]
    assert join["reached"] > 100
    assert join["reached_matched"] >= 0.99 * join["reached"]
    assert join["ambiguous"] == 0


def test_the_clocks_are_found_to_agree_by_the_logs_and_by_the_date_headers(outcome):
    """They are one: load generator and sandbox share the machine."""
    case, result = outcome
    clocks = result.summary["clocks"]
    assert [clock["worker"] for clock in clocks] == [str(number) for number in range(max(1, case.workers))]
    for clock in clocks:
        assert abs(clock["offset_ms"]) <= clock["error_ms"] and not clock["corrected"]
        assert abs(clock["date_offset_ms"]) <= clock["date_error_ms"] + 1
    answered = sum(endpoint["requests"] for endpoint in result.summary["client"]["endpoints"].values())
    assert sum(clock["date_answers"] for clock in clocks) == answered
    assert "The target's clock agrees with worker" in result.output


def test_what_the_tail_of_the_log_told_of_an_init_is_what_the_logs_say(outcome):
    case, result = outcome
    columns = ["method", "status", "matched_by", "init_ms", "inv_init_ms"]
    rows = parquet.read_table(result.run.file("joined.parquet"), columns=columns).to_pylist()
    told = [row for row in rows if row["init_ms"] is not None]
    assert bool(told) == ("LOG_TYPE" in case.variables)
    assert {row["method"] for row in told} <= {"Invoke"}
    if told:
        invoked = [row for row in rows if row["method"] == "Invoke" and row["status"] == 200 and row["matched_by"]]
        assert [row["init_ms"] for row in invoked] == [row["inv_init_ms"] for row in invoked]


def test_rows_console_and_csv_agree(outcome):
    from analysis.locust_csv import read_stats

    summary, run = outcome[1].summary, outcome[1].run
    stats = read_stats(run.file("locust_stats.csv"))
    aggregated = stats[stats["Name"] == "Aggregated"].iloc[0]
    assert aggregated["Request Count"] == summary["client"]["requests"]
    assert aggregated["Failure Count"] == summary["client"]["failures"]


def test_what_failed_is_explained(outcome):
    case, result = outcome
    causes = result.summary["root_causes"]
    client = result.summary["client"]
    assert sum(cause["requests"] for cause in causes) == client["failures"] + client["dropped"]
    assert not [cause for cause in causes if cause["kind"] == "unknown"]
    if case.profile is MIXED:
        throttled = next(c for c in causes if c["error_type"] == "ProvisionedThroughputExceededException")
        assert (throttled["function"], throttled["operation"]) == ("place-vote", "PutRecord")
        assert throttled["resource"] == "stream votes"
        assert throttled["frame"].startswith("handler.py:")
        assert throttled["examples"]


def test_offered_is_sent_and_dropped(outcome):
    case, result = outcome
    client = result.summary["client"]
    assert client["offered"] == client["requests"] + client["dropped"]
    assert (client["dropped"] > 0) == (case.profile is ARRIVALS)
    assert client["from_schedule"]["p99_ms"] >= client["from_schedule"]["p50_ms"] > 0


def test_the_chain_says_what_was_lost_and_duplicated(outcome):
    case, result = outcome
    chain = result.summary["chains"]["shop"]
    assert chain["pending"] == 0
    assert chain["table_reconciled"] is True
    if case.profile is ARRIVALS:
        assert chain["accepted"] == chain["sent"] > 60
        assert (chain["sent"] - chain["completed"], chain["lost"], chain["duplicated"]) == (7, 7, 5)


def test_cloudwatch_counts_what_really_happened(outcome):
    result = outcome[1]
    assert result.summary["run"]["warnings"] == []  # nor does it disagree with the logs or the client
    counted = {(one["name"], one["function"]): one["value"] for one in result.summary["metrics"]}
    for name, truth in result.truth["functions"].items():
        assert counted["Invocations", name] == (truth["invocations"] or None), name
        assert (counted["Errors", name] or 0, counted["Throttles", name]) == (truth["errors"], truth["throttles"]), name
    by_class = Counter(int(status) // 100 for status in Counter(result.truth["api"]["by_status"]).elements())
    assert counted["Count", None] == result.truth["api"]["requests"]
    assert (counted["4XXError", None], counted["5XXError", None]) == (by_class[4], by_class[5])
    verdicts = {one["name"]: one["verdict"] for one in result.summary["metrics"] if one["group"] != "functions"}
    assert set(verdicts.values()) == {"ok"}
    events = [one for one in result.summary["metrics"] if one["name"] == "AsyncEventsReceived" and one["value"]]
    assert {one["function"] for one in events} == {"shop-decrypt", "shop-update-db"}


MEMORY_MB = {"place-vote": 256, "tally-votes": 256, "get-results": 256}
"""Of the stack's functions, unless it is told otherwise; the others have 128."""


def test_the_cost_is_that_of_what_really_happened(outcome):
    result, cost = outcome[1], outcome[1].summary["cost"]
    truth, usd = result.truth, {item["item"]: item["usd"] for item in cost["items"]}
    functions = truth["functions"]
    gb_s = sum(one["billed_ms"] / 1000 * MEMORY_MB.get(name, 128) / 1024 for name, one in functions.items())
    # us-east-1, x86_64
    assert usd["lambda_x86_64_gb_s"] == pytest.approx(gb_s * 0.0000166667)
    assert usd["lambda_requests"] == pytest.approx(sum(one["invocations"] for one in functions.values()) * 0.20e-6)
    # what the API throttles itself is not charged
    charged = truth["api"]["requests"] - truth["api"]["by_status"].get("429", 0)
    assert usd["api_rest_requests"] == pytest.approx(charged * 3.50e-6)
    # each vote is one record, far below 25 KB; a stream that took nothing is not charged to the run
    assert usd.get("kinesis_put_units", 0) == pytest.approx(
        truth["streams"].get("votes", {}).get("accepted", 0) * 0.014e-6
    )
    assert usd.get("kms_requests", 0) == pytest.approx(
        functions.get("shop-decrypt", {}).get("invocations", 0) * 0.03e-4
    )
    assert cost["simulated"] is True
    assert cost["run_usd"] == pytest.approx(sum(one for one in usd.values() if one is not None))
