"""Each failed request under its cause, and the causes in groups."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.causes import masked, root_causes
from analysis.evidence import connect
from analysis.pipeline import explain
from analysis.verdict import cause_title

KINESIS = (
    "An error occurred (ProvisionedThroughputExceededException) when calling the PutRecord operation: "
    "Rate exceeded for shard shardId-{shard:012d} in stream swarmscope-votes under account 123456789012."
)


@pytest.fixture
def causes(build):
    return lambda: root_causes(build.joined())


def throttled_vote(build, number, at=1.0, shard=0):
    """A vote that Kinesis refused; the error line names no request, as Python's do."""
    build.request(at, status=502, ok=0, error="HTTP 502", request_id=f"g{number}")
    build.correlation(at + 0.01, gateway_request_id=f"g{number}", request_id=f"l{number}", log_stream=f"s{number % 3}")
    build.error(
        at + 0.03,
        log_stream=f"s{number % 3}",
        error_type="ProvisionedThroughputExceededException",
        error_message=KINESIS.format(shard=shard),
        operation="PutRecord",
        resource="stream votes",
        frame="handler.py:57 place_vote",
    )
    build.invocation(at + 0.03, request_id=f"l{number}", log_stream=f"s{number % 3}")


def test_a_thousand_throttled_requests_are_one_cause_that_names_everything(build, causes):
    for number in range(1000):
        throttled_vote(build, number, at=1.0 + number / 500, shard=number % 4)
    (cause,) = causes()
    expected = {
        "kind": "downstream_throttle",
        "status": 502,
        "flow": "vote",
        "function": "place-vote",
        "error_type": "ProvisionedThroughputExceededException",
        "operation": "PutRecord",
        "resource": "stream votes",
    }
    assert cause.items() >= expected.items()
    assert (cause["frame"], cause["requests"], cause["share"]) == ("handler.py:57 place_vote", 1000, 1.0)
    assert (cause["first_at"], cause["last_at"]) == ("2026-11-21T10:00:01.000Z", "2026-11-21T10:00:02.998Z")
    assert cause["examples"] == ["g0", "g1", "g2"]


def test_requests_without_an_id_are_looked_up_by_their_row(build, causes):
    build.request(status=None, ok=0, error="ConnectionRefusedError(111, 'Connection refused')")
    (cause,) = causes()
    assert cause["examples"] == ["requests-0.csv row 1"]


def test_advice_counts_every_record_that_was_offered_in_the_fullest_second(build, causes):
    """2,340 invocations in one second, 3 of them refused: three shards, not one."""
    for number in range(3):
        throttled_vote(build, number, at=5.2)
    for number in range(2337):
        build.invocation(5.0 + number / 2340, request_id=f"ok{number}", log_stream="fine")
    (cause,) = causes()
    assert "2,340 records a second (at 10:00:05 UTC)" in cause["advice"]
    assert "ceil(2,340 / 1,000) = 3 shards needed" in cause["advice"]


def failing(build, kind):
    """One request of each kind."""
    if kind == "exception":
        build.request(status=502, ok=0, lambda_request_id="l1")
        build.invocation(1.05, request_id="l1")
        build.error(1.04, error_message="'vote_id'", frame="handler.py:31 place_vote")
    elif kind == "downstream_throttle":
        throttled_vote(build, 1)
    elif kind == "function_timeout":
        build.request(status=502, ok=0, lambda_request_id="l1")
        build.invocation(4.0, 3000.0, request_id="l1", status="timeout")
    elif kind == "out_of_memory":
        build.request(status=502, ok=0, lambda_request_id="l1")
        build.invocation(1.05, request_id="l1", status="error", error_type="Runtime.OutOfMemory", max_memory_mb=256)
    elif kind == "init_failure":
        build.request(status=502, ok=0, lambda_request_id="l1")
        build.invocation(1.05, request_id="l1")
        build.error(1.04, error_type="Runtime.ImportModuleError", error_message="No module named 'nothing'")
    elif kind == "crash":
        build.request(status=502, ok=0, lambda_request_id="l1")
        build.invocation(1.05, request_id="l1", status="error", error_type="Runtime.ExitError")
    elif kind == "lambda_throttled":
        build.request(status=500, ok=0, request_id="g1")
        build.access(request_id="g1", integration_status=429)
    elif kind == "gateway_timeout":
        build.request(1.0, 29000.0, status=504, ok=0, request_id="g1")
        build.correlation(1.1, gateway_request_id="g1", request_id="l1")
        build.invocation(41.0, 40000.0, request_id="l1")
    elif kind == "api_throttled":
        build.request(status=429, ok=0)
    elif kind == "malformed_response":
        build.request(status=502, ok=0, request_id="g1")
        build.correlation(1.01, gateway_request_id="g1", request_id="l1")
        build.invocation(1.05, request_id="l1")
    elif kind == "function_error":
        build.request(status=200, ok=0, method="Invoke", request_id="l1", function_error="Unhandled")
    elif kind == "connection_failed":
        build.request(ms=None, status=None, error="ConnectionRefusedError: [Errno 111] Connection refused")
    elif kind == "client_timeout":
        build.request(ms=None, status=None, error="no whole answer within 30 s")
    elif kind == "no_response":
        build.request(ms=None, status=None, error="malformed answer: an upgrade that nobody asked for")
    elif kind == "check_failed":
        build.request(status=200, ok=0, error="no sequence_number in the answer")
    elif kind == "answered_error":
        build.request(status=400, ok=0, lambda_request_id="l1")
        build.invocation(1.05, request_id="l1")
    elif kind == "invoke_refused":
        build.request(status=404, ok=0, method="Invoke", error="HTTP 404 Not Found: ResourceNotFoundException")
    elif kind == "refused":
        build.request(status=403, ok=0, request_id="g1")
        build.access(request_id="g1", error_type="MISSING_AUTHENTICATION_TOKEN")
    elif kind == "dropped":
        build.request(None, None, None, error="dropped", scheduled_at=1795255202.0)
    elif kind == "unfinished":
        build.request(ms=None, status=None, error="unfinished")
    elif kind == "unknown":
        build.request(status=502, ok=0)
    else:
        raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "function", "error_type"),
    [
        ("exception", "place-vote", "KeyError"),
        ("downstream_throttle", "place-vote", "ProvisionedThroughputExceededException"),
        ("function_timeout", "place-vote", "Task timed out"),
        ("out_of_memory", "place-vote", "Runtime.OutOfMemory"),
        ("init_failure", "place-vote", "Runtime.ImportModuleError"),
        ("crash", "place-vote", "Runtime.ExitError"),
        ("lambda_throttled", None, "TooManyRequestsException"),
        ("gateway_timeout", "place-vote", "INTEGRATION_TIMEOUT"),
        ("api_throttled", None, "THROTTLED"),
        ("malformed_response", "place-vote", "malformed proxy response"),
        ("function_error", None, "Unhandled"),
        ("invoke_refused", None, "ResourceNotFoundException"),
        ("connection_failed", None, "connection failed"),
        ("client_timeout", None, "no answer in time"),
        ("no_response", None, "no response"),
        ("check_failed", None, "check of the answer failed"),
        ("answered_error", "place-vote", "HTTP 400 by the function"),
        ("refused", None, "MISSING_AUTHENTICATION_TOKEN"),
        ("dropped", None, "dropped"),
        ("unfinished", None, "unfinished"),
        ("unknown", None, "unknown"),
    ],
)
def test_each_kind_is_told_by_its_evidence(build, causes, kind, function, error_type):
    failing(build, kind)
    (cause,) = causes()
    assert (cause["kind"], cause["function"], cause["error_type"]) == (kind, function, error_type)
    assert cause["advice"]


@pytest.mark.parametrize("status", [429, 502, 504])
def test_what_came_with_a_header_of_the_functions_is_its_own_answer(build, causes, status):
    """Without an access log: API Gateway's own 502 and 504 have no header of a function's."""
    build.request(status=status, ok=0, lambda_request_id="l1")
    build.invocation(request_id="l1")
    (cause,) = causes()
    assert (cause["kind"], cause["error_type"]) == ("answered_error", f"HTTP {status} by the function")


@pytest.mark.parametrize("status", [429, 502, 504])
def test_what_the_access_log_says_the_function_answered_is_its_own_answer(build, causes, status):
    build.request(status=status, ok=0, request_id="g1")
    build.access(request_id="g1", lambda_request_id="l1", integration_status=200, handler_status=status)
    build.invocation(request_id="l1")
    (cause,) = causes()
    assert (cause["kind"], cause["error_type"]) == ("answered_error", f"HTTP {status} by the function")


def test_a_429_of_an_invocation_needs_no_access_log(build, causes):
    build.request(status=429, ok=0, lambda_request_id="l1")
    build.invocation(request_id="l1")
    assert causes()[0]["kind"] == "answered_error"


@pytest.mark.parametrize(
    ("status", "handler_status", "kind"),
    [(502, None, "malformed_response"), (502, 200, "malformed_response"), (504, None, "gateway_timeout")],
)
def test_an_access_log_that_does_not_say_what_the_function_answered(build, causes, status, handler_status, kind):
    build.request(status=status, ok=0, request_id="g1")
    build.access(request_id="g1", lambda_request_id="l1", integration_status=200, handler_status=handler_status)
    build.invocation(request_id="l1")
    assert causes()[0]["kind"] == kind


def test_a_failed_invocation_is_the_cause_of_the_error_that_it_answered(build, causes):
    build.request(status=502, ok=0, request_id="g1")
    build.access(request_id="g1", lambda_request_id="l1", integration_status=200, handler_status=502)
    build.invocation(4.0, 3000.0, request_id="l1", status="timeout")
    assert causes()[0]["kind"] == "function_timeout"


@pytest.mark.parametrize("status", [404, 502])
@pytest.mark.parametrize("named_by", ["the answer", "the access log"])
def test_what_reached_a_function_whose_report_is_missing_was_not_refused(build, causes, status, named_by):
    build.request(status=status, ok=0, request_id="g1", lambda_request_id="l1" if named_by == "the answer" else None)
    build.access(
        request_id="g1",
        lambda_request_id="l1" if named_by == "the access log" else None,
        integration_status=200,
        error_type="INTEGRATION_FAILURE",
    )
    (cause,) = causes()
    assert cause["kind"] == "unknown"
    assert "invoked in 1 of 1 cases, and the logs lack its REPORT" in cause["advice"]


def test_what_the_lambda_service_refused_though_it_has_an_id_was_refused(build, causes):
    build.request(status=500, ok=0, request_id="g1")
    build.access(request_id="g1", lambda_request_id="l1", integration_status=403, error_type="API_CONFIGURATION_ERROR")
    assert causes()[0]["kind"] == "refused"


def test_a_503_with_429_in_the_access_log_is_a_refused_start(build, causes):
    build.request(lambda_request_id="l1")
    build.invocation(request_id="l1")
    build.request(status=503, ok=0, request_id="g1")
    build.access(request_id="g1", integration_status=429)
    (cause,) = causes()
    assert (cause["kind"], cause["function"]) == ("lambda_throttled", "place-vote")


@pytest.mark.parametrize(
    ("name", "function"),
    [("Invoke place-vote", "place-vote"), ("Invoke place-vote:live (Event)", "place-vote"), ("Invoke mine", None)],
)
def test_a_direct_invoke_that_was_always_refused_names_its_function(build, name, function):
    refused = "HTTP 429 Too Many Requests (ReservedFunctionConcurrentInvocationLimitExceeded)"
    build.request(status=429, ok=0, method="Invoke", name=name, error=refused)
    (cause,) = root_causes(build.joined(), {"functions": {"place-vote": {"reserved_concurrency": 1}}})
    assert (cause["kind"], cause["resource"]) == ("lambda_throttled", "reserved concurrency")
    assert cause["function"] == function


def test_each_check_that_fails_is_a_cause_of_its_own(build, causes):
    build.request(status=200, ok=0, error="check failed: body has $.sequence_number", lambda_request_id="l1")
    build.invocation(1.05, request_id="l1")
    build.request(status=200, ok=0, error="check failed: time under 500ms")
    build.request(status=404, ok=0, error="check failed: no error member")
    build.request(status=200, ok=0, error="check failed: time under 500ms", method="SendMessage")
    found = causes()
    assert {cause["kind"] for cause in found} == {"check_failed"}
    assert sorted((cause["error_type"], cause["requests"]) for cause in found) == [
        ("check failed: body has $.sequence_number", 1),
        ("check failed: no error member", 1),
        ("check failed: time under 500ms", 1),
        ("check failed: time under 500ms", 1),
    ]
    assert "'body has $.sequence_number' check" in next(c for c in found if "has" in c["error_type"])["advice"]


def test_a_refused_start_names_the_function_that_answers_the_endpoint_otherwise(build, causes):
    failing(build, "lambda_throttled")
    build.request(lambda_request_id="l1")
    build.invocation(request_id="l1")
    (cause,) = causes()
    assert cause["function"] == "place-vote"


def test_a_client_error_of_botocore_is_told_by_its_code(build, causes):
    build.request(status=502, ok=0, lambda_request_id="l1")
    build.invocation(1.05, request_id="l1")
    message = "An error occurred (ThrottlingException) when calling the Decrypt operation: Rate exceeded"
    build.error(1.04, error_type="ClientError", error_message=message, operation="Decrypt")
    (cause,) = causes()
    assert (cause["kind"], cause["error_type"], cause["operation"]) == (
        "downstream_throttle",
        "ThrottlingException",
        "Decrypt",
    )


def test_an_access_denied_is_no_throttle(build, causes):
    build.request(status=502, ok=0, lambda_request_id="l1")
    build.invocation(1.05, request_id="l1")
    message = "An error occurred (AccessDeniedException) when calling the Decrypt operation: not authorized"
    build.error(1.04, error_type="ClientError", error_message=message, operation="Decrypt")
    (cause,) = causes()
    assert (cause["kind"], cause["error_type"]) == ("exception", "AccessDeniedException")


def test_the_old_crash_for_memory_is_told_by_its_signal(build, causes):
    build.request(status=502, ok=0, lambda_request_id="l1")
    build.invocation(1.05, request_id="l1", memory_mb=128, max_memory_mb=128)
    message = "Runtime exited with error: signal: killed"
    build.error(1.04, kind="runtime", request_id="l1", error_type="Runtime.ExitError", error_message=message)
    (cause,) = causes()
    assert cause["kind"] == "out_of_memory"
    assert "128 of 128 MB" in cause["advice"]
    assert "192 MB" in cause["advice"]


def test_a_process_that_the_function_started_and_lost_is_an_exception_of_its_own(build, causes):
    build.request(status=502, ok=0, lambda_request_id="l1")
    build.invocation(1.05, request_id="l1", memory_mb=1024, max_memory_mb=90)
    build.error(1.04, error_type="ConversionFailed", error_message="ffmpeg: signal: killed")
    (cause,) = causes()
    assert (cause["kind"], cause["error_type"]) == ("exception", "ConversionFailed")


def test_an_answer_that_is_no_json_broke_no_environment(build, causes):
    """As Python's runtime says it: a Decimal of DynamoDB's that nobody turned into a number."""
    build.request(status=502, ok=0, lambda_request_id="l1")
    build.invocation(1.05, request_id="l1", status="error", error_type="Runtime.MarshalError")
    message = "Unable to marshal response: Object of type Decimal is not JSON serializable"
    build.error(1.04, error_type="Runtime.MarshalError", error_message=message)
    (cause,) = causes()
    assert (cause["kind"], cause["error_type"]) == ("exception", "Runtime.MarshalError")
    assert cause["message"] == message
    assert "broke down" not in cause["advice"]


def test_the_line_of_another_stream_is_not_the_evidence(build, causes):
    build.request(status=502, ok=0, request_id="g1")
    build.correlation(1.01, gateway_request_id="g1", request_id="l1", log_stream="a")
    build.invocation(1.05, request_id="l1", log_stream="a")
    build.invocation(1.05, request_id="l2", log_stream="b")
    build.error(1.04, log_stream="b")
    (cause,) = causes()
    assert cause["kind"] == "malformed_response"


def test_groups_are_told_apart_and_the_largest_comes_first(build, causes):
    for number in range(2):
        throttled_vote(build, number)
    for _ in range(3):
        failing(build, "connection_failed")
    failing(build, "dropped")
    found = causes()
    assert [(cause["kind"], cause["requests"]) for cause in found] == [
        ("connection_failed", 3),
        ("downstream_throttle", 2),
        ("dropped", 1),
    ]
    assert sum(cause["share"] for cause in found) == pytest.approx(1.0)


def test_every_failed_request_is_in_exactly_one_group(tiny_run):
    summary = explain(tiny_run)
    client = summary["client"]
    assert sum(cause["requests"] for cause in summary["root_causes"]) == client["failures"] + client["dropped"]


def test_nothing_failed_nothing_to_explain(build, causes):
    build.request()
    assert causes() == []


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        (
            "Rate exceeded for shard shardId-000000000003 under account 123456789012",
            "Rate exceeded for shard shardId-<n> under account <n>",
        ),
        ("no item 6f1d8f0e-9f0c-4a52-9f5e-6a3a0f1c2b3d here", "no item <id> here"),
        ("table arn:aws:dynamodb:eu-west-1:1:table/shops is busy", "table <arn> is busy"),
        ("took 12.5 ms", "took <n> ms"),
        ("first line\nsecond 5", "first line"),
        ("nothing to mask", "nothing to mask"),
    ],
)
def test_messages_are_masked(message, pattern):
    assert connect().execute(f"SELECT {masked('m')} FROM (SELECT ? AS m)", [message]).fetchone() == (pattern,)


def test_hostile_text_stays_text(build, causes):
    build.request(status=502, ok=0, lambda_request_id="l1", flow="'; DROP TABLE requests; --")
    build.invocation(1.05, request_id="l1", function="it's <b>")
    build.error(1.04, function="it's <b>", error_type="<script>", error_message="'; DROP TABLE invocations; --")
    (cause,) = causes()
    assert (cause["function"], cause["error_type"]) == ("it's <b>", "<script>")


def test_a_message_refused_inside_a_200_is_told_by_its_operation_and_code(build, causes):
    for number in range(4):
        build.request(
            1.0,
            flow="events",
            name="PutRecords to Kinesis",
            method="PutRecords",
            ok=0 if number else 1,
            error="ProvisionedThroughputExceededException" if number else "",
        )
    build.request(
        2.0,
        flow="events",
        name="SendMessage to SQS",
        method="SendMessage",
        status=400,
        ok=0,
        error="HTTP 400 Bad Request: QueueDoesNotExist",
    )
    records, message = causes()
    assert (records["kind"], records["requests"], records["operation"]) == ("message_refused", 3, "PutRecords")
    assert records["error_type"] == "ProvisionedThroughputExceededException"
    assert "ceil(4 / 1,000) = 1 shards needed" in records["advice"]
    assert (message["error_type"], message["status"], message["function"]) == ("QueueDoesNotExist", 400, None)
    assert message["advice"].startswith("SQS did not take the message (QueueDoesNotExist).")


IDS = {
    "uuid": st.uuids().map(str),
    "upper-case uuid": st.uuids().map(lambda value: str(value).upper()),
    "whole number": st.integers(0, 10**15 - 1).map(str),
    "number": st.floats(0, 1e6).map(str),
    "hex": st.text("0123456789abcdef", min_size=16, max_size=64),
    "ulid": st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26),
    "arn": st.integers(0, 10**9).map(lambda number: f"arn:aws:dynamodb:eu-west-1:{number:012d}:table/t{number}"),
    "trace": st.integers(0, 10**9).map(lambda number: f"1-{number:08x}-{number:024x}"),
}
DATABASE = connect()


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
@given(data=st.data(), form=st.sampled_from(["no item {}", "'{}'", "took {} ms (of {})", "{}: x"]))
@settings(max_examples=25)
def test_what_differs_between_two_requests_never_splits_a_cause(ids, data, form):
    one, other = data.draw(ids), data.draw(ids)
    shown = DATABASE.execute(
        f"SELECT {masked('a')} = {masked('b')} FROM (SELECT ? AS a, ? AS b)",
        [form.replace("{}", one), form.replace("{}", other)],
    ).fetchone()
    assert shown == (True,)


def test_of_many_messages_the_usual_ones_stay_causes_of_their_own(build, causes):
    one_offs = ["no user called ann", "no user called bob", "no user called eve", "no user called joe"]
    messages = ["price is negative"] * 40 + ["unknown currency"] * 38 + one_offs
    for number, message in enumerate(messages):
        build.request(status=502, ok=0, lambda_request_id=f"l{number}")
        build.invocation(1.0 + number / 100, request_id=f"l{number}")
        build.error(1.0 + number / 100 - 0.001, error_message=message)
    assert [(cause["message"], cause["requests"]) for cause in causes()] == [
        ("price is negative", 40),
        ("unknown currency", 38),
        ("no user called ann", 4),
    ]


def test_messages_of_any_form_come_to_one_cause(build, causes):
    for number in range(200):
        build.request(status=502, ok=0, lambda_request_id=f"l{number}")
        build.invocation(1.0 + number / 100, request_id=f"l{number}")
        word = "".join(chr(97 + (number * 7919 + place * 104729) % 26) for place in range(8))
        build.error(1.0 + number / 100 - 0.001, error_message=f"no user called {word}")
    (cause,) = causes()
    assert cause["requests"] == 200
    assert cause["message"].startswith("no user called ")


def test_one_cause_behind_the_api_and_by_invoke_has_two_groups_and_one_advice(build, causes):
    for number, (flow, status, method) in enumerate([("vote", 502, "POST")] * 2 + [("direct", 200, "Invoke")]):
        build.request(
            status=status,
            ok=0,
            flow=flow,
            method=method,
            name=f"of {flow}",
            lambda_request_id=f"l{number}",
            error=f"{flow} says it in its own words",
        )
        build.invocation(1.0 + number, request_id=f"l{number}")
        build.error(0.9 + number, error_message="'vote_id'", frame="handler.py:31 place_vote")
    one, other = causes()
    assert (one["cause"], other["cause"]) == (1, 1)
    assert [(row["flow"], row["status"], row["requests"]) for row in (one, other)] == [
        ("vote", 502, 2),
        ("direct", 200, 1),
    ]
    assert one["advice"] == other["advice"]


def refused_starts(build, deployment):
    """Five requests to get-results behind 500s while two of its invocations and one of another function run."""
    build.request(0.0, status=200, name="GET /vote", method="GET", lambda_request_id="l0")
    build.invocation(3.0, 2500.0, function="get-results", request_id="l0")
    build.invocation(3.0, 2500.0, function="get-results", request_id="l1", log_stream="b")
    build.invocation(3.0, 2500.0, function="other", request_id="l2", log_stream="c")
    for number in range(5):
        build.request(1.5, status=500, ok=0, name="GET /vote", method="GET", request_id=f"g{number}")
        build.access(request_id=f"g{number}", integration_status=429)
    return [cause for cause in root_causes(build.joined(), deployment) if cause["kind"] == "lambda_throttled"]


@pytest.mark.parametrize(
    ("reserved", "account", "limit"),
    [
        (2, 1000, "reserved concurrency"),
        (None, 3, "account concurrency"),
        (None, 4, None),
        (3, 1000, None),
        (None, None, None),
    ],
)
def test_the_limit_behind_a_500_follows_from_what_was_under_way(build, reserved, account, limit):
    functions = {"get-results": {"reserved_concurrency": reserved}, "other": {"reserved_concurrency": None}}
    deployment = {"functions": functions, "account": {"concurrency": account, "unreserved_concurrency": account}}
    (cause,) = refused_starts(build, deployment)
    assert (cause["function"], cause["resource"], cause["requests"]) == ("get-results", limit, 5)
    assert "5 requests a second" in cause["advice"] and "Little's law" in cause["advice"]


@pytest.mark.parametrize(
    ("begun", "status", "reserved", "account", "limit"),
    [
        (20, 200, 2, 1000, "request rate of the reserved concurrency"),
        (19, 200, 2, 1000, None),
        (20, 202, 2, 1000, None),  # events are not counted
        (20, 200, None, 2, "request rate"),
        (20, 200, None, 3, None),
        (20, 200, None, None, None),
    ],
)
def test_the_request_rate_is_blamed_where_as_many_were_started_within_a_second(
    build, begun, status, reserved, account, limit
):
    """Each of them 10 ms of work, one after the other; then one that is refused."""
    for number in range(begun):
        at = 10.0 + number / 25
        build.request(at, status=status, method="Invoke", name="place-vote", request_id=f"l{number}")
        build.invocation(at + 0.01, 10.0, request_id=f"l{number}", log_stream="a")
    build.request(9.0, lambda_request_id="first")
    build.invocation(9.01, 10.0, request_id="first", log_stream="a")
    build.request(10.8, status=500, ok=0, request_id="g")
    build.access(request_id="g", integration_status=429)
    limits = {"concurrency": account, "unreserved_concurrency": account}
    deployment = {"functions": {"place-vote": {"reserved_concurrency": reserved}}, "account": limits}
    (cause,) = root_causes(build.joined(), deployment)
    assert (cause["kind"], cause["resource"]) == ("lambda_throttled", limit)


def test_all_that_call_a_function_use_its_limit_up(build):
    for number in range(30):
        build.request(1.0 + number / 100, method="Invoke", name="place-vote", request_id=f"l{number}")
        build.invocation(1.01 + number / 100, 10.0, request_id=f"l{number}")
    build.request(1.1, lambda_request_id="behind")
    build.invocation(1.11, 10.0, request_id="behind")
    build.request(1.5, status=500, ok=0, request_id="g")
    build.access(request_id="g", integration_status=429)
    (cause,) = root_causes(build.joined(), {})
    assert "at the peak 32 requests a second" in cause["advice"]


@pytest.mark.parametrize(
    ("environments", "seconds_before", "limit"),
    [(1000, 9.5, "scaling rate"), (999, 9.5, None), (1000, 10.5, None)],
)
def test_the_scaling_rate_is_blamed_where_so_many_environments_were_added(build, environments, seconds_before, limit):
    """Each of them 100 ms of init and 20 ms of work, one after the other."""
    for number in range(environments):
        at = 101.5 - seconds_before + number / 10_000
        build.invocation(at + 0.12, 20.0, init_ms=100.0, request_id=f"cold{number}", log_stream=f"s{number}")
    build.request(99.0, lambda_request_id="cold0")
    build.request(101.5, status=500, ok=0, request_id="g")
    build.access(request_id="g", integration_status=429)
    account = {"concurrency": 9000, "unreserved_concurrency": 9000}
    deployment = {"functions": {"place-vote": {"reserved_concurrency": None}}, "account": account}
    (cause,) = root_causes(build.joined(), deployment)
    assert (cause["kind"], cause["resource"]) == ("lambda_throttled", limit)
    assert ("too fast" in cause["advice"]) == (limit is not None)
    assert cause_title(cause).endswith(", scaling rate" if limit else ", limit not known")


@pytest.mark.parametrize(
    ("deployment", "could_tell"),
    [
        ({}, "once the pull may call GetAccountSettings"),
        ({"functions": {"get-results": {}}, "account": {"concurrency": 9, "unreserved_concurrency": 9}}, "limit of 9"),
    ],
)
def test_of_a_limit_that_is_not_known_it_says_what_could_tell(build, deployment, could_tell):
    (cause,) = refused_starts(build, deployment)
    assert cause["resource"] is None
    assert "Nothing shows which limit it met" in cause["advice"]
    assert could_tell in cause["advice"]


def test_a_direct_invoke_says_itself_which_limit_it_met(build, causes):
    reason = "HTTP 429 Too Many Requests: TooManyRequestsException (ReservedFunctionConcurrentInvocationLimitExceeded)"
    build.request(status=429, ok=0, method="Invoke", error=reason)
    (cause,) = causes()
    assert cause["resource"] == "reserved concurrency"


def test_a_504_tells_what_became_of_its_invocation(build, causes):
    failing(build, "gateway_timeout")
    (cause,) = causes()
    assert "place-vote went on in 1 of 1 cases, ran for up to 40 s and was billed 40,000 ms" in cause["advice"]
    assert "failed in 0" in cause["advice"]


def test_a_client_that_gave_up_is_not_one_without_a_connection(build, causes):
    error = "HTTPSConnectionPool(host='api.example', port=443): Read timed out. (read timeout=30)"
    build.request(ms=None, status=None, error=error)
    (cause,) = causes()
    assert cause["kind"] == "client_timeout"


def test_a_client_that_gave_up_is_told_how_long_the_function_ran(build, causes):
    build.request(ms=None, status=None, error="no whole answer within 30 s", method="Invoke", lambda_request_id="l1")
    build.invocation(39.0, 38000.0, request_id="l1")
    (cause,) = causes()
    assert (cause["kind"], cause["function"]) == ("client_timeout", "place-vote")
    assert "place-vote was invoked in 1 of 1 cases, ran for up to 38 s and was billed 38,000 ms." in cause["advice"]
    assert "is not known" not in cause["advice"]


def test_shards_follow_from_bytes_where_these_are_more_than_the_records(build, causes):
    for number in range(100):
        throttled_vote(build, number, at=1.0 + number / 1000)
    for row in build.requests:
        row["bytes_sent"] = 40_000
    (cause,) = causes()
    assert "client sent 4,000,000 bytes a second" in cause["advice"]
    assert "ceil(4,000,000 / 1,048,576) = 4 shards needed" in cause["advice"]


def test_a_timeout_is_held_against_what_succeeded(build):
    failing(build, "function_timeout")
    build.invocation(9.0, 1400.0, request_id="fine")
    (cause,) = root_causes(build.joined(), {"functions": {"place-vote": {"timeout_s": 3}}})
    assert "The slowest that succeeded took 1.40 s: by that, a timeout of 3 s (× 1.5)" in cause["advice"]
    assert "it has 3 s" in cause["advice"]


def test_a_full_table_is_told_its_units(build, causes):
    for number in range(7):
        build.request(1.0, status=502, ok=0, lambda_request_id=f"l{number}")
        build.invocation(1.05, request_id=f"l{number}", log_stream=f"s{number}")
        message = f"An error occurred ({THROTTLE}) when calling the UpdateItem operation: rate"
        build.error(1.04, log_stream=f"s{number}", error_type=THROTTLE, error_message=message, operation="UpdateItem")
    (cause,) = causes()
    assert "needs at least 7 write units" in cause["advice"]


THROTTLE = "ProvisionedThroughputExceededException"
