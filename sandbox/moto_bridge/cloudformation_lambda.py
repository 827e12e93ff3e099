"""Functions, versions and aliases for moto's CloudFormation.

moto's own function drops tracing, logging, layers, architecture and tags, and takes an update's inline code for base64;
its versions cannot be updated or deleted, and it has no aliases.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-function.html
"""

from __future__ import annotations

import base64
import contextlib
from typing import Any, ClassVar

from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import LambdaFunction
from moto.awslambda.utils import get_backend
from moto.core.common_models import CloudFormationModel

from sandbox.moto_bridge.provisioned_concurrency import ProvisionedConcurrency

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


class TemplateVersion(CloudFormationModel):
    """AWS::Lambda::Version: one with another description is another version."""

    def __init__(self, function_name: str, version: str, arn: str) -> None:
        self.function_name = function_name
        self.version = version
        self.physical_resource_id = arn

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Lambda::Version"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Version"

    def get_cfn_attribute(self, attribute_name: str) -> str:
        return self.version

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> TemplateVersion:
        properties = cloudformation_json["Properties"]
        name, description = properties["FunctionName"], str(properties.get("Description", ""))
        published: Any = get_backend(account_id, region_name).publish_version(name, description)
        return cls(name, str(published.version), published.function_arn)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: TemplateVersion,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> TemplateVersion:
        return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)

    def delete(self, account_id: str, region_name: str) -> None:
        with contextlib.suppress(UnknownFunctionException):  # it went with its function
            get_backend(account_id, region_name).delete_function(self.function_name, self.version)


class TemplateAlias(CloudFormationModel):
    """AWS::Lambda::Alias, with its provisioned concurrency."""

    provisioned: ClassVar[ProvisionedConcurrency]
    """Where that is kept; the bridge says."""

    def __init__(self, function_name: str, name: str, arn: str) -> None:
        self.function_name = function_name
        self.name = name
        self.physical_resource_id = arn

    @staticmethod
    def cloudformation_name_type() -> str:
        return "Name"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Lambda::Alias"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> TemplateAlias:
        properties = cloudformation_json["Properties"]
        name, function, version = properties["Name"], properties["FunctionName"], str(properties["FunctionVersion"])
        backend = get_backend(account_id, region_name)
        made = backend.create_alias(name, function, version, properties.get("Description", ""), "")
        alias = cls(function, name, made.arn)
        alias._provision(properties)
        return alias

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: TemplateAlias,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> TemplateAlias:
        properties = cloudformation_json["Properties"]
        if (properties["FunctionName"], properties["Name"]) != (
            original_resource.function_name,
            original_resource.name,
        ):
            original_resource.delete(account_id, region_name)
            return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)
        version = str(properties["FunctionVersion"])
        get_backend(account_id, region_name).update_alias(
            original_resource.name, original_resource.function_name, version, properties.get("Description", ""), ""
        )
        original_resource._provision(properties)
        return original_resource

    def delete(self, account_id: str, region_name: str) -> None:
        self._provision({})
        with contextlib.suppress(UnknownFunctionException):  # it went with its function
            get_backend(account_id, region_name).delete_alias(self.name, self.function_name)

    def _provision(self, properties: dict[str, Any]) -> None:
        config = properties.get("ProvisionedConcurrencyConfig") or {}
        requested = int(config.get("ProvisionedConcurrentExecutions", 0))
        function_arn = self.physical_resource_id.removesuffix(f":{self.name}")
        self.provisioned.put(function_arn, self.name, requested)
