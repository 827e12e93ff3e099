"""Of what the figures are: workers, pull, join, clocks and the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.formatting import (
    NOTHING,
    count,
    date_and_time,
    decimal,
    milliseconds,
    plural,
    ratio,
    share,
    timespan,
    visible,
)
from analysis.tables.table import Column, Row, Summary, Table, plain_rows, section, text

JOIN_KEYS = (
    ("lambda_request_id", "Lambda request id"),
    ("access_log", "access log"),
    ("correlation_line", "correlation line"),
    ("trace_id", "X-Ray trace id"),
)
"""The evidence of a match, strongest first."""


def join(summary: Summary) -> Table:
    one = section(summary, "join")
    groups: tuple[tuple[Any, tuple[tuple[str, Any], ...]], ...] = (
        (
            one.get("requests"),
            (
                ("requests sent", one.get("requests")),
                ("joined to their invocation", one.get("matched")),
                *((f"… by {label}", section(one, "by").get(key)) for key, label in JOIN_KEYS),
                ("without an invocation", one.get("unmatched_requests")),
                ("ambiguous, set aside", one.get("ambiguous")),
            ),
        ),
        (
            one.get("reached"),
            (
                ("requests known to have reached a function", one.get("reached")),
                ("joined to their invocation", one.get("reached_matched")),
            ),
        ),
        (
            one.get("invocations"),
            (
                ("invocations", one.get("invocations")),
                ("further attempts at an event, under its request id", one.get("retries")),
                ("later hops of a chain", one.get("chain_invocations")),
                ("of functions behind a stream or queue", one.get("background_invocations")),
                ("without a request", one.get("unmatched_invocations")),
            ),
        ),
    )
    return Table(
        "Join",
        (text("requests and invocations"), Column("rows"), Column("share")),
        plain_rows(
            (label, count(rows), NOTHING if number == 0 else share(ratio(rows, whole)))
            for whole, facts in groups
            for number, (label, rows) in enumerate(facts)  # the first is the whole itself
            if rows is not None and (one.get("requests") or one.get("invocations"))
        ),
        " ".join(map(_clock, summary.get("clocks") or ())),
    )


def join_in_words(summary: Summary) -> str | None:
    """How many requests found their invocation, and by what, in a sentence; None where nothing could be joined."""
    one = section(summary, "join")
    requests = one.get("requests")
    if not requests or (not one.get("reached") and one.get("chain_invocations")):
        return None  # messages, which no invocation answers: what became of them is in the chains
    by = [f"{count(number)} by {label}" for key, label in JOIN_KEYS if (number := section(one, "by").get(key))]
    were_joined = "was joined to its" if requests == 1 else "were joined to their"
    words = f"{count(one.get('matched'))} of {plural(requests, 'request')} {were_joined} invocation"
    words += f" ({', '.join(by)})" if by else ""
    if one.get("reached"):
        of_reached = share(ratio(one.get("reached_matched"), one["reached"]))
        words += f"; {of_reached} of those known to have reached a function"
    if one.get("ambiguous"):
        words += f"; {count(one['ambiguous'])} ambiguous ones were set aside"
    return words


def clocks_in_words(summary: Summary) -> str | None:
    """How far the target's clock is ahead of that worker's which differs most, in a sentence; None if unknown."""
    clocks = summary.get("clocks") or ()
    known = [one for one in clocks if one.get("offset_ms") is not None or one.get("date_offset_ms") is not None]

    def apart_ms(one: Mapping[str, Any]) -> float:
        return abs(one["date_offset_ms"] if one.get("offset_ms") is None else one["offset_ms"])

    return _clock(max(known, key=apart_ms)) if known else None


def _clock(one: Mapping[str, Any]) -> str:
    """One worker's clock, as a sentence."""
    workers = f"worker {visible(one.get('worker'), 20)}'s"
    bounds, told, contradicts = [], [], []
    for by, prefix, known in (("logs", "", "requests"), ("Date headers", "date_", "date_answers")):
        offset_ms, error_ms = one.get(f"{prefix}offset_ms"), one.get(f"{prefix}error_ms")
        if offset_ms is not None:
            bounds.append((offset_ms, error_ms or 0.0))
            told.append(f"{milliseconds(offset_ms)} ± {milliseconds(error_ms)} ms by the {by}")
        elif one.get(known):
            contradicts.append(f"by the {by} it is not known, for one of the two was set during the run")
    if not bounds:
        return f"Whether the target's clock agrees with {workers} is not known: {'; '.join(contradicts)}."
    offset_ms, error_ms = bounds[0]
    agrees = not one.get("corrected") and abs(offset_ms) <= error_ms
    compared = "agrees with" if agrees else "is ahead of" if offset_ms > 0 else "is behind"
    corrected = "; times are corrected by that of the logs" if one.get("corrected") else ""
    return f"The target's clock {compared} {workers}: {'; '.join((*told, *contradicts))}{corrected}."


def pull(facts: Mapping[str, Any]) -> Table:
    """How well the logs were fetched, from `pull.json`."""
    if not facts:
        return Table("Pull", (), ())
    slices = facts.get("slices") or []
    scanned = facts.get("bytes_scanned")
    missing = facts.get("missing_log_groups") or []
    rows = [
        Row(("complete", "yes" if facts.get("complete") else "NO"), None if facts.get("complete") else "bad"),
        Row(("slices", count(len(slices)))),
        Row(("queries started", count(facts.get("queries_started")))),
        Row(("… whose answers were of no use", count(facts.get("queries_wasted")))),
        Row(("… whose answers were read too early", count(facts.get("queries_replaced")))),
        Row(("rows", count(facts.get("rows")))),
        *(Row((f"… {visible(name)}", count(number))) for name, number in (facts.get("tables") or {}).items()),
        Row(("scanned, MB", NOTHING if scanned is None else decimal(scanned / 1e6))),
        Row(("allowed for late log events, s", decimal(facts.get("lag_s")))),
        *(Row(("log group that does not exist", visible(name)), "bad") for name in missing),
    ]
    return Table("Pull", (text("logs fetched"), Column("value")), tuple(rows))


def manifest(facts: Mapping[str, Any]) -> Table:
    """What was run, where and with what, from `manifest.json`."""
    profile = facts.get("profile")
    profile = profile if isinstance(profile, Mapping) else {"name": profile}
    versions = facts.get("versions") or {}
    functions = facts.get("functions") or {}
    workers = facts.get("workers") or []
    rows: list[tuple[str, str]] = [
        ("run", visible(facts.get("run_id"))),
        ("profile", visible(profile.get("name"))),
        ("about the profile", visible(profile.get("description"))),
        ("target", visible(facts.get("target")) + (" (simulated)" if facts.get("simulated") else "")),
        ("API", visible(facts.get("api_base_url"))),
        ("region", visible(facts.get("region"))),
        ("stack", visible(facts.get("stack_name"))),
        ("started", date_and_time(facts.get("started_at"))),
        ("ended", date_and_time(facts.get("ended_at"))),
        ("ended as", visible(facts.get("state"))),
        ("seed", visible(facts.get("seed"))),
        ("workers", " · ".join(_worker(worker) for worker in workers) or NOTHING),
        ("functions", " · ".join(f"{visible(name)} = {visible(real)}" for name, real in functions.items()) or NOTHING),
        ("versions", " · ".join(f"{visible(name)} {visible(one)}" for name, one in versions.items()) or NOTHING),
    ]
    return Table("Manifest", (text("fact"), text("value")), plain_rows(row for row in rows if row[1] != NOTHING))


def workers(summary: Summary) -> Table:
    """The workers that did not take part to the end, or whose rows are not all here."""
    units = {"user_seconds": "user-seconds", "arrivals": "arrivals"}

    def row(worker: Mapping[str, Any]) -> Row:
        lost_at, left_at, short = worker.get("lost_at"), worker.get("left_at"), worker.get("shortfall") or {}
        ended = "lost" if lost_at is not None else "left" if left_at is not None else "stayed"
        cells = (
            visible(worker.get("index")),
            visible(worker.get("host"), 30),
            f"{ended}, rows missing" if worker.get("missing_rows") else ended,
            date_and_time(left_at if lost_at is None else lost_at),
            count(worker.get("rows")),
            count(worker.get("missing_rows")),
            share(short.get("share")),
            timespan(short["until"] - short["from"]) if short else NOTHING,
            count(short.get("planned")),
            count(short.get("delivered")),
            visible(units.get(short.get("unit", ""))),
        )
        return Row(cells, "warn" if ended == "left" and not worker.get("missing_rows") else "bad")

    told = [
        worker
        for worker in section(summary, "run").get("workers") or []
        if any(worker.get(name) is not None for name in ("lost_at", "left_at", "missing_rows"))
    ]
    return Table(
        "Workers that were lost",
        (
            text("worker"),
            text("host", wide=True),
            text("ended"),
            text("last heard"),
            Column("rows"),
            Column("rows missing", wide=True),
            Column("load short by"),
            Column("for"),
            Column("planned", wide=True),
            Column("offered", wide=True),
            text("of", wide=True),
        ),
        tuple(row(worker) for worker in told),
        "Short by: what all workers together offered less than planned, from when this one was last heard until the "
        "others had its users, or the load ended.",
    )


def _worker(worker: Mapping[str, Any]) -> str:
    lost = " LOST" if worker.get("lost_at") is not None else ""
    missing = f", {count(worker['missing_rows'])} missing" if worker.get("missing_rows") else ""
    return f"{visible(worker.get('index'))}: {plural(worker.get('rows') or 0, 'row')}{missing}{lost}"
