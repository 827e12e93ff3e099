"""How the demo ends: its figures held against what the sandbox knows, and where to look next."""

from __future__ import annotations

import json

from rich.console import Console

from analysis import errors, truth
from runstore.rundir import RunDir


def conclude(run: RunDir, exit_code: int, out: Console) -> int:
    """Print how the summary compares with the truth. -> 0, or 3 where the run is incomplete or any count differs.

    A broken threshold is what the demo is for, and so no failure of it.
    """

    def say(line: str) -> None:
        out.print(line, markup=False, highlight=False, soft_wrap=True)

    try:
        known = json.loads(run.file("truth.json").read_text(encoding="utf-8"))
        summary = json.loads(run.file("summary.json").read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        say(f"not held against the sandbox's truth: there is no {missing.filename}")
        return exit_code or errors.INCOMPLETE
    comparisons = truth.compare(summary, known)
    different = [one for one in comparisons if not one.equal]
    say(f"held against the sandbox's truth: {len(comparisons) - len(different)} of {len(comparisons)} counts equal")
    for one in different:
        say(f"  {one.name}: summary {one.summary}, truth {one.truth}")
    if different:
        return errors.INCOMPLETE
    say(f"open {run.file('report.html')} in a browser")
    return errors.OK if exit_code == errors.THRESHOLD_FAILED else exit_code
