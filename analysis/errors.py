"""What can go wrong in the analysis, and the exit code each ends with.

```
AnalysisError                 3
├── UsageError                2   the command, its options or the configuration; the hint says what to mend
│   └── TargetError           2   the target refuses: no such log group, wrong region, no credentials, not reachable
└── IncompleteError           3   the run or its data is not whole
    ├── NoRowsError           3   nothing to analyse: no request rows, no log rows
    ├── PullError             3   logs could not be fetched whole: a query failed, timed out or was cut off
    │   └── InterruptedPullError  130: Ctrl-C
    └── DataFormatError       3   a file of the run is not what its name says
```

A failed threshold is a result, not an error: commands then end with THRESHOLD_FAILED. Anything that is not an
AnalysisError (or one of the errors `analysis.__main__` lists beside it) is a defect and keeps its traceback.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

OK = 0
THRESHOLD_FAILED = 1
USAGE = 2
INCOMPLETE = 3
INTERRUPTED = 130


class AnalysisError(Exception):
    """Base of everything the analysis raises on purpose.

    `message` is one line saying what was found wrong; `hint`, where the user can act, says what to do about it.
    """

    exit_code = INCOMPLETE

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(AnalysisError):
    """Wrong options or configuration."""

    exit_code = USAGE


class TargetError(UsageError):
    """The target (AWS, sandbox, emulator) refuses what was asked, and asking again would not help."""


def refused_caller(error: ClientError | BotoCoreError) -> TargetError | None:
    """What a refusal comes to that is about who calls: a missing permission, credentials; None for any other."""
    from config.aws_refusals import explain

    refused = explain(error, os.environ.get("AWS_PROFILE"))
    if refused is None:
        return None
    policy = "have control/policies/analysis.json attached (`python -m control policy analysis` prints it)"
    return TargetError(refused.message, policy if refused.action else refused.hint)


def is_interruption(error: BaseException) -> bool:
    """Whether it is a Ctrl-C: of one that comes during a query DuckDB makes an error of one of three kinds."""
    of_duckdb = (type(error).__name__, str(error)) == ("RuntimeError", "Query interrupted")
    of_duckdb |= type(error).__name__ == "InterruptException"
    # where it came while rows were made for a query: no value of a run is quoted in such an error
    of_duckdb |= "registered as '" in str(error) and "KeyboardInterrupt" in str(error)
    return isinstance(error, KeyboardInterrupt) or of_duckdb


class IncompleteError(AnalysisError):
    """The run or its data is not whole, so its figures cannot be trusted as they are."""


class NoRowsError(IncompleteError):
    """There is nothing to analyse."""


class PullError(IncompleteError):
    """Logs or metrics could not be fetched whole."""


class InterruptedPullError(PullError):
    """Whoever waited for the logs ended it."""

    exit_code = INTERRUPTED


class DataFormatError(IncompleteError):
    """A file of the run cannot be read as what its name says it is."""
