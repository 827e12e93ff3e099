"""Puts everything of ours into Locust's web UI."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import gevent
from botocore.exceptions import BotoCoreError
from flask import Response, request
from gevent.threadpool import ThreadPool
from locust.env import Environment
from locust.web import WebUI

from config import aws
from config.errors import ConfigError
from config.settings import function_name
from loadgen.run_setup import RunSetups
from loadgen.session import RecordingSession
from loadgen.webui import access, pages, serverless_tab
from loadgen.webui.analyses import Analyses
from loadgen.webui.cloudwatch import CloudWatchFigures, FunctionWatch, PollTimes
from loadgen.webui.start_form import StartForm
from runstore.rundir import RunDir

_LOOK_EVERY_S = 1.0


def attach(environment: Environment, web_ui: WebUI, session: RecordingSession, setups: RunSetups) -> None:
    """Extend the web UI, before it listens. Raises ConfigError."""
    wanted = getattr(environment.parsed_options, "live_cloudwatch", None) or "off"
    if wanted not in ("on", "off"):
        raise ConfigError(f"LIVE_CLOUDWATCH: {wanted!r} is neither on nor off")
    access.protect(web_ui, session.chosen.settings)
    StartForm(environment, web_ui, session, setups).attach()
    pages.add_pages(web_ui, Analyses(environment, session, os.environ))
    _add_tab(web_ui, session, LiveCloudWatch(session) if wanted == "on" else None)


class LiveCloudWatch:
    """Polls CloudWatch while runs go, in one thread of its own: botocore's work would hold up arrivals."""

    def __init__(self, session: RecordingSession) -> None:
        self.figures = CloudWatchFigures()
        """Of the run that goes, else of the one that went last."""
        self._session = session
        self._clients: dict[str, Any] = {}
        self._thread = ThreadPool(1)
        gevent.spawn(self._poll_for_ever)

    def _poll_for_ever(self) -> None:
        # Clients are made before there is any load: that takes the processor for some tenths of a second.
        self._thread.apply(self._make_clients)
        run: RunDir | None = None
        while True:
            gevent.sleep(_LOOK_EVERY_S)
            running = self._session.running
            if running and run is not self._session.runs[-1]:
                run = self._session.runs[-1]
                watch, times = self._watch(run), PollTimes(self._session.chosen.settings.target, time.monotonic())
                self.figures = CloudWatchFigures()
            if run is not None and times.is_due(time.monotonic(), running=running):
                self.figures = self._thread.apply(self._poll, [watch, self.figures])

    def _watch(self, run: RunDir) -> FunctionWatch:
        # Somebody may have removed the run's directory; that is no reason to stop polling for the next one.
        manifest = {"functions": {}, "log_groups": {}, "started_at": time.time(), **run.read_manifest()}
        functions = {logical: function_name(function) for logical, function in manifest["functions"].items()}
        return FunctionWatch(self._client, functions, manifest["log_groups"], manifest["started_at"])

    def _make_clients(self) -> None:
        # What is wrong with the configuration comes up again with the first poll, and is shown then.
        with suppress(BotoCoreError, ConfigError):
            for service in ("cloudwatch", "logs"):
                self._client(service)

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            retries = {"mode": "standard", "total_max_attempts": 2}
            self._clients[service] = aws.client(
                self._session.chosen.settings, service, connect_timeout=5, read_timeout=10, retries=retries
            )
        return self._clients[service]

    def _poll(self, watch: FunctionWatch, last: CloudWatchFigures) -> CloudWatchFigures:
        """In the thread: an error that left it would be printed by gevent."""
        try:
            return watch.poll()
        except Exception as failure:  # noqa: BLE001 -- whatever is wrong with AWS, the run goes on
            return replace(last, problem=str(failure).partition("\n")[0] or type(failure).__name__)


def _add_tab(web_ui: WebUI, session: RecordingSession, live_cloudwatch: LiveCloudWatch | None) -> None:
    assert web_ui.app is not None
    web_ui.template_args |= {
        "extended_tabs": [{"title": serverless_tab.TITLE, "key": serverless_tab.KEY}],
        "extended_tables": [{"key": serverless_tab.KEY, "structure": serverless_tab.structure()}],
    }

    def add_figures(answer: Response) -> Response:
        if request.endpoint != "locust.request_stats" or not answer.is_json:
            return answer
        rows = serverless_tab.rows(
            session.live,
            time.monotonic(),
            running=session.running,
            cloudwatch=None if live_cloudwatch is None else live_cloudwatch.figures,
        )
        # Locust answers requests that come close together with one and the same object: ours are replaced in it.
        figures = json.loads(answer.get_data())
        answer.set_data(json.dumps({**figures, "extended_stats": [{"key": serverless_tab.KEY, "data": rows}]}))
        return answer

    web_ui.app.after_request(add_figures)
