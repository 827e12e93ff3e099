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
from loadgen.recording import RequestLog, RowFile
from loadgen.reporting import Reporter
from loadgen.sending import Sending, sending_of
from loadgen.session import FLUSH_EVERY_S, RecordingSession, request_log


@dataclass
class _Run:
    log: RequestLog
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
        self.let_users_send(Sending(record.plan, self.chosen.settings, 0, log, self.all_sent), 0)
        if self._open_model is not None:
            self._open_model.begin()
        reporter = Reporter(record.plan.run_id, 0, log.live, self._receive)
        self._run = _Run(log, file, gevent.spawn(_flush_for_ever, log), reporter)
        self.opened()

    def test_stop(self) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        self.finish_requests()
        run.flushing.kill()
        run.log.flush()
        run.reporter.stop()
        run.file.close()
        worker: dict[str, Any] = {"index": 0, "host": socket.gethostname(), "rows": run.log.rows - run.file.lost_rows}
        if run.file.dropped_arrivals:
            worker["dropped"] = run.file.dropped_arrivals
        if reopened := sending_of(self.environment).connections.reopened:
            worker["reopened_connections"] = reopened
        if (date_offset := sending_of(self.environment).server_clock.as_dict()) is not None:
            worker["date_offset"] = date_offset
        if run.file.lost_rows:
            worker["missing_rows"] = run.file.lost_rows
        if (failure := sending_of(self.environment).failure) is not None:
            worker["failed"] = failure
        self.close_record([worker], run.file.complaints() + sending_of(self.environment).complaints())

    def _receive(self, report: Report) -> None:
        assert self.live is not None
        self.live.receive(report, monotonic())


def _flush_for_ever(log: RequestLog) -> NoReturn:
    while True:
        gevent.sleep(FLUSH_EVERY_S)
        log.flush()
