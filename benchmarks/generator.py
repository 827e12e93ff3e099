"""How many requests a second one core generates: Swarmscope beside what people would use instead.

    python -m benchmarks.generator                                      # everything: about 12 minutes
    python -m benchmarks.generator --only plain --seconds 3 --repeats 1
    python -m benchmarks.generator --only plain --tool swarmscope --beside ../older-checkout

An nginx of its own, confined to one core, answers 200 with a small JSON body. Each tool gets another core to itself, 50
users without think time, and a body that is built for each request. Swarmscope records every request, the others
nothing; all look at the status of the answer, and the direct flow at its body too. nginx counts what was asked of it,
so that all tools are measured by the same means, from outside.

In each round all tools of a scenario are started and warmed up, one after another, and then have the core in turns of a
quarter of a second, in an order that is drawn anew each time, while the others stand still (`benchmarks.turns`): so a
machine that is slow for a while is slow for all of them. What a tool did in its turns of a round is added up. Rates and
CPU are medians of the rounds; how many times a tool's rate ours is, is the median of what it was in each round. Times
of answers mean nothing here, for they contain the pauses.

    plain, tls   POST /vote: Swarmscope, k6, Locust's FastHttpUser, and as the ceiling a bare gevent socket that looks
                 at nothing
    direct       Invoke, signed with Signature Version 4: Swarmscope, k6 signing in its script, boto3 in a Locust user
    idle         memory of 10,000 users in one process that wait with their connections open: Swarmscope, k6,
                 FastHttpUser

The table goes to standard error, the figures as JSON to standard output. CPU is that of the tool's process alone, and
holds even where a noisy machine makes rates useless. Beside it stands what the hypervisor took from the tool's core in
its turns, where the system tells. `--beside` sets two versions of Swarmscope against one another.

Swarmscope's rows are counted too, and must be as many as nginx's requests, or there are no figures.
"""

from __future__ import annotations

import json
import math
import os
import platform
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.processes import confine, cores, cpu_model, k6, memory_mb
from benchmarks.turns import Turn, TurnTaker
from benchmarks.web_server import WebServer

REPOSITORY = Path(__file__).parents[1]
OPPONENTS = Path(__file__).parent / "opponents"

OURS, BESIDE = "swarmscope", "other checkout"
K6, FAST_HTTP_USER, BARE_SOCKET, BOTO3 = "k6", "FastHttpUser", "bare socket", "boto3"
SCENARIOS: Mapping[str, Sequence[str]] = {
    "plain": (OURS, K6, FAST_HTTP_USER, BARE_SOCKET),
    "tls": (OURS, K6, FAST_HTTP_USER, BARE_SOCKET),
    "direct": (OURS, K6, BOTO3),
}
IDLE = "idle"
IDLE_USERS = 10_000
IDLE_TOOLS: Mapping[str, str] = {OURS: "idle_user.py", K6: "idle.js", FAST_HTTP_USER: "idle_fast_http_user.py"}
_START_UP_S = 1.5
"""From the first requests to the count: users, connections, caches."""
_TURN_S = 0.25
"""Short beside the spells of a noisy machine; long enough for the slowest, boto3, to send 200 requests."""
_SEED = 1
_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Command:
    """A tool to start, and what it needs in its environment."""

    arguments: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)


class Bench:
    """The target, and the tools that are started against it."""

    def __init__(self, folder: Path, users: int, seconds: float, beside: Path | None = None) -> None:
        """`seconds`: what each tool gets in a round. `beside`: a second checkout of Swarmscope."""
        available = cores()
        if len(available) < 2:
            raise click.ClickException("this benchmark needs two cores: one for nginx, one for the tool")
        self._folder = folder
        self._users = users
        self._turns = math.ceil(seconds / _TURN_S)
        self._turn_s = seconds / self._turns
        self._checkouts = {OURS: REPOSITORY} | ({} if beside is None else {BESIDE: beside})
        self._order = random.Random(_SEED)
        nginx_core, self._core = available[:2]
        # This process has little to do, and not where the tools are.
        confine({nginx_core})
        self.server = WebServer(folder, nginx_core)

    def round(self, scenario: str, tools: Sequence[str]) -> dict[str, Turn]:
        """Tool -> all that it did in its turns. Raises ClickException where one does not send, or its records do not
        agree.
        """
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        done = dict.fromkeys(tools, Turn())
        with ExitStack() as stack:
            started = {tool: self._warm_up(stack, scenario, tool, folder / tool) for tool in tools}
            for _ in range(self._turns):
                for tool in self._order.sample(tools, len(tools)):
                    try:
                        done[tool] += started[tool].turn(self._turn_s)
                    except ChildProcessError:
                        said = _last_words(folder / tool)
                        raise click.ClickException(f"{tool} has ended by itself:\n{said}") from None
            for tool in self._checkouts.keys() & started.keys():
                started[tool].end(signal.SIGINT)
                check_rows(folder / tool, started[tool].requests)
        return done

    def _warm_up(self, stack: ExitStack, scenario: str, tool: str, runs: Path) -> TurnTaker:
        """Start a tool, let it send for a while and stop it; the stack ends it."""
        runs.mkdir()
        process = self._start(self._command(scenario, tool, runs), runs)
        stack.callback(process.wait, 10)
        stack.callback(process.kill)
        before = self.server.requests()
        turn_taker = TurnTaker(process, self._core, self.server.requests)
        self._wait(lambda: self.server.requests() - before > self._users, process, runs)
        time.sleep(_START_UP_S)
        turn_taker.stop()
        return turn_taker

    def idle_memory_mb(self, tool: str) -> dict[str, float]:
        """Memory of a process with `IDLE_USERS` waiting users, and of one with a single user."""
        figures = {}
        for users in (1, IDLE_USERS):
            if users > self.server.connections:
                raise click.ClickException(
                    f"no more than {self.server.connections} files may be open: {users} users do not fit (ulimit -n)"
                )
            runs = Path(tempfile.mkdtemp(dir=self._folder))
            before = self.server.open_connections()
            script, url = OPPONENTS / IDLE_TOOLS[tool], self.server.url
            command = k6_command(script, url, users) if tool == K6 else locust(script, url, users, runs)
            process = self._start(command, runs)
            try:
                self._wait(lambda: self.server.open_connections() - before >= users, process, runs)  # noqa: B023
                time.sleep(_START_UP_S)
                figures[f"{users}_users_mb"] = round(memory_mb(process.pid), 1)
            finally:
                process.kill()
                process.wait(10)
            # The connections of a process that was killed are still being closed.
            self._wait(lambda: self.server.open_connections() <= before, None, runs)  # noqa: B023
        per_user = (figures[f"{IDLE_USERS}_users_mb"] - figures["1_users_mb"]) / (IDLE_USERS - 1)
        return figures | {"per_user_kb": round(per_user * 1024, 1)}

    def _start(self, command: Command, runs: Path) -> subprocess.Popen[bytes]:
        def prepare() -> None:
            confine({self._core})
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        with (runs / "output.txt").open("wb") as output:
            return subprocess.Popen(
                command.arguments,
                cwd=runs,
                env={"PATH": os.environ["PATH"], "HOME": str(runs), "PYTHONPATH": str(REPOSITORY), **command.variables},
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=prepare,
            )

    def _wait(self, condition: Callable[[], bool], process: subprocess.Popen[bytes] | None, runs: Path) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not condition():
            if (process is not None and process.poll() is not None) or time.monotonic() > deadline:
                raise click.ClickException(f"no requests, or connections that stay open:\n{_last_words(runs)}")
            time.sleep(0.1)

    def _command(self, scenario: str, tool: str, runs: Path) -> Command:
        server, users = self.server, self._users
        base = server.tls_url if scenario == "tls" else server.url
        if tool in self._checkouts:
            checkout = self._checkouts[tool]
            locustfile = "locustfiles/direct.py" if scenario == "direct" else "benchmarks/opponents/vote_user.py"
            command = locust(checkout / locustfile, base, users, runs)
            # The others do not look at the certificate.
            own = {"SSL_CERT_FILE": str(server.certificate), "PYTHONPATH": str(checkout)}
            return Command(command.arguments, {**command.variables, **own})
        if tool == K6:
            return k6_command(OPPONENTS / ("invoke.js" if scenario == "direct" else "vote.js"), base, users)
        if tool == BARE_SOCKET:
            return Command([sys.executable, str(OPPONENTS / "bare_socket.py"), base, str(users)])
        script = OPPONENTS / ("boto3_user.py" if tool == BOTO3 else "fast_http_user.py")
        command = locust(script, base, users, runs)
        return Command(command.arguments, {**command.variables, "ENDPOINT": base})


def locust(locustfile: Path, url: str, users: int, runs: Path) -> Command:
    """Locust, headless, until it is stopped."""
    return Command(
        [
            *(sys.executable, "-m", "locust", "-f", str(locustfile), "-H", url, "--headless"),
            *("-u", str(users), "-r", str(max(users, 100)), "--only-summary"),
        ],
        {
            "RUNS_DIR": str(runs / "runs"),
            "TARGET": "sandbox",
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "eu-west-1",
            "VOTE_FUNCTION": "place-vote",
        },
    )


def k6_command(script: Path, url: str, users: int) -> Command:
    """k6, on one core, until it is stopped."""
    given = {"URL": url, "USERS": str(users), "DURATION": "3600s"}
    options = [part for name, value in given.items() for part in ("-e", f"{name}={value}")]
    variables = {"GOMAXPROCS": "1", "K6_NO_USAGE_REPORT": "true"}
    return Command([k6(), "run", "--quiet", *options, str(script)], variables)


def _last_words(runs: Path) -> str:
    return (runs / "output.txt").read_text(errors="replace")[-2000:]


def check_rows(runs: Path, answered: int) -> None:
    """Raises ClickException where the request rows are not as many as the server's answers, or one failed."""
    [file] = (runs / "runs" / "latest").glob("requests-*.csv")
    rows = file.read_bytes().splitlines()[1:]
    succeeded = sum(b",200,1,," in row for row in rows)
    if not len(rows) == succeeded == answered:
        raise click.ClickException(f"{len(rows)} rows, {succeeded} of them succeeded, for {answered} answers of nginx")


def compare(rounds: Mapping[str, Sequence[Mapping[str, Turn]]]) -> dict[str, Any]:
    """Scenario -> tool -> its rates and their median; how many times its rate Swarmscope's was, round by round and
    their median; the same by the CPU time that each spends on a request, which a noisy machine disturbs less.
    """
    results: dict[str, Any] = {}
    for scenario, of_scenario in rounds.items():
        results[scenario] = {}
        for tool in of_scenario[0]:
            turns = [of_round[tool] for of_round in of_scenario]
            ours = [of_round[OURS] for of_round in of_scenario if OURS in of_round]
            rates = [turn.requests_per_s for turn in turns]
            times = [own.requests_per_s / turn.requests_per_s for own, turn in zip(ours, turns, strict=False)]
            by_cpu = [turn.cpu_us_per_request / own.cpu_us_per_request for own, turn in zip(ours, turns, strict=False)]
            stolen = sum(turn.stolen_s for turn in turns) / sum(turn.took_s for turn in turns)
            results[scenario][tool] = {
                "requests_per_s": round(statistics.median(rates), 1),
                "cpu_us_per_request": round(statistics.median(turn.cpu_us_per_request for turn in turns), 1),
                "samples": [round(rate, 1) for rate in rates],
                "stolen_share": None if math.isnan(stolen) else round(stolen, 4),
                "swarmscope_times": round(statistics.median(times), 2) if ours else None,
                "swarmscope_times_by_cpu": round(statistics.median(by_cpu), 2) if ours else None,
                "swarmscope_times_samples": [round(ratio, 2) for ratio in times],
            }
    return results


def print_table(figures: Mapping[str, Any]) -> None:
    console = Console(stderr=True)
    title = "one core: requests a second, median of all rounds"
    table = Table(title=title, caption=figures["machine"]["cpu"], box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("", "tool", "median", "CPU µs", "stolen", "ours is", "in rounds", "by CPU"):
        table.add_column(column, justify="left" if column in ("", "tool") else "right", no_wrap=True)
    for scenario, by_tool in figures["results"].items():
        for tool, result in by_tool.items():
            stolen, ratios = result["stolen_share"], result["swarmscope_times_samples"]
            cells = [
                scenario,
                tool,
                f"{result['requests_per_s']:,.0f}",
                f"{result['cpu_us_per_request']:.1f}",
                "" if stolen is None else f"{stolen:.1%}",
            ]
            if ratios and tool != OURS:
                cells += [
                    f"{result['swarmscope_times']:.2f} x",
                    f"{min(ratios):.2f}-{max(ratios):.2f}",
                    f"{result['swarmscope_times_by_cpu']:.2f} x",
                ]
            table.add_row(*cells)
        table.add_section()
    console.print(table)
    for tool, memory in figures.get(IDLE, {}).items():
        console.print(
            f"idle: {IDLE_USERS:,} users of {tool} with open connections: {memory[f'{IDLE_USERS}_users_mb']:,.0f} MB, "
            f"{memory['per_user_kb']:.1f} KB each"
        )


@click.command()
@click.option(
    "--only", multiple=True, type=click.Choice([*SCENARIOS, IDLE]), help="Scenarios; may be repeated.  [default: all]"
)
@click.option("--tool", "tools", multiple=True, help="Tools; may be repeated.  [default: all]")
@click.option(
    "--seconds",
    default=6.0,
    show_default=True,
    type=click.FloatRange(min=_TURN_S),
    help="What each tool gets in a round, in turns.",
)
@click.option("--repeats", default=5, show_default=True, help="Rounds; medians are taken over them.")
@click.option("--users", default=50, show_default=True)
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="Another checkout of Swarmscope, which takes its turns with this one.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(
    only: Sequence[str],
    tools: Sequence[str],
    seconds: float,
    repeats: int,
    users: int,
    beside: Path | None,
    output: Path | None,
) -> None:
    """Requests a second from one core: Swarmscope, k6, Locust's own users, boto3."""
    chosen = {
        scenario: [tool for tool in known if not tools or tool in tools] + ([BESIDE] if beside else [])
        for scenario, known in SCENARIOS.items()
        if not only or scenario in only
    }
    rounds: dict[str, list[dict[str, Turn]]] = {scenario: [] for scenario, of_scenario in chosen.items() if of_scenario}
    figures: dict[str, Any] = {
        "benchmark": "generator",
        "machine": {"cpu": cpu_model(), "cores": len(cores()), "system": platform.platform()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("locust", "gevent")}},
        "users": users,
        "seconds": seconds,
        "repeats": repeats,
    }
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        bench = Bench(Path(folder), users, seconds, beside)
        try:
            for number in range(1, repeats + 1):
                for scenario, of_scenario in rounds.items():
                    of_scenario.append(bench.round(scenario, chosen[scenario]))
                    said = ", ".join(f"{tool} {turn.requests_per_s:,.0f}/s" for tool, turn in of_scenario[-1].items())
                    click.echo(f"{number}/{repeats} {scenario}: {said}", err=True)
            figures["results"] = compare(rounds)
            if not only or IDLE in only:
                chosen_idle = [tool for tool in IDLE_TOOLS if not tools or tool in tools]
                figures[IDLE] = {tool: bench.idle_memory_mb(tool) for tool in chosen_idle}
        finally:
            bench.server.stop()
    text = json.dumps(figures, indent=2)
    if output is not None:
        output.write_text(text + "\n")
    print_table(figures)
    click.echo(text)


if __name__ == "__main__":
    main()
