"""What a run has cost so far, against arithmetic that a reader can redo."""

from __future__ import annotations

import pytest

from config.prices import Prices, load_prices
from loadgen.live import LiveCounter, LiveFigures, Report
from loadgen.running_cost import running_cost_usd


def figures(method: str = "POST", **requests_by_flow: int) -> LiveFigures:
    """So many requests of 200 ms each."""
    live, counter = LiveFigures(), LiveCounter()
    for flow, requests in requests_by_flow.items():
        for _ in range(requests):
            counter.add(True, flow, f"{method} {flow}", method, 200, "", "", 200.0, None)
    live.receive(Report("run", 0, 1.0, 0.1, {}, counter.take()), 1.0)
    return live


def test_request_costs_its_api_call_its_invocation_and_its_time():
    """Of a million in us-east-1: $3.50 + $0.20 + 1,000,000 x 0.2 s x 0.5 GB x $0.0000166667 = $1.67."""
    usd = running_cost_usd(load_prices("us-east-1"), 512.0, figures(vote=1000))
    assert usd == pytest.approx((3.5 + 0.2 + 1.66667) / 1000, rel=1e-3)


def test_direct_invoke_has_no_api():
    usd = running_cost_usd(load_prices("us-east-1"), 512.0, figures("Invoke", direct=1000))
    assert usd == pytest.approx((0.2 + 1.66667) / 1000, rel=1e-3)


def test_flows_add_up():
    prices = load_prices("us-east-1")
    both = running_cost_usd(prices, 512.0, figures(shop=1000, vote=1000))
    assert both == pytest.approx(2 * (3.5 + 0.2 + 1.66667) / 1000, rel=1e-3)


@pytest.mark.parametrize(
    ("method", "per_million"),
    [
        ("SendMessage", 0.4),
        ("SendMessageBatch", 0.4),
        ("Publish", 0.5),
        ("PublishBatch", 0.5),
        ("PutEvents", 1.0),
        ("PutRecord", 0.014),
        ("PutRecords", 0.014),
    ],
)
def test_message_costs_what_takes_it_and_the_function_behind(method, per_million):
    usd = running_cost_usd(load_prices("us-east-1"), 512.0, figures(method, events=1000))
    assert usd == pytest.approx((per_million + 0.2 + 1.66667) / 1000, rel=1e-3)


def test_a_service_without_a_price_leaves_no_cost():
    """eu-west-1 has none of EventBridge."""
    assert running_cost_usd(load_prices("eu-west-1"), 512.0, figures("PutEvents", events=1)) is None


def test_before_the_first_request_nothing_has_been_spent():
    assert running_cost_usd(load_prices("us-east-1"), 512.0, LiveFigures()) == 0.0


def test_region_without_prices_has_no_cost():
    assert running_cost_usd(Prices(region="nowhere"), 512.0, figures(vote=1)) is None
