"""What is wrong with the configuration, all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from pydantic import ValidationError

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


def problems_of(invalid: ValidationError, source: str | None = None) -> list[str]:
    """What is wrong with the content of a file: `<source>: <key>: <what>`; members of lists are counted from 1.

    Without a source: `<key>: <what>`.
    """
    problems = []
    for error in invalid.errors():
        where = ".".join(str(part + 1 if isinstance(part, int) else part) for part in error["loc"])
        said = "unknown key" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
        problems.append(": ".join(part for part in (source, where, said) if part))
    return problems
