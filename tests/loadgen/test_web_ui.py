"""Our part of Locust's web UI over HTTP: the form, the login, the runs' files, and what is refused."""

import http.client
import json
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from tests.loadgen.conftest import CountingServer, Locust, LocustRun
from tests.ports import free_port

LOCUSTFILE = """
from locust import events, task
from loadgen.listeners import register
from loadgen.users import ApiGatewayUser
register(events)

class Voter(ApiGatewayUser):
    flow = "vote"
    weight = 3

    @task
    def vote(self):
        self.post("/vote", {"vote_id": "1"})

class Reader(ApiGatewayUser):
    flow = "own"

    @task
    def read(self):
        self.get("/own")
"""
PROFILE = 'description = "d"\nflows = {vote = 1}\n[[stages]]\nduration = "60s"\nusers = 2\nspawn_rate = 2\n'
ANALYSIS_LIMIT_S = 120.0


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Ui:
    """A Locust with its web UI, and what a client of it does."""

    run: LocustRun
    port: int

    def ask(self, path: str, form: dict[str, str] | None = None, **headers: str) -> Answer:
        """GET, or POST where there is a form; redirects are not followed. `Sec_Fetch_Site` is Sec-Fetch-Site."""
        return self.answer(self.send(path, form, **headers))

    def send(self, path: str, form: dict[str, str] | None = None, **headers: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = None if form is None else urllib.parse.urlencode(form)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        connection.request("GET" if form is None else "POST", path, body, sent)
        return connection

    def answer(self, connection: http.client.HTTPConnection) -> Answer:
        answer = connection.getresponse()
        try:
            return Answer(answer.status, answer.headers, answer.read().decode())
        finally:
            connection.close()

    def start(self, **form: str) -> Answer:
        return self.ask("/swarm", {"user_count": "2", "spawn_rate": "2"} | form)

    def stop(self) -> None:
        assert self.ask("/stop", {}).status == 200

    def runs(self) -> list[dict[str, Any]]:
        """Newest first."""
        return list(self.ask("/swarmscope/runs").json["runs"])


def wait_for(ready: Callable[[], object], limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


def open_ui(locust: Locust, *options: str, **variables: str) -> Ui:
    port = free_port()
    (locust.directory / "own.py").write_text(LOCUSTFILE)
    (locust.directory / "mine.toml").write_text(PROFILE)
    command = locust.command("vote.py", "--web-port", str(port), *options)
    command.remove("--headless")
    command[command.index("-f") + 1] = str(locust.directory / "own.py")
    run = locust.start([command], variables)

    def listens() -> bool:
        assert run.processes[0].poll() is None, run.output
        return any(connection.laddr.port == port for connection in listening(run))

    wait_for(listens)
    return Ui(run, port)


def listening(run: LocustRun) -> list[Any]:
    found = psutil.Process(run.processes[0].pid).net_connections()
    return [connection for connection in found if connection.status == psutil.CONN_LISTEN]


@pytest.fixture(scope="module")
def ui(lasting_locust: Locust) -> Ui:
    return open_ui(lasting_locust, PROFILE="mine.toml", MAX_USERS="10", MAX_COST_USD="1", LIVE_CLOUDWATCH="off")


@pytest.fixture(scope="module")
def three_runs(ui: Ui, lasting_server: CountingServer) -> list[dict[str, Any]]:
    """Manifests of three runs from one form, each of another kind, and what was refused while the second went."""
    manifests = []
    for form in (
        {"scale": "2"},
        {"load_profile": "none", "rate": "20", "flows": "vote"},
        {"load_profile": "none"},  # its statistics are reset meanwhile
    ):
        assert ui.start(**form).json["success"]
        wait_for(lambda: ui.runs()[0]["state"] == "running")
        ui.run.wait_for_rows(10)
        if "rate" in form:
            edited = {
                "users": ui.start(**form, user_count="3").json,
                "host": ui.start(**form, host="http://127.0.0.1:9").json,
                "flows": ui.start(**form | {"flows": "own"}).json,
                "too many": ui.start(**form, user_count="11").json,
                "grouped": ui.start(**form, user_count="1_1").json,
            }
        elif "scale" not in form:
            assert ui.ask("/stats/reset", {}).status == 200
        ui.stop()
        manifests.append(ui.run.manifest)
    return [*manifests, edited]


def test_without_a_word_it_listens_on_the_loopback_only(ui):
    assert [connection.laddr.ip for connection in listening(ui.run)] == ["127.0.0.1"]


def test_the_form_has_our_fields_with_what_locust_was_started_with(ui):
    page = ui.ask("/").body
    arguments = json.loads(page.partition("window.templateArgs = ")[2].partition("\n")[0])
    fields = arguments["extra_options"]
    assert list(fields) == ["load_profile", "flows", "target", "scale", "time_scale", "rate"]
    assert {"none", "demo", "vote-stress", "mine.toml"} <= set(fields["load_profile"]["choices"])
    assert fields["load_profile"]["default_value"] == "mine.toml"
    assert fields["target"]["choices"] == ["sandbox"]
    assert "own, vote" in fields["flows"]["help_text"]


def test_the_page_has_the_tab_and_the_panel(ui):
    page = ui.ask("/").body
    assert '"extended_tabs": [{"title": "Serverless", "key": "serverless"}]' in page
    assert '<script src="./swarmscope/panel.js"></script></body>' in page
    assert ui.ask("/swarmscope/panel.js").headers["Content-Type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"load_profile": "nope"}, "PROFILE: no profile 'nope' in this form"),
        ({"load_profile": "/etc/hostname.toml"}, "PROFILE: no profile '/etc/hostname.toml' in this form"),
        ({"scale": "many"}, "SCALE: 'many' is not a number"),
        ({"scale": "100"}, "MAX_USERS: 200 users asked for, 10 allowed"),
        ({"load_profile": "none", "user_count": "11"}, "MAX_USERS: 11 users asked for, 10 allowed"),
        ({"load_profile": "none", "user_count": "1_1"}, "MAX_USERS: 11 users asked for, 10 allowed"),
        (
            {"load_profile": "none", "rate": "100", "user_count": "10", "run_time": "1h"},
            "MAX_COST_USD: profile adhoc plans up to 3,59",
        ),
        ({"rate": "5"}, "RATE: it is for runs without a profile"),
        ({"load_profile": "none", "flows": "direct"}, "FLOW: no user class for direct"),
        ({"target": "aws"}, "TARGET: this Locust was started for sandbox; for aws start another"),
        ({"host": "https://example.com"}, "ALLOWED_HOSTS: load to example.com is not allowed with TARGET=sandbox"),
        ({"host": "nonsense"}, "API_BASE_URL or -H"),
        ({"load_profile": "none", "user_classes": "Nobody"}, "there is no user class Nobody"),
        ({"runs_dir": "/tmp/elsewhere"}, "the form has no field runs_dir"),
        ({"csv_prefix": "/tmp/elsewhere"}, "the form has no field csv_prefix"),
    ],
)
def test_a_mistake_comes_back_as_a_message_and_starts_nothing(ui, form, message):
    before = len(ui.runs())
    answer = ui.start(**form)
    assert (answer.status, answer.json["success"]) == (200, False)
    assert message in answer.json["message"]
    assert len(ui.runs()) == before


def test_each_run_is_what_its_form_says(three_runs):
    profiles = [manifest["profile"] for manifest in three_runs[:3]]
    assert [(p["name"], p["model"], p["scale"], p["rate_per_user"]) for p in profiles] == [
        ("mine", "closed", 2.0, None),
        ("adhoc", "open", 1.0, 20.0),
        ("adhoc", "closed", 1.0, None),
    ]


def test_a_run_without_flows_has_the_user_classes_with_their_own_weights_again(three_runs):
    flows = [manifest["profile"]["flows"] for manifest in three_runs[:3]]
    assert flows == [{"vote": 1.0}, {"vote": 1.0}, {"vote": 0.75, "own": 0.25}]


def test_statistics_that_were_reset_are_said_to_be_and_those_of_other_runs_are_not(three_runs):
    first, second, third = (manifest["warnings"] for manifest in three_runs[:3])
    assert (first, second) == ([], [])
    assert [warning.partition(":")[0] for warning in third] == ["Locust's statistics were reset while the run went"]


def test_while_a_run_goes_only_its_users_can_be_changed(three_runs):
    answers = three_runs[3]
    assert {name for name, answer in answers.items() if answer["success"]} == {"users"}
    assert answers["host"]["message"].startswith("host: cannot be changed while a run goes")
    assert answers["flows"]["message"].startswith("flows: cannot be changed while a run goes")
    assert (
        answers["too many"]["message"] == answers["grouped"]["message"] == "MAX_USERS: 11 users asked for, 10 allowed"
    )


def test_live_figures_are_in_locusts_own_answer(ui, three_runs):
    wait_for(lambda: ui.ask("/stats/requests").json["extended_stats"][0]["data"])
    [table] = ui.ask("/stats/requests").json["extended_stats"]
    rows = {row["where"]: row for row in table["data"]}
    assert (table["key"], set(rows)) == ("serverless", {"flow own", "flow vote", "all flows"})
    assert rows["all flows"]["requests"] == sum(row["requests"] for row in rows.values()) / 2 >= 10


def test_hosts_of_user_classes_stay(ui, three_runs):
    def change(**values: Any) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", ui.port)
        connection.request("POST", "/user", json.dumps({"user_class_name": "Voter", **values}))
        return connection.getresponse().status

    assert (change(host="http://example.com"), change(flow="own"), change(weight=3)) == (400, 400, 201)
    assert change(host="", weight=3, fixed_count=0) == 201, "as Locust's page sends it"
    assert (change(weight="x"), change(weight=-1), change(fixed_count=[1])) == (400, 400, 400)


@pytest.mark.parametrize(
    "path",
    [
        "{run}/manifest.json",
        "{run}/requests-0.csv",
        "{run}/report.html%00",
        "{run}/..%2f..%2fown.py",
        "{run}/%2e%2e/own.py",
        "latest/report.html",
        "../../own.py",
        "..%2f..%2fown.py/report.html",
        "%00/report.html",
    ],
)
def test_only_known_files_of_known_runs_are_served(ui, three_runs, path):
    run = ui.runs()[0]["id"]
    answer = ui.ask(f"/swarmscope/runs/{path.format(run=run)}")
    assert (answer.status, "run_id" in answer.body) == (404, False)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site", "Origin": "http://example.com"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": "http://example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "rebound.example.com"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({}, 200),
    ],
)
def test_pages_of_other_sites_get_nothing(ui, headers, status):
    assert ui.ask("/swarmscope/runs", **headers).status == status


def test_pages_of_other_sites_start_nothing(ui):
    refused = ui.ask("/swarm", {"user_count": "1"}, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
    assert refused.status == 403


def test_an_analysis_is_started_in_the_page_and_its_report_is_served(ui, three_runs):
    [run, *_] = ui.runs()
    assert (run["analysis"], run["may_start"], run["files"]) == (None, True, [])
    # Both at once: the process of the first has not started when the second is read.
    asked = [ui.send(f"/swarmscope/runs/{run['id']}/analysis", {}) for _ in range(2)]
    assert sorted(ui.answer(connection).status for connection in asked) == [202, 409]
    wait_for(lambda: ui.runs()[0]["analysis"]["state"] == "ended", ANALYSIS_LIMIT_S)
    analysed = ui.runs()[0]
    assert analysed["analysis"]["message"] == "done, no threshold broken"
    assert [file["name"] for file in analysed["files"]] == ["report.html", "summary.md", "summary.json", "junit.xml"]
    report = ui.ask(f"/swarmscope/runs/{run['id']}/report.html")
    assert report.headers["Content-Type"] == "text/html; charset=utf-8"
    assert report.headers["Content-Security-Policy"].startswith("sandbox allow-scripts")
    assert run["id"] in report.body


def test_an_analysis_of_an_unknown_run_is_none(ui):
    assert ui.ask("/swarmscope/runs/nope/analysis", {}).status == 404


# ------------------------------------------------------------------ with a login

PASSWORD = "nine ☃ lives"


@pytest.fixture(scope="module")
def closed_ui(lasting_locust: Locust) -> Ui:
    return open_ui(lasting_locust, "--web-login", WEB_USER="tester", WEB_PASSWORD=PASSWORD)


def log_in(ui: Ui, user: str, password: str) -> Answer:
    return ui.ask("/login/check", {"username": user, "password": password})


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/stats/requests",
        "/stats/report",
        "/logs",
        "/swarmscope/panel.js",
        "/swarmscope/runs",
        "/swarmscope/runs/any/report.html",
    ],
)
def test_everything_asks_for_the_login(closed_ui, path):
    answer = closed_ui.ask(path)
    assert (answer.status, answer.headers["Location"].partition("?")[0]) == (302, "/login")


@pytest.mark.parametrize("path", ["/swarm", "/stop", "/user", "/swarmscope/runs/any/analysis"])
def test_nothing_is_done_without_the_login(closed_ui, path):
    answer = closed_ui.ask(path, {"user_count": "1", "spawn_rate": "1", "load_profile": "nope"})
    assert (answer.status, answer.headers["Location"].partition("?")[0]) == (302, "/login")


def test_the_login_page_asks_for_user_and_password(closed_ui):
    assert '"username_password_callback": "/login/check"' in closed_ui.ask("/login").body


def test_a_wrong_password_logs_nobody_in(closed_ui):
    answer = log_in(closed_ui, "tester", "wrong")
    assert (answer.status, answer.headers["Location"]) == (302, "/login")
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    assert closed_ui.ask("/swarmscope/runs", Cookie=cookie).status == 302
    assert "Wrong user name or password" in closed_ui.ask("/login", Cookie=cookie).body


def test_the_right_password_opens_everything(closed_ui):
    answer = log_in(closed_ui, "tester", PASSWORD)
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    assert "HttpOnly" in answer.headers["Set-Cookie"] and "SameSite=Lax" in answer.headers["Set-Cookie"]
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    assert closed_ui.ask("/", Cookie=cookie).status == 200
    assert closed_ui.ask("/swarmscope/runs", Cookie=cookie).json == {"runs": []}


def test_a_cookie_of_somebody_elses_making_is_none(closed_ui):
    assert closed_ui.ask("/", Cookie=f"session-{closed_ui.port}=eyJfdXNlcl9pZCI6IndlYiJ9.aSBdQA.AAAA").status == 302


def test_the_password_is_not_in_the_log(closed_ui):
    assert "lives" not in closed_ui.run.output


def test_a_login_without_a_password_is_a_mistake(locust):
    command = [*locust.command("vote.py", "--web-login", "--web-port", str(free_port()))]
    command.remove("--headless")
    run = locust.start([command], {"WEB_USER": "tester"})
    assert run.finish() == 2
    assert "WEB_PASSWORD: not set, and --web-login needs it" in run.output
    assert "WEB_USER" not in run.output.partition("Cannot start")[2]


def test_who_listens_for_other_machines_without_a_login_is_warned(locust):
    ui = open_ui(locust, "--web-host", "*")
    assert "The web UI listens on all interfaces without a login" in ui.run.output
    assert ui.ask("/swarmscope/runs", Host="name.example.com").status == 200
