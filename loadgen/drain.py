"""Ending a run without losing anything: the server's count = rows = Locust's console = Locust's CSVs.

By itself Locust kills open requests when it stops, waits half a second for its workers, lets a worker say goodbye
before its last figures, and leaves the last seconds out of its CSVs. What is done about each:

- open requests: a stop time-out, set where the user set none. What is still open after it becomes a row, and an
  event, that says `unfinished`.
- time limit, end of a shape, Stop in the web UI, Ctrl-C of the master: `test_stop` comes once users have ended; a
  worker's hands over its last statistics and rows, and the master's waits for those of every worker.
- the end of a run by anybody but its shape (a threshold that aborts, a limit, `runner.quit()` in a listener): Locust
  kills the shape, for which the main greenlet waits, and which then quits as well; it waits until the run is closed.
- Ctrl-C of everybody at once, or of a worker: `quitting` comes first; the run is ended there, before Locust's own
  listener says goodbye.
- CSVs: written a last time after the drain (`statistics`).
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import gevent
from gevent import Greenlet
from gevent.lock import RLock
from locust.env import Environment
from locust.exception import StopTest
from locust.runners import Runner

from config.errors import ConfigError
from loadgen.custom_run import CustomRun
from loadgen.session import RecordingSession, Session

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 35.0
"""What open requests get to finish where `--stop-timeout` says nothing: longer than the transport waits for an answer,
so that every request ends by itself."""


def attach(environment: Environment, runner: Runner, session: Session, custom: CustomRun) -> Callable[[], None]:
    """Let Locust's events drive the session, and flow `custom` with it.

    Returns what is to be done when a test starts.
    """
    # Locust fires `test_stop` once for each who stops the run, be it at the same time: a user that gives up, a
    # threshold that aborts, the end of a shape. The others must wait for the first, or the process ends before it.
    stopping = RLock()
    stoppers: set[object] = set()
    """The greenlets that stop the run that goes."""
    quit_at_once = runner.quit

    def test_stopping(**_: Any) -> None:
        stoppers.add(gevent.getcurrent())

    def quit_when_it_is_closed() -> None:
        # To quit a run that somebody else stops, Locust waits for nothing: half a second later the master is deaf.
        if stoppers and gevent.getcurrent() not in stoppers:
            session.wait_until_closed()
        quit_at_once()

    def test_start() -> None:
        try:
            session.test_start()
            custom.test_start()
        except ConfigError as refused:
            session.not_started(str(refused))
            raise StopTest(f"Cannot start: {refused}") from None
        except Exception as mistake:
            # Without a record there must be no load: of all exceptions StopTest alone keeps Locust from going on.
            session.not_started(f"{type(mistake).__name__}: {mistake}")
            environment.process_exit_code = 3
            gevent.spawn(runner.quit)
            raise StopTest(f"Cannot start: {mistake}") from mistake

    def test_stop(**_: Any) -> None:
        with stopping, ExitStack() as steps:
            # From the last to the first, whatever becomes of any of them.
            steps.callback(stoppers.clear)
            steps.callback(session.closed)
            steps.callback(custom.test_stop)
            steps.callback(session.test_stop)
            steps.callback(custom.before_stop)

    def quitting(**_: Any) -> None:
        if session.running:
            session.interrupted()
        session.end()

    environment.events.test_stopping.add_listener(test_stopping)
    environment.events.test_stop.add_listener(test_stop)
    # Listeners of `quitting` fire in reverse order: this one before Locust's own.
    environment.events.quitting.add_listener(quitting)
    if isinstance(session, RecordingSession):
        runner.quit = quit_when_it_is_closed  # type: ignore[method-assign]
        environment.events.quit.add_listener(lambda **_: session.replace_csv())
    return test_start


def handle_interrupts(session: Session, main: Greenlet) -> None:
    """Ctrl-C and SIGTERM end the run as if its time were over; a second one gives up open requests, a third everything.

    Python would raise KeyboardInterrupt in whatever greenlet happens to run, which may be a user between its answer
    and its row. Here it is raised in `main`, where Locust waits for it.
    """
    presses = 0

    def on_interrupt() -> None:
        nonlocal presses
        presses += 1
        if presses == 2:
            logger.warning("Interrupted again: requests still open are given up")
            session.hurry()
            return
        if presses == 1:
            logger.info("Interrupted: open requests may finish; a second Ctrl-C gives them up")
        session.interrupted()
        gevent.kill(main, KeyboardInterrupt)

    gevent.signal_handler(signal.SIGINT, on_interrupt)
    # Locust takes over SIGTERM in the end, but not as long as it is in a headless run with a shape.
    signal.signal(signal.SIGTERM, lambda *_: gevent.spawn(on_interrupt))
