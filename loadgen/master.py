"""The process that starts and stops the workers and gathers their rows.

It counts last: its `test_stop` asks every worker to stop, and waits until each has said how many rows it sent and all
of them are here, or is gone.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

import gevent
from locust.env import Environment
from locust.rpc import Message
from locust.runners import STATE_MISSING, MasterRunner

from loadgen.live import MASTER, LiveCounter, Report
from loadgen.messages import ACKNOWLEDGE, ALL_SENT, DRAIN, DRAINED, LIVE, PLAN, ROWS
from loadgen.options import Chosen
from loadgen.recording import RowFile
from loadgen.reporting import Reporter
from loadgen.session import RecordingSession
from loadgen.shipping import Batch, Inbox
from runstore.rundir import RunDir
from runstore.spool import recover_rows

logger = logging.getLogger(__name__)

DRAIN_MARGIN_S = 15.0
"""What it waits for its workers beyond the time that open requests get to finish."""
HURRY_S = 5.0
"""What it waits after a second Ctrl-C."""


@dataclass
class _Worker:
    """What the master knows of one worker in one run."""

    index: int
    client_id: str
    file: RowFile
    inbox: Inbox
    seen_at: float
    """When it was last heard, epoch seconds."""
    sent_rows: int | None = None
    """Rows it says it sent; None until it has drained."""
    reopened_connections: int = 0
    complaints: list[str] = field(default_factory=list)
    """What the worker itself has to complain about."""

    @property
    def host(self) -> str:
        # Locust makes the id of a worker from its host's name and a UUID.
        return self.client_id.rpartition("_")[0]

    @property
    def settled(self) -> bool:
        return self.sent_rows is not None and self.inbox.rows >= self.sent_rows

    def close(self, directory: RunDir) -> tuple[dict[str, Any], list[str]]:
        """Write what is left; returns the worker's entry in the manifest, and what there is to complain about."""
        self.inbox.give_up_waiting()
        self.file.close()
        rows = self.inbox.rows - self.file.lost_rows
        warnings = self.file.complaints() + [f"worker {self.index}: {complaint}" for complaint in self.complaints]
        if not self.settled:
            rows += recover_rows(directory, self.index, rows)
        entry: dict[str, Any] = {"index": self.index, "host": self.host, "rows": rows}
        if self.file.dropped_arrivals:
            entry["dropped"] = self.file.dropped_arrivals
        if self.reopened_connections:
            entry["reopened_connections"] = self.reopened_connections
        if self.sent_rows is None:
            entry["lost_at"] = self.seen_at
            logger.warning(f"Worker {self.index} was lost: requests of the second before may be missing")
        elif rows < self.sent_rows:
            entry["missing_rows"] = self.sent_rows - rows
            logger.warning(f"Worker {self.index}: {self.sent_rows - rows} of its rows are missing")
        return entry, warnings


@dataclass
class _Run:
    run_id: str
    directory: RunDir
    reporter: Reporter
    """Of the master's own processor time: a master that cannot keep up makes its workers look slow."""
    workers: dict[str, _Worker] = field(default_factory=dict)
    """By Locust's id of the client."""


class MasterSession(RecordingSession):
    """The session of a MasterRunner."""

    def __init__(self, environment: Environment, runner: MasterRunner, chosen: Chosen) -> None:
        super().__init__(environment, runner, chosen)
        self.runner = runner
        self._run: _Run | None = None
        self._hurrying = False
        runner.register_message(ROWS, self._on_rows)
        runner.register_message(DRAINED, self._on_drained)
        runner.register_message(LIVE, self._on_live)
        runner.register_message(ALL_SENT, self.all_sent)
        environment.events.heartbeat_sent.add_listener(self._on_heartbeat)
        environment.events.worker_connect.add_listener(self._on_worker_connect)

    def test_start(self) -> None:
        record = self.open_record()
        self._hurrying = False
        run_id = record.plan.run_id
        self._run = run = _Run(run_id, record.directory, Reporter(run_id, MASTER, LiveCounter(), self._receive))
        for client in self.runner.clients.all:
            self._worker(run, client.id)
        setattr(self.environment.parsed_options, PLAN, record.plan.as_message())
        self.opened()

    def test_stop(self) -> None:
        run = self._run
        if run is None:
            return
        self._drain(run)
        # From here on rows come too late.
        self._run = None
        run.reporter.stop()
        workers, warnings = [], []
        for worker in sorted(run.workers.values(), key=lambda worker: worker.index):
            entry, complaints = worker.close(run.directory)
            workers.append(entry)
            warnings += complaints
        self.close_record(workers, warnings)

    def hurry(self) -> None:
        self._hurrying = True

    def stop_runner(self) -> None:
        self.runner.stop(send_stop_to_client=False)

    def _drain(self, run: _Run) -> None:
        """Ask all workers to stop and wait until each is settled or gone, up to a deadline."""
        self._ask_to_drain(run, hurry=False)
        deadline = time.monotonic() + self.environment.stop_timeout + DRAIN_MARGIN_S
        told_to_hurry = False
        while time.monotonic() < deadline and any(self._is_awaited(worker) for worker in run.workers.values()):
            if self._hurrying and not told_to_hurry:
                told_to_hurry = True
                deadline = min(deadline, time.monotonic() + HURRY_S)
                self._ask_to_drain(run, hurry=True)
            gevent.sleep(0.02)

    def _ask_to_drain(self, run: _Run, *, hurry: bool) -> None:
        for client in self.runner.clients.all:
            self.runner.send_message(DRAIN, {"run_id": run.run_id, "hurry": hurry}, client.id)

    def _is_awaited(self, worker: _Worker) -> bool:
        client = self.runner.clients.get(worker.client_id)
        # A worker leaves after it has drained; one that is missing was killed.
        gone = client is None or client.state == STATE_MISSING
        return not worker.settled and not (gone and worker.sent_rows is None)

    def _worker(self, run: _Run, client_id: str) -> _Worker:
        """The worker of that id, known from now on if it was not."""
        if client_id not in run.workers:
            index = self.runner.get_worker_index(client_id)
            file = RowFile(run.directory.requests_file(index))
            run.workers[client_id] = _Worker(index, client_id, file, Inbox(file.append), time.time())
        return run.workers[client_id]

    def _on_worker_connect(self, client_id: str, **_: Any) -> None:
        if self._run is not None:
            self._worker(self._run, client_id)

    def _on_heartbeat(self, client_id: str, timestamp: float, **_: Any) -> None:
        if self._run is not None and client_id in self._run.workers:
            self._run.workers[client_id].seen_at = timestamp

    def _on_rows(self, environment: Environment, msg: Message) -> None:
        batch = Batch.from_message(msg.data)
        if self._run is not None and batch.run_id == self._run.run_id:
            inbox = self._worker(self._run, msg.node_id).inbox
            inbox.receive(batch)
            through = inbox.through
        else:
            # Taken all the same: the worker would send it for ever.
            through = batch.number
            logger.warning(f"{batch.rows} rows of worker {batch.worker} came after run {batch.run_id} was closed")
        self.runner.send_message(ACKNOWLEDGE, {"run_id": batch.run_id, "through": through}, msg.node_id)

    def _on_live(self, environment: Environment, msg: Message) -> None:
        report = Report.from_message(msg.data)
        if self._run is not None and report.run_id == self._run.run_id:
            self._receive(report)

    def _receive(self, report: Report) -> None:
        assert self.live is not None
        self.live.receive(report, time.monotonic())

    def _on_drained(self, environment: Environment, msg: Message) -> None:
        if self._run is not None and msg.data["run_id"] == self._run.run_id:
            worker = self._worker(self._run, msg.node_id)
            worker.sent_rows = msg.data["rows"]
            worker.reopened_connections = msg.data["reopened_connections"]
            worker.complaints = msg.data["complaints"]
