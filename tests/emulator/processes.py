"""Processes of these tests, and a directory of their own: nothing of either outlives the tests, however they end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from control.processes import ROOT, Process
from tests.ports import free_port

VENV = ROOT / ".venv-emulator"
"""Made by `make emulator-test`."""
START_LIMIT_S = 60.0
LIMIT_S = 300.0
"""For a command: a run with its analysis takes a minute and a half where four processes share a core."""
ATTEMPTS = 3

_OURS = (
    "TARGET",
    "STACK_NAME",
    "PROFILE",
    "FLOW",
    "SCALE",
    "TIME_SCALE",
    "RATE",
    "RUN_ID",
    "API_BASE_URL",
    "PYTHONPATH",
)

# With workers of functions under it, MiniStack does not heed SIGTERM. Where the tests are killed, nobody is left to
# insist but this shell, to which `control.processes.Process` sends SIGTERM then.
_STOPPABLE = """
unset PYTHONPATH
"$1" & child=$!
trap 'kill "$child"; sleep 2; kill -9 "$child"' TERM
wait "$child"
wait "$child"
"""

# A line comes when all who write there have ended, the end of input when the tests were killed: then others still end,
# and may write once more.
_REMOVE = 'read -r ended || sleep 4; for attempt in 1 2 3 4 5; do rm -rf "$1" && break; sleep 4; done'

# A proxy must never be asked for the loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    exit_code: int
    output: str
    """stdout and stderr, in the order in which they came."""


@dataclass(frozen=True)
class Emulator:
    """MiniStack, listening on the loopback."""

    endpoint: str
    directory: Path
    """Everything that it and its users write; gone when it is."""
    group: int
    """Its process group."""

    def environment(self) -> dict[str, str]:
        """For whoever talks to it, without anything of the developer's own settings and accounts."""
        return client_environment(self.directory, self.endpoint) | {"TARGET": "emulator"}

    def control(self, *arguments: str) -> Finished:
        """`python -m control`."""
        return self.python("-m", "control", *arguments)

    def python(self, *arguments: str) -> Finished:
        return run([sys.executable, *arguments], self.directory, self.environment())


def client_environment(directory: Path, endpoint: str) -> dict[str, str]:
    """Variables for a client of an AWS at `endpoint`; `directory` holds its temporary files and its runs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") and name not in _OURS}
    return kept | {
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "RUNS_DIR": str(directory / "runs"),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def run(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> Finished:
    """Run a command in `directory`. Raises TimeoutError with its last lines where it does not end in time."""
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".log") as log:
        started = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(directory), *command]
        process = Process(started, Path(log.name), environment)
        try:
            exit_code = process.wait(LIMIT_S)
            output = Path(log.name).read_text(errors="replace")
            if exit_code is None:
                raise TimeoutError(f"{' '.join(command)} did not end within {LIMIT_S:g} s:\n{output[-2000:]}")
            return Finished(exit_code, output)
        finally:
            process.stop()


@contextmanager
def working_directory() -> Iterator[Path]:
    """A directory that is gone afterwards, whoever ends us and however."""
    directory = Path(tempfile.mkdtemp(prefix="swarmscope-emulator-"))
    remover = subprocess.Popen(
        ["/bin/sh", "-c", _REMOVE, "sh", str(directory)], stdin=subprocess.PIPE, cwd="/", start_new_session=True
    )
    try:
        yield directory
    finally:
        remover.communicate(b"ended\n")


@contextmanager
def emulator() -> Iterator[Emulator]:
    """MiniStack on a free port of the loopback. Raises RuntimeError where it does not start."""
    with working_directory() as directory:
        process, endpoint = _start(directory)
        try:
            yield Emulator(endpoint, directory, process.pid)
        finally:
            process.stop()


def _start(directory: Path) -> tuple[Process, str]:
    program = VENV / "bin" / "ministack"
    if not program.exists():
        raise RuntimeError(f"there is no {program}: `make emulator-test` installs it")
    output = directory / "ministack.log"
    for _ in range(ATTEMPTS):
        port = free_port()
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(directory),
            "TMPDIR": str(directory),
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            # else it listens for MQTT too, on a fixed port of every interface
            "IOT_MTLS_ENABLED": "0",
        }
        process = Process(["/bin/sh", "-c", _STOPPABLE, "sh", str(program)], output, environment)
        try:
            if _answers(process, f"http://127.0.0.1:{port}/_ministack/health"):
                return process, f"http://127.0.0.1:{port}"
        except BaseException:
            process.stop()
            raise
        last_lines = process.last_lines()
        process.stop()
    raise RuntimeError(f"MiniStack did not start; its last words:\n{last_lines}")


def _answers(process: Process, url: str) -> bool:
    deadline = time.monotonic() + START_LIMIT_S
    while process.exit_code is None and time.monotonic() < deadline:
        try:
            with _opener.open(url, timeout=2.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    return False
