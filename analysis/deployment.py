"""What is deployed, as far as figures need it: time limits, architectures, quotas, shards, the kind of API.

Asked of the target once, when the logs are pulled, and kept in `deployment.json`, so that a run can be judged and
priced again without it. What could not be had is None, with a warning.

    {"functions": {"place-vote": {"timeout_s": 15, "memory_mb": 256, "architecture": "x86_64",
                                  "reserved_concurrency": null}},
     "account": {"concurrency": 1000, "unreserved_concurrency": 1000},
     "api": {"kind": "rest", "id": "a1b2c3d4e5", "name": "swarmscope", "stage": "prod"},
     "streams": {"votes": {"shards": 1, "mode": "PROVISIONED"}}}

Source: AWS API references, GetFunctionConfiguration, GetFunctionConcurrency, GetAccountSettings, GetRestApi, GetApi,
DescribeStreamSummary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from analysis.log_groups import unqualified

FILE = "deployment.json"

_AWS_HOST = re.compile(r"(?P<id>[a-z0-9]+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_EMULATED_PATH = re.compile(r"/restapis/(?P<id>[^/]+)/(?P<stage>[^/]+)/_user_request_")


@dataclass(frozen=True)
class Deployment:
    """What was found; becomes `deployment.json`."""

    functions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    account: Mapping[str, Any] = field(default_factory=dict)
    api: Mapping[str, Any] | None = None
    """None where the API is no API Gateway's own address, or there is none."""
    streams: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {"functions": self.functions, "account": self.account, "api": self.api, "streams": self.streams}


def describe(client: Callable[[str], Any], manifest: Mapping[str, Any]) -> Deployment:
    """Ask the target about the functions, the API and the streams of a run's manifest.

    `client` makes a boto3 client of a service. Never raises what botocore raises: it becomes a warning.
    """
    refusals: dict[str, str] = {}

    def ask(what: str, question: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The answer; an empty one where the target refuses, which is noted once for each `what`."""
        try:
            return question(*arguments, **named)
        except (ClientError, BotoCoreError) as refused:
            refusals.setdefault(what, str(refused))
            return {}

    functions, streams = {}, {}
    lambda_ = client("lambda")
    for logical, name in (manifest.get("functions") or {}).items():
        concurrency = ask("reserved concurrency", lambda_.get_function_concurrency, FunctionName=unqualified(name))
        functions[logical] = {
            **_function(ask("settings of functions", lambda_.get_function_configuration, FunctionName=name)),
            "reserved_concurrency": concurrency.get("ReservedConcurrentExecutions"),
        }
    limits = ask("quotas of the account", lambda_.get_account_settings).get("AccountLimit") or {}
    if manifest.get("streams"):
        kinesis = client("kinesis")
        for logical, name in manifest["streams"].items():
            streams[logical] = _stream(ask("shards", kinesis.describe_stream_summary, StreamName=name))
    address = api_address(manifest.get("api_base_url"))
    api = ask("the API", _api, client, *address) if address else None
    return Deployment(
        functions=functions,
        account={
            "concurrency": limits.get("ConcurrentExecutions"),
            "unreserved_concurrency": limits.get("UnreservedConcurrentExecutions"),
        },
        api=api or None,
        streams=streams,
        warnings=tuple(f"{what}: not known, {why}" for what, why in refusals.items()),
    )


def api_address(url: str | None) -> tuple[str, str] | None:
    """(API id, stage) of an API Gateway's own URL, on AWS or in an emulator; None for any other."""
    if not url:
        return None
    parts = urlsplit(url)
    emulated = _EMULATED_PATH.match(parts.path)
    if emulated:
        return emulated["id"], emulated["stage"]
    host = _AWS_HOST.fullmatch(parts.hostname or "")
    # an HTTP API's default stage has no part in the path
    return (host["id"], parts.path.strip("/").partition("/")[0] or "$default") if host else None


def _api(client: Callable[[str], Any], api_id: str, stage: str) -> dict[str, Any]:
    """A REST API by its id, else an HTTP API: the ids of both look alike."""
    try:
        name = client("apigateway").get_rest_api(restApiId=api_id)["name"]
        return {"kind": "rest", "id": api_id, "name": name, "stage": stage}
    except ClientError as refused:
        if refused.response.get("Error", {}).get("Code") != "NotFoundException":
            raise
    found = client("apigatewayv2").get_api(ApiId=api_id)
    return {"kind": found["ProtocolType"].lower(), "id": api_id, "name": found["Name"], "stage": stage}


def _function(configuration: Mapping[str, Any]) -> dict[str, Any]:
    architectures = configuration.get("Architectures") or [None]
    return {
        "timeout_s": configuration.get("Timeout"),
        "memory_mb": configuration.get("MemorySize"),
        "architecture": architectures[0],
    }


def _stream(answer: Mapping[str, Any]) -> dict[str, Any]:
    summary = answer.get("StreamDescriptionSummary") or {}
    return {
        "shards": summary.get("OpenShardCount"),
        "mode": (summary.get("StreamModeDetails") or {}).get("StreamMode"),
    }
