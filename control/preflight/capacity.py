"""Whether quotas and capacities take the planned load. Pure: demand and facts -> rows.

Rules and figures from AWS documentation, as in `analysis.advice`: a function that is asked `a` times a second for `d`
seconds each needs a x d environments (Little's law); it takes 10 synchronous requests a second for each of its
concurrency; a Kinesis shard takes 1,000 records a second. `config/quotas.toml` has quotas that no call tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from analysis.advice import REQUESTS_PER_ENVIRONMENT_S, SCALING_ENVIRONMENTS, SCALING_S, SHARD_RECORDS_PER_S
from analysis.formatting import count, decimal, plural
from config.quotas import Quota
from control.preflight.demand import BEHIND_API, DIRECT, OF_STREAM, Demand
from control.preflight.facts import Absent, Account, Function, Key, Measured, Source, Stream, Table, Unknown, called
from control.preflight.rates import ROOM, planned_in_words, rate_row
from control.preflight.rows import FAIL, PASS, WARN, Row, Verdict, not_asked

KMS_QUOTAS_PAGE = "https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html"


@dataclass(frozen=True)
class Durations:
    """How long functions take on the average, milliseconds."""

    given: Mapping[str, float]
    """By logical name; under the empty name, of all others. What is given goes before what was measured."""
    measured: Measured | None = None
    same_flows: bool = False
    """Whether that was a run of the same flows: only then do its requests lead to functions as these will."""

    def of(self, function: str) -> float | None:
        """None where nobody knows."""
        if function in self.given:
            return self.given[function]
        if "" in self.given:
            return self.given[""]
        return (self.measured.mean_ms if self.measured else {}).get(function)

    def source(self, function: str) -> str:
        """Where the figure is from: `given`, `run 2026…`."""
        if function in self.given or "" in self.given:
            return "given"
        return f"run {self.measured.run_id}" if self.measured is not None else ""


@dataclass(frozen=True)
class Need:
    """What a function needs at the peak of the load."""

    rate: float | None
    """Invocations a second; None where nobody knows."""
    duration_ms: float | None
    environments: int | None
    """At a time; None where nobody knows."""
    how: str
    """The arithmetic."""
    bound: int | None = None
    """No more than that, however long it takes: users wait for their answers. None where nothing bounds it."""


def load(demand: Demand) -> Row:
    """How much is planned."""
    if demand.peak_rate is None:
        users = f"{plural(demand.users or 0, 'user')} at most, " if demand.users is not None else ""
        return Row(
            "load",
            "",
            WARN,
            f"{users}as fast as they are answered: how many requests that is nobody knows",
            "give DURATION_MS, or run it once small: checks of rates are left out",
        )
    requests = "an unknown number of requests" if demand.requests is None else f"{count(demand.requests)} requests"
    time = "" if demand.duration_s is None else f" in {demand.duration_s:,.0f} s"
    return Row("load", "", PASS, f"up to {requests}{time}, {decimal(demand.peak_rate)} a second at the peak")


def need(
    function: str,
    demand: Demand,
    durations: Durations,
    sources: Iterable[Source],
    streams: Mapping[str, Stream | Absent | Unknown],
) -> Need:
    """What a function needs, by Little's law; for one that a stream feeds, a batch at a time for each shard."""
    trigger = demand.triggers[function]
    duration_ms = durations.of(function)
    if trigger == OF_STREAM:
        shards = [
            source.parallelization * stream.shards
            for source in sources
            if source.function == function
            for name, stream in streams.items()
            if isinstance(stream, Stream) and source.name.endswith(name)
        ]
        return Need(None, duration_ms, sum(shards) if shards else None, "one batch at a time for each shard")
    rate = None if function in demand.unknown_share else demand.rate("function", function)
    measured = durations.measured
    if rate is None and durations.same_flows and measured and measured.requests and function in measured.invocations:
        share = measured.invocations[function] / measured.requests
        rate = None if demand.peak_rate is None else demand.peak_rate * share
    # A user waits for its answer, so that there are no more calls at a time than users.
    bound = demand.users if trigger in (BEHIND_API, DIRECT) else None
    if rate is None or duration_ms is None:
        return Need(rate, duration_ms, None, "", bound)
    environments = math.ceil(rate * duration_ms / 1000)
    how = f"{decimal(rate)}/s × {decimal(duration_ms)} ms ({durations.source(function)})"
    if bound is not None and bound < environments:
        return Need(rate, duration_ms, bound, f"{plural(bound, 'user')}, one call each at most", bound)
    return Need(rate, duration_ms, environments, how, bound)


def reserved(function: str, found: Function, needs: Need) -> Row:
    """A function's reserved concurrency against its need; without one it shares the account's."""
    check = "reserved concurrency"
    if isinstance(found.reserved, Unknown):
        return not_asked(check, function, found.reserved)
    if found.reserved is None:
        return Row(check, function, PASS, "none: it shares the account's")
    if found.reserved == 0:
        return Row(check, function, FAIL, "0: every invocation is refused", "raise it, or delete it")
    return _against(check, function, needs, found.reserved, "reserved", found)


def provisioned(function: str, found: Function, needs: Need, qualifiers: tuple[str, ...]) -> list[Row]:
    """Provisioned concurrency: ready, on what is called, and enough for its share; no row where there is none."""
    check = "provisioned concurrency"
    if isinstance(found.provisioned, Unknown):
        return [not_asked(check, function, found.provisioned)]
    if not found.provisioned:
        return []
    of_run = [one for one in found.provisioned if one.qualifier in qualifiers]
    if not of_run:
        there = ", ".join(f"{one.requested} of {one.qualifier}" for one in found.provisioned)
        calls = ", ".join(qualifiers) or "$LATEST, or what an API or a mapping names"
        advice = "see that it is the one that is called: it costs money all the time"
        return [Row(check, function, WARN, f"{there}; the run calls {calls}", advice)]
    # Flow direct calls its qualifiers in turns.
    needed = None if needs.environments is None else math.ceil(needs.environments / len(qualifiers))
    share = "" if len(qualifiers) == 1 else f", one of {len(qualifiers)} qualifiers"
    rows = []
    for one in of_run:
        subject = called(function, one.qualifier)
        said = f"{one.available} of {one.requested} environments are ready ({one.status})"
        if one.status != "READY":
            rows.append(Row(check, subject, WARN, said, "wait until it is READY: what comes before that starts cold"))
        elif needed is not None and needed > one.available:
            finding = f"{said}, {count(needed)} needed: {needs.how}{share}"
            rows.append(Row(check, subject, WARN, finding, "the rest starts cold"))
        else:
            rows.append(Row(check, subject, PASS, said))
    return rows


def account_concurrency(
    account: Account | Unknown | None, functions: Mapping[str, Function], needs: Mapping[str, Need]
) -> list[Row]:
    """What functions without a reservation need together against what the account has for them, and the rates."""
    check = "account concurrency"
    if account is None:
        return []
    if isinstance(account, Unknown):
        return [not_asked(check, "", account)]
    sharing = {name: needs[name] for name, found in functions.items() if found.reserved is None}
    has = f"{count(account.unreserved)} of {count(account.concurrency)} are not reserved"
    known = sum(one.environments for one in sharing.values() if one.environments is not None)
    unknown = [name for name, one in sharing.items() if one.environments is None]
    rows = []
    parts = ", ".join(
        f"{name} {count(one.environments)}" for name, one in sharing.items() if one.environments is not None
    )
    said = f"{count(known)} needed ({parts}); {has}" if parts else has
    if known > account.unreserved:
        rows.append(
            Row(check, "", FAIL, said, "ask for a higher quota (Service Quotas, Lambda, L-B99A9384), or send less")
        )
    elif unknown:
        fits = [f"{name} {_longest(sharing[name].rate, account.unreserved)}" for name in unknown]
        covered = _fits_for_sure(((sharing[name], functions[name]) for name in unknown), account.unreserved - known)
        verdict: Verdict = PASS if covered else WARN
        rows.append(
            Row(
                check,
                "",
                verdict,
                f"{said}; durations unknown: {', '.join(fits)}",
                "" if covered else "give DURATION_MS, or run it once small",
            )
        )
    elif known > ROOM * account.unreserved:
        rows.append(Row(check, "", WARN, said, "little room is left: cold starts and slow answers take more"))
    else:
        rows.append(Row(check, "", PASS, said))
    for name, one in sharing.items():
        if one.rate is not None and one.rate > REQUESTS_PER_ENVIRONMENT_S * account.unreserved:
            rows.append(
                Row(
                    check,
                    name,
                    FAIL,
                    f"{count(one.rate)} requests a second; {REQUESTS_PER_ENVIRONMENT_S} for each concurrency are "
                    f"{count(REQUESTS_PER_ENVIRONMENT_S * account.unreserved)}",
                    "ask for a higher quota, or send less",
                )
            )
        if one.environments is not None and one.environments > SCALING_ENVIRONMENTS:
            rows.append(
                Row(
                    check,
                    name,
                    WARN,
                    f"{count(one.environments)} environments; it adds {count(SCALING_ENVIRONMENTS)} in {SCALING_S} s",
                    "let the profile climb no faster than that",
                )
            )
    return rows


def shards(name: str, stream: Stream | Absent | Unknown, rate: float | None, on_demand: Quota) -> Row:
    """The records a second against a stream's shards. `on_demand`: bytes a second that a new stream takes."""
    check = "shards"
    if isinstance(stream, Unknown):
        return not_asked(check, name, stream)
    if isinstance(stream, Absent):
        return Row(check, name, FAIL, "the target has no such stream", "look at its name and STACK_NAME")
    if stream.status not in ("ACTIVE", "UPDATING"):
        return Row(check, name, FAIL, f"it is {stream.status}", "wait until it is ACTIVE")
    if stream.mode == "ON_DEMAND":
        begins = "unknown" if on_demand.value is None else f"{on_demand.value / 1024**2:g} MB"
        return Row(
            check, name, PASS, f"on demand, which begins with {begins} a second; {planned_in_words(rate)} records"
        )
    limit = stream.shards * SHARD_RECORDS_PER_S
    needed = None if rate is None else math.ceil(rate / SHARD_RECORDS_PER_S)
    said = f"{plural(stream.shards, 'shard')}: {count(limit)} records a second"
    return rate_row(check, name, rate, limit, said, f"{needed} shards needed: PARAMETERS=ShardCount={needed}")


def table_capacity(
    name: str,
    table: Table | Absent | Unknown,
    writes: float | None,
    reads: float | None,
    write_quota: Quota,
    read_quota: Quota,
    *,
    at_most: bool,
) -> list[Row]:
    """Units a second against a table's capacity, or against the quotas of one on demand. `at_most`: the writes are no
    more than that, perhaps far fewer."""
    check = "table capacity"
    if isinstance(table, Unknown):
        return [not_asked(check, name, table)]
    if isinstance(table, Absent):
        return [Row(check, name, FAIL, "the target has no such table", "look at STACK_NAME")]
    if table.status not in ("ACTIVE", "UPDATING"):
        return [Row(check, name, FAIL, f"it is {table.status}", "wait until it is ACTIVE")]
    rows = []
    for what, rate, provisioned_units, quota in (
        ("write", writes, table.write_units, write_quota),
        ("read", reads, table.read_units, read_quota),
    ):
        sure = not (at_most and what == "write")
        if rate == 0:
            continue
        if table.mode == "PROVISIONED":
            said = f"{count(provisioned_units)} {what} units a second"
            advice = "raise the capacity, or make it on demand"
            rows.append(rate_row(check, name, rate, provisioned_units, said, advice, sure=sure))
        elif quota.value is None:
            rows.append(Row(check, name, WARN, f"on demand; unknown quota of {what} units", f"see {quota.source}"))
        else:
            said = f"on demand, up to {count(quota.value)} {what} units a second"
            row = rate_row(check, name, rate, quota.value, said, "ask for a higher quota of the table", sure=sure)
            warm = table.warm_write_units
            if row.verdict == PASS and what == "write" and warm is not None and rate is not None and rate > warm:
                finding = (
                    f"{said}; {'' if sure else 'at most '}{planned_in_words(rate)}, and it takes {count(warm)} at once"
                )
                row = Row(check, name, WARN, finding, "warm it (WarmThroughput), or let the profile climb slowly")
            rows.append(row)
    return rows


def key_requests(key: Key | Absent | Unknown | None, rate: float | None, *, simulated: bool) -> Row | None:
    """Decrypts a second against the quota of keys of that kind; None where no key is used or known."""
    check = "kms requests"
    if key is None:
        return None
    if isinstance(key, Unknown):
        return not_asked(check, "", key)
    if isinstance(key, Absent):
        return Row(check, "", FAIL, "the target has no such key", "look at STACK_NAME")
    if key.state != "Enabled":
        return Row(check, key.spec, FAIL, f"the key is {key.state}", "enable it")
    if isinstance(key.requests_per_s, Unknown) and key.requests_per_s.denied:
        return not_asked(check, key.spec, key.requests_per_s)
    if key.requests_per_s is None or isinstance(key.requests_per_s, Unknown):
        if simulated:
            return Row(check, key.spec, PASS, f"{planned_in_words(rate)}; the target names no quota, AWS has one")
        return Row(
            check,
            key.spec,
            WARN,
            f"{planned_in_words(rate)}; unknown quota",
            f"see {KMS_QUOTAS_PAGE}, and Service Quotas",
        )
    said = f"{count(key.requests_per_s)} a second for all keys of this kind"
    return rate_row(
        check, key.spec, rate, key.requests_per_s, said, "ask for a higher quota (Service Quotas, KMS), or send less"
    )


def message_quota(check: str, rate: float | None, quota: Quota) -> Row | None:
    """Messages a second against an account's quota; None where none are sent."""
    if rate == 0:
        return None
    if quota.value is None:
        return Row(check, "", WARN, f"{planned_in_words(rate)}; unknown quota", f"see {quota.source}")
    return rate_row(
        check, "", rate, quota.value, f"{count(quota.value)} a second", "ask for a higher quota, or send less"
    )


def _against(check: str, subject: str, needs: Need, has: int, what: str, function: Function) -> Row:
    if needs.environments is None:
        said = f"{count(has)} {what}; duration unknown: {_longest(needs.rate, has)}"
        if _fits_for_sure([(needs, function)], has):
            return Row(check, subject, PASS, said)
        return Row(check, subject, WARN, said, "give DURATION_MS, or run it once small")
    said = f"{count(has)} {what}, {count(needs.environments)} needed: {needs.how}"
    if needs.environments > has:
        return Row(check, subject, FAIL, said, f"reserve {count(needs.environments)}, or send less")
    if needs.environments > ROOM * has:
        return Row(check, subject, WARN, said, "little room is left: cold starts and slow answers take more")
    return Row(check, subject, PASS, said)


def _longest(rate: float | None, environments: int) -> str:
    """How long invocations may take on the average."""
    if rate is None:
        return "how often it is called is not known"
    return f"enough below {count(1000 * environments / rate)} ms" if rate else "not called"


def _fits_for_sure(needs: Iterable[tuple[Need, Function]], environments: int) -> bool:
    """Whether functions of unknown duration fit, at their time limits, or because no more users wait for them."""
    of_users, others = 0, 0.0
    for one, function in needs:
        at_limit = None if one.rate is None else one.rate * function.timeout_s
        if one.bound is not None and (at_limit is None or one.bound < at_limit):
            of_users = one.bound  # of all of them together
        elif at_limit is None:
            return False
        else:
            others += at_limit
    return of_users + others <= environments
