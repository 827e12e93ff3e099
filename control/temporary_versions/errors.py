"""What can go wrong with versions for a while, beyond what AWS refuses."""

from __future__ import annotations

from control.errors import ControlError


class VersionsError(ControlError):
    """What an experiment needs could not be made; the message says what happened and what to do."""


class LeftoversError(ControlError):
    """Something that was made is still there; the message says what and how to remove it."""
