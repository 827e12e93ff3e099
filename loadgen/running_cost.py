"""What the requests of a run have cost so far: an estimate while it goes, on the high side. Pure.

Each request that has ended counts where it entered (a request to a REST API, a message to SQS, SNS, EventBridge or
Kinesis, each of a batch by itself; an Invoke costs nothing there), as one Lambda request, and as GB-s of its mean
response time times an assumed memory. The response time is longer than what is billed, the memory is generous, and
there is no free tier; on the other side, what functions call (Kinesis, DynamoDB, ...), logs and traces are not in it,
and a message is taken to be no longer than the unit of its price. The analysis computes the bill from the logs.
"""

from __future__ import annotations

from config.prices import API_ENTRY, MESSAGE_ENTRIES, Prices, requests_usd
from loadgen.live import LiveFigures
from loadgen.publishing import SERVICES

_ENTRIES: dict[str, str | None] = {
    "Invoke": None,
    **{
        call.operation: MESSAGE_ENTRIES[service]
        for service, of_service in SERVICES.items()
        for call in (of_service.single, of_service.batch)
    },
}
"""Method of a request -> price item of what took it; any other is HTTP's."""


def running_cost_usd(prices: Prices, memory_mb: float, figures: LiveFigures) -> float | None:
    """USD so far; None where a price is not known."""
    total = 0.0
    for method, requests, total_ms in figures.by_method():
        usd = requests_usd(
            prices,
            requests,
            duration_ms=total_ms / requests,
            memory_mb=memory_mb,
            entry=_ENTRIES.get(method, API_ENTRY),
        )
        if usd is None:
            return None
        total += usd
    return total
