"""Points in time as the summary writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_utc(at: float | None) -> str | None:
    """Epoch seconds -> `2026-11-21T10:00:23.417Z`; None stays None."""
    if at is None:
        return None
    return datetime.fromtimestamp(round(at, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
