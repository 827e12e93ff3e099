"""`python -m control deploy | destroy`: the sample applications on a target."""

from __future__ import annotations

import click

from control.commands.options import parameter_option, say, settings_of, target_options


@click.command()
@target_options
@parameter_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def deploy(target: str | None, stack_name: str | None, parameters: dict[str, str], dry_run: bool) -> int:
    """Create or update the sample applications' stack, and print its outputs."""
    from control import deploy as deploying
    from control.stack_outputs import api_base_url

    settings = settings_of(target, stack_name)
    plan, outputs = deploying.deploy(settings, parameters, say, dry_run=dry_run)
    if outputs is not None:
        outputs["ApiBaseUrl"] = api_base_url(settings, outputs) or outputs["ApiBaseUrl"]
    else:
        click.echo(f"would {plan.action} stack {plan.stack_name}, with its code in bucket {plan.bucket}")
    rows = plan.parameters if outputs is None else outputs
    width = max(map(len, rows), default=0)
    for name, value in sorted(rows.items()):
        click.echo(f"{name:<{width}}  {value}")
    return 0


@click.command()
@target_options
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
def destroy(target: str | None, stack_name: str | None, dry_run: bool) -> int:
    """Delete the sample applications' stack and the bucket with its code."""
    from control import deploy as deploying

    settings = settings_of(target, stack_name)
    deleted = deploying.destroy(settings, say, dry_run=dry_run)
    for name in deleted:
        click.echo(f"{'would delete' if dry_run else 'deleted'} {name}")
    if not deleted:
        click.echo(f"there is no stack {settings.stack_name}")
    return 0
