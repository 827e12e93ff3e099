"""What counts as a failure: an answer goes in, the reason comes out, empty where there is none.

Reasons are the same for every request that fails in the same way, so that they can be counted; but for what a
function says of its own failure.

    all_of(success_status, has("$.sequence_number"), no_error_member)

Of several checks the first that fails names the request's error; those after it are not asked. A status that fails
keeps HTTP's own words (`HTTP 502 Bad Gateway`); every other check is named by what it asks for
(`check failed: body has $.sequence_number`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import jsonpath_rfc9535
import orjson

from config.timespans import format_timespan
from loadgen.transport import Response
from runstore.columns import CHECK_FAILED

Check = Callable[[Response], str]

ACCEPTED_STATUS = {"RequestResponse": 200, "Event": 202, "DryRun": 204}
"""Invocation type -> the status of an Invoke that Lambda took (AWS documentation, "Invoke")."""

FUNCTION_ERROR = "FunctionError "
"""How the reason begins where a function failed: the rest is `Handled` or `Unhandled`, and its own words."""

_ERROR_MEMBERS = frozenset(("error", "errors", "errorMessage", "errorType"))
_WORDS_CHARACTERS = 200
_MEMBERS = re.compile(r"\$((?:\.[A-Za-z_][A-Za-z0-9_]*)+)")
"""A JSONPath of member names alone."""


def all_of(*checks: Check) -> Check:
    """All of them, in order: the first reason is the answer's."""

    def first_reason(response: Response) -> str:
        for check in checks:
            if reason := check(response):
                return reason
        return ""

    return first_reason


def named(name: str, holds: Callable[[Response], bool]) -> Check:
    """A check whose reason is its own name: `check failed: <name>`."""
    reason = CHECK_FAILED + name
    return lambda response: "" if holds(response) else reason


def success_status(response: Response) -> str:
    """Every status but 2xx is a failure: `HTTP 502 Bad Gateway`."""
    return "" if 200 <= response.status < 300 else _said(response)


def status_in(*statuses: int) -> Check:
    """Every status but these is a failure: `HTTP 502 Bad Gateway`; one of 2xx is `check failed: status is 201`."""
    accepted = frozenset(statuses)
    reason = f"{CHECK_FAILED}status is {' or '.join(map(str, sorted(accepted)))}"

    def refusal(response: Response) -> str:
        if response.status in accepted:
            return ""
        return success_status(response) or reason

    return refusal


def has(path: str) -> Check:
    """The body is JSON in which `path` (JSONPath, RFC 9535) finds something, be it null. Raises ValueError."""
    find, reason = json_path(path), f"{CHECK_FAILED}body has {path}"
    return lambda response: "" if find(response.json()) else reason


def equals(path: str, expected: Any) -> Check:
    """The first that `path` finds in the body is `expected`: of the same JSON type, too. Raises ValueError."""
    find = json_path(path)

    def holds(response: Response) -> bool:
        found = find(response.json())
        return bool(found) and found[0] == expected and isinstance(found[0], bool) == isinstance(expected, bool)

    return named(f"{path} is {orjson.dumps(expected).decode()}", holds)


def matches(path: str, pattern: str) -> Check:
    """The first that `path` finds in the body is a string in which the regular expression is found.

    Raises ValueError.
    """
    find = json_path(path)
    try:
        expression = re.compile(pattern)
    except re.error as malformed:
        raise ValueError(f"{pattern!r} is not a regular expression: {malformed}") from None

    def holds(response: Response) -> bool:
        found = find(response.json())
        return bool(found) and isinstance(found[0], str) and expression.search(found[0]) is not None

    return named(f"{path} matches {pattern}", holds)


def no_error_member(response: Response) -> str:
    """The body is no JSON object with a member `error`, `errors`, `errorMessage` or `errorType` that says something.

    null, false, an empty string, list or object say nothing.
    """
    document = response.json()
    if not isinstance(document, dict) or _ERROR_MEMBERS.isdisjoint(document):
        return ""
    if any(document.get(member) for member in _ERROR_MEMBERS):
        return f"{CHECK_FAILED}no error member"
    return ""


def under(limit_s: float) -> Check:
    """The answer was there, whole, in less than so many seconds."""
    limit_ms = limit_s * 1000.0
    return named(
        f"time under {format_timespan(limit_s)}",
        lambda response: response.elapsed_ms is not None and response.elapsed_ms < limit_ms,
    )


def json_path(path: str) -> Callable[[Any], list[Any]]:
    """What finds `path` (JSONPath, RFC 9535) in a JSON document: all values there. Raises ValueError.

    Paths of names alone, as most are, are walked here: a fifth of the library's time.
    """
    if members := _MEMBERS.fullmatch(path):
        names = members[1][1:].split(".")

        def walk(document: Any) -> list[Any]:
            for name in names:
                if not isinstance(document, dict) or name not in document:
                    return []
                document = document[name]
            return [document]

        return walk
    try:
        query = jsonpath_rfc9535.compile(path)
    except jsonpath_rfc9535.JSONPathError as malformed:
        raise ValueError(f"{path!r} is not a JSONPath (RFC 9535): {malformed}") from None
    return lambda document: query.find(document).values()


def invoke_failure(response: Response, accepted_status: int = 200) -> str:
    """Why an Invoke failed: refused (with the reason of a throttle), or run and failed (with the exception).

    AWS documentation, "Invoke": a failed function answers 200 with X-Amz-Function-Error (`Unhandled` or `Handled`) and
    a payload with errorType and errorMessage.
    """
    if response.status != accepted_status:
        reason = _json_object(response).get("Reason")
        return success_status(response) + (f" ({_brief(reason)})" if reason else "") or f"HTTP {response.status}"
    function_error = response.headers.get("x-amz-function-error")
    if function_error is None:
        return ""
    raised = _json_object(response)
    parts = [function_error, raised.get("errorType"), raised.get("errorMessage")]
    return FUNCTION_ERROR + ": ".join(_brief(part) for part in parts if part)


def proxy_status_200(response: Response) -> str:
    """A function written for API Gateway answers 200 whatever happened; its verdict is the payload's statusCode."""
    status = _json_object(response).get("statusCode")
    return "" if status == 200 else f"payload statusCode {_brief(status)}"


def _said(response: Response) -> str:
    """A status in HTTP's words, and the exception's name where the answer has it."""
    status = response.status
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    error_type = _error_type(response)
    return f"HTTP {status}{phrase}" + (f": {error_type}" if error_type else "")


def _brief(said: object) -> str:
    """What somebody else put into a payload: the start of its first line."""
    return str(said).strip().partition("\n")[0][:_WORDS_CHARACTERS]


def _error_type(response: Response) -> str:
    """The exception's name: `x-amzn-ErrorType: TooManyRequestsException:http://...` -> its first part.

    Some services put their namespace before it: `com.amazonaws.sqs#QueueDoesNotExist`.
    """
    return response.headers.get("x-amzn-errortype", "").partition(":")[0].rpartition("#")[2]


def _json_object(response: Response) -> dict[str, Any]:
    """The JSON object in a body, empty where it is none."""
    value = response.json()
    return value if isinstance(value, dict) else {}
