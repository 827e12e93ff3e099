"""Prices: what the files hold, and bills that a reader can check by hand."""

import datetime

import pytest

from config.errors import ConfigError
from config.prices import (
    API_HTTP_UNIT_BYTES,
    ITEMS,
    KINESIS_PUT_UNIT_BYTES,
    MESSAGE_UNIT_BYTES,
    FreeTier,
    Price,
    Prices,
    Tier,
    bill,
    billed_ms,
    lambda_gb_s,
    load_price_file,
    load_prices,
    priced_regions,
    requests_usd,
    units,
)

VIRGINIA = load_prices("us-east-1")
IRELAND = load_prices("eu-west-1")

TIERED = Price(tiers=(Tier(usd=3.0, up_to=10), Tier(usd=2.0, up_to=30), Tier(usd=1.0)))


def usd(quantities, prices=VIRGINIA, free_tier=False):
    return [line.usd for line in bill(prices, quantities, free_tier=free_tier)]


def test_ten_million_invocations_of_200_ms_at_512_mb_cost_1_87_a_million():
    # 10 M x 0.2 s x 0.5 GB = 1,000,000 GB-s x 0.0000166667 = 16.6667; 10 M requests at 0.20 a million = 2.00
    cost = requests_usd(VIRGINIA, 10_000_000, duration_ms=200, memory_mb=512, entry=None)
    assert cost == pytest.approx(18.6667)
    assert round(cost / 10, 2) == 1.87


def test_the_same_on_arm_costs_1_53_a_million():
    # 1,000,000 GB-s x 0.0000133334 = 13.3334, and 2.00
    cost = requests_usd(VIRGINIA, 10_000_000, duration_ms=200, memory_mb=512, architecture="arm64", entry=None)
    assert cost == pytest.approx(15.3334)


def test_a_rest_api_adds_3_50_a_million():
    assert requests_usd(VIRGINIA, 1_000_000, duration_ms=200, memory_mb=512) == pytest.approx(1.86667 + 3.50)


def test_an_http_api_adds_1_00_a_million():
    assert requests_usd(
        VIRGINIA, 1_000_000, duration_ms=200, memory_mb=512, entry="api_http_requests"
    ) == pytest.approx(2.86667)


def test_a_bill_that_crosses_two_tiers_has_a_part_in_each():
    # 7 B GB-s: 6 B at 0.0000166667, 1 B at 0.000015; 16 B: 6 B, 9 B at 0.000015, 1 B at 0.0000133334
    assert usd({"lambda_x86_64_gb_s": 7e9}) == [pytest.approx(100_000.2 + 15_000)]
    assert usd({"lambda_x86_64_gb_s": 16e9}) == [pytest.approx(100_000.2 + 135_000 + 13_333.4)]


@pytest.mark.parametrize(
    ("quantity", "cost"), [(0, 0), (1, 3), (10, 30), (11, 32), (30, 70), (31, 71), (10.5, 31)], ids=str
)
def test_the_end_of_a_tier_belongs_to_it(quantity, cost):
    assert TIERED.usd(quantity) == pytest.approx(cost)


def test_more_than_the_last_tier_that_is_known_has_no_price():
    assert usd({"lambda_arm64_gb_s": 7.5e9}) == [pytest.approx(100_000.5)]
    (line,) = bill(VIRGINIA, {"lambda_arm64_gb_s": 7.5e9 + 1})
    assert line.usd is None
    assert line.why_unknown == (
        "no price of more than 7,500,000,000 GB-s: add a tier of lambda_arm64_gb_s to config/prices/us-east-1.toml"
    )


def test_ireland_charges_a_rest_api_in_four_tiers():
    # 333 M at 3.50, 667 M at 3.19, 19 B at 2.71, 1 B at 1.72
    assert usd({"api_rest_requests": 21e9}, IRELAND) == [pytest.approx(1165.5 + 2127.73 + 51_490 + 1720)]


def test_a_price_without_a_source_is_none_and_says_where_to_add_it():
    (line,) = bill(IRELAND, {"kinesis_shard_hours": 1.0})
    assert (line.quantity, line.usd) == (1.0, None)
    assert line.why_unknown == "no price of kinesis_shard_hours in eu-west-1: add it to config/prices/eu-west-1.toml"


@pytest.mark.parametrize("region", ["ap-south-2", "", "/etc/hostname", "../prices/us-east-1", "a\0b"])
def test_a_region_without_a_file_has_no_prices(region):
    prices = load_prices(region)
    assert prices.date is None
    assert requests_usd(prices, 1, duration_ms=1, memory_mb=128) is None


def test_a_quantity_that_nobody_knows_costs_none_not_zero():
    (line,) = bill(VIRGINIA, {"sqs_requests": None})
    assert (line.quantity, line.usd, line.why_unknown) == (None, None, "how much of SQS is not known")


def test_nothing_costs_zero():
    assert usd({"sqs_requests": 0}) == [0]


def test_the_free_tier_is_taken_off_on_request():
    quantities = {"lambda_requests": 3_000_000, "lambda_x86_64_gb_s": 500_000}
    assert usd(quantities) == [pytest.approx(0.60), pytest.approx(8.33335)]
    assert usd(quantities, free_tier=True) == [pytest.approx(0.40), pytest.approx(1.66667)]


def test_both_architectures_share_one_free_tier():
    # 400,000 GB-s: 300,000 for x86, the 100,000 that are left for arm, which has 100,000 more to pay
    quantities = {"lambda_x86_64_gb_s": 300_000, "lambda_arm64_gb_s": 200_000}
    assert usd(quantities, free_tier=True) == [0, pytest.approx(1.33334)]


def test_what_the_free_tier_covers_keeps_its_quantity():
    (line,) = bill(VIRGINIA, {"xray_traces": 5_000}, free_tier=True)
    assert (line.quantity, line.usd) == (5_000, 0)


def test_lambda_bills_each_millisecond_that_was_begun():
    assert [billed_ms(ms) for ms in (0.01, 1, 1.01, 199.2)] == [1, 1, 2, 200]


def test_a_gb_of_lambda_is_1024_mb():
    assert lambda_gb_s(200, 512) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("size", "unit", "count"),
    [
        (0, MESSAGE_UNIT_BYTES, 1),
        (30 * 1024, KINESIS_PUT_UNIT_BYTES, 2),
        (25 * 1024, KINESIS_PUT_UNIT_BYTES, 1),
        (100 * 1024, MESSAGE_UNIT_BYTES, 2),
        (600 * 1024, API_HTTP_UNIT_BYTES, 2),
    ],
)
def test_size_is_charged_in_units_that_were_begun(size, unit, count):
    assert units(size, unit) == count


def test_what_is_no_item_is_a_mistake_of_the_caller():
    with pytest.raises(KeyError):
        bill(VIRGINIA, {"lambda_request": 1})


@pytest.mark.parametrize("region", priced_regions())
def test_every_file_is_of_its_region_and_names_its_sources(region):
    prices = load_prices(region)
    assert prices.region == region
    assert prices.sources
    assert prices.date is not None
    assert prices.date > datetime.date(2026, 1, 1)
    assert prices.prices.keys() <= ITEMS.keys()
    assert str(prices) == f"{region}, {prices.date}"


GOOD = """
region = "mars-1"
date = 2026-11-01
sources = ["a page"]
[prices.sqs_requests]
per = 1_000_000
tiers = [{ usd = 0.40 }]
"""


def file_of(tmp_path, text):
    file = tmp_path / "mars-1.toml"
    file.write_text(text)
    return file


def test_a_file_of_ones_own_is_read(tmp_path):
    file_of(tmp_path, GOOD)
    assert load_prices("mars-1", tmp_path).usd("sqs_requests", 500_000) == pytest.approx(0.20)


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("sqs_requests", "sqs_request", "unknown sqs_request; an item is one of lambda_requests"),
        ("usd = 0.40", "usd = -1", "prices.sqs_requests.tiers.1.usd"),
        ("usd = 0.40", "usd = nan", "prices.sqs_requests.tiers.1.usd"),
        ("{ usd = 0.40 }", "", "prices.sqs_requests.tiers"),
        ("{ usd = 0.40 }", "{ usd = 0.40 }, { usd = 0.30 }", "tiers must follow one another"),
        ("{ usd = 0.40 }", "{ usd = 0.4, up_to = 9 }, { usd = 0.3, up_to = 9 }", "tiers must follow one another"),
        ("per = 1_000_000", "per = 0", "prices.sqs_requests.per"),
        ("per = 1_000_000", "each = 1", "prices.sqs_requests.each"),
        ("date = 2026-11-01", "", "date: needed"),
        ('sources = ["a page"]', "", "sources: needed"),
        ('region = "mars-1"', "", "region"),
        ("tiers = [", "tiers = ", "mars-1.toml"),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path, right, wrong, problem):
    assert right in GOOD
    with pytest.raises(ConfigError) as raised:
        load_price_file(file_of(tmp_path, GOOD.replace(right, wrong)))
    assert "mars-1.toml" in str(raised.value)
    assert problem in str(raised.value)


def test_a_file_that_is_called_after_another_region_is_refused(tmp_path):
    file_of(tmp_path, GOOD.replace("mars-1", "venus-1"))
    with pytest.raises(ConfigError, match=r"mars-1.toml: region: is 'venus-1', unlike the file's name"):
        load_prices("mars-1", tmp_path)


def test_a_free_tier_of_an_unknown_item_is_refused():
    with pytest.raises(ValueError, match="unknown lambda"):
        Prices(region="mars-1", free=(FreeTier(items=("lambda",), quantity=1),))
