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

_BYTES = 15 + 15 + 12
_POOL_IDS = 64
"""Ids that are drawn at once: one large draw is cheaper than many small ones."""


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
    log groups.
    """

    def __init__(self, source: random.Random, sampled_share: float) -> None:
        self._bytes = source.randbytes
        self._random = source.random
        self._sampled_share = sampled_share
        self._digits = ""
        self._at = 0
        self._second = -1
        self._trace_prefix = ""

    def next(self, now: float) -> Identity:
        """Ids for a request that starts at `now` (epoch seconds)."""
        at = self._at
        if at == len(self._digits):
            self._digits, at = self._bytes(_BYTES * _POOL_IDS).hex(), 0
        self._at = at + 2 * _BYTES
        second = int(now)
        if second != self._second:
            self._second, self._trace_prefix = second, f"1-{second:08x}-"
        digits, share = self._digits[at : self._at], self._sampled_share
        return Identity(
            # UUIDs of version 4 (RFC 9562), 120 bits of which are random: the variant takes a whole digit here.
            f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15:18]}-{digits[18:30]}",
            f"{digits[30:38]}-{digits[38:42]}-4{digits[42:45]}-8{digits[45:48]}-{digits[48:60]}",
            self._trace_prefix + digits[60:],
            "1" if share and (share >= 1.0 or self._random() < share) else "0",
        )
