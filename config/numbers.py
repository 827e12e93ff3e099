"""Numbers as variables and options have them: text, of which every mistake is told together with all others."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

MAX_SEED = 2**63 - 1
"""Workers are sent it as a number of 64 bits."""
MAX_COUNT = 10**9

_FACTORS: Mapping[str | None, Decimal] = {"%": Decimal("0.01"), "ms": Decimal(1), "s": Decimal(1000), None: Decimal(1)}


def limit_of(digits: str, unit: str | None) -> float:
    """`0.7` and `%`, `ms`, `s` or None as a share, milliseconds, or what it is.

    The float nearest to what is written: seven failures of a thousand are neither more nor less than `0.7%`, of which
    0.7 / 100 falls short.
    """
    return float(Decimal(digits) * _FACTORS[unit])


def number(problems: list[str], variable: str, text: str | None, default: float) -> float:
    """`default` without text, and where it is no number, which is added to `problems`."""
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        problems.append(f"{variable}: {text!r} is not a number")
        return default


def whole_number(
    problems: list[str], variable: str, text: str | None, *, least: int, most: int = MAX_COUNT
) -> int | None:
    """None without text, and where it is no such number, which is added to `problems`."""
    if not text:
        return None
    # by how many digits they are first: Python reads no number of thousands of them
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most:
        return int(text)
    problems.append(f"{variable}: {text!r} is not a whole number from {least} to {most:,}")
    return None
