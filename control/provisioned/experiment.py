"""`python -m control provisioned`: publish, load each arm, measure, take everything back."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis import errors
from config.aws import client
from config.errors import ConfigError
from config.prices import lambda_gb_s, lambda_provisioned_item
from config.settings import FUNCTION_VARIABLES, Settings, function_name
from control import orchestrate
from control.errors import ControlError
from control.provisioned.result import ARMS, Arm, ArmFigures, Result, figures, write
from control.provisioned.versions import ArmVersions
from control.provisioned.warmer import Warmed, warming
from control.run_lock import run_lock
from control.tuning.journal import Journal
from control.tuning.session import Place, taken_back
from control.tuning.tuner import existing, placed, poll_s, refuse_leftovers
from runstore.rundir import PROVISIONED, RunDir, new_run_id

FILE = "provisioned.json"
FLOW, CALLED = "direct", "place-vote"
"""The flow that calls a function by an alias, and the function that it calls."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    function: str
    environments: int
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
    _check(settings, request, os.environ)
    with _found(settings, request, say) as (settings, place, function, before):
        directory = settings.runs_dir / PROVISIONED / _experiment_id(time.time())
        invoke_client = client(
            settings, "lambda", retries={"total_max_attempts": 1}, max_pool_connections=request.environments
        )

        def run_arm(alias: str) -> RunDir:
            return _load(settings, request, alias, console)

        # The runs directory is locked for each arm; this keeps --clean away between them.
        with run_lock(directory.parent, directory.name):
            directory.mkdir()
            result = experiment(request, place, function, before, run_arm, invoke_client, directory, say)
        say(f"written: {directory / FILE}")
    return result


def experiment(
    request: Request,
    place: Place,
    function: ArmVersions,
    before: Mapping[str, Any],
    run_arm: Callable[[str], RunDir],
    invoke_client: Any,
    directory: Path,
    say: Callable[[str], None],
) -> Result:
    """Publish, load each arm, and take everything back.

    `before`: the configuration of $LATEST; `run_arm(alias)`: load on an alias, analysed; `directory`: empty.
    """
    journal = Journal.create(directory, place.found(directory.name, function, before))
    measured: list[ArmFigures] = []
    with taken_back(function, journal, say, PROVISIONED):
        published = function.publish_arms(request.arms, journal)
        for arm in request.arms:
            alias, version = published[arm]
            more: dict[str, Any] = {}
            warmer: AbstractContextManager[Warmed | None] = nullcontext()
            asked_at = time.monotonic()
            if arm == "provisioned":
                say(f"provisioning {request.environments} environments")
                waited_s = function.provision(alias, request.environments, journal)
                say(f"provisioned concurrency is READY after {waited_s:.1f} s")
            elif arm == "warmer":
                say(f"warming {request.environments} environments every {request.warmer_interval_s:g} s")
                warmer = warming(invoke_client, function.name, alias, request.environments, request.warmer_interval_s)
            say(f"arm {arm}: profile {request.profile}")
            with warmer as warmed:
                run = run_arm(alias)
            if warmed is not None:
                more = {"warmer_invocations": warmed.invocations, "warmer_failures": warmed.failed}
            if arm == "provisioned":
                function.unprovision(alias)
                more = {"provisioned_s": time.monotonic() - asked_at}
            measured.append(figures(run, arm, CALLED, version, **more))
    result = Result(
        experiment_id=directory.name,
        function=before["FunctionName"],
        target=place.target,
        simulated=place.simulated,
        region=place.region,
        architecture=(before.get("Architectures") or ["x86_64"])[0],
        profile=Path(request.profile).stem,
        environments=request.environments,
        warmer_interval_s=request.warmer_interval_s,
        arms=measured,
        prices=place.prices,
    )
    write(result, directory / FILE)
    return result


def dry_run(settings: Settings, request: Request, say: Callable[[str], None]) -> Iterator[str]:
    """What `run` would do, in words; nothing is changed."""
    checked = _check(settings, request, os.environ)
    with _found(settings, request, say) as (_, place, _, before):
        name, memory_mb = before["FunctionName"], before["MemorySize"]
        yield f"would publish a version of {name} ({memory_mb} MB) with an alias for each of: {', '.join(request.arms)}"
        yield f"would provision {request.environments} environments of one of them, and wait until they are READY"
        if request.warmer:
            yield (
                f"would invoke another {request.environments} times at once every {request.warmer_interval_s:g} s with "
                "the warmer event"
            )
        duration = f"{checked.profile.duration_s:g} s"
        yield f"would run profile {checked.profile.name} ({duration}) against each, one after another"
        yield "would give back what was provisioned, and delete the versions and aliases"
        architecture = (before.get("Architectures") or ["x86_64"])[0]
        gb_s = request.environments * lambda_gb_s(3_600_000, memory_mb)
        usd = place.prices.usd(lambda_provisioned_item(architecture), gb_s)
        yield (
            f"cost: the price of provisioned concurrency in {place.region} is not known"
            if usd is None
            else f"cost: ${usd:.4f} an hour for the environments (UNVERIFIED price), and that of the requests"
        )


@contextmanager
def _found(
    settings: Settings, request: Request, say: Callable[[str], None]
) -> Iterator[tuple[Settings, Place, ArmVersions, dict[str, Any]]]:
    """The settings with the endpoint there is, the place, the function and the configuration of its $LATEST.

    Raises ConfigError where it is not there, is not what is called, or has leftovers.
    """
    with placed(settings, CALLED, say, PROVISIONED) as (settings, place, resources):
        name = called_function(request.function, {} if resources is None else resources.functions)
        function = arm_versions(client(settings, "lambda"), name, settings)
        before = existing(function, place, request.function)
        refuse_leftovers(settings, place, before["FunctionName"], PROVISIONED)
        yield settings, place, function, before


def arm_versions(control_client: Any, name: str, settings: Settings) -> ArmVersions:
    return ArmVersions(control_client, name, clock=time.monotonic, sleep=time.sleep, poll_s=poll_s(settings))


def _check(settings: Settings, request: Request, environ: Mapping[str, str]) -> orchestrate.Checked:
    """Everything that can be checked before anything is started. Raises ConfigError."""
    if settings.target == "emulator":
        raise ConfigError("TARGET: emulators have no provisioned concurrency; use sandbox or aws")
    return orchestrate.check(_of_arm(settings, request), environ)


def _of_arm(settings: Settings, request: Request) -> orchestrate.Request:
    return orchestrate.Request(
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
    for name in (called, function):
        if not name.endswith(function_name(name)):
            raise ConfigError(f"FUNCTION: {name} names a version or an alias; versions are made of $LATEST")
    return called


def _load(settings: Settings, request: Request, alias: str, console: Console) -> RunDir:
    """A run of the profile against an alias, analysed. Raises ControlError where it left nothing to compare."""
    environ = {**os.environ, "QUALIFIER": alias, "INVOCATION_TYPE": "RequestResponse"}
    if settings.endpoint_url:
        environ["AWS_ENDPOINT_URL"] = settings.endpoint_url
    with orchestrate.stage(orchestrate.check(_of_arm(settings, request), environ), console) as ready:
        end = ready.load()
        ready.complete(ready.run)
        if end.interrupted:
            raise KeyboardInterrupt
        console.print(f"analysing {ready.run_id}", style="dim", markup=False, highlight=False)
        # The report of each arm is in its directory; what is printed is how they compare.
        exit_code = ready.analyse(ready.run, Console(quiet=True))
        if exit_code not in (errors.OK, errors.THRESHOLD_FAILED):
            raise ControlError(
                f"run {ready.run_id} could not be analysed ({exit_code}); `make analyze RUN={ready.run_id}`"
            )
        return ready.run


def _experiment_id(now: float) -> str:
    """Short: aliases, whose names may have 128 characters, begin with it."""
    return f"{new_run_id(PROVISIONED, now)}-{secrets.token_hex(2)}"
