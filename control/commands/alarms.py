"""`python -m control alarms`: CloudWatch alarms for the functions of the stack, or those of the variables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from config.errors import ConfigError
from control.commands.options import dry_run_option, out, say, settings_of, target_options

if TYPE_CHECKING:
    from config.settings import Settings
    from control.alarms import Alarm, Change

_WOULD = {"create": "would create", "update": "would update", "keep": "unchanged", "delete": "would delete"}


@click.command()
@click.argument("action", metavar="[ACTION]", default="plan", type=click.Choice(["plan", "create", "list", "delete"]))
@target_options
@click.option(
    "--topic", envvar="ALARM_TOPIC", metavar="ARN", help="SNS topic that is told when an alarm rings, and when it ends."
)
@dry_run_option()
def alarms(action: str, target: str | None, stack_name: str | None, topic: str | None, dry_run: bool) -> int:
    """Alarms on errors, throttles, durations, concurrency, iterator age, dead letters and the API's 5xx.

    \b
    plan    what `create` would change (the default)
    create  make them what they should be; again, and nothing changes
    list    those that are there, with their state
    delete  remove ours, and no others

    Limits are the alerts of config/metrics.toml, or of METRIC_LIMITS. AWS charges for each alarm by the month.
    """
    from config.aws import client
    from control import alarms as ours
    from control.deploy import cloud_for

    settings = settings_of(target, stack_name)
    cloud_for(settings)  # says so where nobody is there
    cloudwatch = client(settings, "cloudwatch")
    there = ours.existing(cloudwatch, settings.stack_name)
    if action == "list":
        _show_states(there, settings.stack_name)
        return 0
    changes = ours.plan([] if action == "delete" else wanted(settings, topic), there)
    if action == "plan" or dry_run:
        _show_plan(changes, settings.stack_name)
    else:
        ours.carry_out(cloudwatch, changes, settings.stack_name, say)
        click.echo(_in_words(changes, done=True))
    return 0


def wanted(settings: Settings, topic: str | None) -> list[Alarm]:
    """The alarms that the stack should have. `topic`: see `control.alarms.alarms_for`.

    Raises ConfigError where there is nothing to watch.
    """
    from analysis import deployment
    from config.aws import client
    from config.metric_limits import load_metric_limits
    from control import alarms as ours
    from control.target import known_resources, nowhere_else

    resources = known_resources(settings, say, look_only=True)
    if not resources.functions:
        raise ConfigError(
            f"STACK_NAME: {nowhere_else(settings)}, and no variable such as VOTE_FUNCTION names a function to watch; "
            "`make deploy` makes a stack"
        )

    def made(service: str) -> Any:
        return client(settings, service)

    found = deployment.describe(made, {"functions": resources.functions, "api_base_url": resources.api_base_url})
    for warning in found.warnings:
        say(f"warning: {warning}")
    watched = ours.watched_of(made, resources.functions, found.as_dict())
    return ours.alarms_for(settings.stack_name, watched, load_metric_limits(settings.metric_limits), topic)


def _show_plan(changes: list[Change], stack_name: str) -> None:
    from control.alarms import short_name

    rows = []
    for change in changes:
        rings = change.alarm.limit if change.alarm is not None else "no longer wanted"
        differing = f" ({', '.join(change.differing)})" if change.differing else ""
        rows.append((_WOULD[change.action], short_name(change.name, stack_name), f"{rings}{differing}"))
    _show(stack_name, ("", "alarm", "rings at"), rows)
    click.echo(_in_words(changes, done=False))


def _show(stack_name: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from analysis.tables import Row, Table, text
    from analysis.terminal import print_table
    from control.alarms import prefix

    if rows:
        columns = tuple(text(heading) for heading in headings)
        title = f"Alarms, whose names begin with {prefix(stack_name)}"
        print_table(Table(title, columns, tuple(Row(tuple(row)) for row in rows)), out())


def _in_words(changes: list[Change], *, done: bool) -> str:
    """`3 created, 40 unchanged`, or what is `to create`."""
    numbers = Counter(change.action for change in changes)
    words = [
        f"{numbers[action]} {action}d" if done else f"{numbers[action]} to {action}"
        for action in ("create", "update", "delete")
        if numbers[action]
    ]
    return ", ".join([*words, f"{numbers['keep']} unchanged"])


def _show_states(there: dict[str, dict[str, Any]], stack_name: str) -> None:
    from control.alarms import limit_in, short_name

    if not there:
        click.echo("there are no alarms; `make alarms ACTION=create` makes them")
        return
    rows = [
        (
            alarm["StateValue"],
            f"{alarm['StateUpdatedTimestamp']:%Y-%m-%d %H:%M}",
            short_name(name, stack_name),
            limit_in(alarm.get("AlarmDescription", "")),
        )
        for name, alarm in sorted(there.items(), key=lambda item: (item[1]["StateValue"] != "ALARM", item[0]))
    ]
    _show(stack_name, ("state", "since", "alarm", "rings at"), rows)
