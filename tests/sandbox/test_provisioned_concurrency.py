"""Provisioned concurrency: environments made ahead, what they write, and what runs on demand beside them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from analysis.lambda_lines import parse_event
from sandbox.provisioning import Allocation
from tests.sandbox.lab import START, Lab, function

CODE = (
    "import os\nprint('loaded')\ndef handle(event, context):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']"
)
ECHO = ("FunctionName", "echo")


def lab(requested: int = 0, model: dict[str, Any] | None = None, **changes: Any) -> Lab:
    """A published version; with `requested` environments that are ready."""
    made = Lab(function("echo", code=changes.pop("code", CODE), version="1", **changes), model=model)
    if requested:
        made.provision(requested)
        made.clock.run_all()
    return made


def allocation(of: Lab) -> Allocation:
    return of.service.allocation(of.definitions.functions["echo"].arn, "1")


def test_environments_are_made_at_the_rate_and_serve_when_all_are_there():
    slow = lab(model={"lambda": {"provisioned_environments_per_min": 60.0, "provisioning_ms": 5000.0}})
    slow.provision(3)
    slow.clock.run_until(START + 4.9)
    assert allocation(slow) == Allocation()
    slow.clock.run_until(START + 6.9)  # inits at 5, 6 and 7 s take a quarter of a second
    assert allocation(slow) == Allocation(allocated=2)
    slow.clock.run_until(START + 7.5)
    assert allocation(slow) == Allocation(allocated=3, available=3)


def test_an_environment_imports_the_module_and_says_so_before_any_request():
    start, loaded, report = lab(1).logs.messages()
    assert start.startswith("INIT_START ") and loaded == "loaded\n"
    assert report.startswith("INIT_REPORT ") and "\tPhase: init\tStatus: success" in report
    times = [at for _, _, at, _ in lab(1).logs.events]
    assert 0.2 < times[2] - times[0] < 0.3


def test_a_call_finds_no_init_and_the_one_that_finds_them_busy_runs_on_demand():
    ready = lab(2)
    results = [ready.start() for _ in range(3)]
    ready.clock.run_all()
    assert [result[0].payload for result in results] == [
        b'"on-demand"' if n == 2 else b'"provisioned-concurrency"' for n in range(3)
    ]
    reports = [parse_event(line) for line in ready.logs.reports()]
    assert [report.get("init_ms") is None for report in reports].count(True) == 2
    truth = ready.truth.function("echo")
    assert (truth.invocations, truth.cold_starts, truth.provisioned_starts) == (3, 1, 2)
    assert truth.billed_ms == sum(report["billed_ms"] for report in reports)
    metrics = ready.metrics
    assert len(metrics.of("ProvisionedConcurrencyInvocations", ECHO)) == 2
    assert len(metrics.of("ProvisionedConcurrencySpilloverInvocations", ECHO)) == 1
    assert max(metrics.of("ProvisionedConcurrencyUtilization", ECHO)) == 1.0
    assert max(metrics.of("ProvisionedConcurrentExecutions", ECHO)) == 2.0
    ready.invoke()
    assert (truth.provisioned_starts, truth.cold_starts) == (2, 1)


def test_while_it_is_made_calls_run_on_demand_and_are_no_spillover():
    early = lab()
    early.provision(1)
    early.start()
    early.clock.run_until(START + 0.9)
    assert early.truth.function("echo").cold_starts == 1
    assert early.metrics.of("ProvisionedConcurrencySpilloverInvocations", ECHO) == []


def test_json_logs_say_the_kind_of_init():
    lines = [json.loads(line) for line in lab(1, log_format="JSON", code="def handle(e, c): pass").logs.messages()]
    assert [line["type"] for line in lines] == ["platform.initStart", "platform.initReport"]
    assert {line["record"]["initializationType"] for line in lines} == {"provisioned-concurrency"}


def test_a_failed_init_fails_the_configuration():
    broken = lab(2, code="raise RuntimeError('no')")
    assert allocation(broken) == Allocation(failed=True)
    assert "Status: error\tError Type: RuntimeError" in broken.logs.messages()[-1]


def test_fewer_are_kept_and_taken_back_they_are_gone():
    kept = lab(3)
    results = kept.start()
    kept.provision(1)
    kept.clock.run_all()
    assert results and allocation(kept) == Allocation(allocated=1, available=1)
    kept.provision(0)
    assert allocation(kept) == Allocation()
    assert kept.invoke().payload == b'"on-demand"'


def test_more_are_added_to_those_that_serve():
    grown = lab(1)
    grown.provision(3)
    assert allocation(grown) == Allocation(allocated=1, available=1)
    grown.clock.run_all()
    assert allocation(grown) == Allocation(allocated=3, available=3)


def test_it_is_a_part_of_the_reservation():
    """Two reserved, one of them provisioned: the third call at a time is refused."""
    reserved = lab(1, reserved_concurrency=2)
    results = [reserved.start() for _ in range(3)]
    reserved.clock.run_all()
    assert [result[0].status for result in results] == [200, 200, 429]


def test_it_is_taken_out_of_the_accounts_concurrency():
    """Of three, two are provisioned for another function."""
    account = Lab(function("echo", version="1"), function("other"), model={"lambda": {"account_concurrency": 3}})
    account.provision(2)
    account.clock.run_all()
    results = [account.start("other") for _ in range(2)]
    account.clock.run_all()
    assert [result[0].status for result in results] == [200, 429]


def test_synchronous_requests_beyond_ten_a_second_each_run_on_demand():
    quick = lab(1, {"functions": {"echo": FAST}})
    for _ in range(12):
        quick.start()
        quick.clock.run_until(quick.clock.now() + 0.01)
    quick.clock.run_all()
    assert len(quick.metrics.of("ProvisionedConcurrencyInvocations", ECHO)) == 11  # ten at once, the next after 0.1 s
    assert len(quick.metrics.of("ProvisionedConcurrencySpilloverInvocations", ECHO)) == 1


FAST = {
    **dict.fromkeys(("io_ms", "io_jitter_ms", "cpu_jitter_ms", "first_io_ms", "first_cpu_ms"), 0.0),
    "cpu_ms": 0.1,
    "init_ms": 100.0,
    "memory_used_mb": [60, 60],
}


def test_after_a_reset_it_is_made_anew():
    again = lab(2)
    again.service.reset()
    assert allocation(again) == Allocation()
    again.clock.run_all()
    assert allocation(again) == Allocation(allocated=2, available=2)


@pytest.mark.parametrize("requested", [1, 5])
def test_a_function_that_was_never_called_has_done_nothing(requested):
    assert lab(requested).truth.as_dict()["functions"] == {}
