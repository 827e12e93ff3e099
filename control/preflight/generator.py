"""Whether this machine can send the load. Pure: demand, profile and machine -> rows."""

from __future__ import annotations

import math

from analysis.formatting import count, decimal, plural
from config.generator_rates import GeneratorRates
from config.profiles import Profile
from control.preflight.demand import Demand
from control.preflight.facts import Machine
from control.preflight.rows import FAIL, PASS, WARN, Row

FILES_OF_A_PROCESS = 100
"""Of a Locust process beside its connections: libraries, logs, rows, pipes."""
LOCUST_RAISES_TO = 10_000
"""Locust raises its own soft limit of open files to this, where the hard one allows it (locust.main)."""


def cores_needed(demand: Demand, profile: Profile, rates: GeneratorRates, *, tls: bool) -> float | None:
    """Cores that the peak takes up whole; None where the rate is not known. `tls`: of the API."""
    if demand.peak_rate is None:
        return None
    of_a_core = rates.requests_per_s
    through_api = sum(share for use, share in demand.uses.items() if use.kind == "api")
    if "custom" in profile.flows:
        through_api = min(1.0, through_api)
    seconds = through_api / (of_a_core.tls if tls else of_a_core.plain) + (1.0 - through_api) / of_a_core.signed
    return demand.peak_rate * seconds


def workers(
    demand: Demand,
    profile: Profile,
    rates: GeneratorRates,
    machine: Machine,
    asked: int,
    *,
    tls: bool,
    sandbox: bool,
) -> Row:
    """Processes, a core each, against what the peak takes. `asked`: WORKERS; `sandbox`: it runs on this machine too."""
    cores = cores_needed(demand, profile, rates, tls=tls)
    free = max(1, machine.cores - 1) if sandbox else machine.cores
    here = f"{plural(machine.cores, 'core')} here" + (", one of them for the sandbox" if sandbox else "")
    processes = max(1, asked)
    if cores is None:
        return Row("workers", "", PASS, f"{plural(processes, 'process')}; {here}; the rate is not known")
    needed = max(1, math.ceil(cores / rates.share))
    said = (
        f"{decimal(demand.peak_rate)} requests a second take {cores:.2f} cores; used to {rates.share:.0%} that is "
        f"{plural(needed, 'process')}, WORKERS make {processes}; {here}"
    )
    if cores > processes:
        return Row("workers", "", FAIL, said, f"WORKERS={needed}: it cannot send as much here")
    if needed > processes:
        return Row("workers", "", WARN, said, f"WORKERS={needed}, or requests may be sent late")
    if needed > free:
        return Row("workers", "", WARN, said, "spread them over several machines: make master, make worker")
    return Row("workers", "", PASS, said)


def connections(profile: Profile, asked: int) -> tuple[int, int]:
    """(open at once in one process, in all of them), at most: a user keeps one, an open request has one."""
    processes = max(1, asked)
    if profile.max_in_flight is not None:
        return profile.max_in_flight, profile.max_in_flight * processes
    return math.ceil(profile.peak_users / processes), profile.peak_users


def open_files(profile: Profile, machine: Machine, asked: int) -> Row:
    """The limit of open files of one process against its connections."""
    each, _ = connections(profile, asked)
    needed = each + FILES_OF_A_PROCESS
    if machine.open_files is None:
        return Row("open files", "", PASS, "no limit")
    hard = math.inf if machine.open_files_hard is None else machine.open_files_hard
    limit = LOCUST_RAISES_TO if machine.open_files < LOCUST_RAISES_TO <= hard else machine.open_files
    said = f"{count(limit)} for a process, {count(needed)} needed"
    if needed <= limit:
        return Row("open files", "", PASS, said)
    advice = f"ulimit -n {needed}" if needed <= hard else f"raise the hard limit of {count(hard)} too"
    return Row("open files", "", FAIL, said, f"{advice}, or use more WORKERS")


def ports(profile: Profile, machine: Machine, asked: int) -> Row:
    """The ephemeral ports of this machine against all connections to one address."""
    _, total = connections(profile, asked)
    said = f"{count(machine.ports)} to one address, {count(total)} needed at most"
    if total > machine.ports:
        return Row(
            "ports",
            "",
            FAIL if profile.model == "closed" else WARN,
            said,
            "widen net.ipv4.ip_local_port_range, or spread the load over several machines",
        )
    return Row("ports", "", PASS, said)
