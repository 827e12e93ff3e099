"""`python -m analysis`: the commands of the analysis, and the one place where its errors become exit codes.

Commands are imported when they are called, so that `parse` in a pipe does not wait for pandas. Results go to stdout,
messages to stderr.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import click

from analysis import errors, interruption
from analysis.errors import AnalysisError, TargetError, UsageError
from analysis.finite_float import FiniteFloat
from analysis.options import dry_run_option, format_option, run_argument
from config.errors import ConfigError
from runstore.rundir import RunDir, RunNotFoundError

OTHER_COMMANDS: Mapping[str, str] = {
    "parse": "analysis.parse:parse_command",
    "pull": "analysis.pull:pull_command",
    "query": "analysis.query:query_command",
    "bins": "analysis.bins:bins_command",
    "compare": "analysis.compare:compare_command",
    "baseline": "analysis.compare:baseline_command",
}
"""Commands that live in a module of their own: name -> `module:attribute`."""


class AnalysisGroup(click.Group):
    """A group that imports its commands late and ends with the exit codes of `analysis.errors`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *OTHER_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in OTHER_COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = OTHER_COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            exit_code = super().invoke(ctx)
        except BrokenPipeError:
            raise  # nobody reads us any more: click's matter
        except (AnalysisError, ConfigError, RunNotFoundError, KeyboardInterrupt, OSError) as error:
            exit_code = _told(ctx, error)
        except Exception as error:
            known = KeyboardInterrupt() if errors.is_interruption(error) else _refusal(error)
            if known is None:
                raise
            exit_code = _told(ctx, known)
        ctx.exit(exit_code or errors.OK)


def _told(ctx: click.Context, error: BaseException) -> int:
    if ctx.params.get("debug"):
        traceback.print_exc()
    return tell(error)


def _refusal(error: Exception) -> TargetError | None:
    """What an error of botocore's comes to, such as an unknown profile; None for any other."""
    botocore = sys.modules.get("botocore.exceptions")  # who has not imported it has no error of it
    if botocore is None or not isinstance(error, botocore.BotoCoreError | botocore.ClientError):
        return None
    return errors.refused_caller(error) or TargetError(
        str(error), "see AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL in .env.example"
    )


def tell(error: BaseException) -> int:
    """Say on stderr what went wrong and what to do about it; the exit code of it."""
    if isinstance(error, AnalysisError):
        exit_code, lines = error.exit_code, [f"error: {error.message}"]
        lines += [f"hint: {error.hint}"] if error.hint else []
    elif isinstance(error, ConfigError):
        exit_code, lines = error.exit_code, [f"error: {problem}" for problem in error.problems]
    elif isinstance(error, RunNotFoundError):
        exit_code, lines = errors.USAGE, [f"error: {error}"]
    elif isinstance(error, OSError):
        exit_code, lines = errors.INCOMPLETE, [f"error: {error}"]  # a full disk, most likely
    else:
        exit_code, lines = errors.INTERRUPTED, ["interrupted"]
    for line in lines:
        click.echo(line, err=True)
    return exit_code


@click.group(cls=AnalysisGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show where an error came from.")
def main(debug: bool) -> None:
    """Pull, join, explain, judge and show what happened in a run.

    RUN is a run's id, its directory, or `latest`, which is also what is meant without it.

    Exit codes: 0 all well, 1 a threshold failed or a comparison found a regression, 2 wrong usage or configuration,
    3 the run or its data is incomplete, 130 interrupted.
    """
    interruption.end_on((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The two limits that invocations are counted under and over."""
    duration = click.option(
        "--duration-limit-ms",
        type=FiniteFloat(min=0),
        default=500.0,
        show_default=True,
        help="Count the invocations under, and at or over this duration.",
    )
    headroom = click.option(
        "--memory-headroom-mb",
        type=FiniteFloat(min=0),
        default=28.0,
        show_default=True,
        help="Count the invocations that left less, and at least this much memory unused.",
    )
    return duration(headroom(command))


@main.command()
@run_argument
@click.option("--no-pull", is_flag=True, help="Use the logs that are there; the target is not asked.")
@limit_options
@dry_run_option
def analyze(run: str, no_pull: bool, duration_limit_ms: float, memory_headroom_mb: float, dry_run: bool) -> int:
    """Fetch the logs of a run, join and explain it.

    Prints the summary and writes summary.json, report.html, summary.md and junit.xml into the run's directory. What
    was fetched whole before is not fetched again.
    """
    from analysis import pipeline
    from analysis.console import console, print_lines
    from analysis.functions import Limits
    from config.settings import load_settings

    found, settings = find_run(run), load_settings()
    if dry_run:
        print_lines(pipeline.rehearse(found, settings, pull=not no_pull))
        return errors.OK
    return pipeline.analyze(
        found,
        settings,
        console=console(),
        pull=not no_pull,
        limits=Limits(duration_limit_ms, memory_headroom_mb),
    )


@main.command()
@run_argument
@format_option("text", "json", "markdown")
def summary(run: str, form: str) -> int:
    """Print the summary of an analysed run."""
    from analysis.run_files import read_summary

    show_summary(read_summary(find_run(run)), form)
    return errors.OK


@main.command()
@run_argument
@dry_run_option
def report(run: str, dry_run: bool) -> int:
    """Write report.html, summary.md and junit.xml again."""
    from analysis import report as reports
    from analysis.run_files import read_summary
    from analysis.workplace import SHOWN, at_work_in

    found = find_run(run)
    summary = read_summary(found)
    if dry_run:
        click.echo(f"would write {', '.join(SHOWN)} in {found.path}")
        return errors.OK
    with at_work_in(found):
        for written in reports.write_all(found, summary):
            click.echo(written)
    return errors.OK


@main.command()
@run_argument
@limit_options
def statistics(run: str, duration_limit_ms: float, memory_headroom_mb: float) -> int:
    """Print durations, billed time and memory per function.

    Under and over their limits as in the AMIS shop example: headroom is configured memory minus used memory; under its
    limit means that too little is left.
    """
    from analysis import statistics_table

    invocations = find_run(run).file("invocations.parquet")
    measured = statistics_table.measure(invocations, duration_limit_ms, memory_headroom_mb)
    click.echo(statistics_table.render(measured, duration_limit_ms, memory_headroom_mb), nl=False)
    return errors.OK


@main.command()
@run_argument
@click.option("--invocations", type=click.IntRange(1, 10**15), help="What if: so many invocations, e.g. 10_000_000.")
@click.option("--duration-ms", type=FiniteFloat(0, 900_000, min_open=True), help="What if: each takes so long.")
@click.option("--memory-mb", type=click.IntRange(128, 10_240), help="What if: memory of the function.")
@click.option(
    "--architecture",
    type=click.Choice(["x86_64", "arm64"]),
    help="What if: of the function.  [default: x86_64]",
)
@click.option(
    "--api",
    type=click.Choice(["none", "rest", "http"]),
    help="What if: the API Gateway in front of it.  [default: none]",
)
@click.option("--region", help="Prices of this region instead of the run's, or of AWS_REGION.")
@click.option("--free-tier", is_flag=True, help="Take a month's free tier off.")
@format_option("table", "json")
def cost(
    run: str,
    invocations: int | None,
    duration_ms: float | None,
    memory_mb: int | None,
    architecture: Any,
    api: Any,
    region: str | None,
    free_tier: bool,
    form: str,
) -> int:
    """Print what an analysed run cost, and a million of its requests, service by service.

    With --invocations, --duration-ms and --memory-mb no run is looked at: what would that cost at Lambda, and at an API
    Gateway in front of it?
    """
    from analysis import tables, terminal
    from analysis.console import console
    from analysis.cost import DEFAULT_ARCHITECTURE, of_summary, what_if
    from analysis.formatting import plural
    from analysis.run_files import read_summary
    from config.prices import load_prices, priced_regions
    from config.settings import SANDBOX_REGION, load_settings

    if region is not None and region not in priced_regions():
        raise UsageError(
            f"there are no prices of region {region!r}",
            f"--region is one of {', '.join(priced_regions())}; others are added by the example of "
            "config/prices/us-east-1.toml",
        )
    spent_on = "the run"
    if all(one is None for one in (invocations, duration_ms, memory_mb, architecture, api)):
        priced = of_summary(read_summary(find_run(run)), region, free_tier=free_tier)
    elif invocations is None or duration_ms is None or memory_mb is None:
        raise UsageError("a what-if needs all of --invocations, --duration-ms and --memory-mb")
    else:
        spent_on = plural(invocations, "invocation")
        priced = what_if(
            load_prices(region or load_settings().region or SANDBOX_REGION),
            invocations=invocations,
            duration_ms=duration_ms,
            memory_mb=memory_mb,
            architecture=architecture or DEFAULT_ARCHITECTURE,
            api=None if api == "none" else api,
            free_tier=free_tier,
        )
    if form == "json":
        click.echo(json.dumps(priced, indent=1, ensure_ascii=False))
    else:
        terminal.print_table(tables.cost({"cost": priced}, spent_on), console())
    return errors.OK


def find_run(run: str) -> RunDir:
    """A run by path, id or `latest`, below the runs directory of the settings. Raises RunNotFoundError, ConfigError."""
    from config.settings import load_settings
    from runstore import rundir

    return rundir.find(run, load_settings().runs_dir)


def show_summary(summary: Mapping[str, Any], form: str = "text") -> None:
    """Print a summary to stdout as `text`, `json` or `markdown`."""
    if form == "json":
        click.echo(json.dumps(summary, indent=1, ensure_ascii=False))
    elif form == "markdown":
        from analysis import markdown

        click.echo(markdown.render(summary), nl=False)
    else:
        from analysis import terminal
        from analysis.console import console

        terminal.print_summary(summary, console())


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m analysis"))
