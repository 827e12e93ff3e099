"""What Locust is told of requests that have ended: its `events.request`, and so statistics, CSVs and web UI.

A listener that anybody adds hears of every request at once, in the greenlet of its user, which it may stop. Where
Locust's own statistics are the only listener, the event is not fired: requests are counted here, by Locust's means, and
these counts join the statistics as those of a worker join its master's. That costs half as much: a request is counted
by name only, not in the total as well, and as with rows several are counted one after another.
"""

from __future__ import annotations

from typing import Any

from locust import User, runners
from locust.env import Environment
from locust.event import Events
from locust.stats import RequestStats, setup_distributed_stats_event_listeners

from loadgen.failure_names import FailureNames
from loadgen.recording import TOGETHER
from loadgen.transport import Response

_NAMES_HERE = 50
"""To join costs 8 us for each name, all at once, which holds up requests: those by further names are counted where they
belong, one by one."""


class RequestError(Exception):
    """Why a request failed: the `exception` of Locust's request event."""


class RequestEvents:
    """The request events of one process in one run."""

    def __init__(self, environment: Environment, together: int = TOGETHER) -> None:
        """The environment has its runner, which listens, by now. `together`: requests are counted so many at a time."""
        hook = environment.events.request
        self._fire = hook.fire
        # There is no public way to ask who listens.
        self._listeners: list[Any] = hook._handlers
        self._statistics = next((each for each in self._listeners if each.__module__ == runners.__name__), None)
        self._together = together
        self._names = FailureNames()
        self._ended: list[tuple[str, str, float, int, str]] = []
        self._counted = RequestStats(use_response_times_cache=False)
        self._stats = environment.stats
        self._here, self._there = Events(), Events()
        setup_distributed_stats_event_listeners(self._here, self._counted)
        setup_distributed_stats_event_listeners(self._there, self._stats)

    def ended(
        self,
        user: User,
        method: str,
        name: str,
        elapsed_ms: float,
        received_bytes: int,
        response: Response | None,
        error: str,
        started_at: float,
    ) -> None:
        """A request of `user` has ended; `error` is empty where it succeeded, `response` None where there is none.

        Raises what a listener raises to stop the user.
        """
        if len(self._listeners) == 1 and self._listeners[0] is self._statistics:
            self._ended.append((method, name, elapsed_ms, received_bytes, error))
            if len(self._ended) == self._together:
                self._count()
        else:
            self._fire(
                request_type=method,
                name=name,
                response_time=elapsed_ms,
                response_length=received_bytes,
                response=response,
                context=user.context(),
                exception=self._failure(error) if error else None,
                start_time=started_at,
                url=name,
            )

    def flush(self) -> None:
        """Let Locust's statistics have what was counted since the last time."""
        self._count()
        counted = self._counted
        counted.total.reset()
        for entry in counted.entries.values():
            counted.total.extend(entry)
        if counted.total.num_requests:
            counts: dict[str, Any] = {}
            self._here.report_to_master.fire(client_id="", data=counts)
            self._there.worker_report.fire(client_id="", data=counts)

    def _count(self) -> None:
        entries = self._counted.entries
        for method, name, elapsed_ms, received_bytes, error in self._ended:
            # Locust's hints say int, its own users give it floats.
            elapsed: Any = elapsed_ms
            if here := (name, method) in entries or len(entries) < _NAMES_HERE:
                entries[name, method].log(elapsed, received_bytes)
            else:
                self._stats.log_request(method, name, elapsed, received_bytes)
            if error:
                (self._counted if here else self._stats).log_error(method, name, self._failure(error))
        self._ended.clear()

    def _failure(self, error: str) -> RequestError:
        return RequestError(self._names.name_of(error))
