"""The Invoke call of the Lambda API on the wire.

`POST /2015-03-31/functions/{name|arn|partial arn}/invocations?Qualifier=` (AWS documentation, API_Invoke).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, unquote

import orjson

from sandbox.definitions import ACCOUNT_ID, Definitions
from sandbox.functions import LambdaService
from sandbox.identifiers import is_uuid
from sandbox.invoke_results import InvokeResult, invalid_request_content, refusal, too_large
from sandbox.model.parameters import LambdaParameters
from sandbox.services.requests import DEFAULT_REGION, addressee
from sandbox.truth import Truth

INVOCATION_TYPES = ("Event", "RequestResponse", "DryRun")
_PATH = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")

Response = tuple[int, list[tuple[bytes, bytes]], bytes]


def invoked_function(path: str) -> str | None:
    """The function name, ARN or partial ARN of an Invoke call's path; None for any other path."""
    found = _PATH.fullmatch(path)
    return unquote(found.group(1)) if found else None


class InvokeApi:
    """Answers Invoke calls."""

    def __init__(
        self, functions: LambdaService, definitions: Definitions, parameters: LambdaParameters, truth: Truth
    ) -> None:
        self._functions = functions
        self._definitions = definitions
        self._parameters = parameters
        self._truth = truth

    def handle(
        self,
        name: str,
        query_string: str,
        headers: Mapping[str, str],
        body: bytes,
        on_done: Callable[[Response], None],
    ) -> None:
        """One call. `headers` with lower-case names."""

        def answer(result: InvokeResult) -> None:
            self._truth.invoke_answered(result.status)
            on_done(_response(result))

        request_id = headers.get("x-amzn-requestid") or self._functions.new_request_id()
        if not is_uuid(request_id):
            message = f"Value {request_id!r} of x-amzn-RequestId is not a UUID"
            return answer(refusal(400, "InvalidParameterValueException", message, self._functions.new_request_id()))
        kind = headers.get("x-amz-invocation-type") or "RequestResponse"
        if kind not in INVOCATION_TYPES:
            message = (
                f"1 validation error detected: Value '{kind}' at 'invocationType' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{', '.join(INVOCATION_TYPES)}]"
            )
            return answer(refusal(400, "InvalidParameterValueException", message, request_id))
        qualifier = parse_qs(query_string).get("Qualifier", [None])[0] if query_string else None
        function = self._definitions.function(name, qualifier)
        if function is None:
            return answer(refusal(404, "ResourceNotFoundException", _not_found(name, qualifier, headers), request_id))
        if kind == "DryRun":
            return answer(InvokeResult(204, b"", None, None, request_id))
        if kind == "RequestResponse":
            return self._functions.invoke(
                function,
                body,
                answer,
                trace_header=headers.get("x-amzn-trace-id"),
                request_id=request_id,
                log_tail=headers.get("x-amz-log-type") == "Tail",
            )
        limit = self._parameters.async_payload_max_bytes
        if len(body) > limit:
            return answer(too_large(len(body), limit, request_id, kind))
        try:
            orjson.loads(body or b"{}")
        except orjson.JSONDecodeError as error:
            return answer(invalid_request_content(error, request_id))
        trace_header = headers.get("x-amzn-trace-id")
        self._functions.invoke_async(function, body, trace_header=trace_header, request_id=request_id)
        return answer(InvokeResult(202, b"", None, None, request_id))


def _not_found(name: str, qualifier: str | None, headers: Mapping[str, str]) -> str:
    to = addressee(headers)
    region = to.region if to else DEFAULT_REGION
    arn = name if name.startswith("arn:") else f"arn:aws:lambda:{region}:{ACCOUNT_ID}:function:{name}"
    return f"Function not found: {arn}" + (f":{qualifier}" if qualifier else "")


def _response(result: InvokeResult) -> Response:
    headers = [(b"x-amzn-requestid", result.request_id.encode("latin-1"))]
    if result.payload:
        headers.append((b"content-type", b"application/json"))
    if result.error_code is not None:
        headers.append((b"x-amzn-errortype", result.error_code.encode("latin-1")))
    if result.retry_after_s is not None:
        headers.append((b"retry-after", str(result.retry_after_s).encode("latin-1")))
    if result.executed_version is not None:
        headers.append((b"x-amz-executed-version", result.executed_version.encode("latin-1")))
    if result.function_error is not None:
        headers.append((b"x-amz-function-error", result.function_error.encode("latin-1")))
    if result.log_tail is not None:
        headers.append((b"x-amz-log-result", base64.b64encode(result.log_tail)))
    return result.status, headers, result.payload
