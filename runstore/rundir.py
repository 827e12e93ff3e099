"""The run directory: where everything about one run lies, and how its id is made.

```
runs/<UTC time>-<profile>/          runs/latest -> the newest
  manifest.json  requests-<worker>.csv  spool/  locust_*.csv          written by the load generator
  invocations.parquet  log_errors.parquet  ...  joined.parquet        written by the analysis
  summary.json  report.html                                           written by the analysis
  truth.json                                                          written by the sandbox
```

Standard library only: workers of the load generator import this.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MANIFEST_SCHEMA = 1
RUNNING, COMPLETE, ABORTED, INTERRUPTED, FAILED = "running", "complete", "aborted", "interrupted", "failed"
"""States of a run; a run that is `running` and does not was killed. An aborted one was ended by a threshold: what it
recorded is whole."""
LATEST = "latest"
"""The link to the newest run."""
TUNING, PROVISIONED = "tune", "provisioned"
"""Beside the runs: directories for each memory tuning, and for each comparison with provisioned concurrency, which are
none of these."""
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class RunNotFoundError(Exception):
    """There is no such run directory; the message names what was looked for and what exists."""


def new_run_id(profile: str, started_at: float) -> str:
    """`20261121T100023Z-demo`: UTC time of the start (epoch seconds) and the profile, sortable and file-name safe."""
    stamp = datetime.fromtimestamp(started_at, UTC).strftime("%Y%m%dT%H%M%SZ")
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", profile) or "run"
    return f"{stamp}-{safe}"


def create(runs: Path, run_id: str) -> RunDir:
    """Make a new run directory, and let `runs/latest` point to it.

    Where the id is taken (two runs in one second) `-2`, `-3`, ... is appended: a run never writes into another's
    directory. Raises ValueError for what can be no id, OSError.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(f"run id {run_id!r} must be letters, digits, '.', '_' and '-'")
    if run_id in (LATEST, TUNING, PROVISIONED):
        raise ValueError(f"run id {run_id!r} is the name of something else among the runs")
    runs.mkdir(parents=True, exist_ok=True)
    attempt = 1
    while True:
        path = runs / (run_id if attempt == 1 else f"{run_id}-{attempt}")
        try:
            path.mkdir()
            break
        except FileExistsError:
            attempt += 1
    point_latest_at(path)
    return RunDir(path)


def point_latest_at(path: Path) -> None:
    """Move the link `latest` beside `path` to it, in one step, so that a reader always finds one or the other."""
    temporary = path.parent / f".latest-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(path.name)
    temporary.replace(path.parent / LATEST)


def find(run: str, runs: Path) -> RunDir:
    """A run by path, by id below `runs`, or `latest`.

    Raises RunNotFoundError naming the newest runs there are.
    """
    for candidate in (Path(run), runs / run):
        if (candidate / "manifest.json").is_file() or any(candidate.glob("requests-*.csv")):
            return RunDir(candidate.resolve())
        if candidate.is_dir() and any(candidate.glob("*_stats.csv")):
            return RunDir(candidate.resolve())
    names = (path.name for path in runs.glob("*/") if not path.is_symlink())
    known = sorted((name for name in names if name not in (TUNING, PROVISIONED)), reverse=True)[:5]
    hint = (
        f"newest runs in {runs}: {', '.join(known)}" if known else f"there are no runs in {runs} yet: try `make demo`"
    )
    raise RunNotFoundError(f"no run {run!r}; {hint}")


class RunDir:
    """The files of one run by name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_id(self) -> str:
        return self.path.name

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    def file(self, name: str) -> Path:
        return self.path / name

    @property
    def spool(self) -> Path:
        return self.path / "spool"

    @property
    def manifest_file(self) -> Path:
        return self.path / "manifest.json"

    @property
    def csv_prefix(self) -> Path:
        """What Locust's `--csv` takes, so that its files are called `locust_stats.csv` and so on."""
        return self.path / "locust"

    def requests_file(self, worker: int | str) -> Path:
        return self.path / f"requests-{worker}.csv"

    def requests_files(self) -> list[Path]:
        return sorted(self.path.glob("requests-*.csv"))

    def read_manifest(self) -> dict[str, Any]:
        """The manifest, or an empty dictionary for a directory that has nothing but Locust's CSVs."""
        try:
            return dict(json.loads(self.manifest_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}

    def update_manifest(self, **values: Any) -> None:
        """Merge `values` into the manifest. Single writer: the lone process or the master, later the analysis."""
        self.write_json("manifest.json", {"schema": MANIFEST_SCHEMA, **self.read_manifest(), **values})

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON file whole or not at all."""
        self.write_text(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file whole or not at all.

        Half a surrogate pair, which JSON may hold and UTF-8 cannot, is written as `\\ud800`: JSON reads that back.
        """
        temporary = self.path / f".{name}.partial"
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        temporary.replace(self.path / name)
