"""A version and an alias of a function for each arm of the experiment, and taking all of it back.

The arms must not share environments, so each has a version of its own: the same code and configuration with another
description, without which Lambda would publish nothing new. $LATEST has that description for the moment of a publish.
"""

from __future__ import annotations

from collections.abc import Sequence

from botocore.exceptions import ClientError

from control.temporary_versions.errors import VersionsError
from control.temporary_versions.journal import Journal
from control.temporary_versions.versions import FunctionVersions
from runstore.rundir import PROVISIONED

READY_TIMEOUT_S = 900.0
"""AWS names no limit; most allocations take a minute or two."""


class ArmVersions(FunctionVersions):
    """The control plane of the function under test."""

    command = PROVISIONED

    def publish_arms(self, arms: Sequence[str], journal: Journal) -> dict[str, tuple[str, str]]:
        """Arm -> (alias, version), and $LATEST as it was. Raises botocore's errors and VersionsError."""
        run_id, before = journal.found.run_id, self.configuration().get("Description", "")
        made = {}
        for arm in arms:
            description = f"swarmscope provisioned {run_id} {arm}"
            journal.about_to("describe", description=description, before=before)
            self._describe(description)
            journal.about_to("publish", description=description)
            published = self._client.publish_version(
                FunctionName=self.name, Description=description, CodeSha256=journal.found.code_sha256
            )
            version, alias = str(published["Version"]), self.alias_name(journal, arm)
            if version in journal.found.versions:
                raise VersionsError(
                    f"{self.name}: Lambda published no new version; somebody else changes it; try again"
                )
            journal.about_to("create_alias", name=alias)
            self._client.create_alias(FunctionName=self.name, Name=alias, FunctionVersion=version)
            made[arm] = alias, version
        self._describe(before)
        for alias, _ in made.values():
            self.configuration(alias)
        return made

    def provision(self, alias: str, environments: int, journal: Journal) -> float:
        """Provision environments of an alias and wait until all are there; -> the seconds that it took.

        Raises botocore's errors, VersionsError where Lambda gives up.
        """
        asked_at = self._clock()
        journal.about_to("provision", alias=alias)
        self._client.put_provisioned_concurrency_config(
            FunctionName=self.name, Qualifier=alias, ProvisionedConcurrentExecutions=environments
        )
        while True:
            found = self._client.get_provisioned_concurrency_config(FunctionName=self.name, Qualifier=alias)
            if found["Status"] == "READY":
                return self._clock() - asked_at
            if found["Status"] == "FAILED":
                reason = found.get("StatusReason") or "Lambda does not say why"
                raise VersionsError(f"{self.name}: provisioned concurrency failed: {reason}")
            if self._clock() - asked_at > READY_TIMEOUT_S:
                there = found.get("AllocatedProvisionedConcurrentExecutions", 0)
                raise VersionsError(
                    f"{self.name}: {there} of {environments} environments are provisioned after "
                    f"{READY_TIMEOUT_S:.0f} s; ask for fewer with CONCURRENCY"
                )
            self._sleep(self._poll_s)

    def unprovision(self, alias: str) -> None:
        """Give them back; nothing where there are none."""
        try:
            self._client.delete_provisioned_concurrency_config(FunctionName=self.name, Qualifier=alias)
        except ClientError as error:
            if error.response["Error"]["Code"] not in (
                "ProvisionedConcurrencyConfigNotFoundException",
                "ResourceNotFoundException",
            ):
                raise

    def take_back(self, journal: Journal) -> list[str]:
        """Whatever the run changed; -> what was done, in words. May be repeated.

        What costs money goes first. Raises botocore's errors; what was not reached then is still in the journal.
        """
        done = []
        for alias in dict.fromkeys(journal.noted("provision", "alias")):
            self.unprovision(alias)
            done.append(f"provisioned concurrency of {alias} deleted")
        done += self._restore_description(journal)
        return done + self._delete_own(journal)

    def _restore_description(self, journal: Journal) -> list[str]:
        given = set(journal.noted("describe", "description"))
        if not given or self.configuration().get("Description", "") not in given:
            return []
        self._describe(journal.noted("describe", "before")[0])
        return ["$LATEST has its description again"]

    def _describe(self, description: str) -> None:
        now = self.configuration()
        if now.get("Description", "") == description:
            return
        revision = self._revision(now)
        self._client.update_function_configuration(FunctionName=self.name, Description=description, **revision)
        self.configuration()
