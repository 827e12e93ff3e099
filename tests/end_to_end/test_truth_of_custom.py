"""The example of flow custom, as docs/custom-flow.md shows it, against a sandbox that knows the truth."""

from __future__ import annotations

import json

import pytest

from analysis.truth import compare
from control.processes import ROOT
from tests.end_to_end.test_truth_of_runs import Case, Outcome, run_case

pytestmark = pytest.mark.timeout(600)  # a run from end to end, on a machine that may be slow

EXAMPLE = ROOT / "examples" / "custom"

PROFILE = """
description = "the example, two seconds to answer"
flows = ["custom"]
model = "open"
response_limit = "2s"
chain_limit = "30s"
[[stages]]
duration = "7s"
rate = 20
spawn_rate = 1000
"""

CASE = Case(
    "the example of flow custom",
    7,
    PROFILE,
    [{"kind": "slow", "function": "place-vote", "count": 2, "of": 20, "delay_ms": 2_200}],
    workers=2,
    parameters=("ConsumerTimeout=5",),
    variables={"CUSTOM_FLOW": str(EXAMPLE / "flow.toml")},
)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_case(CASE, tmp_path_factory.mktemp("custom"))


def test_every_count_of_the_summary_equals_the_truth(outcome):
    assert [c for c in compare(outcome.summary, outcome.truth) if not c.equal] == [], outcome.output[-3000:]
    assert outcome.summary["run"]["complete"] is True, outcome.summary["run"]["warnings"]
    assert outcome.truth["pending"] == 0


def test_every_transport_is_used_and_every_message_followed(outcome):
    assert set(outcome.summary["client"]["endpoints"]) == {
        "POST /vote",
        "GET tally",
        "Invoke place-vote",
        "SendMessageBatch orders by queue",
        "Publish orders by topic",
        "PutEvents orders by bus",
        "PutRecords orders by stream",
    }
    chains = outcome.summary["chains"]
    assert set(chains) == {"events-queue", "events-topic", "events-bus", "events-stream"}
    assert all(chain["completed"] == chain["sent"] > 0 for chain in chains.values())


def test_a_late_answer_is_a_failure_of_its_own_cause(outcome):
    failed = outcome.summary["client"]["failed_checks"]
    late = sum(checks.get("time under 2s", 0) + checks.get("time under 5s", 0) for checks in failed.values())
    assert late > 0
    causes = [cause for cause in outcome.summary["root_causes"] if cause["kind"] == "check_failed"]
    assert sum(cause["requests"] for cause in causes) == sum(sum(checks.values()) for checks in failed.values())
    assert not [cause for cause in outcome.summary["root_causes"] if cause["kind"] == "unknown"]


def test_requests_are_joined_and_rows_come_from_the_files(outcome):
    join = outcome.summary["join"]
    assert join["reached_matched"] == join["reached"] > 0
    payloads = json.loads(outcome.run.file("manifest.json").read_text())["custom_flow"]["payloads"]
    client = outcome.summary["client"]
    assert sum(payload["rows_handed_out"] for payload in payloads.values()) == client["requests"]
    assert {name: payload["rows"] for name, payload in payloads.items()} == {"votes": 12, "orders": 8}
