"""A run for notebooks and scripts: its tables as pandas frames, its summary as a dictionary.

    >>> run = analysis.runs.load("runs/latest")
    >>> run.joined.groupby("inv_function").response_ms.quantile(0.95)
    >>> run.read_joined(["name", "response_ms"], where="status >= 500")
    >>> run.summary["client"]["failures"]

Times are epoch seconds (float), durations milliseconds; what is absent is NA.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from analysis.errors import DataFormatError, UsageError
from analysis.evidence import connect, quoted
from analysis.joined_table import JOINED_COLUMNS
from analysis.requests_table import COLUMN_TYPES, create_requests, literal
from analysis.run_files import read_summary
from runstore.columns import ADDED_COLUMNS, REQUEST_COLUMNS
from runstore.rundir import RunDir, RunNotFoundError


class Run:
    """A run directory. Each table is read when it is first asked for, and kept."""

    def __init__(self, directory: RunDir) -> None:
        self.directory = directory

    def __repr__(self) -> str:
        return f"Run({str(self.directory.path)!r})"

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per request, dropped arrivals among them: the columns of `runstore.columns.REQUEST_COLUMNS`."""
        db = connect()
        create_requests(db, self.directory.requests_files())
        return db.execute(f"SELECT {', '.join(REQUEST_COLUMNS)} FROM requests ORDER BY row").df()

    @cached_property
    def invocations(self) -> pd.DataFrame:
        """One row per REPORT line: the columns of `analysis.evidence.INVOCATIONS`. Raises UsageError without a pull."""
        return self._parquet("invocations.parquet")

    @cached_property
    def joined(self) -> pd.DataFrame:
        """One row per request with its invocation's columns (`joined_table.JOINED_COLUMNS`), in the files' order.

        All columns of ten million requests take 6 GB: see `read_joined`. Raises UsageError before the run was analysed.
        """
        return self.read_joined()

    def read_joined(self, columns: Sequence[str] | None = None, where: str | None = None) -> pd.DataFrame:
        """`joined` with these columns only, and only the rows for which `where` holds; no more than that is read.

        `where` is an SQL condition over any of the columns: `status >= 500 AND inv_init_ms IS NOT NULL`. Raises
        UsageError for a column that there is none of, for no column at all, for a condition that is none, and before
        the run was analysed, DataFormatError where the file is damaged.
        """
        known = (*REQUEST_COLUMNS, *JOINED_COLUMNS)
        if columns is not None and not len(columns):
            raise UsageError("columns = [] asks for none", f"there are {', '.join(known)}")
        unknown = [column for column in columns or () if column not in known]
        if unknown:
            raise UsageError(f"no column {', '.join(unknown)} in joined.parquet", f"there are {', '.join(known)}")
        file = self._file("joined.parquet")
        try:
            source = connect().read_parquet(str(file))
            for column in ADDED_COLUMNS.difference(source.columns):
                source = source.project(f"*, NULL::{COLUMN_TYPES[column]} AS {column}")
            rows = source if where is None else source.filter(where)
            # files of earlier versions are in order and do not have it
            rows = rows.order("row") if "row" in source.columns else rows
            return rows.project(", ".join(map(quoted, known if columns is None else columns))).df()
        except duckdb.Error as refused:
            reason = str(refused).splitlines()[0]
            if where is None or str(file) in reason:
                raise DataFormatError(f"{file}: {reason}", "analyse the run again") from None
            raise UsageError(f"where = {where!r}: {reason}", "it takes an SQL condition over the columns") from None

    @cached_property
    def summary(self) -> dict[str, Any]:
        """`summary.json`. Raises UsageError before the run was analysed."""
        return read_summary(self.directory)

    def _parquet(self, name: str) -> pd.DataFrame:
        return connect().execute(f"FROM read_parquet({literal(str(self._file(name)))})").df()

    def _file(self, name: str) -> Path:
        file = self.directory.file(name)
        if not file.is_file():
            run = self.directory.run_id
            raise UsageError(f"{run} has no {name}", f"analyse it first: python -m analysis analyze {run}")
        return file


def load(path: str | Path) -> Run:
    """The run of a directory. Raises RunNotFoundError where there is none."""
    directory = Path(path)
    if not directory.is_dir():
        raise RunNotFoundError(f"no run directory {str(path)!r}")
    return Run(RunDir(directory.resolve()))
