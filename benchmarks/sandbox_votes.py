"""How many vote POSTs a second the sandbox answers on one core, with everything it writes about each.

    python -m benchmarks.sandbox_votes                           # ten seconds at full speed
    python -m benchmarks.sandbox_votes --invocations 1000000     # and what memory it takes by then

Starts a sandbox of its own, confined to one core, deploys the sample applications into it, and sends `POST /vote` over
keep-alive connections from another core. Each request goes the whole way: gateway, place-vote, Kinesis, tally-votes,
DynamoDB, with START, correlation, END and REPORT lines, the access log and metrics. The counts of the client and of
the sandbox's truth must be equal, or the figures are not given.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import click
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.processes import confine, cores, cpu_s, memory_mb

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_BODY = b'{"vote_id":"benchmark","token":"token-%07d","vote_choice":"choice-%d","correlation_id":"benchmark-%09d"}'


class Connection(asyncio.Protocol):
    """One client: the next request follows the answer to the last."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = _LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return
        self._received = b""
        self._load.answered(int(head[9:12]), time.perf_counter() - self._sent_at)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._load.closed()

    def _send(self) -> None:
        assert self._transport is not None
        request = self._load.next_request()
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


class Load:
    """Requests for as long as asked, and their answers."""

    def __init__(self, url: str, connections: int, seconds: float, invocations: int | None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._connections = connections
        self._open = connections
        self._sent = 0
        self._limit = invocations
        self._ends_at = float("inf") if invocations else time.perf_counter() + seconds
        self._over = asyncio.get_running_loop().create_future()
        self.statuses: Counter[int] = Counter()
        self.latencies_s: list[float] = []

    async def run(self) -> float:
        """Send it all; how long it took, in seconds."""
        loop = asyncio.get_running_loop()
        started_at = time.perf_counter()
        for _ in range(self._connections):
            await loop.create_connection(lambda: Connection(self), self._host, self._port)
        await self._over
        return time.perf_counter() - started_at

    def next_request(self) -> bytes | None:
        if self._sent == self._limit or time.perf_counter() >= self._ends_at:
            return None
        self._sent += 1
        number = self._sent
        body = _BODY % (number % 10_000_000, number % 5, number)
        return (
            b"POST /prod/vote HTTP/1.1\r\nHost: sandbox\r\nContent-Type: application/json\r\n"
            b"User-Agent: benchmark\r\nx-amzn-RequestId: %08x-0000-4000-8000-%012x\r\n"
            b"X-Amzn-Trace-Id: Root=1-%08x-%024x;Sampled=1\r\nContent-Length: %d\r\n\r\n%b"
            % (number, number, int(time.time()), number, len(body), body)
        )

    def answered(self, status: int, latency_s: float) -> None:
        self.statuses[status] += 1
        self.latencies_s.append(latency_s)

    def closed(self) -> None:
        self._open -= 1
        if not self._open and not self._over.done():
            self._over.set_result(None)


class SandboxUnderTest:
    """A sandbox process on one core."""

    def __init__(self, cores: set[int], folder: Path) -> None:
        self._log = (folder / "sandbox.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            preexec_fn=lambda: confine(cores),
        )
        assert self._process.stdout is not None
        self.endpoint = self._process.stdout.readline().strip().rpartition(" ")[2]
        if not self.endpoint.startswith("http"):
            raise click.ClickException(f"the sandbox did not start; see {self._log.name}")

    def deploy(self, shards: int) -> None:
        environment = os.environ | {"TARGET": "sandbox", "AWS_ENDPOINT_URL": self.endpoint}
        command = [sys.executable, "-m", "control", "deploy", "--parameter", f"ShardCount={shards}"]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    def truth(self) -> Any:
        with urllib.request.urlopen(f"{self.endpoint}/_sandbox/truth") as answer:
            return json.load(answer)

    def settled_truth(self, timeout_s: float = 30.0) -> Any:
        """The truth once nothing is pending any more."""
        deadline = time.monotonic() + timeout_s
        while (truth := self.truth())["pending"] and time.monotonic() < deadline:
            time.sleep(0.1)
        return truth

    def cpu_s(self) -> float:
        return cpu_s(self._process.pid)

    def memory_mb(self, name: str) -> float:
        return memory_mb(self._process.pid, name)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(15)
        self._log.close()


def measure(seconds: float, connections: int, shards: int, invocations: int | None, folder: Path) -> dict[str, Any]:
    """One measurement. Raises ClickException where client and sandbox do not agree on what happened."""
    available = cores()
    sandbox = SandboxUnderTest({available[0]}, folder)
    confine(set(available[1:]) or {available[0]})
    try:
        sandbox.deploy(shards)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_load(sandbox, connections, 1.0, None))  # warm environments
            before = sandbox.settled_truth()
            cpu_s = sandbox.cpu_s()
            load, took_s = runner.run(_load(sandbox, connections, seconds, invocations))
            cpu_s = sandbox.cpu_s() - cpu_s
        truth = sandbox.settled_truth()
        answered = {
            status: count - before["api"]["by_status"].get(status, 0)
            for status, count in truth["api"]["by_status"].items()
        }
        if {int(status): count for status, count in answered.items() if count} != dict(load.statuses):
            raise click.ClickException(f"client {dict(load.statuses)} and sandbox {answered} do not agree")
        latencies_ms = sorted(latency * 1000 for latency in load.latencies_s)
        requests = len(latencies_ms)
        return {
            "benchmark": "sandbox_votes",
            "cores": len(available),
            "connections": connections,
            "shards": shards,
            "requests": requests,
            "by_status": {str(status): count for status, count in sorted(load.statuses.items())},
            "seconds": round(took_s, 3),
            "requests_per_s": round(requests / took_s, 1),
            "sandbox_cpu_us_per_request": round(cpu_s / requests * 1e6, 1),
            "sandbox_cpu_share": round(cpu_s / took_s, 3),
            "p50_ms": round(latencies_ms[requests // 2], 2),
            "p99_ms": round(latencies_ms[requests * 99 // 100], 2),
            "sandbox_memory_mb": round(sandbox.memory_mb("VmRSS"), 1),
            "sandbox_peak_memory_mb": round(sandbox.memory_mb("VmHWM"), 1),
        }
    finally:
        sandbox.stop()


async def _load(
    sandbox: SandboxUnderTest, connections: int, seconds: float, invocations: int | None
) -> tuple[Load, float]:
    load = Load(sandbox.endpoint, connections, seconds, invocations)
    return load, await load.run()


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="How long to send.")
@click.option("--connections", default=256, show_default=True, help="Clients, each with one request at a time.")
@click.option("--shards", default=8, show_default=True, help="Shards of the stream, so that it refuses nothing.")
@click.option("--invocations", type=int, help="Send so many requests instead of so long.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the figures here as JSON.")
def main(seconds: float, connections: int, shards: int, invocations: int | None, output: Path | None) -> None:
    """Vote POSTs a second of the sandbox on one core, with full logging."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        figures = measure(seconds, connections, shards, invocations, Path(folder))
    if output is not None:
        output.write_text(json.dumps(figures, indent=2) + "\n")
    table = Table(title="sandbox: POST /vote on one core", show_header=False)
    for name, value in figures.items():
        table.add_row(name, str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
