"""What the logs of a run must hold, by what the client and the access log know of its requests.

Every invocation that they know of must have its REPORT, under the id that they know or the one that its correlation
line names, and every request that a function answered its line in the access log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from analysis import log_tables
from analysis.requests_table import HTTP_METHODS, literal

_KNOWN = """
    SELECT lambda_request_id AS request_id, coalesce(ended_at, started_at) AS known_at,
           CASE WHEN method = 'Invoke' THEN correlation_id END AS correlation_id FROM requests
    WHERE lambda_request_id IS NOT NULL AND coalesce(status, 200) NOT IN (429, 500, 503)
"""
"""SQL for the invocations that the client knows of. A refusal too carries a request id, but nothing was invoked."""

_ACCEPTED = """
    SELECT lambda_request_id AS request_id, "at" + coalesce(response_latency_ms, 0) / 1000 AS known_at
    FROM in_access_log
    WHERE lambda_request_id IS NOT NULL AND coalesce(integration_status, 200) BETWEEN 200 AND 299"""
"""SQL for the invocations that Lambda accepted from the API."""

_ANSWERED = f"""
    SELECT request_id, ended_at AS known_at FROM requests
    WHERE (status BETWEEN 200 AND 299 OR lambda_request_id IS NOT NULL) AND method IN {HTTP_METHODS}
    AND request_id IS NOT NULL
    AND endpoint IN (SELECT DISTINCT endpoint FROM requests SEMI JOIN in_access_log USING (request_id))"""
"""SQL for the requests that the access log must have, of the endpoints that it has any of: those of another API, or
known there by another id, are not in it. API Gateway does not log all that it refuses itself (AWS documentation,
set-up-logging)."""


@dataclass(frozen=True)
class Absent:
    """What the logs should have, and do not."""

    what: str
    count: int
    earliest: float
    """When the first of them was over, epoch seconds."""

    def described(self, now: float) -> str:
        return f"{self.count:,} {self.what}, up to {now - self.earliest:.0f} s later"


class ExpectedLogs:
    """Of one run. `requests`: a database with the table `requests` of `analysis.requests_table`; `folder`: where files
    may lie for a moment, which is made."""

    def __init__(self, requests: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._requests, self._folder = requests, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._read_access_log([])

    def absent(self, functions: Sequence[Path], access: Sequence[Path]) -> list[Absent]:
        """What is known to have happened, and is in none of these answers of `analysis.log_queries`: to EVENTS, to
        ACCESS."""
        self._read_access_log(access)
        reported = log_tables.request_ids(functions)
        self._requests.execute(
            f"""CREATE OR REPLACE TEMP TABLE absent AS
                FROM ({_KNOWN} UNION ALL BY NAME {_ACCEPTED}) AS known
                ANTI JOIN ({reported}) AS reported USING (request_id)"""
        )
        if self._counted("absent", ""):
            self._take_out_correlated(functions, reported)
        unlogged = f"({_ANSWERED}) AS answered ANTI JOIN in_access_log USING (request_id)"
        return [
            *self._counted("absent", "invocations that are known of have no REPORT line"),
            *self._counted(unlogged, "requests that were answered have no line in the access log"),
        ]

    def uncalled_failures(self, functions: Sequence[Path]) -> list[str]:
        """When each function last failed, as Logs Insights writes times, of which nobody knows an invocation in these
        answers to EVENTS: what invokes it may do so again."""
        failures = self._requests.execute(log_tables.newest_errors(functions)).fetchall()
        return [newest for function, newest in failures if not self._is_called(function, functions)]

    def _counted(self, rows: str, what: str) -> list[Absent]:
        """What is absent, where `rows` (SQL, with known_at) are any."""
        found = self._requests.execute(f"SELECT count(*), min(known_at) FROM {rows}").fetchone()
        return [Absent(what, *found)] if found and found[0] else []

    def _take_out_correlated(self, files: Sequence[Path], reported: str) -> None:
        """Not absent is what was reported under another id, which its correlation line tells: an emulator may answer an
        Invoke with an id of its own. Lines with a message's id are of later hops, and tell nothing of the first."""
        parsed = self._folder / "correlated.partial"
        log_tables.write_correlations(files, parsed)
        self._requests.execute(
            f"""DELETE FROM absent WHERE correlation_id IN (
                   SELECT correlation_id FROM read_parquet({literal(str(parsed))}) JOIN ({reported}) USING (request_id)
                   WHERE message_id IS NULL)"""
        )
        parsed.unlink()

    def _read_access_log(self, files: Sequence[Path]) -> None:
        """Table `in_access_log`: the requests there."""
        parsed = self._folder / "known.partial"
        log_tables.write_access_log(files, parsed)
        self._requests.execute(
            """CREATE OR REPLACE TABLE in_access_log AS
               SELECT request_id, lambda_request_id, integration_status, "at", response_latency_ms
               FROM read_parquet($1)""",
            [str(parsed)],
        )
        parsed.unlink()

    def _is_called(self, function: str, files: Sequence[Path]) -> bool:
        """Whether the client knows an invocation of the function."""
        reported = log_tables.request_ids(files, function)
        known = f"SELECT 1 FROM ({_KNOWN} UNION ALL BY NAME {_ACCEPTED}) AS known JOIN ({reported}) USING (request_id)"
        return self._requests.execute(f"{known} LIMIT 1").fetchone() is not None
