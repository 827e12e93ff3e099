"""Real processes, as small as they get; each test waits for what it asks about, with a limit.

What is to be ended would go on for longer than anybody waits for its end: it does not end by itself.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from control import locust_process
from control.locust_process import LocustEnd, run_headless
from control.processes import ROOT, Process, free_port, is_port_free


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def until(condition: Callable[[], object], limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").is_dir() else True
    except (ProcessLookupError, FileNotFoundError):  # the other one where it goes between our two looks
        return False


def test_output_of_both_kinds_goes_to_the_file(tmp_path):
    process = Process(python("import sys; print('out'); print('err', file=sys.stderr)"), tmp_path / "log", os.environ)
    assert process.wait(60) == 0
    assert sorted(process.last_lines().splitlines()) == ["err", "out"]


def test_only_the_end_of_a_long_output_is_quoted(tmp_path):
    process = Process(python("for i in range(100): print(i)"), tmp_path / "log", os.environ)
    process.wait(60)
    assert process.last_lines(2) == "98\n99"


def test_stopping_ends_what_the_process_started_too(tmp_path):
    script = (
        "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    )
    process = Process(python(script + "print(c.pid, flush=True); time.sleep(600)"), tmp_path / "log", os.environ)
    until(lambda: process.last_lines())
    process.stop()
    until(lambda: not is_alive(int(process.last_lines())))


def test_a_process_that_ignores_the_polite_way_is_ended_the_other(tmp_path):
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)"
    process = Process(python(script + "; time.sleep(600)"), tmp_path / "log", os.environ)
    until(lambda: "ready" in process.last_lines())
    process.stop(grace_s=0.1)
    assert process.exit_code == -9


def test_a_process_ends_with_its_starter_however_that_ends(tmp_path):
    starter = (
        "import os, sys, time; from pathlib import Path; from control.processes import Process\n"
        "process = Process([sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'],"
        " Path(sys.argv[1]), os.environ)\n"
        "while not process.last_lines(): time.sleep(0.01)\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([*python(starter), str(tmp_path / "log")], cwd=ROOT, check=False, timeout=60)
    until(lambda: not is_alive(int((tmp_path / "log").read_text())))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="nothing else tells of a process that nobody knows")
@pytest.mark.parametrize("count", [1, 2])
def test_a_starter_that_dies_before_it_knows_what_it_started_leaves_nothing(tmp_path, count):
    starter = (
        "import os, subprocess, sys; from pathlib import Path; from control.processes import Process\n"
        "started = []\n"
        "class Popen(subprocess.Popen):\n"
        "    def __init__(self, *arguments, **options):\n"
        "        super().__init__(*arguments, **options)\n"
        "        started.append(self)\n"
        "        if len(started) == int(sys.argv[2]): os.kill(os.getpid(), 9)\n"
        "subprocess.Popen = Popen\n"
        "Process(['/bin/sleep', '600'], Path(sys.argv[1]), os.environ)"
    )
    mark = f"STARTED_BY={tmp_path}"
    environment = os.environ | {"STARTED_BY": str(tmp_path)}
    command = [*python(starter), str(tmp_path / "log"), str(count)]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=60)
    assert done.returncode == -9
    until(lambda: not any(mark in environ for environ in environments()))


def environments() -> Iterator[str]:
    """Of all processes that are alive."""
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            yield file.read_text(errors="replace")


def test_what_is_to_end_with_its_starter_is_interrupted_when_that_is_killed(tmp_path):
    script = (
        "import os, signal, time; from control.starter import end_with\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler); end_with(os.getppid())\n"
        "try: print('there', flush=True); time.sleep(600)\n"
        "except KeyboardInterrupt: print('in good order', flush=True)"
    )
    starter = (
        "import os, subprocess, sys, time; from pathlib import Path\n"
        "subprocess.Popen([sys.executable, '-c', sys.argv[2]], stdout=open(sys.argv[1], 'w'))\n"
        "while not Path(sys.argv[1]).read_text(): time.sleep(0.01)\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([*python(starter), str(tmp_path / "log"), script], cwd=ROOT, check=False, timeout=60)
    until(lambda: "in good order" in (tmp_path / "log").read_text())


def test_a_scratch_directory_goes_with_its_process_however_that_ends(tmp_path):
    script = (
        "import os, sys; from control.scratch import scratch_directory\n"
        "with scratch_directory() as path:\n"
        "    (path / 'log').touch(); print(path, flush=True)\n"
        "    os.kill(os.getpid(), int(sys.argv[1]))"
    )
    for number in (9, 15, 0):
        done = subprocess.run(
            [*python(script), str(number)],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(tmp_path)},
            check=False,
            timeout=60,
            capture_output=True,
            text=True,
        )
        assert done.returncode == -number
        assert Path(done.stdout.strip()).parent == tmp_path
        until(lambda: not list(tmp_path.iterdir()))


def test_a_process_is_not_in_our_session(tmp_path):
    process = Process(python("import os; print(os.getsid(0) != int(os.environ['PARENT']))"), tmp_path / "log",
                      {**os.environ, "PARENT": str(os.getsid(0))})  # fmt: skip
    process.wait(60)
    assert process.last_lines() == "True"


def test_a_free_port_can_be_listened_on():
    assert is_port_free("127.0.0.1", free_port())


class FakeLocust:
    """Stands in for the Locust command line: a script for the master or lone process, one for workers."""

    def __init__(self, main: str, worker: str = "") -> None:
        self.main, self.worker = main, worker
        self.commands: list[tuple[str, ...]] = []

    def __call__(self, *options: str) -> list[str]:
        self.commands.append(options)
        return python(self.worker if "--worker" in options else self.main)


@pytest.fixture
def locust(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeLocust]:
    def install(main: str, worker: str = "") -> FakeLocust:
        fake = FakeLocust(main, worker)
        monkeypatch.setattr(locust_process, "command", fake)
        return fake

    return install


def headless(logs: Path, workers: int = 0, progress: Callable[[], None] = lambda: None) -> LocustEnd:
    return run_headless(os.environ, workers, logs, progress, poll_s=0.01)


def test_a_lone_locust_is_run_to_its_end(locust, tmp_path):
    fake = locust("print('done'); raise SystemExit(1)")
    assert headless(tmp_path) == LocustEnd(exit_code=1, interrupted=False, last_lines="done")
    assert fake.commands == [("--headless",)]


def test_what_locust_refuses_is_told_problem_by_problem():
    said = "INFO: Starting\nCannot start:\n  CUSTOM_FLOW: not set\n  orders.csv:3: 2 fields\n"
    assert LocustEnd(2, False, said).problems == ["CUSTOM_FLOW: not set", "orders.csv:3: 2 fields"]
    assert LocustEnd(2, False, "unrecognized arguments: --x").problems == []


def test_workers_are_told_the_masters_own_port(locust, tmp_path):
    fake = locust("import time; time.sleep(0.2)", "import time; time.sleep(0.1)")
    headless(tmp_path, workers=2)
    master, *workers = fake.commands
    port = master[master.index("--master-bind-port") + 1]
    assert master[-2:] == ("--expect-workers", "2")
    assert workers == [("--worker", "--master-host", "127.0.0.1", "--master-port", port)] * 2


CLOSES_ITS_RECORD = """
import os, signal, time
def close(*_): print("closed", flush=True); raise SystemExit(0)
signal.signal(signal.SIGINT, close)
open(os.environ["READY"], "w")
time.sleep(600)
"""
AWAITS_THE_OTHER = """
import os, time
while not os.path.exists(os.environ["READY"]): time.sleep(0.01)
"""


def test_workers_are_gone_when_the_run_is_over(locust, tmp_path, monkeypatch):
    monkeypatch.setattr(locust_process, "WORKER_EXIT_LIMIT_S", 0.1)
    monkeypatch.setenv("READY", str(tmp_path / "ready"))
    worker = "import os, time; print(os.getpid(), flush=True); open(os.environ['READY'], 'w'); time.sleep(600)"
    locust(AWAITS_THE_OTHER, worker)
    headless(tmp_path, workers=1)
    assert not is_alive(int((tmp_path / "locust-worker-0.log").read_text().splitlines()[0]))


def test_a_master_whose_workers_have_all_died_is_interrupted(locust, tmp_path, monkeypatch):
    monkeypatch.setattr(locust_process, "WORKER_EXIT_LIMIT_S", 0.1)
    monkeypatch.setenv("READY", str(tmp_path / "ready"))
    locust(CLOSES_ITS_RECORD, f"{AWAITS_THE_OTHER}print('cannot import'); raise SystemExit(1)")
    end = headless(tmp_path, workers=2)
    assert (end.exit_code, end.interrupted) == (0, False)
    assert end.last_lines == "closed\ncannot import\ncannot import"


def test_workers_whose_master_was_killed_are_interrupted(locust, tmp_path, monkeypatch):
    monkeypatch.setattr(locust_process, "WORKER_EXIT_LIMIT_S", 60.0)
    monkeypatch.setenv("READY", str(tmp_path / "ready"))
    locust(f"{AWAITS_THE_OTHER}os.kill(os.getpid(), 9)", CLOSES_ITS_RECORD)
    end = headless(tmp_path, workers=1)
    assert (end.exit_code, end.interrupted) == (-9, False)
    assert (tmp_path / "locust-worker-0.log").read_text() == "closed\n"


def test_an_interruption_is_passed_on_to_the_master_and_awaited(locust, tmp_path):
    locust(
        "import signal, time\n"
        "def drain(*_): print('drained', flush=True); raise SystemExit(0)\n"
        "signal.signal(signal.SIGINT, drain); print('ready', flush=True); time.sleep(600)"
    )
    once = iter([KeyboardInterrupt()])

    def interrupt_when_ready() -> None:
        if "ready\n" in (tmp_path / "locust.log").read_text() and (error := next(once, None)):
            raise error

    end = headless(tmp_path, progress=interrupt_when_ready)
    assert (end.exit_code, end.interrupted, end.last_lines) == (0, True, "ready\ndrained")


def test_a_drain_that_takes_too_long_is_cut_short(locust, tmp_path, monkeypatch):
    monkeypatch.setattr(locust_process, "DRAIN_LIMIT_S", 0.2)
    locust(
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    )
    once = iter([KeyboardInterrupt()])

    def interrupt_when_ready() -> None:
        if "ready\n" in (tmp_path / "locust.log").read_text() and (error := next(once, None)):
            raise error

    end = headless(tmp_path, progress=interrupt_when_ready)
    assert (end.exit_code, end.interrupted) == (None, True)
