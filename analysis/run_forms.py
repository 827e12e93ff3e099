"""What must be what in the JSON files that a run's figures are made of, as far as the analysis reads them.

Forms only check (`analysis.run_files` reads the files): a key may be absent or null unless it says otherwise, and what
is not named here may be anything. Any text will do as a text, half a surrogate pair too, which JSON may hold.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf

Text = InstanceOf[str]
Number = float
"""Whole or not, and finite."""
Moment = Annotated[float, Field(ge=0, lt=253_402_300_800)]
"""Epoch seconds before the year 10000, where dates end."""
Names = dict[Text, Text]
Values = dict[Text, Number | None]


class Form(BaseModel):
    """A JSON object. `"5"` is no number and 1 is no truth value."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, defer_build=True)


class Profile(Form):
    name: Text | None = None
    model: Text | None = None
    chain_limit_s: Annotated[float, Field(ge=0, le=1e9)] | None = None
    thresholds: Names | None = None


class DateOffset(Form):
    answers: Number | None = None
    low_s: Number | None = None
    high_s: Number | None = None


class Shortfall(Form):
    unit: Text | None = None
    planned: Number | None = None
    delivered: Number | None = None
    share: Number
    since: Moment = Field(alias="from")
    until: Moment


class Worker(Form):
    index: int | Text | None = None
    host: Text | None = None
    rows: Number | None = None
    missing_rows: Number | None = None
    lost_at: Moment | None = None
    left_at: Moment | None = None
    failed: Text | None = None
    date_offset: DateOffset | None = None
    shortfall: Shortfall | None = None


class Aborted(Form):
    """By a threshold, which has a window, or by a limit of the user's."""

    at: Moment
    value: Number | None = None
    limit: Text | None = None
    allowed: Number | None = None
    threshold: Text | None = None
    window_s: Number | None = None


class Step(Form):
    rate: Number
    began_at: Moment
    judged_until: Moment
    outcome: Text
    reason: Text | None = None
    value: Number | None = None
    offered_rps: Number | None = None
    error_rate: Number | None = None
    p50_ms: Number | None = None
    p95_ms: Number | None = None
    p99_ms: Number | None = None
    dropped: Number | None = None
    in_flight: Number | None = None
    lag_p99_ms: Number | None = None
    cpu_percent: Number | None = None


class Breakpoint(Form):
    rate: Number | None = None
    void: bool | None = None
    ended_by: Text | None = None
    reason: Text | None = None
    held: dict[Text, Number] | None = None
    lowest_broken: Number | None = None
    broken: dict[Text, Number] | None = None
    limited_by: Text | None = None
    capped: bool | None = None
    cost_usd: Number | None = None
    max_cost_usd: Number | None = None
    steps: list[Step] | None = None


class CustomChain(Form):
    name: Text
    functions: Annotated[list[Text], Field(min_length=1)]
    requests: list[Text]


class CustomFlow(Form):
    chains: list[CustomChain] | None = None


class Manifest(Form):
    """`manifest.json`."""

    run_id: Text | None = None
    profile: Profile | None = None
    flows: list[Text] | None = None
    target: Text | None = None
    simulated: bool | None = None
    region: Text | None = None
    stack_name: Text | None = None
    api_base_url: Text | None = None
    endpoint_url: Text | None = None
    functions: Names | None = None
    log_groups: Names | None = None
    access_log_group: Text | None = None
    tables: Names | None = None
    streams: Names | None = None
    topics: Names | None = None
    versions: Names | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    settled_at: Moment | None = None
    state: Text | None = None
    aborted: Aborted | None = None
    breakpoint: Breakpoint | None = None
    workers: list[Worker] | None = None
    warnings: list[Text] | None = None
    custom_flow: CustomFlow | None = None


class OverlappingRun(Form):
    run_id: Text
    started_at: Moment
    ended_at: Moment


class Pull(Form):
    """`pull.json`."""

    complete: bool | None = None
    warnings: list[Text] | None = None
    watched_until: Moment | None = None
    lag_s: Number | None = None
    rows: Number | None = None
    tables: Values | None = None
    bytes_scanned: Number | None = None
    queries_started: Number | None = None
    queries_wasted: Number | None = None
    queries_replaced: Number | None = None
    missing_log_groups: list[Text] | None = None
    overlapping_runs: list[OverlappingRun] | None = None
    slices: list[object] | None = None


class CustomMetric(Form):
    namespace: Text | None = None
    name: Text | None = None
    dimensions: dict[Text, object] | None = None
    count: Number | None = None
    sum: Number | None = None
    mean: Number | None = None
    min: Number | None = None
    max: Number | None = None


Resources = dict[Text, Values]


class Metrics(Form):
    """`metrics.json`."""

    period_s: Annotated[float, Field(gt=0)] | None = None
    metrics_read: Number | None = None
    functions: Resources | None = None
    account: Values | None = None
    api: Values | None = None
    streams: Resources | None = None
    topics: Resources | None = None
    tables: Resources | None = None
    log_groups: Resources | None = None
    custom: list[CustomMetric] | None = None
    series: dict[Text, dict[Text, list[Annotated[list[Number], Field(min_length=2, max_length=2)]]]] | None = None


class DeployedFunction(Form):
    timeout_s: Number | None = None
    memory_mb: Number | None = None
    architecture: Literal["x86_64", "arm64"] | None = None
    reserved_concurrency: Number | None = None


class Account(Form):
    concurrency: Number | None = None
    unreserved_concurrency: Number | None = None


class Api(Form):
    kind: Text | None = None


class Stream(Form):
    shards: Number | None = None
    mode: Text | None = None


class Deployment(Form):
    """`deployment.json`."""

    functions: dict[Text, DeployedFunction] | None = None
    account: Account | None = None
    api: Api | None = None
    streams: dict[Text, Stream] | None = None


class Item(Form):
    """Of a table, whose other attributes may be anything."""

    record_type: Text | Number


class TableSnapshot(Form):
    """`tables_before.json` and `tables_after.json`."""

    tables: dict[Text, list[Item]] | None = None


class RequestsByStatus(Form):
    requests: Number
    by_status: dict[Text, Number]


class Truth(Form):
    """`truth.json`."""

    api: RequestsByStatus | None = None
    invoke: RequestsByStatus | None = None
    functions: dict[Text, dict[Text, Number]]
    messages: dict[Text, Number] | None = None
    chains: dict[Text, dict[Text, Number]] | None = None
