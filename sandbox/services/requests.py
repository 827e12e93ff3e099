"""What an AWS request on the wire is about: service, region, operation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

DEFAULT_REGION = "us-east-1"

_SCOPE = re.compile(r"Credential=[^/\s]+/\d{8}/([^/\s]+)/([^/\s]+)/aws4_request")
_PRESIGNED_SCOPE = re.compile(r"X-Amz-Credential=[^&]+?(?:%2F|/)\d{8}(?:%2F|/)([\w-]+)(?:%2F|/)([\w-]+)(?:%2F|/)")


@dataclass(frozen=True)
class Addressee:
    """Who a request is for."""

    service: str
    """Signing name in lower case: `kinesis`, `lambda`, `execute-api`."""
    region: str


def addressee(headers: Mapping[str, str], query_string: str = "") -> Addressee | None:
    """From the credential scope of SigV4 (header or presigned query). None for an unsigned request.

    `headers` has lower-case keys.
    """
    match = _SCOPE.search(headers.get("authorization", "")) or _PRESIGNED_SCOPE.search(query_string)
    return Addressee(service=match[2].lower(), region=match[1]) if match else None


def operation(headers: Mapping[str, str], body: bytes) -> str | None:
    """The operation of a JSON-protocol request (`X-Amz-Target`) or a query-protocol one (`Action=` in the form).

    None for a REST request, whose method and path say it.
    """
    target = headers.get("x-amz-target")
    if target:
        return target.rpartition(".")[2]
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return parse_qs(body.decode(errors="replace")).get("Action", [None])[0]
    return None
