"""What is wrong with the configuration, all of it at once."""

from __future__ import annotations

from collections.abc import Iterable


class ConfigError(Exception):
    """One or more things to mend before a run can start; exit code 2.

    `problems` holds one line each, naming the file or variable, the value found and what is accepted.
    """

    exit_code = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))
