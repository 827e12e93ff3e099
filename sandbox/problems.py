"""What is wrong with what somebody gave the sandbox, in words."""

from __future__ import annotations

from pydantic import ValidationError


def problems_of(invalid: ValidationError) -> list[str]:
    """One line for each: `lambda.concurency: unknown key`, `0.rate: Input should be less than … (given 2)`."""
    return [
        f"{'.'.join(map(str, problem['loc'])) or 'all of it'}: "
        + ("unknown key" if problem["type"] == "extra_forbidden" else f"{problem['msg']} (given {problem['input']!r})")
        for problem in invalid.errors()
    ]
