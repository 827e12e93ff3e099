"""What the JSON files of a run say, beside its tables: read once, before anything is computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.run_files import read_json, read_pull
from runstore.rundir import RunDir

Items = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RunFacts:
    """Empty is what there is no file of."""

    manifest: Mapping[str, Any]
    pulled: Mapping[str, Any]
    """`pull.json`; empty where the logs were not fetched."""
    metrics: Mapping[str, Any]
    deployment: Mapping[str, Any]
    tables_before: Mapping[str, Items] = field(default_factory=dict)
    """Logical table -> what stood in it when the run began (`analysis.table_snapshot`)."""
    tables_after: Mapping[str, Items] = field(default_factory=dict)

    @property
    def profile(self) -> Mapping[str, Any]:
        """As the manifest has it."""
        return self.manifest.get("profile") or {}


def has_functions(manifest: Mapping[str, Any]) -> bool:
    """Whether functions are known whose logs can be fetched."""
    return bool(manifest.get("functions") or manifest.get("log_groups"))


def read_facts(run: RunDir) -> RunFacts:
    """Raises DataFormatError where one of the files is not what its name says."""
    return RunFacts(
        manifest=read_json(run, "manifest.json"),
        pulled=read_pull(run),
        metrics=read_json(run, "metrics.json"),
        deployment=read_json(run, "deployment.json"),
        tables_before=read_json(run, "tables_before.json").get("tables") or {},
        tables_after=read_json(run, "tables_after.json").get("tables") or {},
    )
