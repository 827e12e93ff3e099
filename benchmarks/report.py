"""How large the report of a large run is, and how long it takes to write.

    python -m benchmarks.report                       # a million requests over ten hours
    python -m benchmarks.report --rows 10000000

The run is as unkind as runs get: an id in each tenth address, so that there are thousands of endpoints; forty
functions; hundreds of causes, whose messages are long and full of markup; cold starts throughout; a few absurd response
times.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import duckdb
from rich.console import Console
from rich.table import Table

from analysis import latency, report, series
from analysis.pipeline import explain
from analysis.requests_table import literal
from benchmarks.processes import cpu_model
from runstore.rundir import RunDir

STARTED_AT = 1795255200
LASTS_S = 36_000
WORKERS = 2
ENDPOINTS, FUNCTIONS, CAUSES = 3_000, 40, 400
FAILED_EVERY, COLD_EVERY, ABSURD_EVERY = 25, 50, 100_000
MOST_BYTES = 6_000_000
"""What `report.html` of a million requests may take."""
MESSAGE = "</script><img src=x onerror=alert(1)> | `x` " * 20


def generate(run: RunDir, rows: int) -> None:
    """Write what the load generator and the pull leave of such a run."""
    db = duckdb.connect()
    db.execute(
        f"""CREATE TABLE facts AS
            SELECT i, {STARTED_AT} + i * {LASTS_S} / {rows} AS started_at, md5('request' || i)::UUID::VARCHAR AS id,
                   i % {FAILED_EVERY} = 0 AS failed, i % {COLD_EVERY} = 1 AS cold, 'function-' || hash(i) % {FUNCTIONS}
                       AS function,
                   exp(2.5 + 1.5 * sqrt(-2 * ln((hash(i) % 999983 + 1) / 999984)) * cos(i)) AS ms,
                   CASE WHEN i % 10 = 0 THEN '/item/' || hash(i) % {ENDPOINTS} ELSE '/path/' || i % 7 END AS name
            FROM range({rows}) numbers(i)"""
    )
    for worker in range(WORKERS):
        db.execute(
            f"""COPY (
                SELECT {worker} AS worker, row_number() OVER (ORDER BY i) AS seq, NULL AS scheduled_at, started_at,
                       CASE WHEN i % {ABSURD_EVERY} = 5 THEN 1e308 ELSE round(ms + 12, 3) END AS response_ms,
                       'flow-' || i % 5 AS flow, name, 'POST' AS method,
                       CASE WHEN failed THEN 500 + hash(i) % 12 ELSE 200 END AS status, (NOT failed)::INTEGER AS ok,
                       CASE WHEN failed THEN 'HTTP error' END AS error, NULL AS function_error, id AS request_id,
                       id AS lambda_request_id, NULL AS trace_id, NULL AS correlation_id, NULL AS executed_version,
                       123 AS bytes_sent, 105 AS bytes_received,
                       CASE WHEN i < {rows // 20} THEN 'warmup' ELSE 'measure' END AS phase
                FROM facts WHERE i % {WORKERS} = {worker} ORDER BY i
            ) TO {literal(str(run.requests_file(worker)))} (FORMAT csv, HEADER)"""
        )
    stream = "'2026/11/21/[$LATEST]' || md5('stream' || hash(i) % 997) AS log_stream"
    db.execute(
        f"""COPY (
            SELECT function, '/aws/lambda/' || function AS log_group, {stream}, id AS request_id, '$LATEST' AS version,
                   started_at + ms / 1000 AS reported_at, started_at, ms AS duration_ms, ceil(ms)::BIGINT AS billed_ms,
                   256 AS memory_mb, 80 AS max_memory_mb, CASE WHEN cold THEN 250.0 END AS init_ms,
                   NULL::DOUBLE AS restore_ms
            FROM facts
        ) TO {literal(str(run.file("invocations.parquet")))} (FORMAT parquet)"""
    )
    db.execute(
        f"""COPY (
            SELECT function, '/aws/lambda/' || function AS log_group, {stream}, started_at + ms / 1000 AS logged_at,
                   id AS request_id, 'error' AS kind, 'Error' || hash(i) % {CAUSES} AS error_type,
                   {literal(MESSAGE)} || hash(i) % {CAUSES} AS error_message,
                   'handler.py:' || hash(i) % {CAUSES} || ' main' AS frame
            FROM facts WHERE failed
        ) TO {literal(str(run.file("log_errors.parquet")))} (FORMAT parquet)"""
    )
    run.write_json(
        "manifest.json",
        {
            "run_id": run.run_id,
            "profile": {"name": "unkind", "thresholds": {"error_rate < 1%": "fail", "p99_ms < 5000": "fail"}},
            "flows": [f"flow-{number}" for number in range(5)],
            "target": "sandbox",
            "simulated": True,
            "region": "us-east-1",
            "functions": {f"function-{number}": f"function-{number}" for number in range(FUNCTIONS)},
            "started_at": STARTED_AT,
            "ended_at": STARTED_AT + LASTS_S,
            "state": "complete",
        },
    )
    run.write_json("pull.json", {"complete": True})


def measure(run: RunDir) -> dict[str, Any]:
    """Seconds of each step after the join, and bytes of each file."""
    begun = time.perf_counter()
    summary = explain(run)
    joined = time.perf_counter()
    drawn = series.build(run)
    binned = time.perf_counter()
    latency.build(run, drawn)
    distributed = time.perf_counter()
    written = report.write_all(run, summary)
    done = time.perf_counter()
    page = run.file("report.html").read_text(encoding="utf-8")
    return {
        "join_and_summary_s": round(joined - begun, 2),
        "series_s": round(binned - joined, 2),
        "latency_s": round(distributed - binned, 2),
        "report_s": round(done - distributed, 2),
        "bytes": {file.name: file.stat().st_size for file in [*written, run.file("summary.json")]},
        "chart_bytes": len(re.findall(r'id="charts">(.*?)</script>', page, re.S)[0]),
        "causes": len(summary["root_causes"]),
        "endpoints": len(summary["client"]["endpoints"]),
    }


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Requests, each with an invocation.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the figures here as JSON.")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
def main(rows: int, output: Path | None, folder: Path | None) -> None:
    """Seconds and bytes of the report of a large run. FOLDER: where to put its files instead; they stay there."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        run = RunDir((folder or Path(temporary)).resolve())
        run.path.mkdir(parents=True, exist_ok=True)
        if not run.requests_files():
            generate(run, rows)
        measured = measure(run)
    figures = {"benchmark": "report", "rows": rows, "cpu": cpu_model(), **measured}
    if output is not None:
        output.write_text(json.dumps(figures, indent=2) + "\n")
    table = Table("", "", title=f"report of {rows:,} requests", show_header=False)
    for name, value in measured["bytes"].items():
        table.add_row(name, f"{value:,} bytes")
    for name in ("join_and_summary_s", "series_s", "latency_s", "report_s", "chart_bytes", "causes", "endpoints"):
        table.add_row(name, f"{measured[name]:,}")
    console = Console()
    console.print(table)
    console.print_json(json.dumps(figures))
    if rows <= 1_000_000 and measured["bytes"]["report.html"] > MOST_BYTES:
        raise click.ClickException(f"report.html takes more than {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
