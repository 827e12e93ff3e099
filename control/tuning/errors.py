"""What can go wrong in a tuning run beyond what AWS refuses."""

from __future__ import annotations

from control.errors import ControlError


class TuningError(ControlError):
    """The run could not be completed; the message says what happened and what to do."""


class LeftoversError(ControlError):
    """Something of the run is still there; the message says what and how to remove it."""
