"""`python -m analysis compare` and `baseline`: two runs, two versions inside one run, or a run and what was stored.

Exit codes: 0 nothing is worse (also where nothing could be decided), 1 a figure is worse, 2 the two are runs of
different things, 3 one of them is not whole, or B lacks a figure that A has.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from analysis import baseline, comparison, errors, markdown, tables, terminal
from analysis.baseline import SPLITS, Baseline
from analysis.comparison import Comparison
from analysis.console import console
from analysis.errors import UsageError
from analysis.finite_float import FiniteFloat
from analysis.formatting import visible
from analysis.options import format_option, run_argument
from config.settings import load_settings
from runstore import rundir
from runstore.rundir import RunDir


@click.command("compare")
@click.argument("runs", metavar="[A] [B]", nargs=-1)
@click.option(
    "--baseline",
    "stored",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compare one run (B) with what `baseline` stored, instead of with a run A.",
)
@click.option(
    "--by",
    type=click.Choice(list(SPLITS)),
    help="Compare two parts of one run: what two versions of a function answered, or two endpoints.",
)
@click.option("--endpoint", metavar="NAME", help="Only requests to this endpoint, as the summary names it.")
@click.option("--of", "pair", nargs=2, metavar="A B", help="With --by: which two, where the run has more.")
@click.option(
    "--within",
    type=FiniteFloat(min=0, min_open=True),
    default=100 * comparison.WITHIN,
    show_default=True,
    metavar="PERCENT",
    help="A change below this does not matter.",
)
@click.option(
    "--confidence",
    type=FiniteFloat(50, 100, min_open=True, max_open=True),
    default=100 * comparison.CONFIDENCE,
    show_default=True,
    metavar="PERCENT",
    help="Of the intervals.",
)
@click.option("--allow-differences", is_flag=True, help="Compare runs of different things too, and say what differs.")
@format_option("text", "json", "markdown")
def compare_command(
    runs: tuple[str, ...],
    stored: Path | None,
    by: str | None,
    endpoint: str | None,
    pair: tuple[str, str] | None,
    within: float,
    confidence: float,
    allow_differences: bool,
    form: str,
) -> int:
    """Say whether run B is worse or better than run A, figure by figure, or whether nobody can tell.

    \b
    compare A B                    two runs
    compare --baseline FILE [B]    a run (latest) against a stored baseline
    compare --by version [RUN]     two versions, in turns inside one run (latest)

    Intervals come from resampling whole execution environments. Exit code 1: something got worse.
    """
    a, b = _sides(runs, stored, by, pair, None if endpoint is None else ("endpoint", endpoint))
    found = comparison.compare(a, b, within=within / 100, confidence=confidence / 100)
    if found.differences and by is None and not allow_differences:  # versions may well differ, in memory
        raise UsageError(
            "A and B are runs of different things: " + "; ".join(map(tables.difference_in_words, found.differences)),
            "with --allow-differences they are compared all the same",
        )
    click.echo(render(found, form), nl=False)
    return found.exit_code


@click.command("baseline")
@run_argument
@click.option("--endpoint", metavar="NAME", help="Only requests to this endpoint, as the summary names it.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it here instead of to stdout.")
def baseline_command(run: str, endpoint: str | None, output: Path | None) -> int:
    """Store what `compare --baseline` needs of a run: its figures and how sure they are, a few KB of JSON."""
    made = baseline.measure(_find(run), None if endpoint is None else ("endpoint", endpoint))
    if not made.complete:
        raise errors.IncompleteError(f"{made.label} is not whole, and no measure for others")
    text = baseline.to_json(made)
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
    return errors.OK


def _write(output: Path, text: str) -> None:
    """Write a file whole or not at all; what cannot be replaced, such as /dev/stdout, is written to."""
    try:
        atomic = output.is_file() or not output.exists()
        with click.open_file(str(output), "w", encoding="utf-8", atomic=atomic) as file:
            file.write(text)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise UsageError(f"--output {output}: {error.strerror}") from None


def render(found: Comparison, form: str = "text") -> str:
    """A comparison as `text` of at most 100 columns, `json` or `markdown`, ending in a line feed."""
    if form == "json":
        return json.dumps(found.as_dict(), indent=1, ensure_ascii=False) + "\n"
    if form == "markdown":
        return markdown.render_comparison(found)
    to = console()
    with to.capture() as captured:
        terminal.print_comparison(found, to)
    return captured.get()


def _sides(
    runs: tuple[str, ...],
    stored: Path | None,
    by: str | None,
    pair: tuple[str, str] | None,
    part: tuple[str, str] | None,
) -> tuple[Baseline, Baseline]:
    """A and B. `part`: what of two runs is compared; None for all."""
    if by is not None:
        if stored is not None or part is not None or len(runs) > 1:
            raise UsageError("--by compares two parts of one run", "name one run, no --baseline and no --endpoint")
        return _parts(_find(*runs), by, pair)
    if pair:
        raise UsageError("--of says which parts of a run are meant", "it needs --by")
    if stored is not None:
        if len(runs) > 1:
            raise UsageError("--baseline stands in the place of run A", "name one run")
        return baseline.read(stored), baseline.measure(_find(*runs), part)
    if len(runs) != 2:
        raise UsageError("two runs are needed", "python -m analysis compare A B, or one with --baseline or --by")
    a, b = runs
    return baseline.measure(_find(a), part), baseline.measure(_find(b), part)


def _parts(run: RunDir, by: str, pair: tuple[str, str] | None) -> tuple[Baseline, Baseline]:
    if not pair:
        values = baseline.values_of(run, by)
        if len(values) != 2:
            there = ", ".join(map(visible, values)) or "none"
            number = f"{len(values)} values" if len(values) != 1 else "one value"
            raise UsageError(
                f"{run.run_id} has {number} of {by}, and two are compared: {there}",
                "say which two: --of A B" if len(values) > 2 else None,
            )
        pair = (values[0], values[1])
    return baseline.measure(run, (by, pair[0])), baseline.measure(run, (by, pair[1]))


def _find(run: str = "latest") -> RunDir:
    return rundir.find(run, load_settings().runs_dir)
