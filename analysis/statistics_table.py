"""The statistics of a performance run, per function, from its REPORT lines.

The fields, their order and what counts as under and over a limit are those of the statistics function of the AMIS
shop example (https://technology.amis.nl/aws/aws-shop-example-lambda/), so that its published figures can be laid
beside them:

- a duration is under its limit where it is smaller, over it where it is equal or greater (a way to count cold starts);
- memory headroom is configured memory minus used memory; *under* the limit is where it is smaller: too little is left.

Times are not cut off to whole milliseconds here, as they were there, and the least and the greatest billed duration
are added. Every record of the run counts, warm-up too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from analysis.errors import DataFormatError, NoRowsError
from analysis.formatting import NOTHING, moment, visible

DURATION_LIMIT_MS = 500.0
MEMORY_HEADROOM_MB = 28.0


@dataclass(frozen=True)
class FunctionStatistics:
    """One function over all its REPORT lines. None: no record had the value."""

    function: str
    log_group: str
    first_at: float
    """Epoch seconds of the first REPORT line."""
    last_at: float
    records: int
    min_duration_ms: float | None
    max_duration_ms: float | None
    mean_duration_ms: float | None
    total_duration_ms: float | None
    min_billed_ms: float | None
    max_billed_ms: float | None
    mean_billed_ms: float | None
    total_billed_ms: float | None
    under_limit_duration: int
    over_limit_duration: int
    min_memory_mb: float | None
    max_memory_mb: float | None
    mean_memory_mb: float | None
    configured_memory_mb: Sequence[float]
    """More than one value where the function was reconfigured meanwhile."""
    under_limit_memory: int
    over_limit_memory: int


def measure(
    invocations: Path,
    duration_limit_ms: float = DURATION_LIMIT_MS,
    memory_headroom_mb: float = MEMORY_HEADROOM_MB,
) -> list[FunctionStatistics]:
    """The statistics of each function in `invocations.parquet`, in the order of their first record.

    Raises NoRowsError where there is no such file or nothing in it, DataFormatError where it is something else.
    """
    if not invocations.is_file():
        raise NoRowsError(f"{invocations.parent.name} has no invocations.parquet", "pull its logs with `make analyze`")
    try:
        found = duckdb.connect().execute(
            """
            SELECT function, min(log_group) AS log_group, min(reported_at) AS first_at, max(reported_at) AS last_at,
                   count(*) AS records,
                   min(duration_ms) AS min_duration_ms, max(duration_ms) AS max_duration_ms,
                   avg(duration_ms) AS mean_duration_ms, sum(duration_ms) AS total_duration_ms,
                   min(billed_ms) AS min_billed_ms, max(billed_ms) AS max_billed_ms,
                   avg(billed_ms) AS mean_billed_ms, sum(billed_ms) AS total_billed_ms,
                   count(*) FILTER (duration_ms < $duration_limit_ms) AS under_limit_duration,
                   count(*) FILTER (duration_ms >= $duration_limit_ms) AS over_limit_duration,
                   min(max_memory_mb) AS min_memory_mb, max(max_memory_mb) AS max_memory_mb,
                   avg(max_memory_mb) AS mean_memory_mb,
                   coalesce(list_sort(list(DISTINCT memory_mb) FILTER (memory_mb IS NOT NULL)), [])
                       AS configured_memory_mb,
                   count(*) FILTER (memory_mb - max_memory_mb < $memory_headroom_mb) AS under_limit_memory,
                   count(*) FILTER (memory_mb - max_memory_mb >= $memory_headroom_mb) AS over_limit_memory
            FROM read_parquet($file) GROUP BY function ORDER BY first_at, function
            """,
            {
                "file": str(invocations),
                "duration_limit_ms": duration_limit_ms,
                "memory_headroom_mb": memory_headroom_mb,
            },
        )
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise DataFormatError(f"{invocations} is not the table of invocations it should be: {reason}") from error
    names = [column[0] for column in found.description]
    measured = [FunctionStatistics(**dict(zip(names, row, strict=True))) for row in found.fetchall()]
    if not measured:
        raise NoRowsError(
            f"no REPORT line was found for {invocations.parent.name}",
            "check that the functions were called, and that their log level lets REPORT lines through",
        )
    return measured


def render(
    measured: Sequence[FunctionStatistics],
    duration_limit_ms: float = DURATION_LIMIT_MS,
    memory_headroom_mb: float = MEMORY_HEADROOM_MB,
) -> str:
    """The statistics as text, one block a function."""
    return "\n".join(_block(one, duration_limit_ms, memory_headroom_mb) for one in measured)


def _block(one: FunctionStatistics, duration_limit_ms: float, memory_headroom_mb: float) -> str:
    return "\n".join(
        f"{label:<22}: {value}" if label else ""
        for label, value in (
            ("Log group", visible(one.log_group)),
            ("first_timestamp", _timestamp(one.first_at)),
            ("last_timestamp", _timestamp(one.last_at)),
            ("number_of_records", str(one.records)),
            ("", ""),
            ("min_duration", _two_decimals(one.min_duration_ms)),
            ("max_duration", _two_decimals(one.max_duration_ms)),
            ("total_duration", _two_decimals(one.total_duration_ms)),
            ("avg_duration", _two_decimals(one.mean_duration_ms)),
            ("min_billed_duration", _plain(one.min_billed_ms)),
            ("max_billed_duration", _plain(one.max_billed_ms)),
            ("total_billed_duration", _plain(one.total_billed_ms)),
            ("avg_billed_duration", _two_decimals(one.mean_billed_ms)),
            ("limit_value_duration", _plain(duration_limit_ms)),
            ("under_limit_duration", str(one.under_limit_duration)),
            ("over_limit_duration", str(one.over_limit_duration)),
            ("", ""),
            ("min_memory used", _plain(one.min_memory_mb)),
            ("max_memory used", _plain(one.max_memory_mb)),
            ("avg_memory used", _two_decimals(one.mean_memory_mb)),
            ("configured memory", _plains(one.configured_memory_mb)),
            ("limit_value_diff_mem", _plain(memory_headroom_mb)),
            ("under_limit_diff_mem", str(one.under_limit_memory)),
            ("over_limit_diff_mem", str(one.over_limit_memory)),
            ("", ""),
        )
    )


def _timestamp(at: float) -> str:
    when = moment(at)
    return NOTHING if when is None else when.strftime("%Y-%m-%d %H:%M:%S.") + f"{when.microsecond // 1000:03d}"


def _two_decimals(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _plain(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.10g}"


def _plains(values: Iterable[float]) -> str:
    return ", ".join(map(_plain, values)) or NOTHING
