"""API Gateway's access log: a stage's template with `$context` variables, rendered per request.

Variables from AWS documentation (api-gateway-variables-for-access-logging). Values are put in as they are, without
quoting; what has no value is `-`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from sandbox.definitions import ACCOUNT_ID

if TYPE_CHECKING:
    from sandbox.api_requests import OpenRequest

_VARIABLE = re.compile(r"\$context\.[A-Za-z][A-Za-z0-9.]*[A-Za-z0-9]|\$context\.[A-Za-z]")


def _integration_latency(call: OpenRequest) -> int | None:
    if call.sent_at is None:
        return None
    served_at = call.responded_at if call.served_at is None else call.served_at
    return round((served_at - call.sent_at) * 1000)


def _integration_status(call: OpenRequest) -> int | None:
    """The status the function's own code answered with."""
    if call.integration_status != 200 or call.error is not None:
        return None
    return call.status


def _clf(at: float) -> str:
    return f"{datetime.fromtimestamp(int(at), UTC):%d/%b/%Y:%H:%M:%S} +0000"


_Value = Callable[["OpenRequest"], Any]

_LAMBDA_REQUEST_ID: _Value = lambda call: call.lambda_request_id  # noqa: E731
_INTEGRATION_ERROR: _Value = lambda call: call.integration_error  # noqa: E731
_LAMBDA_STATUS: _Value = lambda call: call.integration_status  # noqa: E731

VARIABLES: dict[str, _Value] = {
    "accountId": lambda call: ACCOUNT_ID,
    "apiId": lambda call: call.stage.definition.api_id,
    "awsEndpointRequestId": _LAMBDA_REQUEST_ID,
    "domainName": lambda call: call.stage.domain,
    "domainPrefix": lambda call: call.stage.definition.api_id,
    "error.message": lambda call: call.error and call.error.message,
    "error.messageString": lambda call: call.error and orjson.dumps(call.error.message).decode(),
    "error.responseType": lambda call: call.error and call.error.response_type,
    "extendedRequestId": lambda call: call.extended_request_id,
    "httpMethod": lambda call: call.request.method,
    "identity.sourceIp": lambda call: call.request.source_ip,
    "identity.userAgent": lambda call: call.user_agent,
    "integration.error": _INTEGRATION_ERROR,
    "integration.integrationStatus": _LAMBDA_STATUS,
    "integration.latency": _integration_latency,
    "integration.requestId": _LAMBDA_REQUEST_ID,
    "integration.status": _integration_status,
    "integration.timeToFirstContent": _integration_latency,
    "integrationErrorMessage": _INTEGRATION_ERROR,
    "integrationLatency": _integration_latency,
    "integrationStatus": _LAMBDA_STATUS,
    "path": lambda call: f"/{call.stage.definition.stage}{call.request.path}",
    "protocol": lambda call: "HTTP/1.1",
    "requestId": lambda call: call.logged_request_id,
    "requestTime": lambda call: _clf(call.received_at),
    "requestTimeEpoch": lambda call: int(call.received_at * 1000),
    "resourceId": lambda call: call.route and call.route.resource_id,
    "resourcePath": lambda call: call.route and call.route.route.path,
    "responseLatency": lambda call: round((call.responded_at - call.received_at) * 1000),
    "responseLength": lambda call: call.response_length,
    "stage": lambda call: call.stage.definition.stage,
    "status": lambda call: call.status,
    "xrayTraceId": lambda call: call.trace_root,
}


class AccessLogTemplate:
    """A compiled access log format. A variable that API Gateway knows and we do not render is `-`, as there."""

    def __init__(self, template: str) -> None:
        self._format = ""
        self._values: list[_Value] = []
        position = 0
        for found in _VARIABLE.finditer(template):
            value = VARIABLES.get(found.group()[len("$context.") :], _absent)
            self._format += template[position : found.start()].replace("%", "%%") + "%s"
            self._values.append(value)
            position = found.end()
        self._format += template[position:].replace("%", "%%")

    def render(self, call: OpenRequest) -> str:
        """The line of one answered request."""
        return self._format % tuple(["-" if (value := of(call)) is None else value for of in self._values])


def _absent(call: OpenRequest) -> None:
    return None
