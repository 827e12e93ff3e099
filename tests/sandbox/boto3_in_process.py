"""Real boto3 clients whose requests are answered by a function of this process: no socket, no server.

`answer(method, path, query_string, headers, body) -> (status, headers, body)`, as `MotoBridge.handle`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
import orjson
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from sandbox.services.requests import addressee, operation

REGION = "eu-west-1"

Response = tuple[int, list[tuple[str, str]], bytes]
Answer = Callable[..., Response]


def answered_by(handle: Callable[[str, bytes, str], Any], otherwise: Answer | None = None) -> Answer:
    """The requests that a data-path service answers itself: `handle(action, body, region)`."""

    def answer(method: str, path: str, query_string: str, headers: dict[str, str], body: bytes) -> Response:
        to, action = addressee(headers, query_string), operation(headers, body)
        assert to is not None
        assert action is not None
        answered = handle(action, body, to.region)
        if answered is None:
            assert otherwise is not None
            return otherwise(method, path, query_string, headers, body)
        status, content = answered
        if isinstance(content, bytes):
            return status, [("Content-Type", "text/xml")], content
        error = [("x-amzn-ErrorType", content["__type"])] if "__type" in content else []
        return status, [("Content-Type", "application/x-amz-json-1.1"), *error], orjson.dumps(content)

    return answer


def boto3_client(answer: Answer, service: str) -> Any:
    client = boto3.client(
        service,
        region_name=REGION,
        endpoint_url="http://127.0.0.1:4566",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )

    def send(request: Any, **_: Any) -> AWSResponse:
        url = urlsplit(request.url)
        headers = {k.lower(): v.decode() if isinstance(v, bytes) else v for k, v in request.headers.items()}
        body = request.body.read() if hasattr(request.body, "read") else request.body or b""
        body = body.encode() if isinstance(body, str) else bytes(body)
        status, answered, content = answer(request.method, url.path, url.query, {"host": url.netloc, **headers}, body)
        return AWSResponse(request.url, status, dict(answered), _Raw(content))

    client.meta.events.register("before-send", send)
    return client


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        while chunk := self.read(65536):
            yield chunk


def zipped(**sources: str) -> bytes:
    """A deployment package: `zipped(handler="def f(event, context): ...")`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        for name, source in sources.items():
            package.writestr(f"{name}.py", source)
    return buffer.getvalue()
