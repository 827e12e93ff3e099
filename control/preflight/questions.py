"""Asking the control plane: what it refuses is an `Unknown`, what it does not have an `Absent`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from config.aws_refusals import explain
from control.preflight.facts import Absent, Unknown

_NOT_THERE = frozenset(
    {
        "404",
        "NotFoundException",
        "NotFound",
        "ResourceNotFoundException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "ProvisionedConcurrencyConfigNotFoundException",
        "NoSuchEntity",
        "NoSuchResourceException",
    }
)
T = TypeVar("T")


@dataclass
class Questions:
    """The control plane of a target."""

    client: Callable[[str], Any]
    """Makes a boto3 client of a service."""
    profile: str | None = None
    denied: list[str] = field(default_factory=list)
    """Actions that were refused, in their order."""

    def ask(self, action: str, question: Callable[[], T]) -> T | Absent | Unknown:
        """What `question` returns, which needs the IAM action."""
        try:
            return question()
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in _NOT_THERE:
                return Absent()
            refused = explain(error, self.profile)
            if refused is None:
                return Unknown(action, str(error))
            missing = refused.action if isinstance(error, ClientError) else None
            if missing is not None and missing not in self.denied:
                self.denied.append(missing)
            return Unknown(missing or action, refused.message, denied=missing is not None, hint=refused.hint)
