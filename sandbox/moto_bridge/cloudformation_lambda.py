"""AWS::Lambda::Function for moto's CloudFormation: moto's own drops tracing, logging, layers, architecture and tags,
and takes an update's inline code for base64.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-function.html
"""

from __future__ import annotations

import base64
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.awslambda.utils import get_backend
from moto.core.common_models import CloudFormationModel

_SIZES = ("MemorySize", "Timeout", "ReservedConcurrentExecutions")


class TemplateFunction(CloudFormationModel):
    """Creates and updates moto's `LambdaFunction` with all properties of the template."""

    @staticmethod
    def cloudformation_name_type() -> str:
        return "FunctionName"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Lambda::Function"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> LambdaFunction:
        spec = _specification(cloudformation_json["Properties"])
        return get_backend(account_id, region_name).create_function({**spec, "FunctionName": resource_name})

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: LambdaFunction,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> LambdaFunction:
        properties = cloudformation_json["Properties"]
        if properties.get("FunctionName", original_resource.function_name) != original_resource.function_name:
            original_resource.delete(account_id, region_name)
            return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)
        spec = _specification(properties)
        # what the template no longer says goes back to its default
        defaults = {"MemorySize": 128, "Timeout": 3, "Environment": {"Variables": {}}}
        original_resource.update_configuration({**defaults, **spec})
        original_resource.update_function_code(spec["Code"])
        original_resource.reserved_concurrency = spec.get("ReservedConcurrentExecutions")
        return original_resource


def _specification(properties: dict[str, Any]) -> dict[str, Any]:
    """A template's properties as the CreateFunction request that would say the same."""
    spec = dict(properties)
    for name in _SIZES:
        if name in spec:
            spec[name] = int(spec[name])
    code = dict(properties["Code"])
    if "ZipFile" in code:  # in a template this is the source text itself
        code["ZipFile"] = base64.b64encode(LambdaFunction._create_zipfile_from_plaintext_code(code["ZipFile"]))
    spec["Code"] = code
    spec["Tags"] = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
    return spec
