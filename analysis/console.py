"""Where tables and sentences are printed. Who prints a line need not import what makes the figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich.console import Console
from rich.text import Text

WIDTH = 100


def console(file: IO[str] | None = None) -> Console:
    """A console of at most WIDTH columns, and of exactly WIDTH where it is no terminal."""
    own = Console(file=file, highlight=False, markup=False, emoji=False)
    own.width = min(own.width, WIDTH) if own.is_terminal else WIDTH
    return own


def print_lines(lines: Iterable[str]) -> None:
    """Print prose, wrapped between words in a terminal; elsewhere a line stays a line."""
    to = console()
    for line in lines:
        to.print(Text(line), soft_wrap=not to.is_terminal)
