"""How to cut a window of log events so that no query's answer overflows.

A slice is a stretch of whole seconds, and neighbours share the second at which they meet: whether the end of a query
takes in its whole last second or only its first instant, nothing falls between two slices. What comes twice belongs to
the later one (see `analysis.slice_files`).

A slice that overflows all the same is cut in halves, and one that is too short for that by the first hex digits of the
request id that an event names, into seventeen: sixteen digits and everything else. So are the parts again by the next
digit, everything else being ids that stop being hexadecimal there. What names no request id is cut by the first hex
digits of its log stream's id, in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

DIGITS = "0123456789abcdef"
OTHER = "other"
ENDED = "_"
"""Behind the digits of a prefix: no hex digit follows them."""
MAX_PREFIX = 4
"""Digits of an id beyond which a second is not cut any further: 65,536 parts."""


@dataclass(frozen=True, order=True)
class Slice:
    """Epoch seconds, both inclusive; the prefixes limit it to events whose ids begin so.

    Of a prefix, "" means all, OTHER those without an id that begins with a hex digit, "e" + ENDED those whose id has no
    second one behind its "e".
    """

    start: int
    end: int
    request_prefix: str = ""
    stream_prefix: str = ""

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a slice from {self.start} to {self.end} holds no second")


def plan(counts: Mapping[int, int], start: int, end: int, room: int) -> list[Slice]:
    """Slices that cover [start, end], none expected to give more than `room` rows.

    `counts` says how many rows to expect in each epoch second; seconds that it lacks are expected to be empty. What a
    single second holds beyond that is left to `cut`.
    """
    slices: list[Slice] = []
    begun = last = start
    held = 0
    for second in sorted(second for second in counts if start <= second < end):
        if held + counts[second] > room and last > begun:
            slices.append(Slice(begun, last))
            begun, held = last, counts.get(last, 0)  # what arrives in the shared second counts for both neighbours
        held += counts[second]
        last = second
    if end > begun:
        slices.append(Slice(begun, end))
    return slices


def cut(full: Slice) -> list[Slice]:
    """The parts of a slice that overflowed; empty where it cannot be cut any further."""
    if full.request_prefix == OTHER:
        return [replace(full, stream_prefix=longer) for longer in _longer(full.stream_prefix)]
    if full.request_prefix or full.end - full.start == 1:
        return [replace(full, request_prefix=longer) for longer in _longer(full.request_prefix)]
    middle = (full.start + full.end) // 2
    return [Slice(full.start, middle), Slice(middle, full.end)]


def comes_of(part: Slice, whole: Slice) -> bool:
    """Whether `whole`, cut as often as may be, gives `part`; it comes of itself."""
    at: Slice | None = whole if _within(part, whole) else None
    while at not in (None, part):
        at = next((one for one in cut(at) if _within(part, one)), None)
    return at is not None


def _within(part: Slice, whole: Slice) -> bool:
    return (
        whole.start <= part.start
        and part.end <= whole.end
        and part.request_prefix.startswith(whole.request_prefix)
        and part.stream_prefix.startswith(whole.stream_prefix)
    )


def _longer(prefix: str) -> list[str]:
    """The prefixes that share out what `prefix` takes in; none where it is as long as it may get."""
    if prefix == OTHER or prefix.endswith(ENDED) or len(prefix) >= MAX_PREFIX:
        return []
    return [*(prefix + digit for digit in DIGITS), prefix + ENDED if prefix else OTHER]
