"""A run over time: users, rates, latency percentiles, errors, cold starts and concurrency in bins of equal width.

A request belongs to the bin in which it started (one that was dropped, to the bin in which it was due), an invocation
to the bin in which it started. Warm-up is part of the picture, and marked. The whole is computed by DuckDB and numpy
over columns: ten million rows are a few seconds and no row is touched by Python.

A bin without requests has rate 0 and no percentile; a run without rows, invocations or history has no such series.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from analysis.clocks import LONGEST_RUN_S, middle_time
from analysis.evidence import connect
from analysis.functions import COLD, OCCUPIED_FROM
from analysis.requests_table import create_requests, create_requests_view, literal
from runstore.columns import DROPPED, UNFINISHED
from runstore.rundir import RunDir

MAX_BINS = 600
LONGEST_ANSWER_MS = 900_000.0
"""Lambda's longest timeout. Whatever a row says, nobody waited longer, and no bins are made for it."""
WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)

Floats = NDArray[np.float64]


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
    of_locust: bool = False
    """Whether rates and latency are Locust's own, over its last 10 s each: the run has no rows of requests."""
    offered_per_s: Floats | None = None
    """Sent and dropped, where they were due; None where nothing was dropped: then it is what was sent."""
    sent_per_s: Floats | None = None
    failed_per_s: Floats | None = None
    latency_ms: Mapping[str, Floats] = field(default_factory=dict)
    """`p50`, `p95`, `p99`."""
    errors_per_s: Mapping[str, Floats] = field(default_factory=dict)
    """By status, or by what stood in its place: `no response`, `dropped`, `unfinished`."""
    cold_starts: Mapping[str, Floats] = field(default_factory=dict)
    """By function: invocations that began with an init or a restore."""
    not_drawn: int = 0
    """Requests and invocations whose times are too far from the others' to be in the picture."""
    concurrency: Mapping[str, Floats] = field(default_factory=dict)
    """By function: the most invocations that were under way at once within the bin, inits included."""

    @property
    def at(self) -> Floats:
        """Epoch seconds of each bin's beginning."""
        return self.starts_at + self.width_s * np.arange(self.bins, dtype=float)


def build(run: RunDir) -> Series | None:
    """The series of a run, or None for one that has neither requests nor invocations nor history."""
    db = connect(run.file(".spill"))
    requests = _requests(db, run)
    invocations = _invocations(db, run)
    history = _history(run)
    not_drawn = _keep_within_reach(db, requests, invocations)
    span = _span(db, requests, invocations, history)
    if span is None:
        return None
    starts_at, width_s, bins = span
    binning = {"starts_at": starts_at, "width_s": width_s}
    values: dict[str, Any] = {"not_drawn": not_drawn}
    if requests:
        values.update(_rates_and_latency(db, binning, bins))
        values["offered_per_s"] = _offered(db, binning, bins)
        values["errors_per_s"] = _errors(db, binning, bins)
    if invocations:
        values["cold_starts"] = _cold_starts(db, binning, bins)
        values["concurrency"] = _concurrency(db, starts_at, width_s, bins)
    if history is not None:
        last = {name: _last_in_bin(*history[name], starts_at, width_s, bins) for name in history}
        values["users"] = last["User Count"]
        if not requests:
            values["of_locust"] = True
            values["sent_per_s"], values["failed_per_s"] = last.get("Requests/s"), last.get("Failures/s")
            values["latency_ms"] = {name: last[one] for name, one in _LOCUST_PERCENTILES.items() if one in last}
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


def create_client_rows(db: duckdb.DuckDBPyConnection, run: RunDir) -> bool:
    """Make the view `requests` from the joined table or else the CSVs. False where the run has neither."""
    if run.file("joined.parquet").is_file():
        create_requests_view(db, f"read_parquet({literal(str(run.file('joined.parquet')))})")
    elif run.requests_files():
        create_requests(db, run.requests_files(), run.path)
    else:
        return False
    return True


def _requests(db: duckdb.DuckDBPyConnection, run: RunDir) -> bool:
    """Make the view `rows_sent_or_due`. False where the run has no rows."""
    if not create_client_rows(db, run):
        return False
    db.execute(
        f"""CREATE VIEW rows_sent_or_due AS
           SELECT coalesce(started_at, scheduled_at) AS begun_at, coalesce(scheduled_at, started_at) AS due_at,
                  started_at,
                  CASE WHEN response_ms BETWEEN 0 AND {LONGEST_ANSWER_MS} THEN response_ms END AS response_ms,
                  ok, status::VARCHAR AS status, error, function_error, phase
           FROM requests WHERE begun_at IS NOT NULL"""
    )
    return bool(db.execute("SELECT 1 FROM rows_sent_or_due LIMIT 1").fetchall())


def _invocations(db: duckdb.DuckDBPyConnection, run: RunDir) -> bool:
    """Make the view `reports`. False where the run has none."""
    file = run.file("invocations.parquet")
    if not file.is_file():
        return False
    db.read_parquet(str(file)).filter("started_at IS NOT NULL AND reported_at IS NOT NULL").create_view("reports")
    return True


def _keep_within_reach(db: duckdb.DuckDBPyConnection, requests: bool, invocations: bool) -> int:
    """Make the views `sent_or_due` and `invocations` of those rows whose times are near to the others'; -> how many
    rows are not in them."""
    sources = [
        (there, view, rows, moments)
        for there, view, rows, moments in (
            (requests, "sent_or_due", "rows_sent_or_due", ("begun_at",)),
            (invocations, "invocations", "reports", ("started_at", "reported_at")),
        )
        if there
    ]
    middles = [middle_time(db, rows, moments[0]) for _, _, rows, moments in sources]
    middle = next((one for one in middles if one is not None), 0.0)
    far = 0
    for _, view, rows, moments in sources:
        near = " AND ".join(f"abs({moment} - {middle!r}) < {LONGEST_RUN_S}" for moment in moments)
        db.execute(f"CREATE VIEW {view} AS SELECT * FROM {rows} WHERE {near}")
        far += db.execute(f"SELECT count(*) FROM {rows} WHERE NOT ({near})").fetchall()[0][0]
    return far


_LOCUST_PERCENTILES = {"p50": "50%", "p95": "95%", "p99": "99%"}


def _history(run: RunDir) -> dict[str, tuple[Floats, Floats]] | None:
    """Column of Locust's history -> epoch seconds, and its values there; None where there is none."""
    file = run.file("locust_stats_history.csv")
    if not file.is_file() or file.stat().st_size == 0:
        return None
    # What else looks here for a name or a number need not wait for pandas.
    import pandas as pd

    from analysis.locust_csv import read_history

    rows = read_history(file)
    rows = rows[rows["Aggregated"]].dropna(subset=["Timestamp", "User Count"])
    if rows.empty:
        return None
    at = rows["Timestamp"].map(pd.Timestamp.timestamp).to_numpy(float)
    return {
        column: (at, pd.to_numeric(rows[column], errors="coerce").to_numpy(float))
        for column in ("User Count", "Requests/s", "Failures/s", *_LOCUST_PERCENTILES.values())
        if column in rows
    }


def _span(
    db: duckdb.DuckDBPyConnection,
    requests: bool,
    invocations: bool,
    history: Mapping[str, tuple[Floats, Floats]] | None,
) -> tuple[float, int, int] | None:
    """Beginning (a whole second), width and number of the bins that hold everything the run has."""
    spans: list[tuple[float | None, float | None]] = []
    if requests:
        spans += db.execute(
            "SELECT min(begun_at), max(begun_at + coalesce(response_ms, 0) / 1000) FROM sent_or_due"
        ).fetchall()
    if invocations:
        spans += db.execute("SELECT min(started_at), max(reported_at) FROM invocations").fetchall()
    if history is not None and not any(begin is not None for begin, _ in spans):
        at, _ = history["User Count"]
        spans.append((float(at.min()), float(at.max())))
    begins = [begin for begin, _ in spans if begin is not None]
    ends = [end for _, end in spans if end is not None]
    if not begins or not ends:
        return None
    starts_at = float(math.floor(min(begins)))
    seconds = max(ends) - starts_at
    width_s = bin_width(seconds)
    return starts_at, width_s, max(math.floor(seconds / width_s) + 1, 1)


_BIN = "CAST(floor(({at} - $starts_at) / $width_s) AS INTEGER)"


def _rates_and_latency(db: duckdb.DuckDBPyConnection, binning: Mapping[str, Any], bins: int) -> dict[str, Any]:
    found = db.execute(
        f"""
        SELECT {_BIN.format(at="begun_at")} AS bin, count(started_at) AS sent,
               count(*) FILTER (started_at IS NOT NULL AND NOT ok) AS failed,
               quantile_cont(response_ms, [0.5, 0.95, 0.99]) AS percentiles
        FROM sent_or_due GROUP BY bin ORDER BY bin
        """,
        binning,
    ).fetchall()
    sent, failed = np.zeros(bins), np.zeros(bins)
    latency = np.full((3, bins), np.nan)
    for index, sent_here, failed_here, percentiles in found:
        sent[index], failed[index] = sent_here, failed_here
        if percentiles is not None:
            latency[:, index] = percentiles
    warmup = db.execute("SELECT max(started_at) FROM sent_or_due WHERE phase = 'warmup'").fetchone()
    return {
        "sent_per_s": sent / binning["width_s"],
        "failed_per_s": failed / binning["width_s"],
        "latency_ms": dict(zip(("p50", "p95", "p99"), latency, strict=True)),
        "warmup_until": warmup[0] if warmup else None,
    }


def _offered(db: duckdb.DuckDBPyConnection, binning: Mapping[str, Any], bins: int) -> Floats | None:
    if not db.execute(f"SELECT 1 FROM sent_or_due WHERE error = '{DROPPED}' LIMIT 1").fetchone():
        return None
    offered = np.zeros(bins)
    # A request that was due before the first bin begins was sent in it.
    last = {"last": binning["starts_at"] + binning["width_s"] * (bins - 1)}
    due_at = "least(greatest(due_at, $starts_at), $last)"
    for index, number in db.execute(
        f"SELECT {_BIN.format(at=due_at)} AS bin, count(*) FROM sent_or_due GROUP BY bin", {**binning, **last}
    ).fetchall():
        offered[index] = number
    return offered / binning["width_s"]


def _errors(db: duckdb.DuckDBPyConnection, binning: Mapping[str, Any], bins: int) -> dict[str, Floats]:
    found = db.execute(
        f"""
        SELECT CASE WHEN error IN ('{DROPPED}', '{UNFINISHED}') THEN error
                    WHEN function_error IS NOT NULL THEN concat_ws(' ', status, 'function error')
                    ELSE coalesce(status, 'no response') END AS label,
               {_BIN.format(at="begun_at")} AS bin, count(*)
        FROM sent_or_due WHERE NOT ok GROUP BY ALL
        """,
        binning,
    ).fetchall()
    return {label: values / binning["width_s"] for label, values in _by_label(found, bins).items()}


def _cold_starts(db: duckdb.DuckDBPyConnection, binning: Mapping[str, Any], bins: int) -> dict[str, Floats]:
    found = db.execute(
        f"""
        SELECT function, {_BIN.format(at="started_at")} AS bin, count(*)
        FROM invocations WHERE {COLD} GROUP BY ALL
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


def _concurrency(db: duckdb.DuckDBPyConnection, starts_at: float, width_s: int, bins: int) -> dict[str, Floats]:
    edges = starts_at + width_s * np.arange(bins + 1, dtype=float)
    most: dict[str, Floats] = {}
    for (function,) in db.execute("SELECT DISTINCT function FROM invocations ORDER BY 1").fetchall():
        columns = db.execute(
            f"SELECT {OCCUPIED_FROM} AS begun_at, reported_at FROM invocations WHERE function = $function",
            {"function": function},
        ).fetchnumpy()
        begun_at, ended_at = (np.asarray(columns[name], dtype=float) for name in ("begun_at", "reported_at"))
        most[function] = most_at_once(begun_at, ended_at, edges)
    return dict(sorted(most.items(), key=lambda item: -item[1].max()))


def _last_in_bin(at: Floats, values: Floats, starts_at: float, width_s: int, bins: int) -> Floats:
    """The last of the values up to the end of each bin; NaN before the first and in bins after the last one's."""
    ends = starts_at + width_s * np.arange(1, bins + 1, dtype=float)
    order = np.argsort(at, kind="stable")
    index = np.searchsorted(at[order], ends, "left") - 1
    last = np.where(index >= 0, values[order][np.maximum(index, 0)], np.nan)
    return np.where(ends - width_s > at[order][-1], np.nan, last)
