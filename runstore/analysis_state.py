"""How far the analysis of a run is, for whoever waits for it: `analysis.json` in the run directory.

Written by the process that drives the analysis, read by the web UI. A run without it was not analysed from there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from runstore.rundir import RunDir

FILE = "analysis.json"
WAITING, RUNNING, ENDED = "waiting", "running", "ended"

ATTENDED = "SWARMSCOPE_ATTENDED"
"""Variable that tells a load generator that whoever started it analyses its runs."""


@dataclass(frozen=True)
class AnalysisState:
    """One moment of an analysis."""

    state: str
    message: str
    """One line for people."""
    since: float
    """When it came to this state, epoch seconds."""
    exit_code: int | None = None
    """None until it has ended."""


def write_state(run: RunDir, state: AnalysisState) -> None:
    """Raises OSError."""
    run.write_json(FILE, asdict(state))


def read_state(run: RunDir) -> AnalysisState | None:
    """None where there is none, or none that can be read."""
    try:
        return AnalysisState(**json.loads(run.file(FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def outcome(exit_code: int | None) -> str:
    """What an exit code of the analysis means, in a few words."""
    meanings = {
        0: "done, no threshold broken",
        1: "a threshold failed",
        3: "incomplete: the report says what is missing",
        130: "interrupted",
    }
    return meanings.get(exit_code if exit_code is not None else -1, "the analysis failed: the terminal says why")
