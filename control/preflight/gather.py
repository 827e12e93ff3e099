"""Asks the target and this machine for the facts. Nothing here changes anything or has a business effect.

An API is asked with one OPTIONS request, a function with a DryRun, which invokes nothing. What the target refuses is
an `Unknown`, what it does not have an `Absent`: no answer ends the preflight.
"""

from __future__ import annotations

import http.client
import os
import resource as limits
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from config.aws_refusals import explain
from config.settings import function_name, is_loopback
from control.function_configuration import architecture_of
from control.preflight import gateway
from control.preflight.demand import OF_QUEUE, OF_SAMPLES, OF_STREAM, Demand
from control.preflight.facts import (
    Absent,
    Account,
    Answer,
    Caller,
    Facts,
    Function,
    Key,
    LogGroup,
    Machine,
    Provisioned,
    Queue,
    Source,
    Stream,
    Table,
    Unknown,
)
from control.preflight.policies import permissions
from control.preflight.questions import Questions
from control.stack_outputs import RunTarget

ENDPOINT_TIMEOUT_S = 10.0
DATE_ERROR_S = 1.0
"""A Date is cut to the second, and servers may send one that is a second old: the true time is up to two later."""
_KMS_QUOTAS = {"RSA": "L-2AC98190", "SYMMETRIC_DEFAULT": "L-6E3AF000"}
"""Kind of key -> quota code of its cryptographic operations (AWS KMS developer guide, "Request quotas"; the code of RSA
keys stands in "Request an AWS KMS quota increase")."""


def machine() -> Machine:
    """This machine."""
    soft, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    try:
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        low, high = 49_152, 65_535  # IANA's range (RFC 6335), which other systems go by
    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        open_files=None if soft == limits.RLIM_INFINITY else soft,
        open_files_hard=None if hard == limits.RLIM_INFINITY else hard,
        ports=high - low + 1,
        cores=len(affinity(0)) if affinity is not None else os.cpu_count() or 1,
    )


def caller(questions: Questions) -> Caller | Unknown:
    """Who asks."""
    found = questions.ask("sts:GetCallerIdentity", lambda: questions.client("sts").get_caller_identity())
    if isinstance(found, Unknown):
        return found
    if isinstance(found, Absent):
        return Unknown("sts:GetCallerIdentity", "the target does not say who the caller is")
    return Caller(found["Account"], found["Arn"])


def gather(
    questions: Questions,
    who: Caller | Unknown,
    target: RunTarget,
    demand: Demand,
    *,
    region: str | None,
    may_ask_api: bool,
    signs: bool,
    has_key: bool,
    key_id: str | None,
) -> Facts:
    """Everything about the parts of the target that the demand uses. `may_ask_api`: load may go to its host; `signs`,
    `has_key`: what requests to the API carry; `key_id`: which key that is, where somebody says so."""
    address = gateway.address_of(questions, target.api_base_url) if demand.names("api") else None
    functions = {
        logical: _functions(questions, target.functions[logical], demand.invoked.get(logical) or (None,))
        for logical in demand.triggers
        if logical in target.functions
    }
    consumers = [one for one, trigger in demand.triggers.items() if trigger in (OF_STREAM, OF_QUEUE)]
    log_groups = {
        logical: group
        for logical, group in target.log_groups.items()
        if logical in demand.triggers or logical not in target.functions
    }
    if demand.names("api") and target.access_log_group is not None:
        log_groups["access log"] = target.access_log_group
    found = Facts(
        caller=who,
        asked=True,
        answers=tuple(_answers(questions, target, demand, may_ask_api=may_ask_api)),
        functions=functions,
        sources=tuple(
            source
            for logical in consumers
            if logical in target.functions
            for source in _sources(questions, logical, target.functions[logical])
        ),
        log_groups={logical: _log_group(questions, group) for logical, group in log_groups.items()},
        account=_account(questions) if demand.triggers else None,
        api=gateway.ask_api(questions, address, has_key=has_key, key_id=key_id, today=datetime.now(UTC).date()),
        streams={
            name: _stream(questions, target.streams.get(name, name))
            for name in demand.names("stream")
            if name in target.streams or name not in OF_SAMPLES
        },
        tables={
            name: _table(questions, target.tables[name])
            for name in sorted({*demand.names("write"), *demand.names("read")})
            if name in target.tables
        },
        key=_key(questions, target.shop_key_id) if demand.names("decrypt") and target.shop_key_id else None,
        queue=(
            _queue(questions, target.event_destinations["sqs"])
            if "events" in demand.names("queue") and "sqs" in target.event_destinations
            else None
        ),
        permissions=permissions(questions, who, demand, target, region, address if signs else None),
    )
    # Only now is it known what was refused.
    return replace(found, denied=tuple(questions.denied))


# ---------------------------------------------------------------- endpoints


def _answers(questions: Questions, target: RunTarget, demand: Demand, *, may_ask_api: bool) -> Iterable[Answer]:
    if demand.names("api") and target.api_base_url is not None and may_ask_api:
        yield ask_endpoint(target.api_base_url)
    for logical, qualifiers in sorted(demand.invoked.items()):
        if logical in target.functions:
            for qualifier in qualifiers or (None,):
                yield _dry_run(questions, logical, target.functions[logical], qualifier)
    destinations: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
        "sqs": ("queue", lambda url: questions.client("sqs").get_queue_attributes(QueueUrl=url)),
        "sns": ("topic", lambda arn: questions.client("sns").get_topic_attributes(TopicArn=arn)),
        "events": ("bus", lambda name: questions.client("events").describe_event_bus(Name=name)),
        "kinesis": (
            "stream",
            lambda name: questions.client("kinesis").describe_stream_summary(StreamName=name.rpartition("/")[2]),
        ),
    }
    for service, address in target.event_destinations.items():
        kind, question = destinations[service]
        if "events" in demand.names(kind):
            plain = address.rpartition("/")[2].rpartition(":")[2]
            asked = Answer(service, f"attributes of {kind} {plain}", None, by_load=False)
            yield _asked(questions, asked, partial(question, address))


def ask_endpoint(url: str, timeout_s: float = ENDPOINT_TIMEOUT_S) -> Answer:
    """One OPTIONS request to the base URL of an API; API Gateway answers it itself, unless there is such a method.

    Through a proxy where the environment names one, never to this machine.
    """
    parts = urlsplit(url)
    where, asked = parts.netloc.rpartition("@")[2], f"OPTIONS {parts.path or '/'}"
    proxies = urllib.request.ProxyHandler({} if is_loopback(parts.hostname) else None)
    request = urllib.request.Request(url, method="OPTIONS")
    sent_at = time.time()
    try:
        with urllib.request.build_opener(proxies).open(request, timeout=timeout_s) as answer:
            status, headers = answer.status, answer.headers
    except urllib.error.HTTPError as refused:
        status, headers = refused.code, refused.headers
        refused.close()
    except (OSError, http.client.HTTPException) as error:
        return Answer(where, asked, None, str(getattr(error, "reason", error)))
    told = Answer(where, asked, status, headers.get("x-amzn-errortype") or "")
    return _timed(told, headers.get("date"), sent_at, time.time())


def _timed(answer: Answer, date: str | None, sent_at: float, received_at: float) -> Answer:
    """The same with how long it took and, where it has a Date, how far the clocks are apart."""
    offset_s = None
    if date is not None:
        try:
            said = parsedate_to_datetime(date).timestamp() + DATE_ERROR_S
            offset_s = said - (sent_at + received_at) / 2
        except ValueError:
            pass
    return replace(
        answer,
        ms=1000 * (received_at - sent_at),
        clock_offset_s=offset_s,
        clock_error_s=DATE_ERROR_S + (received_at - sent_at) / 2,
    )


def _dry_run(questions: Questions, logical: str, name: str, qualifier: str | None) -> Answer:
    options = {"Qualifier": qualifier} if qualifier else {}
    lambda_ = questions.client("lambda")
    return _asked(
        questions,
        Answer("lambda", f"DryRun of {logical}{f':{qualifier}' if qualifier else ''}", None),
        lambda: lambda_.invoke(FunctionName=name, InvocationType="DryRun", **options),
    )


def _asked(questions: Questions, answer: Answer, question: Callable[[], dict[str, Any]]) -> Answer:
    """The answer, filled in with what the service said."""
    sent_at = time.time()
    error = missing = ""
    try:
        metadata = question()["ResponseMetadata"]
    except ClientError as refused:
        metadata = refused.response.get("ResponseMetadata", {})
        error = str(refused.response.get("Error", {}).get("Code", ""))
        told = explain(refused, questions.profile)
        missing = (told.action if told is not None else None) or ""
    except BotoCoreError as failure:
        return replace(answer, error=str(failure))
    answer = replace(answer, status=metadata.get("HTTPStatusCode"), error=error, missing=missing)
    return _timed(answer, metadata.get("HTTPHeaders", {}).get("date"), sent_at, time.time())


# ---------------------------------------------------------------- functions


def _functions(
    questions: Questions, name: str, qualifiers: Iterable[str | None]
) -> dict[str | None, Function | Absent | Unknown]:
    """A function as each qualifier has it."""
    found = {qualifier: _function(questions, name, qualifier) for qualifier in qualifiers}
    if not any(isinstance(one, Function) for one in found.values()):
        return found
    lambda_, plain = questions.client("lambda"), function_name(name)
    reserved = questions.ask(
        "lambda:GetFunctionConcurrency",
        lambda: lambda_.get_function_concurrency(FunctionName=plain).get("ReservedConcurrentExecutions"),
    )
    provisioned = questions.ask(
        "lambda:ListProvisionedConcurrencyConfigs",
        lambda: tuple(
            Provisioned(
                one["FunctionArn"].rpartition(":")[2],
                one["RequestedProvisionedConcurrentExecutions"],
                one.get("AvailableProvisionedConcurrentExecutions", 0),
                one["Status"],
            )
            for one in lambda_.list_provisioned_concurrency_configs(FunctionName=plain)["ProvisionedConcurrencyConfigs"]
        ),
    )
    return {
        qualifier: replace(
            one,
            reserved=None if isinstance(reserved, Absent) else reserved,
            provisioned=() if isinstance(provisioned, Absent) else provisioned,
        )
        if isinstance(one, Function)
        else one
        for qualifier, one in found.items()
    }


def _function(questions: Questions, name: str, qualifier: str | None) -> Function | Absent | Unknown:
    """What a version has of its own; what the function has as a whole is left out."""
    lambda_ = questions.client("lambda")
    options = {"Qualifier": qualifier} if qualifier else {}
    configuration = questions.ask(
        "lambda:GetFunctionConfiguration",
        lambda: lambda_.get_function_configuration(FunctionName=name, **options),
    )
    if isinstance(configuration, Absent | Unknown):
        return configuration
    logging, plain = configuration.get("LoggingConfig") or {}, function_name(name)
    on_failure = questions.ask(
        "lambda:GetFunctionEventInvokeConfig",
        lambda: (
            (lambda_.get_function_event_invoke_config(FunctionName=name, **options).get("DestinationConfig") or {}).get(
                "OnFailure"
            )
            or {}
        ).get("Destination"),
    )
    return Function(
        name=plain,
        qualifier=qualifier,
        timeout_s=configuration["Timeout"],
        memory_mb=configuration["MemorySize"],
        architecture=architecture_of(configuration),
        tracing=(configuration.get("TracingConfig") or {}).get("Mode", "PassThrough"),
        log_group=logging.get("LogGroup") or f"/aws/lambda/{plain}",
        log_format=logging.get("LogFormat", "Text"),
        application_log_level=logging.get("ApplicationLogLevel"),
        system_log_level=logging.get("SystemLogLevel"),
        dead_letter=(configuration.get("DeadLetterConfig") or {}).get("TargetArn"),
        on_failure=None if isinstance(on_failure, Absent) else on_failure,
        reserved=None,
        provisioned=(),
    )


def _sources(questions: Questions, logical: str, name: str) -> Iterable[Source]:
    found = questions.ask(
        "lambda:ListEventSourceMappings",
        lambda: questions.client("lambda").list_event_source_mappings(FunctionName=function_name(name)),
    )
    if isinstance(found, Absent | Unknown):
        return
    for mapping in found["EventSourceMappings"]:
        arn = mapping.get("EventSourceArn", "")
        destination = (mapping.get("DestinationConfig") or {}).get("OnFailure") or {}
        yield Source(
            function=logical,
            kind=arn.split(":")[2] if arn.count(":") >= 2 else "",
            name=arn.rpartition("/")[2].rpartition(":")[2],
            state=mapping.get("State", ""),
            on_failure=destination.get("Destination"),
            maximum_concurrency=(mapping.get("ScalingConfig") or {}).get("MaximumConcurrency"),
            parallelization=mapping.get("ParallelizationFactor") or 1,
        )


def _log_group(questions: Questions, name: str) -> LogGroup | Absent | Unknown:
    found = questions.ask(
        "logs:DescribeLogGroups", lambda: questions.client("logs").describe_log_groups(logGroupNamePrefix=name)
    )
    if isinstance(found, Absent | Unknown):
        return found
    for group in found["logGroups"]:
        if group["logGroupName"] == name:
            return LogGroup(group.get("retentionInDays"), group.get("logGroupClass", "STANDARD"))
    return Absent()


def _account(questions: Questions) -> Account | Unknown:
    found = questions.ask("lambda:GetAccountSettings", lambda: questions.client("lambda").get_account_settings())
    limits = {} if isinstance(found, Absent | Unknown) else found.get("AccountLimit") or {}
    if isinstance(found, Unknown):
        return found
    if "ConcurrentExecutions" not in limits:
        return Unknown("lambda:GetAccountSettings", "the target does not tell the quotas of the account")
    concurrency = limits["ConcurrentExecutions"]
    return Account(concurrency, limits.get("UnreservedConcurrentExecutions", concurrency))


# ---------------------------------------------------------------- what stands before and behind functions


def _stream(questions: Questions, name: str) -> Stream | Absent | Unknown:
    found = questions.ask(
        "kinesis:DescribeStreamSummary",
        lambda: questions.client("kinesis").describe_stream_summary(StreamName=name)["StreamDescriptionSummary"],
    )
    if isinstance(found, Absent | Unknown):
        return found
    mode = (found.get("StreamModeDetails") or {}).get("StreamMode", "PROVISIONED")
    return Stream(mode, found["OpenShardCount"], found.get("StreamStatus", "ACTIVE"))


def _table(questions: Questions, name: str) -> Table | Absent | Unknown:
    found = questions.ask(
        "dynamodb:DescribeTable", lambda: questions.client("dynamodb").describe_table(TableName=name)["Table"]
    )
    if isinstance(found, Absent | Unknown):
        return found
    units = found.get("ProvisionedThroughput") or {}
    return Table(
        mode=(found.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED"),
        write_units=units.get("WriteCapacityUnits", 0),
        read_units=units.get("ReadCapacityUnits", 0),
        warm_write_units=(found.get("WarmThroughput") or {}).get("WriteUnitsPerSecond") or None,
        status=found.get("TableStatus", "ACTIVE"),
    )


def _key(questions: Questions, key_id: str) -> Key | Absent | Unknown:
    found = questions.ask("kms:DescribeKey", lambda: questions.client("kms").describe_key(KeyId=key_id)["KeyMetadata"])
    if isinstance(found, Absent | Unknown):
        return found
    spec = found.get("KeySpec", "SYMMETRIC_DEFAULT")
    code = _KMS_QUOTAS.get("RSA" if spec.startswith("RSA_") else spec)
    quota = None if code is None else _kms_quota(questions, code)
    return Key(spec, found.get("KeyState", "Enabled"), quota)


def _kms_quota(questions: Questions, code: str) -> float | Unknown | None:
    """Requests a second; None where there is no such quota, or another one by that code."""
    quotas = questions.client("service-quotas")
    found = questions.ask(
        "servicequotas:GetServiceQuota",
        lambda: quotas.get_service_quota(ServiceCode="kms", QuotaCode=code)["Quota"],
    )
    if isinstance(found, Unknown):
        return found
    if isinstance(found, Absent) or not found.get("QuotaName", "").startswith("Cryptographic operations"):
        return None
    return float(found["Value"])


def _queue(questions: Questions, url: str) -> Queue | Absent | Unknown:
    found = questions.ask(
        "sqs:GetQueueAttributes",
        lambda: questions.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"],
    )
    if isinstance(found, Absent | Unknown):
        return found
    return Queue(float(found.get("VisibilityTimeout", 30)), "RedrivePolicy" in found)
