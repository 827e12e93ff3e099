"""API Gateway's data plane in virtual time."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sandbox.access_log import VARIABLES, AccessLogTemplate
from sandbox.api_requests import ApiRequest
from sandbox.definitions import ApiStage, Route
from sandbox.faults import parse_faults
from tests.sandbox.lab import START, Lab, function
from tests.sandbox.test_functions import calm

MODEL = calm(api_gateway={"overhead_ms": 0})
ECHO_EVENT = "import json\ndef handle(e, c): return {'statusCode': 200, 'body': json.dumps(e)}"
UUID = "11111111-2222-4333-8444-555555555555"
ROOT = "1-5f84c7a9-1234567890abcdef12345678"
SERVER_ERROR = {"message": "Internal server error"}


def answering(expression: str) -> str:
    return f"def handle(e, c): return {expression}"


def lab(code: str = ECHO_EVENT, *, model: Any = MODEL, routes: Any = None, faults: bytes = b"", **stage: Any) -> Lab:
    """An API `a1` whose stage `prod` has ANY /{proxy+} on one function, unless `routes` are given."""
    sandbox = Lab(function(code=code, timeout_s=60), model=model)
    deployed = {
        "api_id": "a1",
        "name": "votes",
        "stage": "prod",
        "routes": routes or [Route("ANY", "/{proxy+}", "echo", None)],
        "throttle_rate": None,
        "throttle_burst": None,
        "access_log_group": None,
        "access_log_format": None,
        "tracing": False,
    }
    sandbox.definitions.stages["prod"] = ApiStage(**(deployed | stage))
    if faults:
        sandbox.faults.add(parse_faults(faults))
    return sandbox


def header(answer: Any, name: str) -> str | None:
    found = [value.decode() for key, value in answer.headers if key == name.encode()]
    return found[0] if found else None


def event_of(sandbox: Lab, *request: Any, **options: Any) -> Any:
    return json.loads(sandbox.request(*request, **options).body)


# the proxy event


def test_the_event_is_of_payload_format_1_0():
    sandbox = lab(routes=[Route("POST", "/vote", "echo", None)])
    headers = [(b"host", b"h"), (b"user-agent", b"test/1"), (b"accept", b"a"), (b"accept", b"b")]
    event = event_of(sandbox, "POST", "/vote", b'{"x":1}', headers=headers, query_string=b"a=1&a=2&b=%20")
    assert (event["resource"], event["path"], event["httpMethod"]) == ("/vote", "/vote", "POST")
    assert (event["body"], event["isBase64Encoded"]) == ('{"x":1}', False)
    assert event["headers"]["accept"] == "b"
    assert event["multiValueHeaders"]["accept"] == ["a", "b"]
    assert event["headers"]["X-Forwarded-For"] == "127.0.0.1"
    assert event["queryStringParameters"] == {"a": "2", "b": " "}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"], "b": [" "]}
    assert event["pathParameters"] is None and event["stageVariables"] is None
    context = event["requestContext"]
    assert (context["stage"], context["apiId"], context["path"]) == ("prod", "a1", "/prod/vote")
    assert (context["resourcePath"], context["httpMethod"]) == ("/vote", "POST")
    assert (context["requestTimeEpoch"], context["requestTime"]) == (int(START * 1000), "15/Jan/2027:08:00:00 +0000")
    assert (context["identity"]["sourceIp"], context["identity"]["userAgent"]) == ("127.0.0.1", "test/1")
    assert re.fullmatch(r"[0-9a-f-]{36}", context["requestId"])


def test_without_body_and_query_both_are_null():
    event = event_of(lab(), "GET", "/x")
    assert event["body"] is None
    assert event["queryStringParameters"] is None and event["multiValueQueryStringParameters"] is None


@pytest.mark.parametrize(
    ("method", "path", "resource", "parameters"),
    [
        ("GET", "/vote/a%20b", "/vote/{vote_id}", {"vote_id": "a b"}),
        ("GET", "/vote/last", "/vote/last", None),
        ("GET", "/vote/a/by/b", "/vote/{vote_id}/by/{voter-id}", {"vote_id": "a", "voter-id": "b"}),
        ("GET", "/files/a/b.txt", "/files/{proxy+}", {"proxy": "a/b.txt"}),
        ("DELETE", "/files/a", "/files/{proxy+}", {"proxy": "a"}),
    ],
)
def test_the_most_specific_route_serves(method, path, resource, parameters):
    routes = [
        Route("ANY", "/files/{proxy+}", "echo", None),
        Route("GET", "/vote/{vote_id}", "echo", None),
        Route("GET", "/vote/last", "echo", None),
        Route("GET", "/vote/{vote_id}/by/{voter-id}", "echo", None),
    ]
    event = event_of(lab(routes=routes), method, path)
    assert (event["resource"], event["pathParameters"]) == (resource, parameters)


@pytest.mark.parametrize(("method", "path"), [("GET", "/vote"), ("POST", "/vote/1"), ("POST", "/"), ("POST", "/Vote")])
def test_an_unknown_route_is_a_missing_authentication_token(method, path):
    answer = lab(routes=[Route("POST", "/vote", "echo", None)]).request(method, path)
    assert (answer.status, json.loads(answer.body)) == (403, {"message": "Missing Authentication Token"})
    assert header(answer, "x-amzn-errortype") == "MissingAuthenticationTokenException"


# ids


def test_a_clients_uuid_is_kept_returned_and_seen_by_the_handler():
    answer = lab().request("GET", "/x", headers=[(b"x-amzn-requestid", UUID.encode())])
    assert header(answer, "x-amzn-requestid") == UUID
    assert json.loads(answer.body)["requestContext"]["requestId"] == UUID


def test_what_is_no_uuid_is_replaced_and_logged_as_such():
    sandbox = lab(access_log_group="/a", access_log_format="$context.requestId")
    answer = sandbox.request("GET", "/x", headers=[(b"x-amzn-requestid", b"mine")])
    assert re.fullmatch(r"[0-9a-f-]{36}", header(answer, "x-amzn-requestid") or "")
    assert sandbox.logs.messages("/a") == ["UUID_REPLACED_INVALID_REQUEST_ID"]


def test_a_clients_trace_root_and_decision_are_kept():
    answer = lab().request("GET", "/x", headers=[(b"x-amzn-trace-id", f"Root={ROOT};Sampled=1".encode())])
    assert header(answer, "x-amzn-trace-id") == f"Root={ROOT};Sampled=1"
    event = json.loads(answer.body)
    assert event["headers"]["X-Amzn-Trace-Id"] == f"Root={ROOT};Sampled=1"
    assert "x-amzn-trace-id" not in event["headers"]


def test_a_request_without_a_trace_gets_a_root():
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", header(lab().request("GET", "/x"), "x-amzn-trace-id") or "")


def test_each_answer_has_an_extended_id():
    one, other = (header(lab().request("GET", "/x"), "x-amz-apigw-id") for _ in range(2))
    assert one is not None and other is not None
    assert re.fullmatch(r"[A-Za-z0-9+/]{15}=", one)


# answers


def test_status_headers_and_body_are_the_handlers():
    code = answering(
        "{'statusCode': 201, 'headers': {'X-One': 'a', 'n': 3}, "
        "'multiValueHeaders': {'set-cookie': ['x', 'y']}, 'body': 'ä'}"
    )
    answer = lab(code).request("GET", "/x")
    assert (answer.status, answer.body) == (201, "ä".encode())
    assert header(answer, "x-one") == "a"
    assert header(answer, "n") == "3"
    assert [value for name, value in answer.headers if name == b"set-cookie"] == [b"x", b"y"]
    assert header(answer, "content-type") == "application/json"


@pytest.mark.parametrize(
    "result", ["{'statusCode': 204}", "{'statusCode': '204'}", "{'statusCode': 204, 'body': None}"]
)
def test_a_body_is_optional(result):
    answer = lab(answering(result)).request("GET", "/x")
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize(
    "result",
    ["None", "'text'", "[200]", "{}", "{'body': 'x'}", "{'statusCode': 'ok'}", "{'statusCode': True}",
     "{'statusCode': 9}", "{'statusCode': 200, 'body': {'x': 1}}", "{'statusCode': 200, 'headers': ['x']}",
     "{'statusCode': 200, 'multiValueHeaders': {'x': 'y'}}", "{'statusCode': 200, 'headers': {'x': {}}}",
     "{'statusCode': 200, 'x': float('nan')}"],
)  # fmt: skip
def test_what_is_no_proxy_response_is_502(result):
    answer = lab(answering(result)).request("GET", "/x")
    assert (answer.status, json.loads(answer.body)) == (502, SERVER_ERROR)
    assert header(answer, "x-amzn-errortype") == "InternalServerErrorException"


def test_a_failed_function_is_502():
    answer = lab("def handle(e, c): raise ValueError('x')").request("GET", "/x")
    assert (answer.status, json.loads(answer.body)) == (502, SERVER_ERROR)


def test_a_refused_invocation_is_500():
    sandbox = lab(faults=b'{"kind":"throttle","function":"echo","count":1}')
    answer = sandbox.request("GET", "/x")
    assert (answer.status, json.loads(answer.body)) == (500, SERVER_ERROR)


def test_a_route_to_a_function_that_is_gone_is_500():
    assert lab(routes=[Route("GET", "/x", "gone", None)]).request("GET", "/x").status == 500


def test_after_29_seconds_it_is_504_and_the_function_goes_on():
    sandbox = lab(faults=b'{"kind":"slow","function":"echo","count":1,"delay_ms":40000}')
    answers = sandbox.start_request("GET", "/x")
    sandbox.clock.run_until(START + 28.99)
    assert answers == []
    sandbox.clock.run_until(START + 29.01)
    assert (answers[0].status, json.loads(answers[0].body)) == (504, {"message": "Endpoint request timed out"})
    assert sandbox.truth.pending == 1
    sandbox.clock.run_all()
    assert len(answers) == 1
    assert sandbox.truth.function("echo").invocations == 1
    assert sandbox.truth.as_dict()["api"]["by_status"] == {"504": 1}
    assert sandbox.truth.pending == 0


def test_a_routes_own_timeout_holds():
    sandbox = lab(routes=[Route("GET", "/x", "echo", None, timeout_s=0.05)])
    assert sandbox.request("GET", "/x").status == 504


def test_timeouts_of_many_requests_are_each_on_time():
    sandbox = lab(faults=b'{"kind":"slow","function":"echo","count":3,"of":6,"delay_ms":40000}')
    answered: list[tuple[float, int]] = []
    for number in range(6):
        sandbox.clock.run_until(START + number)
        stage = sandbox.gateway.stage(None, "prod")
        assert stage is not None
        sent = number
        sandbox.gateway.handle(
            stage,
            ApiRequest("GET", "/x", b"", [], b"", "127.0.0.1", "/prod/x"),
            lambda answer, sent=sent: answered.append((sandbox.clock.now() - START - sent, answer.status)),
        )
    sandbox.clock.run_all()
    assert sorted(status for _, status in answered) == [200] * 3 + [504] * 3
    assert all(after == pytest.approx(29.0) for after, status in answered if status == 504)


def test_gateway_and_function_add_up_to_the_latency():
    sandbox = lab(model=calm(api_gateway={"overhead_ms": 7}))
    answers = sandbox.start_request("GET", "/x")
    sandbox.clock.run_until(START + 0.356)
    assert answers == []
    sandbox.clock.run_until(START + 0.358)
    assert answers
    name = ("ApiName", "votes")
    assert sandbox.metrics.of("Latency", name) == [pytest.approx(357)]
    assert sandbox.metrics.of("IntegrationLatency", name) == [pytest.approx(350)]


def test_a_body_too_large_is_413():
    sandbox = lab(model=calm(api_gateway={"payload_max_bytes": 10}))
    assert sandbox.request("POST", "/x", b"x" * 11).status == 413


# throttling


def test_a_stage_throttles_beyond_its_burst_and_rate():
    sandbox = lab(throttle_rate=10.0, throttle_burst=2)
    statuses = [sandbox.start_request("GET", "/x") for _ in range(3)]
    assert [json.loads(answer.body) for answer in statuses[2]] == [{"message": "Too Many Requests"}]
    assert statuses[2][0].status == 429
    assert header(statuses[2][0], "x-amzn-errortype") == "TooManyRequestsException"
    sandbox.clock.run_until(START + 0.1)
    assert sandbox.start_request("GET", "/x") == []


def test_a_redeployed_stage_keeps_its_bucket():
    sandbox = lab(throttle_rate=1.0, throttle_burst=1)
    sandbox.start_request("GET", "/x")
    sandbox.definitions.generation += 1
    assert sandbox.start_request("GET", "/x")[0].status == 429


def test_the_accounts_bucket_is_shared_by_all_stages():
    sandbox = lab(model=calm(api_gateway={"account_rate_per_s": 1, "account_burst": 2}))
    answers = [sandbox.start_request("GET", "/x") for _ in range(3)]
    assert [len(answer) for answer in answers] == [0, 0, 1]


def test_a_fault_throttles_the_api():
    sandbox = lab(faults=b'{"kind":"throttle_api","count":1}')
    assert [sandbox.request("GET", "/x").status for _ in range(2)] == [429, 200]


# records


def test_every_request_is_counted_by_status_and_in_the_metrics():
    sandbox = lab(routes=[Route("GET", "/x", "echo", None), Route("GET", "/gone", "gone", None)])
    for path in ("/x", "/x", "/gone", "/nowhere"):
        sandbox.request("GET", path)
    assert sandbox.truth.as_dict()["api"] == {"requests": 4, "by_status": {"200": 2, "403": 1, "500": 1}}
    for dimensions in ([("ApiName", "votes")], [("ApiName", "votes"), ("Stage", "prod")]):
        assert sum(sandbox.metrics.of("Count", *dimensions)) == 4
        assert sum(sandbox.metrics.of("4XXError", *dimensions)) == 1
        assert sum(sandbox.metrics.of("5XXError", *dimensions)) == 1


def test_a_chain_counts_what_was_sent_and_accepted():
    sandbox = lab()
    sandbox.definitions.functions["shop-accept"] = function(
        "shop-accept", answering("{'statusCode': int(e['body'][-4:-1])}")
    )
    sandbox.definitions.stages["prod"] = ApiStage(
        "a1", "shop", "prod", [Route("POST", "/shop", "shop-accept", None)], None, None, None, None, False
    )
    for number, status in enumerate([200, 200, 400]):
        sandbox.request("POST", "/shop", b'{"correlation_id":"c-%d","status":%d}' % (number, status))
    chain = sandbox.truth.as_dict()["chains"]["shop"]
    assert (chain["sent"], chain["accepted"], chain["lost"]) == (3, 2, 2)


FORMAT = (
    '{"id":"$context.requestId","lambda":"$context.integration.requestId","status":"$context.status",'
    '"integration":"$context.integration.integrationStatus","function":"$context.integration.status",'
    '"latency":"$context.responseLatency","error":"$context.error.responseType","path":"$context.path"}'
)


def logged(sandbox: Lab) -> Any:
    (line,) = sandbox.logs.messages("/access")
    return json.loads(line)


def test_the_access_log_joins_the_request_to_its_invocation():
    sandbox = lab(access_log_group="/access", access_log_format=FORMAT)
    sandbox.request("GET", "/x", headers=[(b"x-amzn-requestid", UUID.encode())])
    line = logged(sandbox)
    assert f"REPORT RequestId: {line['lambda']}\t" in sandbox.logs.reports()[0]
    assert line == {
        "id": UUID, "lambda": line["lambda"], "status": "200", "integration": "200", "function": "200",
        "latency": "350", "error": "-", "path": "/prod/x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "faults", "status", "integration", "error"),
    [
        ("def handle(e, c): raise ValueError('\"')", b"", "502", "200", "DEFAULT_5XX"),
        (ECHO_EVENT, b'{"kind":"throttle","function":"echo","count":1}', "500", "429", "DEFAULT_5XX"),
        (ECHO_EVENT, b'{"kind":"throttle_api","count":1}', "429", "-", "THROTTLED"),
        (
            ECHO_EVENT,
            b'{"kind":"slow","function":"echo","count":1,"delay_ms":40000}',
            "504",
            "-",
            "INTEGRATION_TIMEOUT",
        ),
    ],
)
def test_the_access_log_tells_failures_apart(code, faults, status, integration, error):
    template = FORMAT[:-1] + ',"why":"$context.integration.error"}'
    sandbox = lab(code, faults=faults, access_log_group="/access", access_log_format=template)
    sandbox.request("GET", "/x")
    line = logged(sandbox)
    assert (line["status"], line["integration"], line["function"], line["error"]) == (status, integration, "-", error)


def test_every_variable_has_a_value_or_a_dash():
    template = "\n".join(f"{name}=$context.{name}" for name in VARIABLES)
    for path in ("/x", "/nowhere"):
        sandbox = lab(routes=[Route("GET", "/x", "echo", None)], access_log_group="/access", access_log_format=template)
        sandbox.request("GET", path)
        (line,) = sandbox.logs.messages("/access")
        values = dict(pair.split("=", 1) for pair in line.split("\n"))
        assert set(values) == set(VARIABLES)
        assert all(values.values())


def test_a_template_keeps_its_other_text_and_dashes_unknown_variables():
    sandbox = lab(access_log_group="/access", access_log_format="100% $context.stage, $context.nope. $contextual {x}")
    sandbox.request("GET", "/x")
    assert sandbox.logs.messages("/access") == ["100% prod, -. $contextual {x}"]


def test_an_empty_template_is_an_empty_line():
    assert AccessLogTemplate("").render(None) == ""  # type: ignore[arg-type]


# stages


def test_a_stage_is_found_by_api_and_name_or_by_name_alone():
    gateway = lab().gateway
    assert gateway.stage("a1", "prod") is not None
    assert gateway.stage(None, "prod") is not None
    assert gateway.stage("a2", "prod") is None
    assert gateway.stage(None, "dev") is None


def test_a_deployment_is_seen_at_once():
    sandbox = lab()
    assert sandbox.request("GET", "/x").status == 200
    sandbox.change(function(code=answering("{'statusCode': 299}"), timeout_s=60))
    assert sandbox.request("GET", "/x").status == 299
