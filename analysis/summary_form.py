"""What must be what in `summary.json`, as far as it is shown, priced or compared again.

A run that was analysed by an earlier version lacks what came later; see `analysis.run_forms` for what forms are.
"""

from __future__ import annotations

from pydantic import Field

from analysis.run_forms import Aborted, Breakpoint, CustomMetric, Form, Moment, Number, Text, Values, Worker


class Run(Form):
    id: Text
    profile: Text | None = None
    flows: list[Text] | None = None
    target: Text | None = None
    simulated: bool | None = None
    region: Text | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    workers: list[Worker] | None = None
    complete: bool | None = None
    aborted: Aborted | None = None
    warnings: list[Text] | None = None


class Endpoint(Form):
    requests: Number
    failures: Number
    error_rate: Number | None = None
    rps: Number | None = None
    mean_ms: Number | None = None
    p50_ms: Number | None = None
    p90_ms: Number | None = None
    p95_ms: Number | None = None
    p99_ms: Number | None = None
    max_ms: Number | None = None
    status: dict[Text, Number] | None = None
    from_schedule: Values | None = None
    schedule_lag_ms: Values | None = None


class Client(Form):
    requests: Number
    failures: Number
    error_rate: Number | None = None
    dropped: Number | None = None
    offered: Number | None = None
    rps: Number | None = None
    p50_ms: Number | None = None
    p95_ms: Number | None = None
    p99_ms: Number | None = None
    endpoints: dict[Text, Endpoint] | None = None
    failed_checks: dict[Text, dict[Text, Number]] | None = None


class Function(Form):
    invocations: Number
    errors: Number | None = None
    timeouts: Number | None = None
    throttles: Number | None = None
    cold_starts: Number | None = None
    cold_start_rate: Number | None = None
    duration_ms: Values | None = None
    billed_ms: Values | None = None
    init_ms: Values | None = None
    memory_mb: Values | None = None
    limits: Values | None = None
    under_limit_duration: Number | None = None
    over_limit_duration: Number | None = None
    under_limit_memory: Number | None = None
    over_limit_memory: Number | None = None


class ConcurrencyStep(Form):
    at_least: int | None = None
    invocations: Number | None = None
    cold_starts: Number | None = None
    cold_start_rate: Number | None = None


class TimeStep(Form):
    from_s: Number | None = None
    to_s: Number | None = None
    invocations: Number | None = None
    cold_starts: Number | None = None
    cold_start_rate: Number | None = None


class ColdStartShares(Form):
    by_concurrency: list[ConcurrencyStep] | None = None
    over_time: list[TimeStep] | None = None


class Join(Form):
    requests: Number | None = None
    matched: Number | None = None
    by: Values | None = None
    unmatched_requests: Number | None = None
    ambiguous: Number | None = None
    invocations: Number | None = None
    retries: Number | None = None
    chain_invocations: Number | None = None
    background_invocations: Number | None = None
    unmatched_invocations: Number | None = None
    reached: Number | None = None
    reached_matched: Number | None = None


class Clock(Form):
    worker: Text | int | None = None
    requests: Number | None = None
    offset_ms: Number | None = None
    error_ms: Number | None = None
    corrected: bool | None = None
    date_answers: Number | None = None
    date_offset_ms: Number | None = None
    date_error_ms: Number | None = None


class Hop(Form):
    function: Text | None = None
    reached: Number | None = None
    lost_before: Number | None = None
    repeated: Number | None = None
    late: Number | None = None
    since_last_ms: Values | None = None


class Chain(Form):
    sent: Number | None = None
    accepted: Number | None = None
    completed: Number | None = None
    lost: Number | None = None
    duplicated: Number | None = None
    late: Number | None = None
    pending: Number | None = None
    end_to_end_ms: Values | None = None
    table_reconciled: bool | None = None
    hops: list[Hop] | None = None


class RootCause(Form):
    cause: int | None = None
    kind: Text | None = None
    status: int | Text | None = None
    requests: Number | None = None
    share: Number | None = None
    flow: Text | None = None
    function: Text | None = None
    error_type: Text | None = None
    operation: Text | None = None
    resource: Text | None = None
    message: Text | None = None
    frame: Text | None = None
    first_at: Text | None = None
    last_at: Text | None = None
    examples: list[Text] | None = None
    advice: Text | None = None


class Metric(Form):
    name: Text | None = None
    function: Text | None = None
    group: Text | None = None
    value: Number | None = None
    target: Text | None = None
    alert: Text | None = None
    reference: Number | None = None
    reference_most: Number | None = None
    share: Number | None = None
    left: Number | None = None
    verdict: Text | None = None


class CostItem(Form):
    item: Text
    service: Text | None = None
    quantity: Number | None
    unit: Text | None = None
    usd: Number | None
    per_million_usd: Number | None = None


class Cost(Form):
    run_usd: Number | None = None
    per_million_usd: Number | None = None
    items: list[CostItem] | None = None
    prices: Text | None = None
    simulated: bool | None = None
    free_tier: bool | None = None
    requests: Number | None = None
    unpriced: list[Text] | None = None
    notes: list[Text] | None = None
    assumptions: list[Text] | None = None


class Threshold(Form):
    expression: Text
    value: Number | None = None
    verdict: Text
    aborted: bool | None = None
    lower_bound: bool | None = None


class Summary(Form):
    """`summary.json`."""

    run: Run
    client: Client | None = None
    functions: dict[Text, Function] | None = None
    cold_start_shares: dict[Text, ColdStartShares] | None = None
    join_: Join | None = Field(None, alias="join")
    clocks: list[Clock] | None = None
    breakdown: dict[Text, dict[Text, Values | None]] | None = None
    chains: dict[Text, Chain] | None = None
    root_causes: list[RootCause] | None = None
    breakpoint: Breakpoint | None = None
    metrics: list[Metric] | None = None
    custom_metrics: list[CustomMetric] | None = None
    cost: Cost | None = None
    thresholds: list[Threshold] | None = None
