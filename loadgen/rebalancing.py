"""Who of a master's workers is there, and users for those who are: what Locust 2.47 leaves undone of it.

With `enable_rebalancing` Locust hands the users of a lost worker to the others 4 to 5 s after its last heartbeat, and
some to a worker that joins. It forgets to where that falls between the last users of a ramp and `spawning_complete`, or
where a worker leaves by itself after others were lost (`dispatch_in_progress` stays set after a rebalancing). And a
minute after a loss it starts all users anew from none, whether they had been taken over or not.
"""

from __future__ import annotations

from locust import runners
from locust.runners import STATE_MISSING, STATE_RUNNING, MasterRunner

_BEFORE_LOCUST_DOES_S = 5
"""Seconds before Locust would forget a missing worker and start all users anew, it is forgotten here."""


def is_there(runner: MasterRunner, client_id: str) -> bool:
    """Whether a worker is connected, as far as is known: one that was killed is missed after seconds."""
    client = runner.clients.get(client_id)
    return client is not None and client.state != STATE_MISSING


def planned_users(runner: MasterRunner) -> int:
    """How many users all workers together have been told to have."""
    dispatcher = runner._users_dispatcher
    return 0 if dispatcher is None else dispatcher.get_current_user_count()


def reported_users(runner: MasterRunner) -> dict[str, int]:
    """Client id -> how many users it says it has."""
    return {client.id: client.user_count for client in runner.clients.all}


def catch_up(runner: MasterRunner) -> None:
    """Do what Locust has left undone by now; to be called every now and then while a test runs."""
    long_missing = runners.HEARTBEAT_DEAD_INTERNAL + _BEFORE_LOCUST_DOES_S
    for client in runner.clients.all:
        if client.state == STATE_MISSING and client.heartbeat <= long_missing:
            del runner.clients[client.id]
    dispatcher = runner._users_dispatcher
    if (
        dispatcher is not None
        and dispatcher._rebalance
        and runner.rebalancing_enabled()
        and runner.state == STATE_RUNNING
        and runner.spawning_completed
        and runner.worker_count
    ):
        runner.greenlet.spawn(runner.start, runner.target_user_count, runner.spawn_rate)
