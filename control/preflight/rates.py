"""A planned rate against a limit. Pure."""

from __future__ import annotations

from analysis.formatting import decimal
from control.preflight.rows import FAIL, PASS, WARN, Row

ROOM = 0.8
"""Above this share of a limit there is little room for what was not planned."""


def rate_row(
    check: str, subject: str, rate: float | None, limit: float, said: str, advice: str, *, sure: bool = True
) -> Row:
    """`said`: the limit in words; `sure`: the rate is no less, and the limit is one that holds."""
    if rate is None:
        return Row(check, subject, PASS, f"{said}; {planned_in_words(None)}")
    finding = f"{said}; {'' if sure else 'at most '}{planned_in_words(rate)}"
    if rate > limit:
        return Row(check, subject, FAIL if sure else WARN, finding, advice)
    if rate > ROOM * limit:
        return Row(check, subject, WARN, finding, f"little room is left; {advice}")
    return Row(check, subject, PASS, finding)


def planned_in_words(rate: float | None) -> str:
    return "how many come a second is not known" if rate is None else f"{decimal(rate)} planned"
