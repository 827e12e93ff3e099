"""The files of a run as the analysis reads them: what is damaged is an error that names the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from analysis.errors import DataFormatError, IncompleteError, UsageError, is_interruption
from analysis.evidence import MEMORY_LIMIT
from runstore.rundir import RunDir

SUMMARY_SCHEMA = 1
"""Of `summary.json`."""


def read_json(run: RunDir, name: str) -> dict[str, Any]:
    """A JSON file of the run; empty where there is none. Raises DataFormatError where it is something else."""
    file = run.file(name)
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as broken:
        raise DataFormatError(f"{file} is not JSON: {broken}") from broken
    if not isinstance(read, dict):
        raise DataFormatError(f"{file} is not a JSON object")
    return read


def read_summary(run: RunDir) -> dict[str, Any]:
    """`summary.json`. Raises UsageError where the run was not analysed yet, DataFormatError where the file is damaged
    or of another version."""
    if not run.file("summary.json").exists():
        raise UsageError(
            f"{run.run_id} has no summary.json", f"analyse it first: python -m analysis analyze {run.run_id}"
        )
    summary = read_json(run, "summary.json")
    schema = summary.get("schema", SUMMARY_SCHEMA)
    if schema != SUMMARY_SCHEMA:
        raise DataFormatError(
            f"{run.file('summary.json')} has schema {schema!r}, and here {SUMMARY_SCHEMA} is read",
            f"analyse the run again: python -m analysis analyze {run.run_id}",
        )
    return summary


def read_pull(run: RunDir) -> dict[str, Any]:
    """`pull.json`; empty where a table that it tells of is gone: nothing was counted then, which is not 0."""
    pulled = read_json(run, "pull.json")
    return pulled if all(run.file(f"{table}.parquet").is_file() for table in pulled.get("tables") or ()) else {}


@contextmanager
def files_blamed(run: RunDir) -> Iterator[None]:
    """Turn DuckDB's errors about a file of the run, damaged, not to be written or too large, into IncompleteError, and
    what it makes of a Ctrl-C into KeyboardInterrupt again."""
    try:
        yield
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except duckdb.OutOfMemoryException as error:
        raise IncompleteError(
            f"{run.path}: the rows of the run do not fit into {MEMORY_LIMIT} of memory: {str(error).splitlines()[0]}",
            "are there megabytes of text in each? What could be put on the disk (.spill) was; look at requests-*.csv",
        ) from error
    except duckdb.Error as error:
        if str(run.path) not in str(error):
            raise
        hint = "is there room on the disk? Tables that are damaged are fetched again once they are deleted"
        raise IncompleteError(str(error).splitlines()[0], hint) from error
    except RuntimeError as error:
        if is_interruption(error):
            raise KeyboardInterrupt from None
        raise
