"""How many requests a second one core generates: Swarmscope beside what people would use instead.

    python -m benchmarks.generator                                      # everything: about 12 minutes
    python -m benchmarks.generator --only plain --seconds 3 --repeats 1

An nginx of its own, confined to one core, answers 200 with a small JSON body. Each tool gets another core to itself, 50
users without think time, and a body that is built for each request. Swarmscope records every request, the others
nothing; all look at the status of the answer, and the direct flow at its body too. nginx counts what was asked of it,
so that all tools are measured by the same means, from outside: requests in the seconds after a start-up, medians of
several rounds, in each of which every tool has its turn.

    plain, tls   POST /vote: Swarmscope, k6, Locust's FastHttpUser, and as the ceiling a bare gevent socket that looks
                 at nothing
    direct       Invoke, signed with Signature Version 4: Swarmscope, k6 signing in its script, boto3 in a Locust user
    idle         memory of 10,000 users in one process that wait with their connections open: Swarmscope, k6,
                 FastHttpUser

The table goes to standard error, the figures as JSON to standard output. CPU is that of the tool's process alone, and
holds even where a noisy machine makes rates useless.

Swarmscope's rows are counted too, and must be as many as nginx's requests, or there are no figures.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.processes import confine, cores, cpu_model, cpu_s, k6, memory_mb
from benchmarks.web_server import WebServer

REPOSITORY = Path(__file__).parents[1]
OPPONENTS = Path(__file__).parent / "opponents"

OURS, K6, FAST_HTTP_USER, BARE_SOCKET, BOTO3 = "swarmscope", "k6", "FastHttpUser", "bare socket", "boto3"
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
_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Sample:
    """One tool's turn."""

    requests_per_s: float
    cpu_us_per_request: float
    """Of the tool's process, user and system."""


@dataclass(frozen=True)
class Command:
    """A tool to start, and what it needs in its environment."""

    arguments: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)


class Bench:
    """The target, and the tools that are started against it one after another."""

    def __init__(self, folder: Path, users: int, seconds: float) -> None:
        available = cores()
        if len(available) < 2:
            raise click.ClickException("this benchmark needs two cores: one for nginx, one for the tool")
        self._folder = folder
        self._users = users
        self._seconds = seconds
        self._core = available[1]
        self.server = WebServer(folder, available[0])

    def sample(self, scenario: str, tool: str) -> Sample:
        """One turn of a tool. Raises ClickException where it does not send, or its records do not agree."""
        runs = Path(tempfile.mkdtemp(dir=self._folder))
        before = self.server.requests()
        process = self._start(self._command(scenario, tool, runs), runs)
        asked = 0
        try:

            def requests() -> int:
                nonlocal asked
                asked += 1
                return self.server.requests()

            self._wait(lambda: requests() - before > self._users + asked, process, runs)
            time.sleep(_START_UP_S)
            first, first_at, first_cpu_s = requests(), time.perf_counter(), cpu_s(process.pid)
            time.sleep(self._seconds)
            last, took_s, took_cpu_s = requests(), time.perf_counter() - first_at, cpu_s(process.pid) - first_cpu_s
        finally:
            process.send_signal(signal.SIGINT if tool in (OURS, K6) else signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        if tool == OURS:
            answered = requests() - before - asked
            check_rows(runs, answered)
        count = last - first - 1
        return Sample(round(count / took_s, 1), round(took_cpu_s / count * 1e6, 1))

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
                said = (runs / "output.txt").read_text(errors="replace")[-2000:]
                raise click.ClickException(f"no requests, or connections that stay open:\n{said}")
            time.sleep(0.1)

    def _command(self, scenario: str, tool: str, runs: Path) -> Command:
        server, users = self.server, self._users
        base = server.tls_url if scenario == "tls" else server.url
        if tool == OURS:
            if scenario == "direct":
                return locust(REPOSITORY / "locustfiles" / "direct.py", base, users, runs)
            command = locust(OPPONENTS / "vote_user.py", base, users, runs)
            # The others do not look at the certificate.
            return Command(command.arguments, {**command.variables, "SSL_CERT_FILE": str(server.certificate)})
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
    given = {"URL": url, "USERS": str(users), "DURATION": "600s"}
    options = [part for name, value in given.items() for part in ("-e", f"{name}={value}")]
    variables = {"GOMAXPROCS": "1", "K6_NO_USAGE_REPORT": "true"}
    return Command([k6(), "run", "--quiet", *options, str(script)], variables)


def check_rows(runs: Path, answered: int) -> None:
    """Raises ClickException where the request rows are not as many as the server's answers, or one failed."""
    [file] = (runs / "runs" / "latest").glob("requests-*.csv")
    rows = file.read_bytes().splitlines()[1:]
    succeeded = sum(b",200,1,," in row for row in rows)
    if not len(rows) == succeeded == answered:
        raise click.ClickException(f"{len(rows)} rows, {succeeded} of them succeeded, for {answered} answers of nginx")


def compare(samples: Mapping[str, Mapping[str, list[Sample]]]) -> dict[str, Any]:
    """Scenario -> tool -> its samples, medians, and how many times its rate Swarmscope's is: as measured, and by the
    CPU time that each spends on a request, which a noisy machine disturbs less.
    """
    results: dict[str, Any] = {}
    for scenario, by_tool in samples.items():
        rates, costs_us = (
            {tool: statistics.median(getattr(sample, figure) for sample in turns) for tool, turns in by_tool.items()}
            for figure in ("requests_per_s", "cpu_us_per_request")
        )
        results[scenario] = {
            tool: {
                "requests_per_s": rates[tool],
                "cpu_us_per_request": costs_us[tool],
                "samples": [sample.requests_per_s for sample in turns],
                "swarmscope_times": round(rates[OURS] / rates[tool], 2) if OURS in rates else None,
                "swarmscope_times_by_cpu": round(costs_us[tool] / costs_us[OURS], 2) if OURS in rates else None,
            }
            for tool, turns in by_tool.items()
        }
    return results


def print_table(figures: Mapping[str, Any]) -> None:
    console = Console(stderr=True)
    table = Table(title="one core: requests a second, median of all rounds", caption=figures["machine"]["cpu"])
    for column in ("", "tool", "median", "slowest", "fastest", "CPU µs", "ours is", "by CPU"):
        table.add_column(column, justify="left" if column in ("", "tool") else "right")
    for scenario, by_tool in figures["results"].items():
        for tool, result in by_tool.items():
            times = (result["swarmscope_times"], result["swarmscope_times_by_cpu"])
            table.add_row(
                scenario,
                tool,
                f"{result['requests_per_s']:,.0f}",
                f"{min(result['samples']):,.0f}",
                f"{max(result['samples']):,.0f}",
                f"{result['cpu_us_per_request']:.1f}",
                *("" if tool == OURS or ratio is None else f"{ratio:.2f} x" for ratio in times),
            )
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
@click.option("--seconds", default=6.0, show_default=True, help="How long each tool's requests are counted.")
@click.option("--repeats", default=5, show_default=True, help="Rounds; medians are taken over them.")
@click.option("--users", default=50, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(
    only: Sequence[str], tools: Sequence[str], seconds: float, repeats: int, users: int, output: Path | None
) -> None:
    """Requests a second from one core: Swarmscope, k6, Locust's own users, boto3."""
    chosen = {
        scenario: [tool for tool in known if not tools or tool in tools]
        for scenario, known in SCENARIOS.items()
        if not only or scenario in only
    }
    samples: dict[str, dict[str, list[Sample]]] = {
        scenario: {tool: [] for tool in known} for scenario, known in chosen.items()
    }
    figures: dict[str, Any] = {
        "benchmark": "generator",
        "machine": {"cpu": cpu_model(), "cores": len(cores()), "system": platform.platform()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("locust", "gevent")}},
        "users": users,
        "seconds": seconds,
        "repeats": repeats,
    }
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        bench = Bench(Path(folder), users, seconds)
        try:
            for number in range(1, repeats + 1):
                for scenario, by_tool in samples.items():
                    for tool, turns in by_tool.items():
                        turns.append(bench.sample(scenario, tool))
                        click.echo(f"{number}/{repeats} {scenario} {tool}: {turns[-1].requests_per_s:,.0f}/s", err=True)
            figures["results"] = compare(samples)
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
