"""The bucket that holds a stack's code: made private, filled, emptied and deleted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from config.errors import ConfigError
from control.cloud import Cloud, Progress, is_unknown_to_target
from control.errors import DeployError
from control.packages import Package

_NAME_LIMIT = 63
"""Of a bucket's name (AWS, "General purpose bucket naming rules")."""
_MISSING = ("NoSuchBucket", "404")
_BUSY_TRIES = 30


@dataclass(frozen=True)
class Bucket:
    """Where a stack's code goes."""

    name: str
    owner: str
    """The account: another's bucket of that name is never written to."""


def bucket_of(cloud: Cloud, stack_name: str) -> Bucket:
    """The stack's bucket in the account and the Region of the clients."""
    account = cloud.sts.get_caller_identity()["Account"]
    return Bucket(bucket_name(stack_name, account, cloud.region), account)


def bucket_name(stack_name: str, account: str, region: str) -> str:
    """`<stack>-artefacts-<account>-<region>`, in lower case; of a long stack name the beginning and a hash."""
    ending = f"-artefacts-{account}-{region}"
    stack = stack_name.lower()
    if len(stack) + len(ending) > _NAME_LIMIT:
        digest = hashlib.sha256(stack_name.encode()).hexdigest()[:8]
        stack = f"{stack[: _NAME_LIMIT - len(ending) - 9]}-{digest}"
    return stack + ending


def exists(cloud: Cloud, bucket: Bucket) -> bool:
    """Whether it is there. Raises ConfigError where it is somebody else's."""
    try:
        cloud.s3.head_bucket(Bucket=bucket.name, ExpectedBucketOwner=bucket.owner)
    except ClientError as refused:
        code = refused.response["Error"]["Code"]
        if code in _MISSING:
            return False
        if code == "403":
            raise ConfigError(
                f"STACK_NAME: bucket {bucket.name} is not this account's, or s3:ListBucket on it is not allowed; "
                "choose another stack name, or have control/policies/deploy.json attached"
            ) from None
        raise
    return True


def upload(
    cloud: Cloud, bucket: Bucket, packages: Sequence[Package], tags: Mapping[str, str], progress: Progress
) -> None:
    """Make the bucket, if need be, and put the packages there.

    Nobody but the account can be let in, objects are encrypted, and there are no versions of them. Done each time, so
    that a bucket that was left half-made is finished.
    """
    if not exists(cloud, bucket):
        _make(cloud, bucket)
        progress(f"made bucket {bucket.name}")
    settings: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (
            cloud.s3.put_public_access_block,
            {
                "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                }
            },
        ),
        (
            cloud.s3.put_bucket_encryption,
            {
                "ServerSideEncryptionConfiguration": {
                    "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
                }
            },
        ),
        (
            cloud.s3.put_bucket_tagging,
            {"Tagging": {"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]}},
        ),
    ]
    for put, setting in settings:
        try:
            put(Bucket=bucket.name, **setting)
        except ClientError as refused:
            if not is_unknown_to_target(refused):
                raise
            progress(f"the target has no {refused.operation_name}: left out for bucket {bucket.name}")
    for package in packages:
        cloud.s3.put_object(Bucket=bucket.name, Key=package.key, Body=package.content, ExpectedBucketOwner=bucket.owner)
        progress(f"uploaded s3://{bucket.name}/{package.key}")


def delete(cloud: Cloud, bucket: Bucket) -> bool:
    """Empty and delete it, versions and delete markers included. -> whether there was one."""
    if not exists(cloud, bucket):
        return False
    for page in cloud.s3.get_paginator("list_object_versions").paginate(Bucket=bucket.name):
        found = [
            {"Key": item["Key"], "VersionId": item["VersionId"]}
            for item in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        ]
        if found:
            answer = cloud.s3.delete_objects(Bucket=bucket.name, Delete={"Objects": found, "Quiet": True})
            if errors := answer.get("Errors"):
                first = errors[0]
                raise DeployError(f"bucket {bucket.name}: {first['Key']} cannot be deleted: {first.get('Message')}")
    cloud.s3.delete_bucket(Bucket=bucket.name)
    return True


def _make(cloud: Cloud, bucket: Bucket) -> None:
    # us-east-1 is the one Region that must not be named.
    where = {"CreateBucketConfiguration": {"LocationConstraint": cloud.region}} if cloud.region != "us-east-1" else {}
    for attempt in range(_BUSY_TRIES):
        try:
            cloud.s3.create_bucket(Bucket=bucket.name, **where)
        except ClientError as refused:
            # S3 takes a while to forget a bucket that was deleted a moment ago.
            if refused.response["Error"]["Code"] != "OperationAborted" or attempt == _BUSY_TRIES - 1:
                raise
            cloud.sleep(cloud.poll_s)
        else:
            return
