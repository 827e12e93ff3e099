"""Live figures of a run: counted in each sending process, sent to the master twice a second, read over sliding windows.

    row of a request or a dropped arrival -> LiveCounter (each process) -> increments -> LiveFigures (master, lone)
    -> LiveWindow: what happened in the last so many seconds, to everything, an endpoint or a flow

For decisions while the run goes (abort thresholds, the search for a breakpoint) and for the web UI. The analysis
counts anew, from the rows. A request counts when it ends; percentiles are within 1 % (`loadgen.histogram`).

Pure: time is an argument, in seconds of any monotonic clock, the same one for all calls.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any, NamedTuple

from loadgen.histogram import PER_UNIT, Buckets, Histogram

REPORT_EVERY_S = 0.5
"""How sharp the edges of a window are, unless it is one of minutes."""
KEPT_S = 60.0
"""How far windows may look back where nobody asks for more."""
_MOST_SLOTS = 240
"""Half a second each, or longer where windows are long: merging more would hold up requests."""
SILENT_AFTER_S = 4.0
"""A process that has not reported for so long has no requests in flight any more, as far as anybody knows."""

MASTER = "master"
"""Stands for the process that starts the others, which sends nothing itself."""
NO_STATUS = "none"
"""Key, among the statuses, of requests that got no response: as in the summary."""

_THROTTLED = re.compile(
    "Throttl|TooManyRequests|ThroughputExceeded|RequestLimitExceeded|LimitExceededException|SlowDown"
)
"""Error codes of AWS that mean a throttle (botocore, retries.standard.ThrottledRetryableChecker)."""


class Series(NamedTuple):
    """What is counted apart."""

    measured: bool
    """False during the warm-up."""
    flow: str
    name: str
    """Locust's name of the request; empty for dropped arrivals, of which only the flow is known."""
    method: str

    @property
    def endpoint(self) -> str:
        """As the summary calls it: method and name, `POST /vote`."""
        return self.name if self.name.startswith(f"{self.method} ") else f"{self.method} {self.name}"


class Tally:
    """Counts of requests."""

    __slots__ = ("dropped", "failures", "function_errors", "lag", "latency", "statuses", "throttles", "total_ms")

    def __init__(self) -> None:
        self.statuses: dict[int | None, int] = defaultdict(int)
        """HTTP status, None where there was no response -> requests."""
        self.failures = 0
        self.function_errors = 0
        self.throttles = 0
        self.dropped = 0
        self.total_ms = 0.0
        self.latency: Buckets = defaultdict(int)
        self.lag: Buckets = defaultdict(int)
        """Of requests that were due at some time: how much later they started."""

    def as_message(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def add_message(self, message: Iterable[Any]) -> None:
        """Add what another tally's `as_message` said."""
        for name, value in zip(self.__slots__, message, strict=True):
            if isinstance(value, dict):
                mine = getattr(self, name)
                for key, count in value.items():
                    mine[key] += count
            else:
                setattr(self, name, getattr(self, name) + value)


class LiveCounter:
    """What one process has counted since it was last asked. Takes part in every request: lean."""

    def __init__(self) -> None:
        self.in_flight: dict[str, int] = defaultdict(int)
        """Flow -> its calls that are open now. A call with several messages is one."""
        self._tallies: dict[Series | tuple[bool, str, str, str], Tally] = defaultdict(Tally)

    def add(
        self,
        measured: bool,
        flow: str,
        name: str,
        method: str,
        status: int | None,
        error: str,
        function_error: str,
        response_ms: float | None,
        lag_s: float | None,
    ) -> None:
        """A request has ended; as in its row, but for `lag_s`: by how much it started later than it was due."""
        tally = self._tallies[measured, flow, name, method]
        tally.statuses[status] += 1
        # `histogram.bucket_of` twice, written out: the calls would cost half as much again as all of this.
        if response_ms is not None:
            tally.total_ms += response_ms
            tally.latency[int(log(response_ms * 1000.0 + 1.0) * PER_UNIT)] += 1
        if lag_s is not None:
            tally.lag[int(log(lag_s * 1e6 + 1.0) * PER_UNIT) if lag_s > 0.0 else 0] += 1
        if error:
            tally.failures += 1
            if function_error:
                tally.function_errors += 1
            if status == 429 or _THROTTLED.search(error):
                tally.throttles += 1

    def add_dropped(self, measured: bool, flow: str) -> None:
        """An arrival was never sent."""
        self._tallies[measured, flow, "", ""].dropped += 1

    def take(self) -> list[tuple[Any, ...]]:
        """The counts since the last call: (measured, flow, name, method, tally) each, as plain data."""
        taken, self._tallies = self._tallies, defaultdict(Tally)
        return [(*series, tally.as_message()) for series, tally in taken.items()]


@dataclass(frozen=True)
class Report:
    """What one process tells of a stretch of time."""

    run_id: str
    worker: int | str
    """Index of the worker; `MASTER`."""
    span_s: float
    """The length of the stretch."""
    cpu_s: float
    """The processor's time that the process took in it."""
    in_flight: Mapping[str, int]
    """Flow -> calls open at its end."""
    counts: list[tuple[Any, ...]]
    """`LiveCounter.take`"""

    def as_message(self) -> dict[str, Any]:
        return vars(self)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Report:
        return cls(**message)


@dataclass(frozen=True)
class LiveWindow:
    """What happened in a stretch of time. Rates are None where there was nothing to take them of."""

    span_s: float
    """What was observed of the stretch: shorter than asked for while the run is young."""
    requests: int
    failures: int
    dropped: int
    """Arrivals that found no free slot."""
    statuses: Mapping[str, int]
    """HTTP status -> requests; `none` for those without a response."""
    function_errors: int
    throttles: int
    """Requests refused because there were too many: status 429, or an error code of AWS that says so."""
    cpu_percent: Mapping[int | str, float]
    """Worker, by its index, or `MASTER` -> share of one core that it used; all threads of the process together."""
    mean_ms: float | None
    latency: Histogram
    lag: Histogram

    @property
    def offered(self) -> int:
        return self.requests + self.dropped

    @property
    def rps(self) -> float | None:
        """Requests that ended, a second."""
        return self.requests / self.span_s if self.span_s else None

    @property
    def error_rate(self) -> float | None:
        return self.failures / self.requests if self.requests else None

    @property
    def dropped_rate(self) -> float | None:
        return self.dropped / self.offered if self.offered else None

    def percentile_ms(self, share: float) -> float | None:
        """Of the time from sending to the last byte; `share` from 0 to 1."""
        return self.latency.percentile_ms(share)

    def lag_percentile_ms(self, share: float) -> float | None:
        """Of the time from when a request was due to its start; None where nothing was due at any time."""
        return self.lag.percentile_ms(share)


@dataclass
class _Stretch:
    """The counts of all processes in a stretch of time."""

    tallies: dict[Series, Tally] = field(default_factory=lambda: defaultdict(Tally))
    span_s: dict[int | str, float] = field(default_factory=lambda: defaultdict(float))
    cpu_s: dict[int | str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, report: Report) -> None:
        self.span_s[report.worker] += report.span_s
        self.cpu_s[report.worker] += report.cpu_s
        for measured, flow, name, method, counts in report.counts:
            self.tallies[Series(measured, flow, name, method)].add_message(counts)


class LiveFigures:
    """The reports of all processes of one run."""

    def __init__(self, kept_s: float = KEPT_S) -> None:
        """`kept_s`: the longest window there is, apart from the whole run."""
        self._slot_s = max(REPORT_EVERY_S, kept_s / _MOST_SLOTS)
        self._kept_slots = kept_s / self._slot_s
        self._whole = _Stretch()
        self._slots: deque[tuple[int, _Stretch]] = deque()
        """By number of the slot in which reports came."""
        self._in_flight: dict[int | str, tuple[float, Mapping[str, int]]] = {}
        """Process -> when it reported last, and what it said."""

    def receive(self, report: Report, now: float) -> None:
        slot = math.floor(now / self._slot_s)
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append((slot, _Stretch()))
        self._slots[-1][1].add(report)
        self._whole.add(report)
        self._in_flight[report.worker] = (now, report.in_flight)
        while self._slots[0][0] < slot - self._kept_slots:
            self._slots.popleft()

    @property
    def endpoints(self) -> list[str]:
        """Those seen so far, sorted: scopes of windows."""
        return sorted({series.endpoint for series in self._whole.tallies if series.name})

    @property
    def flows(self) -> list[str]:
        """Those seen so far, sorted: scopes of windows."""
        open_now = {flow for _, of_flows in self._in_flight.values() for flow in of_flows}
        return sorted({series.flow for series in self._whole.tallies} | open_now)

    def by_method(self) -> list[tuple[str, int, float]]:
        """Of the whole run: (method of requests, how many have ended, milliseconds that they took in all)."""
        found: dict[str, tuple[int, float]] = {}
        for series, tally in self._whole.tallies.items():
            if requests := sum(tally.statuses.values()):
                before, before_ms = found.get(series.method, (0, 0.0))
                found[series.method] = before + requests, before_ms + tally.total_ms
        return [(method, *counts) for method, counts in found.items()]

    def in_flight(self, now: float, flow: str | None = None) -> int:
        """Calls that are open now, as far as processes have said; `flow` None: those of all."""
        spoke = [of_flows for at, of_flows in self._in_flight.values() if now - at <= SILENT_AFTER_S]
        return sum(sum(of_flows.values()) if flow is None else of_flows.get(flow, 0) for of_flows in spoke)

    def over(
        self, now: float, window_s: float | None = None, scope: str | None = None, *, measured_only: bool = False
    ) -> LiveWindow:
        """What was reported in the last `window_s` seconds, as far as they are kept; None: in the whole run.

        `scope`: an endpoint (`POST /vote`) or else a flow; None for everything. `measured_only` leaves the warm-up out.
        """
        total, latency, lag = Tally(), Histogram(), Histogram()
        span_s: dict[int | str, float] = defaultdict(float)
        cpu_s: dict[int | str, float] = defaultdict(float)
        by_endpoint = scope in self.endpoints
        for stretch in [self._whole] if window_s is None else self._since(now - window_s):
            for worker, seconds in stretch.span_s.items():
                span_s[worker] += seconds
                cpu_s[worker] += stretch.cpu_s[worker]
            for series, tally in stretch.tallies.items():
                if (series.measured or not measured_only) and (
                    scope is None or scope == (series.endpoint if by_endpoint else series.flow)
                ):
                    total.add_message(tally.as_message())
        latency.add(total.latency)
        lag.add(total.lag)
        answered = latency.buckets.total()
        return LiveWindow(
            span_s=max(span_s.values(), default=0.0),
            requests=sum(total.statuses.values()),
            failures=total.failures,
            dropped=total.dropped,
            statuses={NO_STATUS if status is None else str(status): n for status, n in total.statuses.items()},
            function_errors=total.function_errors,
            throttles=total.throttles,
            cpu_percent={worker: 100 * cpu_s[worker] / seconds for worker, seconds in span_s.items() if seconds},
            mean_ms=total.total_ms / answered if answered else None,
            latency=latency,
            lag=lag,
        )

    def _since(self, start: float) -> Iterator[_Stretch]:
        first = math.floor(start / self._slot_s)
        for slot, stretch in reversed(self._slots):
            if slot <= first:
                return
            yield stretch
