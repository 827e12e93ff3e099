"""The sandbox behind one HTTP port: an ASGI application that finds out whom a request is for.

Requests of deployed APIs, Invoke and the data path are answered by our own services, everything else by moto. Each
answer is in its service's own protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from email.utils import formatdate
from typing import Any

import orjson

from sandbox.api_requests import ApiRequest, Headers
from sandbox.assembly import Sandbox
from sandbox.calls import identify, invocation
from sandbox.control_api import ControlApi
from sandbox.invoke_api import invoked_function
from sandbox.logs_api import SLOW_ACTIONS
from sandbox.permissions import answer
from sandbox.services.query_protocol import query_error
from sandbox.services.requests import DEFAULT_REGION, addressee, operation
from sandbox.services.shapes import malformed

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes | None]
"""Status, headers, body; a body of None: the connection closes before it comes."""

_USER_REQUEST = "/_user_request_"
_SERVICE_BY_TARGET = {
    "Kinesis_20131202": "kinesis",
    "TrentService": "kms",
    "Logs_20140328": "logs",
    "GraniteServiceVersion20100801": "monitoring",
    "AmazonSQS": "sqs",
    "AWSEvents": "events",
}
_DATA_PATHS = {"kinesis": "kinesis", "kms": "kms", "sqs": "sqs", "events": "eventbridge"}
"""Service that speaks JSON -> the attribute of the sandbox that answers its data path."""
_NO_STAGE: Answer = (
    403,
    [(b"content-type", b"application/json"), (b"x-amzn-errortype", b"ForbiddenException")],
    b'{"message":"Forbidden","hint":"the sandbox: no API that is deployed has this stage"}',
)
"""As API Gateway answers where there is no such stage, but for the hint."""
_METRIC_READS = frozenset({"GetMetricData", "GetMetricStatistics", "ListMetrics"})


class Application:
    """The ASGI application of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._gateway = sandbox.gateway
        self._control = ControlApi(sandbox)
        self._second, self._date = 0, b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"the sandbox speaks HTTP only, not {scope['type']}")
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body = body + message["body"] if body else message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answered, content = await self._answer(scope, body)
        headers = [*answered, (b"date", self._http_date())]
        if content is None:
            # uvicorn closes the connection of an answer that is never completed
            headers.append((b"content-length", b"1"))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            return
        headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})

    def _http_date(self) -> bytes:
        """The second in which an answer is made (RFC 9110, 6.6.1)."""
        second = int(self._sandbox.scheduler.now())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode()
        return self._date

    def _answer(self, scope: Scope, body: bytes) -> Awaitable[Answer]:
        """The answer to come. An exception in here is a bug, and uvicorn's 500."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self._to_gateway(scope, body, future):
            return future
        return self._to_service(scope, body, future)

    def _to_gateway(self, scope: Scope, body: bytes, future: asyncio.Future[Answer]) -> bool:
        """Hand over a request of a deployed API; False if it is none."""
        path = scope["raw_path"].decode("latin-1")
        if path.startswith("/restapis/") and _USER_REQUEST in path:
            deployed, _, below = path.partition(_USER_REQUEST)
            api_id, _, name = deployed.removeprefix("/restapis/").partition("/")
            stage = self._gateway.stage(api_id, name)
            if stage is None:
                _resolve(future, _NO_STAGE)
                return True
        else:
            name, _, below = path[1:].partition("/")
            stage = self._gateway.stage(None, name)
            if stage is None or _signed_for_aws(scope["headers"]):
                return False
        client = scope.get("client")
        request = ApiRequest(
            method=scope["method"],
            path=below if below.startswith("/") else f"/{below}",
            query_string=scope["query_string"],
            headers=scope["headers"],
            body=body,
            source_ip=client[0] if client else "127.0.0.1",
            sent_path=path,
        )
        self._gateway.handle(
            stage,
            request,
            lambda answer: _resolve(future, (answer.status, answer.headers, None if answer.cut else answer.body)),
        )
        return True

    def _to_service(self, scope: Scope, body: bytes, future: asyncio.Future[Answer]) -> Awaitable[Answer]:
        path, method = scope["raw_path"].decode("latin-1"), scope["method"]
        query_string = scope["query_string"].decode("latin-1")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        function = invoked_function(path) if method == "POST" else None
        refused = self._refused(function, method, path, query_string, headers, body)
        if refused is not None:
            future.set_result(refused)
            return future
        if function is not None:
            self._sandbox.invoke_api.handle(
                function, query_string, headers, body, lambda answer: _resolve(future, answer)
            )
            return future

        to, target = addressee(headers, query_string), headers.get("x-amz-target", "")
        unsigned = to is None and not path.startswith("/_sandbox/") and operation(headers, body) is None
        if unsigned or (to is not None and to.service == "execute-api"):
            # A request to an API, then, which is not there.
            future.set_result(_NO_STAGE)
            return future
        region = to.region if to else DEFAULT_REGION
        if target == "AmazonSQS.ReceiveMessage":
            self._sandbox.sqs.receive(
                body,
                region,
                lambda answer: _resolve(future, (answer[0], self._json_headers(answer[1]), orjson.dumps(answer[1]))),
            )
            return future

        def answer() -> Answer:
            if path.startswith("/_sandbox/"):
                return self._control.handle(method, path, body)
            answered = self._data_path(headers, query_string, body)
            return answered or self._moto(method, path, query_string, headers, body)

        def answer_with_counts() -> Answer:
            status, kept, content = self._moto(method, path, query_string, headers, body)
            if status == 200 and content is not None:
                content = self._sandbox.sqs.counted(body, region, content)
            return status, kept, content

        if target.removeprefix("Logs_20140328.") in SLOW_ACTIONS:
            return asyncio.get_running_loop().run_in_executor(None, answer)
        future.set_result(answer_with_counts() if target == "AmazonSQS.GetQueueAttributes" else answer())
        return future

    def _refused(
        self, function: str | None, method: str, path: str, query_string: str, headers: Mapping[str, str], body: bytes
    ) -> Answer | None:
        """The answer to a call that the caller may not make; None for any other. `function`: what is invoked."""
        if function is None:
            call = identify(method, path, query_string, headers, body)
        else:
            to = addressee(headers, query_string)
            call = None if to is None else invocation(function, to.region)
        refusal = None if call is None else self._sandbox.permissions.refusal(call)
        return None if call is None or refusal is None else answer(refusal, call)

    def _data_path(self, headers: Mapping[str, str], query_string: str, body: bytes) -> Answer | None:
        """An answer of our own services; None for what is moto's.

        They take a request as clients of AWS make it. What no such client would send may raise anything in them: then
        its form is looked at, which costs too much to be done with each.
        """
        to = addressee(headers, query_string)
        target = headers.get("x-amz-target", "").partition(".")[0]
        service = _SERVICE_BY_TARGET.get(target) or (to.service if to else "")
        region = to.region if to else DEFAULT_REGION
        called = operation(headers, body)
        if called is None:
            return None
        if service == "monitoring" and not target and called in _METRIC_READS:
            # moto would answer, and know of no metric
            message = f"The sandbox answers {called} in CloudWatch's JSON protocol only, as boto3 1.44 speaks it"
            return 501, [(b"content-type", b"text/xml")], query_error("NotImplemented", message)
        sandbox, now = self._sandbox, self._sandbox.scheduler.now()
        if service == "monitoring" and called == "DescribeAlarms":
            sandbox.judge_alarms(region)
        answered: tuple[int, Any] | None
        if service == "iam" and called == "SimulatePrincipalPolicy":
            return sandbox.permissions.simulate(body)
        if service == "sns":
            answered = sandbox.sns.handle(called, body, region)
            return None if answered is None else (answered[0], [(b"content-type", b"text/xml")], answered[1])
        if not target:
            return None
        try:
            answered = self._answer_in_json(service, called, body, region, now)
        except Exception:
            problem = malformed(service, called, body)
            if problem is None:
                raise
            answered = 400, {"__type": "SerializationException", "message": problem}
        if answered is None:
            return None
        status, document = answered
        return status, self._json_headers(document), orjson.dumps(document)

    def _answer_in_json(
        self, service: str, called: str, body: bytes, region: str, now: float
    ) -> tuple[int, Any] | None:
        """Status and document of a service that speaks JSON; None for what is moto's."""
        sandbox = self._sandbox
        if service in _DATA_PATHS:
            found: tuple[int, Any] | None = getattr(sandbox, _DATA_PATHS[service]).handle(called, body, region)
            return found
        if service not in ("logs", "monitoring"):
            return None
        try:
            parameters = orjson.loads(body or b"{}")
        except orjson.JSONDecodeError as error:
            return 400, {"__type": "SerializationException", "message": str(error)}
        api = sandbox.logs_api if service == "logs" else sandbox.metrics
        return api.handle(called, parameters, now)

    def _json_headers(self, document: Any) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"content-type", b"application/x-amz-json-1.1"),
            (b"x-amzn-requestid", self._sandbox.functions.new_request_id().encode("latin-1")),
        ]
        if isinstance(document, dict) and "__type" in document:
            headers.append((b"x-amzn-errortype", str(document["__type"]).encode("latin-1")))
        return headers

    def _moto(self, method: str, path: str, query_string: str, headers: Mapping[str, str], body: bytes) -> Answer:
        status, answered, content = self._sandbox.bridge.handle(method, path, query_string, headers, body)
        kept = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in answered
            if name.lower() not in ("content-length", "date", "server", "connection", "transfer-encoding")
        ]
        return status, kept, content


def _resolve(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


def _signed_for_aws(headers: Headers) -> bool:
    """Whether a request carries a SigV4 signature for an AWS API (one for `execute-api` is for a deployed API)."""
    for name, value in headers:
        if name == b"authorization":
            return value.startswith(b"AWS4-") and b"/execute-api/" not in value
    return False
