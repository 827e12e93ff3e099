"""A process that sends, and ships its rows to the master."""

from __future__ import annotations

import functools
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from locust import argument_parser
from locust.env import Environment
from locust.rpc import Message
from locust.runners import STATE_CLEANUP, STATE_SPAWNING, STATE_STOPPED, WorkerRunner

from config.settings import Settings
from loadgen.live import Report
from loadgen.messages import ACKNOWLEDGE, BEGIN, DRAIN, DRAINED, LIVE, PLAN, READY, ROWS
from loadgen.plan import RunPlan
from loadgen.recording import RowFile
from loadgen.reporting import Reporter
from loadgen.request_events import RequestEvents
from loadgen.sending import Sending
from loadgen.session import FLUSH_EVERY_S, Session, request_log
from loadgen.shipping import Batch, Outbox
from runstore.rundir import RunDir
from runstore.spool import remove_spool, spool_file

logger = logging.getLogger(__name__)

ACKNOWLEDGE_S = 5.0
"""What a worker that leaves waits for the master to have its rows."""
MASTER_SILENT_S = 15.0
"""A worker that has not heard its master for so long stops: nobody watches its load. Locust alone would go on for a
minute, and then be held up by the messages that nobody takes."""


@dataclass
class _Run:
    run_id: str
    sending: Sending
    spool: RowFile
    outbox: Outbox
    reporter: Reporter


class WorkerSession(Session):
    """The session of a WorkerRunner."""

    def __init__(self, environment: Environment, runner: WorkerRunner, settings: Settings, runs_dir: Path) -> None:
        super().__init__(environment, runner)
        self.runner = runner
        self._settings = settings
        self._runs_dir = runs_dir
        self._run: _Run | None = None
        """The run that goes, else the one that went last."""
        # Locust 2.47 makes its parser anew for each of the options that come with the start of a test: a quarter of a
        # second in which this worker sends nothing yet.
        argument_parser.default_args_dict = functools.cache(argument_parser.default_args_dict)
        runner.register_message(ACKNOWLEDGE, self._on_acknowledge)
        runner.register_message(BEGIN, self._on_begin)
        runner.register_message(DRAIN, self._on_drain, concurrent=True)

    def test_start(self) -> None:
        plan = RunPlan.from_message(getattr(self.environment.parsed_options, PLAN))
        index = self.runner.worker_index
        spool = RowFile(spool_file(RunDir(self._runs_dir / plan.run_id), index))
        outbox = Outbox(plan.run_id, index, self._ship)

        def keep_and_ship(rows: int, lines: bytes) -> None:
            spool.append(lines)
            outbox.put(rows, lines, time.monotonic())

        log = request_log(plan, index, keep_and_ship)
        sending = Sending(plan, self._settings, index, log, RequestEvents(self.environment, log.together))
        self.let_users_send(sending, index)
        reporter = Reporter(plan.run_id, index, log.live, self._tell, sending.lulls)
        self._run = _Run(plan.run_id, sending, spool, outbox, reporter)
        self.opened()
        # Locust's worker says so only once it spawns users, and ignores a stop that comes before that.
        self.runner.update_state(STATE_SPAWNING)
        self._say_ready(self._run)
        gevent.spawn(self._keep_shipping, self._run)

    def test_stop(self) -> None:
        if self.running and self._run is not None:
            self.finish_requests()
            self.running = False
            self._run.sending.flush()
            self._run.reporter.stop()
            self._run.spool.close()
            self._release_spool()
        # The last statistics go first: the master counts once it has heard that this worker is done.
        self.runner._send_stats()
        if self._run is not None:
            self._report_drained(self._run.run_id)
        # Locust's worker sleeps for the stop time-out after its users have stopped; nothing is left to wait for. The
        # next start of a test brings the value anew.
        self.environment.stop_timeout = 0.0

    def end(self) -> None:
        super().end()
        deadline = time.monotonic() + ACKNOWLEDGE_S
        while self._run is not None and not self._run.outbox.empty and time.monotonic() < deadline:
            gevent.sleep(0.02)
        if self._run is not None and not self._run.outbox.empty:
            logger.warning(f"The master has not taken all rows of this worker: they are in {self._run.spool.path}")

    def _keep_shipping(self, run: _Run) -> None:
        """Until the run is over and the master has everything, or another run has begun."""
        heard_at, silent_rounds = self.runner.last_heartbeat_timestamp, 0
        while self._run is run and (self.running or not run.outbox.empty):
            gevent.sleep(FLUSH_EVERY_S)
            run.sending.flush_in_lulls()
            run.outbox.resend(time.monotonic())
            self._say_ready(run)
            # Rounds, not seconds: a machine that was suspended has missed nothing.
            silent_rounds = silent_rounds + 1 if self.runner.last_heartbeat_timestamp == heard_at else 0
            heard_at = self.runner.last_heartbeat_timestamp
            if self.running and silent_rounds * FLUSH_EVERY_S > MASTER_SILENT_S:
                logger.error(f"The master has been silent for {MASTER_SILENT_S:.0f} s: this worker stops")
                self.environment.process_exit_code = 3
                gevent.spawn(self.runner.quit)
                return

    def _say_ready(self, run: _Run) -> None:
        """Ask for the start of the arrivals, as long as there is no answer."""
        if self.running and self._open_model is not None and not self._open_model.begun:
            self._send(READY, {"run_id": run.run_id}, "The start of the arrivals was not asked for, but will be again")

    def _ship(self, batch: Batch) -> None:
        self._send(ROWS, batch.as_message() | {"sent_at": time.time()}, "Rows not sent, will be sent again")

    def _tell(self, report: Report) -> None:
        self._send(LIVE, report.as_message(), "Live figures not sent")

    def _send(self, message: str, data: dict[str, Any], complaint: str) -> None:
        """Send what is sent again, or is in the rows as well: whatever is wrong with the channel, the run goes on."""
        try:
            self.runner.send_message(message, data)
        except Exception as failure:  # noqa: BLE001 -- see above
            logger.warning(f"{complaint}: {failure}")

    def _release_spool(self) -> None:
        """The spool has served once the run is over and the master has everything."""
        if self._run is not None and not self.running and self._run.outbox.empty:
            remove_spool(self._run.spool.path)

    def _report_drained(self, run_id: str) -> None:
        drained: dict[str, Any] = {
            "run_id": run_id,
            "rows": 0,
            "reopened_connections": 0,
            "date_offset": None,
            "complaints": [],
            "failure": None,
        }
        if self._run is not None and self._run.run_id == run_id:
            sending = self._run.sending
            drained["rows"] = self._run.outbox.sent_rows
            drained["reopened_connections"] = sending.connections.reopened
            drained["date_offset"] = sending.server_clock.as_dict()
            drained["complaints"] = sending.complaints()
            drained["failure"] = sending.failure
        self.runner.send_message(DRAINED, drained)

    def _on_acknowledge(self, environment: Environment, msg: Message) -> None:
        if self._run is not None and msg.data["run_id"] == self._run.run_id:
            self._run.outbox.acknowledge(msg.data["through"], time.monotonic())
            self._release_spool()

    def _on_begin(self, environment: Environment, msg: Message) -> None:
        begin = msg.data
        if self._run is not None and begin["run_id"] == self._run.run_id and self._open_model is not None:
            self._open_model.begin(begin["elapsed_s"], joined=begin["joined"])

    def _on_drain(self, environment: Environment, msg: Message) -> None:
        if msg.data["hurry"]:
            self.hurry()
        if self.ended:
            self._report_drained(msg.data["run_id"])
        elif self.runner.state not in (STATE_CLEANUP, STATE_STOPPED):
            # Else it ends already, and will say so once its last statistics are sent.
            self.runner.stop()
