"""`python -m control provisioned`: publish, load each arm, measure, take everything back."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis import errors
from analysis.formatting import plural
from config.aws import client
from config.errors import ConfigError
from config.settings import FUNCTION_VARIABLES, Settings, function_name
from control import orchestrate, run_request
from control.errors import ControlError
from control.function_configuration import architecture_of
from control.provisioned.budget import Budget
from control.provisioned.result import (
    ARMS,
    Arm,
    Result,
    environments_for,
    figures,
    kept_usd,
)
from control.provisioned.versions import ArmVersions
from control.provisioned.warmer import Warmed, warming
from control.run_lock import run_lock
from control.temporary_versions.journal import Journal
from control.temporary_versions.place import Place, existing, placed, unqualified
from control.temporary_versions.taking_back import refuse_leftovers, taken_back
from runstore.rundir import PROVISIONED, RunDir, new_run_id

FILE = "provisioned.json"
FLOW, CALLED = "direct", "place-vote"
"""The flow that calls a function by an alias, and the function that it calls."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    function: str
    environments: int | None = None
    """None: what the profile's peak takes."""
    profile: str = "burst"
    scale: str | None = None
    time_scale: str | None = None
    seed: str | None = None
    workers: str | None = None
    warmer: bool = False
    warmer_interval_s: float = 60.0

    @property
    def arms(self) -> tuple[Arm, ...]:
        return tuple(arm for arm in ARMS if arm != "warmer" or self.warmer)


def run(settings: Settings, request: Request, console: Console, say: Callable[[str], None]) -> Result:
    """The whole experiment; the result is in `runs/provisioned/<id>/provisioned.json`, too.

    Raises ConfigError, ControlError, botocore's errors, KeyboardInterrupt; what was made is taken back all the same.
    """
    profile = _check(settings, request, os.environ).profile
    environments = request.environments or environments_for(profile)
    with _found(settings, request, say) as (settings, place, function, before):
        budget = Budget(settings.max_cost_usd, place.prices, before, environments, profile)
        budget.check(request.arms)
        directory = settings.runs_dir / PROVISIONED / _experiment_id(time.time())
        invoke_client = client(settings, "lambda", retries={"total_max_attempts": 1}, max_pool_connections=environments)

        def run_arm(alias: str, loaded: Callable[[], None], max_cost_usd: float | None) -> RunDir:
            return _load(settings, request, alias, console, loaded, max_cost_usd)

        # The runs directory is locked for each arm; this keeps --clean away between them.
        with run_lock(directory.parent, directory.name):
            directory.mkdir()
            result = experiment(
                request, environments, place, function, before, run_arm, invoke_client, directory, budget, say
            )
        say(f"written: {directory / FILE}")
    return result


RunArm = Callable[[str, Callable[[], None], float | None], RunDir]
"""(alias, loaded, the USD that it may cost) -> the analysed run. `loaded` is called as soon as the load has ended: what
serves it is paid for as long as it is there, and the analysis may take minutes."""


def experiment(
    request: Request,
    environments: int,
    place: Place,
    function: ArmVersions,
    before: Mapping[str, Any],
    run_arm: RunArm,
    invoke_client: Any,
    directory: Path,
    budget: Budget,
    say: Callable[[str], None],
) -> Result:
    """Publish, load each arm, and take everything back.

    `environments`: to provision, and to keep warm; `before`: the configuration of $LATEST; `directory`: empty.
    """
    result = Result(
        experiment_id=directory.name,
        function=before["FunctionName"],
        target=place.target,
        simulated=place.simulated,
        region=place.region,
        architecture=architecture_of(before),
        profile=Path(request.profile).stem,
        environments=environments,
        warmer_interval_s=request.warmer_interval_s,
        arms=(),
        prices=place.prices,
    )
    journal = Journal.create(directory, place.found(directory.name, function, before))
    with taken_back(function, journal, say):
        published = function.publish_arms(request.arms, journal)
        for arm in request.arms:
            alias, version = published[arm]
            allowed_usd = budget.left_for(arm, result)
            kept: Kept | None = None
            warmed: Warmed | None = None
            with ExitStack() as serving:
                if arm == "provisioned":
                    kept = serving.enter_context(_provisioned(function, alias, environments, journal, say))
                elif arm == "warmer":
                    say(f"warming {plural(environments, 'environment')} every {request.warmer_interval_s:g} s")
                    warmed = serving.enter_context(
                        warming(invoke_client, function.name, alias, environments, request.warmer_interval_s)
                    )
                say(f"arm {arm}: profile {request.profile}")
                run = run_arm(alias, serving.close, allowed_usd)
            one = figures(run, arm, CALLED, version)
            if kept is not None:
                one = replace(one, provisioned_s=kept.seconds)
            if warmed is not None:
                one = replace(one, warmer_invocations=warmed.invocations, warmer_failures=warmed.failed)
            result = replace(result, arms=(*result.arms, one))
    RunDir(directory).write_json(FILE, result.document())
    return result


@dataclass
class Kept:
    """Environments that are provisioned."""

    seconds: float | None = None
    """From when they were asked for until they were given back; None as long as they are there."""


@contextmanager
def _provisioned(
    function: ArmVersions, alias: str, environments: int, journal: Journal, say: Callable[[str], None]
) -> Iterator[Kept]:
    """Environments of an alias, all of them ready, given back in the end."""
    say(f"provisioning {plural(environments, 'environment')}")
    kept, asked_at = Kept(), time.monotonic()
    try:
        waited_s = function.provision(alias, environments, journal)
        say(f"provisioned concurrency is READY after {waited_s:.1f} s")
        yield kept
    finally:
        function.unprovision(alias)
        kept.seconds = time.monotonic() - asked_at


def dry_run(settings: Settings, request: Request, say: Callable[[str], None]) -> Iterator[str]:
    """What `run` would do, in words; nothing is changed."""
    checked = _check(settings, request, os.environ)
    environments = request.environments or environments_for(checked.profile)
    with _found(settings, request, say, look_only=True) as (settings, place, _, before):
        Budget(settings.max_cost_usd, place.prices, before, environments, checked.profile).check(request.arms)
        name, memory_mb = before["FunctionName"], before["MemorySize"]
        yield f"would publish a version of {name} ({memory_mb} MB) with an alias for each of: {', '.join(request.arms)}"
        kept = plural(environments, "environment")
        yield f"would provision {kept} of one of them, and wait until they are READY"
        if request.warmer:
            yield (
                f"would invoke another {environments} times at once every {request.warmer_interval_s:g} s with "
                "the warmer event"
            )
        duration = f"{checked.profile.duration_s:g} s"
        yield f"would run profile {checked.profile.name} ({duration}) against each, one after another"
        yield "would give back what was provisioned, and delete the versions and aliases"
        usd = kept_usd(place.prices, architecture_of(before), memory_mb, environments, 3600.0)
        yield (
            f"cost: the price of provisioned concurrency in {place.region} is not known"
            if usd is None
            else f"cost: ${usd:.4f} an hour for the environments (UNVERIFIED price), and that of the requests"
        )


@contextmanager
def _found(
    settings: Settings, request: Request, say: Callable[[str], None], *, look_only: bool = False
) -> Iterator[tuple[Settings, Place, ArmVersions, dict[str, Any]]]:
    """The settings with the endpoint there is, the place, the function and the configuration of its $LATEST.

    Raises ConfigError where it is not there, is not what is called, or has leftovers.
    """
    with placed(settings, CALLED, say, look_only=look_only) as (settings, place, resources):
        name = called_function(request.function, {} if resources is None else resources.functions)
        function = ArmVersions.of(settings, client(settings, "lambda"), name)
        before = existing(function, place, request.function)
        refuse_leftovers(settings, place, function)
        yield settings, place, function, before


def _check(settings: Settings, request: Request, environ: Mapping[str, str]) -> run_request.Checked:
    """Everything that can be checked before anything is started. Raises ConfigError."""
    if settings.target == "emulator":
        raise ConfigError("TARGET: emulators have no provisioned concurrency; use sandbox or aws")
    checked = run_request.check(_of_arm(settings, request), environ)
    if checked.profile.breakpoint is not None:
        raise ConfigError(
            f"PROFILE: {checked.profile.name} searches for a rate, which would be another in each arm; take one with "
            "stages"
        )
    return checked


def _of_arm(settings: Settings, request: Request) -> run_request.Request:
    return run_request.Request(
        profile=request.profile,
        target=settings.target,
        stack_name=settings.stack_name,
        flows=FLOW,
        scale=request.scale,
        time_scale=request.time_scale,
        workers=request.workers,
        seed=request.seed,
    )


def called_function(function: str, known: Mapping[str, str]) -> str:
    """Name or ARN of the function; `known`: those of the target by logical name. Raises ConfigError where the flow does
    not call it."""
    called = known.get(CALLED)
    if called is None:
        raise ConfigError(
            f"FUNCTION: flow {FLOW} invokes {CALLED}, which is not there; deploy the stack, or set "
            f"{FUNCTION_VARIABLES[CALLED]}"
        )
    plain = function_name(called)
    if function_name(function) not in (CALLED, plain):
        raise ConfigError(f"FUNCTION: {function} is not what flow {FLOW} invokes; it invokes {CALLED} ({plain})")
    unqualified(function)
    return unqualified(called)


def _load(
    settings: Settings,
    request: Request,
    alias: str,
    console: Console,
    loaded: Callable[[], None],
    max_cost_usd: float | None,
) -> RunDir:
    """A run of the profile against an alias, as RunArm says. Raises ControlError where it left nothing to compare."""
    environ = {**os.environ, "QUALIFIER": alias, "INVOCATION_TYPE": "RequestResponse"}
    if settings.endpoint_url:
        environ["AWS_ENDPOINT_URL"] = settings.endpoint_url
    if max_cost_usd is not None:
        environ["MAX_COST_USD"] = str(max_cost_usd)
    with orchestrate.stage(run_request.check(_of_arm(settings, request), environ), console) as ready:
        end = ready.load()
        loaded()
        ready.complete(ready.run)
        if end.interrupted:
            raise KeyboardInterrupt
        console.print(f"analysing {ready.run_id}", style="dim", markup=False, highlight=False)
        # The report of each arm is in its directory; what is printed is how they compare.
        exit_code = ready.analyse(ready.run, Console(quiet=True))
        if exit_code not in (errors.OK, errors.THRESHOLD_FAILED):
            if limit := (ready.run.read_manifest().get("aborted") or {}).get("limit"):
                raise ControlError(f"{limit} ended run {ready.run_id}: nothing can be compared with it")
            raise ControlError(
                f"run {ready.run_id} could not be analysed ({exit_code}); `make analyze RUN={ready.run_id}`"
            )
        return ready.run


def _experiment_id(now: float) -> str:
    """Short: aliases, whose names may have 128 characters, begin with it."""
    return f"{new_run_id(PROVISIONED, now)}-{secrets.token_hex(2)}"
