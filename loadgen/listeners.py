"""Attaches the load generator to Locust: the one call that a locustfile makes.

from locust import events
from loadgen.listeners import register

register(events)
"""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import gevent
import psutil  # type: ignore[import-untyped]
from gevent.event import AsyncResult
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.event import Events
from locust.runners import LocalRunner, MasterRunner, Runner, WorkerRunner
from locust.web import WebUI

from config.errors import ConfigError
from loadgen import custom_run, drain
from loadgen.api_access import check_access
from loadgen.lone import LoneSession
from loadgen.master import MasterSession
from loadgen.options import add_options, read_settings
from loadgen.proxies import check_proxies
from loadgen.run_setup import RunSetups
from loadgen.session import RecordingSession, Session, spare_full_collections
from loadgen.worker import WorkerSession

logger = logging.getLogger(__name__)

_REGISTERED = "swarmscope_registered"


def register(events: Events) -> None:
    """Add the options and the listeners; calling it again, from a second locustfile, changes nothing."""
    if not hasattr(events, _REGISTERED):
        setattr(events, _REGISTERED, True)
        # A worker that joins a run is told to start while Locust still builds it up, before `init`: that start waits.
        start = AsyncResult()
        events.init_command_line_parser.add_listener(_on_init_command_line_parser)
        events.init.add_listener(
            lambda environment, runner, web_ui=None, **_: start.set(_on_init(environment, runner, web_ui))
        )
        events.test_start.add_listener(lambda **_: start.get()())


def _on_init_command_line_parser(parser: LocustArgumentParser) -> None:
    add_options(parser)
    # Before `--processes` forks: each worker would take a twentieth of a second for it when the run starts.
    spare_full_collections(anew=False)


def _on_init(environment: Environment, runner: Runner, web_ui: WebUI | None = None) -> Callable[[], None]:
    """Returns what is to be done when a test starts."""
    try:
        session = _open_session(environment, runner, web_ui)
    except ConfigError as invalid:
        sys.stderr.write("\n".join(["Cannot start:", *(f"  {problem}" for problem in invalid.problems), ""]))
        if not isinstance(runner, WorkerRunner):
            # With --processes the workers are there already, and would look for their master for five minutes.
            for child in psutil.Process().children():
                child.terminate()
        sys.exit(invalid.exit_code)
    test_start = drain.attach(environment, runner, session, custom_run.attach(environment, runner, session))
    drain.handle_interrupts(session, gevent.getcurrent())
    # The loop's clock has stood still since the imports, and it is what Locust's `-t` counts from.
    gevent.get_hub().loop.update_now()
    return test_start


def _open_session(environment: Environment, runner: Runner, web_ui: WebUI | None) -> Session:
    """The session for this process's role, its options checked. Raises ConfigError."""
    options = environment.parsed_options or Namespace()
    environment.stop_timeout = environment.stop_timeout or drain.STOP_TIMEOUT_S
    if isinstance(runner, WorkerRunner):
        settings = read_settings(options)
        check_access(settings)
        check_proxies(settings.target, os.environ)
        runs_dir = Path(options.runs_dir) if options.runs_dir else settings.runs_dir
        return WorkerSession(environment, runner, settings, runs_dir)
    setups = RunSetups(environment, runner)
    setup = setups.check(options, environment.host, host_needed=options.headless or options.autostart)
    setups.apply(setup)
    chosen = setup.chosen
    environment.host = environment.host or chosen.settings.api_base_url
    if chosen.profile is not None and (options.num_users or options.spawn_rate or options.run_time):
        logger.warning("-u, -r and -t are not used: the profile says how many users, and how long")
    session: RecordingSession
    if isinstance(runner, MasterRunner):
        # Locust's own option can only switch it on.
        options.enable_rebalancing |= chosen.rebalancing
        session = MasterSession(environment, runner, chosen)
    else:
        assert isinstance(runner, LocalRunner)
        session = LoneSession(environment, runner, chosen)
    if web_ui is not None:
        # With boto3: not for workers.
        from loadgen.webui import extension

        extension.attach(environment, web_ui, session, setups)
    return session
