"""What the commands of `python -m control` have in common: options, settings, and where to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from analysis.console import console

if TYPE_CHECKING:
    from config.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

messages = Console(stderr=True)
"""Progress and everything else that is no result."""


def out() -> Console:
    """Where results go."""
    return console()


def say(line: str) -> None:
    """Tell of progress."""
    click.echo(line, err=True)


target_option = click.option("--target", envvar="TARGET", help="sandbox (default), aws or emulator.")
stack_name_option = click.option("--stack-name", envvar="STACK_NAME", help="Name of the sample applications' stack.")


def target_options(command: Command) -> Command:
    """Where: `--target`, `--stack-name`."""
    return target_option(stack_name_option(command))


def named_values(ctx: click.Context, option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` of a repeatable option."""
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
    callback=named_values,
    help="A parameter of stack/template.yaml, such as ShardCount=2; others keep their value. Repeatable. A run takes "
    "it only for a sandbox of its own.",
)


seed_option = click.option("--seed", envvar="SEED", help="Seed of payloads and waits; without it, a new one each run.")
time_scale_option = click.option(
    "--time-scale", envvar="TIME_SCALE", help="Multiplies stages, warm-up and windows of thresholds."
)
scale_option = click.option("--scale", envvar="SCALE", help="Multiplies users, arrival rates and spawn rates.")


def load_options(command: Command) -> Command:
    """How much: the options of every command that runs Locust. Checked together later, so all are text here."""
    for option in (
        seed_option,
        time_scale_option,
        scale_option,
        click.option("--messages", envvar="MESSAGES", help="Messages of a profile that counts them (smoke, perf)."),
        click.option("--custom-flow", envvar="CUSTOM_FLOW", help="Flow custom: the TOML file that says what to send."),
        click.option("--flows", envvar="FLOW", help="Flows to run, separated by commas; else those of the profile."),
        parameter_option,
    ):
        command = option(command)
    return target_options(command)


def profile_option(default: str) -> Callable[[Command], Command]:
    """`--load-profile`."""
    return click.option(
        "--load-profile",
        "profile",
        envvar="PROFILE",
        default=default,
        show_default=True,
        help="Profile: a name or a file.",
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
clean_option = click.option(
    "--clean", envvar="CLEAN", is_flag=True, help="Take back what a run left that was killed; nothing else."
)


def dry_run_option(help: str = "Say what would be done, and do nothing.") -> Callable[[Command], Command]:
    """`--dry-run`."""
    return click.option("--dry-run", is_flag=True, help=help)


def format_option(*forms: str) -> Callable[[Command], Command]:
    """`--format` as argument `form`; the first of `forms` is the default."""
    return click.option(
        "--format", "form", type=click.Choice(forms), default=forms[0], show_default=True, help="Of what is printed."
    )


def settings_of(target: str | None, stack_name: str | None) -> Settings:
    """What `.env`, the environment and these options say. Raises ConfigError."""
    from control.run_request import read_settings

    return read_settings(target, stack_name)
