"""API Gateway's data plane for REST APIs with Lambda proxy integrations.

Takes a request as values, gives the answer to a callback. Proxy events are of payload format 1.0; statuses, bodies and
id headers are those of AWS (documentation: set-up-lambda-proxy-integrations, supported-gateway-response-types,
services-apigateway-errors).
"""

from __future__ import annotations

import base64
import random
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import orjson

from sandbox.api_authorization import MISSING_TOKEN, refusal
from sandbox.api_requests import ApiRequest, ApiResponse, GatewayError, OnAnswer, OpenRequest
from sandbox.api_stages import CompiledRoute, DeployedStage
from sandbox.clock import Scheduler
from sandbox.definitions import ApiStage, Definitions, FunctionDefinition
from sandbox.faults import CutAnswer, Faults, ThrottleApi
from sandbox.functions import LambdaService
from sandbox.identifiers import Identifiers, is_uuid, parse_trace_header
from sandbox.invoke_results import InvokeResult
from sandbox.model.parameters import Parameters
from sandbox.model.throttling import TokenBucket
from sandbox.permissions import Permissions
from sandbox.proxy_events import proxy_event, proxy_response
from sandbox.sinks import LogSink, MetricSink
from sandbox.truth import Truth

NAMESPACE = "AWS/ApiGateway"

_THROTTLED = GatewayError(429, "Too Many Requests", "TooManyRequestsException", "THROTTLED")
_TOO_LARGE = GatewayError(413, "Request Too Long", "RequestTooLargeException", "REQUEST_TOO_LARGE")
_REFUSED = GatewayError(500, "Internal server error", "InternalServerErrorException", "DEFAULT_5XX")
_FAILED = GatewayError(502, "Internal server error", "InternalServerErrorException", "DEFAULT_5XX")
_TIMED_OUT = GatewayError(504, "Endpoint request timed out", "InternalServerErrorException", "INTEGRATION_TIMEOUT")


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
        permissions: Permissions,
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
        self._permissions = permissions
        self._seed = seed
        self._buckets: dict[tuple[str, str, float, int], TokenBucket] = {}
        self._deadlines: dict[float, _Deadlines] = {}
        self._clf_time = (-1, "")
        self.reset()

    def reset(self) -> None:
        """Start again with full buckets. Requests under way go on to their end."""
        self._stages: dict[tuple[str | None, str], DeployedStage | None] = {}
        self._generation = self._definitions.generation
        self._buckets.clear()
        self._account = TokenBucket(self._parameters.account_rate_per_s, self._parameters.account_burst)
        self._rng = random.Random(f"{self._seed}/gateway")
        self._identifiers = Identifiers(self._rng)
        reservoir = self._sampling.trace_reservoir_per_s
        self._trace_reservoir = TokenBucket(reservoir, reservoir)

    def stage(self, api_id: str | None, name: str) -> DeployedStage | None:
        """A deployed stage by its API's id, or, with None, by its name alone where only one API has it."""
        if self._definitions.generation != self._generation:
            self._generation = self._definitions.generation
            self._stages.clear()
        key = (api_id, name)
        if key not in self._stages:
            definition = self._definitions.api_stage(api_id, name)
            self._stages[key] = None if definition is None else self._compile(definition)
        return self._stages[key]

    def handle(self, stage: DeployedStage, request: ApiRequest, on_done: OnAnswer) -> None:
        """Answer a request to a stage."""
        now = self._scheduler.now()
        self._truth.pending += 1
        call = self._open(stage, request, now, on_done)
        found = stage.match(request.method, request.path)
        call.route = None if found is None else found[0]
        if found is None:
            return self._refuse(call, MISSING_TOKEN)
        if len(request.body) > self._parameters.payload_max_bytes:
            return self._refuse(call, _TOO_LARGE)
        route, path_parameters = found
        if route.guarded:
            refused = refusal(stage, route, request, self._permissions, now)
            if refused is not None:
                return self._refuse(call, refused)
        allowed = stage.bucket is None or stage.bucket.take(now)
        fault = self._faults.api_request(call.request_id)
        call.cut = isinstance(fault, CutAnswer)
        if isinstance(fault, ThrottleApi) or not (allowed and self._account.take(now)):
            return self._refuse(call, _THROTTLED)
        if route.function is None:
            call.integration_error = f"no such function: {route.route.function_name}"
            return self._refuse(call, _REFUSED)
        event = proxy_event(call, route, path_parameters, self._clf(now))
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
        answer = proxy_response(result.payload)
        if answer is None:
            call.integration_error = "Malformed Lambda proxy response"
            return self._refuse(call, _FAILED)
        return self._answer(call, *answer)

    def _expired(self, call: OpenRequest) -> None:
        self._refuse(call, _TIMED_OUT)

    def _refuse(self, call: OpenRequest, error: GatewayError) -> None:
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
                call.route.chain.answered(call.request.body, None if call.cut else status)
        headers.append((b"x-amzn-requestid", call.request_id.encode("latin-1")))
        headers.append((b"x-amz-apigw-id", call.extended_request_id.encode("latin-1")))
        headers.append((b"x-amzn-trace-id", call.trace_header.encode("latin-1")))
        self._record(call, now)
        self._truth.api_answered(None if call.cut else status)
        self._truth.pending -= 1
        call.on_done(ApiResponse(status, headers, body, call.cut))

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

    def _compile(self, stage: ApiStage) -> DeployedStage:
        routes = []
        for route in stage.routes:
            function = self._definitions.function(route.function_name, route.qualifier)
            chain = None
            if function is not None:
                chain = self._truth.chain_by_first.get(self._definitions.logical_name(function.name))
            routes.append(CompiledRoute(route, function, chain))
        bucket = None
        if stage.throttle_rate is not None:
            burst = stage.throttle_burst if stage.throttle_burst is not None else self._parameters.account_burst
            key = (stage.api_id, stage.stage, stage.throttle_rate, burst)
            bucket = self._buckets.setdefault(key, TokenBucket(stage.throttle_rate, burst))
        return DeployedStage(stage, routes, bucket)

    def _deadline(self, timeout_s: float) -> _Deadlines:
        deadlines = self._deadlines.get(timeout_s)
        if deadlines is None:
            deadlines = self._deadlines[timeout_s] = _Deadlines(self._scheduler, timeout_s, self._expired)
        return deadlines

    def _open(self, stage: DeployedStage, request: ApiRequest, now: float, on_done: OnAnswer) -> OpenRequest:
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
        call.answered, call.cut, call.error, call.integration_error = False, False, None, None
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

    def _clf(self, at: float) -> str:
        """`21/Nov/2026:10:00:00 +0000`."""
        second = int(at)
        if second != self._clf_time[0]:
            self._clf_time = (second, f"{datetime.fromtimestamp(second, UTC):%d/%b/%Y:%H:%M:%S} +0000")
        return self._clf_time[1]
