"""What stood in a DynamoDB table, so that a run can be held against what it changed.

`tables_before.json` and `tables_after.json` of a run directory: `{"taken_at": epoch seconds, "tables": {logical name:
[item, ...]}}`, an item being plain JSON with its attributes' names (`{"shop_id": "1", "record_type": "s-90001",
"gross_number": 5, ...}`). Whoever starts the run takes the first, the analysis the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEFORE = "tables_before.json"
AFTER = "tables_after.json"


def take(client: Any, tables: Mapping[str, str], taken_at: float) -> dict[str, Any]:
    """A snapshot of `tables` (logical -> physical name) with a DynamoDB client; whole tables, strongly consistent.

    For tables of a load test: it reads every item. Raises what the client raises.
    """
    return {"taken_at": taken_at, "tables": {logical: _items(client, name) for logical, name in tables.items()}}


def _items(client: Any, table: str) -> list[dict[str, Any]]:
    return [
        {name: plain for name, value in item.items() if (plain := _plain(value)) is not None}
        for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        for item in page["Items"]
    ]


def _plain(value: Mapping[str, Any]) -> str | int | float | None:
    """A string or number of DynamoDB's JSON (`{"N": "5"}`); None for the other types, which hold no count."""
    if "N" in value:
        number = float(value["N"])
        return int(number) if number.is_integer() else number
    text = value.get("S")
    return text if isinstance(text, str) else None
