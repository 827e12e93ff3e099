"""Taking back what an experiment changed: in its end, whatever happened, and later, where it was killed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from botocore.exceptions import BotoCoreError, ClientError

from config.aws import client
from config.aws_refusals import explain
from config.errors import ConfigError
from config.settings import Settings, function_name
from control import policies
from control.run_lock import run_lock
from control.sandbox_process import is_sandbox
from control.temporary_versions.errors import LeftoversError, VersionsError
from control.temporary_versions.journal import Journal, open_journals
from control.temporary_versions.place import Place, whereabouts
from control.temporary_versions.versions import FunctionVersions


@contextmanager
def taken_back(function: FunctionVersions, journal: Journal, say: Callable[[str], None]) -> Iterator[None]:
    """Whatever happens inside, what the run changed is taken back in the end, undisturbed by signals.

    Raises LeftoversError.
    """
    try:
        yield
    finally:
        with _signals_held(say):
            try:
                function.take_back(journal)
            except (ClientError, BotoCoreError, VersionsError, OSError) as error:
                refused = explain(error) if isinstance(error, ClientError | BotoCoreError) else None
                why = refused.message if refused else error
                hint = refused and (policies.hint(refused.action, function.command) or refused.hint)
                raise LeftoversError(
                    f"not everything could be taken back: {why}; when that is mended, "
                    f"`python -m control {function.command} --clean` removes what is left"
                    + (f"\nhint: {hint}" if hint else "")
                ) from error


@contextmanager
def _signals_held(say: Callable[[str], None]) -> Iterator[None]:
    """A signal that comes meanwhile is heeded afterwards."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        say("taking back what the run changed; a moment")

    held = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        for number in held:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def clean(
    versions: type[FunctionVersions], settings: Settings, say: Callable[[str], None], *, dry_run: bool = False
) -> list[str]:
    """Take back what runs of a command left that were killed; -> what was done, or would be, in words.

    Raises LeftoversError where something is left that these settings do not reach.
    """
    with run_lock(settings.runs_dir, f"{versions.command} --clean"):
        done, elsewhere = [], []
        for journal in open_journals(settings.runs_dir / versions.command):
            found = journal.found
            if found.own_sandbox and not is_sandbox(str(found.endpoint_url)):
                done.append(f"{found.run_id}: its sandbox is gone, and everything with it")
                if not dry_run:
                    journal.close()
                continue
            # A sandbox of a run's own, still there, is reached by no setting but by its address.
            there = settings.model_copy(update={"endpoint_url": found.endpoint_url}) if found.own_sandbox else settings
            control_client = client(there, "lambda")
            if whereabouts(there, control_client) != found.whereabouts:
                at = f", AWS_ENDPOINT_URL={found.endpoint_url}" if found.endpoint_url else ""
                elsewhere.append(f"{found.run_id}: needs TARGET={found.target}, AWS_REGION={found.region}{at}")
                continue
            if dry_run:
                done.append(f"{found.run_id}: would take back what it changed of {function_name(found.function)}")
                continue
            say(f"taking back what {found.run_id} changed of {function_name(found.function)}")
            function = versions.of(there, control_client, found.function)
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


def refuse_leftovers(settings: Settings, place: Place, function: FunctionVersions) -> None:
    """Raises ConfigError where an earlier run of the same command left something of this function."""
    name = function_name(function.name)
    for journal in open_journals(settings.runs_dir / function.command):
        found = journal.found
        if found.whereabouts == place.whereabouts and function_name(found.function) == name:
            raise ConfigError(
                f"FUNCTION: run {found.run_id} left versions or aliases of {name}, maybe other settings; "
                f"`python -m control {function.command} --clean` takes that back"
            )
