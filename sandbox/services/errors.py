"""The one exception an AWS operation of the sandbox raises."""

from __future__ import annotations


class AwsError(Exception):
    """An AWS API refused a call.

    The wire turns it into the service's error document, the in-process clients into botocore's own ClientError.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        """As AWS spells it in the answer: `ProvisionedThroughputExceededException`, `NotFound`."""
        self.message = message
        self.status = status
        """HTTP status of the answer."""
