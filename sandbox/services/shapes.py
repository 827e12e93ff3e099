"""Whether a request of a JSON protocol has the form that its service's model gives it: of the operations' parameters
their names, types and bounds, as botocore checks them before it sends."""

from __future__ import annotations

from functools import cache

import botocore.session
import orjson
from botocore.exceptions import UnknownServiceError
from botocore.model import OperationNotFoundError, ServiceModel
from botocore.validate import ParamValidator

_NAMES = {"monitoring": "cloudwatch"}
"""Signing name -> botocore's, where they differ."""


def malformed(service: str, operation: str, body: bytes) -> str | None:
    """What is wrong with the form of a request; None where nothing is, or nobody knows the operation."""
    try:
        parameters = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        return f"not JSON: {error}"
    try:
        shape = _model(_NAMES.get(service, service)).operation_model(operation).input_shape
    except (UnknownServiceError, OperationNotFoundError):
        return None
    report = ParamValidator().validate(parameters, shape)
    return str(report.generate_report()) if report.has_errors() else None


@cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)
