"""A version and an alias of a function for each memory value, and taking all of it back.

A version is a copy of $LATEST, so $LATEST has each memory for the moment of a publish; it has its own again before the
first invocation, and gets it back only where it still has one that the run gave it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from control.temporary_versions.errors import VersionsError
from control.temporary_versions.journal import Journal
from control.temporary_versions.versions import FunctionVersions
from runstore.rundir import TUNING

SAME_BUT_MEMORY = (
    "CodeSha256", "Runtime", "Handler", "Role", "Timeout", "Environment", "Layers", "VpcConfig", "Architectures",
    "EphemeralStorage", "PackageType", "TracingConfig", "DeadLetterConfig", "FileSystemConfigs", "KMSKeyArn",
    "ImageConfigResponse",
)  # fmt: skip
"""Of a configuration: what must be the same in two versions for their memory alone to tell them apart."""


@dataclass(frozen=True)
class TunedVersion:
    """The version that stands for a memory value."""

    memory_mb: int
    version: str
    """One that was there before where nothing had changed since: Lambda makes no second one then."""
    alias: str


class TunedVersions(FunctionVersions):
    """The control plane of the function that is tuned."""

    command = TUNING

    # ---------------------------------------------------------------- making

    def publish(self, memory_mb: Sequence[int], journal: Journal) -> list[TunedVersion]:
        """A version and an alias for each value, and $LATEST as it was. Raises botocore's errors and VersionsError."""
        found = journal.found
        made = []
        # The memory that $LATEST has comes last: then it has it again.
        for value in sorted(memory_mb, key=lambda value: (value == found.memory_mb, value)):
            self._set_memory(value, journal)
            version = self._publish(value, journal)
            name = self.alias_name(journal, str(value))
            journal.about_to("create_alias", name=name)
            self._client.create_alias(FunctionName=self.name, Name=name, FunctionVersion=version)
            made.append(TunedVersion(value, version, name))
        self._set_memory(found.memory_mb, journal)
        for one in made:
            self.configuration(one.alias)
        return sorted(made, key=lambda one: one.memory_mb)

    def _set_memory(self, memory_mb: int, journal: Journal) -> None:
        """Where $LATEST has another. What somebody else changed in between is found by its revision."""
        now = self.configuration()
        if now["MemorySize"] == memory_mb:
            return
        journal.about_to("set_memory", memory_mb=memory_mb)
        self._change_memory(memory_mb, now)

    def _change_memory(self, memory_mb: int, now: dict[str, Any]) -> None:
        revision = self._revision(now)
        self._client.update_function_configuration(FunctionName=self.name, MemorySize=memory_mb, **revision)
        if self.configuration()["MemorySize"] != memory_mb:
            raise VersionsError(f"{self.name}: somebody else changes its memory at this moment; try again")

    def _publish(self, memory_mb: int, journal: Journal) -> str:
        description = f"swarmscope tune {journal.found.run_id} {memory_mb} MB"
        journal.about_to("publish", description=description)
        published = self._client.publish_version(
            FunctionName=self.name, Description=description, CodeSha256=journal.found.code_sha256
        )
        if published["MemorySize"] != memory_mb:
            raise VersionsError(
                f"{self.name}: version {published['Version']} has {published['MemorySize']} MB and not "
                f"{memory_mb}: somebody else changes the function at this moment; try again"
            )
        return str(published["Version"])

    # ---------------------------------------------------------------- taking back

    def take_back(self, journal: Journal) -> list[str]:
        return self._restore_memory(journal) + self._delete_own(journal)

    def _restore_memory(self, journal: Journal) -> list[str]:
        given = set(journal.noted("set_memory", "memory_mb"))
        if not given or journal.noted("apply", "memory_mb"):
            return []
        now, before = self.configuration(), journal.found.memory_mb
        if now["MemorySize"] == before:
            return []
        if now["MemorySize"] not in given:
            return [f"$LATEST has {now['MemorySize']} MB, which this run did not set: left as it is"]
        self._change_memory(before, now)
        return [f"$LATEST has {before} MB again"]

    # ---------------------------------------------------------------- keeping

    def apply(self, memory_mb: int, journal: Journal) -> None:
        """Give $LATEST this memory, for good."""
        now = self.configuration()
        if now["MemorySize"] != memory_mb:
            journal.about_to("apply", memory_mb=memory_mb)
            self._change_memory(memory_mb, now)

    def promote(self, alias: dict[str, Any], version: str, journal: Journal) -> None:
        """Let an alias, as it was read, point to a version. Raises ClientError where it has changed since."""
        journal.about_to("promote", alias=alias["Name"], version=version)
        revision = self._revision(alias)
        self._client.update_alias(FunctionName=self.name, Name=alias["Name"], FunctionVersion=version, **revision)


def differences_but_memory(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of the settings, other than memory, in which two configurations differ."""
    return [name for name in SAME_BUT_MEMORY if (one.get(name) or None) != (other.get(name) or None)]
