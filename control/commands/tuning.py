"""`python -m control tune`: which memory a function should have."""

from __future__ import annotations

import click

from analysis.finite_float import FiniteFloat
from config.errors import ConfigError
from control.commands.options import (
    clean_option,
    dry_run_option,
    format_option,
    messages,
    out,
    say,
    settings_of,
    target_options,
)


@click.command()
@target_options
@click.option("--function", envvar="FUNCTION", help="Name or ARN; of the sample applications e.g. shop-decrypt.")
@click.option(
    "--memory",
    envvar="MEMORY",
    default="128,256,512,1024,1769,3008",
    show_default=True,
    metavar="MB,MB,…",
    help="Memory values to measure; 1769 MB are one vCPU.",
)
@click.option(
    "--num", envvar="NUM", type=click.IntRange(1), default=50, show_default=True, help="Invocations at each value."
)
@click.option(
    "--strategy",
    envvar="STRATEGY",
    type=click.Choice(["cost", "speed", "balanced"]),
    default="cost",
    show_default=True,
    help="What is best: the cheapest, the fastest, or both by --weight.",
)
@click.option(
    "--weight",
    envvar="WEIGHT",
    type=FiniteFloat(0, 1),
    default=0.5,
    show_default=True,
    help="Of cost against speed, for balanced: 0 is speed, 1 is cost.",
)
@click.option(
    "--payload",
    envvar="PAYLOAD",
    metavar="FILE",
    help="Events: a .json or .jsonl file, weighted if you like; `sample` for those of the sample applications, "
    "which is the default for them.",
)
@click.option(
    "--concurrency",
    envvar="CONCURRENCY",
    type=click.IntRange(1, 1000),
    help="Invocations at a time, of all values together. [default: 5, or 50 with --rate]",
)
@click.option("--rate", envvar="RATE", type=FiniteFloat(0, min_open=True), help="Arrivals a second.")
@click.option("--seed", envvar="SEED", type=int, default=1, show_default=True, help="Of the order and of samples.")
@click.option("--apply", envvar="APPLY", is_flag=True, help="Set the chosen memory on $LATEST, if every check passed.")
@click.option("--promote", envvar="PROMOTE", metavar="ALIAS", help="Move an alias to it, if every check passed.")
@clean_option
@dry_run_option("Say what would be called and what it might cost, and do nothing.")
@format_option("text", "json", "markdown")
def tune(
    target: str | None,
    stack_name: str | None,
    function: str | None,
    memory: str,
    num: int,
    strategy: str,
    weight: float,
    payload: str | None,
    concurrency: int | None,
    rate: float | None,
    seed: int,
    apply: bool,
    promote: str | None,
    clean: bool,
    dry_run: bool,
    form: str,
) -> int:
    """Measure a function at several memory sizes, and choose one by cost, speed or both.

    A version and an alias are published for each value and deleted in the end; aliases of yours are not touched, and
    $LATEST has its memory again before the first invocation. After a kill, --clean takes everything back.

    A value with fewer than 10 warm invocations is not compared with others, nor chosen.

    Exit codes: 0 chosen, and set where that was asked for · 1 a check failed, nothing was set · 3 nothing could be
    chosen, MAX_COST_USD ended it, or something is left.
    """
    from analysis.console import print_lines
    from control.temporary_versions.taking_back import clean as take_back
    from control.tuning import report, tuner
    from control.tuning.versions import TunedVersions

    settings = settings_of(target, stack_name)
    if clean:
        print_lines(take_back(TunedVersions, settings, say, dry_run=dry_run) or ["nothing was left"])
        return 0
    if not function:
        raise ConfigError("FUNCTION: which function? Its name or ARN, e.g. make tune FUNCTION=shop-decrypt")
    request = tuner.Request(
        function=function,
        memory_mb=tuner.parse_memory(memory),
        rounds=num,
        strategy=strategy,  # type: ignore[arg-type]
        weight=weight,
        payload=payload,
        concurrency=concurrency or (5 if rate is None else 50),
        rate_per_s=rate,
        seed=seed,
        apply=apply,
        promote=promote,
    )
    if dry_run:
        print_lines(tuner.dry_run(settings, request, say))
        return 0
    result = tuner.run(settings, request, messages, say)
    if form == "json":
        click.echo(tuner.as_json(result))
    elif form == "markdown":
        click.echo(report.as_markdown(result), nl=False)
    else:
        report.print_result(result, out())
    if result.choice is None or result.cut_short is not None:
        return 3
    return 0 if all(check.passed for check in result.checks) else 1
