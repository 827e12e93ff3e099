"""A function's versions and aliases, as any experiment on it reads and deletes them.

What an experiment makes is copies of $LATEST, each changed in one thing; how it changes $LATEST for the moment of each
publish, and gives it back, is its own (`control.tuning.versions`, `control.provisioned.versions`). Taking back goes by
the journal and by what is there: it may be done twice, by somebody else, and after any interruption. A version goes
only where its description is the run's and no alias of anybody else refers to it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

from botocore.exceptions import ClientError

from config.settings import Settings
from control.temporary_versions.errors import VersionsError
from control.temporary_versions.journal import Journal

UPDATE_TIMEOUT_S = 300.0


class FunctionVersions(ABC):
    """The control plane of one function."""

    command: ClassVar[str]
    """Whose experiment it is: a command's name, and that of the directory below RUNS_DIR with its journals."""

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

    @classmethod
    def of(cls, settings: Settings, client: Any, function: str) -> Self:
        """In real time; of what is no AWS, an update takes moments."""
        poll_s = 1.0 if settings.target == "aws" else 0.05
        return cls(client, function, clock=time.monotonic, sleep=time.sleep, poll_s=poll_s)

    def configuration(self, qualifier: str | None = None) -> dict[str, Any]:
        """GetFunctionConfiguration, of $LATEST or a version or alias, once no update is under way.

        Raises botocore's ClientError, VersionsError where an update failed or does not end.
        """
        which = {} if qualifier is None else {"Qualifier": qualifier}
        deadline = self._clock() + UPDATE_TIMEOUT_S
        while True:
            found: dict[str, Any] = self._client.get_function_configuration(FunctionName=self.name, **which)
            # Emulators may leave both out.
            status, state = found.get("LastUpdateStatus", "Successful"), found.get("State", "Active")
            if status == "Failed" or state == "Failed":
                reason = found.get("LastUpdateStatusReason") or found.get("StateReason") or "Lambda does not say why"
                raise VersionsError(f"{self.name}: its last update failed: {reason}")
            if status != "InProgress" and state != "Pending":
                return found
            if self._clock() > deadline:
                raise VersionsError(f"{self.name}: still being updated after {UPDATE_TIMEOUT_S:.0f} s")
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

    @abstractmethod
    def take_back(self, journal: Journal) -> list[str]:
        """Whatever the run changed and was not asked to keep; -> what was done, in words. May be repeated.

        Raises botocore's errors and VersionsError; what was not reached then is still in the journal.
        """

    def alias_name(self, journal: Journal, what: str) -> str:
        """The name of a run's alias for `what`: new in each run."""
        return f"{self.command}-{journal.found.run_id}-{what}"

    def _revision(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """What has Lambda refuse a change of something that somebody else has changed since it was read. Third-party
        emulators may have no revisions."""
        return {"RevisionId": configuration["RevisionId"]} if configuration.get("RevisionId") else {}

    def _delete_own(self, journal: Journal) -> list[str]:
        """Delete the aliases of the run, then its versions; close the journal."""
        done = []
        prefix = self.alias_name(journal, "")
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


def _versions_of(alias: dict[str, Any]) -> set[str]:
    weighted = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return {alias["FunctionVersion"], *weighted}
