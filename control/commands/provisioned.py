"""`python -m control provisioned`: what provisioned concurrency is worth to a function."""

from __future__ import annotations

import json

import click

from analysis.finite_float import FiniteFloat
from config.errors import ConfigError
from control.commands.options import (
    clean_option,
    dry_run_option,
    format_option,
    messages,
    out,
    profile_option,
    say,
    scale_option,
    seed_option,
    settings_of,
    target_options,
    time_scale_option,
    workers_option,
)


@click.command()
@target_options
@click.option("--function", envvar="FUNCTION", help="The function that flow direct invokes: place-vote, or its name.")
@click.option(
    "--concurrency",
    envvar="CONCURRENCY",
    type=click.IntRange(1, 1000),
    help="Environments to provision, and to keep warm with --warmer. [default: what the profile's peak takes]",
)
@profile_option("burst")
@scale_option
@time_scale_option
@seed_option
@workers_option
@click.option("--warmer", envvar="WARMER", is_flag=True, help="A third arm, kept warm by events.")
@click.option(
    "--warmer-interval",
    "warmer_interval_s",
    envvar="WARMER_INTERVAL_S",
    type=FiniteFloat(0.1),
    default=60.0,
    show_default=True,
    help="Seconds between the events.",
)
@clean_option
@dry_run_option()
@format_option("text", "json")
def provisioned(
    target: str | None,
    stack_name: str | None,
    function: str | None,
    concurrency: int | None,
    profile: str,
    scale: str | None,
    time_scale: str | None,
    seed: str | None,
    workers: str | None,
    warmer: bool,
    warmer_interval_s: float,
    clean: bool,
    dry_run: bool,
    form: str,
) -> int:
    """Put the same burst on a function without and with provisioned concurrency, and compare.

    Each arm has a version and an alias of its own, deleted in the end, and what was provisioned is given back, whatever
    happens; after a kill, --clean takes everything back. Provisioned concurrency is charged while it is there.

    Exit codes: 0 compared · 2 wrong usage or configuration · 3 an arm could not be measured, or something is left ·
    130 interrupted.
    """
    from analysis.console import print_lines
    from analysis.terminal import print_table
    from control.provisioned import experiment, result
    from control.provisioned.versions import ArmVersions
    from control.run_lock import run_lock
    from control.temporary_versions.taking_back import clean as take_back
    from runstore.rundir import PROVISIONED

    settings = settings_of(target, stack_name)
    if clean:
        with run_lock(settings.runs_dir / PROVISIONED, "provisioned --clean"):
            done = take_back(ArmVersions, settings, say, dry_run=dry_run)
        print_lines(done or ["nothing was left"])
        return 0
    if not function:
        raise ConfigError("FUNCTION: which function? make provisioned FUNCTION=place-vote")
    request = experiment.Request(
        function, concurrency, profile, scale, time_scale, seed, workers, warmer, warmer_interval_s
    )
    if dry_run:
        print_lines(experiment.dry_run(settings, request, say))
        return 0
    compared = experiment.run(settings, request, messages, say)
    if form == "json":
        click.echo(json.dumps(compared.document(), indent=1))
        return 0
    console = out()
    console.print(result.headline(compared), style="bold", markup=False, highlight=False)
    simulated = " · SIMULATED, not AWS" if compared.simulated else ""
    console.print(f"{compared.function} on {compared.target}{simulated}\n", markup=False, highlight=False)
    print_table(result.table(compared), console)
    console.print()
    for remark in result.remarks(compared):
        console.print(f"- {remark}", markup=False, highlight=False)
    return 0
