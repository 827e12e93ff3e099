"""The flow `custom` in a run: its file read, its rows shared out among the processes that send.

The master (or the lone process) reads the flow's file and surveys the payload files, before any load. The plan of a run
carries the flow and the payload files' digests; each worker compiles the one and compares the others with its own
copies, and gets its rows by leases (`loadgen.leases`) over Locust's channel. Variables are each machine's own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.rpc import Message
from locust.runners import MasterRunner, Runner, WorkerRunner

from config.custom_flow import CustomFlow
from config.errors import ConfigError
from loadgen import rebalancing
from loadgen.custom_files import Custom, compare_files, variables_of
from loadgen.custom_flow import FLOW, CustomRequests
from loadgen.leases import Lessor, Piece, Question
from loadgen.messages import OUT_OF_ROWS, ROWS_LEASED, ROWS_RETURNED, ROWS_WANTED
from loadgen.payload_file import PayloadFileError
from loadgen.plan import RunPlan
from loadgen.row_supply import RowSupply
from loadgen.sending import sending_of
from loadgen.session import RecordingSession, Session
from loadgen.shapes import ProfileShape
from loadgen.templates import RenderError

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
"""How often the master looks whether a worker that it waits for has gone."""


def attach(environment: Environment, runner: Runner, session: Session) -> CustomRun:
    """What a process does for the flow in its runs, those where it is among the flows."""
    if isinstance(runner, WorkerRunner):
        return _WorkerRun(environment, runner, session)
    assert isinstance(session, RecordingSession)
    if isinstance(runner, MasterRunner):
        return _MasterRun(environment, runner, session)
    return _LoneRun(environment, runner, session)


class CustomRun:
    """The flow in the runs of one process. Its methods are called after the session's own, but for `before_stop`."""

    def test_start(self) -> None:
        raise NotImplementedError

    def before_stop(self) -> None:
        """Users have ended, and the session has not closed its records."""

    def test_stop(self) -> None:
        """The run is closed."""


class _SendingRun(CustomRun):
    """A process that sends."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.supplies: dict[str, RowSupply] = {}

    def begin(self, plan: RunPlan) -> None:
        """Compile the flow and let users have it. Raises ConfigError, ValueError."""
        self.supplies = {}
        if plan.custom is None:
            return
        flow = CustomFlow.model_validate(plan.custom["flow"])
        sending = sending_of(self.environment)
        requests = CustomRequests(flow, variables_of(flow), sending.random, time.time)
        for name, file in plan.custom["files"].items():
            self.supplies[name] = RowSupply(Path(file["file"]), tuple(file["columns"]), self.asking(name))
        requests.supply(self.supplies)
        requests.on_out_of_rows = self.out_of_rows
        sending.custom = requests

    def asking(self, payload: str) -> Any:
        raise NotImplementedError

    def out_of_rows(self) -> None:
        raise NotImplementedError


class _RecordingRun(CustomRun):
    """A process that keeps the run directory, and hands out the rows."""

    def __init__(self, environment: Environment, runner: Runner, session: RecordingSession) -> None:
        self.environment = environment
        self.base_runner = runner
        self.session = session
        self.lessors: dict[str, Lessor] = {}
        self._custom: Custom | None = None
        """Of the run that goes; None where it is without the flow."""
        self._all_used = False
        """Whether those who send have found no row left."""

    def hand_out(self) -> None:
        """Begin with all rows anew; the manifest says what is sent."""
        record, self._custom = self.session.record, self.session.chosen.custom
        self._all_used = False
        self.lessors = {}
        if record is None or self._custom is None:
            return
        for name, file in self._custom.files.items():
            self.lessors[name] = Lessor(file.chunks, self._custom.flow.payloads[name].order, record.plan.seed)
        record.directory.update_manifest(custom_flow=self._custom.manifest(self.lessors, self.session.chosen.functions))

    def close(self) -> None:
        """Complete the manifest."""
        custom, self._custom = self._custom, None
        if custom is None or self.session.record is None:
            return
        directory = self.session.record.directory
        manifest = directory.read_manifest()
        lost = {entry["index"] for entry in manifest.get("workers", ()) if "lost_at" in entry}
        warnings = list(manifest.get("warnings", ()))
        for name, lessor in self.lessors.items():
            killed = [tenant for tenant in lessor.tenants if self.index_of(tenant) in lost]
            complaints = lessor.complaints(custom.files[name].path.name, killed, ended=self._all_used)
            warnings += [f"payload {name}: {complaint}" for complaint in complaints]
        warnings += self._unwritten_requests()
        directory.update_manifest(
            custom_flow=custom.manifest(self.lessors, self.session.chosen.functions), warnings=warnings
        )
        self.lessors = {}

    def _unwritten_requests(self) -> list[str]:
        """A complaint about requests that could not be written: Locust counts what is raised in any process."""
        kinds = (RenderError.__name__, PayloadFileError.__name__)
        raised = [
            one
            for one in self.base_runner.exceptions.values()
            if any(f"raise {kind}(" in one["traceback"] for kind in kinds)
        ]
        if not raised:
            return []
        total = sum(one["count"] for one in raised)
        return [f"flow custom: {total} requests could not be written and were not sent, the first: {raised[0]['msg']}"]

    def index_of(self, tenant: str) -> int:
        """The worker's index of a tenant."""
        return 0

    def end_run(self) -> None:
        """Nothing is left to send: end the run where no other flow goes on."""
        if self._all_used:
            return
        self._all_used = True
        if self.session.record is None or set(self.session.record.plan.profile.flows) != {FLOW}:
            return
        logger.info("All rows of the payload files have been used")
        if isinstance(self.environment.shape_class, ProfileShape):
            self.session.all_sent()
            return
        gevent.spawn(self.session.end_early)


class _LoneRun(_RecordingRun, _SendingRun):
    """One process that does it all."""

    def __init__(self, environment: Environment, runner: Runner, session: RecordingSession) -> None:
        _RecordingRun.__init__(self, environment, runner, session)
        self.supplies = {}

    def test_start(self) -> None:
        self.hand_out()
        if self.session.record is not None:
            self.begin(self.session.record.plan)

    def asking(self, payload: str) -> Any:
        lessor = self.lessors[payload]

        def ask(supply: RowSupply, question: Question) -> None:
            supply.answered(question.number, lessor.ask("", *question), lessor.exhausted)

        return ask

    def out_of_rows(self) -> None:
        self.end_run()

    def before_stop(self) -> None:
        for name, supply in self.supplies.items():
            self.lessors[name].give_back("", supply.close())
        self.supplies = {}

    def test_stop(self) -> None:
        self.close()


class _MasterRun(_RecordingRun):
    """The process that the workers ask."""

    def __init__(self, environment: Environment, runner: MasterRunner, session: RecordingSession) -> None:
        super().__init__(environment, runner, session)
        self.runner = runner
        self._done: set[str] = set()
        """Workers that have nothing left to send."""
        runner.register_message(ROWS_WANTED, self._on_rows_wanted)
        runner.register_message(ROWS_RETURNED, self._on_rows_returned)
        runner.register_message(OUT_OF_ROWS, self._on_out_of_rows)

    def index_of(self, tenant: str) -> int:
        return int(self.runner.get_worker_index(tenant))

    def test_start(self) -> None:
        self._done = set()
        self.hand_out()

    def test_stop(self) -> None:
        self.close()

    def _goes(self, data: Mapping[str, Any]) -> bool:
        record = self.session.record
        return bool(self.lessors) and record is not None and data["run_id"] == record.plan.run_id

    def _on_rows_wanted(self, environment: Environment, msg: Message) -> None:
        data = msg.data
        if not self._goes(data):
            return
        lessor = self.lessors[data["payload"]]
        pieces = lessor.ask(msg.node_id, data["number"], data["wanted"])
        answer = {**data, "pieces": [list(piece) for piece in pieces], "exhausted": lessor.exhausted}
        self.runner.send_message(ROWS_LEASED, answer, msg.node_id)

    def _on_rows_returned(self, environment: Environment, msg: Message) -> None:
        if self._goes(msg.data):
            self.lessors[msg.data["payload"]].give_back(msg.node_id, _pieces(msg.data))

    def _on_out_of_rows(self, environment: Environment, msg: Message) -> None:
        if not self._goes(msg.data):
            return
        if not self._done:
            gevent.spawn(self._end_when_all_are_done)
        self._done.add(msg.node_id)

    def _end_when_all_are_done(self) -> None:
        """One that was killed says nothing any more, and one without users never asked for a row."""
        lessors = self.lessors
        while self.lessors is lessors and lessors:
            asked = {tenant for lessor in lessors.values() for tenant in lessor.tenants}
            if not any(rebalancing.is_there(self.runner, tenant) for tenant in asked - self._done):
                self.end_run()
                return
            gevent.sleep(LOOK_EVERY_S)


class _WorkerRun(_SendingRun):
    """A process that asks the master."""

    def __init__(self, environment: Environment, runner: WorkerRunner, session: Session) -> None:
        super().__init__(environment)
        self.runner = runner
        self.session = session
        self._run_id = ""
        self._said_done = False
        runner.register_message(ROWS_LEASED, self._on_rows_leased)

    def test_start(self) -> None:
        plan = sending_of(self.environment).plan
        self._run_id, self._said_done = plan.run_id, False
        try:
            if plan.custom is not None:
                compare_files(plan.custom["files"].values(), gevent.sleep)
            self.begin(plan)
        except (ConfigError, ValueError) as unusable:
            # Without its part of the flow this worker has nothing to send, and says so by leaving.
            for problem in str(unusable).splitlines():
                logger.error(f"Flow custom cannot run here: {problem}")
            self.environment.process_exit_code = ConfigError.exit_code
            gevent.spawn(self.runner.quit)

    def asking(self, payload: str) -> Any:
        def ask(supply: RowSupply, question: Question) -> None:
            self._tell(ROWS_WANTED, payload=payload, **question._asdict())

        return ask

    def out_of_rows(self) -> None:
        if not self._said_done:
            self._said_done = True
            self._tell(OUT_OF_ROWS)

    def before_stop(self) -> None:
        for name, supply in self.supplies.items():
            self._give_back(name, supply.close())

    def _on_rows_leased(self, environment: Environment, msg: Message) -> None:
        data = msg.data
        if data["run_id"] == self._run_id and (supply := self.supplies.get(data["payload"])):
            surplus = supply.answered(data["number"], _pieces(data), data["exhausted"])
            self._give_back(data["payload"], surplus)

    def _give_back(self, payload: str, pieces: Any) -> None:
        if pieces:
            self._tell(ROWS_RETURNED, payload=payload, pieces=[list(piece) for piece in pieces])

    def _tell(self, message: str, **data: Any) -> None:
        try:
            self.runner.send_message(message, {"run_id": self._run_id, **data})
        except Exception as failure:  # noqa: BLE001 -- whatever is wrong with the channel, a question is repeated
            logger.warning(f"{message} not sent: {failure}")


def _pieces(data: Mapping[str, Any]) -> list[Piece]:
    return [Piece(*piece) for piece in data["pieces"]]
