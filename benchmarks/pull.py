"""How a large run is pulled from a sandbox that keeps to the limits of an account.

    python -m benchmarks.pull                              # a million invocations
    python -m benchmarks.pull --invocations 100000
    python -m benchmarks.pull --invocations 150000 --rate 150000    # all in one second: cut by request id

Starts a sandbox whose Logs Insights takes 10 StartQuery and 10 GetQueryResults a second, 100 queries at once, and a
second for each, puts START, correlation, END and REPORT lines into a log group, and pulls them as `make analyze` does.
Counts that differ from what was put there end it without figures; more than MOST_WASTED, of a million and more, with 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import click
import duckdb
from rich.console import Console
from rich.progress import track
from rich.table import Table

from analysis.requests_table import literal
from config import aws
from config.settings import settings_from
from control.sandbox_process import SandboxProcess
from runstore import rundir
from runstore.columns import REQUEST_COLUMNS

GROUP = "/aws/lambda/benchmark"
STREAMS = 100
EVENTS_PER_CALL = 10_000
MODEL = "[logs]\ninsights_latency_s = 1.0\ningestion_lag_s = 0.0\n"

MOST_WASTED = 0.05
"""Share of the queries whose answers were of no use."""

Event = dict[str, Any]


def log_events(invocations: int, started_at: float, rate: float, source: Random) -> Iterator[tuple[str, float, Event]]:
    """The events of each invocation: (request id, when it was over, event), in order of time."""
    for number in range(invocations):
        identity = str(uuid.UUID(int=source.getrandbits(128), version=4))
        at = started_at + number / rate
        duration_ms = source.uniform(10, 60)
        for message in (
            f"START RequestId: {identity} Version: $LATEST\n",
            f'{{"level": "INFO", "swarmscope": 1, "correlation_id": "{identity}", "request_id": "{identity}"}}\n',
            f"END RequestId: {identity}\n",
            f"REPORT RequestId: {identity}\tDuration: {duration_ms:.2f} ms\tBilled Duration: {int(duration_ms) + 1} ms"
            f"\tMemory Size: 256 MB\tMax Memory Used: 73 MB\t\n"
            f"XRAY TraceId: 1-{int(at):08x}-{identity[:8]}{number:016x}\tSegmentId: {source.getrandbits(64):016x}"
            "\tSampled: true\t\n",
        ):
            yield identity, at, {"timestamp": round(at * 1000), "message": message}


def fill(client: Any, requests: Path, invocations: int, started_at: float, rate: float, console: Console) -> None:
    """Put the events into the log, and a row for each invocation into the client's file."""
    client.create_log_group(logGroupName=GROUP)
    row = dict.fromkeys(REQUEST_COLUMNS, "") | {"worker": "0", "flow": "vote", "name": "POST /vote", "method": "POST"}
    row |= {"status": "200", "ok": "1", "response_ms": "50.000", "phase": "measure"}
    batch: list[Event] = []
    calls = 0

    def put() -> None:
        nonlocal calls
        stream = f"2026/11/21/[$LATEST]{calls % STREAMS:032x}"
        client.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=batch)
        calls += 1
        batch.clear()

    events = log_events(invocations, started_at, rate, Random(1))
    with requests.open("w") as file:
        file.write(",".join(REQUEST_COLUMNS) + "\n")
        known = ""
        for identity, at, event in track(events, "filling the log", 4 * invocations, console=console):
            if identity != known:
                known = identity
                row |= {"seq": str(int(row["seq"] or 0) + 1), "started_at": f"{at:.6f}", "lambda_request_id": identity}
                file.write(",".join(row.values()) + "\n")
            batch.append(event)
            if len(batch) == EVENTS_PER_CALL:
                put()
        if batch:
            put()


def measure(invocations: int, rate: float, folder: Path, console: Console) -> dict[str, Any]:
    """One pull. Raises ClickException where it does not give what was put there."""
    (folder / "model.toml").write_text(MODEL)
    sandbox = SandboxProcess.start(folder / "sandbox.log", ["--model", str(folder / "model.toml")])
    try:
        settings = settings_from({"TARGET": "sandbox", "AWS_ENDPOINT_URL": sandbox.endpoint})
        started_at = time.time() - invocations / rate - 60.0
        run = rundir.create(folder, "benchmark")
        run.update_manifest(
            started_at=started_at,
            ended_at=started_at + invocations / rate,
            settled_at=started_at + invocations / rate,
            state="complete",
        )
        fill(aws.client(settings, "logs"), run.requests_file(0), invocations, started_at, rate, console)
        environment = os.environ | {"TARGET": "sandbox", "AWS_ENDPOINT_URL": sandbox.endpoint, "LOG_GROUPS": GROUP}
        begun = time.perf_counter()
        pull = subprocess.Popen(
            [sys.executable, "-m", "analysis", "pull", str(run.path)], env=environment, stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(pull.pid, 0)
        took_s = time.perf_counter() - begun
    finally:
        sandbox.stop()
    table = literal(str(run.file("invocations.parquet")))
    found = duckdb.execute(f"SELECT count(DISTINCT request_id) FROM {table}").fetchone()
    if status or found != (invocations,):
        raise click.ClickException(
            f"the pull ended with {os.waitstatus_to_exitcode(status)} and found {found} of {invocations}"
        )
    told = json.loads(run.file("pull.json").read_text())
    return {
        "benchmark": "pull",
        "invocations": invocations,
        "rows": told["rows"],
        "seconds": round(took_s, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "queries_started": told["queries_started"],
        "queries_wasted": told["queries_wasted"],
        "mb_scanned": round(told["bytes_scanned"] / 1e6, 1),
        "peak_memory_mb": round(used.ru_maxrss / 1024, 1),
    }


@click.command()
@click.option("--invocations", default=1_000_000, show_default=True, help="Invocations in the log.")
@click.option("--rate", default=2_000.0, show_default=True, help="Of these, in a second of the log.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the figures here as JSON.")
def main(invocations: int, rate: float, output: Path | None) -> None:
    """Seconds, queries and memory of a large pull."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        figures = measure(invocations, rate, Path(folder), console)
    if output is not None:
        output.write_text(json.dumps(figures, indent=2) + "\n")
    table = Table(title="pull of a large run", show_header=False)
    for name, value in figures.items():
        table.add_row(name, str(value))
    console.print(table)
    wasted = figures["queries_wasted"] / figures["queries_started"]
    if invocations >= 1_000_000 and wasted > MOST_WASTED:
        raise click.ClickException(f"{wasted:.1%} of the queries were wasted, and {MOST_WASTED:.0%} may be")


if __name__ == "__main__":
    main()
