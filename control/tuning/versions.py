"""A version and an alias of a function for each memory value, and taking all of it back.

A version is a copy of $LATEST, so $LATEST has each memory for the moment of a publish; it has its own again before the
first invocation. Every change is in the journal before it is made, and taking back goes by that and by what is there:
it may be done twice, by somebody else, and after any interruption.

What is compared before it is taken back: $LATEST gets its memory back only where it still has one that the run gave it,
a version goes only where its description is the run's and no alias of anybody else refers to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from control.tuning.errors import TuningError
from control.tuning.journal import Journal

UPDATE_TIMEOUT_S = 300.0
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


def names_prefix(run_id: str) -> str:
    """What the names of a run's aliases begin with."""
    return f"tune-{run_id}-"


class FunctionVersions:
    """The control plane of one function."""

    def __init__(
        self,
        client: Any,
        function: str,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        poll_s: float,
    ) -> None:
        """`client`: boto3's for Lambda; `function`: name or ARN without a qualifier, `name` from now on."""
        self._client = client
        self.name = function
        self._clock, self._sleep, self._poll_s = clock, sleep, poll_s

    def configuration(self, qualifier: str | None = None) -> dict[str, Any]:
        """GetFunctionConfiguration, of $LATEST or a version or alias, once no update is under way.

        Raises botocore's ClientError, TuningError where an update failed or does not end.
        """
        which = {} if qualifier is None else {"Qualifier": qualifier}
        deadline = self._clock() + UPDATE_TIMEOUT_S
        while True:
            found: dict[str, Any] = self._client.get_function_configuration(FunctionName=self.name, **which)
            # Emulators may leave both out.
            status, state = found.get("LastUpdateStatus", "Successful"), found.get("State", "Active")
            if status == "Failed" or state == "Failed":
                reason = found.get("LastUpdateStatusReason") or found.get("StateReason") or "Lambda does not say why"
                raise TuningError(f"{self.name}: its last update failed: {reason}")
            if status != "InProgress" and state != "Pending":
                return found
            if self._clock() > deadline:
                raise TuningError(f"{self.name}: still being updated after {UPDATE_TIMEOUT_S:.0f} s")
            self._sleep(self._poll_s)

    def published(self) -> dict[str, dict[str, Any]]:
        """Version -> its configuration, without $LATEST."""
        pages = self._client.get_paginator("list_versions_by_function").paginate(FunctionName=self.name)
        found = {entry["Version"]: entry for page in pages for entry in page["Versions"]}
        found.pop("$LATEST", None)
        return found

    def aliases(self) -> list[dict[str, Any]]:
        pages = self._client.get_paginator("list_aliases").paginate(FunctionName=self.name)
        return [alias for page in pages for alias in page["Aliases"]]

    def alias(self, name: str) -> dict[str, Any] | None:
        """None where there is none of that name."""
        try:
            found: dict[str, Any] = self._client.get_alias(FunctionName=self.name, Name=name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
        return found

    # ---------------------------------------------------------------- making

    def publish(self, memory_mb: Sequence[int], journal: Journal) -> list[TunedVersion]:
        """A version and an alias for each value, and $LATEST as it was. Raises botocore's errors and TuningError."""
        run_id, found = journal.found.run_id, journal.found
        made = []
        # The memory that $LATEST has comes last: then it has it again.
        for value in sorted(memory_mb, key=lambda value: (value == found.memory_mb, value)):
            self._set_memory(value, journal)
            version = self._publish(value, journal)
            name = f"{names_prefix(run_id)}{value}"
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
        # A third-party emulator may have no revisions.
        revision = {"RevisionId": now["RevisionId"]} if now.get("RevisionId") else {}
        self._client.update_function_configuration(FunctionName=self.name, MemorySize=memory_mb, **revision)
        if self.configuration()["MemorySize"] != memory_mb:
            raise TuningError(f"{self.name}: somebody else changes its memory at this moment; try again")

    def _publish(self, memory_mb: int, journal: Journal) -> str:
        description = f"swarmscope tune {journal.found.run_id} {memory_mb} MB"
        journal.about_to("publish", description=description)
        published = self._client.publish_version(
            FunctionName=self.name, Description=description, CodeSha256=journal.found.code_sha256
        )
        if published["MemorySize"] != memory_mb:
            raise TuningError(
                f"{self.name}: version {published['Version']} has {published['MemorySize']} MB and not "
                f"{memory_mb}: somebody else changes the function at this moment; try again"
            )
        return str(published["Version"])

    # ---------------------------------------------------------------- taking back

    def take_back(self, journal: Journal) -> list[str]:
        """Whatever the run changed and was not asked to keep; -> what was done, in words. May be repeated.

        Raises botocore's errors and TuningError; what was not reached then is still in the journal.
        """
        return self._restore_memory(journal) + self._delete_own(journal, names_prefix(journal.found.run_id))

    def _delete_own(self, journal: Journal, prefix: str) -> list[str]:
        """Delete the aliases whose names begin so, then the versions of the run; close the journal."""
        done = []
        for alias in self.aliases():
            if alias["Name"].startswith(prefix):
                self._client.delete_alias(FunctionName=self.name, Name=alias["Name"])
                done.append(f"alias {alias['Name']} deleted")
        ours = set(journal.noted("publish", "description"))
        kept = {version for alias in self.aliases() for version in _versions_of(alias)}
        for version, configuration in self.published().items():
            is_ours = configuration.get("Description") in ours and version not in journal.found.versions
            if is_ours and version not in kept:
                self._client.delete_function(FunctionName=self.name, Qualifier=version)
                done.append(f"version {version} ({configuration['MemorySize']} MB) deleted")
        journal.close()
        return done

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
        revision = {"RevisionId": alias["RevisionId"]} if alias.get("RevisionId") else {}
        self._client.update_alias(FunctionName=self.name, Name=alias["Name"], FunctionVersion=version, **revision)


def differences_but_memory(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of the settings, other than memory, in which two configurations differ."""
    return [name for name in SAME_BUT_MEMORY if (one.get(name) or None) != (other.get(name) or None)]


def _versions_of(alias: dict[str, Any]) -> set[str]:
    weighted = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return {alias["FunctionVersion"], *weighted}
