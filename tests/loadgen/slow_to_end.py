"""A locustfile for tests: votes, with workers that take a second between their last rows and their last statistics, and
a master that is late to ask them to drain: in that second, where all are stopped at once.
"""

import gevent

from loadgen.live import MASTER
from loadgen.master import MasterSession
from loadgen.reporting import Reporter
from locustfiles.vote import VoteUser  # noqa: F401 -- Locust looks for it here

stop_reporter, drain = Reporter.stop, MasterSession._drain


def slow_stop(self):
    if self._worker != MASTER:
        gevent.sleep(1)
    stop_reporter(self)


def late_drain(self, run):
    gevent.sleep(0.7)
    drain(self, run)


Reporter.stop, MasterSession._drain = slow_stop, late_drain
