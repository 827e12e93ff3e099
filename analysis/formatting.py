"""How values are written for people: in the terminal, in Markdown and in the HTML report alike.

What was not measured (None), or is no finite number, is written as an en dash, never as 0. Text that came from logs,
payloads or names goes through `visible`, which makes control and direction-changing characters harmless in a terminal,
and keeps a message of a megabyte from filling the page.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

NOTHING = "–"
"""What stands where nothing was measured."""

LONGEST = 1000
"""Characters of a text that nobody set another limit for."""
LONGEST_NAME = 100
"""Characters of a name in a table. A function's has 64 at most; that of an endpoint with its path is often longer."""
ABSURD = 1e15
"""Numbers from here on are written as `1e+15`: no count or time of a run is so large, and 300 digits fit nowhere."""

_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff\ufffe\uffff]+"  # halves of a surrogate pair, and what no text has: XML cannot hold them
)


def visible(value: object, limit: int = LONGEST) -> str:
    """One line of text without control characters (terminal escapes, line ends, changes of direction).

    Each stretch of them becomes one blank. Text longer than `limit` characters ends in an ellipsis. None is NOTHING,
    and so is a text that nobody could see.
    """
    if value is None or value == "":
        return NOTHING
    text = _INVISIBLE.sub(" ", str(value)[: 2 * max(limit, LONGEST)]).strip() or NOTHING
    return text if len(text) <= limit else text[: limit - 1] + "…"


def short_name(value: object, limit: int = LONGEST_NAME) -> str:
    """A name as `visible` text. Of a longer one the middle is left out: names that begin alike end differently."""
    text = visible(value)
    if len(text) <= limit:
        return text
    tail = limit // 2
    return f"{text[: limit - 1 - tail]}…{text[-tail:]}"


def _written(value: float | None, form: str) -> str:
    """A number in a format, unless it is none or absurd."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.3g}" if abs(value) >= ABSURD else format(value, form)


def count(value: float | None) -> str:
    """`12,345`."""
    return _written(value, ",.0f")


def decimal(value: float | None) -> str:
    """A measured number to about four digits: `0.034`, `3.46`, `51.5`, `12,346`. A small one never reads as 0."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    if 0 < value < 0.0001:
        return "<0.0001"
    if size >= 1000 or value == int(value):
        return count(value)
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def milliseconds(value: float | None) -> str:
    """`48.2` below a second, `1,235` above; the unit stands in the column's header."""
    return NOTHING if value is None else _written(value, ",.0f" if abs(round(value, 1)) >= 1000 else ".1f")


def share(part: float | None) -> str:
    """A share from 0 to 1 as per cent: `4.02 %`. A small share that is not nothing never reads as 0."""
    if part is None:
        return NOTHING
    percent = 100 * part
    if 0 < percent < 0.01:
        return "<0.01 %"
    if 99.99 < percent < 100:
        return ">99.99 %"
    written = _written(percent, ".0f" if percent in (0, 100) else ".2f")
    return written if written == NOTHING else f"{written} %"


def percent(part: float) -> str:
    """A share that somebody chose, as it was written: `5 %`, `99.5 %`."""
    return f"{100 * part:.6g} %"


def ratio(part: float | None, whole: float | None) -> float | None:
    """part / whole, or None where either is absent or the whole is nothing."""
    return None if part is None or not whole else part / whole


def usd(value: float | None) -> str:
    """`$0.0123`: four digits below a dollar, cents above; a small sum that is not nothing never reads as 0."""
    if value is None:
        return NOTHING
    if 0 < value < 0.0001:
        return "<$0.0001"
    written = _written(value, ",.2f" if value >= 1 else ".4f")
    return written if written == NOTHING else f"${written}"


def timespan(seconds: float | None) -> str:
    """`42.5 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if abs(seconds) >= ABSURD:
        return f"{seconds:.3g} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(at: float | str | None) -> datetime | None:
    """A point in time from epoch seconds or an ISO 8601 text (UTC where it names no zone); None where it is neither."""
    if at is None or at == "":
        return None
    try:
        if isinstance(at, str):
            parsed = datetime.fromisoformat(at)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def date_and_time(at: float | str | None) -> str:
    """`2026-11-21 10:00:23 UTC`."""
    when = moment(at)
    return NOTHING if when is None else when.strftime("%Y-%m-%d %H:%M:%S UTC")


def time_of_day(at: float | str | None) -> str:
    """`10:00:23.417`, UTC."""
    when = moment(at)
    return NOTHING if when is None else when.strftime("%H:%M:%S.") + f"{when.microsecond // 1000:03d}"


def plural(number: float | None, noun: str) -> str:
    """`1 request`, `12,345 requests`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"
