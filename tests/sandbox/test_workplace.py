"""The temporary directory of a sandbox, and what becomes of a killed one's. Processes, really killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control.processes import ROOT
from sandbox.workplace import PREFIX

OWNER = """
from sandbox.workplace import workplace
with workplace() as folder:
    (folder / "logs").mkdir()
    (folder / "logs" / "segment").write_text("x")
    print(folder, flush=True)
    input()
"""


class Owners:
    """Processes that have a workplace each."""

    def __init__(self, tmp_path: Path) -> None:
        self.environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *command: str) -> tuple[subprocess.Popen[str], str]:
        """-> the process and the first line that it says."""
        process = subprocess.Popen(
            [sys.executable, *(command or ("-c", OWNER))],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()


@pytest.fixture
def owners(tmp_path: Path) -> Iterator[Owners]:
    made = Owners(tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.communicate()


def killed(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(60)


def test_the_next_one_removes_what_a_killed_one_left_and_no_living_ones(owners: Owners):
    living, of_living = owners.start()
    dead, of_dead = owners.start()
    killed(dead)
    assert Path(of_dead, "logs", "segment").exists()
    _, of_next = owners.start()
    assert not Path(of_dead).exists()
    assert Path(of_living, "logs", "segment").exists() and Path(of_next).exists()
    assert living.poll() is None


def test_what_ends_by_itself_leaves_nothing(owners: Owners, tmp_path: Path):
    process, _ = owners.start()
    process.communicate("\n")
    assert list(tmp_path.iterdir()) == []


def test_without_a_lock_nobody_is_proved_dead(owners: Owners, tmp_path: Path):
    (tmp_path / f"{PREFIX}unknown").mkdir()
    owners.start()
    assert (tmp_path / f"{PREFIX}unknown").exists()


def test_a_killed_sandbox_is_cleaned_away_by_make_clean(owners: Owners, tmp_path: Path):
    """All that a sandbox has on the disk is in that one directory."""
    process, said = owners.start("-m", "sandbox", "--port", "0")
    assert said.startswith("sandbox ready at")
    killed(process)
    (left,) = tmp_path.iterdir()
    assert {path.name.rpartition("-")[0] for path in left.iterdir()} >= {"sandbox-logs", "sandbox-insights"}
    cleaner = [sys.executable, "-S", "-m", "sandbox.workplace"]  # as `make clean`, without any package
    done = subprocess.run(cleaner, env=owners.environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"removed {left}, of a sandbox that is gone\n"
    assert list(tmp_path.iterdir()) == []
