"""Locust's own statistics files in the run directory, complete to the last request.

Locust's writer flushes every 5 s and writes nothing when the run ends, and only writes with `--csv`. Here it writes
for every run, and once more after the drain.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import gevent
from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSVFileWriter

_SUFFIXES = ("_stats.csv", "_stats_history.csv", "_failures.csv", "_exceptions.csv")


class StatisticsFiles:
    """`<prefix>_stats.csv`, `_stats_history.csv`, `_failures.csv`, `_exceptions.csv`."""

    def __init__(self, environment: Environment, prefix: Path, full_history: bool) -> None:
        """Open the files and write them every second from now on. Raises OSError."""
        self._prefix = prefix
        self._writer = StatsCSVFileWriter(environment, PERCENTILES_TO_REPORT, str(prefix), full_history)
        self._greenlet = gevent.spawn(self._writer.stats_writer)

    def finish(self) -> None:
        """Stop writing and write everything a last time. Raises OSError."""
        self._greenlet.kill()
        writer = self._writer
        for handle, write in (
            (writer.requests_csv_filehandle, lambda: writer.requests_csv(writer.requests_csv_writer)),
            (writer.failures_csv_filehandle, lambda: writer.failures_csv(writer.failures_csv_writer)),
            (writer.exceptions_csv_filehandle, lambda: writer.exceptions_csv(writer.exceptions_csv_writer)),
        ):
            handle.seek(0)
            write()
            handle.truncate()
        # The history is the one that grows; there is no public way to add its last line.
        writer._stats_history_data_rows(writer.stats_history_csv_writer, time.time())
        writer.close_files()

    def replace(self, prefix: Path) -> None:
        """Put copies in place of the files that Locust itself writes for `--csv`, each in one step. Raises OSError.

        Locust still holds its own open and will flush them: into files that no longer have a name.
        """
        if prefix.resolve() == self._prefix.resolve():
            return
        for suffix in _SUFFIXES:
            target = Path(f"{prefix}{suffix}")
            temporary = target.with_name(f".{target.name}.{os.getpid()}")
            shutil.copyfile(f"{self._prefix}{suffix}", temporary)
            temporary.replace(target)
