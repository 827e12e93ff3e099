"""What one process reports of itself while a run goes: the edge of `loadgen.live`."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, process_time
from typing import NoReturn

import gevent

from loadgen.live import REPORT_EVERY_S, LiveCounter, Report
from loadgen.lulls import Lulls


class Reporter:
    """Reports every REPORT_EVERY_S, from its making on until it is stopped."""

    def __init__(
        self, run_id: str, worker: int | str, counter: LiveCounter, send: Callable[[Report], None], lulls: Lulls
    ) -> None:
        self._run_id = run_id
        self._worker = worker
        self._counter = counter
        self._send = send
        self._lulls = lulls
        self._at = perf_counter()
        self._cpu_at = process_time()
        self._greenlet = gevent.spawn(self._report_for_ever)

    def stop(self) -> None:
        """Report what has come since the last time, and then no more."""
        self._greenlet.kill()
        self._report()

    def _report_for_ever(self) -> NoReturn:
        while True:
            gevent.sleep(REPORT_EVERY_S)
            self._lulls.wait()
            self._report()

    def _report(self) -> None:
        at, cpu_at = perf_counter(), process_time()
        report = Report(
            run_id=self._run_id,
            worker=self._worker,
            span_s=at - self._at,
            cpu_s=cpu_at - self._cpu_at,
            in_flight=dict(self._counter.in_flight),
            counts=self._counter.take(),
        )
        self._at, self._cpu_at = at, cpu_at
        self._send(report)
