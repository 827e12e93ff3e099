"""What a comparison needs to know of a run: its figures, how sure they are, and what it was a run of.

Made from the files of an analysed run, or from those requests of it that one version served, or that went to one
endpoint. As JSON it is a few kilobytes without a single request, secret or address: small enough to be kept in a
repository, so that a pipeline holds each run against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
from pydantic import TypeAdapter, ValidationError

from analysis.bootstrap import NO_DATA, Arrivals, Estimate, Sample, describe_units, estimates
from analysis.cost import OF_THE_ANALYSIS
from analysis.errors import DataFormatError, UsageError
from analysis.evidence import connect
from analysis.functions import COLD
from analysis.requests_table import ENDPOINT, literal
from analysis.run_files import read_json, read_summary
from config.prices import lambda_compute_item
from runstore.columns import DROPPED
from runstore.rundir import RunDir

SPLITS: Mapping[str, str] = {"version": "executed_version", "endpoint": ENDPOINT}
"""What the requests of a run may be told apart by -> SQL for it."""

# Of a profile: what the load is. Texts, limits and what the analysis does with them may differ.
_NOT_LOAD = frozenset({"name", "description", "thresholds", "flows", "chain_limit_s"})
_COMPUTE = frozenset(map(lambda_compute_item, ("x86_64", "arm64")))


@dataclass(frozen=True)
class Baseline:
    """One side of a comparison."""

    schema: Literal[1]
    label: str
    """The run's id; of a part of it, with what it is: `20261121T112703Z-demo, version 3`."""
    simulated: bool | None
    complete: bool
    """Whether the run and its data are whole."""
    facts: dict[str, Any]
    """What two runs must have in common to be compared, by name: profile, region, target, memory of each function. Only
    those in both are held against one another; None: the profile does not set it."""
    resampled: dict[str, int]
    """`requests`, `environments`, `requests_without_environment`."""
    metrics: dict[str, Estimate]
    unpriced: list[str] | None = None
    """Items of the load's cost without a price or a quantity, which `cost_per_million_usd` does not hold. None: nobody
    knows, of a baseline of an earlier version or a run without costs."""


_ADAPTER = TypeAdapter(Baseline)


def measure(run: RunDir, split: tuple[str, str] | None = None) -> Baseline:
    """The figures of an analysed run. `split`: only requests with this value of one of SPLITS.

    Raises UsageError where the run was not analysed, or no request has the value.
    """
    joined, invocations = run.file("joined.parquet"), run.file("invocations.parquet")
    if not run.file("summary.json").is_file() or not joined.is_file():
        raise UsageError(
            f"{run.run_id} has not been analysed", f"analyse it first: python -m analysis analyze {run.run_id}"
        )
    summary = read_summary(run)
    db = connect()
    try:
        _open(db, joined, invocations, split)
        manifest = read_json(run, "manifest.json")
        is_open = split is None and (manifest.get("profile") or {}).get("model") == "open"
        arrivals = read_arrivals(db, joined) if is_open else None
        sample = read_sample(db, summary.get("cost") or {}, arrivals)
        memory = db.execute(
            """SELECT function, list_sort(list(DISTINCT memory_mb)) FROM invocations
               WHERE memory_mb IS NOT NULL GROUP BY function ORDER BY function"""
        ).fetchall()
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except duckdb.Error as unreadable:
        reason = str(unreadable).splitlines()[0]
        raise DataFormatError(f"{run.path}: {reason}", "analyse the run again") from None
    finally:
        db.close()
    if split is not None and not len(sample.failed):
        raise UsageError(f"{run.run_id} has no measured request of {split[0]} {split[1]}")
    about = summary["run"]
    return Baseline(
        schema=1,
        label=about["id"] if split is None else f"{about['id']}, {split[0]} {split[1]}",
        simulated=about.get("simulated"),
        complete=bool(about.get("complete")),
        facts={
            **_facts(manifest),
            "endpoint": split[1] if split is not None and split[0] == "endpoint" else "all",
            **{f"memory_mb of {name}": sizes for name, sizes in memory},
        },
        resampled=describe_units(sample),
        metrics=estimates(sample) | ({} if _starts_told(summary) else {"cold_start_rate": NO_DATA}),
        unpriced=_unpriced(summary.get("cost") or {}),
    )


def _starts_told(summary: Mapping[str, Any]) -> bool:
    """Whether the run's logs told of cold starts: those of an emulator may not."""
    return all(one.get("cold_starts", 0) is not None for one in summary.get("functions", {}).values())


def values_of(run: RunDir, split: str) -> list[str]:
    """The values that the measured requests of a run have for one of SPLITS, versions in the order of their number."""
    joined = run.file("joined.parquet")
    if not joined.is_file():
        raise UsageError(
            f"{run.run_id} has not been analysed", f"analyse it first: python -m analysis analyze {run.run_id}"
        )
    found = connect().execute(
        f"""SELECT DISTINCT {SPLITS[split]} AS value FROM read_parquet({literal(str(joined))})
            WHERE phase = 'measure' AND value IS NOT NULL ORDER BY try_cast(value AS BIGINT) NULLS FIRST, value"""
    )
    return [value for (value,) in found.fetchall()]


def to_json(baseline: Baseline) -> str:
    """As it stands in a file."""
    return _ADAPTER.dump_json(baseline, indent=1).decode() + "\n"


def read(file: Path) -> Baseline:
    """A stored baseline. Raises UsageError where the file is none."""
    again = "make it again: python -m analysis baseline RUN --output FILE"
    try:
        return _ADAPTER.validate_json(file.read_bytes())
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", again) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{file} is no baseline: {place}: {first['msg']}", again) from None


def _open(db: duckdb.DuckDBPyConnection, joined: Path, invocations: Path, split: tuple[str, str] | None) -> None:
    """Make `requests`, those of the split that were sent, `invocations`, the ones they led to, and `of_all_parts`.

    `of_all_parts`: the invocations that belong to one part of a split or another; without a split, all.
    """
    of_split = "true" if split is None else f"{SPLITS[split[0]]} = {literal(split[1])}"
    db.execute(
        f"""CREATE VIEW requests AS SELECT *, phase = 'measure' AS measured
            FROM read_parquet({literal(str(joined))})
            WHERE error IS DISTINCT FROM {literal(DROPPED)} AND {of_split}"""
    )
    if not invocations.is_file():
        db.execute(
            """CREATE TABLE invocations (function VARCHAR, log_stream VARCHAR, request_id VARCHAR, started_at DOUBLE,
               billed_ms BIGINT, memory_mb BIGINT, init_ms DOUBLE, restore_ms DOUBLE)"""
        )
        db.execute("CREATE VIEW of_all_parts AS FROM invocations")
        return
    read, own = (
        f"read_parquet({literal(str(invocations))})",
        "SELECT inv_function AS function, inv_request_id AS request_id",
    )
    for view, requests in (("invocations", "requests"), ("of_all_parts", f"read_parquet({literal(str(joined))})")):
        answered = "" if split is None else f"SEMI JOIN ({own} FROM {requests}) USING (function, request_id)"
        db.execute(f"CREATE VIEW {view} AS FROM {read} {answered}")


def read_arrivals(db: duckdb.DuckDBPyConnection, joined: Path) -> Arrivals:
    """The measured arrivals, whatever became of them."""
    found = db.execute(
        f"""SELECT coalesce(scheduled_at, started_at) AS due_at,
                   error IS NOT DISTINCT FROM {literal(DROPPED)} AS dropped
            FROM read_parquet({literal(str(joined))}) WHERE phase = 'measure'"""
    ).fetchnumpy()
    return Arrivals(due_at=_plain(found["due_at"], np.nan), dropped=_plain(found["dropped"], False))


def read_sample(db: duckdb.DuckDBPyConnection, cost: Mapping[str, Any], arrivals: Arrivals | None = None) -> Sample:
    """The arrays of a bootstrap, from the views of `_open` and the summary's `cost`."""
    db.execute(
        """CREATE TABLE environments AS
           SELECT function, log_stream, row_number() OVER (ORDER BY function, log_stream) - 1 AS environment FROM (
               SELECT function, log_stream FROM invocations WHERE log_stream IS NOT NULL
               UNION SELECT inv_function, inv_log_stream FROM requests WHERE inv_log_stream IS NOT NULL)"""
    )
    requests = db.execute(
        """SELECT response_ms, NOT ok AS failed, started_at, coalesce(environment, -1) AS environment
           FROM requests LEFT JOIN environments ON function = inv_function AND log_stream = inv_log_stream
           WHERE measured"""
    ).fetchnumpy()
    # An invocation is measured where its request is; one that answered no request where it began after the first
    # measured one.
    invocations = db.execute(
        f"""WITH known AS (
               SELECT inv_function AS function, inv_request_id AS request_id, bool_or(measured) AS measured
               FROM requests WHERE inv_request_id IS NOT NULL GROUP BY ALL)
           SELECT coalesce(environment, -1) AS environment, dense_rank() OVER (ORDER BY function) AS function,
                  ({COLD}) AS cold,
                  coalesce(billed_ms * memory_mb / 1024000.0, 0) AS gb_s,
                  coalesce(measured, started_at >= (SELECT min(started_at) FROM requests WHERE measured), true)
                      AS measured
           FROM invocations LEFT JOIN known USING (function, request_id)
           LEFT JOIN environments USING (function, log_stream)"""
    ).fetchnumpy()
    (paid,) = db.execute("SELECT count(*) FROM requests").fetchone() or (0,)
    (varying,) = db.execute(
        "SELECT coalesce(sum(billed_ms * memory_mb), 0) / 1024000.0 FROM of_all_parts"
    ).fetchone() or (0,)
    usd_per_gb_s, other = _prices(cost, varying)
    return Sample(
        response_ms=_plain(requests["response_ms"], np.nan),
        failed=_plain(requests["failed"], False),
        started_at=_plain(requests["started_at"], np.nan),
        environment=_plain(requests["environment"], -1),
        invocation_environment=_plain(invocations["environment"], -1),
        invocation_function=_plain(invocations["function"], 0),
        invocation_measured=_plain(invocations["measured"], True),
        cold=_plain(invocations["cold"], False),
        gb_s=_plain(invocations["gb_s"], 0.0),
        requests_paid=paid,
        usd_per_gb_s=usd_per_gb_s,
        other_usd_per_million=other,
        arrivals=arrivals,
    )


def _plain(column: Any, absent: Any) -> Any:
    """DuckDB gives a masked array where there are NULLs."""
    return np.ma.filled(column, absent)


def _prices(cost: Mapping[str, Any], varying_gb_s: float) -> tuple[float | None, float | None]:
    """(USD per GB-s of Lambda, USD per million requests of all but `varying_gb_s`) of a summary's cost.

    (None, None) where the cost, or Lambda's part in it, is not known.
    """
    compute = [item for item in cost.get("items") or [] if item["item"] in _COMPUTE]
    total = cost.get("per_million_usd")
    if total is None or not compute or any(item["usd"] is None for item in compute):
        return None, None
    gb_s = sum(item["quantity"] for item in compute)
    usd_per_gb_s = sum(item["usd"] for item in compute) / gb_s if gb_s else 0.0
    return usd_per_gb_s, total - usd_per_gb_s * varying_gb_s / cost["requests"] * 1e6


def _unpriced(cost: Mapping[str, Any]) -> list[str] | None:
    items = cost.get("items")
    if not items:
        return None
    return sorted(item["item"] for item in items if item["usd"] is None and item["item"] not in OF_THE_ANALYSIS)


def _facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What should be the same in both runs. What a manifest does not say is left out.

    What a profile does not set is None: left out, it could not be told from what an earlier version did not know of.
    """
    profile = manifest.get("profile") or {}
    said = {"profile": profile.get("name"), **{name: manifest.get(name) for name in ("flows", "target", "region")}}
    return {
        **{name: value for name, value in said.items() if value is not None},
        **{f"profile.{name}": value for name, value in profile.items() if name not in _NOT_LOAD},
    }
