"""What a process does for its runs: the lone process, a worker, the master.

    test_start    the run gets its directory (lone, master) or its plan (worker), and users may send
    every second  rows are written (lone, worker) and shipped (worker)
    test_stop     users have ended: the last rows and statistics are handed over, counted, written

The master counts last: its `test_stop` asks every worker to stop, and waits until each has said what it sent and all
of it is here. In the web UI one process has several runs, one after another.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.rpc import Message
from locust.runners import (
    STATE_CLEANUP,
    STATE_MISSING,
    STATE_SPAWNING,
    STATE_STOPPED,
    STATE_STOPPING,
    LocalRunner,
    MasterRunner,
    Runner,
    WorkerRunner,
)

from config.settings import Settings
from loadgen.options import Chosen, check_reachable
from loadgen.plan import RunPlan
from loadgen.recording import RequestLog, RowFile
from loadgen.run_record import COMPLETE, FAILED, INTERRUPTED, RunRecord
from loadgen.sending import Sending, set_sending
from loadgen.shapes import ProfileShape
from loadgen.shipping import Batch, Inbox, Outbox
from loadgen.spool import recover_rows, remove_spool, spool_file
from runstore.rundir import RunDir

logger = logging.getLogger(__name__)

FLUSH_EVERY_S = 1.0
DRAIN_MARGIN_S = 15.0
"""What the master waits for its workers beyond the time that open requests get to finish."""
HURRY_S = 5.0
"""What it waits after a second Ctrl-C."""
ACKNOWLEDGE_S = 5.0
"""What a worker that leaves waits for the master to have its rows."""

ROWS = "swarmscope-rows"
ACKNOWLEDGE = "swarmscope-acknowledge"
DRAIN = "swarmscope-drain"
DRAINED = "swarmscope-drained"
ALL_SENT = "swarmscope-all-sent"
PLAN = "swarmscope_plan"
"""The plan's place among Locust's parsed options, which are what workers get with the start of a test."""


class Session:
    """What all three have in common."""

    runner: Runner

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.running = False
        self.ended = Event()
        """Set while no run goes."""
        self.ended.set()

    def end(self) -> None:
        """End the run that goes, if any, and return when all of it is written."""
        if self.running and self.runner.state not in (STATE_CLEANUP, STATE_STOPPING):
            self._stop()
            if self.running:
                # A master whose workers have all gone holds the test for stopped and tells nobody.
                self.environment.events.test_stop.fire(environment=self.environment)
        self.ended.wait()

    def test_start(self) -> None:
        """A test starts; users come after this."""
        raise NotImplementedError

    def test_stop(self) -> None:
        """A test has ended; no user is left."""
        raise NotImplementedError

    def closed(self) -> None:
        """No run goes any more, whatever happened."""
        self.running = False
        self.ended.set()

    def interrupted(self) -> None:
        """The user asked to stop before the end."""

    def hurry(self) -> None:
        """The user asked a second time: open requests are given up."""
        self.runner.user_greenlets.kill(block=False)

    def _stop(self) -> None:
        self.runner.stop()


class RecordingSession(Session):
    """A process that keeps the run directory: the lone process or the master."""

    def __init__(self, environment: Environment, chosen: Chosen) -> None:
        super().__init__(environment)
        self._chosen = chosen
        self._record: RunRecord | None = None
        self._was_interrupted = False

    def interrupted(self) -> None:
        self._was_interrupted = True

    def replace_csv(self) -> None:
        """Mend the files of Locust's own `--csv`."""
        prefix = getattr(self.environment.parsed_options, "csv_prefix", None)
        if prefix and self._record is not None:
            self._record.replace_csv(prefix)

    def _open(self) -> RunRecord:
        """Raises ConfigError: the host of the web UI's form has not been checked before."""
        check_reachable(self._chosen, self.environment.user_classes, self.environment.host, host_needed=True)
        self._was_interrupted = False
        self._record = RunRecord(self.environment, self._chosen, os.environ)
        self.running = True
        self.ended.clear()
        return self._record

    def _close(self, state: str, workers: list[dict[str, Any]], warnings: list[str]) -> None:
        assert self._record is not None
        rows = sum(worker["rows"] for worker in workers)
        counted = self.environment.stats.total.num_requests
        if rows != counted:
            warnings.append(f"the records hold {rows} requests, Locust's statistics {counted}")
        shape = self.environment.shape_class
        cut_short = isinstance(shape, ProfileShape) and not shape.over
        if state == COMPLETE and (self._was_interrupted or cut_short):
            state = INTERRUPTED
        self._record.finish(state, workers, warnings)
        if self._chosen.profile is not None:
            # A profile is judged by its thresholds, not by Locust's rule that any failed request is a failure.
            incomplete = state == FAILED or any("lost_at" in w or "missing_rows" in w for w in workers)
            self.environment.process_exit_code = 130 if state == INTERRUPTED else 3 if incomplete else 0
        self.running = False

    def _all_sent(self, **_: Any) -> None:
        if isinstance(self.environment.shape_class, ProfileShape):
            self.environment.shape_class.all_sent = True


class LoneSession(RecordingSession):
    """A process that does everything itself."""

    def __init__(self, environment: Environment, runner: LocalRunner, chosen: Chosen) -> None:
        super().__init__(environment, chosen)
        self.runner = runner
        self._log: RequestLog | None = None
        self._file: RowFile | None = None
        self._flushing: gevent.Greenlet | None = None

    def test_start(self) -> None:
        record = self._open()
        self._file = file = RowFile(record.directory.requests_file(0))
        self._log = _request_log(record.plan, 0, lambda first, rows, lines: file.append(lines))
        sending = Sending(record.plan, self._chosen.settings, 0, self._log, self._all_sent)
        set_sending(self.environment, sending)
        self._flushing = gevent.spawn(_every, FLUSH_EVERY_S, self._log.flush)

    def test_stop(self) -> None:
        if not self.running:
            return
        assert self._log is not None and self._file is not None and self._flushing is not None
        self._flushing.kill()
        self._log.flush()
        self._file.close()
        worker: dict[str, Any] = {"index": 0, "host": os.uname().nodename, "rows": self._log.rows}
        warnings = []
        if self._file.problem is not None:
            warnings.append(f"request rows could not be written: {self._file.problem}")
        if self._file.lost_rows:
            worker |= {"rows": self._log.rows - self._file.lost_rows, "missing_rows": self._file.lost_rows}
        self._close(COMPLETE, [worker], warnings)


class WorkerSession(Session):
    """A process that sends, and ships its rows to the master."""

    def __init__(self, environment: Environment, runner: WorkerRunner, settings: Settings, runs_dir: Path) -> None:
        super().__init__(environment)
        self.runner: WorkerRunner = runner
        self._settings = settings
        self._runs_dir = runs_dir
        self._plan: RunPlan | None = None
        self._log: RequestLog | None = None
        self._spool: RowFile | None = None
        self._outbox: Outbox | None = None
        runner.register_message(ACKNOWLEDGE, self._on_acknowledge)
        runner.register_message(DRAIN, self._on_drain, concurrent=True)

    def test_start(self) -> None:
        self._plan = plan = RunPlan.from_message(getattr(self.environment.parsed_options, PLAN))
        index = self.runner.worker_index
        directory = RunDir(self._runs_dir / plan.run_id)
        self._spool = spool = RowFile(spool_file(directory, index))
        self._outbox = outbox = Outbox(plan.run_id, index, self._ship)

        def keep_and_ship(first: int, rows: int, lines: bytes) -> None:
            spool.append(lines)
            outbox.put(rows, lines, time.monotonic())

        self._log = log = _request_log(plan, index, keep_and_ship)
        sending = Sending(plan, self._settings, index, log, lambda: self.runner.send_message(ALL_SENT))
        set_sending(self.environment, sending)
        self.running = True
        self.ended.clear()
        # Locust's worker says so only once it spawns users, and ignores a stop that comes before that.
        self.runner.update_state(STATE_SPAWNING)
        gevent.spawn(self._keep_shipping, log, outbox)

    def test_stop(self) -> None:
        if self.running:
            assert self._log is not None and self._spool is not None
            self._log.flush()
            self._spool.close()
            self.running = False
            self._release_spool()
        # The last statistics go first: the master counts once it has heard that this worker is done.
        self.runner._send_stats()
        if self._plan is not None:
            self._report_drained(self._plan.run_id)
        # Locust's worker sleeps for the stop time-out after its users have stopped; nothing is left to wait for. The
        # next start of a test brings the value anew.
        self.environment.stop_timeout = 0.0

    def end(self) -> None:
        super().end()
        deadline = time.monotonic() + ACKNOWLEDGE_S
        while self._outbox is not None and not self._outbox.empty and time.monotonic() < deadline:
            gevent.sleep(0.02)

    def _keep_shipping(self, log: RequestLog, outbox: Outbox) -> None:
        """Until the run is over and the master has everything."""
        while self._log is log and (self.running or not outbox.empty):
            gevent.sleep(FLUSH_EVERY_S)
            log.flush()
            outbox.resend(time.monotonic())

    def _ship(self, batch: Batch) -> None:
        try:
            self.runner.send_message(ROWS, batch.as_message())
        except Exception as failure:  # noqa: BLE001 -- whatever is wrong with the channel, the batch is kept
            logger.warning(f"Rows not sent, will be sent again: {failure}")

    def _on_acknowledge(self, environment: Environment, msg: Message) -> None:
        if self._outbox is not None and self._plan is not None and msg.data["run_id"] == self._plan.run_id:
            self._outbox.acknowledge(msg.data["through"], time.monotonic())
            self._release_spool()

    def _release_spool(self) -> None:
        """The spool has served once the run is over and the master has everything."""
        if not self.running and self._outbox is not None and self._outbox.empty and self._spool is not None:
            remove_spool(self._spool.path)

    def _on_drain(self, environment: Environment, msg: Message) -> None:
        if msg.data["hurry"]:
            self.hurry()
        if not self.running:
            self._report_drained(msg.data["run_id"])
        elif self.runner.state not in (STATE_CLEANUP, STATE_STOPPED):
            self.runner.stop()

    def _report_drained(self, run_id: str) -> None:
        rows = self._outbox.sent_rows if self._outbox is not None and self._plan and self._plan.run_id == run_id else 0
        self.runner.send_message(DRAINED, {"run_id": run_id, "rows": rows})


@dataclass
class _Worker:
    """What the master knows of one worker in one run."""

    index: int
    client_id: str
    file: RowFile
    inbox: Inbox
    seen_at: float
    sent_rows: int | None = None
    """Rows it says it sent; None until it has drained."""

    @property
    def host(self) -> str:
        # Locust makes the id of a worker from its host's name and a UUID.
        return self.client_id.rpartition("_")[0]

    @property
    def settled(self) -> bool:
        return self.sent_rows is not None and self.inbox.rows >= self.sent_rows


class MasterSession(RecordingSession):
    """The process that starts and stops the workers and gathers their rows."""

    def __init__(self, environment: Environment, runner: MasterRunner, chosen: Chosen) -> None:
        super().__init__(environment, chosen)
        self.runner: MasterRunner = runner
        self._workers: dict[str, _Worker] = {}
        self._hurrying = False
        runner.register_message(ROWS, self._on_rows)
        runner.register_message(DRAINED, self._on_drained)
        runner.register_message(ALL_SENT, self._all_sent)
        environment.events.heartbeat_sent.add_listener(self._on_heartbeat)
        environment.events.worker_connect.add_listener(lambda client_id, **_: self._add(client_id))

    def test_start(self) -> None:
        record = self._open()
        self._workers = {}
        self._hurrying = False
        for client in self.runner.clients.all:
            self._add(client.id)
        setattr(self.environment.parsed_options, PLAN, record.plan.as_message())

    def test_stop(self) -> None:
        if not self.running:
            return
        self._drain()
        assert self._record is not None
        workers, warnings = [], []
        for worker in sorted(self._workers.values(), key=lambda worker: worker.index):
            worker.inbox.give_up_waiting()
            worker.file.close()
            entry: dict[str, Any] = {"index": worker.index, "host": worker.host, "rows": worker.inbox.rows}
            if not worker.settled:
                recovered = recover_rows(self._record.directory, worker.index, worker.inbox.rows)
                entry["rows"] += recovered
                if worker.sent_rows is None:
                    entry["lost_at"] = worker.seen_at
                    warnings.append(f"worker {worker.index} was lost: requests of the second before may be missing")
                elif entry["rows"] < worker.sent_rows:
                    entry["missing_rows"] = worker.sent_rows - entry["rows"]
                    warnings.append(f"worker {worker.index}: {entry['missing_rows']} rows never arrived")
            if worker.file.problem is not None:
                warnings.append(f"request rows could not be written: {worker.file.problem}")
            if worker.file.lost_rows:
                entry["rows"] -= worker.file.lost_rows
                entry["missing_rows"] = entry.get("missing_rows", 0) + worker.file.lost_rows
            workers.append(entry)
        lost = [entry for entry in workers if "lost_at" in entry]
        self._close(FAILED if workers and len(lost) == len(workers) else COMPLETE, workers, warnings)

    def hurry(self) -> None:
        self._hurrying = True

    def _stop(self) -> None:
        self.runner.stop(send_stop_to_client=False)

    def _drain(self) -> None:
        """Ask all workers to stop and wait until each is settled or gone, up to a deadline."""
        self._ask_to_drain()
        deadline = time.monotonic() + self.environment.stop_timeout + DRAIN_MARGIN_S
        hurried = False
        while time.monotonic() < deadline and any(self._awaited(worker) for worker in self._workers.values()):
            if self._hurrying and not hurried:
                hurried = True
                deadline = min(deadline, time.monotonic() + HURRY_S)
                self._ask_to_drain()
            gevent.sleep(0.02)

    def _ask_to_drain(self) -> None:
        assert self._record is not None
        for client in self.runner.clients.all:
            self.runner.send_message(DRAIN, {"run_id": self._record.plan.run_id, "hurry": self._hurrying}, client.id)

    def _awaited(self, worker: _Worker) -> bool:
        client = self.runner.clients.get(worker.client_id)
        # A worker leaves after it has drained; one that is missing was killed.
        gone = client is None or client.state == STATE_MISSING
        return not worker.settled and not (gone and worker.sent_rows is None)

    def _add(self, client_id: str) -> None:
        if self.running and client_id not in self._workers and self._record is not None:
            index = self.runner.get_worker_index(client_id)
            file = RowFile(self._record.directory.requests_file(index))
            self._workers[client_id] = _Worker(index, client_id, file, Inbox(file.append), time.time())

    def _on_heartbeat(self, client_id: str, timestamp: float, **_: Any) -> None:
        if client_id in self._workers:
            self._workers[client_id].seen_at = timestamp

    def _on_rows(self, environment: Environment, msg: Message) -> None:
        batch = Batch.from_message(msg.data)
        through = batch.number
        if not self.running or self._record is None or batch.run_id != self._record.plan.run_id:
            logger.warning(f"{batch.rows} rows of worker {batch.worker} came after run {batch.run_id} was closed")
        else:
            self._add(msg.node_id)
            inbox = self._workers[msg.node_id].inbox
            inbox.receive(batch)
            through = inbox.through
        self.runner.send_message(ACKNOWLEDGE, {"run_id": batch.run_id, "through": through}, msg.node_id)

    def _on_drained(self, environment: Environment, msg: Message) -> None:
        if self.running and self._record is not None and msg.data["run_id"] == self._record.plan.run_id:
            self._add(msg.node_id)
            self._workers[msg.node_id].sent_rows = msg.data["rows"]


def _request_log(plan: RunPlan, worker: int, sink: Callable[[int, int, bytes], None]) -> RequestLog:
    return RequestLog(worker, plan.started_at + plan.profile.warmup_s, sink)


def _every(seconds: float, do: Callable[[], None]) -> None:
    while True:
        gevent.sleep(seconds)
        do()
