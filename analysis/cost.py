"""What a run cost: quantities from the run's own data, prices from `config/prices/`.

| item | quantity from |
|---|---|
| Lambda requests, GB-s | REPORT lines: one each; billed duration, init included, times the memory of that line |
| API Gateway | the client's requests that were answered, or that the access log knows, without those that it refused |
|   | itself and does not charge |
| Kinesis shards | open shards of each stream that got records, times the length of the run |
| Kinesis PUT units | metric IncomingRecords, each of the mean size by IncomingBytes; else the client's own records |
| SNS | metric NumberOfMessagesPublished of the topics; without it the client's own messages |
| SQS, EventBridge | the client's own calls and events |
| DynamoDB | metrics ConsumedWriteCapacityUnits and ConsumedReadCapacityUnits of the tables |
| KMS | an estimate: one request for each invocation of a function that is known to decrypt |
| Logs ingested | metric IncomingBytes of the log groups |
| Insights scanned, metrics read | pull.json and metrics.json: what the analysis itself cost |
| X-Ray | trace ids that a REPORT line calls sampled |

What nobody knows is None, with a note, and is in no sum. A GB of logs is taken as 10^9 bytes, the dearer reading.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from analysis.errors import UsageError
from analysis.formatting import visible
from analysis.requests_table import HTTP_METHODS, TAKEN, literal
from analysis.run_facts import RunFacts
from analysis.truth import OPERATIONS
from analysis.verdict import duration_s
from config.prices import (
    API_HTTP_UNIT_BYTES,
    ITEMS,
    KINESIS_PUT_UNIT_BYTES,
    LOG_GB_BYTES,
    MESSAGE_UNIT_BYTES,
    Api,
    Architecture,
    Prices,
    bill,
    billed_ms,
    lambda_compute_item,
    lambda_gb_s,
    load_prices,
    request_quantities,
    units,
)

DEFAULT_ARCHITECTURE: Architecture = "x86_64"
"""AWS's own default, where the function's is not known."""
OF_THE_ANALYSIS = frozenset({"logs_scanned_gb", "metrics_read"})
"""Items that the analysis caused and not the load: part of the run's cost, but of no request's."""

_FREE_REFUSALS = (
    "THROTTLED",
    "QUOTA_EXCEEDED",
    "INVALID_API_KEY",
    "UNAUTHORIZED",
    "ACCESS_DENIED",
    "EXPIRED_TOKEN",
    "INVALID_SIGNATURE",
)
"""What API Gateway refuses and does not charge: throttled requests, and failures of keys, authentication and
authorization. Source: Amazon API Gateway developer guide, "API Gateway pricing" (doc_source/api-gateway-pricing.md of
https://github.com/awsdocs/amazon-api-gateway-developer-guide). The page was taken down since; an answer on re:Post says
that it still holds (https://repost.aws/questions/QUY2x146iORPmsJHpff8u0eA). It says nothing of AWS WAF, and
MISSING_AUTHENTICATION_TOKEN is also the answer to a path that does not exist: both are taken as charged."""

_PUTTING_FLOWS = frozenset({"vote", "direct"})
_WRITING_FLOWS = frozenset({"vote", "direct", "shop"})
"""Flows of the sample applications whose functions put records on a stream, and write items."""
_DECRYPTING = ("shop-decrypt",)
"""Functions of the sample applications that call KMS, once an invocation."""
UNKNOWN_REGION = "unknown"


@dataclass
class Quantities:
    """What a run used. `items` of None: used, but nobody knows how much."""

    items: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Why something is not known or not priced."""
    assumptions: list[str] = field(default_factory=list)


def measure(db: duckdb.DuckDBPyConnection, facts: RunFacts) -> Quantities:
    """The quantities of a run. Needs the tables of `analysis.evidence`, and `failed_requests` of `analysis.causes`."""
    found = Quantities()
    _lambda(db, facts, found)
    _api(db, facts, found)
    sent = _sent(db)
    _kinesis(facts, sent.get("kinesis"), found)
    _sns(facts, sent.get("sns"), found)
    if "sqs" in sent:
        found.items["sqs_requests"] = sent["sqs"].calls
        found.notes.append("SQS: what consumers receive and delete is not counted, only what the load generator sent")
    if "events" in sent:
        found.items["eventbridge_events"] = sent["events"].units
    _dynamodb(facts, found)
    _kms(db, found)
    _logs(facts, found)
    (traces,) = db.execute("SELECT count(DISTINCT xray_trace_id) FROM invocations WHERE sampled").fetchone() or (0,)
    if traces:
        found.items["xray_traces"] = traces
        if facts.manifest.get("simulated"):
            found.assumptions.append(
                "X-Ray: unless TRACE_SAMPLE says otherwise, all requests to APIs and functions are traced on the "
                "sandbox and 1 % on AWS"
            )
    if facts.pulled:
        found.items["logs_scanned_gb"] = _gb(facts.pulled.get("bytes_scanned"))
        found.items["metrics_read"] = facts.metrics.get("metrics_read")
    return found


def _lambda(db: duckdb.DuckDBPyConnection, facts: RunFacts, found: Quantities) -> None:
    if not facts.pulled:
        if facts.manifest.get("functions"):
            found.items |= {"lambda_requests": None, lambda_compute_item(DEFAULT_ARCHITECTURE): None}
            found.notes.append("Lambda: the logs were not fetched, and billed time stands nowhere else")
        return
    rows = db.execute(
        """SELECT function, count(*), sum(billed_ms * memory_mb)::DOUBLE, count(*) FILTER (WHERE billed_ms IS NULL
               OR memory_mb IS NULL), count(restore_ms)
           FROM invocations GROUP BY function ORDER BY function"""
    ).fetchall()
    if not rows:
        return
    gb_s: dict[str, float | None] = defaultdict(float)
    for function, _, billed_ms_mb, unknown, restored in rows:
        deployed = (facts.deployment.get("functions") or {}).get(function) or {}
        architecture = deployed.get("architecture")
        if architecture is None:
            found.assumptions.append(f"{function} runs on {DEFAULT_ARCHITECTURE}: its architecture is not known")
        item = lambda_compute_item(architecture or DEFAULT_ARCHITECTURE)
        if unknown:
            found.notes.append(f"Lambda: {unknown:,} REPORT lines of {function} hold no billed duration or memory")
            gb_s[item] = None
        else:
            gb_s[item] = _plus(gb_s[item], lambda_gb_s(1, billed_ms_mb))
        if restored:
            found.notes.append(f"Lambda: cache and restores of SnapStart of {function} are not priced")
        provisioned = (facts.metrics.get("functions") or {}).get(function) or {}
        if provisioned.get("ProvisionedConcurrencyInvocations"):
            found.notes.append(
                f"Lambda: {function} ran with provisioned concurrency, which is charged otherwise; "
                "priced here as if on demand"
            )
    found.items["lambda_requests"] = sum(row[1] for row in rows)
    found.items |= {item: gb_s[item] for item in sorted(gb_s)}


def _api(db: duckdb.DuckDBPyConnection, facts: RunFacts, found: Quantities) -> None:
    # Both kinds are of requests to an API that were answered.
    db.execute(
        f"""CREATE OR REPLACE TEMP VIEW free_refusals AS
            SELECT row FROM failed_requests
            WHERE kind = 'api_throttled'
               OR kind = 'refused' AND error_type IN ({", ".join(map(literal, _FREE_REFUSALS))})"""
    )
    (refused,) = db.execute("SELECT count(*) FROM free_refusals").fetchone() or (0,)
    requests, in_units = db.execute(
        f"""SELECT count(*), sum(greatest(1, ceil(greatest(bytes_sent, bytes_received) / {API_HTTP_UNIT_BYTES})))
            FROM requests {"ANTI JOIN free_refusals USING (row)" if refused else ""}
            WHERE sent AND method IN {HTTP_METHODS}
                AND (status IS NOT NULL OR request_id IN (SELECT request_id FROM unanswered))"""
    ).fetchone() or (0, None)
    kind = (facts.deployment.get("api") or {}).get("kind")
    if kind in ("rest", "http") and refused:
        found.assumptions.append(
            f"API Gateway: {refused:,} requests that it refused itself (throttled, or no valid key or authorization) "
            "are taken as not charged"
        )
    if not requests:
        return
    if kind == "rest":
        found.items["api_rest_requests"] = requests
    elif kind == "http":
        found.items["api_http_requests"] = in_units
    else:
        found.notes.append(
            f"API: {requests:,} requests to {facts.manifest.get('api_base_url')} are not priced: it is not known to be "
            "an API Gateway"
        )


@dataclass(frozen=True)
class _Sent:
    """What the client sent to one AWS service."""

    messages: int
    """That were taken."""
    units: int
    """Of 64 KB (Kinesis: 25 KB), each message by itself."""
    calls: int
    """Calls that were answered, in units of 64 KB."""


def _sent(db: duckdb.DuckDBPyConnection) -> dict[str, _Sent]:
    """AWS service -> the client's messages to it; only services that took some."""
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for operation, service in OPERATIONS.items():
        unit = KINESIS_PUT_UNIT_BYTES if service == "kinesis" else MESSAGE_UNIT_BYTES
        row = db.execute(
            f"""WITH calls AS (
                    SELECT count(*) FILTER (WHERE {TAKEN}) AS messages,
                           sum(greatest(1, ceil(bytes_sent / {unit}))) FILTER (WHERE {TAKEN}) AS units,
                           greatest(1, ceil(sum(bytes_sent) / {MESSAGE_UNIT_BYTES})) AS call_units
                    FROM requests WHERE sent AND method = $operation AND status = 200
                    GROUP BY worker, coalesce(request_id, row::VARCHAR))
                SELECT coalesce(sum(messages), 0)::BIGINT, coalesce(sum(units), 0)::BIGINT,
                       coalesce(sum(call_units), 0)::BIGINT FROM calls""",
            {"operation": operation},
        ).fetchone()
        for place, number in enumerate(row or ()):
            totals[service][place] += number
    return {service: _Sent(*numbers) for service, numbers in totals.items() if numbers[2]}


def _kinesis(facts: RunFacts, sent: _Sent | None, found: Quantities) -> None:
    streams = facts.metrics.get("streams")
    if not streams:
        if sent is not None:
            found.items |= {"kinesis_shard_hours": None, "kinesis_put_units": sent.units}
            found.notes.append("Kinesis: without metrics, only the load generator's own records are counted")
        return
    used = {name: metrics for name, metrics in streams.items() if metrics.get("IncomingRecords")}
    if not used:
        if sent is not None or _uses(facts, found, _PUTTING_FLOWS):
            found.items |= {"kinesis_shard_hours": None, "kinesis_put_units": None if sent is None else sent.units}
            found.notes.append("Kinesis: CloudWatch had no metric of the streams yet; pull again later with --force")
        return
    hours = _hours(facts.manifest)
    shard_hours: float | None = 0.0
    put_units: float | None = 0.0
    for name, metrics in used.items():
        stream = (facts.deployment.get("streams") or {}).get(name) or {}
        if stream.get("mode") == "ON_DEMAND":
            found.notes.append(f"Kinesis: stream {name} is on demand, which is not priced here")
            shard_hours = put_units = None
            continue
        shards, size = stream.get("shards"), metrics.get("IncomingBytes")
        shard_hours = _plus(shard_hours, shards * hours if shards is not None and hours is not None else None)
        records = metrics["IncomingRecords"]
        put_units = _plus(put_units, None if size is None else records * units(size / records, KINESIS_PUT_UNIT_BYTES))
    found.items |= {"kinesis_shard_hours": shard_hours, "kinesis_put_units": put_units}


def _sns(facts: RunFacts, sent: _Sent | None, found: Quantities) -> None:
    topics = facts.metrics.get("topics") or {}
    published = [metrics.get("NumberOfMessagesPublished") for metrics in topics.values()]
    counted = [number for number in published if number is not None]
    if counted:
        found.items["sns_publishes"] = sum(counted)
    elif sent is not None:
        found.items["sns_publishes"] = sent.messages
        found.notes.append("SNS: without metrics, only the load generator's own messages are counted")
    elif topics and _uses(facts, found, {"shop"}):
        # SNS reports every five minutes: at the end of a short run there may be nothing yet
        found.items["sns_publishes"] = None
        found.notes.append("SNS: CloudWatch had no metric of the topics yet; pull again later with --force")


def _dynamodb(facts: RunFacts, found: Quantities) -> None:
    tables = facts.metrics.get("tables") or {}
    for item, metric in (
        ("dynamodb_write_units", "ConsumedWriteCapacityUnits"),
        ("dynamodb_read_units", "ConsumedReadCapacityUnits"),
    ):
        consumed = [metrics[metric] for metrics in tables.values() if metrics.get(metric)]
        if consumed:
            found.items[item] = sum(consumed)
    if tables and "dynamodb_write_units" not in found.items and _uses(facts, found, _WRITING_FLOWS):
        found.items["dynamodb_write_units"] = None
        found.notes.append("DynamoDB: CloudWatch had no metric of the tables yet; pull again later with --force")


def _kms(db: duckdb.DuckDBPyConnection, found: Quantities) -> None:
    (invoked,) = db.execute(
        "SELECT count(*) FROM invocations WHERE list_contains(?, function)", [_DECRYPTING]
    ).fetchone() or (0,)
    if invoked:
        found.items["kms_requests"] = invoked
        found.assumptions.append(
            f"KMS: an estimate, one request for each of the {invoked:,} invocations of {', '.join(_DECRYPTING)}; "
            "retries of the SDK and what other functions ask of KMS are not in it"
        )


def _logs(facts: RunFacts, found: Quantities) -> None:
    if not facts.pulled:
        return
    ingested = [metrics.get("IncomingBytes") for metrics in (facts.metrics.get("log_groups") or {}).values()]
    known = [number for number in ingested if number is not None]
    found.items["logs_ingested_gb"] = _gb(sum(known)) if known else None
    if not known:
        found.notes.append("CloudWatch Logs: CloudWatch has no metric IncomingBytes of the log groups")


def _uses(facts: RunFacts, found: Quantities, flows: Collection[str]) -> bool:
    """Whether functions of one of these flows were invoked, and so must have used what they call."""
    invoked = bool(found.items.get("lambda_requests"))
    return invoked and not set(facts.manifest.get("flows") or ()).isdisjoint(flows)


def _hours(manifest: Mapping[str, Any]) -> float | None:
    lasted_s = duration_s(manifest)
    return None if lasted_s is None else lasted_s / 3600


def _gb(size_bytes: float | None) -> float | None:
    return None if size_bytes is None else size_bytes / LOG_GB_BYTES


def _plus(total: float | None, number: float | None) -> float | None:
    """A sum of which one part is not known is not known."""
    return None if total is None or number is None else total + number


def price(
    quantities: Quantities, prices: Prices, requests: int | None, *, simulated: bool | None, free_tier: bool = False
) -> dict[str, Any]:
    """The summary's `cost`. `requests`: what the cost per million is of.

    `run_usd` is the sum of the items that have a price, and None where none has; `complete` says whether all have.
    `per_million_usd` is that of the load without the analysis (OF_THE_ANALYSIS).
    """
    lines = bill(prices, quantities.items, free_tier=free_tier)

    def per_million(usd: float | None) -> float | None:
        return None if usd is None or not requests else usd / requests * 1e6

    unpriced = [line.why_unknown for line in lines if line.quantity is not None and line.usd is None]
    if unpriced and prices.date is None:
        known = "by the example of config/prices/us-east-1.toml"
        unpriced = [f"no price of region {prices.region} is known: add config/prices/{prices.region}.toml, {known}"]
    priced = {line.item: line.usd for line in lines if line.usd is not None}
    of_load = [usd for item, usd in priced.items() if item not in OF_THE_ANALYSIS]
    return {
        "run_usd": sum(priced.values()) if priced else None,
        "per_million_usd": per_million(sum(of_load)) if of_load else None,
        "items": [
            {
                "item": line.item,
                "service": ITEMS[line.item].service,
                "quantity": line.quantity,
                "unit": ITEMS[line.item].unit,
                "usd": line.usd,
                "per_million_usd": None if line.item in OF_THE_ANALYSIS else per_million(line.usd),
            }
            for line in lines
        ],
        "prices": str(prices),
        "complete": len(priced) == len(lines),
        "simulated": simulated,
        "free_tier": free_tier,
        "requests": requests,
        "unpriced": unpriced,
        "notes": quantities.notes,
        "assumptions": quantities.assumptions,
    }


def left_out(cost: Mapping[str, Any], figure: str) -> list[str]:
    """Services of which some quantity or price is not known, so that a sum (`run_usd`, `per_million_usd`) of the
    summary's `cost` is without it, and no more than a lower bound."""
    items = [item for item in cost.get("items") or () if item.get("usd") is None]
    if figure == "per_million_usd":
        items = [item for item in items if item.get("item") not in OF_THE_ANALYSIS]
    return [item.get("service", "") for item in items]


def of_summary(summary: Mapping[str, Any], region: str | None, *, free_tier: bool) -> dict[str, Any]:
    """The `cost` of an analysed run, priced anew: in another region (None: its own), or with the free tier taken off.

    Raises UsageError for a summary without quantities.
    """
    run, cost = summary["run"], summary.get("cost") or {}
    if "requests" not in cost:
        raise UsageError(f"{run['id']} was analysed before costs were", "analyse it again: python -m analysis analyze")
    items = {item["item"]: item["quantity"] for item in cost.get("items") or ()}
    if unknown := [name for name in items if name not in ITEMS]:
        raise UsageError(
            f"{run['id']} has costs of {', '.join(map(visible, unknown))}, which have no price here",
            "analyse it again: python -m analysis analyze",
        )
    quantities = Quantities(items, cost.get("notes") or [], cost.get("assumptions") or [])
    prices = load_prices(region or run.get("region") or UNKNOWN_REGION)
    return price(quantities, prices, cost["requests"], simulated=cost.get("simulated"), free_tier=free_tier)


def what_if(
    prices: Prices,
    *,
    invocations: int,
    duration_ms: float,
    memory_mb: float,
    architecture: Architecture,
    api: Api | None,
    free_tier: bool,
) -> dict[str, Any]:
    """The `cost` of invocations of one duration, through an API Gateway or without one."""
    quantities = request_quantities(
        invocations,
        duration_ms=billed_ms(duration_ms),
        memory_mb=memory_mb,
        architecture=architecture,
        entry=None if api is None else f"api_{api}_requests",
    )
    return price(Quantities(dict(quantities)), prices, invocations, simulated=None, free_tier=free_tier)
