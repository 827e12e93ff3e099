"""Secrets that expire, and are renewed before they do.

One greenlet per secret and process asks for the next one, at a time of its own choosing well ahead of the end, while
requests go on with the one there is: reading it costs an attribute. Only the very first has to be waited for.

Where nothing new comes, the old one is used to its end and beyond: then the target refuses the requests, which is what
their rows say. The log says it once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Generic, Protocol, TypeVar

import gevent
from gevent.lock import BoundedSemaphore

logger = logging.getLogger(__name__)

MARGIN_S = 600.0
"""A secret is renewed between one and two of these before its end, or of a third of its life where that is less."""
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 60.0
"""Waits between attempts that fail: each twice as long as the one before, up to the most."""
_LOOK_EVERY_S = 60.0
"""A long wait is made of short ones: a machine that slept, or whose clock was set, notices."""

Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)


class RenewalError(Exception):
    """No secret came. The text says why, and holds none."""


class Secret(Protocol[Value_co]):
    """What requests read."""

    @property
    def value(self) -> Value_co: ...


@dataclass(frozen=True)
class Lease(Generic[Value]):
    """A secret as it was handed out."""

    value: Value = field(repr=False)
    expires_at: float | None = None
    """Epoch seconds; None where nothing says that it ever will."""


class Renewal(Generic[Value]):
    """One secret of one process."""

    def __init__(
        self,
        name: str,
        fetch: Callable[[], Lease[Value]],
        source: Random,
        *,
        unknown_life_s: float | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = gevent.sleep,
    ) -> None:
        """`fetch` asks for the secret, anew each time, and raises RenewalError.

        `name` stands in what is logged. `source` spreads the renewals of many processes; it must not be the same in
        all of them. A secret of which nothing says how long it lasts is renewed after half of `unknown_life_s`, or
        never where that is None. `clock`: epoch seconds.
        """
        self.name = name
        self._fetch = fetch
        self._random = source.random
        self._unknown_life_s = unknown_life_s
        self._clock = clock
        self._sleep = sleep
        self._lease: Lease[Value] | None = None
        self._first_failure = ""
        self._fetching_first = BoundedSemaphore(1)
        self._keeping: gevent.Greenlet | None = None
        self._failures = 0
        self._last_failure = ""
        self._expired = False

    @property
    def value(self) -> Value:
        """The secret. Raises RenewalError where there never was one; it is asked for once, whoever asks first."""
        lease = self._lease
        return (self._first() if lease is None else lease).value

    def close(self) -> None:
        """Renew no more."""
        if self._keeping is not None:
            self._keeping.kill(block=False)

    @property
    def failure(self) -> str | None:
        """Why it never came; None where it did, or nobody has asked."""
        return f"{self.name}: {self._first_failure}" if self._first_failure else None

    def complaints(self) -> list[str]:
        """What the record of a run should say: that it never came, or how often renewals failed, and why."""
        if self.failure is not None:
            return [self.failure]
        if not self._failures:
            return []
        outcome = "; it had expired meanwhile" if self._expired else ""
        return [f"{self.name}: {self._failures} attempts to renew it failed ({self._last_failure}){outcome}"]

    def _first(self) -> Lease[Value]:
        with self._fetching_first:
            if self._lease is None:
                if self._first_failure:
                    raise RenewalError(self._first_failure)
                try:
                    self._lease = self._fetch_lasting()
                except RenewalError as failure:
                    self._first_failure = str(failure)
                    raise
                self._keeping = gevent.spawn(self._keep)
            return self._lease

    def _fetch_lasting(self) -> Lease[Value]:
        try:
            lease = self._fetch()
        except RenewalError:
            raise
        except Exception as mistake:  # noqa: BLE001 -- whoever hands the secret out made it; renewals go on
            # What it says may be anything.
            raise RenewalError(f"{type(mistake).__name__} on the way to it") from None
        if lease.expires_at is not None and lease.expires_at <= self._clock():
            raise RenewalError(f"what there is expired at {_utc(lease.expires_at)}")
        return lease

    def _keep(self) -> None:
        while (due := self._due()) is not None:
            while (left_s := due - self._clock()) > 0:
                self._sleep(min(left_s, _LOOK_EVERY_S))
            self._renew()

    def _due(self) -> float | None:
        """When to renew; None: never."""
        assert self._lease is not None
        now, expires_at = self._clock(), self._lease.expires_at
        if expires_at is None:
            if self._unknown_life_s is None:
                return None
            expires_at = now + self._unknown_life_s
        margin_s = min(MARGIN_S, (expires_at - now) / 3)
        # Some hand out the same secret until shortly before its end: not more often than every second.
        return max(now + 1.0, expires_at - margin_s * (1.0 + self._random()))

    def _renew(self) -> None:
        """Ask until something comes."""
        wait_s = RETRY_FIRST_S
        failed = expired = False
        while True:
            try:
                self._lease = self._fetch_lasting()
            except RenewalError as failure:
                self._failures += 1
                self._last_failure = str(failure)
                if not expired:
                    expired = self._say(failure, first=not failed)
                failed = True
            else:
                break
            self._sleep(wait_s * (0.5 + self._random() / 2))
            wait_s = min(2 * wait_s, RETRY_MOST_S)
        if failed:
            logger.info(f"{self.name}: renewed after all")

    def _say(self, failure: RenewalError, *, first: bool) -> bool:
        """Log the first failure of several, and the end of what there was; returns whether it has come."""
        assert self._lease is not None
        expires_at = self._lease.expires_at
        if expires_at is not None and expires_at <= self._clock():
            self._expired = True
            logger.error(
                f"{self.name}: expired at {_utc(expires_at)} and not renewed ({failure}): requests go on with it"
            )
            return True
        if first:
            until = "" if expires_at is None else f", which lasts until {_utc(expires_at)}"
            logger.warning(f"{self.name}: not renewed ({failure}); requests go on with the old one{until}")
        return False


def _utc(at: float) -> str:
    """`2026-11-21 14:05:10 UTC`."""
    with suppress(ValueError, OverflowError, OSError):
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    return "a time that no calendar has"
