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

_NUMBERS = 2**32
_STEP = 0x9E3779B1
"""Odd, so that stepping through the numbers meets each once; near the golden ratio of them, so that they lie evenly."""


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

    The first eight digits of each differ from request to request, the others are random and stay: 88 bits of a UUID and
    64 of a trace. They are drawn anew when the numbers have come round.

    `source` must be seeded by the system, never by the run's seed: two runs with the same seed write into the same
    log groups.
    """

    def __init__(self, source: random.Random, sampled_share: float) -> None:
        self._source = source
        self._random = source.random
        self._sampled_share = sampled_share
        self._number = self._first = source.getrandbits(32)
        self._draw()
        self._second = -1
        self._trace_prefix = ""

    def next(self, now: float) -> Identity:
        """Ids for a request that starts at `now` (epoch seconds)."""
        digits = f"{self._number:08x}"
        second = int(now)
        if second != self._second:
            self._second, self._trace_prefix = second, f"1-{second:08x}-"
        share = self._sampled_share
        identity = Identity(
            digits + self._request_rest,
            digits + self._correlation_rest,
            self._trace_prefix + digits + self._trace_rest,
            "1" if share and (share >= 1.0 or self._random() < share) else "0",
        )
        self._number = (self._number + _STEP) % _NUMBERS
        if self._number == self._first:
            self._draw()
        return identity

    def _draw(self) -> None:
        self._request_rest = self._rest_of_uuid()
        self._correlation_rest = self._rest_of_uuid()
        self._trace_rest = f"{self._source.getrandbits(64):016x}"

    def _rest_of_uuid(self) -> str:
        """What follows the first eight digits of a UUID of version 4 (RFC 9562); the variant takes a whole digit."""
        digits = f"{self._source.getrandbits(88):022x}"
        return f"-{digits[:4]}-4{digits[4:7]}-8{digits[7:10]}-{digits[10:]}"
