"""The clients of a deployment, and time: what nothing here makes for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

Progress = Callable[[str], None]
"""Takes one line that says what has just happened."""

_NOT_IMPLEMENTED = frozenset(
    {"NotImplemented", "InvalidAction", "UnknownOperationException", "UnsupportedOperation", "501"}
)


@dataclass(frozen=True)
class Cloud:
    """The clients of a deployment, and time."""

    cloudformation: Any
    s3: Any
    sts: Any
    region: str
    sleep: Callable[[float], None]
    poll_s: float = 2.0
    """Seconds between two looks at the stack."""


def is_unknown_to_target(refused: ClientError) -> bool:
    """Whether an emulator says that it does not have the operation."""
    status = refused.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 501 or refused.response["Error"].get("Code") in _NOT_IMPLEMENTED
