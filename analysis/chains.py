"""Chains: a request whose work goes on after its answer, from function to function, followed by its correlation id.

A message is *completed* when an invocation of the chain's last function succeeded on it (and did not name it as
failed), *lost* when its front answered 2xx, it never completed and nothing more can come, *duplicated* when it
completed twice or more (in two invocations, or as two messages of one batch), *late* when it completed after the
profile's limit, *pending* when it may still complete. End to end is from the request's start on the client's clock to
the end of the first completion on the servers', corrected where the two clocks differ for sure (`analysis.clocks`); of
a request by a clock that did not work it is not known, nor whether the message was late or is overdue.

Counts cover the whole run, `measured` and `end_to_end_ms` the rows of phase `measure`. Without any correlation line of
its messages a chain cannot be followed, and all that depends on it is None; but where the logs of its functions are
whole and no invocation in them succeeded, it is known that nothing reached its end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from analysis.clocks import near_the_others
from analysis.distributions import distribution, struct
from analysis.join import counts
from analysis.requests_table import TAKEN, literal
from config.thresholds import CHAIN_COUNTS


@dataclass(frozen=True)
class Chain:
    """A chain of functions behind a flow."""

    name: str
    flow: str
    functions: tuple[str, ...]
    """Logical names, in the order in which they get the message."""
    methods: tuple[str, ...] = ()
    """Methods of the requests that enter the chain, where the flow has others; empty: all."""
    requests: tuple[str, ...] = ()
    """Their names; empty: all."""
    adds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What one completed message adds to the chain's table: record type -> attribute -> number."""
    table: str | None = None
    """Logical name of the table; None for a chain that ends in none."""

    @property
    def entered(self) -> str:
        """SQL: whether a request entered the chain."""
        methods = f" AND method IN ({', '.join(map(literal, self.methods))})" if self.methods else ""
        names = f" AND name IN ({', '.join(map(literal, self.requests))})" if self.requests else ""
        return f"sent AND flow = {literal(self.flow)}{methods}{names}"

    @property
    def accepted(self) -> str:
        """SQL: whether a request was accepted. One message of a batch can be refused in an answer with status 200."""
        return "status BETWEEN 200 AND 299" + (f" AND {TAKEN}" if self.methods or self.requests else "")


CHAINS: tuple[Chain, ...] = (
    Chain(
        name="shop",
        flow="shop",
        functions=("shop-accept", "shop-decrypt", "shop-update-db"),
        # The two sales that the shop flow sends: item 90001 (number 5, turnover 5), item 90002 (number 1, turnover 2).
        adds={
            "s-90001": {"gross_number": 5, "gross_turnover": 5, "stock": -5},
            "s-90002": {"gross_number": 1, "gross_turnover": 2, "stock": -1},
        },
        table="shops",
    ),
    Chain("events-queue", "events", ("queue-consumer",), ("SendMessage", "SendMessageBatch")),
    Chain("events-topic", "events", ("topic-consumer",), ("Publish", "PublishBatch")),
    Chain("events-bus", "events", ("bus-consumer",), ("PutEvents",)),
    Chain("events-stream", "events", ("stream-consumer",), ("PutRecord", "PutRecords")),
)
"""The chains of the sample applications."""


@dataclass(frozen=True)
class Settling:
    """When a message that has not completed counts as lost."""

    limit_s: float
    """The profile's time limit of a chain."""
    watched_until: float | None
    """Epoch seconds up to which the logs are known whole; None where they are not."""
    settled: bool
    """Whether it is known that no delivery or retry was left when the logs were fetched."""
    logged: frozenset[str] = frozenset()
    """Logical names of the functions whose logs were fetched."""

    def overdue(self, started_at: str) -> str:
        """SQL: whether a message sent at the column `started_at` can no longer complete; false where that is NULL."""
        if self.watched_until is None:
            return "false"
        return "true" if self.settled else f"coalesce({started_at} <= {self.watched_until - self.limit_s}, false)"

    def nothing_succeeded(self, functions: Collection[str]) -> str:
        """SQL: whether it is known that no invocation of these functions succeeded."""
        if self.watched_until is None or not self.logged.issuperset(functions):
            return "false"
        return f"""NOT EXISTS (FROM invocations ANTI JOIN invocation_failures USING (inv)
                               WHERE function IN ({", ".join(map(literal, functions))}))"""


_SENT = ("sent", "accepted")
"""Of CHAIN_COUNTS those that the client knows, whatever the logs say."""


def chains(
    db: duckdb.DuckDBPyConnection,
    settling: Settling,
    changes: Mapping[str, Mapping[str, Mapping[str, float]] | None],
    custom: Iterable[Mapping[str, Any]] = (),
) -> dict[str, dict[str, Any]]:
    """The summary's `chains`: of CHAINS, and of those of flow `custom`, those that a request of the run entered.

    `custom`: as the manifest has them: name, requests (their names in rows), functions (logical names).

    Makes the table `measured_messages`: chain, entered_at (epoch seconds by the servers' clocks), end_to_end_ms, and
    CHAIN_COUNTS as booleans, NULL where the chain could not be followed.

    `changes`: table (logical) -> record type -> attribute -> change over the run; a table that was not looked at
    before and after the run is absent or None, and `table_reconciled` is None with it.
    """
    known = [
        *CHAINS,
        *(Chain(one["name"], "custom", tuple(one["functions"]), requests=tuple(one["requests"])) for one in custom),
    ]
    # Keyed by place: a chain of one's own may be called like one of the samples.
    by_place = {str(place): chain for place, chain in enumerate(known)}
    near = near_the_others(db)
    entered, *_ = counts(
        db, f"SELECT {struct((place, f'bool_or({chain.entered})') for place, chain in by_place.items())} FROM requests"
    )
    flags = ", ".join(f"{count} BOOLEAN" for count in CHAIN_COUNTS)
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE measured_messages "
        f"(chain VARCHAR, entered_at DOUBLE, end_to_end_ms DOUBLE, {flags})"
    )
    return {
        chain.name: _chain(db, chain, near, settling, changes.get(chain.table) if chain.table else None)
        for place, chain in by_place.items()
        if entered[place]
    }


def _messages(chain: Chain, near: str, settling: Settling) -> str:
    """A query: each correlation id that entered the chain, in how many requests, and for each of CHAIN_COUNTS whether
    it belongs there, in so far as all of it could be seen.

    `near`: SQL, whether a row of `requests` has a time that can be compared with others.
    """
    overdue = settling.overdue("started_at")
    return f"""
        WITH sent AS (
            SELECT correlation_id, min(started_at) FILTER ({near}) AS started_at, bool_or(measured) AS measured,
                   min(started_at + coalesce(correction_s, 0)) FILTER ({near}) AS entered_at,
                   bool_or({chain.accepted}) AS accepted, count(*) AS requests
            FROM requests LEFT JOIN clock_offsets USING (worker)
            WHERE {chain.entered} AND correlation_id IS NOT NULL
            GROUP BY correlation_id
        ), completed AS (
            SELECT correlation_id, times AS completions, done_at AS completed_at
            FROM ({_successes(chain.functions[-1])})
        ), messages AS (
            SELECT * REPLACE (coalesce(accepted, false) AS accepted, coalesce(completions, 0) AS completions),
                   (completed_at - entered_at) * 1000 AS end_to_end_ms
            FROM sent LEFT JOIN completed USING (correlation_id)
        )
        SELECT correlation_id, requests, measured, entered_at, end_to_end_ms, completions, accepted,
               true AS sent,
               completions > 0 AS completed,
               accepted AND completions = 0 AND {overdue} AS lost,
               completions > 1 AS duplicated,
               coalesce(end_to_end_ms > {settling.limit_s * 1000}, false) AS late,
               accepted AND completions = 0 AND NOT {overdue} AS pending
        FROM messages"""


def _chain(
    db: duckdb.DuckDBPyConnection,
    chain: Chain,
    near: str,
    settling: Settling,
    change: Mapping[str, Mapping[str, float]] | None,
) -> dict[str, Any]:
    """A chain's block; its measured messages are added to `measured_messages`."""
    db.execute(f"CREATE OR REPLACE TEMP TABLE messages AS {_messages(chain, near, settling)}")

    def counted(where: str) -> str:
        return struct((name, f"count(*) FILTER (WHERE {where} AND {name})") for name in CHAIN_COUNTS)

    whole, measured, end_to_end, ambiguous, followed, completions = counts(
        db,
        f"""SELECT {counted("requests = 1")},
                   {counted("requests = 1 AND measured")},
                   {distribution("end_to_end_ms", "mean p50 p90 p95 p99 max", where="requests = 1 AND measured")},
                   coalesce(sum(requests) FILTER (WHERE requests > 1), 0)::BIGINT,
                   EXISTS (FROM invocation_correlations c SEMI JOIN messages USING (correlation_id)) OR {
            settling.nothing_succeeded(chain.functions)
        },
                   coalesce(sum(completions), 0)::BIGINT
            FROM messages""",
    )
    flags = (name if followed or name in _SENT else f"NULL::BOOLEAN AS {name}" for name in CHAIN_COUNTS)
    db.execute(
        f"""INSERT INTO measured_messages BY NAME
            SELECT {literal(chain.name)} AS chain, entered_at, end_to_end_ms, {", ".join(flags)}
            FROM messages WHERE requests = 1 AND measured"""
    )
    if not followed:
        unknown = dict.fromkeys(name for name in CHAIN_COUNTS if name not in _SENT)
        whole, measured = whole | unknown, measured | unknown
    return {
        **whole,
        # Requests that share a correlation id cannot be told apart; they are in no other count.
        "ambiguous": ambiguous,
        "end_to_end_ms": end_to_end,
        "table_reconciled": reconciled(chain, completions, change) if followed else None,
        "measured": measured,
        "hops": _hops(db, chain, near, settling.limit_s) if followed else None,
    }


def _hops(db: duckdb.DuckDBPyConnection, chain: Chain, near: str, limit_s: float) -> list[dict[str, Any]]:
    """Each function of a chain, in order.

    `reached`: accepted messages that an invocation of it succeeded on; `lost_before`: those that reached the function
    before and not this one; `repeated`: those it succeeded on more than once; `late`: those it did not before the
    chain's limit had passed since the start of the request; `since_last_ms`: of measured messages, from the end of the
    last hop (of the first: from the start of the request, on the client's clock) to that of this.
    """
    hops, last = [], "SELECT correlation_id, entered_at AS done_at FROM entered"
    db.execute(
        f"""CREATE OR REPLACE TEMP TABLE entered AS
            SELECT correlation_id, min(started_at + coalesce(correction_s, 0)) FILTER ({near}) AS entered_at,
                   bool_or(measured) AS measured
            FROM requests LEFT JOIN clock_offsets USING (worker)
            WHERE {chain.entered} AND correlation_id IS NOT NULL GROUP BY correlation_id
            HAVING count(*) = 1 AND bool_or({chain.accepted})"""
    )
    for number, function in enumerate(chain.functions):
        db.execute(
            f"""CREATE OR REPLACE TEMP TABLE hop_{number} AS
                FROM ({_successes(function)}) SEMI JOIN entered USING (correlation_id)"""
        )
        reached, repeated, late, lost, since_last_ms = counts(
            db,
            f"""SELECT count(h.correlation_id), count(*) FILTER (WHERE h.times > 1),
                       count(*) FILTER (WHERE h.done_at - e.entered_at > {limit_s}),
                       count(*) FILTER (WHERE h.correlation_id IS NULL),
                       {distribution("(h.done_at - l.done_at) * 1000", "p50 p95 p99 max", where="e.measured")}
                FROM ({last}) l JOIN entered e USING (correlation_id)
                LEFT JOIN hop_{number} h USING (correlation_id)""",
        )
        hop = {"function": function, "reached": reached, "lost_before": lost, "repeated": repeated, "late": late}
        hops.append({**hop, "since_last_ms": since_last_ms})
        last = f"SELECT correlation_id, done_at FROM hop_{number}"
    return hops


def _successes(function: str) -> str:
    """A query: correlation_id, times, done_at; how often a function succeeded on a message, and when it first had."""
    return f"""
        SELECT correlation_id, sum(messages)::BIGINT AS times, min(reported_at) AS done_at FROM (
            -- of a batch, each message with this id; lines that name none are of the same one
            SELECT correlation_id, greatest(count(DISTINCT message_id), 1) AS messages, min(reported_at) AS reported_at
            FROM invocation_correlations JOIN invocations USING (inv)
            WHERE function = {literal(function)} AND NOT failed AND inv NOT IN (SELECT inv FROM invocation_failures)
            GROUP BY correlation_id, inv
        ) GROUP BY correlation_id"""


def reconciled(chain: Chain, completions: int, change: Mapping[str, Mapping[str, float]] | None) -> bool | None:
    """Whether the table changed by exactly what the completed messages, each repetition included, add up to."""
    if change is None:
        return None
    expected = {
        record: {attribute: number * completions for attribute, number in attributes.items()}
        for record, attributes in chain.adds.items()
    }
    return _without_zeros(change) == _without_zeros(expected)


def _without_zeros(change: Mapping[str, Mapping[str, float]]) -> dict[tuple[str, str], float]:
    return {
        (record, attribute): number
        for record, attributes in change.items()
        for attribute, number in attributes.items()
        if number
    }


def change_between(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """What changed from one snapshot of a table to another, over all its shops: record type -> attribute -> change.

    A snapshot is a list of items, each with `record_type` and its numbers, as `analysis.table_snapshot` takes it.
    """
    totals: dict[str, dict[str, float]] = {}
    for items, sign in ((before, -1), (after, 1)):
        for item in items:
            record = totals.setdefault(str(item["record_type"]), {})
            for attribute, value in item.items():
                if isinstance(value, int | float):
                    record[attribute] = record.get(attribute, 0) + sign * value
    return totals
