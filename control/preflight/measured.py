"""What earlier runs have measured, for the checks that go by how long functions take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from control.preflight.facts import Measured

LOOKED_AT = 50
"""Runs, from the newest on."""


def measured_before(runs_dir: Path, target: str, functions: Iterable[str]) -> Measured | None:
    """The newest run on that target that measured one of the functions; None where there is none.

    A run on the sandbox says nothing about AWS, nor the other way round.
    """
    wanted = set(functions)
    runs = sorted((path.parent for path in runs_dir.glob("*/summary.json")), key=lambda run: run.name, reverse=True)
    for run in islice((run for run in runs if not run.is_symlink()), LOOKED_AT):
        try:
            summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
            found = measured_in(summary)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # of an older form, or cut off: another run will do
        if summary["run"].get("target") == target and wanted & found.mean_ms.keys():
            return found
    return None


def measured_in(summary: Mapping[str, Any]) -> Measured:
    """What a `summary.json` says. Raises KeyError, TypeError, AttributeError for what is none."""
    run, client, functions = summary["run"], summary["client"], summary["functions"]

    def of_functions(block: str, statistic: str) -> dict[str, Any]:
        values = {name: (one.get(block) or {}).get(statistic) for name, one in functions.items()}
        return {name: value for name, value in values.items() if value is not None}

    endpoints = client.get("endpoints", {}).values()
    timed = [(one["requests"], one["mean_ms"]) for one in endpoints if one.get("mean_ms") is not None]
    answered = sum(requests for requests, _ in timed)
    return Measured(
        run_id=run["id"],
        flows=tuple(sorted(run["flows"])),
        requests=client["requests"],
        duration_s=(run["ended_at"] or 0) - (run["started_at"] or 0),
        mean_ms=of_functions("duration_ms", "mean"),
        max_ms=of_functions("duration_ms", "max"),
        max_memory_mb=of_functions("memory_mb", "max"),
        invocations={name: one["invocations"] for name, one in functions.items()},
        response_ms=sum(requests * mean for requests, mean in timed) / answered if answered else None,
        quantities={
            item["item"]: item["quantity"] for item in summary["cost"]["items"] if item.get("quantity") is not None
        },
    )
