"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

run_argument = click.argument("run", metavar="[RUN]", default="latest")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be asked and written, and do nothing.")


def format_option(*forms: str) -> Decorator:
    """`--format`, of which the first form is the default."""
    choice = click.Choice(forms)
    return click.option("--format", "form", type=choice, default=forms[0], show_default=True, help="How it is printed.")
