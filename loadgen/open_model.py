"""The open model in one process: requests start when they are due, whether earlier ones have been answered or not.

Locust's users are tokens. Each stands for a share of the arrival rate, in this process and for its class; it sends
nothing itself, so that Locust's shapes, the web UI's number of users and the spreading over workers set the rate, and
stopping a token ends no request. One greenlet issues the arrivals. Each takes an idle performer (a user of the same
class that is none of Locust's, with a connection of its own) or makes a new one, and runs one task. Beyond
`max_in_flight` open requests an arrival is dropped: it becomes a row, and is never sent later. So does one that was due
before its process was ready; processes begin together (`loadgen.starting_line`).
"""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections import Counter, defaultdict
from contextlib import suppress
from itertools import accumulate
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING

import gevent
from gevent import GreenletExit
from gevent.event import Event
from gevent.pool import Group
from locust.env import Environment
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser
from locust.user.task import DefaultTaskSet

from config.load_curve import TOKENS, RateRamp, rate_ramps
from config.profiles import POISSON, Profile
from loadgen.alarm import new_alarm
from loadgen.arrivals import ArrivalClock, RateCurve, even_clock, poisson_clock
from loadgen.lulls import Lulls
from loadgen.plan import RunPlan
from loadgen.recording import RequestLog

if TYPE_CHECKING:
    from loadgen.users import RecordedUser

logger = logging.getLogger(__name__)

EARLY_S = 200e-6
"""A request is begun so much before it is due, made, and then held back for the rest: to wake takes the kernel and
gevent some 50 us, to make a request 90 more, and neither is the same twice."""
IN_TIME_S = 0.25
"""A process whose tokens come so much after the start of the arrivals, or less, begins with the first arrival: those
that were due could only be sent in one lump."""
FIRST_TOKENS_S = 2.0
"""Tokens that come within so much of a process's start are those that were planned for it; later ones were others'."""
TOGETHER_S = 0.01
"""Tokens that come within so much of one another have come together."""

_TASK_ENDED = (StopUser, StopTest, InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately)


class OpenModel:
    """Arrivals and requests of one process in one run."""

    def __init__(
        self, environment: Environment, plan: RunPlan, process: int, log: RequestLog, source: Random, lulls: Lulls
    ) -> None:
        """`process`: its index among the workers; `source` chooses among classes and makes Poisson gaps."""
        profile = plan.profile
        assert profile.max_in_flight is not None
        self._environment = environment
        self._log = log
        self._random = source
        self._lulls = lulls
        self._max_in_flight = profile.max_in_flight
        self._clock = _clock(profile, process, source)
        self._alarm = new_alarm()
        self._tokens: Counter[type[RecordedUser]] = Counter()
        self._tokens_changed = False
        self._classes: list[type[RecordedUser]] = []
        self._shares: list[int] = []
        self._idle: dict[type[RecordedUser], list[RecordedUser]] = defaultdict(list)
        self._in_flight = Group()
        self._given_up = False
        self._made_at = perf_counter()
        self._zero: float | None = None
        """When the arrivals of the run began (perf_counter); None: with the first token here."""
        self._joined = False
        self._begun = Event()
        self._pacing = gevent.spawn(self._issue)

    def begin(self, elapsed_s: float | None = None, *, joined: bool = False) -> None:
        """The arrivals of the run, over all processes, began so long ago; None: there is no other process.

        `joined`: until now those of this process were others'. Said again it changes nothing.
        """
        if self.begun:
            return
        self._zero = None if elapsed_s is None else perf_counter() - elapsed_s
        self._joined = joined
        self._begun.set()

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    def hold_token(self, user_class: type[RecordedUser]) -> None:
        """Count a user of Locust's among the tokens until its greenlet is killed."""
        self._change(user_class, 1)
        try:
            Event().wait()
        finally:
            self._change(user_class, -1)

    def drain(self, timeout_s: float) -> None:
        """No more arrivals; open requests may finish until the time-out and are then given up."""
        self._pacing.kill()
        self._in_flight.join(timeout_s)
        self._in_flight.kill()
        for performers in self._idle.values():
            for performer in performers:
                performer.on_stop()
        self._idle.clear()

    def hurry(self) -> None:
        """Give open requests up, and send no more."""
        # Only marked: a kill would come after an arrival that is due in this turn of the loop.
        self._given_up = True
        self._in_flight.kill(block=False)

    def _change(self, user_class: type[RecordedUser], by: int) -> None:
        self._tokens[user_class] += by
        self._tokens_changed = True
        self._alarm.ring()

    def _issue(self) -> None:
        """Start each request when it is due, until killed."""
        clock, alarm, lulls = self._clock, self._alarm, self._lulls
        try:
            self._await_tokens()
            planned = not self._joined and perf_counter() - self._made_at <= FIRST_TOKENS_S
            self._begun.wait()
            now = 0.0 if self._zero is None else perf_counter() - self._zero
            if now <= IN_TIME_S:
                now = 0.0
            begun = perf_counter() - now
            if planned and now:
                self._drop_missed(begun, now)
            last_at = begun
            while not self._given_up:
                while (due := clock.due()) is not None and due <= now + EARLY_S and not self._given_up:
                    clock.take()
                    last_at = begun + due
                    self._arrive(last_at)
                if self._tokens_changed:
                    self._tokens_changed = False
                    self._count_tokens(now)
                    due = clock.due()
                wakes_at = math.inf if due is None else begun + due - EARLY_S
                lulls.announce(max(last_at, perf_counter()), wakes_at)
                alarm.wait(None if due is None else wakes_at - perf_counter())
                now = perf_counter() - begun
        finally:
            lulls.announce(perf_counter(), math.inf)
            alarm.close()

    def _await_tokens(self) -> None:
        """Until there are tokens, all of those that come together: a rate that only some held would be too low."""
        self._alarm.wait(None)
        while self._tokens_changed:
            self._tokens_changed = False
            gevent.sleep(TOGETHER_S)
        self._tokens_changed = True

    def _drop_missed(self, begun: float, now: float) -> None:
        """This process comes late to arrivals that nobody else was to send."""
        self._tokens_changed = False
        self._count_tokens(0.0)
        while (due := self._clock.due()) is not None and due <= now:
            self._clock.take()
            self._drop(self._choose_class(), begun + due)

    def _count_tokens(self, now: float) -> None:
        self._classes = [user_class for user_class, count in self._tokens.items() if count]
        self._shares = list(accumulate(self._tokens[user_class] for user_class in self._classes))
        self._clock.set_users(self._shares[-1] if self._shares else 0, now)

    def _arrive(self, due: float) -> None:
        """A request is due at `due` (by perf_counter), soon or since a while."""
        user_class = self._choose_class()
        if len(self._in_flight) >= self._max_in_flight:
            self._drop(user_class, due)
            return
        idle = self._idle[user_class]
        # The one used last: its connection is the least likely to have been closed.
        self._in_flight.spawn(self._perform, user_class, idle.pop() if idle else None, due)

    def _choose_class(self) -> type[RecordedUser]:
        classes = self._classes
        return classes[0] if len(classes) == 1 else self._random.choices(classes, cum_weights=self._shares)[0]

    def _drop(self, user_class: type[RecordedUser], due: float) -> None:
        self._log.add_dropped(time.time() - (perf_counter() - due), user_class.flow)

    def _perform(self, user_class: type[RecordedUser], performer: RecordedUser | None, due: float) -> None:
        """Run one task."""
        try:
            if performer is None:
                performer = user_class(self._environment)
                performer._taskset_instance = DefaultTaskSet(performer)
                performer.on_start()
            performer.due = due
            tasks = performer._taskset_instance
            assert tasks is not None
            with suppress(*_TASK_ENDED):
                tasks.execute_task(tasks.get_next_task())
        except GreenletExit:
            return
        except Exception as mistake:  # noqa: BLE001 -- as Locust: a mistake in a task ends that task
            self._environment.events.user_error.fire(
                user_instance=performer, exception=mistake, tb=mistake.__traceback__
            )
            logger.error("%s\n%s", mistake, traceback.format_exc())
        if performer is not None:
            self._idle[user_class].append(performer)


def rate_of_a_user(profile: Profile) -> RateCurve:
    """The arrival rate that one user of the open model stands for, from the start of the run on."""
    if profile.rate_per_user is not None:
        return RateCurve((), afterwards=profile.rate_per_user)
    return RateCurve(
        [RateRamp(ramp.duration_s, ramp.from_rate / TOKENS, ramp.to_rate / TOKENS) for ramp in rate_ramps(profile)]
    )


def _clock(profile: Profile, process: int, source: Random) -> ArrivalClock:
    curve = rate_of_a_user(profile)
    return poisson_clock(curve, source) if profile.arrivals == POISSON else even_clock(curve, process)
