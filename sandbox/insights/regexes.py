"""Regular expressions and globs of `parse` and `like`, as RE2 patterns (what DuckDB uses).

from_glob("* - [*]")  -> r"(?s)^(.*?) - \\[(.*?)\\]", two captures
from_regex(r"(?<ms>\\d+) (a|b)")  -> r"(?P<ms>\\d+) (a|b)", captures named ("ms", None)
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Captures:
    """A pattern and, for each of its capturing groups in order, the name it was given."""

    pattern: str
    names: tuple[str | None, ...]


_TOKEN = re.compile(
    r"""\\Q.*?(?:\\E|$)                     # quoted text
    |\\.                                    # an escaped character
    |\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]  # a character class
    |\(\?P?<(?P<name>[A-Za-z_]\w*)>         # a named group
    |\(\?                                   # flags, or a group that captures nothing
    |(?P<group>\()""",
    re.VERBOSE | re.DOTALL,
)


def from_regex(pattern: str) -> Captures:
    """A pattern as written between slashes: `(?<name>…)` as RE2 spells it, and its groups."""
    names: list[str | None] = []
    pieces: list[str] = []
    at = 0
    for found in _TOKEN.finditer(pattern):
        pieces.append(pattern[at : found.start()])
        if found["name"]:
            names.append(found["name"])
            pieces.append(f"(?P<{found['name']}>")
        else:
            if found["group"]:
                names.append(None)
            pieces.append(found[0])
        at = found.end()
    return Captures("".join(pieces) + pattern[at:], tuple(names))


def wildcards(glob: str) -> int:
    return glob.count("*")


def from_glob(glob: str) -> str:
    """A glob as a pattern with one capture for each `*`: as little as reaches the text that follows; a leading one
    begins where the field does, a trailing one takes all that is left. The rest stands literally, anywhere."""
    first, *rest = glob.split("*")
    pattern = "(?s)" + (re.escape(first) if first else "^")
    for index, piece in enumerate(rest, start=1):
        if piece:
            # up to a single character needs no looking back, which is twice as fast
            capture = f"([^{re.escape(piece)}]*)" if len(piece) == 1 else "(.*?)"
            pattern += capture + re.escape(piece)
        else:
            pattern += "(.*)$" if index == len(rest) else "(.*?)"
    return pattern
