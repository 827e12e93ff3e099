"""What a process does for its runs, whatever its role; `lone`, `worker` and `master` say the rest.

    test_start    the run gets its directory (lone, master) or its plan (worker), and users may send
    meanwhile     rows are written (lone, worker) and shipped (worker)
    test_stop     users have ended: the last rows and statistics are handed over, counted, written

In the web UI one process has several runs, one after another.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.runners import STATE_CLEANUP, STATE_STOPPING, Runner

from config.prices import load_prices
from loadgen.abort import Abort, AbortWatch, longest_window_s
from loadgen.guard import LOOK_EVERY_S, Guard, LimitReached
from loadgen.live import KEPT_S, REPORT_EVERY_S, LiveFigures
from loadgen.open_model import OpenModel
from loadgen.options import Chosen
from loadgen.plan import RunPlan
from loadgen.prerequisites import check_reachable
from loadgen.recording import FEW_TOGETHER, TOGETHER, RequestLog, Sink
from loadgen.run_record import RunRecord
from loadgen.sending import Sending, sending_of, set_sending
from loadgen.shapes import BreakpointShape, ProfileShape
from runstore.rundir import ABORTED, COMPLETE, FAILED, INTERRUPTED, RunDir

logger = logging.getLogger(__name__)

FLUSH_EVERY_S = 0.1
"""A killed process loses no more than that. A whole second's rows, written at once, would hold up arrivals."""


class Session:
    """One process's part in its runs."""

    def __init__(self, environment: Environment, runner: Runner) -> None:
        self.environment = environment
        self.base_runner = runner
        self.running = False
        self._open_model: OpenModel | None = None
        self._had_run = False
        self._ended = Event()
        self._ended.set()

    def test_start(self) -> None:
        """A test starts; users come after this."""
        raise NotImplementedError

    def test_stop(self) -> None:
        """A test has ended; no user is left. Called again, or without a run, it does nothing to the records."""
        raise NotImplementedError

    def not_started(self, reason: str) -> None:
        """The test that was to start does not, though some of it may have been made ready."""

    def opened(self) -> None:
        """A run goes from now on."""
        self.running = True
        self._ended.clear()

    def closed(self) -> None:
        """No run goes any more, whatever happened."""
        self.running = False
        self._ended.set()

    @property
    def ended(self) -> bool:
        """Whether no run goes, and all of the last one is handed over."""
        return self._ended.is_set()

    def interrupted(self) -> None:
        """The user asked to stop before the end."""

    def hurry(self) -> None:
        """The user asked a second time: open requests are given up."""
        self.base_runner.user_greenlets.kill(block=False)
        if self._open_model is not None:
            self._open_model.hurry()

    def let_users_send(self, sending: Sending, process: int) -> None:
        """What users find when they start; in the open model there are no arrivals until it is told to begin."""
        spare_full_collections(anew=self._had_run)
        self._had_run = True
        if sending.plan.profile.model == "open":
            self._open_model = sending.open_model = OpenModel(
                self.environment, sending.plan, process, sending.log, sending.random, sending.lulls
            )
        set_sending(self.environment, sending)

    def finish_requests(self) -> None:
        """Locust waits for its users; the requests of the open model are nobody's. After them nothing is sent."""
        if self._open_model is not None:
            self._open_model.drain(self.environment.stop_timeout)
            self._open_model = None
        sending_of(self.environment).close()

    def end(self) -> None:
        """End the run that goes, if any, and return when all of it is written."""
        if self.running and self.base_runner.state not in (STATE_CLEANUP, STATE_STOPPING):
            self.stop_runner()
            if self.running:
                # A master whose workers have all gone holds the test for stopped and tells nobody.
                self.environment.events.test_stop.fire(environment=self.environment)
        self.wait_until_closed()

    def wait_until_closed(self) -> None:
        """Return when all of the run that goes, if any, is written."""
        self._ended.wait()

    def stop_runner(self) -> None:
        self.base_runner.stop()


class RecordingSession(Session):
    """A process that keeps the run directory: the lone process or the master."""

    def __init__(self, environment: Environment, runner: Runner, chosen: Chosen) -> None:
        super().__init__(environment, runner)
        self.chosen = chosen
        self.live: LiveFigures | None = None
        """Of the run that goes, else of the one that went last; None before the first."""
        self.runs: list[RunDir] = []
        """Those of this process, oldest first."""
        self._record: RunRecord | None = None
        self._recording = False
        """Whether the record is of a run that has not been closed."""
        self._was_interrupted = False
        self._aborted: dict[str, Any] | None = None
        self._not_started: str | None = None
        self._statistics_were_reset = False
        """Locust's, while the run went."""
        environment.events.reset_stats.add_listener(self._on_reset_statistics)

    def not_started(self, reason: str) -> None:
        self._not_started = reason
        if self._recording and not self.running:
            self.close_record([], [])

    def opened(self) -> None:
        super().opened()
        assert self._record is not None and self.live is not None
        profile, settings = self._record.plan.profile, self.chosen.settings
        watch = AbortWatch(profile.thresholds, time.monotonic() + profile.warmup_s, profile.time_scale)
        if watch:
            gevent.spawn(self._keep_watching, watch.look, REPORT_EVERY_S, self.live)
        guard = Guard(settings, lambda: load_prices(settings.region or ""), profile)
        if guard:
            runner = self.base_runner
            gevent.spawn(
                self._keep_watching,
                lambda figures, now: guard.look(figures, runner.user_count),
                LOOK_EVERY_S,
                self.live,
            )

    def interrupted(self) -> None:
        self._was_interrupted = True

    def all_sent(self) -> None:
        """Nothing is left to send: the run may end."""
        if isinstance(self.environment.shape_class, ProfileShape):
            self.environment.shape_class.all_sent = True

    def end_early(self) -> None:
        """End the run that goes as Locust ends that of a shape: headless, the process ends with it.

        Waiting for the shape to say so could take as long as a ramp does.
        """
        options = self.environment.parsed_options
        if options is not None and options.headless:
            self.base_runner.quit()
        else:
            self.base_runner.stop()

    def replace_csv(self) -> None:
        """Mend the files of Locust's own `--csv`."""
        prefix = getattr(self.environment.parsed_options, "csv_prefix", None)
        if prefix and self._record is not None:
            self._record.replace_csv(prefix)

    @property
    def record(self) -> RunRecord | None:
        """Of the run that goes, else of the one that went last; None before the first."""
        return self._record

    def open_record(self) -> RunRecord:
        """Raises ConfigError: the host may come from the web UI's form, unchecked. Raises OSError."""
        self.environment.host = self.environment.host or self.chosen.settings.api_base_url
        check_reachable(self.chosen, self.environment.user_classes, self.environment.host, host_needed=True)
        self._was_interrupted = False
        # Of `--reset-stats` no event tells.
        self._statistics_were_reset = bool(self.environment.reset_stats)
        self._aborted = self._not_started = None
        self._record = RunRecord(self.environment, self.chosen)
        self._recording = True
        self.runs.append(self._record.directory)
        self.live = LiveFigures(KEPT_S + longest_window_s(self._record.plan.profile))
        if isinstance(self.environment.shape_class, BreakpointShape):
            self.environment.shape_class.figures = self.live
        return self._record

    def close_record(self, workers: Iterable[Mapping[str, Any]], warnings: Iterable[str]) -> None:
        """Write how the run ended, and let the process exit with a code that says so.

        `workers` are entries of the manifest: index, host, rows, and where there is reason dropped (those of the rows
        that stand for arrivals never sent), lost_at (when it was last heard, epoch seconds), left_at (when it went by
        itself), shortfall (see `shortfall.Shortfall`), missing_rows, failed (why its users could not send),
        clock_offset_s (by so much its clock is ahead of the master's), date_offset (by so much the target's is ahead of
        its own, see `server_clock.ServerClock`) and reopened_connections (see `transport.ConnectionCounts`).
        """
        assert self._record is not None
        self._recording = False
        workers, warnings = list(workers), list(warnings)
        if self._not_started is not None:
            warnings.append(f"the run did not start: {self._not_started}")
        warnings += self._uncounted(workers)
        state = self._state(workers)
        breakpoint, shape = None, self.environment.shape_class
        if isinstance(shape, BreakpointShape):
            breakpoint, shape.figures = shape.result(), None
        self._record.finish(state, workers, warnings, self._aborted, breakpoint)
        # By a limit of ours, and not by what the profile says about its target.
        limited = state == ABORTED and "limit" in (self._aborted or {})
        if self.chosen.profile is not None:
            # A profile is judged by its thresholds, not by Locust's rule that any failed request is a failure.
            incomplete = state == FAILED or any({"lost_at", "missing_rows", "failed"} & w.keys() for w in workers)
            incomplete |= breakpoint is not None and breakpoint["void"]
            incomplete |= limited
            exit_code = {INTERRUPTED: 130, ABORTED: 1}.get(state, 0)
            self.environment.process_exit_code = 3 if incomplete and state != INTERRUPTED else exit_code
        elif state == FAILED or limited:
            self.environment.process_exit_code = 3

    def _uncounted(self, workers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """What to say where Locust's statistics do not hold the requests that the rows hold."""
        rows = sum(worker["rows"] - worker.get("dropped", 0) for worker in workers)
        counted = self.environment.stats.total.num_requests
        if rows != counted and self._statistics_were_reset:
            yield (
                f"Locust's statistics were reset while the run went: they, and Locust's CSVs, hold {counted} of its "
                f"{rows} requests"
            )
        elif rows != counted:
            lost = any("lost_at" in worker for worker in workers)
            reason = ": a lost worker takes up to three seconds of its statistics with it" if lost else ""
            yield f"the records hold {rows} requests, Locust's statistics {counted}{reason}"

    def _state(self, workers: Sequence[Mapping[str, Any]]) -> str:
        """How the run ended, for the manifest."""
        shape = self.environment.shape_class
        nobody_sent = bool(workers) and all("lost_at" in worker or "failed" in worker for worker in workers)
        if nobody_sent or self._not_started is not None:
            return FAILED
        if self._aborted is not None:
            return ABORTED
        cut_short = isinstance(shape, ProfileShape) and not shape.over
        return INTERRUPTED if self._was_interrupted or cut_short else COMPLETE

    def _on_reset_statistics(self, **_: Any) -> None:
        self._statistics_were_reset = True

    def _keep_watching(
        self,
        look: Callable[[LiveFigures, float], Abort | LimitReached | None],
        every_s: float,
        figures: LiveFigures,
    ) -> None:
        """End the run that `figures` are of when a look at them says so."""
        while self.running and self.live is figures and self.base_runner.state not in (STATE_CLEANUP, STATE_STOPPING):
            reason = look(figures, time.monotonic())
            if reason is not None:
                self._aborted = {**asdict(reason), "at": time.time()}
                logger.warning(f"Aborting: {reason}")
                self.end_early()
                return
            gevent.sleep(every_s)


def spare_full_collections(*, anew: bool) -> None:
    """Keep the garbage collector from holding up requests: a look at every object takes a tenth of a second.

    What is there now is not looked at again, and the old among the rest a hundred times more rarely than by Python's
    default. What requests leave behind is young: it is collected as ever, in a fraction of a millisecond. `anew`: what
    was spared before may be garbage by now.
    """
    if anew:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 1000)


def request_log(plan: RunPlan, worker: int, sink: Sink) -> RequestLog:
    """The log of one process in the run of `plan`."""
    together = FEW_TOGETHER if plan.profile.model == "open" else TOGETHER
    return RequestLog(worker, plan.started_at + plan.profile.warmup_s, sink, together)
