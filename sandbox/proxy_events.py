"""What a Lambda proxy integration sends to a function and takes from it: payload format 1.0.

AWS documentation: set-up-lambda-proxy-integrations.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import orjson

from sandbox.api_requests import OpenRequest
from sandbox.api_stages import CompiledRoute
from sandbox.definitions import ACCOUNT_ID


def proxy_event(
    call: OpenRequest, route: CompiledRoute, path_parameters: dict[str, str] | None, request_time: str
) -> bytes:
    """The event as JSON. `request_time` is the time of reception in the common log format."""
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
                "requestTime": request_time,
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


def proxy_response(payload: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
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
    headers = _headers(result)
    if headers is None:
        return None
    return status, headers, b"" if body is None else body.encode("utf-8")


def _headers(result: dict[str, Any]) -> list[tuple[bytes, bytes]] | None:
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
