"""What can go wrong around a run, and the exit code it ends with.

ControlError            3   the work could not be completed
+- DeployError          3   CloudFormation refused or rolled back
+- ProcessError         3   a process that was started (sandbox, Locust) ended too early
+- temporary_versions     3   versions for an experiment could not be made, or something is left of them
config.errors.ConfigError   2   something to mend before anything starts
"""

from __future__ import annotations


class ControlError(Exception):
    """The work could not be completed; the message says what happened and, where known, what to do."""

    exit_code = 3


class DeployError(ControlError):
    """A stack did not reach the state it should have."""


class ProcessError(ControlError):
    """A process that was started did not get ready, or ended too early."""
