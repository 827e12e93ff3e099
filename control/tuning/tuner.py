"""`python -m control tune`: the target made ready, the payloads read, a run or a clean-up carried out."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.formatting import plural
from config.aws import client
from config.errors import ConfigError
from config.prices import Prices, lambda_compute_item, lambda_gb_s
from config.settings import Settings, function_name
from control.function_configuration import architecture_of, timeout_s_of
from control.run_lock import run_lock
from control.stack_outputs import RunTarget, with_public_key
from control.temporary_versions.place import Place, existing, placed, unqualified
from control.temporary_versions.taking_back import refuse_leftovers
from control.tuning import report
from control.tuning.figures import LEAST_WARM, Strategy
from control.tuning.payloads import Payload, read_payloads, sample_payloads, sampled_functions
from control.tuning.result import Result
from control.tuning.session import Edge, Plan, tune
from control.tuning.versions import TunedVersions
from runstore.rundir import TUNING, new_run_id

SAMPLE = "sample"
LEAST_MEMORY_MB, GREATEST_MEMORY_MB = 128, 10_240
"""AWS [gettingstarted-limits]."""
READ_MARGIN_S = 10.0
"""How much longer than the function's timeout an answer is waited for."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    function: str
    memory_mb: tuple[int, ...]
    rounds: int
    strategy: Strategy
    weight: float
    payload: str | None
    """A file, or `sample`; None: samples where the function is one of ours."""
    concurrency: int
    rate_per_s: float | None
    seed: int
    apply: bool
    promote: str | None


def parse_memory(text: str) -> tuple[int, ...]:
    """`128,256 512` -> (128, 256, 512). Raises ConfigError with every problem."""
    problems, found = [], []
    for word in text.replace(",", " ").split():
        if not word.isdecimal() or not LEAST_MEMORY_MB <= int(word) <= GREATEST_MEMORY_MB:
            problems.append(f"MEMORY: {word!r} is not a whole number from {LEAST_MEMORY_MB} to {GREATEST_MEMORY_MB}")
        else:
            found.append(int(word))
    if not found and not problems:
        problems.append("MEMORY: names no value, such as 128,256,512")
    if problems:
        raise ConfigError(problems)
    return tuple(sorted(set(found)))


def run(settings: Settings, request: Request, messages: Console, say: Say) -> Result:
    """Tune a function, and write the result to `runs/tune/<id>/`. Raises what `session.tune` does."""
    refuse_too_few(request)
    if few := too_few_ahead(request):
        say(few)
    started_at = time.time()
    with placed(settings, request.function, say) as (settings, place, resources):
        name = called_name(request.function, resources)
        function = TunedVersions.of(settings, client(settings, "lambda"), name)
        timeout_s = timeout_s_of(existing(function, place, request.function))
        payloads = payloads_for(settings, request, resources)
        plain_name = function_name(name)
        directory = settings.runs_dir / TUNING / f"{new_run_id(plain_name, started_at)}-{secrets.token_hex(2)}"
        with run_lock(settings.runs_dir, directory.name):
            refuse_leftovers(settings, place, function)
            plan = _plan(settings, request, payloads, place)
            directory.mkdir(parents=True)
            invoke_client = _invoke_client(settings, timeout_s, plan.concurrency)
            try:
                with _progress(messages, len(plan.memory_mb) * plan.rounds) as count:
                    edge = Edge(time.time, time.sleep, say, count)
                    result = tune(
                        plan,
                        place,
                        function,
                        invoke_client,
                        directory,
                        edge,
                        lambda found: report.write(found, directory),
                    )
            finally:
                if (directory / report.PAGE).exists():
                    say(f"written: {directory / report.PAGE}, and tune.md, tune.json beside it")
                elif not any(directory.iterdir()):
                    directory.rmdir()
    return result


def dry_run(settings: Settings, request: Request, say: Say) -> Iterator[str]:
    """What `run` would do, and what it might cost, in words; nothing is changed."""
    refuse_too_few(request)
    with placed(settings, request.function, say, look_only=True) as (settings, place, resources):
        function = TunedVersions.of(settings, client(settings, "lambda"), called_name(request.function, resources))
        before = existing(function, place, request.function)
        payloads = payloads_for(settings, request, resources)
        if request.promote is not None and function.alias(request.promote) is None:
            raise ConfigError(f"PROMOTE: {before['FunctionName']} has no alias {request.promote!r}")
        refuse_leftovers(settings, place, function)
        values = ", ".join(map(str, request.memory_mb))
        yield f"would publish versions of {before['FunctionName']} with {values} MB, each with an alias"
        yield f"would set $LATEST to each of them meanwhile, and back to {before['MemorySize']} MB"
        pace = f"at {request.rate_per_s:g}/s" if request.rate_per_s else f"{request.concurrency} at a time"
        yield (f"would invoke each {plural(request.rounds, 'time')}, {pace}, with {plural(len(payloads), 'payload')}")
        if few := too_few_ahead(request):
            yield few
        if request.promote is not None:
            yield f"would move alias {request.promote} to the version chosen by {request.strategy}"
        if request.apply:
            yield f"would set $LATEST to the memory chosen by {request.strategy}"
        yield "would delete the versions and aliases it made"
        yield _estimate(place.prices, before, request)


def called_name(function: str, resources: RunTarget | None) -> str:
    """The name or ARN to call, of a function's logical or own name. Raises ConfigError."""
    known = resources.functions if resources is not None else {}
    return unqualified(known.get(function, function))


def payloads_for(settings: Settings, request: Request, resources: RunTarget | None) -> Sequence[Payload]:
    """What to call it with. Raises ConfigError."""
    if request.payload not in (None, SAMPLE):
        return read_payloads(Path(request.payload))
    known = resources.functions if resources is not None else {}
    plain = function_name(called_name(request.function, resources))
    logical = next((logical for logical, physical in known.items() if function_name(physical) == plain), "")
    public_key = None
    if resources is not None and logical in ("shop-accept", "shop-decrypt"):
        public_key = with_public_key(resources, client(settings, "kms")).shop_public_key
    sampled = sample_payloads(logical, Random(request.seed), public_key)
    if sampled is None:
        raise ConfigError(
            f"PAYLOAD: needed for {request.function}: a .json or .jsonl file with its events; there are samples for "
            f"{', '.join(sampled_functions())}"
        )
    return sampled


def refuse_too_few(request: Request) -> None:
    """Raises ConfigError where something is to be set by a run that can choose nothing."""
    options = [name for name, wanted in (("--apply", request.apply), ("--promote", request.promote)) if wanted]
    if options and request.rounds < LEAST_WARM:
        raise ConfigError(
            f"NUM: {request.rounds} leaves no value with {LEAST_WARM} warm invocations, and without them nothing is "
            f"chosen for {' and '.join(options)}; NUM={_num_enough(request)} does"
        )


def too_few_ahead(request: Request) -> str | None:
    """What to say before a run that can choose nothing; None where it may."""
    if request.rounds >= LEAST_WARM:
        return None
    return (
        f"NUM={request.rounds} leaves no value with {LEAST_WARM} warm invocations: there will be figures, and nothing "
        f"is chosen; NUM={_num_enough(request)} does"
    )


def _num_enough(request: Request) -> int:
    """So many leave LEAST_WARM warm ones, should each of those under way at a time be a cold start."""
    return LEAST_WARM + request.concurrency


def _plan(settings: Settings, request: Request, payloads: Sequence[Payload], place: Place) -> Plan:
    if settings.max_cost_usd is not None and place.prices.usd("lambda_requests", 1) is None:
        raise ConfigError(
            f"MAX_COST_USD: cannot be kept, for there are no prices of Lambda in region {place.region}: add them below "
            "config/prices, or do not set it"
        )
    return Plan(
        memory_mb=request.memory_mb,
        rounds=request.rounds,
        payloads=payloads,
        concurrency=request.concurrency,
        rate_per_s=request.rate_per_s,
        strategy=request.strategy,
        weight=request.weight,
        seed=request.seed,
        apply=request.apply,
        promote=request.promote,
        max_cost_usd=settings.max_cost_usd,
    )


def _invoke_client(settings: Settings, timeout_s: float, concurrency: int) -> Any:
    return client(
        settings,
        "lambda",
        retries={"total_max_attempts": 1},
        read_timeout=timeout_s + READ_MARGIN_S,
        max_pool_connections=concurrency,
    )


def _estimate(prices: Prices, before: dict[str, Any], request: Request) -> str:
    architecture, timeout_s = architecture_of(before), timeout_s_of(before)
    mb = sum(request.memory_mb) * request.rounds
    each = prices.usd(lambda_compute_item(architecture), lambda_gb_s(100, mb))
    requests = prices.usd("lambda_requests", request.rounds * len(request.memory_mb))
    if each is None or requests is None:
        return f"cost: not known, for there are no prices of {prices.region} in config/prices/"
    at_most = each * timeout_s * 10 + requests
    return (
        f"cost: ${each:.4f} for each 100 ms that an invocation takes on average, and ${requests:.6f} for requests; "
        f"at most ${at_most:.2f}, were each to take its timeout of {timeout_s:g} s"
    )


@contextmanager
def _progress(messages: Console, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("invocations"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as bar:
        task = bar.add_task("invocations", total=total)
        yield lambda done: bar.update(task, completed=done)


def as_json(result: Result) -> str:
    return json.dumps(result.document(), indent=1)
