"""What AWS charges: `config/prices/<region>.toml`, read and checked, and the arithmetic from quantities to USD.

    >>> prices = load_prices("us-east-1")
    >>> prices.usd("lambda_requests", 10_000_000)
    2.0
    >>> requests_usd(prices, 1_000_000, duration_ms=200, memory_mb=512, entry=None)     # 0.20 + 100,000 GB-s
    1.86667

A price that the file does not have is None, never 0 and never that of another region: a region without a file has no
prices at all. Tiers count from nothing, as if the month began with the run; free tiers are taken off on request, as if
nothing else used them.
"""

from __future__ import annotations

import datetime
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from config.errors import ConfigError, problems_of

PRICES_DIR = Path(__file__).parent / "prices"

Architecture = Literal["x86_64", "arm64"]
Api = Literal["rest", "http"]

KIB = 1024
LOG_GB_BYTES = 1_000_000_000
"""Of CloudWatch Logs, in the dearer of the two readings of a GB."""
API_HTTP_UNIT_BYTES = 512 * KIB
KINESIS_PUT_UNIT_BYTES = 25 * KIB
MESSAGE_UNIT_BYTES = 64 * KIB
"""Of SQS and EventBridge."""


@dataclass(frozen=True)
class Item:
    """Something that AWS charges for."""

    service: str
    unit: str
    """What a quantity of it counts."""


ITEMS: Mapping[str, Item] = {
    "lambda_requests": Item("Lambda requests", "requests"),
    "lambda_x86_64_gb_s": Item("Lambda compute, x86_64", "GB-s"),
    "lambda_arm64_gb_s": Item("Lambda compute, arm64", "GB-s"),
    "lambda_provisioned_x86_64_gb_s": Item("Lambda provisioned concurrency, x86_64", "GB-s"),
    "lambda_provisioned_arm64_gb_s": Item("Lambda provisioned concurrency, arm64", "GB-s"),
    "lambda_provisioned_compute_x86_64_gb_s": Item("Lambda compute on provisioned concurrency, x86_64", "GB-s"),
    "lambda_provisioned_compute_arm64_gb_s": Item("Lambda compute on provisioned concurrency, arm64", "GB-s"),
    "api_rest_requests": Item("API Gateway, REST", "requests"),
    "api_http_requests": Item("API Gateway, HTTP", "512-KB requests"),
    "kinesis_shard_hours": Item("Kinesis shards", "shard-hours"),
    "kinesis_put_units": Item("Kinesis records", "25-KB PUT units"),
    "sns_publishes": Item("SNS", "publishes"),
    "sqs_requests": Item("SQS", "64-KB requests"),
    "eventbridge_events": Item("EventBridge", "64-KB events"),
    "dynamodb_write_units": Item("DynamoDB writes", "write units"),
    "dynamodb_read_units": Item("DynamoDB reads", "read units"),
    "kms_requests": Item("KMS", "requests"),
    "logs_ingested_gb": Item("CloudWatch Logs, ingested", "GB"),
    "logs_scanned_gb": Item("Logs Insights, scanned", "GB"),
    "metrics_read": Item("CloudWatch GetMetricData", "metrics"),
    "xray_traces": Item("X-Ray", "traces recorded"),
}
"""Every item that a price file may have a price of."""

API_ENTRY = "api_rest_requests"
"""The item of a request that an API takes, where nobody knows of which kind it is: the dearer one."""
MESSAGE_ENTRIES: Mapping[str, str] = {
    "sqs": "sqs_requests",
    "sns": "sns_publishes",
    "events": "eventbridge_events",
    "kinesis": "kinesis_put_units",
}
"""Service that takes messages, by its endpoint's name -> the item of one of them, of 64 KB (Kinesis: 25 KB) at most."""


class Tier(BaseModel):
    """A price up to a quantity of the month."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    up_to: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """In units of the item, from the first of the month on; None: no end."""


class Price(BaseModel):
    """The price of an item in its tiers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)]
    per: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1
    """So many units cost a tier's `usd`."""

    @model_validator(mode="after")
    def _climbing(self) -> Price:
        ends = [math.inf if tier.up_to is None else tier.up_to for tier in self.tiers]
        if ends != sorted(set(ends)):
            raise ValueError("tiers must follow one another by `up_to`, and only the last may have none")
        return self

    def usd(self, quantity: float) -> float | None:
        """What a month's `quantity` costs; None where it is more than the last tier that is known."""
        total, begin = 0.0, 0.0
        for tier in self.tiers:
            end = math.inf if tier.up_to is None else tier.up_to
            total += (min(quantity, end) - begin) * tier.usd / self.per
            if quantity <= end:
                return total
            begin = end
        return None


class FreeTier(BaseModel):
    """A quantity of a month that costs nothing, shared by its items."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: Annotated[tuple[str, ...], Field(min_length=1)]
    quantity: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Prices(BaseModel):
    """The prices of a region."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str
    date: datetime.date | None = None
    """When the sources were right; None where the region has no file."""
    sources: tuple[str, ...] = ()
    prices: Mapping[str, Price] = Field(default_factory=dict)
    free: tuple[FreeTier, ...] = ()

    @model_validator(mode="after")
    def _known_items(self) -> Prices:
        named = {*self.prices, *(item for free in self.free for item in free.items)}
        unknown = sorted(named - ITEMS.keys())
        if unknown:
            raise ValueError(f"unknown {', '.join(unknown)}; an item is one of {', '.join(ITEMS)}")
        return self

    def __str__(self) -> str:
        """`us-east-1, 2026-10-01`"""
        return f"{self.region}, {self.date or 'no prices'}"

    def usd(self, item: str, quantity: float) -> float | None:
        """What `quantity` units of an item cost, without free tier; None where the price is not known.

        Raises KeyError for what is no item at all.
        """
        if item not in ITEMS:
            raise KeyError(item)
        price = self.prices.get(item)
        return None if price is None else price.usd(quantity)

    def why_unknown(self, item: str) -> str:
        """What to say of, and do about, a price that is None."""
        price, file = self.prices.get(item), f"config/prices/{self.region}.toml"
        if price is None:
            return f"no price of {item} in {self.region}: add it to {file}"
        return f"no price of more than {price.tiers[-1].up_to:,.0f} {ITEMS[item].unit}: add a tier of {item} to {file}"


@dataclass(frozen=True)
class BillLine:
    """One item and what it costs."""

    item: str
    quantity: float | None
    """None where nobody knows."""
    usd: float | None
    """None where quantity or price is not known."""
    why_unknown: str | None = None
    """Why there is no `usd`."""


def bill(prices: Prices, quantities: Mapping[str, float | None], *, free_tier: bool = False) -> list[BillLine]:
    """The lines for the quantities of items, in their order; a quantity of None stays unknown.

    Raises KeyError for what is no item at all.
    """
    free = {number: tier.quantity for number, tier in enumerate(prices.free)} if free_tier else {}
    lines = []
    for item, quantity in quantities.items():
        if quantity is None:
            lines.append(BillLine(item, None, None, f"how much of {ITEMS[item].service} is not known"))
            continue
        charged = quantity
        for number, left in free.items():
            if item in prices.free[number].items:
                taken = min(left, charged)
                free[number] -= taken
                charged -= taken
        usd = prices.usd(item, charged)
        lines.append(BillLine(item, quantity, usd, prices.why_unknown(item) if usd is None else None))
    return lines


def lambda_gb_s(billed_ms: float, memory_mb: float) -> float:
    """GB-s of billed milliseconds, the init included: of Lambda's memory 1,024 MB are a GB."""
    return billed_ms / 1000 * memory_mb / KIB


def billed_ms(duration_ms: float) -> int:
    """Lambda bills by the millisecond, each that was begun."""
    return math.ceil(duration_ms)


def units(size_bytes: float, unit_bytes: int) -> int:
    """Units of a message or record that is charged by size: each that was begun, and one for an empty one."""
    return max(1, math.ceil(size_bytes / unit_bytes))


def lambda_compute_item(architecture: str) -> str:
    """The item of Lambda's GB-s."""
    return f"lambda_{architecture}_gb_s"


def lambda_provisioned_item(architecture: str) -> str:
    """The item of the GB-s of environments that are kept (provisioned concurrency), whether they do anything or not."""
    return f"lambda_provisioned_{architecture}_gb_s"


def request_quantities(
    requests: float,
    *,
    duration_ms: float,
    memory_mb: float,
    architecture: Architecture = "x86_64",
    entry: str | None = API_ENTRY,
) -> dict[str, float]:
    """Quantities of requests that call one function each. `entry`: the item of what takes them ahead of it; None: the
    Lambda API, which costs nothing by itself.

    `duration_ms`: of one invocation as billed or as measured; on the average it may have a fraction, which is kept.
    """
    quantities = {
        "lambda_requests": requests,
        lambda_compute_item(architecture): lambda_gb_s(requests * duration_ms, memory_mb),
    }
    return quantities if entry is None else {entry: requests, **quantities}


def requests_usd(
    prices: Prices,
    requests: float,
    *,
    duration_ms: float,
    memory_mb: float,
    architecture: Architecture = "x86_64",
    entry: str | None = API_ENTRY,
) -> float | None:
    """An estimate: what so many requests cost where they enter and at Lambda; None where a price is not known.

    What the functions call, logs and traces are not in it. See `request_quantities`.
    """
    quantities = request_quantities(
        requests, duration_ms=duration_ms, memory_mb=memory_mb, architecture=architecture, entry=entry
    )
    lines = [line.usd for line in bill(prices, quantities)]
    return None if None in lines else sum(usd for usd in lines if usd is not None)


def load_prices(region: str, directory: Path = PRICES_DIR) -> Prices:
    """The prices of a region; without any where `directory` has no file of it. What is no file's name has none either.

    Raises ConfigError with every problem of a file.
    """
    if region not in priced_regions(directory):
        return Prices(region=region)
    file = directory / f"{region}.toml"
    prices = load_price_file(file)
    if prices.region != region:
        raise ConfigError(f"{file}: region: is {prices.region!r}, unlike the file's name")
    return prices


def load_price_file(file: Path) -> Prices:
    """The prices of one file. Raises ConfigError with every problem."""
    try:
        read = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}") from None
    try:
        prices = Prices.model_validate(read)
    except ValidationError as invalid:
        raise ConfigError(problems_of(invalid, str(file))) from None
    missing = [key for key, given in (("date", prices.date), ("sources", prices.sources)) if not given]
    if missing:
        raise ConfigError(f"{file}: {key}: needed, so that a price can be checked" for key in missing)
    return prices


def priced_regions(directory: Path = PRICES_DIR) -> list[str]:
    """The regions that have a file."""
    return sorted(file.stem for file in directory.glob("*.toml"))
