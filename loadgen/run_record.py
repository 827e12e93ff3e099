"""The run directory while its run goes: made when the run starts, with a manifest that says so, closed when it ends.

Kept by the lone process or the master, never by a worker.
"""

from __future__ import annotations

import logging
import platform
import socket
import time
from argparse import Namespace
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from locust.env import Environment

from config.settings import function_name, shown_url
from loadgen.options import Chosen, adhoc_profile, flow_shares, new_seed
from loadgen.plan import RunPlan
from loadgen.prerequisites import called_services, service_endpoint
from loadgen.statistics import StatisticsFiles
from loadgen.target_label import label
from runstore import rundir

logger = logging.getLogger(__name__)


class RunRecord:
    """One run: its plan, its directory, its manifest, Locust's statistics."""

    def __init__(self, environment: Environment, chosen: Chosen) -> None:
        """Make the directory and start writing. Raises OSError, and leaves no manifest then."""
        options = environment.parsed_options or Namespace()
        settings = chosen.settings
        started_at = time.time()
        shares = flow_shares({user_class: user_class.weight for user_class in environment.user_classes})
        profile = chosen.profile or adhoc_profile(options, shares, chosen)
        run_id = chosen.run_id or rundir.new_run_id(profile.name, started_at)
        self.directory = rundir.create(chosen.runs_dir, run_id)
        self.plan = RunPlan(
            run_id=self.directory.run_id,
            started_at=started_at,
            profile=profile,
            target=settings.target,
            seed=chosen.seed if chosen.seed is not None else new_seed(),
            sampled_share=settings.sampled_share,
            results_share=chosen.results_share,
            shop_id=chosen.shop_id,
            shop_public_key=settings.shop_public_key,
            functions=settings.functions,
            invocation=chosen.invocation,
            event_destinations=settings.event_destinations,
            event_batch=chosen.event_batch,
            poison_share=chosen.poison_share,
            endpoints={
                service: service_endpoint(service, settings) for service in called_services(profile.flows, chosen)
            },
            region=settings.region or "",
            custom=None if chosen.custom is None else chosen.custom.as_message(),
        )
        self._statistics = StatisticsFiles(
            environment, self.directory.csv_prefix, full_history=bool(options.stats_history_enabled)
        )
        target, simulated = label(settings, environment.host, self.plan.endpoints)
        # Last: what says that a run goes must be there to say that it has ended.
        self.directory.update_manifest(
            run_id=self.directory.run_id,
            profile=profile.as_dict(),
            flows=sorted(profile.flows),
            target=target,
            simulated=simulated,
            region=settings.region,
            stack_name=settings.stack_name,
            api_base_url=environment.host and shown_url(environment.host),
            endpoint_url=settings.endpoint_url,
            functions=dict(chosen.functions),
            log_groups=_log_groups(chosen),
            access_log_group=settings.access_log_group,
            versions={
                "python": platform.python_version(),
                **{name: version(name) for name in ("locust", "gevent", "httptools")},
            },
            seed=self.plan.seed,
            hosts=[socket.gethostname()],
            started_at=started_at,
            ended_at=None,
            state=rundir.RUNNING,
            aborted=None,
            breakpoint=None,
            workers=[],
            warnings=[],
        )
        logger.info(f"Recording this run in {self.directory.path}")

    def finish(
        self,
        state: str,
        workers: Iterable[Mapping[str, Any]],
        warnings: Iterable[str],
        aborted: Mapping[str, Any] | None = None,
        breakpoint: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the statistics a last time and say how the run ended. What cannot be written is logged.

        `aborted`: the fields of `abort.Abort` where a threshold ended the run, of `guard.LimitReached` where a limit
        did; and `at` (epoch seconds).
        `breakpoint`: `Breakpoint.result` of a run that searched for one.
        """
        warnings, workers = list(warnings), list(workers)
        try:
            self._statistics.finish()
        except OSError as failure:
            warnings.append(f"Locust's statistics are not complete: {failure.strerror}")
        for warning in warnings:
            logger.warning(warning)
        try:
            self.directory.update_manifest(
                ended_at=time.time(),
                state=state,
                aborted=aborted,
                breakpoint=breakpoint,
                workers=workers,
                hosts=sorted({worker["host"] for worker in workers} | {socket.gethostname()}),
                warnings=warnings,
            )
        except OSError as failure:
            logger.error(f"Cannot write {self.directory.manifest_file}: {failure.strerror}")
        rows = sum(worker["rows"] for worker in workers)
        logger.info(f"Run {state}: {rows} request rows in {self.directory.path}")

    def replace_csv(self, prefix: str) -> None:
        """Put complete files in place of those that `--csv` asked for."""
        try:
            self._statistics.replace(Path(prefix))
        except OSError as failure:
            logger.error(f"{prefix}_stats.csv and its like may lack their last seconds: {failure.strerror}")


def _log_groups(chosen: Chosen) -> dict[str, str]:
    """Logical name -> log group, as far as it is known without asking AWS."""
    if chosen.settings.log_groups:
        return {group: group for group in chosen.settings.log_groups}
    return {logical: f"/aws/lambda/{function_name(function)}" for logical, function in chosen.functions.items()}
