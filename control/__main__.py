"""`python -m control`: what happens around a run. Results go to stdout, messages to stderr.

Exit codes: 0 all well, 1 a threshold failed or a message did not arrive, 2 wrong usage or configuration, 3 the run or
its data is incomplete, 130 interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError
from dotenv import load_dotenv
from rich.console import Console

from analysis.errors import AnalysisError
from config.errors import ConfigError
from control.errors import ControlError

Command = TypeVar("Command", bound=Callable[..., Any])

_messages = Console(stderr=True)


class ControlGroup(click.Group):
    """A group whose commands return their exit code, and whose errors become messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            exit_code = super().invoke(ctx)
        except BrokenPipeError:
            raise  # nobody reads us any more: click's matter
        except (ControlError, ConfigError, AnalysisError, KeyboardInterrupt, OSError, *_AWS_ERRORS) as error:
            exit_code = _tell(error)
        ctx.exit(exit_code or 0)


_AWS_ERRORS = (ClientError, BotoCoreError)


def _tell(error: BaseException) -> int:
    """Say on stderr what went wrong; -> the exit code."""
    if isinstance(error, ConfigError):
        exit_code, lines = error.exit_code, [f"error: {problem}" for problem in error.problems]
    elif isinstance(error, ControlError | AnalysisError):
        exit_code, lines = error.exit_code, [f"error: {error}"]
    elif isinstance(error, KeyboardInterrupt):
        exit_code, lines = 130, ["interrupted"]
    elif isinstance(error, HTTPClientError | NoConnectionError):
        exit_code, lines = 2, [f"error: {error}", "hint: start one with `make sandbox`, or mend AWS_ENDPOINT_URL"]
    elif isinstance(error, ClientError):
        exit_code, lines = 2, [f"error: AWS refused: {error}"]
    elif isinstance(error, BotoCoreError):
        exit_code, lines = 2, [f"error: {error}", "hint: see AWS_PROFILE and AWS_REGION in .env.example"]
    else:
        exit_code, lines = 3, [f"error: {error}"]  # a full disk, most likely: what was recorded until then stays
    for line in lines:
        click.echo(line, err=True)
    return exit_code


def _out() -> Console:
    from analysis.terminal import console

    return console()


def _say(line: str) -> None:
    click.echo(line, err=True)


target_option = click.option("--target", envvar="TARGET", help="sandbox (default), aws or emulator.")
stack_name_option = click.option("--stack-name", envvar="STACK_NAME", help="Name of the sample applications' stack.")


def target_options(command: Command) -> Command:
    """Where: `--target`, `--stack-name`."""
    return target_option(stack_name_option(command))


def _parameters(ctx: click.Context, option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{pair!r} is not of the form NAME=VALUE")
        found[name] = value
    return found


parameter_option = click.option(
    "--parameter",
    "parameters",
    envvar="PARAMETERS",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_parameters,
    help="A parameter of stack/template.yaml, such as ShardCount=2; others keep their value. Repeatable. A run takes "
    "it only for a sandbox of its own.",
)


def load_options(command: Command) -> Command:
    """How much: the options of every command that runs Locust. Checked together later, so all are text here."""
    for option in (
        click.option("--seed", envvar="SEED", help="Seed of payloads and waits; without it, a new one each run."),
        click.option("--time-scale", envvar="TIME_SCALE", help="Multiplies stages, warm-up and windows of thresholds."),
        click.option("--scale", envvar="SCALE", help="Multiplies users and spawn rates."),
        click.option("--messages", envvar="MESSAGES", help="Messages of a profile that counts them (smoke, perf)."),
        click.option("--custom-flow", envvar="CUSTOM_FLOW", help="Flow custom: the TOML file that says what to send."),
        click.option("--flows", envvar="FLOW", help="Flows to run, separated by commas; else those of the profile."),
        parameter_option,
    ):
        command = option(command)
    return target_options(command)


profile_option = click.option(
    "--load-profile", "profile", envvar="PROFILE", default="demo", show_default=True, help="Profile: a name or a file."
)
master_port_option = click.option(
    "--master-port",
    envvar="MASTER_PORT",
    type=click.IntRange(1, 65535),
    default=5557,
    show_default=True,
    help="Port on which master and workers meet.",
)
workers_option = click.option("--workers", envvar="WORKERS", help="Locust worker processes; else one does it all.")


@click.group(cls=ControlGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run load tests from end to end, and deploy what they run against.

    \b
    Exit codes: 0 all well, 1 a threshold failed or a message did not arrive, 2 wrong usage or
    configuration, 3 the run or its data is incomplete, 130 interrupted.
    """
    load_dotenv(".env", interpolate=False)
    # However a run is interrupted, also where a shell started it in the background and had it ignore Ctrl-C.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)


@main.command()
@load_options
@profile_option
@workers_option
def load(**options: Any) -> int:
    """Run a load profile, headless, with analysis and verdict."""
    from control import orchestrate

    return orchestrate.load(orchestrate.Request(**options), _messages, _out())


@main.command()
@click.option("--seed", envvar="SEED", help="Seed of payloads and waits; without it, a new one each run.")
@click.option("--scale", envvar="SCALE", help="Multiplies users.")
@click.option("--time-scale", envvar="TIME_SCALE", help="Multiplies stages, warm-up and windows of thresholds.")
def demo(**options: Any) -> int:
    """The main job from end to end on a sandbox of its own: all flows, a master and two workers.

    Its load is meant to break something, so a broken threshold is no failure here: 0 where the run is complete and
    every count of its summary equals the sandbox's own.
    """
    from control import demo, orchestrate

    out = _out()
    request = orchestrate.Request(profile="demo", target="sandbox", workers="2", private_sandbox=True, **options)
    return orchestrate.load(request, _messages, out, then=lambda run, exit_code: demo.conclude(run, exit_code, out))


@main.command()
@target_options
def smoke(**options: Any) -> int:
    """Send one shop message with two records; 0 only if the table changed by exactly that."""
    from control import orchestrate
    from control.smoke import SMOKE_SHOP

    return orchestrate.smoke(orchestrate.Request(profile="smoke", shop_id=SMOKE_SHOP, **options), _messages, _out())


@main.command()
@target_options
@parameter_option
@click.option("--messages", envvar="MESSAGES", help="Messages to send one after another; else 100.")
@click.option("--seed", envvar="SEED", help="Seed of payloads and waits; without it, a new one each run.")
@click.option(
    "--duration-limit-ms", type=click.FloatRange(min=0), default=500.0, show_default=True, help="Durations are over it."
)
@click.option(
    "--memory-headroom-mb", type=click.FloatRange(min=0), default=28.0, show_default=True, help="Memory to leave free."
)
def perf(duration_limit_ms: float, memory_headroom_mb: float, **options: Any) -> int:
    """Send shop messages one after another, then print the statistics of each function."""
    from analysis import statistics_table
    from analysis.functions import Limits
    from control import orchestrate
    from runstore.rundir import RunDir

    def statistics(run: RunDir, exit_code: int) -> int:
        measured = statistics_table.measure(run.file("invocations.parquet"), duration_limit_ms, memory_headroom_mb)
        click.echo(statistics_table.render(measured, duration_limit_ms, memory_headroom_mb), nl=False)
        return exit_code

    return orchestrate.load(
        orchestrate.Request(profile="perf", **options),
        _messages,
        _out(),
        Limits(duration_limit_ms, memory_headroom_mb),
        statistics,
    )


@main.command()
@load_options
@profile_option
@click.option("--web-host", envvar="WEB_HOST", default="127.0.0.1", show_default=True, help="Where the web UI listens.")
@click.option(
    "--web-port", envvar="WEB_PORT", type=click.IntRange(1, 65535), default=8089, show_default=True, help="Its port."
)
@click.option("--web-login", envvar="WEB_LOGIN", is_flag=True, help="Ask for WEB_USER and WEB_PASSWORD.")
@click.option(
    "--live-cloudwatch",
    envvar="LIVE_CLOUDWATCH",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="Show what CloudWatch knows while a run goes; AWS bills the questions.",
)
def ui(web_host: str, web_port: int, web_login: bool, live_cloudwatch: str, **options: Any) -> int:
    """Locust's web UI; each run is analysed as soon as it has ended. Ctrl-C ends it."""
    from control import orchestrate
    from control.processes import is_port_free

    if not is_port_free("" if web_host == "*" else web_host, web_port):
        raise ConfigError(f"WEB_PORT: something listens on {web_host}:{web_port} already; choose another")
    if web_login:
        _settings(options["target"], options["stack_name"]).web_credentials()
    listening = ["--web-host", web_host, "--web-port", str(web_port), "--live-cloudwatch", live_cloudwatch]
    return orchestrate.attend(
        orchestrate.Request(**options),
        listening + (["--web-login"] if web_login else []),
        _messages,
        interactive=True,
    )


@main.command()
@load_options
@profile_option
@click.option(
    "--expect-workers",
    envvar="EXPECT_WORKERS",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Workers to wait for before the run begins.",
)
@click.option(
    "--master-bind-host", envvar="MASTER_BIND_HOST", default="*", show_default=True, help="Where workers may connect."
)
@master_port_option
def master(expect_workers: int, master_bind_host: str, master_port: int, **options: Any) -> int:
    """The master of a distributed run: waits for its workers, runs the profile, analyses."""
    from control import orchestrate
    from control.processes import is_port_free

    if not is_port_free("" if master_bind_host == "*" else master_bind_host, master_port):
        raise ConfigError(f"MASTER_PORT: {master_port} is taken, perhaps by another master; choose another")
    role = ["--headless", "--master", "--master-bind-host", master_bind_host, "--master-bind-port", str(master_port)]
    return orchestrate.attend(
        orchestrate.Request(**options),
        [*role, "--expect-workers", str(expect_workers)],
        _messages,
        interactive=False,
    )


@main.command()
@target_option
@click.option(
    "--master-host", envvar="MASTER_HOST", default="127.0.0.1", show_default=True, help="Where the master is."
)
@master_port_option
def worker(target: str | None, master_host: str, master_port: int) -> int:
    """A worker of a distributed run: does what its master says, and ends with it."""
    from control import orchestrate

    return orchestrate.work(target, ["--master-host", master_host, "--master-port", str(master_port)])


@main.command()
@target_options
@parameter_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def deploy(target: str | None, stack_name: str | None, parameters: dict[str, str], dry_run: bool) -> int:
    """Create or update the sample applications' stack, and print its outputs."""
    from control import deploy as deploying
    from control.stack_outputs import api_base_url

    settings = _settings(target, stack_name)
    plan, outputs = deploying.deploy(settings, parameters, _say, dry_run=dry_run)
    if outputs is not None:
        outputs["ApiBaseUrl"] = api_base_url(settings, outputs) or outputs["ApiBaseUrl"]
    else:
        click.echo(f"would {plan.action} stack {plan.stack_name}, with its code in bucket {plan.bucket}")
    rows = plan.parameters if outputs is None else outputs
    width = max(map(len, rows), default=0)
    for name, value in sorted(rows.items()):
        click.echo(f"{name:<{width}}  {value}")
    return 0


@main.command()
@target_options
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
def destroy(target: str | None, stack_name: str | None, dry_run: bool) -> int:
    """Delete the sample applications' stack and the bucket with its code."""
    from control import deploy as deploying

    settings = _settings(target, stack_name)
    deleted = deploying.destroy(settings, _say, dry_run=dry_run)
    for name in deleted:
        click.echo(f"{'would delete' if dry_run else 'deleted'} {name}")
    if not deleted:
        click.echo(f"there is no stack {settings.stack_name}")
    return 0


def _settings(target: str | None, stack_name: str | None) -> Any:
    from control.orchestrate import read_settings

    return read_settings(target, stack_name)


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m control"))
