"""How the demo ends: its figures held against what the sandbox knows, and where to look next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from analysis import errors, truth
from analysis.run_files import read_json
from runstore.rundir import RunDir

BOTTLENECK = "stream votes"
"""What the profile `demo` asks too much of."""
ENDPOINT = "POST /vote"


def conclude(run: RunDir, exit_code: int, out: Console) -> int:
    """Print how the summary compares with the truth. -> 0, or 3 where the run is incomplete or any count differs.

    A broken threshold is what the demo is for, and so no failure of it.
    """

    def say(line: str) -> None:
        out.print(line, markup=False, highlight=False, soft_wrap=True)

    known, summary = read_json(run, "truth.json"), read_json(run, "summary.json")
    if not known or not summary:
        missing = run.file("summary.json" if known else "truth.json")
        say(f"not held against the sandbox's truth: there is no {missing}")
        return exit_code or errors.INCOMPLETE
    comparisons = truth.compare(summary, known)
    different = [one for one in comparisons if not one.equal]
    say(f"held against the sandbox's truth: {len(comparisons) - len(different)} of {len(comparisons)} counts equal")
    for one in different:
        say(f"  {one.name}: summary {one.summary}, truth {one.truth}")
    if different:
        return errors.INCOMPLETE
    if exit_code == errors.THRESHOLD_FAILED:
        exit_code = errors.OK
    if exit_code == errors.OK and (missed := missed_bottleneck(summary)) is not None:
        say(missed)
    say(f"open {run.file('report.html')} in a browser")
    return exit_code


def missed_bottleneck(summary: Mapping[str, Any]) -> str | None:
    """Why the report has nothing to say of the stream's limit; None where it does.

    Sandbox, Locust and its workers share this machine. Where they have to wait for its cores the users do so too, and
    ask less of the stream than they were meant to.
    """
    if any(cause.get("resource") == BOTTLENECK for cause in summary.get("root_causes") or ()):
        return None
    text = f"the load stayed below the limit that the demo is to show: {BOTTLENECK} refused no record"
    means_ms = {part: figures.get("mean") for part, figures in summary.get("breakdown", {}).get(ENDPOINT, {}).items()}
    waited_ms, took_ms = means_ms.get("client_network_ms") or 0.0, sum(mean_ms or 0.0 for mean_ms in means_ms.values())
    if waited_ms > took_ms / 2:
        text += (
            f"; of {took_ms:,.0f} ms that {ENDPOINT} took on the average, {waited_ms:,.0f} ms went between Locust and "
            "the sandbox, waiting for a processor: run it again when this machine is less busy"
        )
    return text
