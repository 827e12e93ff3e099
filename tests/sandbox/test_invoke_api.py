"""The Invoke call on the wire, in virtual time."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sandbox.invoke_api import InvokeApi, invoked_function
from tests.sandbox.lab import Lab, function
from tests.sandbox.test_functions import CALM, FAILING, calm

UUID = "11111111-2222-4333-8444-555555555555"


class Wire:
    """One Invoke API; `call` gives status, headers and body of the answer."""

    def __init__(self, *functions: Any, model: Any = CALM) -> None:
        self.lab = Lab(*(functions or [function()]), model=model)
        self._api = InvokeApi(self.lab.service, self.lab.definitions, self.lab.parameters.lambda_, self.lab.truth)

    def call(self, name: str = "echo", body: bytes = b"{}", query: str = "", **headers: str) -> Any:
        answers: list[Any] = []
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        self._api.handle(name, query, sent, body, answers.append)
        self.lab.clock.run_all()
        ((status, answered, content),) = answers
        return status, {key.decode(): value.decode() for key, value in answered}, content


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/2015-03-31/functions/echo/invocations", "echo"),
        ("/2015-03-31/functions/123456789012%3Afunction%3Aecho/invocations", "123456789012:function:echo"),
        ("/2015-03-31/functions/echo/invocations/", "echo"),
        ("/2015-03-31/functions/echo", None),
        ("/2015-03-31/functions/a/b/invocations", None),
        ("/prod/vote", None),
    ],
)
def test_the_path_names_the_function(path, name):
    assert invoked_function(path) == name


def test_a_synchronous_call_answers_with_the_result_and_the_version():
    status, headers, body = Wire().call(body=b'{"a":1}')
    assert (status, body) == (200, b'{"a": 1}')
    assert headers["x-amz-executed-version"] == "$LATEST"
    assert headers["content-type"] == "application/json"
    assert "x-amz-function-error" not in headers and "x-amz-log-result" not in headers


def test_the_request_id_is_the_one_in_the_log():
    wire = Wire()
    _, headers, _ = wire.call()
    assert f"REPORT RequestId: {headers['x-amzn-requestid']}\t" in wire.lab.logs.reports()[0]


def test_a_clients_uuid_becomes_the_request_id_and_anything_else_is_refused():
    wire = Wire()
    assert wire.call(x_amzn_requestid=UUID)[1]["x-amzn-requestid"] == UUID
    status, headers, _ = wire.call(x_amzn_requestid="mine")
    assert (status, headers["x-amzn-errortype"]) == (400, "InvalidParameterValueException")


def test_a_function_error_is_status_200_with_its_header():
    status, headers, body = Wire(function(code=FAILING)).call()
    assert (status, headers["x-amz-function-error"]) == (200, "Unhandled")
    assert json.loads(body)["errorType"] == "RuntimeError"


def test_a_log_tail_comes_in_base64():
    _, headers, _ = Wire().call(x_amz_log_type="Tail")
    assert b"REPORT RequestId: " in base64.b64decode(headers["x-amz-log-result"])


def test_an_event_is_accepted_and_runs_later():
    wire = Wire()
    status, headers, body = wire.call(x_amz_invocation_type="Event")
    assert (status, body) == (202, b"")
    assert f"RequestId: {headers['x-amzn-requestid']}" in wire.lab.logs.reports()[0]


def test_a_dry_run_runs_nothing():
    wire = Wire()
    assert wire.call(x_amz_invocation_type="DryRun")[0] == 204
    assert wire.lab.logs.events == []


@pytest.mark.parametrize("kind", ["Event", "RequestResponse", "DryRun"])
def test_an_unknown_function_is_404(kind):
    status, headers, body = Wire().call("nope", query="Qualifier=3", x_amz_invocation_type=kind)
    assert (status, headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")
    assert json.loads(body) == {
        "Type": "User",
        "Message": "Function not found: arn:aws:lambda:us-east-1:123456789012:function:nope:3",
    }


def test_a_throttle_is_429_with_reason_and_retry_after():
    status, headers, body = Wire(function(reserved_concurrency=0)).call()
    assert (status, headers["x-amzn-errortype"], headers["retry-after"]) == (429, "TooManyRequestsException", "1")
    assert json.loads(body)["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


@pytest.mark.parametrize("kind", ["Event", "RequestResponse"])
def test_a_body_that_is_not_json_is_400(kind):
    status, headers, _ = Wire().call(body=b"{", x_amz_invocation_type=kind)
    assert (status, headers["x-amzn-errortype"]) == (400, "InvalidRequestContentException")


@pytest.mark.parametrize(
    ("kind", "limit"), [("Event", "async_payload_max_bytes"), ("RequestResponse", "payload_max_bytes")]
)
def test_a_payload_beyond_its_kinds_limit_is_413(kind, limit):
    status, headers, body = Wire(model=calm(**{"lambda": {limit: 4}})).call(body=b'"123"', x_amz_invocation_type=kind)
    assert (status, headers["x-amzn-errortype"]) == (413, "RequestTooLargeException")
    assert kind in json.loads(body)["message"]


def test_an_unknown_invocation_type_is_400():
    status, _, body = Wire().call(x_amz_invocation_type="Later")
    assert status == 400
    assert "'Later' at 'invocationType'" in json.loads(body)["message"]


def test_answers_are_counted_by_status():
    wire = Wire()
    wire.call()
    wire.call("nope")
    wire.call(x_amz_invocation_type="Event")
    assert wire.lab.truth.as_dict()["invoke"] == {"requests": 3, "by_status": {"200": 1, "202": 1, "404": 1}}
