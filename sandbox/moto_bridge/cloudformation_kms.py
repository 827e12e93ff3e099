"""AWS::KMS::Key for moto's CloudFormation: moto's own makes every key a symmetric one and wants a policy.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-kms-key.html
"""

from __future__ import annotations

import json
from typing import Any

from moto.core.common_models import CloudFormationModel
from moto.kms.models import Key, kms_backends


class KmsKey(CloudFormationModel):
    """Creates moto's `Key` with the KeySpec and KeyUsage of the template."""

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::KMS::Key"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr in ("Arn", "KeyId")

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> Key:
        properties = cloudformation_json["Properties"]
        backend = kms_backends[account_id][region_name]
        key = backend.create_key(
            policy=_policy(properties),
            key_usage=properties.get("KeyUsage", "ENCRYPT_DECRYPT"),
            key_spec=properties.get("KeySpec", "SYMMETRIC_DEFAULT"),
            description=properties.get("Description"),
            tags=[{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in properties.get("Tags", [])],
        )
        return _configure(key, properties)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Key,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Key:
        properties = cloudformation_json["Properties"]
        same_kind = (
            properties.get("KeySpec", "SYMMETRIC_DEFAULT") == original_resource.key_spec
            and properties.get("KeyUsage", "ENCRYPT_DECRYPT") == original_resource.key_usage
        )
        if not same_kind:  # another KeySpec or KeyUsage means another key
            return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)
        original_resource.policy = _policy(properties) or original_resource.policy
        original_resource.description = properties.get("Description", "")
        return _configure(original_resource, properties)


def _policy(properties: dict[str, Any]) -> str | None:
    policy = properties.get("KeyPolicy")
    return policy if policy is None or isinstance(policy, str) else json.dumps(policy)


def _configure(key: Key, properties: dict[str, Any]) -> Key:
    key.key_rotation_status = properties.get("EnableKeyRotation", False)
    key.enabled = properties.get("Enabled", True)
    key.key_state = "Enabled" if key.enabled else "Disabled"
    return key
