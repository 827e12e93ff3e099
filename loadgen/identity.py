"""The ids a request carries, so that the server's side of it can be found again.

- a request id: a random UUID. API Gateway's REST APIs take the client's, log it and return it (AWS documentation,
  "Variables for access logging for API Gateway": `$context.requestId`).
- an X-Ray trace id: `1-<8 hex digits of the epoch>-<24 hex digits>`; API Gateway adds one only where the request has
  none (AWS documentation, "X-Ray concepts: tracing header").
- a correlation id: a random UUID that travels with the payload through queues and topics, where headers do not.
"""

from __future__ import annotations

import random
from typing import NamedTuple

_BITS = 128 + 128 + 96
_DIGITS = _BITS // 4
_VARIANTS = "89ab"


class Identity(NamedTuple):
    """The ids of one request."""

    request_id: str
    correlation_id: str
    trace_id: str
    """The X-Ray Root."""
    sampled: str
    """`1` where X-Ray is asked to record the trace, else `0`."""


class IdentitySource:
    """Hands out ids that are unique across processes and runs.

    `source` must be seeded by the system, never by the run's seed: two runs with the same seed write into the same
    log groups. One draw serves all three ids, at half the price of three.
    """

    def __init__(self, source: random.Random, sampled_share: float) -> None:
        self._bits = source.getrandbits
        self._random = source.random
        self._sampled_share = sampled_share

    def next(self, now: float) -> Identity:
        """Ids for a request that starts at `now` (epoch seconds)."""
        digits = f"{self._bits(_BITS):0{_DIGITS}x}"
        share = self._sampled_share
        return Identity(
            _uuid4(digits, 0),
            _uuid4(digits, 32),
            f"1-{int(now):08x}-{digits[64:]}",
            "1" if share and (share >= 1.0 or self._random() < share) else "0",
        )


def _uuid4(digits: str, at: int) -> str:
    """A version 4 UUID (RFC 9562) of 32 hex digits, six bits of which are overwritten."""
    return (
        f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-4{digits[at + 13 : at + 16]}-"
        f"{_VARIANTS[int(digits[at + 16], 16) & 3]}{digits[at + 17 : at + 20]}-{digits[at + 20 : at + 32]}"
    )
