"""The AWS calls on the wire that the sandbox answers itself, because moto is too slow for them or does them wrong.

to, action = addressee(headers, query_string), operation(headers, body)
response = (to and action and data_path.handle(to, action, body)) or bridge.handle(...)
"""

from __future__ import annotations

from typing import Any

import orjson

from sandbox.services.kinesis import KinesisService
from sandbox.services.kms import KmsService
from sandbox.services.requests import Addressee
from sandbox.services.sns import SnsService

Response = tuple[int, list[tuple[str, str]], bytes]

_JSON = "application/x-amz-json-1.1"


class DataPath:
    """Kinesis, SNS and KMS as one door."""

    def __init__(self, kinesis: KinesisService, sns: SnsService, kms: KmsService) -> None:
        self._json_services = {"kinesis": kinesis, "kms": kms}
        self._sns = sns

    def handle(self, to: Addressee, action: str, body: bytes) -> Response | None:
        """-> (status, headers, body), or None where moto is to answer."""
        json_service: Any = self._json_services.get(to.service)
        if json_service is not None:
            answer = json_service.handle(action, body, to.region)
            if answer is None:
                return None
            status, document = answer
            headers = [("Content-Type", _JSON)]
            if "__type" in document:
                headers.append(("x-amzn-ErrorType", document["__type"]))
            return status, headers, orjson.dumps(document)
        if to.service == "sns":
            xml = self._sns.handle(action, body, to.region)
            return None if xml is None else (xml[0], [("Content-Type", "text/xml")], xml[1])
        return None
