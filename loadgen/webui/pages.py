"""Our routes, below `/swarmscope`: the panel's script, the runs and how far their analyses are, their reports.

Every one asks for the login where Locust's own do. Only files that `analyses.FILES` names are served, and only of
runs that this process has recorded: both are looked up, no path is made of what a request says.
"""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, abort, jsonify, request
from locust.web import WebUI

from loadgen.webui.analyses import FILES, Analyses

PANEL = Path(__file__).with_name("panel.js")
REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; frame-ancestors 'none'"
)
"""A report may run its own scripts, load nothing, and reach nothing of this web UI: names and messages in it come from
logs and payloads."""


def add_pages(web_ui: WebUI, analyses: Analyses) -> None:
    """Add the routes, and the panel to Locust's page."""
    assert web_ui.app is not None
    base = web_ui.app.blueprints["locust"].url_prefix or ""
    pages = Blueprint("swarmscope", __name__, url_prefix=f"{base}/swarmscope")

    @pages.route("/panel.js")
    @web_ui.auth_required_if_enabled
    def panel() -> Response:
        return Response(PANEL.read_text(encoding="utf-8"), content_type="text/javascript; charset=utf-8")

    @pages.route("/runs")
    @web_ui.auth_required_if_enabled
    def runs() -> Response:
        return jsonify({"runs": analyses.listing()})

    @pages.route("/runs/<run_id>/analysis", methods=["POST"])
    @web_ui.auth_required_if_enabled
    def analysis(run_id: str) -> tuple[Response, int]:
        run = analyses.find(run_id)
        if run is None:
            return jsonify({"message": "no such run"}), 404
        if not analyses.start(run):
            return jsonify({"message": "not now: the run goes on, or an analysis does"}), 409
        return jsonify({"message": "started"}), 202

    @pages.route("/runs/<run_id>/<name>")
    @web_ui.auth_required_if_enabled
    def file(run_id: str, name: str) -> Response:
        run = analyses.find(run_id)
        if run is None or name not in FILES:
            abort(404)
        try:
            content = run.file(name).read_bytes()
        except FileNotFoundError:
            abort(404)
        answer = Response(content, content_type=FILES[name][1])
        answer.headers["Content-Security-Policy"] = REPORT_POLICY
        return answer

    @pages.after_request
    def guard(answer: Response) -> Response:
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cache-Control"] = "no-store"
        return answer

    web_ui.app.register_blueprint(pages)

    def add_panel(answer: Response) -> Response:
        if request.endpoint == "locust.index" and answer.status_code == 200:
            page = answer.get_data(as_text=True)
            answer.set_data(page.replace("</body>", '<script src="./swarmscope/panel.js"></script></body>'))
        return answer

    web_ui.app.after_request(add_panel)
