"""The bar of a pull: slices, rows, bytes scanned and what Logs Insights charges for them, or what it waits for."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from analysis.puller import Progress
from config.prices import LOG_GB_BYTES, Prices


class PullProgress:
    """A bar on a console while logs are fetched; nothing where that is no terminal."""

    def __init__(self, console: Console, prices: Prices) -> None:
        self._prices = prices
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}"),
        )
        self._bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("fetching logs", total=None, state="")

    def __enter__(self) -> PullProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, progress: Progress) -> None:
        state = describe(progress, self._prices)
        self._bar.update(self._task, total=progress.slices, completed=progress.done, state=state)


def describe(progress: Progress, prices: Prices) -> str:
    """`1,234,567 rows, 812.5 MB scanned (0.0041 USD), waiting 12 s for logs to appear`, as far as it is known."""
    told = [f"{progress.rows:,} rows"]
    if progress.bytes_scanned is not None:
        usd = prices.usd("logs_scanned_gb", progress.bytes_scanned / LOG_GB_BYTES)
        price = "" if usd is None else f" ({usd:.4f} USD)"
        told.append(f"{progress.bytes_scanned / 1e6:,.1f} MB scanned{price}")
    if progress.waiting_s is not None:
        told.append(f"waiting {progress.waiting_s:.0f} s for logs to appear")
    return ", ".join(told)
