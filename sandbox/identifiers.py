"""Ids as AWS makes them, from a seeded generator; and X-Ray's trace header.

`X-Amzn-Trace-Id: Root=1-<8 hex epoch seconds>-<24 hex>;Parent=<16 hex>;Sampled=0|1` (AWS documentation,
xray-services-apigateway).
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


def is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


class Identifiers:
    """A repeatable source of ids."""

    __slots__ = ("_bits",)

    def __init__(self, rng: random.Random) -> None:
        self._bits = rng.getrandbits

    def uuid(self) -> str:
        """A random UUID (version 4)."""
        text = f"{self._bits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def hex16(self) -> str:
        """An X-Ray segment id."""
        return f"{self._bits(64):016x}"

    def hex32(self) -> str:
        """The end of a log stream's name."""
        return f"{self._bits(128):032x}"

    def trace_root(self, at: float) -> str:
        """A new X-Ray trace id."""
        return f"1-{int(at):08x}-{self._bits(96):024x}"


class TraceHeader(NamedTuple):
    """A parsed X-Amzn-Trace-Id. `sampled` is None where no decision has been made yet."""

    root: str | None
    sampled: bool | None


NO_TRACE = TraceHeader(None, None)


def parse_trace_header(header: str | None) -> TraceHeader:
    """Never raises: what is not understood is absent."""
    if not header:
        return NO_TRACE
    root: str | None = None
    sampled: bool | None = None
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == "Root":
            root = value
        elif key == "Sampled" and value in ("0", "1"):
            sampled = value == "1"
    return TraceHeader(root, sampled)
