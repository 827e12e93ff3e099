"""Runs for the tests of the analysis: a literal one, and a builder for the one odd row a test is about."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analysis.clocks import create_clock_offsets
from analysis.evidence import ACCESS_LOG, CORRELATIONS, INITS, INVOCATIONS, LOG_ERRORS, open_evidence
from analysis.join import Coverage, join
from analysis.pipeline import explain
from analysis.starts import create_starts
from runstore.columns import REQUEST_COLUMNS
from runstore.rundir import RunDir

TINY_RUN = Path(__file__).parent.parent / "fixtures" / "tiny_run"
T0 = 1795255200.0
"""2026-11-21 10:00:00 UTC: what times of rows count from."""
_PULLED = {
    "invocations": INVOCATIONS,
    "log_errors": LOG_ERRORS,
    "inits": INITS,
    "correlations": CORRELATIONS,
    "access_log": ACCESS_LOG,
}


def write_parquet(lines: Path, parquet: Path, columns: Mapping[str, str]) -> None:
    """JSON lines -> Parquet with typed columns."""
    types = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items()) + "}"
    duckdb.execute(f"COPY (FROM read_json('{lines}', format = 'newline_delimited', columns = {types})) TO '{parquet}'")


@cache
def _without_rows(table: str) -> bytes:
    """The Parquet file of a table that has no rows, as most have in most tests: made once."""
    with tempfile.TemporaryDirectory() as directory:
        lines, parquet = Path(directory, "rows.jsonl"), Path(directory, "rows.parquet")
        lines.touch()
        write_parquet(lines, parquet, _PULLED[table])
        return parquet.read_bytes()


@pytest.fixture(scope="session")
def pulled_tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tests/fixtures/tiny_run`, pulled and not yet analysed: to be copied."""
    directory = tmp_path_factory.mktemp("pulled") / "20261121T100000Z-tiny"
    shutil.copytree(TINY_RUN, directory, ignore=shutil.ignore_patterns("*.jsonl", "*.md"))
    for table, columns in _PULLED.items():
        if not (TINY_RUN / f"{table}.jsonl").exists():
            continue
        write_parquet(TINY_RUN / f"{table}.jsonl", directory / f"{table}.parquet", columns)
    return directory


@pytest.fixture
def tiny_run(tmp_path: Path, pulled_tiny_run: Path) -> RunDir:
    """A copy of the tiny run, pulled and not yet analysed."""
    return RunDir(shutil.copytree(pulled_tiny_run, tmp_path / pulled_tiny_run.name))


@pytest.fixture(scope="session")
def explained_tiny_run(tmp_path_factory: pytest.TempPathFactory, pulled_tiny_run: Path) -> tuple[RunDir, dict]:
    """The tiny run, analysed, and its summary: to be looked at; who changes something copies it."""
    run = RunDir(shutil.copytree(pulled_tiny_run, tmp_path_factory.mktemp("explained") / pulled_tiny_run.name))
    return run, explain(run)


class RunBuilder:
    """Rows with sensible defaults, `at` seconds after T0; `write` makes the run directory of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.requests: list[dict[str, Any]] = []
        self.tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.manifest: dict[str, Any] = {
            "run_id": directory.name,
            "profile": {"name": "test", "chain_limit_s": 60.0, "thresholds": {}},
            "flows": ["vote"],
            "target": "sandbox",
            "simulated": True,
            "region": "us-east-1",
            "stack_name": "swarmscope",
            "functions": {"place-vote": "swarmscope-place-vote"},
            "started_at": T0,
            "ended_at": T0 + 10,
            "state": "complete",
        }
        self.pull: dict[str, Any] | None = {"complete": True}
        self.metrics: dict[str, Any] | None = None

    def request(
        self, at: float | None = 1.0, ms: float | None = 50.0, status: int | None = 200, **columns: Any
    ) -> None:
        defaults = {
            "worker": 0,
            "seq": len(self.requests) + 1,
            "started_at": None if at is None else T0 + at,
            "response_ms": ms,
            "flow": "vote",
            "name": "POST /vote",
            "method": "POST",
            "status": status,
            "ok": int(status is not None and status < 400),
            "bytes_sent": 90,
            "bytes_received": 60,
            "phase": "measure",
        }
        self.requests.append(defaults | columns)

    def invocation(self, at: float = 1.0, ms: float = 20.0, **columns: Any) -> None:
        """An invocation that was reported at `at`."""
        defaults = {
            "function": "place-vote",
            "log_stream": "a",
            "version": "$LATEST",
            "reported_at": T0 + at,
            "started_at": T0 + at - ms / 1000,
            "duration_ms": ms,
            "billed_ms": ms,
            "memory_mb": 256,
            "max_memory_mb": 70,
        }
        self.tables["invocations"].append(defaults | columns)

    def error(self, at: float = 1.0, **columns: Any) -> None:
        defaults = {
            "function": "place-vote",
            "log_stream": "a",
            "logged_at": T0 + at,
            "kind": "error",
            "error_type": "KeyError",
        }
        self.tables["log_errors"].append(defaults | columns)

    def init(self, at: float = 1.0, **columns: Any) -> None:
        defaults = {"function": "place-vote", "log_stream": "a", "logged_at": T0 + at, "kind": "init_start"}
        self.tables["inits"].append(defaults | columns)

    def correlation(self, at: float = 1.0, **columns: Any) -> None:
        defaults = {"function": "place-vote", "log_stream": "a", "logged_at": T0 + at}
        self.tables["correlations"].append(defaults | columns)

    def access(self, at: float = 1.0, **columns: Any) -> None:
        self.tables["access_log"].append({"at": T0 + at} | columns)

    def joined(self, logs_from: float | None = None) -> duckdb.DuckDBPyConnection:
        """The database of the run, with both sides joined, the starts told apart and the clocks compared. The logs are
        known since `logs_from`, in seconds after T0."""
        db, _ = self.join()
        create_starts(db, None if logs_from is None else T0 + logs_from)
        create_clock_offsets(db)
        return db

    def join(self) -> tuple[duckdb.DuckDBPyConnection, Coverage]:
        """The database of the run, with both sides joined, and how much of them found the other."""
        run = self.write()
        evidence = open_evidence(run)
        return evidence.db, join(evidence, run.file("joined.parquet"))

    def write(self) -> RunDir:
        self.directory.mkdir(exist_ok=True)
        run = RunDir(self.directory)
        with run.requests_file(0).open("w", newline="", encoding="utf-8") as file:
            rows = csv.DictWriter(file, REQUEST_COLUMNS, lineterminator="\n")
            rows.writeheader()
            rows.writerows(self.requests)
        for table, columns in _PULLED.items():
            if not self.tables[table]:
                run.file(f"{table}.parquet").write_bytes(_without_rows(table))
                continue
            lines = self.directory / f"{table}.jsonl"
            lines.write_text("".join(json.dumps(row) + "\n" for row in self.tables[table]), encoding="utf-8")
            write_parquet(lines, run.file(f"{table}.parquet"), columns)
            lines.unlink()
        run.write_json("manifest.json", self.manifest)
        if self.pull is not None:
            run.write_json("pull.json", self.pull)
        if self.metrics is not None:
            run.write_json("metrics.json", self.metrics)
        return run


@pytest.fixture
def build(tmp_path: Path) -> RunBuilder:
    return RunBuilder(tmp_path / "run")
