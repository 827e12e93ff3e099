"""What is wrong with the configuration, all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Found = TypeVar("Found")


class ConfigError(Exception):
    """One or more things to mend before a run can start; exit code 2.

    `problems` holds one line each, naming the file or variable, the value found and what is accepted.
    """

    exit_code = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def collect(problems: list[str], read: Callable[[], Found]) -> Found | None:
    """What `read` returns; None where it raises ConfigError, whose problems are added to the others."""
    try:
        return read()
    except ConfigError as invalid:
        problems.extend(invalid.problems)
        return None
