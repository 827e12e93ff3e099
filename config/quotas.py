"""Quotas that no call of AWS tells: `config/quotas.toml`, read and checked.

>>> load_quotas().of("sns_publishes_per_s", "eu-west-1").value
9000.0
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.errors import ConfigError

QUOTAS_FILE = Path(__file__).parent / "quotas.toml"
OTHER = "other"


@dataclass(frozen=True)
class Quota:
    """One quota in one Region."""

    value: float | None
    """None where nobody knows."""
    source: str


@dataclass(frozen=True)
class Quotas:
    """All of them: name -> Region or `other` -> value."""

    values: Mapping[str, Mapping[str, float]]
    sources: Mapping[str, str]

    def of(self, name: str, region: str | None) -> Quota:
        """Raises KeyError for a quota that is not in the file."""
        known = self.values[name]
        return Quota(known.get(region or "", known.get(OTHER)), self.sources[name])


def load_quotas(file: Path = QUOTAS_FILE) -> Quotas:
    """Raises ConfigError with everything that is wrong with the file."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}") from None
    values: dict[str, dict[str, float]] = {}
    sources: dict[str, str] = {}
    problems = []
    for name, table in document.items():
        by_region = {key: value for key, value in table.items() if key != "source"}
        if not isinstance(table.get("source"), str):
            problems.append(f"{file}: {name}.source: needed, so that a quota can be checked")
        problems += [
            f"{file}: {name}.{key}: {value!r} is not a number above 0"
            for key, value in by_region.items()
            if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0
        ]
        if not problems:
            sources[name] = table["source"]
            values[name] = {key: float(value) for key, value in by_region.items()}
    if problems:
        raise ConfigError(problems)
    return Quotas(values, sources)
