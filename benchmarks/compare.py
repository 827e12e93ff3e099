"""How often a comparison of two runs is wrong, on runs of which it is known whether they differ.

    python -m benchmarks.compare                # 200 pairs of 20,000 requests
    python -m benchmarks.compare --rate 200 --reserved 0    # many environments, none refused

Runs are drawn from the sandbox's model in virtual time: Poisson arrivals at place-vote, which has a reservation that
refuses some of them, a handler that fails now and then, and environments that are reused, idle and added as in
`sandbox.model`. In an A/A pair nothing differs: whatever the comparison finds there is a false alarm. Of a pair in
which the slower half of B's requests is stretched until p95 is a tenth more, p95 is to be found worse.

An alarm is an interval that does not hold 0, which is what the confidence is about; a verdict `worse` or `better`
is rarer, since what lies within the margin is neither. Beside ours stand the alarms of intervals with the normal
distribution's quantiles in the place of Student's t. Of a figure with a rate of 5 %, more than 17 alarms in 200 pairs
are seen in one case of 80: that many of 200 pairs, or a planted change missed in more than one in ten, end it with 1.
"""

from __future__ import annotations

import heapq
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from analysis.bootstrap import Estimate, Sample, estimates
from analysis.comparison import METRICS, WITHIN, Compared, judge
from sandbox.model.durations import duration_model
from sandbox.model.environments import AccountConcurrency, Environment, EnvironmentPool, FunctionConcurrency
from sandbox.model.parameters import Parameters

FUNCTION, MEMORY_MB = "place-vote", 256
RATE_PER_S = 60.0
RESERVED = 7
"""Concurrent executions: of the arrivals about four in a thousand find them all busy."""
FAILING = 0.01
NETWORK_MS = 2.0
USD_PER_GB_S, OTHER_USD_PER_MILLION = 0.0000166667, 3.7
PARAMETERS = Parameters()

MOST_ALARMS, LEAST_FOUND = 17 / 200, 0.9
"""Shares of the pairs: with an alarm though nothing differs, and in which the planted change is found."""

FIGURES = tuple(one for one in METRICS if one.name != "dropped_rate")
"""Here every arrival finds a slot."""


def draw(requests: int, random: Random, rate_per_s: float = RATE_PER_S, reserved: int | None = RESERVED) -> Sample:
    """A run's requests and invocations, in virtual time. `reserved` None: no reservation."""
    model = duration_model(PARAMETERS.timing(FUNCTION), MEMORY_MB, PARAMETERS.lambda_)
    pool = EnvironmentPool(PARAMETERS.lambda_.idle_expiry_s, PARAMETERS.lambda_.environment_lifetime_s)
    concurrency = FunctionConcurrency(
        PARAMETERS.lambda_, AccountConcurrency(PARAMETERS.lambda_, reserved or 0), reserved
    )
    ends: list[tuple[float, int, Environment]] = []
    now, environments = 0.0, 0
    rows = []  # started_at, response_ms, failed, environment, cold, billed_ms
    for number in range(requests):
        now += random.expovariate(rate_per_s)
        while ends and ends[0][0] <= now:
            ended_at, _, environment = heapq.heappop(ends)
            pool.give_back(environment, ended_at)
            concurrency.end()
        around_ms = PARAMETERS.api_gateway.overhead_ms + NETWORK_MS
        if concurrency.refusal(now, synchronous=True) is not None:
            rows.append((now, around_ms, True, -1, False, 0.0))
            continue
        concurrency.start()
        environment = pool.take(now) or Environment(now, str(environments), 0, 0)
        cold = not environment.calls
        if cold:
            environments += 1
        init_ms = model.init_ms(random) if cold else 0.0
        took_ms = init_ms + model.duration_ms(random, first_call=cold)
        environment.calls += 1
        heapq.heappush(ends, (now + took_ms / 1000, number, environment))
        failed = random.random() < FAILING
        rows.append((now, around_ms + took_ms, failed, int(environment.log_stream), cold, np.ceil(took_ms)))
    started_at, response_ms, failed_, environment_, cold_, billed_ms = map(np.array, zip(*rows, strict=True))
    invoked = environment_ >= 0
    return Sample(
        response_ms=response_ms,
        failed=failed_,
        started_at=started_at,
        environment=environment_,
        invocation_environment=environment_[invoked],
        invocation_function=np.zeros(int(invoked.sum()), dtype=np.int64),
        invocation_measured=np.ones(int(invoked.sum()), dtype=bool),
        cold=cold_[invoked],
        gb_s=billed_ms[invoked] / 1000 * MEMORY_MB / 1024,
        requests_paid=requests,
        usd_per_gb_s=USD_PER_GB_S,
        other_usd_per_million=OTHER_USD_PER_MILLION,
    )


def with_slower_tail(sample: Sample, share: float) -> Sample:
    """The run with its slower half stretched until p95 is by `share` more; p50 stays."""
    p50, p95 = np.quantile(sample.response_ms, (0.50, 0.95))
    beyond = np.maximum(sample.response_ms - p50, 0)
    return replace(sample, response_ms=sample.response_ms + beyond * (share * p95 / (p95 - p50)))


def against(a: dict[str, Estimate], b: dict[str, Estimate], requests: int) -> dict[str, Compared]:
    """Name of a metric -> its comparison."""
    return {one.name: judge(one, a[one.name], b[one.name], (requests, requests), WITHIN, 0.95) for one in FIGURES}


def alarm(one: Compared) -> bool:
    """Whether the interval is sure of a change."""
    return one.low is not None and one.high is not None and not one.low <= 0 <= one.high


def as_if_certain(measured: dict[str, Estimate]) -> dict[str, Estimate]:
    """The same, with degrees of freedom for which Student's t is the normal distribution."""
    return {name: replace(one, freedom=None if one.freedom is None else 1e9) for name, one in measured.items()}


def measure(
    pairs: int,
    requests: int,
    planted: float,
    *,
    rate_per_s: float = RATE_PER_S,
    reserved: int | None = RESERVED,
    console: Console | None = None,
) -> dict[str, Any]:
    """Alarms and verdicts of each metric over so many A/A pairs, and how often the planted change was found."""
    ours: Counter[str] = Counter()
    normal: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    found = 0
    begun = time.process_time()
    for pair in track(range(pairs), "A/A pairs", console=console, disable=console is None):
        samples = [draw(requests, Random(2 * pair + side), rate_per_s, reserved) for side in (0, 1)]
        a, b = map(estimates, samples)
        compared = against(a, b, requests)
        ours.update(name for name, one in compared.items() if alarm(one))
        verdicts.update(name for name, one in compared.items() if one.verdict in ("worse", "better"))
        plain = against(as_if_certain(a), as_if_certain(b), requests)
        normal.update(name for name, one in plain.items() if alarm(one))
        slower = estimates(with_slower_tail(samples[1], planted))
        found += against(a, slower, requests)["p95_ms"].verdict == "worse"
    return {
        "benchmark": "compare",
        "pairs": pairs,
        "requests": requests,
        "rate_per_s": rate_per_s,
        "reserved": reserved,
        "alarms": {one.name: ours[one.name] for one in FIGURES},
        "alarms_with_normal_quantiles": {one.name: normal[one.name] for one in FIGURES},
        "false_verdicts": {one.name: verdicts[one.name] for one in FIGURES},
        "planted": planted,
        "planted_found": found,
        "cpu_s": round(time.process_time() - begun, 1),
    }


@click.command()
@click.option("--pairs", type=click.IntRange(min=1), default=200, show_default=True, help="Pairs of runs.")
@click.option("--requests", type=click.IntRange(min=100), default=20_000, show_default=True, help="Of each run.")
@click.option("--planted", default=0.10, show_default=True, help="Share by which p95 is made worse, to be found.")
@click.option("--rate", default=RATE_PER_S, show_default=True, help="Arrivals a second.")
@click.option("--reserved", default=RESERVED, show_default=True, help="Concurrent executions reserved; 0: none.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the figures here as JSON.")
def main(pairs: int, requests: int, planted: float, rate: float, reserved: int, output: Path | None) -> None:
    """False alarms of comparisons, and the true ones."""
    console = Console()
    figures = measure(pairs, requests, planted, rate_per_s=rate, reserved=reserved or None, console=console)
    if output is not None:
        output.write_text(json.dumps(figures, indent=2) + "\n")
    table = Table(title=f"false alarms in {pairs} A/A pairs of {requests:,} requests")
    for header in ("figure", "interval without 0", "with normal quantiles", "verdict worse or better"):
        table.add_column(header, justify="left" if header == "figure" else "right")
    for one in FIGURES:
        columns = ("alarms", "alarms_with_normal_quantiles", "false_verdicts")
        table.add_row(one.label, *(str(figures[column][one.name]) for column in columns))
    console.print(table)
    console.print(f"p95 by {planted:.0%} worse was found in {figures['planted_found']} of {pairs} pairs")
    console.print(f"{figures['cpu_s']} s of CPU")
    shares = {name: number / pairs for name, number in figures["alarms"].items()}
    if pairs >= 200 and (max(shares.values()) > MOST_ALARMS or figures["planted_found"] / pairs < LEAST_FOUND):
        raise click.ClickException("too many false alarms, or too few true ones")


if __name__ == "__main__":
    main()
