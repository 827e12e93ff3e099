"""What the target did: functions, their starts and what they billed, chains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from analysis.formatting import NOTHING, count, decimal, milliseconds, share, short_name
from analysis.tables.table import Column, Row, Summary, Table, plain_rows, section, text
from config.thresholds import CHAIN_COUNTS


def functions(summary: Summary) -> Table:
    def cells(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
        invocations = one.get("invocations")
        duration, init, memory = (one.get(key) or {} for key in ("duration_ms", "init_ms", "memory_mb"))
        return (
            short_name(name),
            count(invocations),
            count(one.get("errors")),
            count(one.get("timeouts")),
            count(one.get("throttles")),
            count(one.get("cold_starts")),
            share(one.get("cold_start_rate")),
            milliseconds(duration.get("mean")),
            milliseconds(duration.get("p50")),
            milliseconds(duration.get("p95")),
            milliseconds(duration.get("p99")),
            milliseconds(duration.get("max")),
            milliseconds(init.get("p50")),
            NOTHING if memory.get("max") is None else f"{count(memory['max'])} of {count(memory.get('configured'))}",
        )

    functions = section(summary, "functions")
    called = {name: one for name, one in functions.items() if one.get("invocations") or one.get("throttles")}
    idle = [name for name in functions if name not in called]
    return Table(
        "Functions",
        (
            text("function"),
            Column("calls"),
            Column("errors"),
            Column("timeouts", wide=True),
            Column("throttles"),
            Column("cold"),
            Column("cold start rate", "%", wide=True),
            Column("mean", "ms", wide=True),
            Column("p50", "ms"),
            Column("p95", "ms"),
            Column("p99", "ms"),
            Column("max", "ms", wide=True),
            Column("init p50", "ms", wide=True),
            Column("memory", "MB"),
        ),
        plain_rows(cells(name, one) for name, one in called.items()),
        "From the REPORT lines of the functions' logs; throttles leave no log and come from AWS/Lambda metrics. "
        "Memory: the most that was used, of what is configured. Times and the cold start rate are without the warm-up."
        + (f" Not called: {', '.join(short_name(name) for name in idle)}." if idle else ""),
    )


def billing(summary: Summary) -> Table:
    """Billed time, and the counts under and over the limits (`analysis.statistics_table` says what these mean)."""

    def cells(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
        billed, limits = one.get("billed_ms") or {}, one.get("limits") or {}
        return (
            short_name(name),
            count(billed.get("sum")),
            milliseconds(billed.get("mean")),
            decimal(limits.get("duration_ms")),
            count(one.get("under_limit_duration")),
            count(one.get("over_limit_duration")),
            decimal(limits.get("memory_headroom_mb")),
            count(one.get("under_limit_memory")),
            count(one.get("over_limit_memory")),
        )

    return Table(
        "Billed time and limits",
        (
            text("function"),
            Column("billed in all", "ms"),
            Column("billed mean", "ms"),
            Column("duration limit", "ms"),
            Column("under it", "calls"),
            Column("at or over it", "calls"),
            Column("headroom limit", "MB"),
            Column("less left", "calls"),
            Column("enough left", "calls"),
        ),
        plain_rows(cells(name, one) for name, one in section(summary, "functions").items() if one.get("invocations")),
        "Headroom is configured memory minus used memory: under its limit, too little is left.",
    )


def cold_starts(summary: Summary) -> Table:
    """The share of cold starts by concurrency and over time."""

    def steps(shares: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for one in shares.get("by_concurrency") or ():
            least = one.get("at_least") or 1
            yield f"{count(least)} at once" if least == 1 else f"{count(least)} to {count(2 * least - 1)} at once", one
        for one in shares.get("over_time") or ():
            yield f"{decimal(one.get('from_s'))} to {decimal(one.get('to_s'))} s after the first", one

    return Table(
        "Cold starts by concurrency and over time",
        (text("function"), text("invocations"), Column("calls"), Column("cold"), Column("share")),
        plain_rows(
            (
                short_name(function),
                step,
                *(count(one.get(key)) for key in ("invocations", "cold_starts")),
                share(one.get("cold_start_rate")),
            )
            for function, shares in section(summary, "cold_start_shares").items()
            for step, one in steps(shares)
        ),
        "At once: invocations of the function that were under way when one began, itself included.",
    )


def chains(summary: Summary) -> Table:
    def row(name: str, one: Mapping[str, Any]) -> Row:
        end_to_end = one.get("end_to_end_ms") or {}
        reconciled = one.get("table_reconciled")
        unsound = one.get("lost") or one.get("duplicated") or reconciled is False
        return Row(
            (
                short_name(name),
                *(count(one.get(key)) for key in CHAIN_COUNTS),
                *(milliseconds(end_to_end.get(key)) for key in ("p50", "p95", "p99", "max")),
                NOTHING if reconciled is None else "agrees" if reconciled else "DIFFERS",
            ),
            "bad" if unsound else "warn" if one.get("late") or one.get("pending") else None,
        )

    return Table(
        "Chains",
        (
            text("chain"),
            Column("sent"),
            Column("accepted"),
            Column("completed"),
            Column("lost"),
            Column("dupl."),
            Column("late"),
            Column("pending"),
            Column("p50", "ms", wide=True),
            Column("p95", "ms"),
            Column("p99", "ms", wide=True),
            Column("max", "ms", wide=True),
            text("table"),
        ),
        tuple(row(name, one) for name, one in section(summary, "chains").items()),
        "From the client's request to the end of the last function. Lost: accepted and never completed.",
    )


def hops(summary: Summary) -> Table:
    """The chains of several functions, hop by hop."""
    rows = []
    for name, chain in section(summary, "chains").items():
        found = chain.get("hops") or ()
        for hop in found if len(found) > 1 else ():
            times = hop.get("since_last_ms") or {}
            rows.append(
                Row(
                    (
                        short_name(name),
                        short_name(hop.get("function")),
                        *(count(hop.get(key)) for key in ("reached", "lost_before", "repeated", "late")),
                        *(milliseconds(times.get(key)) for key in ("p50", "p95", "p99", "max")),
                    ),
                    "bad" if hop.get("lost_before") or hop.get("repeated") else None,
                )
            )
    return Table(
        "Chains, hop by hop",
        (
            text("chain"),
            text("function"),
            Column("reached"),
            Column("lost before"),
            Column("repeated"),
            Column("late"),
            Column("p50", "ms"),
            Column("p95", "ms"),
            Column("p99", "ms"),
            Column("max", "ms"),
        ),
        tuple(rows),
        "Times from the end of the last hop, of the first from the start of the request.",
    )
