"""What a check comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from control.preflight.facts import Unknown

Verdict = Literal["pass", "warn", "fail"]
PASS: Verdict = "pass"
WARN: Verdict = "warn"
FAIL: Verdict = "fail"


@dataclass(frozen=True)
class Row:
    """One finding."""

    check: str
    """Name of the check, as docs/preflight.md has it."""
    subject: str
    """What was looked at: a function's logical name, a table, a host; empty where there is but one."""
    verdict: Verdict
    finding: str
    advice: str = ""
    """What to do; empty where there is nothing to do."""


def not_asked(check: str, subject: str, unknown: Unknown) -> Row:
    """The row of a check whose facts the target did not tell."""
    if unknown.denied:
        return Row(
            check,
            subject,
            WARN,
            f"may not {unknown.action}",
            f"needs action {unknown.action}, or look it up another way",
        )
    return Row(check, subject, WARN, f"not known: {unknown.why}")


def worst(rows: list[Row]) -> Verdict:
    """The verdict of all of them together."""
    verdicts = {row.verdict for row in rows}
    return FAIL if FAIL in verdicts else WARN if WARN in verdicts else PASS
