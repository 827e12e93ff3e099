"""`python -m control preflight`: what would go wrong in a run, before it costs money."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from control.commands.options import load_options, messages, out, profile_option, say, workers_option


def _durations(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for text in given:
        function, _, number = text.rpartition("=")
        try:
            found[function] = float(number)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not of the form MS or FUNCTION=MS") from None
        if found[function] <= 0:
            raise click.BadParameter(f"{text!r}: a duration is above 0")
    return found


@click.command()
@load_options
@profile_option("demo")
@workers_option
@click.option(
    "--duration-ms",
    "durations",
    envvar="DURATION_MS",
    multiple=True,
    metavar="[FUNCTION=]MS",
    callback=_durations,
    help="How long functions take on the average, one (shop-decrypt=450) or all others (100). Without it, as the "
    "newest run on the target measured. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every row, the load and the bill as JSON.")
def preflight(durations: dict[str, float], as_json: bool, **options: Any) -> int:
    """Check target, quotas, functions and this machine against what a profile needs, and estimate its cost.

    Sends no load. Exit codes: 0 nothing fails, 2 something does, or the options are wrong.
    """
    from analysis import errors
    from control import run_request
    from control.preflight import show
    from control.preflight.inspection import inspect
    from control.preflight.rows import FAIL, worst
    from control.scratch import scratch_directory
    from control.target import reachable_target

    request = run_request.Request(**options)
    checked = run_request.check(request, os.environ, limits=False)
    seed = ["--seed", request.seed] if request.seed is not None else []
    with (
        scratch_directory() as logs,
        reachable_target(checked.settings, logs, say, sandbox_options=seed, look_only=True) as settings,
        messages.status("looking"),
    ):
        found = inspect(checked, settings, durations, say)
    if as_json:
        click.echo(json.dumps(show.as_json(found), indent=1))
    else:
        show.print_preflight(found, out())
    return errors.USAGE if worst(list(found.rows)) == FAIL else errors.OK
