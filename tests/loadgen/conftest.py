"""A counting HTTP server, and Locust as a process against it.

Nothing here imports Locust: that would patch the sockets and threads of the whole test process.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadgen import transport
from loadgen.tls import tls_context
from runstore.columns import REQUEST_COLUMNS
from tests.loadgen.scripted_server import ScriptedServer, write_certificate
from tests.ports import free_port

REPOSITORY = Path(__file__).parents[2]


class CountingServer:
    """Answers 200 to everything after `delay_s`, and counts what it was asked, whatever became of the answer."""

    def __init__(self) -> None:
        self.delay_s = 0.01
        self.requests: Counter[str] = Counter()
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.answer: Callable[[str], bytes] = lambda head: (
            b'HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{"sequence_number":"1","message_id":"1"}'
        )
        """Head of the request -> the whole answer."""
        self.hangs_up = False
        """Close each connection after an answer, without having said so."""
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    @property
    def count(self) -> int:
        return self.requests.total()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, count: int) -> None:
        """Until so many requests have come."""
        deadline = time.monotonic() + 60
        while self.count < count:
            assert time.monotonic() < deadline, f"{self.count} of {count} requests"
            time.sleep(0.02)

    def forget(self) -> None:
        """Begin to count anew."""
        self.requests.clear()
        self.heads.clear()
        self.bodies.clear()

    def slow_down(self, delay_s: float) -> int:
        """Answer after so long whatever comes from now on; returns how many requests came before."""

        async def change() -> int:
            # Here, where no request can be counted on one side of it and get its delay on the other.
            self.delay_s = delay_s
            return self.count

        return asyncio.run_coroutine_threadsafe(change(), self._loop).result(60)

    def stop(self) -> None:
        if self._loop.is_closed():
            return

        async def close() -> None:
            self._server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?im)^content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                self.requests[head.partition("\r\n")[0].rpartition(" ")[0]] += 1
                self.heads.append(head)
                self.bodies.append(body)
                await asyncio.sleep(self.delay_s)
                writer.write(self.answer(head))
                if self.hangs_up:
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture(scope="module")
def lasting_server() -> Iterator[CountingServer]:
    """For tests that all look at one run."""
    running = CountingServer()
    yield running
    running.stop()


@pytest.fixture
def server() -> Iterator[CountingServer]:
    running = CountingServer()
    yield running
    running.stop()


@dataclass
class LocustRun:
    """Locust processes, started together, the first of which keeps the run directory."""

    runs: Path
    processes: list[subprocess.Popen[bytes]]
    outputs: list[Path]

    def wait_for_rows(self, count: int, files: int = 1) -> None:
        """Until each of so many files of the latest run has so many rows."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = [file.read_bytes().count(b"\n") - 1 for file in self.directory.glob("requests-*.csv")]
            if sum(rows >= count for rows in found) >= files:
                return
            assert self.processes[0].poll() is None, self.output
            time.sleep(0.02)
        raise AssertionError(f"no rows\n{self.output}")

    def wait_for_output(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def wait_for_state(self, state: str) -> None:
        """Until the manifest of the latest run says so."""
        deadline = time.monotonic() + 60
        while self.state != state:
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def interrupt(self) -> None:
        """Ctrl-C: to the whole process group of the first."""
        os.killpg(self.processes[0].pid, signal.SIGINT)

    def finish(self, timeout_s: float = 120) -> int:
        """Wait for the end; returns the exit code of the first."""
        try:
            for process in self.processes:
                process.wait(timeout_s)
        except BaseException:
            self.kill()
            raise
        return self.processes[0].returncode

    def kill(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)

    def all_gone(self) -> bool:
        """Whether, after a moment to leave, nothing is left of what was started, children included."""
        deadline = time.monotonic() + 60
        while any(has_members(process.pid) for process in self.processes):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    @property
    def output(self) -> str:
        """What the first has printed so far."""
        return self.outputs[0].read_text()

    @property
    def directory(self) -> Path:
        return (self.runs / "latest").resolve()

    @property
    def manifest(self) -> dict:
        return json.loads((self.directory / "manifest.json").read_text())

    @property
    def state(self) -> str | None:
        """Of the latest run; None while that has no manifest yet."""
        try:
            return self.manifest["state"]
        except FileNotFoundError:
            return None

    @property
    def rows(self) -> list[dict[str, str]]:
        """All rows; checks that each file is whole: header, every column, numbers without gaps."""
        rows = []
        for file in sorted(self.directory.glob("requests-*.csv")):
            text = file.read_text()
            reader = csv.DictReader(io.StringIO(text))
            found = list(reader)
            assert tuple(reader.fieldnames or ()) == REQUEST_COLUMNS
            assert [row["seq"] for row in found] == [str(number) for number in range(1, len(found) + 1)]
            assert {row["worker"] for row in found} <= {file.stem.removeprefix("requests-")}
            assert text.count("\n") == len(found) + 1
            rows += found
        return rows

    @property
    def console_count(self) -> int:
        """Requests in the last Aggregated line of the console's statistics."""
        return int(re.findall(r"(?m)^\s+Aggregated\s+(\d+)\s+\d+\(", self.output)[-1])

    @property
    def csv_count(self) -> int:
        with (self.directory / "locust_stats.csv").open() as file:
            return next(int(row["Request Count"]) for row in csv.DictReader(file) if row["Name"] == "Aggregated")

    @property
    def sent_rows(self) -> list[dict[str, str]]:
        """Without the arrivals that were dropped: on a busy machine a process may be late for its first ones."""
        return [row for row in self.rows if row["started_at"]]

    def counts_of_run(self) -> dict[str, int]:
        """What the files of the latest run hold."""
        return {"rows": len(self.sent_rows), "csv": self.csv_count}

    def counts(self, server: CountingServer) -> dict[str, int]:
        """The four figures that must be one."""
        return {
            "server": server.count,
            "rows": len(self.sent_rows),
            "console": self.console_count,
            "csv": self.csv_count,
        }


def has_members(group: int) -> bool:
    """Whether a process group still has processes."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class Locust:
    """Starts Locust in a working directory of its own, with nothing of the caller's configuration."""

    def __init__(self, directory: Path, server: CountingServer) -> None:
        self.directory = directory
        self.server = server
        self.started: list[LocustRun] = []

    def run(self, *options: str, locustfiles: str = "vote.py", **variables: str) -> LocustRun:
        """One process, headless, against the server."""
        return self.start([self.command(locustfiles, *options)], variables)

    def distributed(
        self,
        workers: int,
        *options: str,
        locustfiles: str = "vote.py",
        worker_options: Sequence[str] = (),
        **variables: str,
    ) -> LocustRun:
        """A master and workers, each in a process group of its own, as if on machines of their own."""
        master, *others = self._roles(workers, *options, locustfiles=locustfiles)
        return self.start([master, *([*other, *worker_options] for other in others)], variables)

    def join(self, run: LocustRun) -> None:
        """One more worker for a run that goes."""
        command = list(map(str, run.processes[-1].args))
        output = self.directory / f"output-{len(run.outputs)}.txt"
        run.processes.append(self._open(command, output, {}))
        run.outputs.append(output)

    def web_ui(self, workers: int, **variables: str) -> tuple[LocustRun, str]:
        """One process with the web UI, or a master with it and workers; and the URL of the UI."""
        port = free_port()
        where = ("--web-host", "127.0.0.1", "--web-port", str(port))
        commands = self._roles(workers, *where) if workers else [self.command("vote.py", *where)]
        commands[0].remove("--headless")
        return self.start(commands, variables), f"http://127.0.0.1:{port}"

    def _roles(self, workers: int, *options: str, locustfiles: str = "vote.py") -> list[list[str]]:
        port = str(free_port())
        where = ("--master-bind-host", "127.0.0.1", "--master-bind-port", port)
        master = self.command(locustfiles, "--master", "--expect-workers", str(workers), *where, *options)
        worker = self.command(locustfiles, "--worker", "--master-host", "127.0.0.1", "--master-port", port)
        return [master, *[worker] * workers]

    def command(self, locustfiles: str, *options: str) -> list[str]:
        """The command line of one process; what is not a worker runs headless, against the server."""
        role = [] if "--worker" in options else ["-H", self.server.url, "--headless"]
        if "--processes" in options:
            # The port of its own that keeps it apart from tests that run at the same time.
            port = str(free_port())
            role += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]
        locustfile = str(REPOSITORY / "locustfiles" / locustfiles)
        return [sys.executable, "-m", "tests.loadgen.patient_locust", "-f", locustfile, *role, *options]

    def start(self, commands: list[list[str]], variables: Mapping[str, str]) -> LocustRun:
        """Start processes, each in a process group of its own."""
        outputs = [self.directory / f"output-{number}.txt" for number in range(len(commands))]
        run = LocustRun(self.directory / "runs", [], outputs)
        self.started.append(run)
        for command, output in zip(commands, outputs, strict=True):
            run.processes.append(self._open(command, output, variables))
        return run

    def _open(self, command: Sequence[str], output: Path, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "PYTHONPATH": str(REPOSITORY),
            "RUNS_DIR": str(self.directory / "runs"),
            **variables,
        }
        with output.open("wb") as file:
            return subprocess.Popen(
                command,
                cwd=self.directory,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@pytest.fixture
def locust(tmp_path: Path, server: CountingServer) -> Iterator[Locust]:
    starter = Locust(tmp_path, server)
    yield starter
    for run in starter.started:
        run.kill()


@pytest.fixture(scope="module")
def lasting_locust(tmp_path_factory: pytest.TempPathFactory, lasting_server: CountingServer) -> Iterator[Locust]:
    starter = Locust(tmp_path_factory.mktemp("locust"), lasting_server)
    yield starter
    for run in starter.started:
        run.kill()


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(*scripts: Callable[[socket.socket], None], **options) -> ScriptedServer:
        servers.append(ScriptedServer(*scripts, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    write_certificate(path)
    return path


@pytest.fixture
def trusted(certificate, monkeypatch) -> None:
    """The client trusts the certificate."""
    context = tls_context.__wrapped__()
    context.load_verify_locations(certificate)
    monkeypatch.setattr(transport, "tls_context", lambda: context)


@pytest.fixture
def nothing_configured(monkeypatch, tmp_path):
    """No `.env`, and no variable of the caller's."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "TARGET",
        "ALLOWED_HOSTS",
        "MAX_USERS",
        "API_BASE_URL",
        "RUNS_DIR",
        "API_AUTH",
        "API_KEY",
        "AWS_ENDPOINT_URL",
    ):
        monkeypatch.delenv(name, raising=False)


def no_credentials(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Wherever botocore looks for credentials there are none, also on a build server that is given some."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "BOTO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(directory / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(directory / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
