"""Time spans as people write them: `90s`, `10m`, `1h30m`, `500ms`, or a plain number of seconds."""

from __future__ import annotations

import re

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse_timespan(text: str | float) -> float:
    """Seconds of `text`. Raises ValueError naming the text and the accepted forms."""
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        raise ValueError(f"{text!r} is not a time span such as 90s, 10m, 1h30m or 500ms")
    if isinstance(text, int | float):
        if not 0 <= text < float("inf"):
            raise ValueError(f"a time span cannot be {text!r} seconds")
        return float(text)
    stripped = text.strip().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", stripped):
        return float(stripped)
    parts = _PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise ValueError(f"{text!r} is not a time span such as 90s, 10m, 1h30m or 500ms")
    return round(sum(float(number) * _UNIT_S[unit] for number, unit in parts), 6)


def format_timespan(seconds: float) -> str:
    """A short form that `parse_timespan` reads: `500ms`, `1.5s`."""
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
