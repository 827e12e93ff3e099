"""`python -m control deploy | destroy`: the sample applications on a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from control.commands.options import dry_run_option, named_values, parameter_option, say, settings_of, target_options

if TYPE_CHECKING:
    from config.settings import Settings

tag_option = click.option(
    "--tag",
    "tags",
    envvar="STACK_TAGS",
    multiple=True,
    metavar="NAME=VALUE",
    callback=named_values,
    help="A tag for everything that is made, beside swarmscope:stack. Repeatable.",
)


@click.command()
@target_options
@parameter_option
@tag_option
@click.option("--alarms", envvar="ALARMS", is_flag=True, help="Make the stack's alarms, too, as `alarms create` does.")
@dry_run_option("Say what would change (of a stack that exists, by a change set).")
def deploy(
    target: str | None,
    stack_name: str | None,
    parameters: dict[str, str],
    tags: dict[str, str],
    alarms: bool,
    dry_run: bool,
) -> int:
    """Create or update the sample applications' stack, and print its outputs.

    The code goes into a private bucket. CloudFormation says beforehand what it is going to change. A deployment
    that was interrupted is finished by the next. Later commands read the outputs from the stack.
    """
    from control import deploy as deploying
    from control.stack_outputs import api_base_url

    settings = settings_of(target, stack_name)
    deploying.refuse_protected(settings)
    done = deploying.deploy(settings, parameters, say, tags=tags, dry_run=dry_run)
    if done.outputs is not None:
        outputs = done.outputs
        if alarms:
            _make_alarms(settings)
        _print(outputs | {"ApiBaseUrl": api_base_url(settings, outputs) or outputs["ApiBaseUrl"]})
        return 0
    if done.changes == ():
        click.echo(f"nothing would change in stack {done.plan.stack_name}")
    else:
        click.echo(
            f"would {done.plan.action} stack {done.plan.stack_name}, with its code in bucket {done.plan.bucket.name}"
        )
    for change in done.changes or ():
        click.echo(f"would change: {change}")
    _print(done.plan.parameters)
    return 0


@click.command()
@target_options
@dry_run_option("Say what would be deleted, and delete nothing.")
def destroy(target: str | None, stack_name: str | None, dry_run: bool) -> int:
    """Delete the sample applications' stack, its alarms, and the bucket with its code."""
    from control import deploy as deploying

    settings = settings_of(target, stack_name)
    deploying.refuse_protected(settings)
    deleted = deploying.destroy(settings, say, dry_run=dry_run)
    for name in deleted:
        click.echo(f"{'would delete' if dry_run else 'deleted'} {name}")
    if not deleted:
        click.echo(f"there is no stack {settings.stack_name}, and no bucket of it")
    return 0


def _make_alarms(settings: Settings) -> None:
    """Without anybody who is told of them; `alarms create --topic` says whom."""
    from config.aws import client
    from control import alarms
    from control.commands.alarms import wanted

    cloudwatch = client(settings, "cloudwatch")
    there = alarms.existing(cloudwatch, settings.stack_name)
    alarms.carry_out(cloudwatch, alarms.plan(wanted(settings, None), there), settings.stack_name, say)


def _print(values: Mapping[str, str]) -> None:
    width = max(map(len, values), default=0)
    for name, value in sorted(values.items()):
        click.echo(f"{name:<{width}}  {value}")
