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
from botocore.awsrequest import AWSResponse
from botocore.config import Config

REGION = "eu-west-1"


def boto3_client(answer: Callable[..., tuple[int, list[tuple[str, str]], bytes]], service: str) -> Any:
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
