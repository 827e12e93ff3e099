"""API Gateway resource types for moto's CloudFormation.

moto knows no AWS::ApiGateway::Stage, Account, ApiKey, UsagePlan and UsagePlanKey, deletes no RestApi, updates no Method
and drops a method's integration timeout. Property names:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_ApiGateway.html
"""

from __future__ import annotations

from typing import Any

from moto.apigateway.models import Deployment, Method, RestAPI, Stage, apigateway_backends
from moto.core.common_models import CloudFormationModel

_METHOD_SETTINGS = {
    "ThrottlingRateLimit": ("throttlingRateLimit", float),
    "ThrottlingBurstLimit": ("throttlingBurstLimit", int),
    "LoggingLevel": ("loggingLevel", str),
    "MetricsEnabled": ("metricsEnabled", bool),
    "DataTraceEnabled": ("dataTraceEnabled", bool),
}
_ACCOUNT_THROTTLE = {"throttlingRateLimit": 10_000.0, "throttlingBurstLimit": 5_000}
"""What a stage without a throttle of its own shows: the account's (AWS documentation, API Gateway quotas)."""

_default_method_settings = Stage._get_default_method_settings


def install() -> None:
    """Mend three of moto's own classes. Calling it again changes nothing."""
    deployment: Any = Deployment
    deployment.physical_resource_id = property(lambda self: self.id)  # what `Ref` gives
    rest_api: Any = RestAPI
    rest_api.delete = _delete_rest_api
    # moto's default would throttle a stage at 1,000/s as soon as any of its settings is patched
    stage: Any = Stage
    stage._get_default_method_settings = lambda self: {**_default_method_settings(self), **_ACCOUNT_THROTTLE}


def _delete_rest_api(self: RestAPI, account_id: str, region_name: str) -> None:
    apigateway_backends[account_id][region_name].delete_rest_api(self.id)


class ApiGatewayStage(CloudFormationModel):
    """A stage as a resource of its own: deployment, throttle, access log, tracing."""

    def __init__(self, api_id: str, name: str) -> None:
        self.api_id = api_id
        self.physical_resource_id = name

    @staticmethod
    def cloudformation_name_type() -> str:
        return "StageName"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::ApiGateway::Stage"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return False

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> ApiGatewayStage:
        properties = cloudformation_json["Properties"]
        stage = apigateway_backends[account_id][region_name].create_stage(
            properties["RestApiId"],
            resource_name,
            properties["DeploymentId"],
            description=properties.get("Description", ""),
            variables=properties.get("Variables"),
            tags={tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])},
        )
        _configure(stage, properties)
        return cls(properties["RestApiId"], resource_name)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: ApiGatewayStage,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> ApiGatewayStage:
        properties = cloudformation_json["Properties"]
        same = (properties["RestApiId"], new_resource_name) == (
            original_resource.api_id,
            original_resource.physical_resource_id,
        )
        if not same:
            original_resource.delete(account_id, region_name)
            return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)
        stage = apigateway_backends[account_id][region_name].get_stage(original_resource.api_id, new_resource_name)
        stage.deployment_id = properties["DeploymentId"]
        stage.description = properties.get("Description", "")
        stage.variables = properties.get("Variables") or {}
        _configure(stage, properties)
        return original_resource

    def delete(self, account_id: str, region_name: str) -> None:
        api = apigateway_backends[account_id][region_name].apis.get(self.api_id)
        if api is not None:  # else the API took its stages along
            api.stages.pop(self.physical_resource_id, None)


def _configure(stage: Stage, properties: dict[str, Any]) -> None:
    stage.tracing_enabled = bool(properties.get("TracingEnabled", False))
    log = properties.get("AccessLogSetting")
    stage.access_log_settings = log and {"destinationArn": log["DestinationArn"], "format": log["Format"]}
    stage.method_settings = {}
    for setting in properties.get("MethodSettings", []):
        shown = stage._get_default_method_settings()
        for name, (key, of_type) in _METHOD_SETTINGS.items():
            if name in setting:
                shown[key] = of_type(setting[name])
        stage.method_settings[_settings_path(setting)] = shown


def _settings_path(setting: dict[str, Any]) -> str:
    """`/*` and `*` -> `*/*`; `/vote` and `POST` -> `~1vote/POST`, as GetStage shows them."""
    resource = setting.get("ResourcePath", "/*")
    return f"{'*' if resource == '/*' else resource.replace('/', '~1')}/{setting.get('HttpMethod', '*')}"


class ApiGatewayMethod(CloudFormationModel):
    """A method with its integration: moto's, plus the integration's timeout, update and deletion."""

    def __init__(self, name: str, api_id: str, resource_id: str, verb: str) -> None:
        self.physical_resource_id = name
        self.api_id = api_id
        self.resource_id = resource_id
        self.verb = verb

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::ApiGateway::Method"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> ApiGatewayMethod:
        properties = cloudformation_json["Properties"]
        method: Any = Method.create_from_cloudformation_json(
            resource_name, cloudformation_json, account_id, region_name
        )
        timeout_ms = properties["Integration"].get("TimeoutInMillis")
        method.method_integration.timeout_in_millis = None if timeout_ms is None else int(timeout_ms)
        return cls(resource_name, properties["RestApiId"], properties["ResourceId"], properties["HttpMethod"])

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: ApiGatewayMethod,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> ApiGatewayMethod:
        original_resource.delete(account_id, region_name)
        return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)

    def delete(self, account_id: str, region_name: str) -> None:
        api = apigateway_backends[account_id][region_name].apis.get(self.api_id)
        resource = api and api.resources.get(self.resource_id)
        if resource:  # else the API took its methods along
            resource.delete_method(self.verb)


class ApiGatewayAccount(CloudFormationModel):
    """The role API Gateway logs with: one setting of the account and region, kept when the stack goes."""

    def __init__(self, name: str) -> None:
        self.physical_resource_id = name

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::ApiGateway::Account"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> ApiGatewayAccount:
        account = apigateway_backends[account_id][region_name].get_account()
        account.cloudwatch_role_arn = cloudformation_json["Properties"].get("CloudWatchRoleArn")
        return cls(resource_name)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: ApiGatewayAccount,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> ApiGatewayAccount:
        cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)
        return original_resource


class _KeyOrPlan:
    """What a key, a plan and a key's place in a plan have in common: an update makes it anew.

    No CloudFormationModel itself: moto looks at the direct subclasses of that one.
    """

    def __init__(self, identifier: str) -> None:
        self.physical_resource_id = identifier

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> Any:
        backend = apigateway_backends[account_id][region_name]
        return cls(cls._create(backend, resource_name, cloudformation_json.get("Properties", {})))

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Any:
        original_resource.delete(account_id, region_name)
        return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)

    def delete(self, account_id: str, region_name: str) -> None:
        self._delete(apigateway_backends[account_id][region_name])

    @classmethod
    def _create(cls, backend: Any, name: str, properties: dict[str, Any]) -> str:
        """Returns the identifier."""
        raise NotImplementedError

    def _delete(self, backend: Any) -> None:
        raise NotImplementedError


class ApiGatewayApiKey(_KeyOrPlan, CloudFormationModel):
    """An API key."""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::ApiGateway::ApiKey"

    @classmethod
    def _create(cls, backend: Any, name: str, properties: dict[str, Any]) -> str:
        key = {"name": properties.get("Name", name), "enabled": str(properties.get("Enabled", False)).lower() == "true"}
        if "Value" in properties:
            key["value"] = properties["Value"]
        return str(backend.create_api_key(key).id)

    def _delete(self, backend: Any) -> None:
        backend.keys.pop(self.physical_resource_id, None)


class ApiGatewayUsagePlan(_KeyOrPlan, CloudFormationModel):
    """A usage plan: the stages that its keys open."""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::ApiGateway::UsagePlan"

    @classmethod
    def _create(cls, backend: Any, name: str, properties: dict[str, Any]) -> str:
        stages = [{"apiId": of["ApiId"], "stage": of["Stage"]} for of in properties.get("ApiStages", [])]
        return str(backend.create_usage_plan({"name": properties.get("UsagePlanName", name), "apiStages": stages}).id)

    def _delete(self, backend: Any) -> None:
        backend.usage_plans.pop(self.physical_resource_id, None)


class ApiGatewayUsagePlanKey(_KeyOrPlan, CloudFormationModel):
    """A key's place in a plan; its identifier is that of both."""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::ApiGateway::UsagePlanKey"

    @classmethod
    def _create(cls, backend: Any, name: str, properties: dict[str, Any]) -> str:
        key_id, plan_id = properties["KeyId"], properties["UsagePlanId"]
        backend.create_usage_plan_key(plan_id, {"keyId": key_id, "keyType": properties["KeyType"]})
        return f"{key_id}:{plan_id}"

    def _delete(self, backend: Any) -> None:
        key_id, _, plan_id = self.physical_resource_id.partition(":")
        backend.usage_plan_keys.get(plan_id, {}).pop(key_id, None)
