"""How well arrivals at a constant rate keep their times, beside k6's and Locust's own ways to do it.

    python -m benchmarks.arrivals                 # 2,000 a second for ten seconds, each tool in turn, three rounds
    python -m benchmarks.arrivals --repeats 5 --most-rounds 10

One process each, on the same core, `POST /vote` against a server on another that answers at once. When each request
reached it the kernel notes (SO_TIMESTAMPNS), so that the server's own pauses do not count. That is the common measure:
how even the gaps are (standard deviation by mean), and how far behind an even schedule requests come (the schedule is
laid through the earliest of them). Of Swarmscope's own rows: how even the starts are, and how long after it was due
each request started. The first second of each is left out: connections are made then.

On a virtual machine the hypervisor now and then gives the core to others, for milliseconds in which no tool can send.
What it took from the tool's core while requests came is noted with every round (`stolen_ms`: in Linux's words steal,
known in steps of 10 ms). A round in which it took more than `--allowed-ms` says more about the neighbours than about
the tool: it is shown, and the tool is measured again, until it has `--repeats` rounds without or there were
`--most-rounds`; then those in which least was taken count as well, and the output says how many. By nothing else is a
round chosen, and the rule is the same for all tools. Figures are medians of the rounds that count.

- bare: this process, which looks at the clock until a request is due and sends it over a blocking socket: what the
  machine allows
- swarmscope: an open profile, with a row for every request
- k6: the constant-arrival-rate executor, which keeps no rows
- locust: FastHttpUser with constant_throughput(10), as many users as that takes; no rows
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import platform
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean, median, pstdev
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.processes import confine, cores, cpu_model, k6, stolen_s
from benchmarks.web_server import BODY

ROOT = Path(__file__).parents[1]
Figures = dict[str, float]
_ANSWER = (f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}").encode()
_SO_TIMESTAMPNS = 35
"""asm-generic/socket.h; the message has a `struct timespec`."""
_REQUEST = (
    f"POST /vote HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
).encode()
LEFT_OUT_S = 1.0
_PER_LOCUST_USER = 10
_CONNECTIONS = 50
_LOOK_EVERY_S = 0.1
"""At what the hypervisor has taken."""

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


def serve(channel: Connection, core: int, watched: int) -> None:
    """Serve until the channel closes, on `core`.

    Anything that comes over it is answered with the times of the requests since, and with what the hypervisor had taken
    from the core `watched` until some of these times: (time, seconds) each.
    """
    confine({core})
    times: list[float] = []
    stolen: list[tuple[float, float]] = []
    with selectors.DefaultSelector() as selector, socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        channel.send(listener.getsockname()[1])
        selector.register(channel, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is channel:
                    try:
                        channel.recv()
                    except EOFError:
                        return
                    channel.send((times, stolen))
                    times, stolen = [], []
                elif key.fileobj is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ)
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    try:
                        times += _answer(key.fileobj)
                    except ConnectionError:
                        selector.unregister(key.fileobj)
                        key.fileobj.close()
                        continue
                    if times and (not stolen or times[-1] >= stolen[-1][0] + _LOOK_EVERY_S):
                        stolen.append((times[-1], stolen_s([watched])))


def _answer(client: socket.socket) -> list[float]:
    """Answer what came; the time (epoch seconds) if a request began. Raises ConnectionError at the end.

    Requests are small and none comes before the last one's answer; a body may come by itself.
    """
    data, notes, *_ = client.recvmsg(65536, socket.CMSG_SPACE(16))
    if not data:
        raise ConnectionError
    if data.endswith(b"}"):
        client.send(_ANSWER)
    if not data.startswith(b"POST "):
        return []
    if not notes:
        # The kernel begins to take notes a moment after it was asked to.
        return [time.time()]
    [(_, _, note)] = notes
    seconds, nanoseconds = struct.unpack("qq", note)
    return [seconds + nanoseconds * 1e-9]


def evenness(times: Iterable[float], rate: float) -> Figures:
    """Of times at which requests came (seconds): their rate, gaps, and how late they were (milliseconds)."""
    times = sorted(times)
    times = [at for at in times if at >= times[0] + LEFT_OUT_S]
    behind = [at - number / rate for number, at in enumerate(times)]
    late = sorted((at - min(behind)) * 1000 for at in behind)
    return {
        "requests": len(times),
        "per_s": round((len(times) - 1) / (times[-1] - times[0]), 1),
        "gap_cv": gap_cv(times),
        **_percentiles("late", late),
    }


def stolen_ms(looks: Sequence[tuple[float, float]]) -> float:
    """What the hypervisor took while requests came, of what it had taken until some times (seconds, both)."""
    taken = [seconds for at, seconds in looks if at >= looks[0][0] + LEFT_OUT_S]
    return round((taken[-1] - taken[0]) * 1000)


def counting(rounds: Sequence[Figures], number: int, allowed_ms: float) -> list[Figures]:
    """The rounds of a tool that count, `number` of them: the first undisturbed ones, else the least disturbed.

    Nothing but `stolen_ms` has a say.
    """
    return sorted(rounds, key=lambda figures: max(allowed_ms, figures["stolen_ms"]))[:number]


def undisturbed(rounds: Sequence[Figures], allowed_ms: float) -> int:
    """How many rounds are."""
    return sum(not figures["stolen_ms"] > allowed_ms for figures in rounds)


def gap_cv(times: Sequence[float]) -> float:
    """The gaps' standard deviation by their mean: 0 where times are even, 1 in a Poisson process."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return round(pstdev(gaps) / mean(gaps), 3)


def starts(rows: Path) -> Figures:
    """Of a run's rows: how even the starts are, and milliseconds from when requests were due to when they started."""
    with rows.open() as file:
        sent = [row for row in csv.DictReader(file) if row["started_at"]]
    if failed := [row["error"] for row in sent if row["error"]]:
        raise click.ClickException(f"{len(failed)} requests failed: {failed[0]}")
    times = sorted((float(row["scheduled_at"]), float(row["started_at"])) for row in sent)
    times = [(due, started) for due, started in times if due >= times[0][0] + LEFT_OUT_S]
    lag = sorted((started - due) * 1000 for due, started in times)
    return {"start_gap_cv": gap_cv(sorted(started for _, started in times)), **_percentiles("lag", lag)}


def _percentiles(name: str, ordered_ms: Sequence[float]) -> Figures:
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


def send_evenly(port: int, rate: float, seconds: float) -> None:
    """Each request when it is due, over connections in turn: the answer to the last one has come long since. Returns
    when all are answered."""
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(_CONNECTIONS)]
        begun = time.perf_counter()
        requests = round(rate * seconds)
        for number in range(requests):
            connection = connections[number % _CONNECTIONS]
            if number >= _CONNECTIONS:
                connection.recv(65536)
            while time.perf_counter() < begun + number / rate:
                pass
            connection.sendall(_REQUEST)
        for connection in connections[:requests]:
            connection.recv(65536)


def measure(
    rate: int, seconds: int, repeats: int, most_rounds: int, allowed_ms: float, folder: Path
) -> dict[str, list[Figures]]:
    """Tool -> its figures, round by round, those of disturbed rounds among them."""
    channel, theirs = multiprocessing.Pipe()
    ours = cores()[-1]
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, cores()[0], ours), daemon=True)
    server.start()
    theirs.close()
    port = channel.recv()
    url = f"http://127.0.0.1:{port}"
    confine({ours})
    texts = {"rate": rate, "seconds": seconds, "url": url, "per_user": _PER_LOCUST_USER}
    locust = [sys.executable, "-m", "locust", "--headless", "--only-summary", "-H", url]

    def bare() -> Figures:
        send_evenly(port, rate, seconds)
        return {}

    def swarmscope() -> Figures:
        profile = folder / "arrivals.toml"
        profile.write_text(_PROFILE % texts)
        file = str(ROOT / "locustfiles" / "vote.py")
        runs = folder / "runs"
        run_tool([*locust, "-f", file, "--load-profile", str(profile)], folder, {"RUNS_DIR": str(runs)})
        return starts(runs / "latest" / "requests-0.csv")

    def k6_arrivals() -> Figures:
        script = folder / "arrivals.js"
        script.write_text(_K6_SCRIPT % texts)
        run_tool([k6(), "run", "--quiet", str(script)], folder, {"GOMAXPROCS": "1", "K6_NO_USAGE_REPORT": "true"})
        return {}

    def plain_locust() -> Figures:
        file = folder / "throughput.py"
        file.write_text(_LOCUSTFILE % texts)
        users = str(rate // _PER_LOCUST_USER)
        run_tool([*locust, "-f", str(file), "-u", users, "-r", users, "-t", f"{seconds}s"], folder, {})
        return {}

    tools: dict[str, Callable[[], Figures]] = {
        "bare": bare,
        "swarmscope": swarmscope,
        "k6": k6_arrivals,
        "locust": plain_locust,
    }
    figures: dict[str, list[Figures]] = {tool: [] for tool in tools}
    for number in range(1, most_rounds + 1):
        for tool, run in tools.items():
            if undisturbed(figures[tool], allowed_ms) == repeats:
                continue
            own = run()
            channel.send("times")
            times, looks = channel.recv()
            of_round = {**evenness(times, rate), "stolen_ms": stolen_ms(looks), **own}
            figures[tool].append(of_round)
            disturbed = " (disturbed)" if of_round["stolen_ms"] > allowed_ms else ""
            click.echo(
                f"{number} {tool}: gap CV {of_round['gap_cv']}, {of_round['stolen_ms']} ms stolen{disturbed}", err=True
            )
    channel.close()
    server.join(5)
    return figures


def medians(rounds: Sequence[Figures]) -> Figures:
    return {name: median(figures[name] for figures in rounds) for name in rounds[0]}


@click.command()
@click.option("--rate", default=2000, show_default=True, help="Arrivals a second.")
@click.option("--seconds", default=10, show_default=True, help="How long each tool sends.")
@click.option("--repeats", default=3, show_default=True, help="Rounds that count; medians are taken over them.")
@click.option("--most-rounds", type=int, help="Rounds at most, with disturbed ones; default: twice the repeats.")
@click.option("--allowed-ms", default=10.0, show_default=True, help="A round is disturbed where more was stolen.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(
    rate: int, seconds: int, repeats: int, most_rounds: int | None, allowed_ms: float, output: Path | None
) -> None:
    """How well arrivals at a constant rate keep their times."""
    if sys.platform != "linux":
        raise click.ClickException("the times are noted by the Linux kernel")
    machine: dict[str, Any] = {"cpu": cpu_model(), "cores": len(cores()), "system": platform.platform()}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        rounds = measure(rate, seconds, repeats, most_rounds or 2 * repeats, allowed_ms, Path(folder))
    counted = {tool: counting(of_tool, repeats, allowed_ms) for tool, of_tool in rounds.items()}
    tools = {
        tool: {
            **medians(counted[tool]),
            "counted": len(counted[tool]),
            "disturbed": len(counted[tool]) - undisturbed(counted[tool], allowed_ms),
            "rounds": [{**of_round, "counts": of_round in counted[tool]} for of_round in of_tool],
        }
        for tool, of_tool in rounds.items()
    }
    figures = {
        "benchmark": "arrivals",
        "machine": machine,
        "rate": rate,
        "seconds": seconds,
        "allowed_ms": allowed_ms,
        "tools": tools,
    }
    columns = [*medians(counted["swarmscope"]), "counted", "disturbed"]
    table = Table(title=f"{rate:,} arrivals a second from one process", caption=machine["cpu"])
    for column in ("", *tools):
        table.add_column(column, justify="right" if column else "left")
    for column in columns:
        table.add_row(column, *(str(of_tool.get(column, "")) for of_tool in tools.values()))
    Console(stderr=True).print(table)
    text = json.dumps(figures, indent=2)
    if output is not None:
        output.write_text(text + "\n")
    click.echo(text)


if __name__ == "__main__":
    main()
