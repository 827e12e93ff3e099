"""Attaches the load generator to Locust: the one call that a locustfile makes.

from locust import events
from loadgen.listeners import register

register(events)
"""

from __future__ import annotations

import logging
import signal
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import gevent
from gevent import Greenlet
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.event import Events
from locust.exception import StopTest
from locust.runners import LocalRunner, MasterRunner, Runner, WorkerRunner

from config.errors import ConfigError
from loadgen.options import add_options, check_reachable, check_recordable, choose_user_classes, read_settings, resolve
from loadgen.sessions import LoneSession, MasterSession, RecordingSession, Session, WorkerSession
from loadgen.shapes import ProfileShape

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 35.0
"""What open requests get to finish where `--stop-timeout` says nothing: longer than the transport waits for an answer,
so that every request ends by itself."""

_REGISTERED = "swarmscope_registered"


def register(events: Events) -> None:
    """Add the options and the listeners; calling it again, from a second locustfile, changes nothing."""
    if not hasattr(events, _REGISTERED):
        setattr(events, _REGISTERED, True)
        events.init_command_line_parser.add_listener(_on_init_command_line_parser)
        events.init.add_listener(_on_init)


def _on_init_command_line_parser(parser: LocustArgumentParser) -> None:
    add_options(parser)


def _on_init(environment: Environment, runner: Runner, **_: Any) -> None:
    try:
        session = _open_session(environment, runner)
    except ConfigError as invalid:
        sys.stderr.write("\n".join(["Cannot start:", *(f"  {problem}" for problem in invalid.problems), ""]))
        sys.exit(invalid.exit_code)
    _attach(environment, runner, session)
    _handle_interrupts(session, gevent.getcurrent())


def _open_session(environment: Environment, runner: Runner) -> Session:
    """The session for this process's role, its options checked. Raises ConfigError."""
    options = environment.parsed_options or Namespace()
    environment.stop_timeout = environment.stop_timeout or STOP_TIMEOUT_S
    if isinstance(runner, WorkerRunner):
        settings = read_settings(options)
        runs_dir = Path(options.runs_dir) if options.runs_dir else settings.runs_dir
        return WorkerSession(environment, runner, settings, runs_dir)
    chosen = resolve(options)
    environment.host = environment.host or chosen.settings.api_base_url
    if chosen.flows is not None:
        environment.user_classes[:] = choose_user_classes(environment.user_classes, chosen.flows)
    host_needed = options.headless or options.autostart
    check_reachable(chosen, environment.user_classes, environment.host, host_needed=host_needed)
    check_recordable(chosen)
    if chosen.profile is not None:
        if options.num_users or options.spawn_rate or options.run_time:
            logger.warning("-u, -r and -t are not used: the profile says how many users, and how long")
        environment.shape_class = ProfileShape(chosen.profile)
        environment.shape_class.runner = runner
    if isinstance(runner, MasterRunner):
        return MasterSession(environment, runner, chosen)
    assert isinstance(runner, LocalRunner)
    return LoneSession(environment, runner, chosen)


def _attach(environment: Environment, runner: Runner, session: Session) -> None:
    def test_start(**_: Any) -> None:
        try:
            session.test_start()
        except ConfigError as refused:
            raise StopTest(f"Cannot start: {refused}") from None
        except Exception:
            # Without a record there must be no load.
            environment.process_exit_code = 3
            gevent.spawn(runner.quit)
            raise

    def test_stop(**_: Any) -> None:
        try:
            session.test_stop()
        finally:
            session.closed()

    def quitting(**_: Any) -> None:
        if session.running:
            session.interrupted()
        session.end()

    environment.events.test_start.add_listener(test_start)
    environment.events.test_stop.add_listener(test_stop)
    # Listeners of `quitting` fire in reverse order: this one before Locust's own, which for a worker says goodbye.
    environment.events.quitting.add_listener(quitting)
    if isinstance(session, RecordingSession):
        environment.events.quit.add_listener(lambda **_: session.replace_csv())


def _handle_interrupts(session: Session, main: Greenlet) -> None:
    """Ctrl-C ends the run as if its time were over; a second one gives up open requests, a third everything.

    Python would raise KeyboardInterrupt in whatever greenlet happens to run, which may be a user between its answer
    and its row. Here it is raised where Locust waits for it.
    """
    presses = 0

    def on_interrupt() -> None:
        nonlocal presses
        presses += 1
        if presses == 2:
            logger.warning("Second Ctrl-C: requests still open are given up")
            session.hurry()
            return
        if presses == 1:
            logger.info("Ctrl-C: open requests may finish; press again to give them up")
        session.interrupted()
        gevent.kill(main, KeyboardInterrupt)

    gevent.signal_handler(signal.SIGINT, on_interrupt)
