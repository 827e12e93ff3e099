"""Puts everything of ours into Locust's web UI."""

from __future__ import annotations

import json
import os
import time

import gevent
from flask import Response, request
from gevent.threadpool import ThreadPool
from locust.env import Environment
from locust.web import WebUI

from config import aws
from config.errors import ConfigError
from config.settings import Settings
from loadgen.run_record import function_name
from loadgen.run_setup import RunSetups
from loadgen.session import RecordingSession
from loadgen.webui import access, cloudwatch, pages, serverless_tab
from loadgen.webui.analyses import Analyses
from loadgen.webui.cloudwatch import CloudWatchFigures, FunctionWatch
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
    """Polls CloudWatch while runs go, in one thread: botocore's own work would hold up arrivals."""

    def __init__(self, session: RecordingSession) -> None:
        self.figures = CloudWatchFigures()
        """Of the run that goes, else of the one that went last."""
        self._session = session
        self._thread = ThreadPool(1)
        gevent.spawn(self._poll_for_ever)

    def _poll_for_ever(self) -> None:
        run: RunDir | None = None
        due = 0.0
        while True:
            gevent.sleep(_LOOK_EVERY_S)
            if not self._session.running:
                continue
            settings = self._session.chosen.settings
            if run is not self._session.runs[-1]:
                run = self._session.runs[-1]
                watch = _function_watch(run, settings)
                self.figures, due = CloudWatchFigures(), time.monotonic() + _LOOK_EVERY_S
            if time.monotonic() >= due:
                due = time.monotonic() + cloudwatch.POLL_EVERY_S.get(settings.target, cloudwatch.POLL_EVERY_ELSEWHERE_S)
                self._poll(watch)

    def _poll(self, watch: FunctionWatch) -> None:
        try:
            self.figures = self._thread.apply(watch.poll)
        except Exception as failure:  # noqa: BLE001 -- whatever is wrong with AWS, the run goes on
            reason = str(failure).partition("\n")[0]
            self.figures = CloudWatchFigures(self.figures.at, self.figures.functions, reason or type(failure).__name__)


def _function_watch(run: RunDir, settings: Settings) -> FunctionWatch:
    manifest = run.read_manifest()
    return FunctionWatch(
        lambda service: aws.client(settings, service, connect_timeout=5, read_timeout=10),
        {logical: function_name(function) for logical, function in manifest["functions"].items()},
        manifest["log_groups"],
        manifest["started_at"],
        cloudwatch.LOG_LAG_S.get(settings.target, cloudwatch.LOG_LAG_ELSEWHERE_S),
    )


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
        # Not with our own copy of the figures: Locust answers several requests with one and the same object.
        figures = json.loads(answer.get_data())
        answer.set_data(json.dumps({**figures, "extended_stats": [{"key": serverless_tab.KEY, "data": rows}]}))
        return answer

    web_ui.app.after_request(add_figures)
