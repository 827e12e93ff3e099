"""A run over time: users, rates, latency percentiles, errors, cold starts and concurrency in bins of equal width.

A request belongs to the bin in which it started (one that was dropped, to the bin in which it was due), an invocation
to the bin in which it started. Warm-up is part of the picture, and marked. The whole is computed by DuckDB and numpy
over columns: ten million rows are a few seconds and no row is touched by Python.

A bin without requests has rate 0 and no percentile; a run without rows, invocations or history has no such series.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from runstore.columns import DROPPED, REQUEST_COLUMNS, UNFINISHED
from runstore.rundir import RunDir

MAX_BINS = 600
WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)

Floats = NDArray[np.float64]
UserHistory = Callable[[Path], "tuple[Floats, Floats]"]
"""Reads Locust's history file: epoch seconds, and the number of users at each."""


@dataclass(frozen=True)
class Series:
    """All arrays have one value a bin. NaN: not measured in that bin. None or {}: not measured at all."""

    starts_at: float
    """Epoch seconds of the first bin's beginning."""
    width_s: int
    bins: int
    warmup_until: float | None = None
    """Epoch seconds at which the last request of the warm-up started; None where there was no warm-up."""
    users: Floats | None = None
    sent_per_s: Floats | None = None
    failed_per_s: Floats | None = None
    latency_ms: Mapping[str, Floats] = field(default_factory=dict)
    """`p50`, `p95`, `p99`."""
    errors_per_s: Mapping[str, Floats] = field(default_factory=dict)
    """By status, or by what stood in its place: `no response`, `dropped`, `unfinished`."""
    cold_starts: Mapping[str, Floats] = field(default_factory=dict)
    """By function: invocations that began with an init or a restore."""
    concurrency: Mapping[str, Floats] = field(default_factory=dict)
    """By function: the most invocations that were under way at once within the bin."""

    @property
    def at(self) -> Floats:
        """Epoch seconds of each bin's beginning."""
        return self.starts_at + self.width_s * np.arange(self.bins, dtype=float)


def build(run: RunDir, history: UserHistory) -> Series | None:
    """The series of a run, or None for one that has neither requests nor invocations nor history."""
    connection = duckdb.connect()
    requests = _requests(connection, run)
    invocations = _invocations(connection, run)
    users = _history(run, history)
    span = _span(connection, requests, invocations, users)
    if span is None:
        return None
    starts_at, width_s, bins = span
    binning = {"starts_at": starts_at, "width_s": width_s}
    values: dict[str, Any] = {}
    if requests:
        values.update(_rates_and_latency(connection, binning, bins))
        values["errors_per_s"] = _errors(connection, binning, bins)
    if invocations:
        values["cold_starts"] = _cold_starts(connection, binning, bins)
        values["concurrency"] = _concurrency(connection, starts_at, width_s, bins)
    if users is not None:
        values["users"] = _last_in_bin(*users, starts_at, width_s, bins)
    return Series(starts_at, width_s, bins, **values)


def bin_width(seconds: float) -> int:
    """The least width of WIDTHS_S that cuts `seconds` into at most MAX_BINS bins; whole hours beyond the last."""
    for width in WIDTHS_S:
        if seconds <= width * MAX_BINS:
            return width
    return math.ceil(seconds / MAX_BINS / 3600) * 3600


def most_at_once(started_at: Floats, ended_at: Floats, edges: Floats) -> Floats:
    """The greatest number of intervals [started_at, ended_at) that hold a common moment, for each bin between `edges`.

    The number only grows at a start, so the greatest of a bin is found among the number at its lower edge and the
    numbers just after each start in it: the starts so far minus the ends so far.
    """
    starts, ends = np.sort(started_at), np.sort(ended_at)
    lower = edges[:-1]
    most = (np.searchsorted(starts, lower, "right") - np.searchsorted(ends, lower, "right")).astype(float)
    after_start = np.arange(1, len(starts) + 1) - np.searchsorted(ends, starts, "right")
    bin_of_start = np.searchsorted(edges, starts, "right") - 1
    inside = (bin_of_start >= 0) & (bin_of_start < len(most))
    np.maximum.at(most, bin_of_start[inside], after_start[inside])
    return most


def _requests(connection: duckdb.DuckDBPyConnection, run: RunDir) -> bool:
    """Make the view `requests`, from the joined table or else the CSVs. False where the run has neither."""
    files = run.requests_files()
    if run.file("joined.parquet").is_file():
        source = connection.read_parquet(str(run.file("joined.parquet")))
    elif files:
        # every column as text, and short last lines filled up: a killed process may leave half a row
        source = connection.read_csv(
            [str(file) for file in files],  # type: ignore[arg-type]  # the stub knows single files only
            header=True,
            columns=dict.fromkeys(REQUEST_COLUMNS, "VARCHAR"),
            null_padding=True,
            strict_mode=False,
        )
    else:
        return False
    source.select(
        *(duckdb.SQLExpression(f"try_cast({name} AS DOUBLE) AS {name}") for name in ("started_at", "response_ms")),
        duckdb.SQLExpression("coalesce(try_cast(started_at AS DOUBLE), try_cast(scheduled_at AS DOUBLE)) AS begun_at"),
        duckdb.SQLExpression("try_cast(ok AS INTEGER) = 1 AS ok"),
        duckdb.SQLExpression("nullif(status::VARCHAR, '') AS status"),
        duckdb.SQLExpression("error::VARCHAR AS error"),
        duckdb.SQLExpression("nullif(function_error::VARCHAR, '') AS function_error"),
        duckdb.SQLExpression("phase::VARCHAR AS phase"),
    ).filter("begun_at IS NOT NULL").create_view("requests")
    return True


def _invocations(connection: duckdb.DuckDBPyConnection, run: RunDir) -> bool:
    """Make the view `invocations`. False where the run has none."""
    file = run.file("invocations.parquet")
    if not file.is_file():
        return False
    connection.read_parquet(str(file)).filter("started_at IS NOT NULL AND reported_at IS NOT NULL").create_view(
        "invocations"
    )
    return True


def _history(run: RunDir, history: UserHistory) -> tuple[Floats, Floats] | None:
    file = run.file("locust_stats_history.csv")
    if not file.is_file():
        return None
    at, users = history(file)
    return (at, users) if len(at) else None


def _span(
    connection: duckdb.DuckDBPyConnection,
    requests: bool,
    invocations: bool,
    users: tuple[Floats, Floats] | None,
) -> tuple[float, int, int] | None:
    """Beginning (a whole second), width and number of the bins that hold everything the run has."""
    spans: list[tuple[float | None, float | None]] = []
    if requests:
        spans += connection.execute(
            "SELECT min(begun_at), max(begun_at + coalesce(response_ms, 0) / 1000) FROM requests"
        ).fetchall()
    if invocations:
        spans += connection.execute("SELECT min(started_at), max(reported_at) FROM invocations").fetchall()
    if users is not None and not any(begin is not None for begin, _ in spans):
        spans.append((float(users[0].min()), float(users[0].max())))
    begins = [begin for begin, _ in spans if begin is not None]
    ends = [end for _, end in spans if end is not None]
    if not begins or not ends:
        return None
    starts_at = float(math.floor(min(begins)))
    seconds = max(ends) - starts_at
    width_s = bin_width(seconds)
    return starts_at, width_s, max(math.floor(seconds / width_s) + 1, 1)


_BIN = "CAST(floor(({at} - $starts_at) / $width_s) AS INTEGER)"


def _rates_and_latency(connection: duckdb.DuckDBPyConnection, binning: Mapping[str, Any], bins: int) -> dict[str, Any]:
    found = connection.execute(
        f"""
        SELECT {_BIN.format(at="begun_at")} AS bin, count(started_at) AS sent,
               count(*) FILTER (started_at IS NOT NULL AND NOT ok) AS failed,
               quantile_cont(response_ms, [0.5, 0.95, 0.99]) AS percentiles
        FROM requests GROUP BY bin ORDER BY bin
        """,
        binning,
    ).fetchall()
    sent, failed = np.zeros(bins), np.zeros(bins)
    latency = np.full((3, bins), np.nan)
    for index, sent_here, failed_here, percentiles in found:
        sent[index], failed[index] = sent_here, failed_here
        if percentiles is not None:
            latency[:, index] = percentiles
    warmup = connection.execute("SELECT max(started_at) FROM requests WHERE phase = 'warmup'").fetchone()
    return {
        "sent_per_s": sent / binning["width_s"],
        "failed_per_s": failed / binning["width_s"],
        "latency_ms": dict(zip(("p50", "p95", "p99"), latency, strict=True)),
        "warmup_until": warmup[0] if warmup else None,
    }


def _errors(connection: duckdb.DuckDBPyConnection, binning: Mapping[str, Any], bins: int) -> dict[str, Floats]:
    found = connection.execute(
        f"""
        SELECT CASE WHEN error IN ('{DROPPED}', '{UNFINISHED}') THEN error
                    WHEN function_error IS NOT NULL THEN concat_ws(' ', status, 'function error')
                    ELSE coalesce(status, 'no response') END AS label,
               {_BIN.format(at="begun_at")} AS bin, count(*)
        FROM requests WHERE NOT ok GROUP BY ALL
        """,
        binning,
    ).fetchall()
    return {label: values / binning["width_s"] for label, values in _by_label(found, bins).items()}


def _cold_starts(connection: duckdb.DuckDBPyConnection, binning: Mapping[str, Any], bins: int) -> dict[str, Floats]:
    found = connection.execute(
        f"""
        SELECT function, {_BIN.format(at="started_at")} AS bin, count(*)
        FROM invocations WHERE init_ms IS NOT NULL OR restore_ms IS NOT NULL GROUP BY ALL
        """,
        binning,
    ).fetchall()
    return _by_label(found, bins)


def _by_label(found: list[tuple[Any, ...]], bins: int) -> dict[str, Floats]:
    """(label, bin, number) rows as one array a label, the most frequent label first."""
    counts: dict[str, Floats] = {}
    for label, index, number in found:
        counts.setdefault(label, np.zeros(bins))[index] = number
    return dict(sorted(counts.items(), key=lambda item: (-item[1].sum(), item[0])))


def _concurrency(connection: duckdb.DuckDBPyConnection, starts_at: float, width_s: int, bins: int) -> dict[str, Floats]:
    edges = starts_at + width_s * np.arange(bins + 1, dtype=float)
    most: dict[str, Floats] = {}
    for (function,) in connection.execute("SELECT DISTINCT function FROM invocations ORDER BY 1").fetchall():
        columns = connection.execute(
            "SELECT started_at, reported_at FROM invocations WHERE function = $function", {"function": function}
        ).fetchnumpy()
        started_at, ended_at = (np.asarray(columns[name], dtype=float) for name in ("started_at", "reported_at"))
        most[function] = most_at_once(started_at, ended_at, edges)
    return dict(sorted(most.items(), key=lambda item: -item[1].max()))


def _last_in_bin(at: Floats, values: Floats, starts_at: float, width_s: int, bins: int) -> Floats:
    """The last of the values up to the end of each bin; NaN before the first and in bins after the last one's."""
    ends = starts_at + width_s * np.arange(1, bins + 1, dtype=float)
    order = np.argsort(at, kind="stable")
    index = np.searchsorted(at[order], ends, "left") - 1
    last = np.where(index >= 0, values[order][np.maximum(index, 0)], np.nan)
    return np.where(ends - width_s > at[order][-1], np.nan, last)
