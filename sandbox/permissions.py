"""What a caller from outside may do: everything, but for what the faults deny. And what callers did.

The sandbox has no policies. It can be told to deny actions and to take credentials for expired (`sandbox.faults`), and
answers as each service does, whether it is one of ours or moto's.

Forms and codes: the protocols' specifications (https://smithy.io/2.0/aws/protocols/); statuses: AWS, "Common errors"
(403), and 400 for services that speak JSON (answers of Kinesis Firehose and CloudWatch Logs in public bug reports,
guardian/kinesis-logback-appender #21, kdgregory/log4j-aws-appenders #176); for S3 "Error responses" of its API
reference (AccessDenied 403, ExpiredToken 400), for SNS AuthorizationError 403 (its API reference).
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import orjson

from sandbox.calls import Call
from sandbox.definitions import ACCOUNT_ID
from sandbox.faults import ExpireCredentials, Faults
from sandbox.services.query_protocol import members, parse_form, query_error, query_response

CALLER = f"arn:aws:iam::{ACCOUNT_ID}:user/sandbox"
_IAM = "https://iam.amazonaws.com/doc/2010-05-08/"
CALLS_KEPT = 10_000
"""Different calls; of those beyond, the resource is not kept."""

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


@dataclass(frozen=True)
class Refusal:
    """Why a call is not allowed."""

    expired: bool
    """The credentials; else the permission is missing."""
    message: str


class Permissions:
    """Decides about each call from outside, and remembers it."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.reset()

    def reset(self) -> None:
        """Forget the calls."""
        self._calls: Counter[tuple[str, str, str | None, str]] = Counter()
        self._refused: Counter[tuple[str, str, str | None, str]] = Counter()

    def refusal(self, call: Call) -> Refusal | None:
        """Why this call may not be made; None where it may."""
        key = (call.service, call.operation, call.action, call.resource)
        if len(self._calls) >= CALLS_KEPT and key not in self._calls:
            key = (call.service, call.operation, call.action, "*")
        self._calls[key] += 1
        fault = self._faults.caller(call.action, call.resource)
        if fault is None:
            return None
        self._refused[key] += 1
        if isinstance(fault, ExpireCredentials):
            return Refusal(expired=True, message="The security token included in the request is expired")
        message = (
            f"User: {CALLER} is not authorized to perform: {call.action} on resource: {call.resource} "
            f"because no identity-based policy allows the {call.action} action"
        )
        return Refusal(expired=False, message=message)

    def simulate(self, body: bytes) -> Answer:
        """IAM's SimulatePrincipalPolicy, of whatever principal: what the calls themselves would be told.

        https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
        """
        form = parse_form(body)
        results = ""
        for action in members(form.get("ActionNames")):
            for resource in members(form.get("ResourceArns")) or ["*"]:
                decision = "implicitDeny" if self._faults.denies(action, resource) else "allowed"
                results += (
                    f"<member><EvalActionName>{escape(action)}</EvalActionName>"
                    f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
                    f"<EvalDecision>{decision}</EvalDecision></member>"
                )
        content = f"<IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>"
        document = query_response("SimulatePrincipalPolicy", _IAM, content, str(uuid.uuid4()))
        return 200, [(b"content-type", b"text/xml")], document

    def calls(self) -> list[dict[str, Any]]:
        """Every call so far, those alike together: `service`, `operation`, `action` (None: needs no permission),
        `resource`, `count`, and how many of them were `refused`."""
        names = ("service", "operation", "action", "resource")
        return [
            dict(zip(names, key, strict=True)) | {"count": count, "refused": self._refused[key]}
            for key, count in sorted(self._calls.items(), key=lambda item: [str(part) for part in item[0]])
        ]


def answer(refusal: Refusal, call: Call) -> Answer:
    """The refusal in the form of the service's protocol."""
    code, status, message = _code(refusal, call), 403, refusal.message
    request_id = str(uuid.uuid4())
    if call.protocol == "query":
        return status, [(b"content-type", b"text/xml")], query_error(code, message, sender_fault=True)
    if call.protocol == "rest-xml":
        if refusal.expired:
            status, message = 400, "The provided token has expired."
        document = (
            f"<Error><Code>{code}</Code><Message>{escape(message)}</Message><RequestId>{request_id}</RequestId></Error>"
        )
        headers = [(b"content-type", b"application/xml"), (b"x-amz-request-id", request_id.encode())]
        return status, headers, document.encode()
    headers = [(b"x-amzn-requestid", request_id.encode()), (b"x-amzn-errortype", code.encode())]
    if call.protocol == "json":
        headers.append((b"content-type", b"application/x-amz-json-1.1"))
        return 400, headers, orjson.dumps({"__type": code, "message": message})
    headers.append((b"content-type", b"application/json"))
    return status, headers, orjson.dumps({"message": message})


def _code(refusal: Refusal, call: Call) -> str:
    short = call.protocol in ("query", "rest-xml")
    if refusal.expired:
        return "ExpiredToken" if short else "ExpiredTokenException"
    if call.service == "sns":
        return "AuthorizationError"
    return "AccessDenied" if short else "AccessDeniedException"
