"""CloudWatch alarms for what a run is judged by: errors, throttles, durations, concurrency, ages, dead letters, 5xx.

The limits are the alerts of `config/metrics.toml` (METRIC_LIMITS); shares of a time limit or of concurrency become
figures by what is deployed. An alarm is ours by its name, `swarmscope/<stack>/…`: a stack's name has no slash, so that
nobody else's is ever touched.

    wanted = alarms_for(stack_name, watched, limits, topic=None)
    changes = plan(wanted, existing(cloudwatch, stack_name))
    carry_out(cloudwatch, changes, stack_name, progress)

Sources: Amazon CloudWatch API reference, PutMetricAlarm, DescribeAlarms, DeleteAlarms (at most 100 names a call), user
guide, "Using Amazon CloudWatch alarms"; AWS Lambda developer guide, "Types of metrics for Lambda functions"; Amazon API
Gateway developer guide, "dimensions and metrics".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.log_groups import unqualified
from config.errors import ConfigError
from config.metric_limits import AlarmRule, Condition, MetricLimit, MetricLimits

Dimensions = tuple[tuple[str, str], ...]

_DELETED_A_CALL = 100
_COMPARISONS = {
    ">": "GreaterThanThreshold",
    ">=": "GreaterThanOrEqualToThreshold",
    "<": "LessThanThreshold",
    "<=": "LessThanOrEqualToThreshold",
}
_FOLLOW_UP: Mapping[str, str] = {
    "Errors": "python -m analysis query errors shows them",
    "Throttles": "more concurrency, or fewer at a time",
    "Duration": "near the time limit",
    "ConcurrentExecutions": "near the concurrency that it may have",
    "IteratorAge": "the consumer falls behind its stream",
    "DeadLetterErrors": "events are lost: they reach neither the function nor its dead-letter queue",
}
"""Metric of a function that is watched -> what its alarm says beside the limit."""


@dataclass(frozen=True)
class WatchedFunction:
    """What an alarm must know of a function."""

    name: str
    """Physical, unqualified."""
    timeout_s: float | None
    concurrency: int | None
    """Reserved, else the account's; None where neither is known."""
    reads_stream: bool
    has_dead_letters: bool


@dataclass(frozen=True)
class Watched:
    """What is deployed, as far as alarms need it."""

    functions: Mapping[str, WatchedFunction]
    """By logical name."""
    api: Mapping[str, Any] | None
    """`kind`, `id`, `name`, `stage` (analysis.deployment); None where there is none."""


@dataclass(frozen=True)
class Alarm:
    """One alarm, as PutMetricAlarm takes it."""

    name: str
    request: Mapping[str, Any]
    """Everything but tags."""

    @property
    def limit(self) -> str:
        return limit_in(str(self.request["AlarmDescription"]))


@dataclass(frozen=True)
class Change:
    """What is to be done about one alarm."""

    action: Literal["create", "update", "keep", "delete"]
    name: str
    alarm: Alarm | None
    """None for one that is to be deleted."""
    differing: tuple[str, ...] = ()
    """Properties that an update changes."""


def prefix(stack_name: str) -> str:
    """What the names of a stack's alarms begin with."""
    return f"swarmscope/{stack_name}/"


def short_name(name: str, stack_name: str) -> str:
    """The name of one of a stack's alarms without what they all begin with; the metric comes last in it."""
    return name.removeprefix(prefix(stack_name))


def limit_in(description: str) -> str:
    """`> 1% of Invocations`: what an alarm with this description rings at."""
    return description.partition(":")[0].partition(" ")[2]


def alarms_for(stack_name: str, watched: Watched, limits: MetricLimits, topic: str | None) -> list[Alarm]:
    """The alarms of a stack. `topic`: ARN of an SNS topic that is told when one rings, and when it is over.

    Left out is what cannot ring: a share of something unknown, dead letters of a function without a queue for them,
    the age of a stream that a function does not read. Raises ConfigError for a limit that makes no alarm.
    """
    rule = limits.alarms
    _check(limits)
    alarms = []
    for logical, function in watched.functions.items():
        for metric in _FOLLOW_UP:
            limit = limits.functions.get(metric)
            if limit is None or limit.alert is None or not _can_ring(metric, function):
                continue
            measured = _measured(metric, function, limit, rule)
            if measured is not None:
                name = f"{prefix(stack_name)}{logical}/{metric}"
                description = f"{metric} {_in_words(limit)}: {logical}, {_FOLLOW_UP[metric]}"
                alarms.append(_alarm(name, description, limit.alert, measured, _datapoints(limit, rule), rule, topic))
    if watched.api is not None:
        # Of an HTTP API the metric has another name.
        rest = watched.api["kind"] == "rest"
        metric = "5XXError" if rest else "5xx"
        api = ("ApiName", watched.api["name"]) if rest else ("ApiId", watched.api["id"])
        dimensions = (api, ("Stage", watched.api["stage"]))
        measured = _share(metric, "Count", "AWS/ApiGateway", dimensions, rule) | {"Threshold": rule.gateway_5xx.limit}
        description = f"{metric} {rule.gateway_5xx.text} of Count: stage {watched.api['stage']} answers with failures"
        name = f"{prefix(stack_name)}api/5XXError"
        alarms.append(_alarm(name, description, rule.gateway_5xx, measured, rule.datapoints, rule, topic))
    return alarms


def plan(wanted: Sequence[Alarm], there: Mapping[str, Mapping[str, Any]]) -> list[Change]:
    """What makes `there` (name -> as DescribeAlarms tells it) what is wanted, in its order; deletions come last."""
    changes = []
    for alarm in wanted:
        before = there.get(alarm.name)
        if before is None:
            changes.append(Change("create", alarm.name, alarm))
            continue
        differing = tuple(key for key, value in alarm.request.items() if not _covers(before.get(key), value))
        changes.append(Change("update" if differing else "keep", alarm.name, alarm, differing))
    names = {alarm.name for alarm in wanted}
    return changes + [Change("delete", name, None) for name in sorted(there) if name not in names]


def existing(cloudwatch: Any, stack_name: str) -> dict[str, dict[str, Any]]:
    """Our alarms of a stack, by name, as DescribeAlarms tells them. Raises what botocore raises."""
    pages = cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=prefix(stack_name), AlarmTypes=["MetricAlarm"]
    )
    return {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}


def carry_out(cloudwatch: Any, changes: Sequence[Change], stack_name: str, progress: Callable[[str], None]) -> None:
    """Do what a plan says. Interrupted, the next plan says what is left. Raises what botocore raises."""
    for change in changes:
        if change.alarm is not None and change.action in ("create", "update"):
            # Tags are taken at the creation only.
            tags = [{"Key": "swarmscope:stack", "Value": stack_name}] if change.action == "create" else []
            cloudwatch.put_metric_alarm(**change.alarm.request, **({"Tags": tags} if tags else {}))
            progress(f"{change.action}d {change.name}")
    delete(cloudwatch, [change.name for change in changes if change.action == "delete"], progress)


def delete(cloudwatch: Any, names: Sequence[str], progress: Callable[[str], None]) -> None:
    """Delete these alarms. Raises what botocore raises."""
    for first in range(0, len(names), _DELETED_A_CALL):
        some = list(names[first : first + _DELETED_A_CALL])
        cloudwatch.delete_alarms(AlarmNames=some)
        for name in some:
            progress(f"deleted {name}")


def watched_of(client: Callable[[str], Any], functions: Mapping[str, str], deployment: Mapping[str, Any]) -> Watched:
    """What alarms must know. `functions`: logical name -> name or ARN; `deployment`: of analysis.deployment.

    Raises what botocore raises.
    """
    lambda_ = client("lambda")
    account = deployment["account"].get("concurrency")
    found = {}
    for logical, name in functions.items():
        deployed = deployment["functions"][logical]
        reserved = deployed.get("reserved_concurrency")
        found[logical] = WatchedFunction(
            name=unqualified(name),
            timeout_s=deployed.get("timeout_s"),
            concurrency=account if reserved is None else reserved,
            reads_stream=any(_stream_sources(lambda_, name)),
            has_dead_letters="TargetArn"
            in lambda_.get_function_configuration(FunctionName=name).get("DeadLetterConfig", {}),
        )
    return Watched(found, deployment["api"])


def _stream_sources(lambda_: Any, function: str) -> Iterator[str]:
    for page in lambda_.get_paginator("list_event_source_mappings").paginate(FunctionName=function):
        for mapping in page["EventSourceMappings"]:
            service = mapping.get("EventSourceArn", "").split(":")[2:3]
            if service in (["kinesis"], ["dynamodb"]):
                yield mapping["EventSourceArn"]


def _check(limits: MetricLimits) -> None:
    """Raise ConfigError naming every alert that CloudWatch cannot compare."""
    alerts = {
        f"functions.{metric}": limits.functions[metric].alert for metric in _FOLLOW_UP if metric in limits.functions
    }
    alerts["alarms.gateway_5xx"] = limits.alarms.gateway_5xx
    problems = [
        f"METRIC_LIMITS: {name}: {alert.text!r} makes no alarm; CloudWatch compares by {', '.join(_COMPARISONS)}"
        for name, alert in alerts.items()
        if alert is not None and alert.operator not in _COMPARISONS
    ]
    problems += [
        f"METRIC_LIMITS: functions.{metric}: `left_of` makes no alarm; say the same with `of`"
        for metric in _FOLLOW_UP
        if metric in limits.functions and limits.functions[metric].left_of is not None
    ]
    if problems:
        raise ConfigError(problems)


def _can_ring(metric: str, function: WatchedFunction) -> bool:
    return {"IteratorAge": function.reads_stream, "DeadLetterErrors": function.has_dead_letters}.get(metric, True)


def _measured(metric: str, function: WatchedFunction, limit: MetricLimit, rule: AlarmRule) -> dict[str, Any] | None:
    """The part of the request that says what is measured and beyond which figure; None where that is not known."""
    assert limit.alert is not None
    dimensions = (("FunctionName", function.name),)
    whole: dict[str, float | None] = {
        "timeout": None if function.timeout_s is None else function.timeout_s * 1000,
        "concurrency": function.concurrency,
    }
    if limit.of is not None and limit.of not in whole:
        return _share(metric, limit.of, "AWS/Lambda", dimensions, rule) | {"Threshold": limit.alert.limit}
    of = 1.0 if limit.of is None else whole[limit.of]
    if of is None:
        return None
    return {
        **_metric("AWS/Lambda", metric, dimensions),
        "Statistic": "Sum" if metric in ("Errors", "Throttles", "DeadLetterErrors") else "Maximum",
        "Period": int(rule.period),
        "Threshold": round(limit.alert.limit * of, 6),
    }


def _share(metric: str, of: str, namespace: str, dimensions: Dimensions, rule: AlarmRule) -> dict[str, Any]:
    """One metric as a share of another: metric math, which has no data point where there was nothing to share."""

    def sums(identifier: str, name: str) -> dict[str, Any]:
        stat = {"Metric": _metric(namespace, name, dimensions), "Period": int(rule.period), "Stat": "Sum"}
        return {"Id": identifier, "MetricStat": stat, "ReturnData": False}

    share = {"Id": "share", "Expression": "part / whole", "Label": f"{metric} of {of}", "ReturnData": True}
    return {"Metrics": [share, sums("part", metric), sums("whole", of)]}


def _datapoints(limit: MetricLimit, rule: AlarmRule) -> int:
    """One that should never be is one too many."""
    never = limit.target is not None and limit.target.operator == "==" and limit.target.limit == 0
    return 1 if never else rule.datapoints


def _alarm(
    name: str,
    description: str,
    condition: Condition,
    measured: Mapping[str, Any],
    datapoints: int,
    rule: AlarmRule,
    topic: str | None,
) -> Alarm:
    told = [topic] if topic else []
    return Alarm(
        name,
        {
            "AlarmName": name,
            "AlarmDescription": description,
            **measured,
            "ComparisonOperator": _COMPARISONS[condition.operator],
            "EvaluationPeriods": rule.out_of,
            "DatapointsToAlarm": datapoints,
            # A function that nobody calls reports nothing, and that is well.
            "TreatMissingData": "notBreaching",
            "AlarmActions": told,
            "OKActions": told,
        },
    )


def _metric(namespace: str, name: str, dimensions: Dimensions) -> dict[str, Any]:
    return {
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
    }


def _in_words(limit: MetricLimit) -> str:
    """`> 80% of timeout`."""
    assert limit.alert is not None
    return limit.alert.text + (f" of {limit.of}" if limit.of else "")


def _covers(there: Any, wanted: Any) -> bool:
    """Whether what is there has everything that is wanted: AWS answers with more than it was given."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(_covers(there.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        there = there or []
        return len(there) == len(wanted) and all(map(_covers, there, wanted))
    return bool(there == wanted)
