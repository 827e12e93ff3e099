"""Who may call a method of a deployed API: AWS_IAM and API keys.

A signature is verified by botocore's own signer, against the one pair of keys the sandbox knows. What is answered:

- statuses and response types: AWS documentation, "Gateway response types for API Gateway": 403 for
  MISSING_AUTHENTICATION_TOKEN, INVALID_SIGNATURE and INVALID_API_KEY.
- messages: AWS re:Post, "How do I troubleshoot signature mismatch errors when making SigV4 signed requests with IAM
  authentication to API Gateway?"; those of expired signatures from answers in public bug reports (mhart/aws4 #118,
  cognitect-labs/aws-api #255).
- assumption: the response type of what is neither (an unknown key, an incomplete header) is DEFAULT_4XX.
- a denied call, with the account masked: answers in public bug reports (ASFHyP3/hyp3 #2283); expired credentials: AWS,
  "Common errors".

Not modelled: policies, session tokens, custom and Cognito authorizers, quotas and throttles of usage plans.
"""

from __future__ import annotations

import calendar
import hmac
import re
import time
from hashlib import sha256
from typing import TYPE_CHECKING

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from sandbox.api_requests import ApiRequest, GatewayError
from sandbox.calls import Call
from sandbox.definitions import ACCOUNT_ID

if TYPE_CHECKING:
    from sandbox.api_stages import CompiledRoute, DeployedStage
    from sandbox.permissions import Permissions

ACCESS_KEY = SECRET_KEY = "sandbox"
"""The pair of keys that signatures are verified with."""
AWS_IAM = "AWS_IAM"
CLOCK_TOLERANCE_S = 300
"""AWS documentation, "Create a signed AWS API request": a request must come within five minutes of its time stamp."""

MISSING_TOKEN = GatewayError(
    403, "Missing Authentication Token", "MissingAuthenticationTokenException", "MISSING_AUTHENTICATION_TOKEN"
)
_NO_KEY = GatewayError(403, "Forbidden", "ForbiddenException", "INVALID_API_KEY")
_UNKNOWN_CALLER = GatewayError(
    403, "The security token included in the request is invalid.", "UnrecognizedClientException", "DEFAULT_4XX"
)
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_AUTHORIZATION = re.compile(r"(\w+)=([^,\s]+)")
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"


def refusal(
    stage: DeployedStage, route: CompiledRoute, request: ApiRequest, permissions: Permissions, now: float
) -> GatewayError | None:
    """Why a request may not pass; None where it may. `now`: epoch seconds."""
    if route.route.authorization_type == AWS_IAM:
        refused = _unsigned(request, stage.region, now) or _denied(stage, request, permissions)
        if refused is not None:
            return refused
    if route.route.api_key_required:
        given = _header(request, b"x-api-key")
        if given is None or given not in stage.definition.api_keys:
            return _NO_KEY
    return None


def _denied(stage: DeployedStage, request: ApiRequest, permissions: Permissions) -> GatewayError | None:
    """What the caller's permissions lack; None where nothing."""
    api = f"{stage.definition.api_id}/{stage.definition.stage}/{request.method}{request.path}"
    arn = f"arn:aws:execute-api:{stage.region}:{ACCOUNT_ID}:{api}"
    refused = permissions.refusal(Call("execute-api", "Invoke", "execute-api:Invoke", arn, "rest-json"))
    if refused is None:
        return None
    if refused.expired:
        return GatewayError(403, refused.message, "ExpiredTokenException", "EXPIRED_TOKEN")
    masked = refused.message.replace(f":{ACCOUNT_ID}:{api}", f":********{ACCOUNT_ID[-4:]}:{api}")
    return GatewayError(403, masked, "AccessDeniedException", "ACCESS_DENIED")


def _unsigned(request: ApiRequest, region: str, now: float) -> GatewayError | None:
    """What is wrong with a request's signature; None where nothing is."""
    authorization = _header(request, b"authorization")
    if authorization is None:
        return MISSING_TOKEN
    parts = dict(_AUTHORIZATION.findall(authorization)) if authorization.startswith("AWS4-HMAC-SHA256 ") else {}
    at = _header(request, b"x-amz-date")
    lacking = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if name not in parts
    ]
    if at is None:
        lacking.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if at is None or lacking:
        return GatewayError(403, " ".join(lacking), "IncompleteSignatureException", "DEFAULT_4XX")
    access_key, *scope = parts["Credential"].split("/")
    if access_key != ACCESS_KEY:
        return _UNKNOWN_CALLER
    if scope != [at[:8], region, "execute-api", "aws4_request"]:
        return _invalid(f"Credential should be scoped to {at[:8]}/{region}/execute-api/aws4_request.")
    try:
        signed_at = calendar.timegm(time.strptime(at, _TIME_FORMAT))
    except ValueError:
        return _invalid(f"Date in X-Amz-Date is not in the form {_TIME_FORMAT}.")
    if signed_at < now - CLOCK_TOLERANCE_S:
        earliest = f"{_stamp(now - CLOCK_TOLERANCE_S)} ({_stamp(now)} - 5 min.)"
        return _invalid(f"Signature expired: {at} is now earlier than {earliest}")
    if signed_at > now + CLOCK_TOLERANCE_S:
        latest = f"{_stamp(now + CLOCK_TOLERANCE_S)} ({_stamp(now)} + 5 min.)"
        return _invalid(f"Signature not yet current: {at} is still later than {latest}")
    expected = _signature(request, at, parts["SignedHeaders"].split(";"), region)
    return None if hmac.compare_digest(expected, parts["Signature"].encode()) else _invalid(_MISMATCH)


def _signature(request: ApiRequest, at: str, signed_headers: list[str], region: str) -> bytes:
    """The signature that the request should carry, by botocore."""
    query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
    host = _header(request, b"host") or ""
    sent = AWSRequest(request.method, f"http://{host}{request.sent_path}{query}", data=request.body)
    for name, value in request.headers:
        if (text := name.decode("latin-1")) in signed_headers:
            sent.headers.add_header(text, value.decode("latin-1"))
    sent.context["timestamp"] = at
    if "x-amz-content-sha256" in sent.headers:
        # A digest that is not the body's own counts for nothing.
        sent.headers.replace_header("x-amz-content-sha256", sha256(request.body).hexdigest())
    signer = SigV4Auth(ReadOnlyCredentials(ACCESS_KEY, SECRET_KEY, None), "execute-api", region)
    text = signer.string_to_sign(sent, signer.canonical_request(sent))
    return str(signer.signature(text, sent)).encode()


def _header(request: ApiRequest, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in request.headers if name == wanted), None)


def _invalid(message: str) -> GatewayError:
    return GatewayError(403, message, "InvalidSignatureException", "INVALID_SIGNATURE")


def _stamp(at: float) -> str:
    return time.strftime(_TIME_FORMAT, time.gmtime(at))
