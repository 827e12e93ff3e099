"""Locust hears of every request: at once where somebody listens, soon where only its statistics do.

In a process of its own: it imports Locust.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]

HEAR = """
import json, sys
from types import SimpleNamespace
from locust.env import Environment
from locust.exception import StopUser
from loadgen.answers import Response
from loadgen.request_events import RequestEvents

USER = SimpleNamespace(context=lambda: {"user": 1})
OK = Response(200, {}, b"")
REQUESTS = [
    ("POST", "/vote", 12.5, 10, OK, "", 100.0),
    ("POST", "/vote", 612.5, 10, Response(502, {}, b""), "HTTP 502 Bad Gateway", 100.1),
    ("GET", "/shop", 0.5, 7, OK, "", 100.2),
    ("POST", "/vote", 31000.0, 0, None, "no answer within 31 s", 100.3),
    ("POST", "/vote", 5.0, 3, OK, "FunctionError Unhandled: E: vote 17", 100.4),
    ("POST", "/vote", 6.0, 3, OK, "FunctionError Unhandled: E: vote 18", 100.5),
]

def locust(*listeners):
    environment = Environment()
    environment.create_local_runner()
    for listener in listeners:
        environment.events.request.add_listener(listener)
    return environment

def send(events, requests=REQUESTS):
    for request in requests:
        events.ended(USER, *request)

def statistics(environment):
    figures = ("num_requests", "num_failures", "total_response_time", "min_response_time", "max_response_time",
               "total_content_length", "response_times")
    stats = environment.stats
    entries = {" ".join(key): entry for key, entry in stats.entries.items()} | {"total": stats.total}
    return {
        "entries": {key: {figure: getattr(entry, figure) for figure in figures} for key, entry in entries.items()},
        "errors": {
            f"{error.name} {error.parse_error(error.error)}": error.occurrences for error in stats.errors.values()
        },
        "per second": sum(stats.total.num_reqs_per_sec.values()),
    }

def in_two_parts(environment):
    events = RequestEvents(environment)
    send(events, REQUESTS * 5)
    events.flush()
    send(events)
    events.flush()
    return statistics(environment)

def many_names(environment):
    events = RequestEvents(environment)
    for number in range(200):
        send(events, [("GET", f"/vote/{number % 80}", 1.0 + number, 5, OK, "HTTP 500" if number % 3 else "", 100.0)])
        if number % 70 == 0:
            events.flush()
    events.flush()
    return statistics(environment)

def flushed_again_and_again():
    environment = locust()
    events = RequestEvents(environment)
    send(events)
    for _ in range(3):
        events.flush()
    return statistics(environment)["entries"]["total"]["num_requests"]

def heard():
    heard = []
    send(RequestEvents(locust(lambda **event: heard.append(event))), REQUESTS[1:2])
    [event] = heard
    return event | {"exception": repr(event["exception"]), "response": event["response"].status}

def stopped():
    def stop(**_):
        raise StopUser
    try:
        send(RequestEvents(locust(stop)))
    except StopUser:
        return True

def heard_from_the_middle():
    environment, heard = locust(), []
    events = RequestEvents(environment)
    send(events)
    environment.events.request.add_listener(lambda **event: heard.append(event))
    send(events)
    events.flush()
    total = environment.stats.total
    return {"heard": len(heard), "requests": total.num_requests, "failures": total.num_failures}

json.dump({
    "counted": in_two_parts(locust()),
    "fired": in_two_parts(locust(lambda **_: None)),
    "many names": [many_names(locust()), many_names(locust(lambda **_: None))],
    "again and again": flushed_again_and_again(),
    "heard": heard(),
    "stopped": stopped(),
    "from the middle": heard_from_the_middle(),
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", HEAR]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_statistics_are_the_same_whether_somebody_listens_or_not(outcomes):
    assert outcomes["counted"] == outcomes["fired"]


def test_statistics_count_every_request_and_failure(outcomes):
    counted = outcomes["counted"]
    assert counted["entries"]["total"]["num_requests"] == counted["per second"] == 36
    assert counted["entries"]["/shop GET"]["num_requests"] == 6
    assert counted["entries"]["/vote POST"]["max_response_time"] == 31000.0
    assert counted["errors"] == {
        "/vote RequestError('HTTP 502 Bad Gateway')": 6,
        "/vote RequestError('no answer within 31 s')": 6,
        "/vote RequestError('FunctionError Unhandled: E: vote <n>')": 12,
    }


def test_statistics_are_the_same_with_more_names_than_are_counted_apart(outcomes):
    counted, fired = outcomes["many names"]
    assert counted == fired
    assert len(counted["entries"]) == 81


def test_a_flush_of_nothing_counts_nothing_again(outcomes):
    assert outcomes["again and again"] == 6


def test_a_listener_hears_at_once_and_of_everything(outcomes):
    assert outcomes["heard"] == {
        "request_type": "POST",
        "name": "/vote",
        "url": "/vote",
        "response_time": 612.5,
        "response_length": 10,
        "response": 502,
        "context": {"user": 1},
        "exception": "RequestError('HTTP 502 Bad Gateway')",
        "start_time": 100.1,
    }


def test_a_listener_stops_the_user_whose_request_it_was(outcomes):
    assert outcomes["stopped"] is True


def test_a_listener_that_comes_in_the_middle_of_a_run_makes_nothing_count_twice(outcomes):
    assert outcomes["from the middle"] == {"heard": 6, "requests": 12, "failures": 8}
