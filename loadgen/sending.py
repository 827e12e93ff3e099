"""What the users of one process share while a run goes: the run's plan, its rows, its ids, its random numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any
from weakref import WeakKeyDictionary

from locust.env import Environment
from locust.exception import StopTest

from config.settings import Settings
from loadgen.api_access import Authorize, bearer_token, by_signature, by_token
from loadgen.bearer import UNKNOWN_LIFE_S
from loadgen.credentials import find_credentials
from loadgen.custom_flow import CustomRequests
from loadgen.identity import IdentitySource
from loadgen.lulls import Lulls
from loadgen.open_model import OpenModel
from loadgen.plan import RunPlan
from loadgen.proxies import proxy_for
from loadgen.recording import RequestLog
from loadgen.renewal import Renewal, RenewalError
from loadgen.request_events import RequestEvents
from loadgen.server_clock import ServerClock
from loadgen.signing import Signer
from loadgen.transport import Connection, ConnectionCounts, Endpoint


class Sending:
    """One run, as the users of one process see it."""

    def __init__(
        self,
        plan: RunPlan,
        settings: Settings,
        worker: int,
        log: RequestLog,
        request_events: RequestEvents,
        on_all_sent: Callable[[], None] = lambda: None,
    ) -> None:
        """`settings` are this machine's: they hold the secrets, which are not in the plan.

        `on_all_sent` is called once when all messages of a profile that counts them have been answered. Such a
        profile is never a worker's.
        """
        self.plan = plan
        self.settings = settings
        self.log = log
        self.random = Random(f"{plan.seed}-{worker}")
        self.identities = IdentitySource(Random(), plan.sampled_share)
        self.connections = ConnectionCounts()
        self.request_events = request_events
        self.server_clock = ServerClock()
        self.lulls = Lulls()
        self._unsent = plan.profile.messages
        self._unanswered = plan.profile.messages
        self._on_all_sent = on_all_sent
        self._refused: str | None = None
        # A worker's own target may be none: it is the master's that counts.
        self._settings_of_run = settings.model_copy(update={"target": plan.target})
        self.open_model: OpenModel | None = None
        """None in the closed model."""
        self.custom: CustomRequests | None = None
        """None in a run without flow `custom`."""
        # Renewed at times of their own, in each process: not drawn from the run's seed.
        self._credentials = Renewal(
            "AWS credentials", partial(find_credentials, plan.target, settings.profile), Random()
        )
        self._token = Renewal("Bearer token", partial(bearer_token, settings), Random(), unknown_life_s=UNKNOWN_LIFE_S)

    def connection(self, endpoint: Endpoint) -> Connection:
        """A connection of this run, through a proxy where the environment names one.

        Raises ConfigError; StopTest for a host that this machine's own ALLOWED_HOSTS do not name, or that is not on the
        loopback with the sandbox as the target: a locustfile may give its users any host, a master its workers.
        """
        limited = self.settings.allowed_hosts is not None or self.plan.target == "sandbox"
        if limited and not self._settings_of_run.host_allowed(endpoint.host):
            self._refused = f"ALLOWED_HOSTS: load to {endpoint.host} is not allowed with TARGET={self.plan.target}"
            raise StopTest(self._refused)
        return Connection(endpoint, counts=self.connections, proxy=proxy_for(endpoint, os.environ))

    def signer(self, service: str) -> Signer:
        """What signs requests to a service; all share one set of credentials.

        Raises StopTest where there are none; the first to ask waits for them.
        """
        _require(self._credentials)
        return Signer(service, self.plan.region, self._credentials)

    def authorize(self, endpoint: Endpoint) -> Authorize | None:
        """What API_AUTH adds to requests to an API; None where that is nothing. Raises StopTest as `signer` does."""
        if self.settings.api_auth == "iam":
            _require(self._credentials)
            return by_signature(endpoint, self.plan.region, self._credentials)
        if self.settings.api_auth == "bearer":
            _require(self._token)
            return by_token(self._token)
        return None

    def flush(self) -> None:
        """Hand on what is known of the requests that have ended since the last time."""
        self.log.flush()
        self.request_events.flush()

    def flush_in_lulls(self) -> None:
        """As `flush`, in pieces that hold up no arrival."""
        self.lulls.wait()
        self.log.flush()
        self.lulls.wait()
        self.request_events.flush()

    def close(self) -> None:
        """No request follows."""
        for renewal in (self._credentials, self._token):
            renewal.close()

    @property
    def failure(self) -> str | None:
        """Why users of this process could not send: a secret that never came, a host that is not allowed. None where
        they could."""
        return self._refused or self._credentials.failure or self._token.failure

    def complaints(self) -> list[str]:
        """What the manifest's warnings should say of this process."""
        return self._credentials.complaints() + self._token.complaints()

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


def _require(secret: Renewal[Any]) -> None:
    """Raises StopTest: without it every request of every user would fail."""
    try:
        _ = secret.value
    except RenewalError as missing:
        raise StopTest(f"{secret.name}: {missing}") from None


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
