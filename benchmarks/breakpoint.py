"""Whether the search for the breakpoint finds a limit that is known: the throttle of an API's stage in the sandbox.

    python -m benchmarks.breakpoint                     # three searches for 200 requests a second, some 40 s each
    python -m benchmarks.breakpoint --limit 90 --limit 350

Each search is a run of its own, as a user's: `python -m control load` with a profile, on a sandbox of its own whose
stage lets so many requests a second through (a token bucket) and refuses the rest with 429. Exit code 0 only where each
search ended within 10 % of its limit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

PROFILE = """
description = "A stage that is throttled"
flows = ["vote"]
model = "open"
[breakpoint]
start = 30
max = 1000
growth = 2
settle = "1s"
hold = "2s"
precision = 0.05
recovery_limit = "20s"
# What comes late comes in clumps: 20 of them at once fill the bucket.
schedule_lag_limit = "60ms"
[thresholds]
"error_rate < 3%" = "fail"
"""
BURST = 20
"""Size of the stage's token bucket: small, so that a hold of two seconds meets the rate and not the bucket."""
TOLERANCE = 0.1
RUN_LIMIT_S = 300


def search(limit: int, directory: Path) -> dict[str, Any]:
    """One search for a limit: what it came to. Raises RuntimeError where there was no run."""
    profile = directory / "breakpoint.toml"
    profile.write_text(PROFILE, encoding="utf-8")
    runs = directory / "runs"
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "control", "load", "--target", "sandbox", "--load-profile", str(profile)),
            *("--parameter", f"StageThrottleRate={limit}", "--parameter", f"StageThrottleBurst={BURST}"),
        ],
        env={**os.environ, "RUNS_DIR": str(runs), "AWS_ENDPOINT_URL": ""},
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )
    manifest = runs / "latest" / "manifest.json"
    if not manifest.exists():
        raise RuntimeError(f"no run:\n{ended.stderr}")
    facts = json.loads(manifest.read_text(encoding="utf-8"))
    found = facts["breakpoint"]
    return {
        "limit": limit,
        "found": found["rate"],
        "off_by": None if found["rate"] is None else found["rate"] / limit - 1,
        "lowest_broken": found["lowest_broken"],
        "held": found["held"],
        "broken": found["broken"],
        "ended_by": found["ended_by"],
        "reason": found["reason"],
        "steps": len(found["steps"]),
        "seconds": facts["ended_at"] - facts["started_at"],
    }


def is_near(found: dict[str, Any]) -> bool:
    return found["ended_by"] == "found" and found["off_by"] is not None and abs(found["off_by"]) <= TOLERANCE


@click.command()
@click.option("--limit", "limits", type=click.IntRange(50), multiple=True, default=(200, 200, 200), show_default=True)
def main(limits: tuple[int, ...]) -> None:
    """Search for limits that are known, one run each."""
    found = []
    for limit in limits:
        with tempfile.TemporaryDirectory(prefix="swarmscope-bench-") as directory:
            found.append(search(limit, Path(directory)))
    table = Table("limit /s", "found /s", "off by", "broke at /s", "ended by", "steps", "seconds")
    for one in found:
        off_by = "-" if one["off_by"] is None else f"{one['off_by']:+.1%}"
        table.add_row(
            *(str(one["limit"]), str(one["found"]), off_by, str(one["lowest_broken"])),
            *(str(one["reason"] or one["ended_by"]), str(one["steps"]), f"{one['seconds']:.0f}"),
        )
    Console(stderr=True).print(table)
    click.echo(json.dumps(found, indent=1))
    sys.exit(0 if all(map(is_near, found)) else 1)


if __name__ == "__main__":
    main()
