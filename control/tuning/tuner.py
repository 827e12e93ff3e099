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
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from config.aws import client
from config.errors import ConfigError
from config.prices import Prices, lambda_compute_item, lambda_gb_s, load_prices
from config.settings import FUNCTION_VARIABLES, Settings, function_name
from control.run_lock import run_lock
from control.sandbox_process import is_sandbox
from control.scratch import scratch_directory
from control.stack_outputs import RunTarget, with_public_key
from control.target import find_resources, ready_target
from control.tuning import report
from control.tuning.errors import LeftoversError
from control.tuning.figures import Strategy
from control.tuning.journal import Journal, open_journals
from control.tuning.payloads import Payload, read_payloads, sample_payloads, sampled_functions
from control.tuning.result import Result
from control.tuning.session import Edge, Place, Plan, tune
from control.tuning.versions import FunctionVersions
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
    started_at = time.time()
    with placed(settings, request.function, say) as (settings, place, resources):
        name = called_name(request.function, resources)
        function = function_versions(client(settings, "lambda"), name, settings)
        timeout_s = float(existing(function, place, request.function).get("Timeout") or 3)
        payloads = payloads_for(settings, request, resources)
        plain_name = function_name(name)
        directory = settings.runs_dir / TUNING / f"{new_run_id(plain_name, started_at)}-{secrets.token_hex(2)}"
        with run_lock(settings.runs_dir, directory.name):
            refuse_leftovers(settings, place, plain_name)
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
    with placed(settings, request.function, say, look_only=True) as (settings, place, resources):
        function = function_versions(client(settings, "lambda"), called_name(request.function, resources), settings)
        before = existing(function, place, request.function)
        payloads = payloads_for(settings, request, resources)
        if request.promote is not None and function.alias(request.promote) is None:
            raise ConfigError(f"PROMOTE: {before['FunctionName']} has no alias {request.promote!r}")
        refuse_leftovers(settings, place, before["FunctionName"])
        values = ", ".join(map(str, request.memory_mb))
        yield f"would publish versions of {before['FunctionName']} with {values} MB, each with an alias"
        yield f"would set $LATEST to each of them meanwhile, and back to {before['MemorySize']} MB"
        pace = f"at {request.rate_per_s:g}/s" if request.rate_per_s else f"{request.concurrency} at a time"
        yield (
            f"would invoke each {request.rounds} times, {pace}, with "
            f"{len(payloads)} payload{'' if len(payloads) == 1 else 's'}"
        )
        if request.promote is not None:
            yield f"would move alias {request.promote} to the version chosen by {request.strategy}"
        if request.apply:
            yield f"would set $LATEST to the memory chosen by {request.strategy}"
        yield "would delete the versions and aliases it made"
        yield _estimate(place.prices, before, request)


def clean(
    settings: Settings,
    say: Say,
    *,
    dry_run: bool = False,
    folder: str = TUNING,
    versions: Callable[[Any, str, Settings], FunctionVersions] | None = None,
) -> list[str]:
    """Take back what runs left that were killed; -> what was done, or would be, in words.

    `folder`: where below RUNS_DIR their journals are; `versions(client, function, settings)`: who takes back. Raises
    LeftoversError where something is left that these settings do not reach.
    """
    with run_lock(settings.runs_dir, f"{folder} --clean"):
        done, elsewhere = [], []
        for journal in open_journals(settings.runs_dir / folder):
            found = journal.found
            if found.own_sandbox and not is_sandbox(str(found.endpoint_url)):
                done.append(f"{found.run_id}: its sandbox is gone, and everything with it")
                if not dry_run:
                    journal.close()
                continue
            # A sandbox of a run's own, still there, is reached by no setting but by its address.
            there = settings.model_copy(update={"endpoint_url": found.endpoint_url}) if found.own_sandbox else settings
            control_client = client(there, "lambda")
            if _whereabouts(there, control_client) != (found.target, found.region, found.endpoint_url):
                at = f", AWS_ENDPOINT_URL={found.endpoint_url}" if found.endpoint_url else ""
                elsewhere.append(f"{found.run_id}: needs TARGET={found.target}, AWS_REGION={found.region}{at}")
                continue
            if dry_run:
                done.append(f"{found.run_id}: would take back what it changed of {function_name(found.function)}")
                continue
            say(f"taking back what {found.run_id} changed of {function_name(found.function)}")
            function = (versions or function_versions)(control_client, found.function, there)
            done += [f"{found.run_id}: {line}" for line in _take_back(function, journal)]
    if elsewhere:
        raise LeftoversError("left where these settings do not lead: " + "; ".join(elsewhere))
    return done


def _take_back(function: FunctionVersions, journal: Journal) -> list[str]:
    try:
        return function.take_back(journal) or ["nothing was left"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        journal.close()
        return [f"{journal.found.function} is gone, and everything with it"]


@contextmanager
def placed(
    settings: Settings, function: str, say: Say, *, look_only: bool = False
) -> Iterator[tuple[Settings, Place, RunTarget | None]]:
    """The settings with the endpoint there is, the place, and the stack's resources where they are needed.

    `look_only`: see `control.target.reachable_target`.
    """
    given_endpoint = settings.endpoint_url
    if settings.target == "sandbox":
        with scratch_directory() as logs, ready_target(settings, (), logs, say, look_only=look_only) as target:
            own = target.settings.endpoint_url != given_endpoint
            yield target.settings, _place_of(target.settings, own_sandbox=own), target.resources
        return
    # A function of the user's own needs no stack, nor the right to look for one.
    resources = find_resources(settings, (), say) if function in FUNCTION_VARIABLES else None
    yield settings, _place_of(settings, own_sandbox=False), resources


def _place_of(settings: Settings, *, own_sandbox: bool) -> Place:
    """Raises ConfigError where ALLOWED_HOSTS does not name Lambda's host."""
    control_client = client(settings, "lambda")
    host = urlsplit(control_client.meta.endpoint_url).hostname
    if settings.allowed_hosts is not None and not settings.host_allowed(host):
        raise ConfigError(f"ALLOWED_HOSTS: invoking at {host} is not allowed with TARGET={settings.target}")
    target, region, endpoint_url = _whereabouts(settings, control_client)
    return Place(target, settings.simulated, region, endpoint_url, own_sandbox, load_prices(region))


def _whereabouts(settings: Settings, control_client: Any) -> tuple[str, str, str | None]:
    return settings.target, control_client.meta.region_name, settings.endpoint_url


def called_name(function: str, resources: RunTarget | None) -> str:
    """The name or ARN to call, of a function's logical or own name. Raises ConfigError."""
    known = resources.functions if resources is not None else {}
    name = known.get(function, function)
    if not name.endswith(function_name(name)):
        raise ConfigError(f"FUNCTION: {name} names a version or an alias; versions are made of $LATEST")
    return name


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


def existing(function: FunctionVersions, place: Place, name: str) -> dict[str, Any]:
    """Its configuration. Raises ConfigError where there is no such function."""
    try:
        return function.configuration()
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise ConfigError(f"FUNCTION: there is no {name} in {place.region} (TARGET={place.target})") from None


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


def function_versions(control_client: Any, name: str, settings: Settings) -> FunctionVersions:
    return FunctionVersions(control_client, name, clock=time.monotonic, sleep=time.sleep, poll_s=poll_s(settings))


def poll_s(settings: Settings) -> float:
    """How often to ask how far an update is."""
    return 1.0 if settings.target == "aws" else 0.05


def _invoke_client(settings: Settings, timeout_s: float, concurrency: int) -> Any:
    return client(
        settings,
        "lambda",
        retries={"total_max_attempts": 1},
        read_timeout=timeout_s + READ_MARGIN_S,
        max_pool_connections=concurrency,
    )


def refuse_leftovers(settings: Settings, place: Place, function: str, folder: str = TUNING) -> None:
    """Raises ConfigError where an earlier run left something of this function. `folder` has the command's name."""
    for journal in open_journals(settings.runs_dir / folder):
        found = journal.found
        there = (found.target, found.region, found.endpoint_url) == (place.target, place.region, place.endpoint_url)
        if there and function_name(found.function) == function:
            raise ConfigError(
                f"FUNCTION: run {found.run_id} left versions or aliases of {function}, maybe other settings; "
                f"`python -m control {folder} --clean` takes that back"
            )


def _estimate(prices: Prices, before: dict[str, Any], request: Request) -> str:
    architecture = (before.get("Architectures") or ["x86_64"])[0]
    timeout_s = float(before.get("Timeout") or 3)
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
