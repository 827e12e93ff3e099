"""What the arms of the experiment measured, what they cost, and which of them to choose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import duckdb

from analysis.advice import REQUESTS_PER_ENVIRONMENT_S
from analysis.formatting import count, milliseconds, plural
from analysis.run_files import read_json, read_summary
from analysis.tables import Column, Row, Table
from config.planned_load import planned_peak_rate
from config.prices import Prices, lambda_compute_item, lambda_gb_s, lambda_provisioned_item
from config.profiles import Profile
from control.errors import ControlError
from runstore.rundir import RunDir

Arm = Literal["plain", "warmer", "provisioned"]
ARMS: tuple[Arm, ...] = ("plain", "warmer", "provisioned")
BILLING_PERIOD_S = 300
"""AWS bills provisioned concurrency from when it is asked for until it is given back, in whole five minutes (from
second-hand sources)."""
HEADROOM = 1.1
"""AWS [provisioned-concurrency] suggests a tenth more than is needed."""
PLANNED_FOR_PER_S = REQUESTS_PER_ENVIRONMENT_S / 2
"""Requests a second for each environment, where nobody says how many: half of what Lambda lets one take, which is
enough for invocations of up to 200 ms, or shorter ones that come together."""
FEW = 0.2
"""Of the cold starts of plain: what a warmer may leave to be worth choosing."""


@dataclass(frozen=True)
class ArmFigures:
    """One arm. Times are those of the client."""

    arm: Arm
    run_id: str
    requests: int
    failures: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    """Where the cold starts of a burst are: fewer than one request in a hundred waits for one."""
    max_ms: float | None
    peak_rate: int
    """Requests that began in the second that had the most of them."""
    cold_starts: int
    """Requests that waited for an init."""
    invocations: int
    """Of the arm's version in the time of its run, the warmer's among them."""
    billed_ms: int
    on_demand: int
    """Invocations in environments that began with a cold start in this run: with provisioned concurrency, what spilled
    over."""
    on_demand_billed_ms: int
    memory_mb: int
    spillover: int | None
    """By the metric ProvisionedConcurrencySpilloverInvocations; None where CloudWatch has none of it."""
    concurrency: int | None
    """The greatest at a time, by the metric ConcurrentExecutions."""
    provisioned_s: float | None = None
    """How long environments were provisioned."""
    warmer_invocations: int | None = None
    """All that were made: also before the run began, and while it was analysed."""
    warmer_failures: int | None = None


def figures(run: RunDir, arm: Arm, function: str, version: str) -> ArmFigures:
    """The figures of an analysed run; `function` by its logical name.

    Raises ControlError where nobody called the function.
    """
    summary, metrics = read_summary(run), read_json(run, "metrics.json")
    told = summary["client"]["endpoints"].get(f"Invoke {function}")
    if told is None:
        raise ControlError(f"run {run.path.name} holds no request to {function}: nothing can be compared")
    of_function = (metrics.get("functions") or {}).get(function) or {}
    with duckdb.connect() as db:
        invocations = db.execute(
            """WITH ours AS (FROM read_parquet($file) WHERE function = $function AND version = $version),
                    streams AS (SELECT log_stream, bool_or(init_ms IS NOT NULL) AS on_demand FROM ours GROUP BY 1)
               SELECT count(*), coalesce(sum(billed_ms), 0), count(*) FILTER (on_demand),
                      coalesce(sum(billed_ms) FILTER (on_demand), 0), max(memory_mb)
               FROM ours JOIN streams USING (log_stream)""",
            {"file": str(run.file("invocations.parquet")), "function": function, "version": version},
        ).fetchone()
        requests = db.execute(
            """WITH ours AS (FROM read_parquet($file) WHERE executed_version = $version),
                    seconds AS (SELECT count(*) AS begun FROM ours GROUP BY floor(started_at))
               SELECT count(inv_init_ms), quantile_cont(response_ms, 0.999) FILTER (phase = 'measure'),
                      (SELECT max(begun) FROM seconds)
               FROM ours""",
            {"file": str(run.file("joined.parquet")), "version": version},
        ).fetchone()
    assert invocations is not None and requests is not None
    spillover = of_function.get("ProvisionedConcurrencySpilloverInvocations")
    if spillover is None and of_function.get("ProvisionedConcurrencyInvocations") is not None:
        spillover = 0  # CloudWatch has no value of what never happened
    concurrency = of_function.get("ConcurrentExecutions")
    return ArmFigures(
        arm=arm,
        run_id=run.path.name,
        requests=told["requests"],
        failures=told["failures"],
        p50_ms=told["p50_ms"],
        p95_ms=told["p95_ms"],
        p99_ms=told["p99_ms"],
        p999_ms=requests[1],
        max_ms=told["max_ms"],
        peak_rate=requests[2] or 0,
        cold_starts=requests[0],
        invocations=invocations[0],
        billed_ms=int(invocations[1]),
        on_demand=invocations[2],
        on_demand_billed_ms=int(invocations[3]),
        memory_mb=invocations[4] or 0,
        spillover=None if spillover is None else int(spillover),
        concurrency=None if concurrency is None else int(concurrency),
    )


@dataclass(frozen=True)
class Cost:
    """What an arm costs at Lambda, USD without free tier. None where a price is not known."""

    run_usd: float | None
    """The arm's run: requests, compute, and what was provisioned for as long as it was, in whole five minutes."""
    standing_usd_per_hour: float | None
    """What it costs an hour without any request."""


@dataclass(frozen=True)
class Result:
    """The whole experiment."""

    experiment_id: str
    function: str
    target: str
    simulated: bool
    region: str
    architecture: str
    profile: str
    environments: int
    """Provisioned, and warmed at a time."""
    warmer_interval_s: float
    arms: Sequence[ArmFigures]
    prices: Prices

    def arm(self, name: Arm) -> ArmFigures | None:
        return next((one for one in self.arms if one.arm == name), None)

    def cost(self, one: ArmFigures) -> Cost:
        usd, architecture = self.prices.usd, self.architecture
        on_demand, requests = lambda_compute_item(architecture), usd("lambda_requests", one.invocations)
        if one.arm == "provisioned" and one.provisioned_s is not None:
            run = f"lambda_provisioned_compute_{architecture}_gb_s"
            ahead_ms = one.billed_ms - one.on_demand_billed_ms
            parts = (
                requests,
                usd(on_demand, lambda_gb_s(one.on_demand_billed_ms, one.memory_mb)),
                usd(run, lambda_gb_s(ahead_ms, one.memory_mb)),
                kept_usd(self.prices, architecture, one.memory_mb, self.environments, one.provisioned_s),
            )
            return Cost(_sum(parts), kept_usd(self.prices, architecture, one.memory_mb, self.environments, 3600.0))
        run_usd = _sum((requests, usd(on_demand, lambda_gb_s(one.billed_ms, one.memory_mb))))
        if one.arm == "plain":
            return Cost(run_usd, 0.0)
        events = self.environments * 3600 / self.warmer_interval_s
        each = usd(on_demand, lambda_gb_s(self._warmer_ms(one), one.memory_mb))
        return Cost(run_usd, _sum((usd("lambda_requests", events), None if each is None else each * events)))

    def _warmer_ms(self, one: ArmFigures) -> float:
        """At most what an invocation of the arm was billed on average, inits included: the event gives less to do."""
        return one.billed_ms / max(one.invocations, 1)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema": 1,
            "experiment_id": self.experiment_id,
            "function": self.function,
            "target": self.target,
            "simulated": self.simulated,
            "region": self.region,
            "architecture": self.architecture,
            "profile": self.profile,
            "concurrency": self.environments,
            "warmer_interval_s": self.warmer_interval_s,
            "arms": [asdict(one) | {"cost": asdict(self.cost(one))} for one in self.arms],
            "choice": choice(self),
            "remarks": list(remarks(self)),
            "prices": str(self.prices),
        }


def kept_usd(prices: Prices, architecture: str, memory_mb: float, environments: int, kept_s: float) -> float | None:
    """What environments cost that are kept so long, in whole periods; None where the price is not known."""
    periods = max(1, math.ceil(kept_s / BILLING_PERIOD_S))
    gb_s = environments * lambda_gb_s(periods * BILLING_PERIOD_S * 1000, memory_mb)
    return prices.usd(lambda_provisioned_item(architecture), gb_s)


def _sum(parts: Sequence[float | None]) -> float | None:
    return None if None in parts else sum(part for part in parts if part is not None)


def choice(result: Result) -> Arm | None:
    """The arm to choose for this load; None where the arms do not tell: one is missing, or too few environments were
    provisioned to spare anything.

    Without cold starts nothing is gained. A warmer that leaves few of them is chosen where it is cheaper or prices are
    not known; otherwise whichever leaves the fewest.
    """
    plain, warmer, provisioned = (result.arm(name) for name in ARMS)
    if plain is None or provisioned is None:
        return None
    if plain.cold_starts == 0:
        return "plain"
    if warmer is not None and warmer.cold_starts <= FEW * plain.cold_starts:
        dear, cheap = result.cost(provisioned).standing_usd_per_hour, result.cost(warmer).standing_usd_per_hour
        if warmer.cold_starts <= provisioned.cold_starts or dear is None or cheap is None or cheap < dear:
            return "warmer"
    if provisioned.cold_starts < plain.cold_starts:
        return "provisioned"
    return None if provisioned.on_demand else "plain"


def headline(result: Result) -> str:
    chosen, plain, provisioned = choice(result), result.arm("plain"), result.arm("provisioned")
    if plain is None or provisioned is None:
        return "nothing could be compared"
    if plain.cold_starts == 0:
        return "plain: no request waited for a cold start, so there is nothing to gain"
    if chosen is None:
        return (
            f"inconclusive: {plural(result.environments, 'provisioned environment')} were too few, "
            f"{plural(provisioned.on_demand, 'invocation')} spilled over; CONCURRENCY={enough(provisioned)} would do"
        )
    if chosen == "plain":
        return "plain: provisioned concurrency spared no cold start"
    one = result.arm(chosen)
    assert one is not None
    return (
        f"{chosen}: {plural(plain.cold_starts, 'request')} waited for a cold start without it, {one.cold_starts} with "
        "it; "
        f"p99.9 {milliseconds(plain.p999_ms)} ms to {milliseconds(one.p999_ms)} ms"
    )


def enough(one: ArmFigures) -> int:
    """Environments that would have served all of an arm, with a tenth to spare: for as many invocations as ran at a
    time, and for the requests of its greatest second, of which each takes ten."""
    needed = max(one.concurrency or 0, one.peak_rate / REQUESTS_PER_ENVIRONMENT_S)
    return math.ceil(needed * HEADROOM)


def environments_for(profile: Profile) -> int:
    """What a profile's peak takes, as far as can be told before; no more than there are users, and where nobody knows
    the rate, one for each of them."""
    rate, users = planned_peak_rate(profile), profile.peak_users if profile.model == "closed" else None
    if rate is None:
        return profile.peak_users
    by_rate = max(1, math.ceil(rate / PLANNED_FOR_PER_S))
    return by_rate if users is None else min(by_rate, users)


def table(result: Result) -> Table:
    columns = (
        Column("arm", numeric=False),
        Column("requests"),
        Column("p50", "ms"),
        Column("p95", "ms"),
        Column("p99", "ms"),
        Column("p99.9", "ms"),
        Column("cold"),
        Column("spilled"),
        Column("this run", "USD"),
        Column("standing", "USD/h"),
    )
    rows = []
    for one in result.arms:
        cost = result.cost(one)
        cells = (
            one.arm,
            count(one.requests),
            milliseconds(one.p50_ms),
            milliseconds(one.p95_ms),
            milliseconds(one.p99_ms),
            milliseconds(one.p999_ms),
            count(one.cold_starts),
            ("–" if one.arm != "provisioned" else count(one.on_demand)),
            _usd(cost.run_usd),
            _usd(cost.standing_usd_per_hour),
        )
        rows.append(Row(cells, "good" if one.arm == choice(result) else None))
    return Table(
        f"{result.function}, profile {result.profile}, {plural(result.environments, 'environment')}",
        columns,
        tuple(rows),
    )


def _usd(value: float | None) -> str:
    return "not known" if value is None else f"{value:.5f}"


def remarks(result: Result) -> Iterator[str]:
    """What to know beside the table."""
    provisioned, warmer = result.arm("provisioned"), result.arm("warmer")
    if provisioned is not None:
        if provisioned.on_demand:
            at_a_time = "" if provisioned.concurrency is None else f"{provisioned.concurrency} ran at a time and "
            yield (
                f"{plural(provisioned.on_demand, 'invocation')} of {count(provisioned.invocations)} spilled over to "
                f"on-demand: at most {at_a_time}{provisioned.peak_rate} began in a second, of which an environment "
                f"takes {REQUESTS_PER_ENVIRONMENT_S}; CONCURRENCY={enough(provisioned)} would leave a tenth to spare"
            )
        if provisioned.spillover is not None and provisioned.spillover != provisioned.on_demand:
            yield (
                f"CloudWatch counts {provisioned.spillover} spilled invocations of the function, the log of the "
                f"version {provisioned.on_demand}"
            )
        if result.cost(provisioned).run_usd is None:
            yield (
                f"the price of provisioned concurrency in {result.region} is not known: add lambda_provisioned_"
                f"{result.architecture}_gb_s and lambda_provisioned_compute_{result.architecture}_gb_s to "
                f"config/prices/{result.region}.toml"
            )
        else:
            yield (
                "the price of provisioned concurrency is UNVERIFIED, from second-hand copies of the price list; look "
                "at https://aws.amazon.com/lambda/pricing/"
            )
    if warmer is not None:
        yield (
            f"warmer: this command invoked {count(warmer.warmer_invocations)} times itself, {result.environments} at "
            f"once every {result.warmer_interval_s:g} s; on AWS an EventBridge schedule would, once a minute at most. "
            "Lambda takes warm environments away as it likes, and a request that comes together with the event finds "
            "it busy"
        )
        if warmer.warmer_failures:
            yield f"{plural(warmer.warmer_failures, 'warmer event')} failed"
    failed: Mapping[str, int] = {one.arm: one.failures for one in result.arms if one.failures}
    if failed:
        yield "requests failed: " + ", ".join(f"{arm} {count(failures)}" for arm, failures in failed.items())
