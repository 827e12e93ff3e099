"""The Lambda service in virtual time."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from sandbox.faults import parse_faults
from tests.sandbox.lab import START, Lab, function

CALM = {
    "default_function": {
        "io_ms": 100, "cpu_ms": 0, "io_jitter_ms": 0, "cpu_jitter_ms": 0, "first_io_ms": 50, "first_cpu_ms": 0,
        "init_ms": 200, "memory_used_mb": [70, 70],
    },
    "lambda": {"init_jitter": 0, "async_dispatch_ms": 0},
}  # fmt: skip
"""A model without chance: 100 ms warm, 150 ms on the first call, 200 ms of init."""

FAILING = "def handle(event, context):\n    raise RuntimeError('no')\n"


def calm(**sections):
    return CALM | {name: CALM.get(name, {}) | values for name, values in sections.items()}


def lab(*functions, model=None, faults=None, **options) -> Lab:
    made = Lab(*(functions or [function()]), model=model or CALM, **options)
    if faults:
        made.faults.add(parse_faults(faults))
    return made


def field(report: str, name: str) -> str | None:
    found = re.search(rf"(?:^|\t){name}: ([^\t\n]+)", report)
    return found[1] if found else None


# a cold and a warm start


def test_a_cold_start_takes_init_and_the_first_calls_extra():
    sandbox = lab()
    result = sandbox.start()
    sandbox.clock.run_until(START + 0.3499)
    assert result == []
    sandbox.clock.run_until(START + 0.3501)
    assert (result[0].status, result[0].payload, result[0].executed_version) == (200, b"{}", "$LATEST")


def test_a_cold_start_writes_init_start_and_shows_init_in_its_report():
    sandbox = lab()
    request_id = sandbox.invoke().request_id
    group = "/aws/lambda/echo"
    (stream,) = {stream for _, stream, _, _ in sandbox.logs.events}
    assert re.fullmatch(r"2027/01/15/\[\$LATEST\][0-9a-f]{32}", stream)
    assert [(of, at - START, text) for of, _, at, text in sandbox.logs.events] == [
        (group, 0.0, sandbox.logs.messages()[0]),
        (group, pytest.approx(0.2), f"START RequestId: {request_id} Version: $LATEST\n"),
        (group, pytest.approx(0.35), f"END RequestId: {request_id}\n"),
        (
            group,
            pytest.approx(0.35),
            f"REPORT RequestId: {request_id}\tDuration: 150.00 ms\tBilled Duration: 350 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 70 MB\tInit Duration: 200.00 ms\t\n",
        ),
    ]
    assert sandbox.logs.messages()[0].startswith("INIT_START Runtime Version: python:3.12")


def test_a_warm_start_reuses_the_environment_and_shows_no_init():
    sandbox = lab()
    sandbox.invoke()
    sandbox.logs.events.clear()
    sandbox.invoke()
    assert len({stream for _, stream, _, _ in sandbox.logs.events}) == 1
    (report,) = sandbox.logs.reports()
    assert field(report, "Duration") == "100.00 ms"
    assert field(report, "Init Duration") is None
    assert not any(message.startswith("INIT_START") for message in sandbox.logs.messages())


def test_invocations_at_a_time_have_environments_of_their_own():
    sandbox = lab()
    sandbox.start()
    sandbox.start()
    sandbox.clock.run_all()
    assert len({stream for _, stream, _, _ in sandbox.logs.events}) == 2
    assert sandbox.truth.function("echo").cold_starts == 2


def test_after_idle_expiry_the_next_start_is_cold():
    sandbox = lab()
    sandbox.invoke()
    sandbox.clock.run_until(sandbox.clock.now() + sandbox.parameters.lambda_.idle_expiry_s)
    sandbox.invoke()
    assert sandbox.truth.function("echo").cold_starts == 2


def test_billed_is_duration_plus_init_rounded_up():
    sandbox = Lab(function(), seed=5)
    for _ in range(20):
        sandbox.invoke()
    for report in sandbox.logs.reports():
        duration, init = (
            (field(report, "Duration") or "").split()[0],
            (field(report, "Init Duration") or "0 ").split()[0],
        )
        assert field(report, "Billed Duration") == f"{math.ceil(round(float(duration) + float(init), 2))} ms"
    assert sandbox.truth.function("echo").billed_ms == sum(
        int((field(report, "Billed Duration") or "").split()[0]) for report in sandbox.logs.reports()
    )


def test_more_memory_is_faster_once_the_definition_says_so():
    sandbox = Lab(function("shop-decrypt"))
    slow = [sandbox.invoke("shop-decrypt") for _ in range(3)]
    sandbox.change(function("shop-decrypt", memory_mb=3008))
    fast = [sandbox.invoke("shop-decrypt") for _ in range(3)]
    assert len(slow) == len(fast) == 3
    reports = sandbox.logs.reports()
    durations = [float((field(report, "Duration") or "").split()[0]) for report in reports]
    assert min(durations[:3]) > 380
    assert max(durations[4:]) < 120
    assert "Init Duration" in reports[3]  # a changed configuration starts environments of its own


def test_a_changed_definition_that_runs_alike_keeps_its_environments():
    sandbox = lab()
    sandbox.invoke()
    sandbox.change(function(tracing_active=True))
    sandbox.invoke()
    assert sandbox.truth.function("echo").cold_starts == 1


def test_a_version_has_environments_and_a_stream_of_its_own():
    sandbox = lab()
    sandbox.invoke()
    sandbox.definitions.functions["echo"] = function(version="3")
    assert sandbox.invoke().executed_version == "3"
    assert sandbox.truth.function("echo").cold_starts == 2
    assert "/[3]" in sandbox.logs.events[-1][1]


def test_the_handler_runs_at_the_modelled_end():
    sandbox = lab(function(code="import boto3\nclock = boto3.client('clock')\ndef handle(e, c): return clock()"))
    sandbox.service._make_client = lambda *_: sandbox.clock.now
    assert json.loads(sandbox.invoke().payload) == pytest.approx(START + 0.35)


def test_a_log_group_is_made_before_it_is_first_written_to():
    made: list[Any] = []
    sandbox = lab()
    sandbox.service._ensure_log_group = made.append
    sandbox.invoke()
    sandbox.invoke()
    assert [made_for.log_group for made_for in made] == ["/aws/lambda/echo"]


# the log tail


def test_the_log_tail_is_the_invocations_own_log_and_at_most_4_kb():
    sandbox = lab(function(code="def handle(e, c): print('x' * e['n'])"))
    short = sandbox.invoke(payload=b'{"n":3}', log_tail=True).log_tail
    assert short is not None
    assert short.decode().splitlines()[2] == "xxx"
    long = sandbox.invoke(payload=b'{"n":9000}', log_tail=True).log_tail
    assert long is not None and len(long) == 4096
    assert b"REPORT RequestId" in long
    assert sandbox.invoke(payload=b'{"n":1}').log_tail is None


# failures


def test_an_exception_is_a_function_error_with_status_200():
    sandbox = lab(function(code=FAILING))
    result = sandbox.invoke()
    assert (result.status, result.function_error) == (200, "Unhandled")
    assert json.loads(result.payload) == {
        "errorMessage": "no",
        "errorType": "RuntimeError",
        "requestId": result.request_id,
        "stackTrace": ["  File \"/var/task/handler.py\", line 2, in handle\n    raise RuntimeError('no')\n"],
    }
    error = sandbox.logs.messages()[2]
    assert error.startswith("[ERROR] RuntimeError: no\nTraceback (most recent call last):\n\u00a0\u00a0File")
    assert result.request_id not in error
    assert "Status:" not in sandbox.logs.reports()[0]
    assert (sandbox.truth.function("echo").errors, sandbox.truth.function("echo").timeouts) == (1, 0)


def test_a_timeout_lasts_exactly_as_long_and_never_runs_the_handler():
    ran: list[int] = []
    code = "import boto3\nran = boto3.client('ran')\ndef handle(e, c): ran.append(1)"
    sandbox = lab(function(code=code, timeout_s=0.12), make_client=lambda *_: ran)
    result = sandbox.invoke()
    assert ran == []
    assert json.loads(result.payload) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {result.request_id} Error: Task timed out after 0.12 seconds",
    }
    (report,) = sandbox.logs.reports()
    assert report.endswith("Init Duration: 200.00 ms\tStatus: timeout\n")
    assert (field(report, "Duration"), field(report, "Billed Duration")) == ("120.00 ms", "320 ms")
    assert (sandbox.truth.function("echo").errors, sandbox.truth.function("echo").timeouts) == (1, 1)


def test_the_old_style_of_a_timeout_is_an_event_of_its_own():
    sandbox = lab(function(timeout_s=0.12), model=calm(**{"lambda": {"failure_style": "old"}}))
    result = sandbox.invoke()
    assert sandbox.logs.messages()[2:4] == [
        f"2027-01-15T08:00:00.320Z {result.request_id} Task timed out after 0.12 seconds\n\n",
        f"END RequestId: {result.request_id}\n",
    ]
    assert "Status" not in sandbox.logs.reports()[0]
    assert json.loads(result.payload) == {
        "errorMessage": f"2027-01-15T08:00:00.320Z {result.request_id} Task timed out after 0.12 seconds"
    }


def test_after_a_timeout_the_next_invocation_repeats_init_within_its_duration():
    sandbox = lab(function(timeout_s=1.0), faults=b'{"kind":"slow","function":"echo","count":1,"delay_ms":2000}')
    sandbox.invoke()
    sandbox.invoke()
    first, second = sandbox.logs.reports()
    assert field(first, "Status") == "timeout"
    assert field(second, "Duration") == "350.00 ms"  # 200 of init, 50 of a first call, 100
    assert field(second, "Init Duration") is None
    assert len({stream for _, stream, _, _ in sandbox.logs.events}) == 1
    assert sandbox.truth.function("echo").cold_starts == 1


@pytest.mark.parametrize(
    ("kind", "style", "error_type", "memory", "lines"),
    [
        ("crash", "new", "Runtime.ExitError", "70 MB", []),
        ("oom", "new", "Runtime.OutOfMemory", "128 MB", []),
        ("crash", "old", "Runtime.ExitError", "70 MB",
         ["RequestId: {id} Error: Runtime exited with error: exit status 1\nRuntime.ExitError\n"]),
        ("oom", "old", "Runtime.ExitError", "128 MB",
         ["RequestId: {id} Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n"]),
    ],
)  # fmt: skip
def test_a_crash_and_exhausted_memory_end_the_runtime(kind, style, error_type, memory, lines):
    sandbox = lab(
        model=calm(**{"lambda": {"failure_style": style}}),
        faults=b'{"kind":"%s","function":"echo","count":1}' % kind.encode(),
    )
    result = sandbox.invoke()
    assert result.function_error == "Unhandled"
    assert json.loads(result.payload)["errorType"] == error_type
    (report,) = sandbox.logs.reports()
    assert field(report, "Max Memory Used") == memory
    assert field(report, "Error Type") == (error_type if style == "new" else None)
    assert sandbox.logs.messages()[2:-2] == [line.format(id=result.request_id) for line in lines]
    assert sandbox.invoke().function_error is None
    assert field(sandbox.logs.reports()[1], "Duration") == "350.00 ms"


def test_a_failed_init_is_reported_twice_and_fails_the_invocation():
    sandbox = lab(function(code="import nope"))
    result = sandbox.invoke()
    assert json.loads(result.payload)["errorType"] == "Runtime.ImportModuleError"
    kinds = [re.split(r"[ :]", message)[0] for message in sandbox.logs.messages()]
    assert kinds == ["INIT_START", "[ERROR]", "INIT_REPORT", "START", "[ERROR]", "INIT_REPORT", "END", "REPORT"]
    assert sandbox.logs.messages()[2].endswith("Phase: init\tStatus: error\tError Type: Runtime.ImportModuleError\n")
    assert sandbox.logs.messages()[5].endswith("Phase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError\n")
    (report,) = sandbox.logs.reports()
    assert field(report, "Status") == "error"
    assert field(report, "Init Duration") is None
    assert sandbox.truth.function("echo").cold_starts == 0


@pytest.mark.parametrize("style", ["new", "old"])
def test_a_runtime_that_exits_at_import_is_a_crash(style):
    code = "import sys\nsys.exit(3)"
    sandbox = lab(function(code=code), model=calm(**{"lambda": {"failure_style": style}}))
    result = sandbox.invoke()
    reason = "Runtime exited without providing a reason"
    assert json.loads(result.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {result.request_id} Error: {reason}",
    }
    own_event = f"RequestId: {result.request_id} Error: {reason}\nRuntime.ExitError\n"
    assert (own_event in sandbox.logs.messages()) == (style == "old")


def test_an_init_beyond_its_limit_is_cut_off_and_repeated():
    sandbox = lab(model=calm(**{"lambda": {"init_timeout_s": 0.15}}))
    assert sandbox.invoke().function_error is None
    assert sandbox.logs.messages()[1] == "INIT_REPORT Init Duration: 150.00 ms\tPhase: init\tStatus: timeout\n"
    (report,) = sandbox.logs.reports()
    assert field(report, "Init Duration") is None
    assert field(report, "Duration") == "350.00 ms"


def test_a_result_too_large_is_a_function_error():
    sandbox = lab(
        function(code="def handle(e, c): return 'x' * 200"), model=calm(**{"lambda": {"payload_max_bytes": 100}})
    )
    assert json.loads(sandbox.invoke().payload)["errorType"] == "Function.ResponseSizeTooLarge"


def test_an_injected_failure_carries_the_asked_for_error():
    sandbox = lab(faults=b'{"kind":"fail","function":"echo","count":1,"error_type":"Oh","error_message":"dear"}')
    assert json.loads(sandbox.invoke().payload)["errorType"] == "Oh"
    assert "[ERROR] Oh: dear\n" in sandbox.logs.messages()[2]


# refusals


def test_what_is_not_json_is_refused():
    result = lab().invoke(payload=b"{")
    assert (result.status, result.error_code) == (400, "InvalidRequestContentException")


def test_a_payload_too_large_is_refused():
    sandbox = lab(model=calm(**{"lambda": {"payload_max_bytes": 10}}))
    result = sandbox.invoke(payload=b'"0123456789"')
    assert (result.status, result.error_code) == (413, "RequestTooLargeException")


def test_no_payload_is_an_empty_event():
    assert lab().invoke(payload=b"").payload == b"{}"


def test_at_the_account_limit_invocations_are_throttled_and_leave_no_log():
    sandbox = lab(model=calm(**{"lambda": {"account_concurrency": 2}}))
    waiting = [sandbox.start() for _ in range(3)]
    (refused,) = waiting[2]
    assert (refused.status, refused.reason, refused.retry_after_s) == (429, "ConcurrentInvocationLimitExceeded", 1)
    assert json.loads(refused.payload) == {
        "Reason": "ConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }
    sandbox.clock.run_all()
    counts = sandbox.truth.function("echo")
    assert (counts.invocations, counts.throttles, counts.errors) == (2, 1, 0)
    assert refused.request_id not in "".join(sandbox.logs.messages())
    assert sum(sandbox.metrics.of("Throttles", ("FunctionName", "echo"))) == 1
    assert sum(sandbox.metrics.of("Invocations", ("FunctionName", "echo"))) == 2


def test_a_throttled_function_recovers_with_its_executions():
    sandbox = lab(function(reserved_concurrency=1))
    sandbox.start()
    assert sandbox.start()[0].reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    sandbox.clock.run_all()
    assert sandbox.invoke().status == 200


def test_the_scaling_rate_throttles_a_steep_ramp():
    model = calm(**{"lambda": {"account_concurrency": 100_000, "scaling_environments": 10, "scaling_interval_s": 10}})
    sandbox = lab(model=model)
    results = [sandbox.start() for _ in range(12)]
    assert [bool(result) for result in results] == [False] * 10 + [True] * 2
    assert results[-1][0].reason == "ConcurrentInvocationLimitExceeded"
    sandbox.clock.run_until(START + 1.0)  # one more a second, and by now ten to reuse
    assert [bool(sandbox.start()) for _ in range(12)] == [False] * 11 + [True]


def test_a_changed_reservation_takes_effect():
    sandbox = lab()
    sandbox.start()
    sandbox.change(function(reserved_concurrency=1))
    assert sandbox.start()[0].status == 429


def test_a_throttle_by_fault_counts_as_one():
    sandbox = lab(faults=b'{"kind":"throttle","function":"echo","count":1,"reason":"CallerRateLimitExceeded"}')
    assert sandbox.invoke().reason == "CallerRateLimitExceeded"
    assert sandbox.invoke().status == 200
    assert sandbox.truth.function("echo").throttles == 1


# asynchronous events


def attempts(sandbox: Lab) -> list[float]:
    """Starts of the invocations, seconds since the beginning."""
    return [round(at - START, 3) for _, _, at, text in sandbox.logs.events if text.startswith("START ")]


def test_an_event_runs_once_where_it_succeeds():
    sandbox, settled = lab(), []
    request_id = sandbox.service.invoke_async(function(), b"{}", on_settled=settled.append)
    assert sandbox.truth.pending == 1
    sandbox.clock.run_all()
    assert [result.request_id for result in settled] == [request_id]
    assert sandbox.truth.pending == 0
    assert sandbox.truth.function("echo").invocations == 1


def test_a_failing_event_is_tried_three_times_with_one_request_id():
    sandbox, settled = lab(function(code=FAILING)), []
    request_id = sandbox.service.invoke_async(function(code=FAILING), b"{}", on_settled=settled.append)
    sandbox.clock.run_all()
    assert attempts(sandbox) == [0.2, 60.35, 180.45]  # 200 ms of init; waits of 60 and 120 s after each end
    assert [field(report, "REPORT RequestId") for report in sandbox.logs.reports()] == [request_id] * 3
    assert len(settled) == 1 and settled[0].function_error
    assert sandbox.metrics.of("AsyncEventsDropped", ("FunctionName", "echo")) == [1.0]
    assert sandbox.truth.pending == 0


def test_retries_are_pending_until_they_have_happened():
    sandbox = lab(function(code=FAILING))
    sandbox.service.invoke_async(function(code=FAILING), b"{}")
    sandbox.clock.run_until(START + 30)
    assert sandbox.truth.pending == 1


def test_the_waits_between_retries_are_parameters():
    sandbox = lab(function(code=FAILING), model=calm(**{"lambda": {"async_retry_waits_s": [1.0]}}))
    sandbox.service.invoke_async(function(code=FAILING), b"{}")
    sandbox.clock.run_all()
    assert attempts(sandbox) == [0.2, 1.35]


def test_an_event_that_fails_once_succeeds_later():
    sandbox, settled = lab(faults=b'{"kind":"fail","function":"echo","count":1}'), []
    sandbox.service.invoke_async(function(), b"{}", on_settled=settled.append)
    sandbox.clock.run_all()
    assert [result.function_error for result in settled] == [None]
    assert sandbox.metrics.of("AsyncEventsDropped", ("FunctionName", "echo")) == []


def test_a_throttled_event_waits_longer_each_time():
    stopped, settled = function(reserved_concurrency=0), []
    sandbox = lab(stopped)
    sandbox.service.invoke_async(stopped, b"{}", on_settled=settled.append)
    sandbox.clock.run_until(START + 20)
    assert sandbox.truth.function("echo").throttles == 5  # at 0, 1, 3, 7 and 15 s
    sandbox.change(replace(stopped, reserved_concurrency=None))
    sandbox.clock.run_all()
    assert [result.status for result in settled] == [200]


def test_a_throttled_event_is_dropped_after_six_hours():
    stopped, settled = function(reserved_concurrency=0), []
    sandbox = lab(stopped)
    sandbox.service.invoke_async(stopped, b"{}", on_settled=settled.append)
    sandbox.clock.run_all()
    assert [result.status for result in settled] == [429]
    assert sandbox.clock.now() - START <= 6 * 3600
    assert sandbox.truth.pending == 0


def test_a_retry_runs_the_function_as_it_then_is():
    broken = function(code=FAILING)
    sandbox, settled = lab(broken), []
    sandbox.service.invoke_async(broken, b"{}", on_settled=settled.append)
    sandbox.clock.run_until(START + 10)
    sandbox.change(function())
    sandbox.clock.run_all()
    assert [result.function_error for result in settled] == [None]


# traces


TRACED = "Root=1-5f84c7a9-1234567890abcdef12345678;Parent=1234567890abcdef;Sampled=1"


def test_a_sampled_trace_shows_in_the_report_and_reaches_the_handler():
    code = "import os\ndef handle(e, c): return os.environ['_X_AMZN_TRACE_ID']"
    sandbox = lab(function(code=code, tracing_active=True))
    seen = json.loads(sandbox.invoke(trace_header=TRACED).payload)
    (report,) = sandbox.logs.reports()
    segment = field(report, "SegmentId")
    assert "\t\nXRAY TraceId: 1-5f84c7a9-1234567890abcdef12345678\tSegmentId: " in report
    assert report.endswith("\tSampled: true\t\n")
    assert seen == f"Root=1-5f84c7a9-1234567890abcdef12345678;Parent={segment};Sampled=1"


@pytest.mark.parametrize("active", [True, False])
def test_an_unsampled_trace_does_not_show(active):
    sandbox = lab(function(tracing_active=active))
    sandbox.invoke(trace_header=TRACED.replace("Sampled=1", f"Sampled={int(not active)}"))
    assert "XRAY" not in sandbox.logs.reports()[0]


def test_without_a_decision_lambda_samples_one_a_second_and_some_of_the_rest():
    sandbox = lab(function(tracing_active=True), model=calm(**{"lambda": {"trace_rate": 0}}))
    for _ in range(3):
        sandbox.start()
    sandbox.clock.run_all()
    assert ["XRAY TraceId: 1-" in report for report in sandbox.logs.reports()] == [True, False, False]


# metrics and truth


def test_metrics_carry_what_cloudwatch_shows():
    sandbox = lab(function(code=FAILING))
    sandbox.start()
    sandbox.start()
    sandbox.clock.run_all()
    echo = ("FunctionName", "echo")
    assert sandbox.metrics.of("Invocations", echo) == [1, 1]
    assert sandbox.metrics.of("Errors", echo) == [1, 1]
    assert sandbox.metrics.of("Throttles", echo) == [0, 0]
    assert sandbox.metrics.of("Duration", echo) == [150, 150]  # without init
    assert max(sandbox.metrics.of("ConcurrentExecutions", echo)) == 2
    assert max(sandbox.metrics.of("ConcurrentExecutions")) == 2
    assert max(sandbox.metrics.of("UnreservedConcurrentExecutions")) == 2


def test_counts_are_under_the_logical_name():
    sandbox = lab(function("shop-echo"))
    sandbox.definitions.stack_name = "shop"
    sandbox.invoke("shop-echo")
    assert list(sandbox.truth.as_dict()["functions"]) == ["echo"]


def test_a_success_of_the_chains_last_function_completes_its_message():
    sandbox = lab(function("shop-update-db"))
    sandbox.invoke("shop-update-db", b'{"Records":[{"Sns":{"Message":"{\\"correlation_id\\":\\"c-1\\"}"}}]}')
    assert sandbox.truth.as_dict()["chains"]["shop"]["completed"] == 1


@pytest.mark.parametrize("seed", range(1, 6))
def test_truth_equals_the_log_lines_over_a_mixed_load(seed):
    """What the analysis will read is what the truth counted: cold starts, errors, timeouts, throttles, billed."""
    sandbox = Lab(
        function(timeout_s=0.2, code="def handle(e, c):\n    assert e['n'] % 7\n    return e"),
        model={"lambda": {"account_concurrency": 8}},
        seed=seed,
    )
    sandbox.faults.add(
        parse_faults(
            b'[{"kind":"slow","function":"echo","rate":0.05,"delay_ms":500},'
            b'{"kind":"crash","function":"echo","count":5,"of":300}]'
        )
    )
    results = []
    for number in range(300):
        payload = json.dumps({"n": number}).encode()
        sandbox.clock.at(
            START + number * 0.012, partial(lambda sent: results.append(sandbox.start(payload=sent)), payload)
        )
    sandbox.clock.run_all()
    reports, counts = sandbox.logs.reports(), sandbox.truth.function("echo")
    answers = [answer for (answer,) in results]
    assert counts.invocations == len(reports)
    assert counts.throttles == sum(answer.status == 429 for answer in answers) > 0
    assert counts.errors == sum(answer.function_error is not None for answer in answers) > 40
    assert counts.cold_starts == sum("Init Duration" in report for report in reports)
    assert counts.timeouts == sum("Status: timeout" in report for report in reports) > 0
    assert sum("Error Type: Runtime.ExitError" in report for report in reports) <= 5
    assert sandbox.truth.pending == 0


# reset


def test_a_reset_forgets_environments_and_lets_the_rest_finish():
    sandbox = lab()
    sandbox.invoke()
    running = sandbox.start()
    sandbox.truth.reset()
    sandbox.service.reset()
    sandbox.clock.run_all()
    assert running[0].status == 200
    assert sandbox.truth.as_dict()["functions"] == {}
    sandbox.invoke()
    assert sandbox.truth.function("echo").cold_starts == 1
    assert sandbox.truth.pending == 0


def test_an_init_that_fails_by_fault_fails_the_invocation_and_the_next_one_is_well():
    lab = Lab(function())
    lab.faults.add(parse_faults(b'{"kind":"fail_init","function":"echo","count":1}'))
    failed, fine = lab.invoke(), lab.invoke()
    assert failed.function_error == "Unhandled"
    assert fine.function_error is None
    assert any(line.startswith("INIT_REPORT ") and "Phase: invoke" in line for line in lab.logs.messages())
    assert sum("Runtime.ImportModuleError" in line for line in lab.logs.reports()) == 1


def test_an_init_slower_than_its_limit_is_broken_off_and_repeated_within_the_invocation():
    lab = Lab(function(timeout_s=30.0))
    lab.faults.add(parse_faults(b'{"kind":"slow_init","function":"echo","count":1,"init_ms":12000}'))
    lab.invoke()
    (report,) = lab.logs.reports()
    assert "Init Duration" not in report
    assert "INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout\n" in lab.logs.messages()
    duration_ms = float(report.split("\tDuration: ")[1].split(" ms")[0])
    assert 12_000 < duration_ms < 13_000


def test_a_malformed_answer_is_a_success_of_the_function():
    lab = Lab(function())
    lab.faults.add(parse_faults(b'{"kind":"malform","function":"echo","count":1}'))
    result = lab.invoke(payload=b'{"statusCode": 200}')
    assert result.function_error is None
    assert b'statusCode":' not in result.payload
    assert lab.truth.function("echo").errors == 0


def test_an_injected_exception_stands_in_the_handlers_first_line():
    lab = Lab(function())
    lab.faults.add(parse_faults(b'{"kind":"fail","function":"echo","count":1}'))
    lab.invoke()
    assert any('File "/var/task/handler.py", line 1, in handle' in line for line in lab.logs.messages())


def test_an_environment_made_ahead_of_its_request_keeps_nobody_waiting():
    lab = Lab(function(), model={"lambda": {"proactive_init_share": 1.0, "proactive_init_lead_s": 30.0}})
    begun_at = lab.clock.now()
    lab.invoke()
    (report,) = lab.logs.reports()
    duration_ms = float(report.split("\tDuration: ")[1].split(" ms")[0])
    assert "Init Duration" in report
    assert lab.clock.now() - begun_at == pytest.approx(duration_ms / 1000, abs=1e-6)
    (init_at,) = [at for _, _, at, line in lab.logs.events if line.startswith("INIT_START")]
    assert begun_at - init_at == pytest.approx(30.0)
