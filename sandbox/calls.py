"""Which call of which AWS API a request is, and which IAM action on which resource it needs.

    identify("PUT", "/2015-03-31/functions/f/configuration", "", headers, b"{}")
    -> Call("lambda", "UpdateFunctionConfiguration", "lambda:UpdateFunctionConfiguration",
            ("arn:aws:lambda:eu-west-1:123456789012:function:f",), "rest-json")

Operations of the JSON and query protocols stand in the request. Those of REST protocols follow from method, path and
query, by botocore's own description of the service.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.exceptions import UnknownServiceError
from botocore.loaders import Loader

from sandbox.definitions import ACCOUNT_ID
from sandbox.services.requests import DEFAULT_REGION, addressee, operation

_IAM_PREFIXES = {"monitoring": "cloudwatch", "tagging": "tag", "email": "ses"}
"""Signing name -> what the service's actions begin with, where the two differ."""

_ACTIONS = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "lambda:InvokeAsync": "lambda:InvokeFunction",
    "lambda:InvokeWithResponseStream": "lambda:InvokeFunction",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjects": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:HeadObject": "s3:GetObject",
    "s3:CopyObject": "s3:PutObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "sns:PublishBatch": "sns:Publish",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
}
"""Calls that are authorized by an action of another name. Source: AWS, Service Authorization Reference; every other
call needs the action of its own name, but those of API Gateway, whose actions are HTTP methods."""

_UNGUARDED = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})
"""Calls that no policy can deny (AWS, STS API reference)."""

_BUSES = "event buses"
_RESOURCES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "kinesis": (("StreamARN", "{}"), ("StreamName", "arn:aws:kinesis:{region}:{account}:stream/{}")),
    "sqs": (("QueueUrl", "arn:aws:sqs:{region}:{account}:{name}"), ("QueueName", "arn:aws:sqs:{region}:{account}:{}")),
    "sns": (("TopicArn", "{}"),),
    "dynamodb": (("TableName", "arn:aws:dynamodb:{region}:{account}:table/{}"),),
    "kms": (("KeyId", "arn:aws:kms:{region}:{account}:key/{}"),),
    "events": (
        ("EventBusName", "arn:aws:events:{region}:{account}:event-bus/{}"),
        ("Name", "arn:aws:events:{region}:{account}:rule/{}"),
    ),
    "logs": tuple(
        (parameter, "arn:aws:logs:{region}:{account}:log-group:{}:*")
        for parameter in ("logGroupName", "logGroupNames", "logGroupIdentifiers")
    ),
    "monitoring": (
        ("AlarmName", "arn:aws:cloudwatch:{region}:{account}:alarm:{}"),
        ("AlarmNames", "arn:aws:cloudwatch:{region}:{account}:alarm:{}"),
    ),
    "cloudformation": (("StackName", "arn:aws:cloudformation:{region}:{account}:stack/{}/*"),),
    "iam": (("RoleName", "arn:aws:iam::{account}:role/{}"), ("PolicySourceArn", "{}")),
    _BUSES: (("Name", "arn:aws:events:{region}:{account}:event-bus/{}"),),
}
"""Service, or _BUSES -> parameters that name the resource, and its ARN ({name}: what follows the last slash)."""


@dataclass(frozen=True)
class Call:
    """One call of an AWS API."""

    service: str
    """Signing name: `lambda`, `monitoring`."""
    operation: str
    """As AWS names it; `GET /path` for a REST service that botocore does not know."""
    action: str | None
    """The IAM action that allows it; None where none is needed."""
    resource: str
    """ARN of the resource, `*` where the call names none."""
    protocol: str
    """`json`, `query`, `rest-json` or `rest-xml`."""


def identify(method: str, path: str, query_string: str, headers: Mapping[str, str], body: bytes) -> Call | None:
    """The call that a signed request is; None for a request without a signature.

    `path` percent-encoded, `headers` with lower-case keys.
    """
    to = addressee(headers, query_string)
    if to is None:
        return None
    called = operation(headers, body)
    if called is not None:
        protocol = "json" if "x-amz-target" in headers else "query"
        # A `Name` is a rule's anywhere else.
        named = _BUSES if to.service == "events" and called.endswith("EventBus") else to.service
        return _call(to.service, called, _named_resource(named, to.region, protocol, body), protocol)
    called, protocol = _rest_operation(to.service, method, path, query_string, headers)
    resource = _resource_of_path(to.service, to.region, path)
    if called == "DeleteObjects":
        resource += "/*"  # which ones is in the body
    return _call(to.service, called, resource, protocol)


def invocation(function: str, region: str) -> Call:
    """The Invoke call of a function, named in any of the ways of the Lambda API."""
    return Call("lambda", "Invoke", "lambda:InvokeFunction", _function_arn(function, region), "rest-json")


def _call(service: str, called: str, resource: str, protocol: str) -> Call:
    return Call(service, called, _action(service, called), resource, protocol)


@lru_cache(1000)
def _action(service: str, called: str) -> str | None:
    if service == "apigateway":
        return f"apigateway:{called.partition(' ')[0]}"
    action = f"{_IAM_PREFIXES.get(service, service)}:{called}"
    return None if action in _UNGUARDED else _ACTIONS.get(action, action)


# ---------------------------------------------------------------- REST operations


def _rest_operation(
    service: str, method: str, path: str, query_string: str, headers: Mapping[str, str]
) -> tuple[str, str]:
    """-> (operation, protocol). API Gateway's are told as `PATCH /restapis/...`: its IAM actions are the methods."""
    if service == "apigateway":
        return f"{method} {path}", "rest-json"
    protocol, routes = _routes(service)
    query = parse_qs(query_string, keep_blank_values=True)
    trimmed = path.rstrip("/") or "/"
    for route in routes:
        if route.method == method and route.path.fullmatch(trimmed) and route.needs(query, headers):
            return route.operation, protocol
    return f"{method} {path}", protocol


@dataclass(frozen=True)
class _Route:
    """How one operation of a REST service is asked for."""

    operation: str
    method: str
    path: re.Pattern[str]
    query: Mapping[str, str | None]
    """Parameters that must be there, with their value where it is fixed."""
    headers: frozenset[str]
    """Headers that must be there."""

    def needs(self, query: Mapping[str, list[str]], headers: Mapping[str, str]) -> bool:
        return all(
            name in query and (value is None or query[name] == [value]) for name, value in self.query.items()
        ) and all(name in headers for name in self.headers)


@lru_cache(20)
def _routes(service: str) -> tuple[str, list[_Route]]:
    """The protocol of a REST service, and its operations, the most demanding first."""
    try:
        model = Loader().load_service_model(service, "service-2")
    except UnknownServiceError:
        return "rest-json", []
    routes = [_route(name, told, model["shapes"]) for name, told in model["operations"].items()]
    routes.sort(key=lambda route: (-len(route.query) - len(route.headers), "+" in route.path.pattern, route.operation))
    return str(model["metadata"]["protocol"]), routes


def _route(name: str, told: Mapping[str, Any], shapes: Mapping[str, Any]) -> _Route:
    path, _, fixed = told["http"]["requestUri"].partition("?")
    pattern = "".join(
        (".+" if part.endswith("+}") else "[^/]+") if part.startswith("{") else re.escape(part)
        for part in re.split(r"(\{[^}]+\})", path.rstrip("/") or "/")
    )
    query: dict[str, str | None] = {key: values[0] or None for key, values in parse_qs(fixed, True).items()}
    query.pop("x-id", None)  # says nothing but the operation's name, and not every SDK sends it
    headers = set()
    shape = shapes[told["input"]["shape"]] if "input" in told else {}
    for required in shape.get("required", ()):
        member = shape["members"][required]
        if member.get("location") == "querystring":
            query[member["locationName"]] = None
        elif member.get("location") == "header":
            headers.add(member["locationName"].lower())
    return _Route(name, told["http"]["method"], re.compile(pattern), query, frozenset(headers))


# ---------------------------------------------------------------- resources


def _resource_of_path(service: str, region: str, path: str) -> str:
    parts = unquote(path).strip("/").split("/")
    if service == "s3":
        return f"arn:aws:s3:::{'/'.join(parts)}" if parts != [""] else "*"
    if service == "lambda" and parts[1:2] == ["functions"] and len(parts) > 2:
        return _function_arn(parts[2], region)
    if service == "apigateway":
        # IAM knows no version of the API in what it guards.
        return f"arn:aws:apigateway:{region}::/{'/'.join(parts[1:] if parts[0] == 'v2' else parts)}"
    return "*"


def _function_arn(function: str, region: str) -> str:
    """Of a function's name, ARN or partial ARN, without its qualifier."""
    parts = function.split(":")
    name = parts[parts.index("function") + 1] if "function" in parts[:-1] else parts[0]
    return f"arn:aws:lambda:{region or DEFAULT_REGION}:{ACCOUNT_ID}:function:{name}"


def _named_resource(service: str, region: str, protocol: str, body: bytes) -> str:
    for parameter, arn in _RESOURCES.get(service, ()):
        found = _FINDERS[protocol](parameter).search(body)
        if found is not None:
            value = found[1].decode(errors="replace")
            value = unquote(value.replace("+", " ")) if protocol == "query" else value
            if value.startswith("arn:"):
                return value
            return arn.format(value, name=value.rpartition("/")[2], region=region, account=ACCOUNT_ID)
    return "*"


@lru_cache(100)
def _in_json(parameter: str) -> re.Pattern[bytes]:
    """The parameter's value, or the first of a list; a search, because bodies may be large and this is not parsing."""
    return re.compile(rb'"%b"\s*:\s*\[?\s*"([^"\\]+)"' % parameter.encode())


@lru_cache(100)
def _in_form(parameter: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?:^|&)%b=([^&]+)" % parameter.encode())


_FINDERS: Mapping[str, Callable[[str], re.Pattern[bytes]]] = {"json": _in_json, "query": _in_form}
