"""What it costs a worker to ship its rows to a master.

    python -m benchmarks.shipping                        # three rounds of 4 s each: under a minute

Swarmscope sends the same vote POSTs to an nginx of its own in two ways, in turns: as a lone process, which writes its
rows into a file, and as one worker of a master, which writes them into its spool, compresses and ships them, and keeps
them until they are acknowledged. The lone process and the worker get a core to themselves; nginx and the master share
another.

    lone, worker   requests a second, counted by nginx; CPU time of the process for each
    master         CPU time for each row that it takes, all else it does included

The table goes to standard error, the figures as JSON to standard output. The share by CPU time holds even where a noisy
machine makes rates useless. Rows are counted, and must be as many as nginx's requests, or there are no figures.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.generator import REPOSITORY, Command, check_rows, locust
from benchmarks.processes import confine, cores, cpu_model, cpu_s
from benchmarks.web_server import WebServer, free_ports

LOCUSTFILE = REPOSITORY / "locustfiles" / "vote.py"
_START_UP_S = 1.0
_DEADLINE_S = 30.0


@dataclass(frozen=True)
class Turn:
    """A lone process, or a worker with its master."""

    requests_per_s: float
    cpu_us_per_request: float
    """Of the process that sends."""
    master_cpu_us_per_row: float | None = None


class Bench:
    """nginx, and what is started against it."""

    def __init__(self, folder: Path, users: int, seconds: float) -> None:
        available = cores()
        if len(available) < 2:
            raise click.ClickException(
                "this benchmark needs two cores: one for the sender, one for nginx and the master"
            )
        self._folder = folder
        self._users = users
        self._seconds = seconds
        self._others_core, self._core = available[:2]
        self.server = WebServer(folder, self._others_core)

    def lone(self) -> Turn:
        return self._turn([])

    def shipped(self) -> Turn:
        [port] = free_ports(1)
        where = ["--master-bind-host", "127.0.0.1", "--master-bind-port", str(port), "--expect-workers", "1"]
        worker = ["-f", str(LOCUSTFILE), "--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
        return self._turn(["--master", *where], worker)

    def _turn(self, role: Sequence[str], worker: Sequence[str] | None = None) -> Turn:
        """Raises ClickException where nothing is sent, or the records do not agree."""
        runs = Path(tempfile.mkdtemp(dir=self._folder))
        before = self.server.requests()
        with ExitStack() as stack:
            command = locust(LOCUSTFILE, self.server.url, self._users, runs)
            main = self._start(stack, Command([*command.arguments, *role], command.variables), worker is not None, runs)
            sender = main
            if worker is not None:
                program = list(command.arguments[: list(command.arguments).index("-f")])
                sender = self._start(stack, Command([*program, *worker], command.variables), False, runs)
            self._wait(lambda: self.server.requests() - before > self._users, [main, sender], runs)
            time.sleep(_START_UP_S)
            first, at = self.server.requests(), time.perf_counter()
            used_s = [cpu_s(process.pid) for process in (sender, main)]
            time.sleep(self._seconds)
            count, took_s = self.server.requests() - first, time.perf_counter() - at
            sender_s, main_s = (cpu_s(process.pid) - s for process, s in zip((sender, main), used_s, strict=True))
            main.send_signal(signal.SIGINT)
            main.wait(20)
        check_rows(runs, self.server.requests() - before)
        return Turn(
            round(count / took_s, 1),
            round(sender_s / count * 1e6, 2),
            round(main_s / count * 1e6, 2) if worker is not None else None,
        )

    def _start(self, stack: ExitStack, command: Command, beside_nginx: bool, runs: Path) -> subprocess.Popen[bytes]:
        """Start a process that the stack ends. Only the sender has a core of its own."""
        with (runs / "output.txt").open("ab") as output:
            process = subprocess.Popen(
                command.arguments,
                cwd=runs,
                env={"PATH": os.environ["PATH"], "HOME": str(runs), "PYTHONPATH": str(REPOSITORY), **command.variables},
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=partial(confine, {self._others_core if beside_nginx else self._core}),
            )
        stack.callback(_end, process)
        return process

    def _wait(self, condition: Callable[[], bool], running: Sequence[subprocess.Popen[bytes]], runs: Path) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not condition():
            if any(process.poll() is not None for process in running) or time.monotonic() > deadline:
                said = (runs / "output.txt").read_text(errors="replace")[-2000:]
                raise click.ClickException(f"nothing is sent:\n{said}")
            time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """A worker leaves with its master; what does not leave is ended."""
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def compare(lone: Sequence[Turn], shipped: Sequence[Turn]) -> dict[str, Any]:
    """Medians, and what shipping costs as a share of the lone process's throughput: as measured, and by CPU time."""

    def median(turns: Sequence[Turn], figure: str) -> float:
        return statistics.median(getattr(turn, figure) for turn in turns)

    def cost(figure: str) -> tuple[float, float]:
        return median(lone, figure), median(shipped, figure)

    lone_rate, shipped_rate = cost("requests_per_s")
    lone_us, shipped_us = cost("cpu_us_per_request")
    return {
        "lone_requests_per_s": lone_rate,
        "worker_requests_per_s": shipped_rate,
        "lone_cpu_us_per_request": lone_us,
        "worker_cpu_us_per_request": shipped_us,
        "cost_share": round(1 - shipped_rate / lone_rate, 4),
        "cost_share_by_cpu": round(1 - lone_us / shipped_us, 4),
        "master_cpu_us_per_row": median(shipped, "master_cpu_us_per_row"),
        "turns": {"lone": [asdict(turn) for turn in lone], "shipped": [asdict(turn) for turn in shipped]},
    }


def print_table(results: dict[str, Any]) -> None:
    table = Table("", "requests/s", "CPU µs", title="one core, vote POSTs with a row each, medians")
    for name, title in (("lone", "lone process"), ("worker", "worker that ships its rows")):
        rate, used_us = results[f"{name}_requests_per_s"], results[f"{name}_cpu_us_per_request"]
        table.add_row(title, f"{rate:,.0f}", f"{used_us:.1f}")
    table.add_row("shipping costs", f"{results['cost_share']:.1%}", f"{results['cost_share_by_cpu']:.1%}")
    table.add_row("master, for each row", "", f"{results['master_cpu_us_per_row']:.1f}")
    Console(stderr=True).print(table)


@click.command()
@click.option("--seconds", default=4.0, show_default=True, help="How long requests are counted in each turn.")
@click.option("--repeats", default=3, show_default=True, help="Rounds; medians are taken over them.")
@click.option("--users", default=50, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(seconds: float, repeats: int, users: int, output: Path | None) -> None:
    """What shipping rows to a master costs a worker's throughput."""
    lone: list[Turn] = []
    shipped: list[Turn] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        bench = Bench(Path(folder), users, seconds)
        try:
            for number in range(1, repeats + 1):
                lone.append(bench.lone())
                shipped.append(bench.shipped())
                click.echo(
                    f"{number}/{repeats} lone {lone[-1].requests_per_s:,.0f}/s, "
                    f"shipped {shipped[-1].requests_per_s:,.0f}/s",
                    err=True,
                )
        finally:
            bench.server.stop()
    results = compare(lone, shipped)
    figures = {
        "benchmark": "shipping",
        "machine": {"cpu": cpu_model(), "cores": len(cores()), "system": platform.platform()},
        "users": users,
        "seconds": seconds,
        "repeats": repeats,
        "results": results,
    }
    text = json.dumps(figures, indent=2)
    if output is not None:
        output.write_text(text + "\n")
    print_table(results)
    click.echo(text)


if __name__ == "__main__":
    main()
