"""The files of a run as the analysis reads them: what is damaged is an error that names the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import duckdb
from pydantic import ValidationError

from analysis import run_forms
from analysis.errors import DataFormatError, IncompleteError, UsageError, is_interruption
from analysis.evidence import MEMORY_LIMIT
from analysis.formatting import visible
from analysis.run_forms import Form
from analysis.summary_form import Summary
from config.errors import problems_of
from runstore.rundir import MANIFEST_SCHEMA, RunDir

SUMMARY_SCHEMA = 1
"""Of `summary.json`."""
_SCHEMAS = {"manifest.json": MANIFEST_SCHEMA, "summary.json": SUMMARY_SCHEMA}
PROBLEMS_SHOWN = 3
_AGAIN = "delete it, and fetch it again: python -m analysis pull {run}"
_UNCOMPARED = "delete it: the run's tables are not compared then"
_FILES: Mapping[str, tuple[type[Form], str]] = {
    "manifest.json": (run_forms.Manifest, "mend it, or take it away: requests and Locust's files are analysed then"),
    "pull.json": (run_forms.Pull, _AGAIN),
    "metrics.json": (run_forms.Metrics, _AGAIN),
    "deployment.json": (run_forms.Deployment, _AGAIN),
    "tables_before.json": (run_forms.TableSnapshot, _UNCOMPARED),
    "tables_after.json": (run_forms.TableSnapshot, _UNCOMPARED),
    "summary.json": (Summary, "analyse the run again: python -m analysis analyze {run}"),
    "truth.json": (run_forms.Truth, "it should be the sandbox's answer to GET /_sandbox/truth"),
}
"""File -> what must be in it, and what to do where it is not."""


def read_json(run: RunDir, name: str) -> dict[str, Any]:
    """One of the run's _FILES; empty where there is none.

    Raises DataFormatError where it is no JSON, or holds something else than the analysis takes it for.
    """
    file = run.file(name)
    form, remedy = _FILES[name]
    try:
        read = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        return {}
    except ValueError as broken:
        problem = f"is not JSON: {broken}"
    except RecursionError:
        problem = "is nested too deep"
    else:
        found = _problem(form, read, _SCHEMAS.get(name))
        if found is None:
            return dict(read)
        problem = found
    raise DataFormatError(f"{file} {problem}", remedy.format(run=run.run_id))


def _problem(form: type[Form], read: Any, schema: int | None) -> str | None:
    """What is wrong with what a file holds, as the end of a sentence; None where nothing is."""
    if not isinstance(read, dict):
        return "is not a JSON object"
    if schema is not None and read.get("schema", schema) != schema:
        return f"has schema {visible(read['schema'], 30)}, and here {schema} is read"
    try:
        form.model_validate(read)
    except ValidationError as invalid:
        problems = [visible(problem, 200) for problem in problems_of(invalid)]
        more = len(problems) - PROBLEMS_SHOWN
        shown = [*problems[:PROBLEMS_SHOWN], *([f"and {more:,} more"] if more > 0 else [])]
        return f"is not what it should be: {'; '.join(shown)}"
    return None


def _refuse(constant: str) -> NoReturn:
    """Python's reader takes NaN and Infinity, which are no JSON."""
    raise ValueError(f"{constant} is no number")


def read_summary(run: RunDir) -> dict[str, Any]:
    """`summary.json`. Raises UsageError where the run was not analysed yet, DataFormatError where the file is damaged
    or of another version."""
    if not run.file("summary.json").exists():
        raise UsageError(
            f"{run.run_id} has no summary.json", f"analyse it first: python -m analysis analyze {run.run_id}"
        )
    return read_json(run, "summary.json")


def read_pull(run: RunDir) -> dict[str, Any]:
    """`pull.json`; empty where a table that it tells of is gone: nothing was counted then, which is not 0."""
    pulled = read_json(run, "pull.json")
    return pulled if all(run.file(f"{table}.parquet").is_file() for table in pulled.get("tables") or ()) else {}


_FILE_HINT = (
    "is there room on the disk, and may it be written to? Was a file altered meanwhile? Tables that are damaged are "
    "fetched again once they are deleted"
)


@contextmanager
def files_blamed(run: RunDir) -> Iterator[None]:
    """Turn errors about a file of the run, damaged, not to be written or too large, into IncompleteError, and what
    DuckDB makes of a Ctrl-C into KeyboardInterrupt again."""
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
        if is_interruption(error):
            raise KeyboardInterrupt from None
        if str(run.path) not in str(error):
            raise
        raise IncompleteError(str(error).splitlines()[0], _FILE_HINT) from error
    except RuntimeError as error:
        if is_interruption(error):
            raise KeyboardInterrupt from None
        raise
