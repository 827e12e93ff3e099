"""What Locust's master leaves undone is done, and nothing else. In a process of its own: it imports Locust."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

CATCH_UP = """
import json, sys
from types import SimpleNamespace
from locust.runners import HEARTBEAT_DEAD_INTERNAL, WorkerNode, WorkerNodes
from loadgen import rebalancing

def caught_up(missing_beats=None, rebalance=True, enabled=True, state="running", completed=True, workers=2):
    clients, started = WorkerNodes(), []
    for name in ("a", "b"):
        clients[name] = WorkerNode(name, state="running")
    if missing_beats is not None:
        clients["b"].state, clients["b"].heartbeat = "missing", missing_beats
    runner = SimpleNamespace(
        clients=clients,
        _users_dispatcher=SimpleNamespace(_rebalance=rebalance),
        rebalancing_enabled=lambda: enabled,
        state=state,
        spawning_completed=completed,
        worker_count=workers,
        target_user_count=30,
        spawn_rate=5.0,
        start=None,
        greenlet=SimpleNamespace(spawn=lambda start, *arguments: started.append(arguments)),
    )
    rebalancing.catch_up(runner)
    return {"started": started, "clients": list(clients)}

json.dump({
    "undone": caught_up(),
    "done": caught_up(rebalance=False),
    "switched off": caught_up(enabled=False),
    "stopping": caught_up(state="stopping"),
    "still spawning": caught_up(completed=False),
    "nobody left": caught_up(workers=0),
    "just missing": caught_up(missing_beats=-1, rebalance=False),
    "long missing": caught_up(missing_beats=HEARTBEAT_DEAD_INTERNAL + 5, rebalance=False),
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def outcomes() -> dict:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", CATCH_UP]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_users_that_were_not_handed_over_are(outcomes):
    assert outcomes["undone"]["started"] == [[30, 5.0]]


@pytest.mark.parametrize("case", ["done", "switched off", "stopping", "still spawning", "nobody left"])
def test_otherwise_users_stay_where_they_are(outcomes, case):
    assert outcomes[case]["started"] == []


def test_missing_worker_is_forgotten_before_locust_starts_all_users_anew(outcomes):
    assert outcomes["just missing"]["clients"] == ["a", "b"], "it may come back"
    assert outcomes["long missing"]["clients"] == ["a"]
