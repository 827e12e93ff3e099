"""boto3 clients for the control plane and the analysis, made from the settings.

Never used under load: these clients retry, which is what a load test must not do. With the sandbox as the target the
caller's credentials and profile are not even read: dummy ones are handed in and the endpoint is on the loopback.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from config.errors import ConfigError
from config.settings import Settings, host_of, is_loopback

_DUMMY_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "sandbox",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
}

_SANDBOX_LOCK = threading.Lock()


def client(settings: Settings, service: str, **config: Any) -> Any:
    """A boto3 client of `service` for the target, with the SDK's standard retries.

    `config` goes into botocore's Config. Raises ConfigError where the region is unknown.
    """
    made: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": 6}} | config
    if settings.endpoint_url is not None and is_loopback(host_of(settings.endpoint_url)):
        made["proxies"] = {}  # this machine is never reached through a proxy
    options: dict[str, Any] = {"config": Config(**made)}
    if settings.target == "sandbox":
        options["endpoint_url"] = settings.endpoint_url
        # boto3: making clients of one session is not thread-safe.
        with _SANDBOX_LOCK:
            return _sandbox_session(str(settings.region)).client(service, **options)
    session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
    if session.region_name is None:
        raise ConfigError("AWS_REGION: not set, and the AWS profile names no region (see .env.example)")
    if settings.endpoint_url is not None:
        options["endpoint_url"] = settings.endpoint_url
    return session.client(service, **options)


@cache
def _sandbox_session(region: str) -> boto3.Session:
    """One for all clients: nothing about it can change, and each new one reads all of botocore's data anew, which takes
    a tenth of a second."""
    return boto3.Session(
        botocore_session=_isolated_session(),
        aws_access_key_id=_DUMMY_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_DUMMY_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=region,
    )


def _isolated_session() -> botocore.session.Session:
    """A session that looks at neither AWS_PROFILE nor the SDK's configuration files."""
    return botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )


def process_environment(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that acts on the target, such as Locust.

    With the sandbox as the target every AWS_* variable of the caller is replaced by dummies, and the configuration
    files of the SDK are switched off, so that nothing of a real account can leak into a run.
    """
    environment = {name: value for name, value in inherited.items() if not name.startswith("AWS_")}
    if settings.target == "sandbox":
        environment |= _DUMMY_CREDENTIALS
        environment |= {
            "AWS_REGION": str(settings.region),
            "AWS_DEFAULT_REGION": str(settings.region),
            "AWS_ENDPOINT_URL": str(settings.endpoint_url),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
    else:
        environment |= {name: value for name, value in inherited.items() if name.startswith("AWS_")}
    return environment
