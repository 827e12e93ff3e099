"""Warming: an event at intervals that keeps environments alive, as an EventBridge schedule would send it on AWS.

Every handler that is to be warmed answers `{"instruction": "warmer"}` at once. To have so many environments warm, so
many events have to be under way at the same time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

EVENT = json.dumps({"instruction": "warmer"}).encode()


@dataclass
class Warmed:
    """What the warmer did. `failed`: refused, lost, or answered with a function error."""

    rounds: int = 0
    invocations: int = 0
    failed: int = 0


@contextmanager
def warming(client: Any, function: str, alias: str, environments: int, interval_s: float) -> Iterator[Warmed]:
    """Invoke an alias `environments` times at once, now and every `interval_s` seconds until the block is left.

    The first round is over when the block begins.
    """
    done, stop = Warmed(), threading.Event()

    def invoke(_: int) -> bool:
        try:
            answer = client.invoke(FunctionName=function, Qualifier=alias, Payload=EVENT)
        except (ClientError, BotoCoreError):
            return False
        answer["Payload"].read()
        return "FunctionError" not in answer

    with ThreadPoolExecutor(environments) as pool:

        def warm() -> None:
            answers = list(pool.map(invoke, range(environments)))
            done.rounds += 1
            done.invocations += len(answers)
            done.failed += answers.count(False)

        warm()
        thread = threading.Thread(target=_repeat, args=(warm, stop, interval_s), name="warmer")
        thread.start()
        try:
            yield done
        finally:
            stop.set()
            thread.join()


def _repeat(action: Callable[[], None], stop: threading.Event, interval_s: float) -> None:
    while not stop.wait(interval_s):
        action()
