"""The process that starts and stops the workers and gathers their rows.

It counts last: its `test_stop` asks every worker to stop, and waits until each has said how many rows it sent and all
of them are here, or is gone. While the run goes it watches which workers are there, and notes how many users they have.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from typing import Any

import gevent
from locust.env import Environment
from locust.rpc import Message
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner

from loadgen import rebalancing
from loadgen.known_worker import KnownWorker
from loadgen.live import MASTER, LiveCounter, Report
from loadgen.lulls import Lulls
from loadgen.messages import ACKNOWLEDGE, BEGIN, DRAIN, DRAINED, LIVE, PLAN, READY, ROWS
from loadgen.open_model import rate_of_a_user
from loadgen.options import Chosen
from loadgen.plan import RunPlan
from loadgen.recording import RowFile
from loadgen.reporting import Reporter
from loadgen.session import RecordingSession
from loadgen.shapes import ProfileShape
from loadgen.shipping import Batch, Inbox
from loadgen.shortfall import Ledger
from loadgen.starting_line import StartingLine
from runstore.rundir import RunDir

logger = logging.getLogger(__name__)

DRAIN_MARGIN_S = 15.0
"""What it waits for its workers beyond the time that open requests get to finish."""
HURRY_S = 5.0
"""What it waits after a second Ctrl-C."""
LAST_ROWS_S = 5.0
"""What rows may take that a worker sent before it left."""
LOOK_EVERY_S = 0.25


@dataclass
class _Run:
    run_id: str
    directory: RunDir
    reporter: Reporter
    """Of the master's own processor time: a master that cannot keep up makes its workers look slow."""
    ledger: Ledger[str]
    line: StartingLine | None
    """Of arrivals; None in the closed model."""
    workers: dict[str, KnownWorker] = field(default_factory=dict)
    """By Locust's id of the client."""
    short_of_users: bool = False
    """A worker was lost, and the others have not taken over its users yet."""


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
        runner.register_message(READY, self._on_ready)
        environment.events.heartbeat_sent.add_listener(self._on_heartbeat)
        environment.events.worker_connect.add_listener(self._on_worker_connect)

    def test_start(self) -> None:
        record = self.open_record()
        self._hurrying = False
        plan = record.plan
        reporter = Reporter(plan.run_id, MASTER, LiveCounter(), self._receive, Lulls())
        # One that is missing was lost in a run before.
        there = [client.id for client in self.runner.clients.all if rebalancing.is_there(self.runner, client.id)]
        line = StartingLine(there) if plan.profile.model == "open" else None
        self._run = run = _Run(plan.run_id, record.directory, reporter, _ledger(plan, line), line)
        for client_id in there:
            self._worker(run, client_id)
        setattr(self.environment.parsed_options, PLAN, record.plan.as_message())
        self.opened()
        gevent.spawn(self._look_after_workers, run)

    def test_stop(self) -> None:
        run = self._run
        if run is None:
            return
        self._look_at_workers(run)
        self._drain(run)
        # From here on rows come too late.
        self._run = None
        run.reporter.stop()
        workers, warnings = [], []
        gone = {worker.client_id: worker.gone for worker in run.workers.values() if worker.gone is not None}
        for worker in sorted(run.workers.values(), key=lambda worker: worker.index):
            shortfall = run.ledger.shortfall(worker.client_id, gone) if worker.gone is not None else None
            entry, complaints = worker.close(run.directory, shortfall)
            workers.append(entry)
            warnings += complaints
        self.close_record(workers, warnings)
        options = self.environment.parsed_options
        if options is not None and options.headless and not self.runner.worker_count:
            # Locust waits for new workers, which would find no run.
            gevent.spawn(self.runner.quit)

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

    def _is_awaited(self, worker: KnownWorker) -> bool:
        if worker.settled:
            return False
        # One that is missing was killed; of one that left after it had drained, rows may still be on their way.
        on_their_way = worker.sent_rows is not None and time.time() - worker.seen_at < LAST_ROWS_S
        return on_their_way or rebalancing.is_there(self.runner, worker.client_id)

    @property
    def _is_going(self) -> bool:
        """Whether there is load, and nobody has been asked to stop."""
        return self.runner.state in (STATE_RUNNING, STATE_SPAWNING)

    def _look_after_workers(self, run: _Run) -> None:
        while self._run is run:
            self._look_at_workers(run)
            self._let_arrivals_begin(run)
            rebalancing.catch_up(self.runner)
            gevent.sleep(LOOK_EVERY_S)

    def _look_at_workers(self, run: _Run) -> None:
        """Note who is there, and with how many users."""
        now = time.time()
        planned, users = rebalancing.planned_users(self.runner), rebalancing.reported_users(self.runner)
        run.ledger.note(now, planned, users)
        if run.short_of_users and sum(users.values()) >= planned:
            run.short_of_users = False
            if planned:
                logger.info("All planned users are there again")
        for worker in run.workers.values():
            if rebalancing.is_there(self.runner, worker.client_id):
                if worker.missed_at is not None:
                    logger.warning(f"Worker {worker.index} is back after {worker.came_back(now):.1f} s")
            elif worker.missed_at is None and worker.sent_rows is None:
                worker.missed(now)
                run.short_of_users = True
                logger.warning(
                    f"Worker {worker.index} on {worker.host} is missing: last heard {now - worker.seen_at:.1f} s ago"
                )

    def _let_arrivals_begin(self, run: _Run) -> None:
        """Tell the workers that wait for it, once all are ready."""
        if run.line is None:
            return
        not_begun = run.line.began_at is None
        for begin in run.line.begin(time.monotonic()):
            data = {"run_id": run.run_id, "elapsed_s": begin.elapsed_s, "joined": begin.joined}
            self.runner.send_message(BEGIN, data, begin.worker)
        shape = self.environment.shape_class
        if not_begun and run.line.began_at is not None and isinstance(shape, ProfileShape):
            # The profile is over when its arrivals are.
            shape.reset_time()

    def _worker(self, run: _Run, client_id: str) -> KnownWorker:
        """The worker of that id, known from now on if it was not."""
        if client_id not in run.workers:
            index = self.runner.get_worker_index(client_id)
            file = RowFile(run.directory.requests_file(index))
            run.workers[client_id] = KnownWorker(index, client_id, file, Inbox(file.append), time.time())
        return run.workers[client_id]

    def _on_worker_connect(self, client_id: str, **_: Any) -> None:
        # One that comes while the others drain has no part in the run.
        if self._run is not None and self._is_going:
            self._worker(self._run, client_id)

    def _on_heartbeat(self, client_id: str, timestamp: float, **_: Any) -> None:
        if self._run is not None and client_id in self._run.workers:
            self._run.workers[client_id].seen_at = timestamp

    def _on_rows(self, environment: Environment, msg: Message) -> None:
        sent_at = msg.data.pop("sent_at")
        batch = Batch.from_message(msg.data)
        if self._run is not None and batch.run_id == self._run.run_id:
            worker = self._worker(self._run, msg.node_id)
            worker.receive(batch, sent_at, time.time())
            through = worker.inbox.through
        else:
            # Taken all the same: the worker would send it for ever.
            through = batch.number
            logger.warning(f"{batch.rows} rows of worker {batch.worker} came after run {batch.run_id} was closed")
        self.runner.send_message(ACKNOWLEDGE, {"run_id": batch.run_id, "through": through}, msg.node_id)

    def _on_ready(self, environment: Environment, msg: Message) -> None:
        run = self._run
        if run is not None and run.line is not None and msg.data["run_id"] == run.run_id:
            run.line.ready(msg.node_id, time.monotonic())
            self._let_arrivals_begin(run)

    def _on_live(self, environment: Environment, msg: Message) -> None:
        report = Report.from_message(msg.data)
        if self._run is not None and report.run_id == self._run.run_id:
            self._worker(self._run, msg.node_id).seen_at = time.time()
            self._receive(report)

    def _receive(self, report: Report) -> None:
        assert self.live is not None
        self.live.receive(report, time.monotonic())

    def _on_drained(self, environment: Environment, msg: Message) -> None:
        if self._run is not None and msg.data["run_id"] == self._run.run_id:
            worker = self._worker(self._run, msg.node_id)
            worker.drained(msg.data, time.time())
            if self._is_going:
                worker.left_at = time.time()
                if all(one.failure is not None for one in self._run.workers.values()):
                    logger.error("No worker can send: the run ends")
                    gevent.spawn(self.end_early)


def _ledger(plan: RunPlan, line: StartingLine | None) -> Ledger[str]:
    """`line`: of arrivals, None in the closed model."""
    if line is None:
        return Ledger("user_seconds", lambda at: at)
    rate, monotonic_since = rate_of_a_user(plan.profile), time.time() - time.monotonic()

    def arrivals_until(at: float) -> float:
        began_at = math.inf if line.began_at is None else line.began_at
        return rate.amount_until(max(0.0, at - monotonic_since - began_at))

    return Ledger("arrivals", arrivals_until)
