"""A locustfile for tests: votes, with a channel that loses, repeats and reorders rows and acknowledgements.

The clock of worker 1 is three seconds ahead, as far as its messages say. What the channel did is said in the log of
each process at its end.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from loadgen import shipping
from loadgen.messages import ACKNOWLEDGE, ROWS
from locustfiles.vote import VoteUser  # noqa: F401 -- Locust looks for it here

shipping.RESEND_AFTER_S = 0.3


def mangled(send: Callable[[Any], None], kind: str, source: Random, done: Counter[str]) -> Callable[[Any], None]:
    """`send` for messages of one kind: a quarter each get lost, come twice, or come up to a second late."""

    def send_badly(message: Any) -> None:
        if message.type == ROWS and message.data["worker"] == 1:
            message.data["sent_at"] += 3
        what = source.choice(("sent", "lost", "repeated", "late")) if message.type == kind else "passed"
        done[what] += 1
        if what == "late":
            gevent.spawn_later(source.random(), send, message)
        elif what != "lost":
            for _ in range(2 if what == "repeated" else 1):
                send(message)

    return send_badly


@events.init.add_listener
def _on_init(environment: Any, runner: Any, **_: Any) -> None:
    done: Counter[str] = Counter()
    if isinstance(runner, MasterRunner):
        runner.server.send_to_client = mangled(runner.server.send_to_client, ACKNOWLEDGE, Random(0), done)
    elif isinstance(runner, WorkerRunner):
        runner.client.send = mangled(runner.client.send, ROWS, Random(1 + runner.worker_index), done)

    @environment.events.quitting.add_listener
    def _on_quitting(**_: Any) -> None:
        counts = " ".join(f"{what}={done[what]}" for what in ("sent", "lost", "repeated", "late"))
        logging.getLogger(__name__).info(f"channel: {counts}")
