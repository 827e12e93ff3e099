"""How fast requests are joined to their invocations, from CSV and raw log text to Parquet.

    python -m benchmarks.join                                      # 2 million requests with 2 million REPORT lines
    python -m benchmarks.join --rows 10000000 --only Swarmscope    # takes some 10 GB of the temporary directory

Beside ours run what people would write instead, each in a process of its own: plain pandas (read_csv, str.extract,
merge), and one DuckDB statement that reads all columns, extracts what a REPORT says, joins and writes Parquet.

Ours does more in its time: it looks for errors, inits, correlation lines and other forms of REPORT, writes the
invocations too, pairs in the order of the evidence, sets duplicates aside, and counts what is left over on both sides.
One request in 200 failed and has no Lambda request id: ours finds its invocation by the trace id, the others do not.
Results with other rows than were put there end it without figures; where ours takes more than 1.2 times what the
statement takes, it ends with 1. Before each of them all files are read once: those of a run that has just ended are in
memory, and some machines put what nobody reads for a minute out of it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import duckdb
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from analysis import log_tables
from analysis.evidence import open_evidence
from analysis.join import join
from analysis.requests_table import literal
from analysis.slice_files import SCHEMA
from benchmarks.processes import cpu_model
from runstore.rundir import RunDir

STARTED_AT = 1795255200
RATE_PER_S = 2000
WORKERS = 2
STREAMS = 200
EVENTS_PER_SLICE = 50_000
"""What a pull plans for: half of what a query gives at most."""
FAILED_FIRST, FAILED_EVERY = 7, 200
"""Requests that failed, by their number: their answers name no invocation."""


def generate(run: RunDir, rows: int) -> None:
    """Write the files of requests of two workers, and the raw events of a pull: one REPORT for each request."""
    db = duckdb.connect()
    uuid = "md5('{0}' || i)::UUID::VARCHAR"
    trace = "'1-' || printf('%08x', due_at::BIGINT) || '-' || left(md5('trace' || i), 24)"
    db.execute(
        f"""CREATE VIEW requests AS
            SELECT i // {WORKERS} + 1 AS seq, {STARTED_AT} + i / {RATE_PER_S} AS due_at, hash(i) % 60000 / 1000 AS ms,
                   i % {FAILED_EVERY} = {FAILED_FIRST} AS failed, i, i % {WORKERS} AS worker,
                   {uuid.format("request")} AS request_id, {uuid.format("lambda")} AS lambda_request_id,
                   {trace} AS trace_id
            FROM range({rows}) numbers(i)"""
    )
    for worker in range(WORKERS):
        db.execute(
            f"""COPY (
                SELECT worker, seq, printf('%.6f', due_at) AS scheduled_at,
                       printf('%.6f', due_at + 0.0002) AS started_at,
                       printf('%.3f', ms + 12) AS response_ms, 'vote' AS flow, 'POST /vote' AS name, 'POST' AS method,
                       CASE WHEN failed THEN 502 ELSE 200 END AS status, (NOT failed)::INTEGER AS ok,
                       CASE WHEN failed THEN 'HTTP 502' END AS error, NULL AS function_error, request_id,
                       CASE WHEN NOT failed THEN lambda_request_id END AS lambda_request_id, trace_id,
                       {uuid.format("correlation")} AS correlation_id, NULL AS executed_version, 123 AS bytes_sent,
                       105 AS bytes_received, CASE WHEN i < {rows // 20} THEN 'warmup' ELSE 'measure' END AS phase
                FROM requests WHERE worker = {worker} ORDER BY i
            ) TO {literal(str(run.requests_file(worker)))} (FORMAT csv, HEADER)"""
        )
    folder = run.file("pull")
    folder.mkdir()
    for first in range(0, rows, EVENTS_PER_SLICE):
        events = db.sql(
            rf"""SELECT 'place-vote' AS function, '/aws/lambda/swarmscope-place-vote' AS log_group,
                        '2026/11/21/[$LATEST]' || md5('stream' || i % {STREAMS}) AS log_stream,
                        strftime(make_timestamp(((due_at + ms / 1000) * 1e6)::BIGINT), '%Y-%m-%d %H:%M:%S.%g')
                            AS timestamp,
                        printf('REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\tMemory Size: 256 MB\t'
                               || 'Max Memory Used: %d MB\t', lambda_request_id, ms, ceil(ms)::BIGINT,
                               70 + hash(i) % 20)
                        || CASE WHEN i % 500 = 0 THEN printf('Init Duration: %.2f ms\t', 200 + ms) ELSE '' END
                        || printf('\nXRAY TraceId: %s\tSegmentId: %s\tSampled: true\t\n', trace_id,
                                  left(md5('segment' || i), 16)) AS message,
                        printf('%016x', i) AS ptr
                 FROM requests WHERE i >= {first} AND i < {first + EVENTS_PER_SLICE} ORDER BY timestamp""".replace(
                r"\t", "' || chr(9) || '"
            ).replace(r"\n", "' || chr(10) || '")
        )
        name = f"events-benchmark-{STARTED_AT + first // RATE_PER_S}.parquet"
        pq.write_table(events.to_arrow_table().cast(SCHEMA), folder / name, compression="lz4")


def failed_among(rows: int) -> int:
    """Requests whose answer named no invocation."""
    return len(range(FAILED_FIRST, rows, FAILED_EVERY))


def ours(run: RunDir) -> None:
    """What `python -m analysis analyze` does from the pulled events to joined.parquet."""
    events = sorted(run.file("pull").glob("*.parquet"))
    log_tables.write_invocations(events, run.file("invocations.parquet"))
    log_tables.write_errors(events, run.file("log_errors.parquet"))
    log_tables.write_inits(events, run.file("inits.parquet"))
    log_tables.write_correlations(events, run.file("correlations.parquet"))
    join(open_evidence(run), run.file("joined.parquet"))


def plain_pandas(run: RunDir) -> None:
    import pandas as pd  # which takes 0.4 s that the others need not spend

    requests = pd.concat([pd.read_csv(file) for file in run.requests_files()], ignore_index=True)
    events = pd.concat([pd.read_parquet(file) for file in sorted(run.file("pull").glob("*.parquet"))])
    message = events["message"].str
    report = message.extract(
        r"REPORT RequestId: (?P<inv_request_id>\S+)\tDuration: (?P<inv_duration_ms>[\d.]+) ms\tBilled Duration: "
        r"(?P<inv_billed_ms>\d+) ms\tMemory Size: (?P<inv_memory_mb>\d+) MB"
        r"\tMax Memory Used: (?P<inv_max_memory_mb>\d+) MB"
    )
    report["inv_init_ms"] = message.extract(r"Init Duration: ([\d.]+) ms", expand=False)
    report["inv_trace_id"] = message.extract(r"XRAY TraceId: (\S+)", expand=False)
    numbers = ["inv_duration_ms", "inv_billed_ms", "inv_memory_mb", "inv_max_memory_mb", "inv_init_ms"]
    report[numbers] = report[numbers].apply(pd.to_numeric)
    joined = requests.merge(report, how="left", left_on="lambda_request_id", right_on="inv_request_id")
    joined.to_parquet(run.file("joined.parquet"))


def one_statement(run: RunDir) -> None:
    duckdb.execute(
        f"""COPY (
            WITH reports AS (
                SELECT regexp_extract(message, 'REPORT RequestId: (\\S+)', 1) AS inv_request_id,
                       regexp_extract(message, 'Duration: ([0-9.]+) ms', 1)::DOUBLE AS inv_duration_ms,
                       regexp_extract(message, 'Billed Duration: ([0-9]+) ms', 1)::INTEGER AS inv_billed_ms,
                       regexp_extract(message, 'Memory Size: ([0-9]+) MB', 1)::INTEGER AS inv_memory_mb,
                       regexp_extract(message, 'Max Memory Used: ([0-9]+) MB', 1)::INTEGER AS inv_max_memory_mb,
                       nullif(regexp_extract(message, 'Init Duration: ([0-9.]+) ms', 1), '')::DOUBLE AS inv_init_ms,
                       nullif(regexp_extract(message, 'XRAY TraceId: (\\S+)', 1), '') AS inv_trace_id
                FROM read_parquet({literal(str(run.file("pull") / "*.parquet"))})
            )
            SELECT r.*, i.* FROM read_csv({literal(str(run.path / "requests-*.csv"))}) r
            LEFT JOIN reports i ON r.lambda_request_id = i.inv_request_id
        ) TO {literal(str(run.file("joined.parquet")))} (FORMAT parquet)"""
    )


OURS, STATEMENT = "Swarmscope", "one DuckDB statement"
WAYS: Mapping[str, Callable[[RunDir], None]] = {OURS: ours, "plain pandas": plain_pandas, STATEMENT: one_statement}
MOST_TIMES_STATEMENT = 1.2


def measure(way: str, run: RunDir, rows: int) -> dict[str, Any]:
    """Seconds and peak memory of one way, in a process of its own. Raises ClickException for a wrong result."""
    for file in (*run.requests_files(), *run.file("pull").iterdir()):
        with file.open("rb", buffering=0) as read:
            while read.read(1 << 20):
                pass
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.join", "--way", way, str(run.path)])
    _, status, used = os.wait4(process.pid, 0)
    took_s = time.perf_counter() - begun
    if status:
        raise click.ClickException(f"{way} ended with {os.waitstatus_to_exitcode(status)}")
    joined = run.file("joined.parquet")
    found = duckdb.execute(
        f"SELECT count(*), count(DISTINCT request_id), count(inv_duration_ms) FROM read_parquet({literal(str(joined))})"
    ).fetchone()
    matched = rows if way == OURS else rows - failed_among(rows)
    if found != (rows, rows, matched):
        raise click.ClickException(f"{way} joined {found} instead of {(rows, rows, matched)}")
    joined.unlink()
    return {
        "way": way,
        "seconds": round(took_s, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "peak_memory_mb": round(used.ru_maxrss / 1024),
        "matched": matched,
    }


def times_statement(seconds: Mapping[str, float]) -> float | None:
    """How often the statement's seconds go into ours, by the name of the way; None where it was left out."""
    return seconds[OURS] / seconds[STATEMENT] if STATEMENT in seconds else None


@click.command()
@click.option("--rows", default=2_000_000, show_default=True, help="Requests, and REPORT lines.")
@click.option("--rounds", default=1, show_default=True, help="Measure so often; of each way the quickest counts.")
@click.option("--only", type=click.Choice((OURS,)), help="Leave the others out.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the figures here as JSON.")
@click.option("--way", type=click.Choice(tuple(WAYS)), hidden=True)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
def main(rows: int, rounds: int, only: str | None, output: Path | None, way: str | None, folder: Path | None) -> None:
    """Seconds and memory of joining a large run. FOLDER: where to put its files instead; they stay there."""
    if way and folder:
        WAYS[way](RunDir(folder))
        return
    console = Console()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        run = RunDir(folder or Path(temporary))
        run.path.mkdir(parents=True, exist_ok=True)
        if not run.requests_files():
            # In a process of its own, whose memory does not count as that of the processes that follow; and on disk
            # before anything is measured.
            generating = multiprocessing.get_context("spawn").Process(target=generate, args=(run, rows))
            generating.start()
            generating.join()
            if generating.exitcode:
                raise click.ClickException("the files of the run could not be made")
            os.sync()
        ways = [only] if only else list(WAYS)
        # Each round begins with another one: who follows the greatest finds the pages that it gave back.
        turns = [ways[(number + place) % len(ways)] for number in range(rounds) for place in range(len(ways))]
        measured = [measure(way, run, rows) for way in turns]
    best = [min((one for one in measured if one["way"] == way), key=lambda one: one["seconds"]) for way in ways]
    best = [{**one, "times_ours": round(one["seconds"] / best[0]["seconds"], 2)} for one in best]
    figures = {"benchmark": "join", "rows": rows, "cpu": cpu_model(), "ways": best}
    if output is not None:
        output.write_text(json.dumps(figures, indent=2) + "\n")
    table = Table("", "seconds", "CPU s", "peak memory MB", "times ours", title=f"join of {rows:,} requests")
    for one in best:
        table.add_row(*(str(one[key]) for key in ("way", "seconds", "cpu_s", "peak_memory_mb", "times_ours")))
    console.print(table)
    console.print_json(json.dumps(figures))
    times = times_statement({one["way"]: one["seconds"] for one in best})
    if times is not None and times > MOST_TIMES_STATEMENT:
        raise click.ClickException(
            f"ours took {times:.2f} times as long as the statement: {MOST_TIMES_STATEMENT} at most"
        )


if __name__ == "__main__":
    main()
