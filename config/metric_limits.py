"""What the CloudWatch metrics of a run should hold: `config/metrics.toml`, and a file of the user's over it.

    [functions.Duration]
    of = "timeout"
    target = "< 50%"
    alert = "> 80%"

A limit is read into numbers: a share from 0 to 1, milliseconds, or a count.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from config.errors import ConfigError, problems_of
from config.numbers import limit_of
from config.thresholds import OPERATORS
from config.timespans import parse_timespan

SHIPPED = Path(__file__).parent / "metrics.toml"

SUM, MAXIMUM, MEAN = "Sum", "Maximum", "Mean"
"""Statistics over a run: sums of its minutes, the greatest of them, and the mean of all samples."""

METRICS: Mapping[str, Mapping[str, str]] = {
    "functions": {
        "Invocations": SUM,
        "Errors": SUM,
        "Throttles": SUM,
        "ConcurrentExecutions": MAXIMUM,
        "Duration": MAXIMUM,
        "AsyncEventsReceived": SUM,
        "AsyncEventsDropped": SUM,
        "AsyncEventAge": MAXIMUM,
        "DeadLetterErrors": SUM,
        "IteratorAge": MAXIMUM,
        "ProvisionedConcurrencyInvocations": SUM,
        "ProvisionedConcurrencySpilloverInvocations": SUM,
    },
    "account": {"ConcurrentExecutions": MAXIMUM, "UnreservedConcurrentExecutions": MAXIMUM},
    "api": {"Count": SUM, "4XXError": SUM, "5XXError": SUM, "Latency": MEAN, "IntegrationLatency": MEAN},
}
"""Group -> metric that is read -> the statistic that means something for it. Sources: AWS Lambda developer guide,
"Types of metrics for Lambda functions"; Amazon API Gateway developer guide, "dimensions and metrics"."""

REFERENCES: Mapping[str, frozenset[str]] = {
    "functions": frozenset({"logs", "Invocations", "timeout", "concurrency", "events"}),
    "account": frozenset({"concurrency", "unreserved"}),
    "api": frozenset({"client", "Latency"}),
}
"""Group of metrics -> what its values may be held against."""

_CONDITION = re.compile(r"(?P<operator><=|>=|==|!=|<|>)\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>%|ms|s)?")


@dataclass(frozen=True)
class Condition:
    """`< 50%`, read."""

    text: str
    operator: str
    limit: float

    def holds(self, value: float) -> bool:
        return OPERATORS[self.operator](value, self.limit)


def parse_condition(text: Any) -> Any:
    """Raises ValueError naming the text and the accepted form."""
    match = _CONDITION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not an operator and a number such as `< 50%`, `> 5s` or `== 0`")
    return Condition(text.strip(), match["operator"], limit_of(match["number"], match["unit"]))


Limit = Annotated[Condition, BeforeValidator(parse_condition)]


class MetricLimit(BaseModel):
    """What one metric should hold. Exactly one of `target` and `matches` says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str | None = None
    """The value is taken as a share of this reference."""
    left_of: str | None = None
    """The value is taken as what it leaves of this reference."""
    matches: str | None = None
    """The target is that the value equals this reference."""
    target: Limit | None = None
    alert: Limit | None = None

    @model_validator(mode="after")
    def _sound(self) -> MetricLimit:
        if (self.target is None) == (self.matches is None):
            raise ValueError("needs either `target` or `matches`")
        if sum(reference is not None for reference in (self.of, self.left_of, self.matches)) > 1:
            raise ValueError("takes one of `of`, `left_of` and `matches`")
        return self

    @property
    def reference(self) -> str | None:
        return self.of or self.left_of or self.matches


Period = Annotated[float, BeforeValidator(parse_timespan)]


class AlarmRule(BaseModel):
    """When `control alarms` rings: a limit is broken in `datapoints` of the last `out_of` periods."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    period: Period = 60.0
    """Seconds, whole minutes: Lambda and API Gateway report by the minute."""
    datapoints: Annotated[int, Field(ge=1)] = 3
    out_of: Annotated[int, Field(ge=1)] = 5
    gateway_5xx: Limit = Condition("> 1%", ">", 0.01)
    """Share of a stage's requests. (A run holds 5XXError against what the client saw: it has no alert of its own.)"""

    @model_validator(mode="after")
    def _possible(self) -> AlarmRule:
        if self.period < 60 or self.period % 60:
            raise ValueError(f"alarms: a period is whole minutes, not {self.period:g} s")
        if self.datapoints > self.out_of:
            raise ValueError(f"alarms: {self.datapoints} datapoints cannot be broken out of {self.out_of}")
        # PutMetricAlarm: Period times EvaluationPeriods is at most a day for periods under an hour, else a week.
        if self.period * self.out_of > (86_400 if self.period < 3600 else 604_800):
            raise ValueError(
                f"alarms: {self.out_of} periods of {self.period:g} s are longer than CloudWatch looks back"
            )
        return self


class MetricLimits(BaseModel):
    """The limits of all metrics, by their name in CloudWatch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    functions: Mapping[str, MetricLimit] = Field(default_factory=dict)
    account: Mapping[str, MetricLimit] = Field(default_factory=dict)
    api: Mapping[str, MetricLimit] = Field(default_factory=dict)
    alarms: AlarmRule = AlarmRule()


def load_metric_limits(own: Path | None = None) -> MetricLimits:
    """The shipped limits, with those of a file of the user's over them.

    Raises ConfigError with every problem of a file.
    """
    shipped = _read(SHIPPED)
    if own is None:
        return shipped
    theirs = _read(own)
    return MetricLimits(
        functions={**shipped.functions, **theirs.functions},
        account={**shipped.account, **theirs.account},
        api={**shipped.api, **theirs.api},
        alarms=theirs.alarms if "alarms" in theirs.model_fields_set else shipped.alarms,
    )


def _read(file: Path) -> MetricLimits:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"METRIC_LIMITS: {file}: {error}") from None
    problems = [f"{file}: {unknown}" for unknown in _unknown_names(document)]
    try:
        limits = MetricLimits.model_validate(document)
    except ValidationError as invalid:
        raise ConfigError([*problems_of(invalid, str(file)), *problems]) from None
    if problems:
        raise ConfigError(problems)
    return limits


def _unknown_names(document: Mapping[str, Any]) -> Iterator[str]:
    """Metrics and references of a file that there are none of, also where something else is wrong with it."""
    for group, known in REFERENCES.items():
        metrics = document.get(group)
        for name, limit in metrics.items() if isinstance(metrics, Mapping) else ():
            if name not in METRICS[group]:
                yield f"{group}.{name}: is not read; one of {', '.join(METRICS[group])}"
            for key in ("of", "left_of", "matches") if isinstance(limit, Mapping) else ():
                reference = limit.get(key)
                if isinstance(reference, str) and reference not in known:
                    yield f"{group}.{name}: there is no {reference!r}, only {', '.join(sorted(known))}"
