"""A process that does everything itself: sends, records, keeps the run directory."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from time import monotonic
from typing import Any, NoReturn

import gevent
from locust.env import Environment
from locust.runners import LocalRunner

from loadgen.live import Report
from loadgen.options import Chosen
from loadgen.recording import RowFile
from loadgen.reporting import Reporter
from loadgen.request_events import RequestEvents
from loadgen.sending import Sending
from loadgen.session import FLUSH_EVERY_S, RecordingSession, request_log


@dataclass
class _Run:
    sending: Sending
    file: RowFile
    flushing: gevent.Greenlet
    reporter: Reporter


class LoneSession(RecordingSession):
    """The session of a LocalRunner."""

    def __init__(self, environment: Environment, runner: LocalRunner, chosen: Chosen) -> None:
        super().__init__(environment, runner, chosen)
        self._run: _Run | None = None

    def test_start(self) -> None:
        record = self.open_record()
        file = RowFile(record.directory.requests_file(0))
        log = request_log(record.plan, 0, lambda rows, lines: file.append(lines))
        events = RequestEvents(self.environment, log.together)
        sending = Sending(record.plan, self.chosen.settings, 0, log, events, self.all_sent)
        self.let_users_send(sending, 0)
        if self._open_model is not None:
            self._open_model.begin()
        reporter = Reporter(record.plan.run_id, 0, log.live, self._receive, sending.lulls)
        self._run = _Run(sending, file, gevent.spawn(_flush_for_ever, sending), reporter)
        self.opened()

    def test_stop(self) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        self.finish_requests()
        run.flushing.kill()
        run.sending.flush()
        run.reporter.stop()
        run.file.close()
        rows = run.sending.log.rows - run.file.lost_rows
        worker: dict[str, Any] = {"index": 0, "host": socket.gethostname(), "rows": rows}
        if run.file.dropped_arrivals:
            worker["dropped"] = run.file.dropped_arrivals
        if reopened := run.sending.connections.reopened:
            worker["reopened_connections"] = reopened
        if (date_offset := run.sending.server_clock.as_dict()) is not None:
            worker["date_offset"] = date_offset
        if run.file.lost_rows:
            worker["missing_rows"] = run.file.lost_rows
        if (failure := run.sending.failure) is not None:
            worker["failed"] = failure
        self.close_record([worker], run.file.complaints() + run.sending.complaints())

    def _receive(self, report: Report) -> None:
        assert self.live is not None
        self.live.receive(report, monotonic())


def _flush_for_ever(sending: Sending) -> NoReturn:
    while True:
        gevent.sleep(FLUSH_EVERY_S)
        sending.flush_in_lulls()
