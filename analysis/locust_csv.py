"""Locust's own CSV files as pandas frames.

Columns keep Locust's names (`Request Count`, `50%`, ...); what is added or converted:

- numbers are nullable (`Int64`, `Float64`), text is `string`; Locust's `N/A` and empty cells are NA
- `Timestamp`, `First Seen`, `Last Seen` are datetimes in UTC
- `Aggregated` (boolean, last column) marks the rows in which Locust sums up all requests; Locust gives them no Type

Read as far as they are sound: Locust rewrites and flushes these files every few seconds, so a copy of a killed run may
end in half a row. Half a row is left out, and a cell that the end of the file may have cut short is NA; both with a
DataIncompleteWarning. Line ends may be `\\n`, `\\r\\n` or the `\\r\\r\\n` of a Locust on Windows.

Percentiles in these files are Locust's: rounded to two digits above 100 ms, and in the history cumulative since the
start, unless Locust ran with --csv-full-history. What the summary says comes from the request rows instead.

Source of the formats: locust/stats.py, class StatsCSV, of Locust 2.47; First Seen and Last Seen are new in recent
releases and absent from older files.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

AGGREGATED = "Aggregated"
_TEXT = ("Type", "Name", "Method", "Error", "Message", "Traceback", "Nodes")
_COUNTS = ("User Count", "Request Count", "Failure Count", "Occurrences", "Count")
_TIMES = ("First Seen", "Last Seen")
_PERCENTILE = re.compile(r"[0-9]+(\.[0-9]+)?%")

_STATS = ("Type", "Name", "Request Count", "Failure Count", "Median Response Time", "Average Response Time")
_HISTORY = ("Timestamp", "User Count", "Type", "Name", "Requests/s", "Failures/s", "Total Request Count")
_FAILURES = ("Method", "Name", "Error", "Occurrences")
_EXCEPTIONS = ("Count", "Message", "Traceback", "Nodes")


class LocustCsvError(ValueError):
    """The file is not the Locust CSV it should be; the message names it and what is missing."""


class DataIncompleteWarning(UserWarning):
    """The file's end is cut off; what was sound has been read."""


def read_stats(path: str | Path) -> pd.DataFrame:
    """`*_stats.csv`: one row per request name and one for all, in Locust's columns.

    Raises FileNotFoundError, or LocustCsvError where the file is empty or another kind of file.
    """
    return _read(Path(path), _STATS)


def read_history(path: str | Path) -> pd.DataFrame:
    """`*_stats_history.csv`: one row per second (and per name with --csv-full-history), `Timestamp` in UTC."""
    return _read(Path(path), _HISTORY)


def read_failures(path: str | Path) -> pd.DataFrame:
    """`*_failures.csv`: one row per method, name and error text."""
    return _read(Path(path), _FAILURES)


def read_exceptions(path: str | Path) -> pd.DataFrame:
    """`*_exceptions.csv`: one row per exception raised in user code, with its traceback."""
    return _read(Path(path), _EXCEPTIONS)


def _read(path: Path, required: Sequence[str]) -> pd.DataFrame:
    # newline="" keeps the line ends that are in quoted tracebacks; utf-8-sig drops what Excel puts first
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        text = file.read().replace("\r\r\n", "\r\n").replace("\x00", "")
    header, rows = _whole_rows(path, text)
    missing = [name for name in required if name not in header]
    if missing:
        found = f"its first line is {','.join(header)[:200]!r}" if header else "it is empty"
        raise LocustCsvError(f"{path}: not the Locust CSV that was expected: no column {', '.join(missing)}; {found}")
    columns = {name: [row[index] for row in rows] for index, name in enumerate(header)}
    try:
        frame = pd.DataFrame({name: _column(name, cells) for name, cells in columns.items()})
    except ValueError as error:
        raise LocustCsvError(f"{path}: {error}") from error
    if "Name" in frame:
        frame["Aggregated"] = (frame["Name"] == AGGREGATED).fillna(False).astype("boolean")
        if "Type" in frame:
            frame["Aggregated"] &= frame["Type"].isna()
    return frame


def _whole_rows(path: Path, text: str) -> tuple[list[str], list[list[str | None]]]:
    """-> (header, rows as wide as it), the last one only as far as it is whole."""
    lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    if not lines:
        return [], []
    header = [name.strip() for name in lines[0]]
    rows: list[list[str | None]] = [list(line) for line in lines[1:]]
    if rows and len(rows[-1]) < len(header):
        _warn(f"{path}: the last row is cut off and left out")
        rows.pop()
    elif rows and not text.endswith(("\n", "\r")):
        _warn(f"{path}: the last line has no end; its last cell may be cut short and is left out")
        rows[-1][-1] = None
    uneven = next((number for number, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if uneven is not None:
        raise LocustCsvError(
            f"{path}: row {uneven} has {len(rows[uneven - 2])} cells where the header has {len(header)}"
        )
    return header, rows


def _warn(message: str) -> None:
    warnings.warn(message, DataIncompleteWarning, stacklevel=5)


def _column(name: str, cells: Sequence[str | None]) -> pd.Series:
    present = [None if cell is None or cell in ("", "N/A") else cell for cell in cells]
    values = pd.Series(present, dtype="string")
    if name in _TEXT:
        return values
    if name == "Timestamp":
        return pd.to_datetime(_numbers(name, values, "Float64"), unit="s", utc=True)
    if name in _TIMES:
        return _times(name, values)
    whole = name in _COUNTS or name.endswith((" Request Count", " Failure Count"))
    if whole or _PERCENTILE.fullmatch(name) or name.endswith(("Time", "Size", "/s")):
        return _numbers(name, values, "Int64" if whole else "Float64")
    return values


def _numbers(name: str, values: pd.Series, dtype: str) -> pd.Series:
    try:
        return pd.to_numeric(values).astype(dtype)  # type: ignore[call-overload]
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {name!r} holds what is no number: {error}") from error


def _times(name: str, values: pd.Series) -> pd.Series:
    try:
        return pd.to_datetime(values, utc=True, format="ISO8601")
    except ValueError as error:
        raise ValueError(f"column {name!r} holds what is no time: {error}") from error
