"""`python -m benchmarks NAME`: one of the benchmarks, with its own options. `make bench` runs it."""

from __future__ import annotations

import runpy
import sys

BENCHMARKS = ("generator", "arrivals", "breakpoint", "shipping", "sandbox_votes", "pull", "join", "report", "compare")


def main(arguments: list[str]) -> None:
    name = arguments[0] if arguments else ""
    if name not in BENCHMARKS:
        print(f"error: BENCH: there is no {name!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        sys.exit(2)
    sys.argv = arguments
    runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
