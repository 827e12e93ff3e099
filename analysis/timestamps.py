"""Points in time as the summary writes them."""

from __future__ import annotations

from analysis.formatting import moment


def iso_utc(at: float | None) -> str | None:
    """Epoch seconds -> `2026-11-21T10:00:23.417Z`; None stays None, and what is no date on the calendar becomes it."""
    when = None if at is None else moment(round(at, 3))
    return None if when is None else when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
