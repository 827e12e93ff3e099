"""The door to moto: requests in, answers out, and moto's state as the model's `Definitions`.

    bridge = MotoBridge()
    status, headers, body = bridge.handle("POST", "/", "", headers, body)

The data path (Invoke, gateway, Put, Publish, delivery) does not come through here: a call costs moto up to a
millisecond and more. Every call that may have changed something raises `generation`.
"""

from __future__ import annotations

import datetime
import io
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from moto.core.base_backend import BackendDict
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from sandbox.definitions import ApiStage, EventRule, FunctionDefinition, QueueDefinition, QueueSource, StreamSource
from sandbox.moto_bridge import (
    cloudformation_apigateway,
    cloudformation_change_sets,
    cloudformation_cloudwatch,
    cloudformation_events,
    cloudformation_kms,
    cloudformation_lambda,
    cloudformation_sns,
    cloudformation_stacks,
    instance_tracking,
    lambda_configuration,
    lambda_versions,
    resources,
)
from sandbox.moto_bridge.provisioned_concurrency import ProvisionedConcurrency
from sandbox.services.query_protocol import query_error
from sandbox.services.requests import DEFAULT_REGION, Addressee, addressee, operation

log = logging.getLogger(__name__)

Response = tuple[int, list[tuple[str, str]], bytes]

TEMPLATE_TYPES = (
    cloudformation_apigateway.ApiGatewayAccount,
    cloudformation_apigateway.ApiGatewayApiKey,
    cloudformation_apigateway.ApiGatewayMethod,
    cloudformation_apigateway.ApiGatewayStage,
    cloudformation_apigateway.ApiGatewayUsagePlan,
    cloudformation_apigateway.ApiGatewayUsagePlanKey,
    cloudformation_cloudwatch.CloudWatchAlarm,
    cloudformation_kms.KmsKey,
    cloudformation_lambda.TemplateAlias,
    cloudformation_lambda.TemplateFunction,
    cloudformation_lambda.TemplateVersion,
    cloudformation_sns.SnsSubscription,
)
"""Resource types that moto's CloudFormation finds by itself, because their classes exist."""

DEFAULT_ACCOUNT_CONCURRENCY = 1000
DEFAULT_UNRESERVED_MIN = 100
DEFAULT_GATEWAY_THROTTLE = (10_000.0, 5_000)
_GATEWAY_ACCOUNT = ("apigateway", "GET", "/account")
_ACCOUNT_SETTINGS = "/2016-08-19/account-settings"

_DEFINING_SERVICES = {"apigateway", "cloudformation", "events", "kinesis", "kms", "lambda", "sns", "sqs"}
_READING_VERBS = ("BatchGet", "Describe", "Estimate", "Get", "List", "Validate")


class MotoBridge:
    """moto's state, and moto's answers. Implements `sandbox.definitions.Definitions`.

    moto keeps its state in the process, not in an object: a new bridge begins with none, and there can be one at a
    time.
    """

    def __init__(
        self,
        account_concurrency: int = DEFAULT_ACCOUNT_CONCURRENCY,
        *,
        gateway_throttle: tuple[float, int] = DEFAULT_GATEWAY_THROTTLE,
        now: Callable[[], float] = time.time,
        function_update_s: float = 0.0,
        unreserved_concurrency_min: int = DEFAULT_UNRESERVED_MIN,
    ) -> None:
        """`account_concurrency`: the quota that GetAccountSettings tells; `gateway_throttle`: requests a second and
        bucket of all APIs together, as API Gateway's GetAccount tells them; `function_update_s`: how long a function is
        being updated, by the clock `now`; `unreserved_concurrency_min`: what provisioned concurrency has to leave of
        the account's."""
        self._account_concurrency = account_concurrency
        self._gateway_throttle = gateway_throttle
        cloudformation_apigateway.install()
        cloudformation_events.install()
        cloudformation_stacks.install()
        cloudformation_change_sets.install()
        instance_tracking.install()
        lambda_configuration.install()
        lambda_versions.install(now, function_update_s)
        self._application = DomainDispatcherApplication(create_backend_app)
        self.provisioned = ProvisionedConcurrency(
            self._function_in_region, _timestamp, self._unreserved, unreserved_concurrency_min
        )
        cloudformation_lambda.TemplateAlias.provisioned = self.provisioned
        self._generation = 0
        self._listeners: list[Callable[[], None]] = []
        self.reset()

    # ---------------------------------------------------------------- requests

    def handle(self, method: str, path: str, query_string: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer one request as AWS would -> (status, headers, body).

        `path` as it came, percent-encoded; `headers` with lower-case keys. What moto cannot do is answered
        501 NotImplemented, a bug in it 500 InternalFailure, each logged.
        """
        to = addressee(headers, query_string)
        response = self._gap(to, method, path, query_string, body) or self._ask_moto(
            method, path, query_string, headers, body
        )
        if to is not None and (to.service, method, path.rstrip("/")) == _GATEWAY_ACCOUNT and response[0] == 200:
            rate, burst = self._gateway_throttle
            account = orjson.loads(response[2]) | {"throttleSettings": {"rateLimit": rate, "burstLimit": burst}}
            response = (response[0], response[1], orjson.dumps(account))
        if _may_change_definitions(to, method, operation(headers, body)):
            self.changed()
        return response

    def changed(self) -> None:
        """Forget every cached answer: something may have changed."""
        self._generation += 1
        self._functions: dict[tuple[str, str | None], FunctionDefinition] = {}
        self._stages: dict[tuple[str | None, str], ApiStage] = {}
        self._subscriptions: dict[str, Sequence[tuple[str, str]]] = {}
        self._shards: dict[tuple[str, str | None], Sequence[resources.ShardRange]] = {}
        self._sources: Sequence[StreamSource] | None = None
        self._queues: dict[tuple[str, str], QueueDefinition] = {}
        self._queue_sources: Sequence[QueueSource] | None = None
        self._rules: dict[tuple[str, str], Sequence[EventRule]] = {}
        self._logical_names: dict[str, str] | None = None
        for listener in self._listeners:
            listener()

    def when_changed(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each rise of `generation`."""
        self._listeners.append(listener)

    def reset(self) -> None:
        """Delete every resource."""
        BackendDict.reset()
        self.provisioned.clear()
        self.changed()

    def _gap(self, to: Addressee | None, method: str, path: str, query_string: str, body: bytes) -> Response | None:
        """The answer of a call that moto lacks altogether, or None."""
        if to is None or to.service != "lambda":
            return None
        answer = self.provisioned.handle(method, path, query_string, body, to.region)
        if answer is None and method == "GET" and path.rstrip("/") == _ACCOUNT_SETTINGS:
            answer = 200, self._account_settings()
        if answer is None:
            return None
        status, document = answer
        headers = [("Content-Type", "application/json")]
        if "__type" in document:
            headers.append(("x-amzn-ErrorType", document.pop("__type")))
        return status, headers, b"" if status == 204 else orjson.dumps(document)

    def _account_settings(self) -> dict[str, Any]:
        """GetAccountSettings, which moto lacks: the concurrency part of it."""
        limits = {
            "ConcurrentExecutions": self._account_concurrency,
            "UnreservedConcurrentExecutions": self._account_concurrency - self.reserved_concurrency_total(),
        }
        return {"AccountLimit": limits}

    def _unreserved(self) -> int:
        """What no function has claimed of the account's concurrency."""
        provisioned = sum(n for function, n in self.provisioned_concurrency() if function.reserved_concurrency is None)
        return self._account_concurrency - self.reserved_concurrency_total() - provisioned

    def _ask_moto(self, method: str, path: str, query_string: str, headers: Mapping[str, str], body: bytes) -> Response:
        answer: list[Any] = []

        def start_response(status: str, response_headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            answer[:] = [int(status.split(" ", 1)[0]), response_headers]

        try:
            chunks = self._application(_environ(method, path, query_string, headers, body), start_response)
            try:
                content = b"".join(chunks)
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
        except NotImplementedError as error:
            log.warning("moto does not implement %s %s: %s", method, path, error)
            return _failure(headers, 501, "NotImplemented", f"The sandbox does not implement this call: {error}")
        except Exception as error:  # whatever goes wrong inside moto is one failed call, not the end of the sandbox
            log.exception("moto failed on %s %s", method, path)
            return _failure(headers, 500, "InternalFailure", f"The sandbox failed: {type(error).__name__}: {error}")
        if answer[0] == 404 and content.startswith(b"<!doctype html>"):  # no such path in any of moto's services
            return _failure(headers, 501, "NotImplemented", f"The sandbox does not implement {method} {path}")
        if answer[0] >= 400 and _is_query_protocol(headers) and content.startswith(b"{"):
            # the error of a service that speaks JSON, raised while CloudFormation created one of its resources
            refusal = orjson.loads(content)
            code = str(refusal.get("__type", "ValidationError")).rpartition("#")[2]
            return _failure(headers, answer[0], code, str(refusal.get("message", "")))
        return answer[0], answer[1], content

    # ---------------------------------------------------------------- definitions

    @property
    def generation(self) -> int:
        return self._generation

    def function(self, name: str, qualifier: str | None = None) -> FunctionDefinition | None:
        key = (name, qualifier)
        found = self._functions.get(key)
        if found is None:  # what does not exist is not remembered: there is no end of names
            found = resources.function(name, qualifier)
            if found is not None:
                self._functions[key] = found
        return found

    def _function_in_region(self, name: str, qualifier: str | None, region: str) -> FunctionDefinition | None:
        return resources.function(name, qualifier, region)

    def api_stage(self, api_id: str | None, stage: str) -> ApiStage | None:
        key = (api_id, stage)
        found = self._stages.get(key)
        if found is None:
            found = resources.api_stage(api_id, stage)
            if found is not None:
                self._stages[key] = found
        return found

    def subscribed_functions(self, topic_arn: str) -> Sequence[tuple[str, str]]:
        found = self._subscriptions.get(topic_arn)
        if found is None:
            found = resources.subscribed_functions(topic_arn)
            if found:
                self._subscriptions[topic_arn] = found
        return found

    def topic_exists(self, topic_arn: str) -> bool:
        return resources.topic_exists(topic_arn)

    def open_shards(self, stream_name: str, region: str | None = None) -> Sequence[resources.ShardRange] | None:
        """The open shards of a stream in the order of their hash ranges; None where there is no such stream."""
        key = (stream_name, region)
        found = self._shards.get(key)
        if found is None:
            found = resources.open_shards(stream_name, region)
            if found is not None:
                self._shards[key] = found
        return found

    def shard_count(self, stream_name: str) -> int | None:
        shards = self.open_shards(stream_name)
        return None if shards is None else len(shards)

    def stream_sources(self) -> Sequence[StreamSource]:
        if self._sources is None:
            self._sources = resources.stream_sources()
        return self._sources

    def queue(self, name: str, region: str) -> QueueDefinition | None:
        key = (name, region)
        found = self._queues.get(key)
        if found is None:
            found = resources.queue(name, region)
            if found is not None:
                self._queues[key] = found
        return found

    def queue_sources(self) -> Sequence[QueueSource]:
        if self._queue_sources is None:
            self._queue_sources = resources.queue_sources()
        return self._queue_sources

    def event_rules(self, bus: str, region: str) -> Sequence[EventRule] | None:
        key = (bus, region)
        found = self._rules.get(key)
        if found is None:
            found = resources.event_rules(bus, region)
            if found is not None:
                self._rules[key] = found
        return found

    def provisioned_concurrency(self) -> Sequence[tuple[FunctionDefinition, int]]:
        return self.provisioned.wanted()

    def reserved_concurrency_total(self) -> int:
        return resources.reserved_concurrency_total()

    def logical_name(self, physical_name: str) -> str:
        """`swarmscope-votes` -> `votes` where the stack `swarmscope` owns a resource of that name, else unchanged.

        `physical_name` is a function's, stream's, table's or topic's name, not its ARN.
        """
        if self._logical_names is None:
            self._logical_names = resources.logical_names()
        return self._logical_names.get(physical_name, physical_name)


def _may_change_definitions(to: Addressee | None, method: str, called: str | None) -> bool:
    if to is not None and to.service not in _DEFINING_SERVICES:
        return False
    if called is not None:
        return not called.startswith(_READING_VERBS)
    return method not in ("GET", "HEAD")


def _environ(method: str, path: str, query_string: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """A WSGI environment (PEP 3333) as moto's server makes one; RAW_URI keeps S3 keys with encoded slashes apart."""
    host = headers.get("host", f"localhost.{DEFAULT_REGION}.amazonaws.com")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "RAW_URI": f"{path}?{query_string}" if query_string else path,
        "QUERY_STRING": query_string,
        "SERVER_NAME": host.partition(":")[0],
        "SERVER_PORT": host.partition(":")[2] or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    environ["HTTP_HOST"] = host
    environ["CONTENT_LENGTH"] = str(len(body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    if "content-type" in headers:
        environ["CONTENT_TYPE"] = headers["content-type"]
    return environ


def _is_query_protocol(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def _failure(request_headers: Mapping[str, str], status: int, code: str, message: str) -> Response:
    """An error document in the caller's protocol."""
    if _is_query_protocol(request_headers):
        return status, [("Content-Type", "text/xml")], query_error(code, message)
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code)]
    return status, headers, orjson.dumps({"__type": code, "message": message})


def _timestamp() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
