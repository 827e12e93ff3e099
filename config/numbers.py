"""Numbers as variables and options have them: text, of which every mistake is told together with all others."""

from __future__ import annotations

MAX_SEED = 2**63 - 1
"""Workers are sent it as a number of 64 bits."""
MAX_COUNT = 10**9


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
