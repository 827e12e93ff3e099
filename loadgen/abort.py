"""Which threshold ends a run before its time: `"POST /vote: error_rate < 5%" = "abort after 10s"`.

Each such threshold is looked at again and again, over its sliding window. Broken in every look for as long as it says,
it ends the run. A window is looked at once it is whole and free of warm-up. One without data neither breaks a threshold
nor mends it: a target that answers nothing at all goes on being broken, but only what was measured ends a run.

Pure: time is an argument, in seconds of the clock of the live figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from config.profiles import Profile
from config.thresholds import DEFAULT_WINDOW_S, SHORTEST_WINDOW_S, Threshold
from loadgen.live import LiveFigures, LiveWindow

_SHARES = {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1.0}

_LOOKS_IN_A_WINDOW = 100


@dataclass(frozen=True)
class Abort:
    """Why a run was ended."""

    threshold: str
    """The expression."""
    value: float
    """What was measured in the last window."""
    window_s: float
    broken_for_s: float

    def __str__(self) -> str:
        return (
            f"{self.threshold} has been broken for {self.broken_for_s:.1f} s; "
            f"over the last {self.window_s:g} s it was {self.value:.6g}"
        )


def live_value(window: LiveWindow, metric: str) -> float | None:
    """A metric of `config.thresholds.CLIENT_METRICS` over a window; None where nothing was measured."""
    if metric in _SHARES:
        return window.percentile_ms(_SHARES[metric])
    if metric == "success_rate":
        return None if window.error_rate is None else 1 - window.error_rate
    value: float | None = getattr(window, metric)
    return value


def longest_window_s(profile: Profile) -> float:
    """How far back those look who judge a run of `profile` while it goes: thresholds, the search for a breakpoint."""
    windows = [threshold.window_s for threshold in profile.thresholds if threshold.window_s is not None]
    holds = [] if profile.breakpoint is None else [profile.breakpoint.hold_s]
    return max([_default_window_s(profile.time_scale), *windows, *holds])


def _default_window_s(time_scale: float) -> float:
    return max(SHORTEST_WINDOW_S, DEFAULT_WINDOW_S * time_scale)


class AbortWatch:
    """The thresholds of one run that may end it."""

    def __init__(self, thresholds: Iterable[Threshold], measure_from: float, time_scale: float) -> None:
        """`measure_from`: when the warm-up ends."""
        default_s = _default_window_s(time_scale)
        self._watched = [
            _Watched(threshold, threshold.window_s or default_s, threshold.abort_after_s, measure_from)
            for threshold in thresholds
            if threshold.abort_after_s is not None
        ]

    def __bool__(self) -> bool:
        return bool(self._watched)

    def look(self, figures: LiveFigures, now: float) -> Abort | None:
        """What ends the run now, if anything does: the first of several."""
        aborts = [watched.look(figures, now) for watched in self._watched]
        return next(filter(None, aborts), None)


class _Watched:
    """One threshold and how long it has been broken."""

    def __init__(self, threshold: Threshold, window_s: float, patience_s: float, measure_from: float) -> None:
        self._threshold = threshold
        self._window_s = window_s
        self._patience_s = patience_s
        self._looks_at = measure_from + window_s
        self._broken_since: float | None = None

    def look(self, figures: LiveFigures, now: float) -> Abort | None:
        if now < self._looks_at:
            return None
        # Long windows change slowly, and take long to look at.
        self._looks_at = now + self._window_s / _LOOKS_IN_A_WINDOW
        threshold = self._threshold
        window = figures.over(now, self._window_s, threshold.scope, measured_only=True)
        value = live_value(window, threshold.metric)
        if value is None:
            return None
        if threshold.holds(value):
            self._broken_since = None
            return None
        if self._broken_since is None:
            self._broken_since = now
        broken_for_s = now - self._broken_since
        if broken_for_s < self._patience_s:
            return None
        return Abort(threshold.text, value, self._window_s, broken_for_s)
