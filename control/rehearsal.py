"""`--dry-run` of the commands that put load on a target: what the run would do, told without doing any of it.

The target is asked for no more than where the load would go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from analysis.formatting import usd
from config.budget import ASSUMED_DURATION_MS, ASSUMED_MEMORY_MB, planned_usd
from config.planned_load import planned_peak_rate, planned_requests
from config.prices import load_prices
from config.profiles import Profile
from config.settings import Settings
from control.cloud import Progress
from control.deploy import cloud_for
from control.progress import amount_of
from control.run_request import Checked, Request, check
from control.sandbox_process import is_sandbox
from control.stack import describe
from control.target import find_resources


def rehearse(request: Request, environ: Mapping[str, str], say: Progress) -> Iterator[str]:
    """What a run of `request` would do, in words. Raises ConfigError and botocore's errors, as the run would."""
    checked = check(request, environ)
    settings, profile = checked.settings, checked.profile
    yield from _target(checked, say)
    workers = f" by {checked.workers} workers" if checked.workers else ""
    yield f"would run profile {profile.name}{workers}, {amount_of(profile)}, flows: {', '.join(profile.flows)}"
    yield _load(profile)
    yield _cost(settings, profile)
    yield f"would record it below {settings.runs_dir}/, fetch its logs, join and explain it there"


def _target(checked: Checked, say: Progress) -> Iterator[str]:
    settings, request = checked.settings, checked.request
    if settings.target == "sandbox":
        endpoint = str(settings.endpoint_url)
        if request.private_sandbox or not is_sandbox(endpoint):
            with_parameters = "".join(f", {name}={value}" for name, value in request.parameters.items())
            yield f"would start a sandbox, deploy stack {settings.stack_name}{with_parameters}, and stop it in the end"
            return
        if describe(cloud_for(settings), settings.stack_name) is None:
            yield f"would deploy stack {settings.stack_name} into the sandbox at {endpoint}"
            return
    found = find_resources(settings, checked.profile.flows, say, request.parameters, checked.custom)
    where = [f"stack {settings.stack_name}"]
    if found.api_base_url is not None:
        where.append(f"its API at {urlsplit(found.api_base_url).netloc}")
    yield f"would put load on {', '.join(where)} ({settings.target})"


def _load(profile: Profile) -> str:
    requests, rate = planned_requests(profile), planned_peak_rate(profile)
    if requests is None:
        return "would send as many requests as are answered in that time: nobody knows before how many"
    peak = "" if rate is None else f", up to {rate:,.0f} a second"
    return f"would send up to {requests:,.0f} requests{peak}"


def _cost(settings: Settings, profile: Profile) -> str:
    planned = planned_usd(load_prices(settings.region or ""), profile)
    if planned is None:
        return "cost: not known beforehand"
    simulated = ", were it not simulated" if settings.simulated else ""
    return (
        f"cost: about {usd(planned)} for API Gateway and Lambda, were each request to take {ASSUMED_DURATION_MS:g} ms "
        f"with {ASSUMED_MEMORY_MB:,.0f} MB{simulated}; `preflight` looks closer"
    )
