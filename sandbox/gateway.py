"""API Gateway's data plane for REST APIs with Lambda proxy integrations.

Takes a request as values, gives the answer to a callback. Proxy events are of payload format 1.0; statuses, bodies and
id headers are those of AWS (documentation: set-up-lambda-proxy-integrations, supported-gateway-response-types,
services-apigateway-errors).
"""

from __future__ import annotations

import base64
import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import orjson

from sandbox.access_log import AccessLogTemplate
from sandbox.clock import Scheduler
from sandbox.definitions import ACCOUNT_ID, ApiStage, Definitions, FunctionDefinition, Route
from sandbox.faults import Faults
from sandbox.functions import LambdaService
from sandbox.identifiers import Identifiers, is_uuid, parse_trace_header
from sandbox.invoke_results import InvokeResult
from sandbox.model.parameters import Parameters
from sandbox.model.throttling import TokenBucket
from sandbox.sinks import LogSink, MetricSink
from sandbox.truth import ChainTruth, Truth

NAMESPACE = "AWS/ApiGateway"

Headers = Sequence[tuple[bytes, bytes]]


class ApiRequest(NamedTuple):
    """A request to a stage. `path` begins behind the stage's name; header names are lower-case."""

    method: str
    path: str
    query_string: bytes
    headers: Headers
    body: bytes
    source_ip: str


class ApiResponse(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


OnAnswer = Callable[[ApiResponse], None]


class _GatewayError(NamedTuple):
    """One of API Gateway's own answers."""

    status: int
    message: str
    error_type: str
    """x-amzn-ErrorType."""
    response_type: str
    """$context.error.responseType."""


_THROTTLED = _GatewayError(429, "Too Many Requests", "TooManyRequestsException", "THROTTLED")
_NO_ROUTE = _GatewayError(
    403, "Missing Authentication Token", "MissingAuthenticationTokenException", "MISSING_AUTHENTICATION_TOKEN"
)
_TOO_LARGE = _GatewayError(413, "Request Too Long", "RequestTooLargeException", "REQUEST_TOO_LARGE")
_REFUSED = _GatewayError(500, "Internal server error", "InternalServerErrorException", "DEFAULT_5XX")
_FAILED = _GatewayError(502, "Internal server error", "InternalServerErrorException", "DEFAULT_5XX")
_TIMED_OUT = _GatewayError(504, "Endpoint request timed out", "InternalServerErrorException", "INTEGRATION_TIMEOUT")


class _CompiledRoute:
    """A route, with what an event of it always says."""

    __slots__ = ("chain", "function", "pattern", "resource_id", "route")

    resource_id: str
    route: Route

    def __init__(self, route: Route, function: FunctionDefinition | None, chain: ChainTruth | None) -> None:
        self.route = route
        self.function = function
        self.chain = chain
        self.resource_id = f"{random.Random(route.path).getrandbits(30):06x}"[:6]
        names = re.sub(r"\\{(\w+)(\\\+)?\\}", _path_parameter, re.escape(route.path))
        self.pattern = re.compile(names)


def _path_parameter(found: re.Match[str]) -> str:
    """`{name}` matches one segment of a path, `{name+}` the rest of it."""
    return f"(?P<{found.group(1)}>{'.+' if found.group(2) else '[^/]+'})"


class _Stage:
    """A deployed stage at one generation of the definitions."""

    __slots__ = (
        "access_log",
        "access_log_stream",
        "bucket",
        "definition",
        "dimensions",
        "domain",
        "exact",
        "stage_dimensions",
        "templates",
    )

    definition: ApiStage
    domain: str

    def __init__(self, stage: ApiStage, routes: list[_CompiledRoute], bucket: TokenBucket | None) -> None:
        self.definition = stage
        self.bucket = bucket
        regions = [compiled.function.region for compiled in routes if compiled.function is not None]
        self.domain = f"{stage.api_id}.execute-api.{regions[0] if regions else 'us-east-1'}.amazonaws.com"
        self.dimensions = (("ApiName", stage.name),)
        self.stage_dimensions = (("ApiName", stage.name), ("Stage", stage.stage))
        self.exact = {
            (compiled.route.method, compiled.route.path): compiled
            for compiled in routes
            if "{" not in compiled.route.path
        }
        self.templates = sorted(
            (compiled for compiled in routes if "{" in compiled.route.path),
            key=lambda compiled: ("+}" in compiled.route.path, -len(compiled.route.path)),
        )
        wanted = stage.access_log_group and stage.access_log_format
        self.access_log = AccessLogTemplate(stage.access_log_format or "") if wanted else None
        self.access_log_stream = f"{random.Random(f'{stage.api_id}/{stage.stage}').getrandbits(128):032x}"

    def match(self, method: str, path: str) -> tuple[_CompiledRoute, dict[str, str] | None] | None:
        """(route, path parameters); a route of its own method goes before ANY."""
        for wanted in (method, "ANY"):
            compiled = self.exact.get((wanted, path))
            if compiled is not None:
                return compiled, None
        for wanted in (method, "ANY"):
            for compiled in self.templates:
                if compiled.route.method == wanted:
                    found = compiled.pattern.fullmatch(path)
                    if found is not None:
                        return compiled, {name: unquote(value) for name, value in found.groupdict().items()}
        return None


class OpenRequest:
    """A request under way, and what the access log will say of it. Times are epoch seconds."""

    __slots__ = (
        "answered",
        "error",
        "extended_request_id",
        "integration_error",
        "integration_status",
        "lambda_request_id",
        "logged_request_id",
        "on_done",
        "received_at",
        "request",
        "request_id",
        "responded_at",
        "response_length",
        "route",
        "sent_at",
        "served_at",
        "stage",
        "status",
        "trace_header",
        "trace_root",
        "user_agent",
    )

    stage: _Stage
    request: ApiRequest
    route: _CompiledRoute | None
    on_done: OnAnswer
    received_at: float
    request_id: str
    """Returned, and seen by the handler."""
    logged_request_id: str
    extended_request_id: str
    trace_root: str
    trace_header: str
    user_agent: str | None
    sent_at: float | None
    """Handed to Lambda."""
    served_at: float | None
    """Lambda answered."""
    responded_at: float
    answered: bool
    lambda_request_id: str | None
    integration_status: int | None
    """What the Lambda service answered (`$context.integration.integrationStatus`)."""
    integration_error: str | None
    error: _GatewayError | None
    status: int
    response_length: int


class _Deadlines:
    """Integration timeouts of one length: first in, first due, so that one timer does for all."""

    def __init__(self, scheduler: Scheduler, timeout_s: float, expire: Callable[[OpenRequest], None]) -> None:
        self._scheduler = scheduler
        self._timeout_s = timeout_s
        self._expire = expire
        self._open: deque[tuple[float, OpenRequest]] = deque()
        self._armed = False

    def add(self, request: OpenRequest, now: float) -> None:
        self._open.append((now + self._timeout_s, request))
        if not self._armed:
            self._armed = True
            self._scheduler.at(now + self._timeout_s, self._wake)

    def forget_answered(self) -> None:
        waiting = self._open
        while waiting and waiting[0][1].answered:
            waiting.popleft()

    def _wake(self) -> None:
        now, waiting = self._scheduler.now(), self._open
        while waiting and (waiting[0][1].answered or waiting[0][0] <= now):
            _, request = waiting.popleft()
            if not request.answered:
                self._expire(request)
        self._armed = bool(waiting)
        if waiting:
            self._scheduler.at(waiting[0][0], self._wake)


class Gateway:
    """The REST APIs that `definitions` knows."""

    def __init__(
        self,
        definitions: Definitions,
        scheduler: Scheduler,
        parameters: Parameters,
        functions: LambdaService,
        *,
        logs: LogSink,
        metrics: MetricSink,
        truth: Truth,
        faults: Faults,
        seed: int = 1,
    ) -> None:
        self._definitions = definitions
        self._scheduler = scheduler
        self._parameters = parameters.api_gateway
        self._sampling = parameters.lambda_
        self._functions = functions
        self._logs = logs
        self._metrics = metrics
        self._truth = truth
        self._faults = faults
        self._seed = seed
        self._buckets: dict[tuple[str, str, float, int], TokenBucket] = {}
        self._deadlines: dict[float, _Deadlines] = {}
        self._clf_time = (-1, "")
        self.reset()

    def reset(self) -> None:
        """Start again with full buckets. Requests under way go on to their end."""
        self._stages: dict[tuple[str | None, str], _Stage | None] = {}
        self._generation = self._definitions.generation
        self._buckets.clear()
        self._account = TokenBucket(self._parameters.account_rate_per_s, self._parameters.account_burst)
        self._rng = random.Random(f"{self._seed}/gateway")
        self._identifiers = Identifiers(self._rng)
        reservoir = self._sampling.trace_reservoir_per_s
        self._trace_reservoir = TokenBucket(reservoir, reservoir)

    def stage(self, api_id: str | None, name: str) -> _Stage | None:
        """A deployed stage by its API's id, or, with None, by its name alone where only one API has it."""
        if self._definitions.generation != self._generation:
            self._generation = self._definitions.generation
            self._stages.clear()
        key = (api_id, name)
        if key not in self._stages:
            definition = self._definitions.api_stage(api_id, name)
            self._stages[key] = None if definition is None else self._compile(definition)
        return self._stages[key]

    def handle(self, stage: _Stage, request: ApiRequest, on_done: OnAnswer) -> None:
        """Answer a request to a stage."""
        now = self._scheduler.now()
        self._truth.pending += 1
        call = self._open(stage, request, now, on_done)
        found = stage.match(request.method, request.path)
        call.route = None if found is None else found[0]
        if found is None:
            return self._refuse(call, _NO_ROUTE)
        if len(request.body) > self._parameters.payload_max_bytes:
            return self._refuse(call, _TOO_LARGE)
        allowed = stage.bucket is None or stage.bucket.take(now)
        if self._faults.api_request() is not None or not (allowed and self._account.take(now)):
            return self._refuse(call, _THROTTLED)
        route, path_parameters = found
        if route.function is None:
            call.integration_error = f"no such function: {route.route.function_name}"
            return self._refuse(call, _REFUSED)
        event = self._proxy_event(call, route, path_parameters)
        self._deadline(route.route.timeout_s).add(call, now)
        sent_at = now + self._parameters.overhead_ms / 1000
        return self._scheduler.at(sent_at, partial(self._integrate, call, route.function, event))

    def _integrate(self, call: OpenRequest, function: FunctionDefinition, event: bytes) -> None:
        call.sent_at = self._scheduler.now()
        self._functions.invoke(function, event, partial(self._served, call), trace_header=call.trace_header)

    def _served(self, call: OpenRequest, result: InvokeResult) -> None:
        """Lambda answered. Too late for a request that has had its 504."""
        if call.answered:
            return None
        call.served_at = self._scheduler.now()
        call.lambda_request_id = result.request_id
        call.integration_status = result.status
        if result.status != 200:
            call.integration_error = f"Lambda invocation failed with status: {result.status}."
            return self._refuse(call, _REFUSED)
        if result.function_error is not None:
            call.integration_error = f"The Lambda function returned the following error: {result.function_error}."
            return self._refuse(call, _FAILED)
        answer = _proxy_response(result.payload)
        if answer is None:
            call.integration_error = "Malformed Lambda proxy response"
            return self._refuse(call, _FAILED)
        return self._answer(call, *answer)

    def _expired(self, call: OpenRequest) -> None:
        self._refuse(call, _TIMED_OUT)

    def _refuse(self, call: OpenRequest, error: _GatewayError) -> None:
        call.error = error
        headers = [(b"content-type", b"application/json"), (b"x-amzn-errortype", error.error_type.encode())]
        self._answer(call, error.status, headers, orjson.dumps({"message": error.message}))

    def _answer(self, call: OpenRequest, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        now = self._scheduler.now()
        call.answered = True
        call.responded_at, call.status, call.response_length = now, status, len(body)
        if call.route is not None:
            deadlines = self._deadlines.get(call.route.route.timeout_s)
            if deadlines is not None:
                deadlines.forget_answered()
            if call.route.chain is not None:
                call.route.chain.answered(call.request.body, status)
        headers.append((b"x-amzn-requestid", call.request_id.encode("latin-1")))
        headers.append((b"x-amz-apigw-id", call.extended_request_id.encode("latin-1")))
        headers.append((b"x-amzn-trace-id", call.trace_header.encode("latin-1")))
        self._record(call, now)
        self._truth.api_answered(status)
        self._truth.pending -= 1
        call.on_done(ApiResponse(status, headers, body))

    def _record(self, call: OpenRequest, now: float) -> None:
        """The metrics and the access log line of an answered request."""
        stage, status = call.stage, call.status
        add = self._metrics.add
        latency_ms = (now - call.received_at) * 1000
        for dimensions in (stage.dimensions, stage.stage_dimensions):
            add(NAMESPACE, "Count", dimensions, call.received_at, 1.0)
            add(NAMESPACE, "4XXError", dimensions, call.received_at, 1.0 if 400 <= status < 500 else 0.0)
            add(NAMESPACE, "5XXError", dimensions, call.received_at, 1.0 if status >= 500 else 0.0)
            add(NAMESPACE, "Latency", dimensions, call.received_at, latency_ms)
            if call.sent_at is not None:
                served_at = now if call.served_at is None else call.served_at
                add(NAMESPACE, "IntegrationLatency", dimensions, call.received_at, (served_at - call.sent_at) * 1000)
        if stage.access_log is not None and stage.definition.access_log_group is not None:
            line = stage.access_log.render(call)
            self._logs.append(stage.definition.access_log_group, stage.access_log_stream, now, line)

    def _compile(self, stage: ApiStage) -> _Stage:
        routes = []
        for route in stage.routes:
            function = self._definitions.function(route.function_name, route.qualifier)
            chain = None
            if function is not None:
                chain = self._truth.chain_by_first.get(self._definitions.logical_name(function.name))
            routes.append(_CompiledRoute(route, function, chain))
        bucket = None
        if stage.throttle_rate is not None:
            burst = stage.throttle_burst if stage.throttle_burst is not None else self._parameters.account_burst
            key = (stage.api_id, stage.stage, stage.throttle_rate, burst)
            bucket = self._buckets.setdefault(key, TokenBucket(stage.throttle_rate, burst))
        return _Stage(stage, routes, bucket)

    def _deadline(self, timeout_s: float) -> _Deadlines:
        deadlines = self._deadlines.get(timeout_s)
        if deadlines is None:
            deadlines = self._deadlines[timeout_s] = _Deadlines(self._scheduler, timeout_s, self._expired)
        return deadlines

    def _open(self, stage: _Stage, request: ApiRequest, now: float, on_done: OnAnswer) -> OpenRequest:
        identifiers = self._identifiers
        request_id = trace = user_agent = None
        for name, value in request.headers:
            if name == b"x-amzn-requestid":
                request_id = value.decode("latin-1")
            elif name == b"x-amzn-trace-id":
                trace = value.decode("latin-1")
            elif name == b"user-agent":
                user_agent = value.decode("latin-1")
        call = OpenRequest()
        call.stage, call.request, call.on_done = stage, request, on_done
        call.received_at, call.sent_at, call.served_at = now, None, None
        call.answered, call.error, call.integration_error = False, None, None
        call.lambda_request_id, call.integration_status, call.user_agent = None, None, user_agent
        if request_id is None or not is_uuid(request_id):
            call.request_id = identifiers.uuid()
            call.logged_request_id = call.request_id if request_id is None else "UUID_REPLACED_INVALID_REQUEST_ID"
        else:
            call.request_id = call.logged_request_id = request_id
        call.extended_request_id = base64.b64encode(self._rng.randbytes(11)).decode("ascii")
        root, sampled = parse_trace_header(trace)
        if sampled is None and stage.definition.tracing:
            sampled = self._trace_reservoir.take(now) or self._rng.random() < self._sampling.trace_rate
        call.trace_root = root or identifiers.trace_root(now)
        decision = "" if sampled is None else f";Sampled={int(sampled)}"
        call.trace_header = f"Root={call.trace_root}{decision}"
        return call

    def _proxy_event(self, call: OpenRequest, route: _CompiledRoute, path_parameters: dict[str, str] | None) -> bytes:
        """The event of payload format 1.0, as JSON."""
        request, stage = call.request, call.stage.definition
        headers: dict[str, str] = {}
        multi_headers: dict[str, list[str]] = {}
        for raw_name, raw_value in request.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            if name == "x-amzn-trace-id":
                continue
            headers[name] = value
            if name in multi_headers:
                multi_headers[name].append(value)
            else:
                multi_headers[name] = [value]
        for name, value in (
            ("X-Amzn-Trace-Id", call.trace_header),
            ("X-Forwarded-For", request.source_ip),
            ("X-Forwarded-Port", "443"),
            ("X-Forwarded-Proto", "https"),
        ):
            headers[name] = value
            multi_headers[name] = [value]
        query: dict[str, str] | None = None
        multi_query: dict[str, list[str]] | None = None
        if request.query_string:
            query, multi_query = {}, {}
            for name, value in parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True):
                query[name] = value
                multi_query.setdefault(name, []).append(value)
        return orjson.dumps(
            {
                "resource": route.route.path,
                "path": request.path,
                "httpMethod": request.method,
                "headers": headers,
                "multiValueHeaders": multi_headers,
                "queryStringParameters": query,
                "multiValueQueryStringParameters": multi_query,
                "pathParameters": path_parameters,
                "stageVariables": None,
                "requestContext": {
                    "resourceId": route.resource_id,
                    "resourcePath": route.route.path,
                    "httpMethod": request.method,
                    "extendedRequestId": call.extended_request_id,
                    "requestTime": self.clf_time(call.received_at),
                    "path": f"/{stage.stage}{request.path}",
                    "accountId": ACCOUNT_ID,
                    "protocol": "HTTP/1.1",
                    "stage": stage.stage,
                    "domainPrefix": stage.api_id,
                    "requestTimeEpoch": int(call.received_at * 1000),
                    "requestId": call.request_id,
                    "identity": {
                        "cognitoIdentityPoolId": None,
                        "accountId": None,
                        "cognitoIdentityId": None,
                        "caller": None,
                        "sourceIp": request.source_ip,
                        "principalOrgId": None,
                        "accessKey": None,
                        "cognitoAuthenticationType": None,
                        "cognitoAuthenticationProvider": None,
                        "userArn": None,
                        "userAgent": call.user_agent,
                        "user": None,
                    },
                    "domainName": call.stage.domain,
                    "apiId": stage.api_id,
                },
                "body": request.body.decode("utf-8", "replace") if request.body else None,
                "isBase64Encoded": False,
            }
        )

    def clf_time(self, at: float) -> str:
        """`21/Nov/2026:10:00:00 +0000`."""
        second = int(at)
        if second != self._clf_time[0]:
            self._clf_time = (second, f"{datetime.fromtimestamp(second, UTC):%d/%b/%Y:%H:%M:%S} +0000")
        return self._clf_time[1]


def _proxy_response(payload: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
    """(status, headers, body) of a handler's result; None where it has not the form of a proxy response."""
    try:
        result = orjson.loads(payload)
    except orjson.JSONDecodeError:  # NaN, which Python's runtime writes and JSON does not know
        return None
    if not isinstance(result, dict):
        return None
    status, body = result.get("statusCode"), result.get("body")
    if isinstance(status, str) and status.isdecimal():
        status = int(status)
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:
        return None
    if body is not None and not isinstance(body, str):
        return None
    headers = _proxy_headers(result)
    if headers is None:
        return None
    return status, headers, b"" if body is None else body.encode("utf-8")


def _proxy_headers(result: dict[str, Any]) -> list[tuple[bytes, bytes]] | None:
    single, multi = result.get("headers") or {}, result.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(multi, dict):
        return None
    headers: list[tuple[bytes, bytes]] = []
    has_content_type = False
    for name, values in [*((name, [value]) for name, value in single.items() if name not in multi), *multi.items()]:
        if not isinstance(values, list) or any(isinstance(value, dict | list) for value in values):
            return None
        lower = name.lower().encode("latin-1", "replace")
        has_content_type = has_content_type or lower == b"content-type"
        if lower == b"content-length":
            continue
        for value in values:
            text = value if isinstance(value, str) else orjson.dumps(value).decode()
            headers.append((lower, text.encode("latin-1", "replace")))
    if not has_content_type:
        headers.append((b"content-type", b"application/json"))
    return headers
