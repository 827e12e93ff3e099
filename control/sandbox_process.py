"""The sandbox as a process: found where the settings point, or started for one run and stopped after it."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from control.errors import ProcessError
from control.processes import Process
from runstore.rundir import RunDir

START_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 30.0
"""One that is busy with a run of somebody's, on a machine that is busy too, is late and not gone."""
_READY = re.compile(r"^sandbox ready at (http://\S+)$", re.MULTILINE)

# A proxy must never be asked for the loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SandboxProcess:
    """A private sandbox on a free loopback port."""

    def __init__(self, process: Process, endpoint: str) -> None:
        self._process = process
        self.endpoint = endpoint

    @classmethod
    def start(cls, log: Path, options: Sequence[str] = ()) -> SandboxProcess:
        """Start one and wait until it is ready. `options` go to `python -m sandbox`, its output to `log`.

        Raises ProcessError with the end of its output where it does not get ready.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment["TMPDIR"] = str(log.parent)  # its logs shall go with its output, even where it had to be killed
        process = Process([sys.executable, "-m", "sandbox", "--port", "0", *options], log, environment)
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while process.exit_code is None and time.monotonic() < deadline:
                if ready := _READY.search(log.read_text(errors="replace")):
                    return cls(process, ready[1])
                time.sleep(0.05)
            raise ProcessError(f"the sandbox did not get ready; its last words:\n{process.last_lines()}")
        except BaseException:
            process.stop()
            raise

    def stop(self) -> None:
        self._process.stop()


def is_sandbox(endpoint: str, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
    """Whether a sandbox answers there (and not some other server)."""
    try:
        with _opener.open(f"{endpoint.rstrip('/')}/_sandbox/health", timeout=timeout_s) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def read_truth(endpoint: str, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
    """What really happened, as the sandbox counts it, since it was started or reset. Raises ProcessError."""
    try:
        with _opener.open(f"{endpoint.rstrip('/')}/_sandbox/truth", timeout=timeout_s) as answer:
            return dict(json.load(answer))
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ProcessError(f"the sandbox at {endpoint} does not tell the truth: {error}") from None


def since(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What happened between two truths: counters subtracted, `pending` as it stands."""
    difference: dict[str, Any] = {}
    for key, value in after.items():
        earlier = before.get(key)
        if isinstance(value, Mapping):
            difference[key] = since(earlier if isinstance(earlier, Mapping) else {}, value)
        elif isinstance(value, int | float) and isinstance(earlier, int | float) and key != "pending":
            difference[key] = value - earlier
        else:
            difference[key] = value
    return difference


def note_settling(run: RunDir, pending: int, waited_s: float, now: float) -> None:
    """Write into the manifest that nothing was on its way any more, or warn of what was after `waited_s` seconds."""
    if pending == 0:
        run.update_manifest(settled_at=now)
        return
    on_their_way = "1 delivery or retry was" if pending == 1 else f"{pending} deliveries or retries were"
    warning = (
        f"{on_their_way} still on the way {waited_s:.0f} s after the run: messages that complete later count as lost "
        "or pending. A longer chain_limit in the profile waits for them"
    )
    run.update_manifest(warnings=[*run.read_manifest().get("warnings", ()), warning])


def settled_truth(
    read: Callable[[], Mapping[str, Any]],
    deadline_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[int], None] = lambda pending: None,
) -> dict[str, Any]:
    """The truth once nothing is pending, or as it stands after `deadline_s` seconds."""
    end = clock() + deadline_s
    while True:
        truth = dict(read())
        if truth["pending"] == 0 or clock() >= end:
            return truth
        progress(int(truth["pending"]))
        sleep(0.25)
