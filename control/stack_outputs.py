"""What a run needs to know of the stack it runs against: from variables where they are set, else from its outputs.

Nothing under load ever asks the control plane: what is found here goes to Locust as environment variables, and into
the manifest for the analysis.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from config.aws_refusals import explain
from config.custom_flow import CustomFlow
from config.errors import ConfigError
from config.settings import EVENT_VARIABLES, FUNCTION_VARIABLES, Settings, function_name
from control import policies

FUNCTION_OUTPUTS: Mapping[str, str] = {
    "place-vote": "PlaceVoteFunction",
    "tally-votes": "TallyVotesFunction",
    "get-results": "GetResultsFunction",
    "shop-accept": "ShopAcceptFunction",
    "shop-decrypt": "ShopDecryptFunction",
    "shop-update-db": "ShopUpdateDbFunction",
    "queue-consumer": "QueueConsumerFunction",
    "topic-consumer": "TopicConsumerFunction",
    "bus-consumer": "BusConsumerFunction",
    "stream-consumer": "StreamConsumerFunction",
}
"""Logical name -> output of the stack."""


EVENT_OUTPUTS: Mapping[str, str] = {
    "sqs": "EventsQueueUrl",
    "sns": "EventsTopicArn",
    "events": "EventsBusName",
    "kinesis": "EventsStreamName",
}
"""AWS service -> output that says where its messages go."""


@dataclass(frozen=True)
class RunTarget:
    """The resources that a run's load goes to and its analysis reads. None and empty: unknown."""

    api_base_url: str | None
    functions: Mapping[str, str]
    """Logical name -> function name or ARN."""
    log_groups: Mapping[str, str]
    """Logical name -> log group."""
    access_log_group: str | None
    tables: Mapping[str, str]
    streams: Mapping[str, str]
    topics: Mapping[str, str]
    """Logical name -> ARN."""
    event_destinations: Mapping[str, str]
    """AWS service -> queue URL, topic ARN, bus, stream of flow `events`."""
    shop_key_id: str | None
    shop_public_key: str | None
    """Base64 of DER."""

    def environment(self) -> dict[str, str]:
        """The variables that hand all this to Locust."""
        named = {
            "API_BASE_URL": self.api_base_url,
            "ACCESS_LOG_GROUP": self.access_log_group,
            "SHOP_PUBLIC_KEY": self.shop_public_key,
            **{EVENT_VARIABLES[service]: where for service, where in self.event_destinations.items()},
            # Functions that only the file of flow custom names have no variable, and Locust needs none.
            **{
                FUNCTION_VARIABLES[logical]: name
                for logical, name in self.functions.items()
                if logical in FUNCTION_VARIABLES
            },
        }
        return {name: value for name, value in named.items() if value}

    def manifest(self) -> dict[str, Any]:
        """The manifest's keys."""
        return {
            "api_base_url": self.api_base_url,
            "functions": dict(self.functions),
            "log_groups": dict(self.log_groups),
            "access_log_group": self.access_log_group,
            "tables": dict(self.tables),
            "streams": dict(self.streams),
            "topics": dict(self.topics),
        }

    def require(self, flows: Iterable[str], where: str, custom: CustomFlow | None = None) -> None:
        """Raise ConfigError naming every variable that the flows need and nothing gives; `where` was looked.

        `custom`: what flow `custom` sends, where it is among them.
        """
        missing: list[str] = []
        for flow in flows:
            calls_api = flow in ("vote", "shop") or (flow == "custom" and custom is not None and custom.calls_api)
            if calls_api and self.api_base_url is None:
                missing.append("API_BASE_URL")
            if flow == "direct" and "place-vote" not in self.functions:
                missing.append("VOTE_FUNCTION")
            if flow == "shop" and self.shop_public_key is None:
                missing.append("SHOP_PUBLIC_KEY")
            if flow == "events" and not self.event_destinations:
                missing += EVENT_VARIABLES.values()
        if missing:
            raise ConfigError(
                [
                    f"{name}: not set, and {where} to read it from; `make deploy` makes one, or set it in .env"
                    for name in dict.fromkeys(missing)
                ]
            )


def from_settings(settings: Settings) -> RunTarget:
    """What the variables alone say."""
    functions = dict(settings.functions)
    return RunTarget(
        api_base_url=settings.api_base_url,
        functions=functions,
        log_groups=_log_groups(functions, settings.log_groups),
        access_log_group=settings.access_log_group,
        tables={},
        streams={"events": settings.events_stream.rpartition("/")[2]} if settings.events_stream else {},
        topics={"events": settings.events_topic_arn} if settings.events_topic_arn else {},
        event_destinations=settings.event_destinations,
        shop_key_id=None,
        shop_public_key=settings.shop_public_key,
    )


def with_outputs(settings: Settings, outputs: Mapping[str, str]) -> RunTarget:
    """What the variables say, and where they say nothing, the stack's outputs."""
    known = from_settings(settings)
    functions = _named(outputs, FUNCTION_OUTPUTS) | dict(settings.functions)
    return replace(
        known,
        api_base_url=known.api_base_url or api_base_url(settings, outputs),
        functions=functions,
        log_groups=_log_groups(functions, settings.log_groups),
        access_log_group=known.access_log_group or outputs.get("AccessLogGroup"),
        tables=_named(outputs, {"votes": "VotesTableName", "shops": "ShopsTableName"}),
        streams=_named(outputs, {"votes": "VotesStreamName", "events": "EventsStreamName"}) | dict(known.streams),
        topics=_named(
            outputs, {"sales": "SalesTopicArn", "decrypted-sales": "DecryptedSalesTopicArn", "events": "EventsTopicArn"}
        )
        | dict(known.topics),
        # Variables name all of them or none: what is left out is left out on purpose.
        event_destinations=known.event_destinations or _named(outputs, EVENT_OUTPUTS),
        shop_key_id=outputs.get("ShopKeyId"),
    )


def with_custom(target: RunTarget, flow: CustomFlow | None, log_groups: Iterable[str]) -> RunTarget:
    """The same with the functions that flow `custom` names; `log_groups`: those given (LOG_GROUPS)."""
    if flow is None:
        return target
    functions = flow.with_functions(target.functions)
    return replace(target, functions=functions, log_groups=_log_groups(functions, log_groups))


def with_public_key(target: RunTarget, kms: Any) -> RunTarget:
    """The same with the shop's public key, fetched once through a KMS client where it is not known yet.

    Raises ConfigError where KMS refuses.
    """
    if target.shop_public_key is not None or target.shop_key_id is None:
        return target
    try:
        der = kms.get_public_key(KeyId=target.shop_key_id)["PublicKey"]
    except ClientError as error:
        refused = explain(error)
        why = error if refused is None else f"{refused.message}; {policies.hint(refused.action) or refused.hint}"
        raise ConfigError(f"SHOP_PUBLIC_KEY: not set, and KMS does not give it: {why}") from None
    return replace(target, shop_public_key=base64.b64encode(der).decode())


def api_base_url(settings: Settings, outputs: Mapping[str, str]) -> str | None:
    """Where the API answers: its own host on AWS, a path of the one endpoint anywhere else."""
    if settings.target == "aws" or "ApiId" not in outputs:
        return outputs.get("ApiBaseUrl")
    endpoint = str(settings.endpoint_url).rstrip("/")
    return f"{endpoint}/restapis/{outputs['ApiId']}/{outputs.get('ApiStage', 'prod')}/_user_request_"


def _named(outputs: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, str]:
    return {logical: outputs[key] for logical, key in keys.items() if key in outputs}


def _log_groups(functions: Mapping[str, str], given: Iterable[str]) -> dict[str, str]:
    """Logical name -> log group: those given (LOG_GROUPS) under their function's name, else Lambda's default."""
    default = {logical: f"/aws/lambda/{function_name(function)}" for logical, function in functions.items()}
    listed = list(given)
    if not listed:
        return default
    by_group = {group: logical for logical, group in default.items()}
    return {by_group.get(group, group.rsplit("/", 1)[-1]): group for group in listed}
