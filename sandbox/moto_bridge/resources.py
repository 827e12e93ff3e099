"""moto's state read as the frozen values of `sandbox.definitions`. Nothing here is cached; the bridge does that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from moto.apigateway.models import apigateway_backends
from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import LambdaFunction, lambda_backends
from moto.cloudformation.models import cloudformation_backends
from moto.events.models import events_backends
from moto.kinesis.models import kinesis_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from sandbox.definitions import (
    ACCOUNT_ID,
    ApiStage,
    EventRule,
    FunctionDefinition,
    QueueDefinition,
    QueueSource,
    Route,
    StreamSource,
)
from sandbox.moto_bridge.lambda_configuration import log_format, log_group, snap_start

_FUNCTION_NAME = re.compile(
    r"(?:(?:arn:[\w-]+:lambda:(?P<region>[\w-]+):)?\d{12}:function:)?(?P<name>[\w-]+)(?::(?P<qualifier>[\w$-]+))?$"
)
_INTEGRATION_FUNCTION = re.compile(r"/functions/(arn:[^/]+)/invocations$")


@dataclass(frozen=True)
class ShardRange:
    """One open shard and the partition-key hashes it takes, both ends included."""

    shard_id: str
    first_hash: int
    last_hash: int


def function(name: str, qualifier: str | None = None, region: str | None = None) -> FunctionDefinition | None:
    """By name, ARN or partial ARN, each with or without a qualifier, in one region (the ARN's wins) or in any."""
    match = _FUNCTION_NAME.match(name)
    if not match:
        return None
    qualifier = match["qualifier"] or qualifier
    for backend in _backends(lambda_backends, match["region"] or region):
        try:
            found = backend._lambdas.get_function_by_name_with_qualifier(match["name"], qualifier)
            latest = backend._lambdas.get_function_by_name_with_qualifier(match["name"], "$LATEST")
        except UnknownFunctionException:
            continue
        return _function_definition(found, latest)
    return None


def _function_definition(found: LambdaFunction, latest: LambdaFunction) -> FunctionDefinition:
    return FunctionDefinition(
        name=found.function_name,
        arn=latest.function_arn,
        version=str(found.version),
        handler=found.handler or "",
        memory_mb=int(found.memory_size),
        timeout_s=float(found.timeout),
        environment={name: str(value) for name, value in (found.environment_vars or {}).items()},
        code_sha256=found.code_sha_256,
        code_zip=getattr(found, "code_bytes", b""),
        log_group=log_group(found),
        log_format=log_format(found),
        snap_start=snap_start(found),
        tracing_active=found.tracing_config.get("Mode") == "Active",
        # a version is a copy of the function as it was: reserved concurrency belongs to the function as it is
        reserved_concurrency=None if latest.reserved_concurrency is None else int(latest.reserved_concurrency),
    )


def reserved_concurrency_total() -> int:
    """Of all functions together."""
    return sum(
        int(latest.reserved_concurrency or 0)
        for backend in _backends(lambda_backends)
        for latest in backend._lambdas.latest()
    )


def api_stage(api_id: str | None, stage_name: str) -> ApiStage | None:
    """By API id, or the only API that has such a stage."""
    apis = [
        api
        for backend in _backends(apigateway_backends)
        for api in backend.apis.values()
        if stage_name in api.stages and api_id in (None, api.id)
    ]
    if len(apis) != 1:
        return None
    api = apis[0]
    stage = api.stages[stage_name]
    throttle = stage.method_settings.get("*/*", {})
    access_log = stage.access_log_settings or {}
    return ApiStage(
        api_id=api.id,
        name=api.name,
        stage=stage_name,
        routes=tuple(_routes(api)),
        throttle_rate=throttle.get("throttlingRateLimit"),
        throttle_burst=throttle.get("throttlingBurstLimit"),
        access_log_group=_log_group_name(access_log.get("destinationArn")),
        access_log_format=access_log.get("format"),
        tracing=bool(stage.tracing_enabled),
        api_keys=frozenset(_api_keys(api.id, stage_name)),
    )


def _api_keys(api_id: str, stage_name: str) -> Iterator[str]:
    """Values of the enabled keys in the usage plans of a stage."""
    for backend in _backends(apigateway_backends):
        for plan in backend.usage_plans.values():
            if any((of["apiId"], of["stage"]) == (api_id, stage_name) for of in plan.api_stages):
                for key_id in backend.usage_plan_keys.get(plan.id, ()):
                    key = backend.keys.get(key_id)
                    if key is not None and key.enabled:
                        yield key.value


def _routes(api: Any) -> Iterator[Route]:
    for resource in api.resources.values():
        for verb, method in resource.resource_methods.items():
            integration = method.method_integration
            target = integration and integration.integration_type == "AWS_PROXY" and integration.uri
            arn = _INTEGRATION_FUNCTION.search(target) if target else None
            name = _FUNCTION_NAME.match(arn[1]) if arn else None
            if name is None:
                continue
            timeout_ms = integration.timeout_in_millis
            yield Route(
                method=verb,
                path=resource.get_path(),
                function_name=name["name"],
                qualifier=name["qualifier"],
                timeout_s=29.0 if timeout_ms is None else int(timeout_ms) / 1000,
                authorization_type=method.authorization_type,
                # From a template it may be the text of it.
                api_key_required=str(method.api_key_required).lower() == "true",
            )


def _log_group_name(arn: str | None) -> str | None:
    """`arn:aws:logs:us-east-1:123456789012:log-group:/aws/apigateway/x[:*]` -> `/aws/apigateway/x`."""
    if not arn:
        return None
    return arn.partition(":log-group:")[2].removesuffix(":*") or None


def subscribed_functions(topic_arn: str) -> Sequence[tuple[str, str]]:
    """(subscription ARN, function ARN) of each lambda subscription."""
    return tuple(
        (subscription.arn, subscription.endpoint)
        for backend in _backends(sns_backends, _region_of(topic_arn))
        for subscription in backend.subscriptions.values()
        if subscription.topic.arn == topic_arn and subscription.protocol == "lambda"
    )


def topic_exists(topic_arn: str) -> bool:
    return any(topic_arn in backend.topics for backend in _backends(sns_backends, _region_of(topic_arn)))


def open_shards(stream_name: str, region: str | None = None) -> Sequence[ShardRange] | None:
    for backend in _backends(kinesis_backends, region):
        stream = backend.streams.get(stream_name)
        if stream is not None:
            shards = sorted((s for s in stream.shards.values() if s.is_open), key=lambda s: s.starting_hash)
            return tuple(ShardRange(s.shard_id, s.starting_hash, s.ending_hash) for s in shards)
    return None


def stream_sources() -> Sequence[StreamSource]:
    """Enabled mappings of Kinesis streams."""
    return tuple(
        _stream_source(mapping)
        for backend in _backends(lambda_backends)
        for mapping in backend._event_source_mappings.values()
        if ":kinesis:" in mapping.event_source_arn and str(mapping.enabled).lower() != "false"
    )


def _stream_source(mapping: Any) -> StreamSource:
    name, qualifier = _target(mapping)
    retries = mapping.max_retry_attempts
    return StreamSource(
        uuid=mapping.uuid,
        stream_name=mapping.event_source_arn.rpartition("/")[2],
        stream_arn=mapping.event_source_arn,
        function_name=name,
        qualifier=qualifier,
        batch_size=int(mapping.batch_size),
        window_s=float(mapping.max_batch_window or 0),
        starting_position=mapping.starting_position,
        max_retries=None if retries in (None, "", -1, "-1") else int(retries),
        bisects=str(mapping.bisect_on_error).lower() == "true",
        on_failure_arn=((mapping.destination_config or {}).get("OnFailure") or {}).get("Destination"),
    )


def queue(name: str, region: str) -> QueueDefinition | None:
    """A standard queue."""
    for backend in _backends(sqs_backends, region):
        found = backend.queues.get(name)
        if found is not None and not found.fifo_queue:
            redrive = found.redrive_policy or {}
            return QueueDefinition(
                name=found.name,
                arn=found.queue_arn,
                visibility_timeout_s=float(found.visibility_timeout),
                delay_s=float(found.delay_seconds),
                message_max_bytes=int(found.maximum_message_size),
                wait_s=float(found.receive_message_wait_time_seconds),
                dead_letter_arn=redrive.get("deadLetterTargetArn"),
                max_receive_count=redrive.get("maxReceiveCount"),
            )
    return None


def queue_sources() -> Sequence[QueueSource]:
    """Enabled mappings of SQS queues."""
    return tuple(
        _queue_source(mapping)
        for backend in _backends(lambda_backends)
        for mapping in backend._event_source_mappings.values()
        if ":sqs:" in mapping.event_source_arn and str(mapping.enabled).lower() != "false"
    )


def _queue_source(mapping: Any) -> QueueSource:
    name, qualifier = _target(mapping)
    most = (mapping.scaling_config or {}).get("MaximumConcurrency")
    return QueueSource(
        uuid=mapping.uuid,
        queue_arn=mapping.event_source_arn,
        function_name=name,
        qualifier=qualifier,
        batch_size=int(mapping.batch_size),
        window_s=float(mapping.max_batch_window or 0),
        max_concurrency=None if most is None else int(most),
        reports_failures="ReportBatchItemFailures" in (mapping.function_response_types or ()),
    )


def _target(mapping: Any) -> tuple[str, str | None]:
    """Name and qualifier of a mapping's function."""
    found = _FUNCTION_NAME.match(mapping.function_arn)
    if found is None:
        raise ValueError(f"event source mapping {mapping.uuid} targets {mapping.function_arn!r}")
    return found["name"], found["qualifier"]


def event_rules(bus: str, region: str) -> Sequence[EventRule] | None:
    """The enabled rules of a bus that have an event pattern; None where there is no such bus."""
    for backend in _backends(events_backends, region):
        found = backend.event_buses.get(bus)
        if found is not None:
            return tuple(
                EventRule(
                    arn=rule.arn,
                    matches=rule.event_pattern.matches_event,
                    functions=tuple(target["Arn"] for target in rule.targets if ":lambda:" in target["Arn"]),
                )
                for rule in found.rules.values()
                if rule.state == "ENABLED" and rule.event_pattern.get_pattern()
            )
    return () if bus == "default" else None


def logical_names() -> dict[str, str]:
    """Names of the resources that a CloudFormation stack owns, without `<stack name>-`."""
    names = {}
    for backend in _backends(cloudformation_backends):
        for stack in backend.stacks.values():
            prefix = f"{stack.name}-"
            for resource in list(stack.stack_resources):
                # topics are known by their ARN, queues by their URL, everything else that is counted by its name
                name = re.split("[:/]", str(getattr(resource, "physical_resource_id", "")))[-1]
                if name.startswith(prefix) and len(name) > len(prefix):
                    names[name] = name.removeprefix(prefix)
    return names


def _backends(of_service: Any, region: str | None = None) -> list[Any]:
    """The backends of the sandbox's account that exist: of one region, or of all."""
    regions = of_service[ACCOUNT_ID]
    if region is None:
        return list(regions.values())
    return [regions[region]] if region in regions.keys() else []  # noqa: SIM118 (`in regions` knows every AWS region)


def _region_of(arn: str) -> str | None:
    parts = arn.split(":")
    return parts[3] if len(parts) > 5 and parts[0] == "arn" else None
