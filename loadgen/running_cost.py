"""What the requests of a run have cost so far: an estimate while it goes, on the high side. Pure.

Each request that has ended counts as one request to a REST API (none for flows that call AWS services themselves), one
Lambda request, and GB-s of its mean response time times an assumed memory. The response time is longer than what is
billed, the memory is generous, and there is no free tier; on the other side, what functions call (Kinesis, DynamoDB,
...), logs and traces are not in it. The analysis computes the bill from the logs.
"""

from __future__ import annotations

from config.prices import Prices, requests_usd
from config.profiles import SIGNED_FLOWS
from loadgen.live import LiveFigures


def running_cost_usd(prices: Prices, memory_mb: float, figures: LiveFigures, now: float) -> float | None:
    """USD so far; None where a price is not known. `now`: as for the figures."""
    total = 0.0
    for flow in figures.flows:
        window = figures.over(now, scope=flow)
        usd = requests_usd(
            prices,
            window.requests,
            duration_ms=window.mean_ms or 0.0,
            memory_mb=memory_mb,
            api=None if flow in SIGNED_FLOWS else "rest",
        )
        if usd is None:
            return None
        total += usd
    return total
