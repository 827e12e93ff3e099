"""`python -m control policy`: what a role must be allowed."""

from __future__ import annotations

import json

import click

from control.commands.options import settings_of, target_options
from control.policies import ROLES


@click.command()
@click.argument("role", type=click.Choice(ROLES))
@target_options
@click.option("--account", help="Number of the account; else the one of the credentials.")
def policy(role: str, target: str | None, stack_name: str | None, account: str | None) -> int:
    """Print the IAM policy of a role for the stack, as JSON.

    load runs a test, analysis reads what it did (to run a test with its analysis takes both), tuning tries other
    settings of functions, deploy makes the stack, alarms its alarms. The files are in control/policies.
    """
    from config.aws import client
    from control import policies

    settings = settings_of(target, stack_name)
    sts = client(settings, "sts")
    account = account or sts.get_caller_identity()["Account"]
    click.echo(json.dumps(policies.policy(role, str(account), sts.meta.region_name, settings.stack_name), indent=2))
    return 0
