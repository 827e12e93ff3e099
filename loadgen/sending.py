"""What the users of one process share while a run goes: the run's plan, its rows, its ids, its random numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from random import Random
from weakref import WeakKeyDictionary

from botocore.credentials import Credentials
from locust.env import Environment

from config.settings import Settings
from loadgen.identity import IdentitySource
from loadgen.open_model import OpenModel
from loadgen.plan import RunPlan
from loadgen.recording import RequestLog
from loadgen.signing import Signer, find_credentials
from loadgen.transport import ConnectionCounts


class Sending:
    """One run, as the users of one process see it."""

    def __init__(
        self, plan: RunPlan, settings: Settings, worker: int, log: RequestLog, on_all_sent: Callable[[], None]
    ) -> None:
        """`settings` are this machine's: they hold the secrets, which are not in the plan.

        `on_all_sent` is called once when all messages of a profile that counts them have been answered.
        """
        self.plan = plan
        self.settings = settings
        self.log = log
        self.random = Random(f"{plan.seed}-{worker}")
        self.identities = IdentitySource(Random(), plan.sampled_share)
        self.connections = ConnectionCounts()
        self._unsent = plan.profile.messages
        self._unanswered = plan.profile.messages
        self._on_all_sent = on_all_sent
        self.open_model: OpenModel | None = None
        """None in the closed model."""

    @cached_property
    def _credentials(self) -> Credentials:
        return find_credentials(self.plan.target, self.settings.profile)

    def signer(self, service: str) -> Signer:
        """What signs requests to a service; all share one set of credentials. Raises CredentialsNotFoundError."""
        return Signer(service, self.plan.region, self._credentials)

    def may_send(self) -> bool:
        """Take one message from those still to be sent; False where none is left."""
        if self._unsent is None:
            return True
        if self._unsent == 0:
            return False
        self._unsent -= 1
        return True

    def answered(self) -> None:
        """A request has ended, whichever way."""
        if self._unanswered is not None:
            self._unanswered -= 1
            if self._unanswered == 0:
                self._on_all_sent()


_SENDING: WeakKeyDictionary[Environment, Sending] = WeakKeyDictionary()


def set_sending(environment: Environment, sending: Sending) -> None:
    _SENDING[environment] = sending


def sending_of(environment: Environment) -> Sending:
    """The run that users of `environment` send for.

    Raises RuntimeError where there is none: the locustfile did not call `loadgen.listeners.register`.
    """
    try:
        return _SENDING[environment]
    except KeyError:
        raise RuntimeError("no run is recorded: a locustfile calls loadgen.listeners.register(locust.events)") from None
