"""How a function is invoked directly: the choices of the Invoke call, and the log that comes back with its answer.

AWS documentation, "Invoke": `X-Amz-Invocation-Type` (RequestResponse waits for the result, Event queues it, DryRun only
checks), `?Qualifier=` (a version or an alias), `X-Amz-Log-Type: Tail` (synchronous calls only: the last 4 KB of the
invocation's log come back in base64 as `X-Amz-Log-Result`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple
from urllib.parse import quote

INVOCATION_TYPES = ("RequestResponse", "Event", "DryRun")
LOG_TYPES = ("None", "Tail")

# `REPORT RequestId: <uuid>\tDuration: ...\tInit Duration: 156.08 ms\t`, or the JSON record of the same event. A
# function may log what looks like it; Lambda's own comes last.
_REPORT = re.compile(rb'^(?:REPORT (?=RequestId: )|.*"type":\s*"platform\.report").*', re.M)
_REQUEST_ID = re.compile(rb'\bRequestId: ([0-9a-f-]{36})|"requestId":\s*"([^"]+)"')
_INIT_DURATION = re.compile(rb'(?:\bInit Duration: |"initDurationMs":\s*)(\d+(?:\.\d+)?)')


@dataclass(frozen=True)
class Invocation:
    """The choices. Raises ValueError for one that Lambda does not know."""

    invocation_type: str = "RequestResponse"
    qualifier: str | None = None
    """A version or an alias; several, separated by commas, are driven in turns. None: `$LATEST`."""
    log_type: str = "None"
    named: bool = False
    """Whether the qualifier is part of the request's name."""

    def __post_init__(self) -> None:
        if self.invocation_type not in INVOCATION_TYPES:
            raise ValueError(f"{self.invocation_type!r} is no invocation type; there are {', '.join(INVOCATION_TYPES)}")
        if self.log_type not in LOG_TYPES:
            raise ValueError(f"{self.log_type!r} is no log type; there are {', '.join(LOG_TYPES)}")

    @property
    def turns(self) -> tuple[Invocation, ...]:
        """One call after the other: each qualifier's, under a name of its own where there are several."""
        qualifiers = (self.qualifier or "").replace(",", " ").split()
        if len(qualifiers) < 2:
            return (self,)
        return tuple(replace(self, qualifier=qualifier, named=True) for qualifier in qualifiers)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """Headers of the call, to be signed with the others."""
        kind = {"Content-Type": "application/json", "X-Amz-Invocation-Type": self.invocation_type}
        return kind if self.log_type == "None" else kind | {"X-Amz-Log-Type": self.log_type}

    @cached_property
    def header_lines(self) -> str:
        """The same, as they are sent."""
        return "".join([f"{name}: {value}\r\n" for name, value in self.headers.items()])

    @cached_property
    def query(self) -> str:
        """What follows the path: `?Qualifier=live`, or nothing."""
        return "" if self.qualifier is None else f"?Qualifier={quote(self.qualifier, safe='')}"

    @cached_property
    def label(self) -> str:
        """What sets such calls apart in a request's name: `:blue (Event)`, ` (Event)`, or nothing."""
        of_qualifier = f":{self.qualifier}" if self.named else ""
        return of_qualifier + ("" if self.invocation_type == "RequestResponse" else f" ({self.invocation_type})")


AS_IS = Invocation()
"""Lambda's own defaults: wait for the answer of $LATEST, without its log."""


class Reported(NamedTuple):
    """What a REPORT line says of its invocation."""

    request_id: str
    init_ms: float | None
    """None where its environment was there already."""


def reported(log_result: str) -> Reported | None:
    """The REPORT line in an `X-Amz-Log-Result`; None where there is none in it."""
    try:
        tail = base64.b64decode(log_result, validate=True)
    except (binascii.Error, ValueError):
        return None
    reports = _REPORT.findall(tail)
    found = _REQUEST_ID.search(reports[-1]) if reports else None
    if found is None:
        return None
    init = _INIT_DURATION.search(reports[-1])
    return Reported((found[1] or found[2]).decode(errors="replace"), float(init[1]) if init else None)
