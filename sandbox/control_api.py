"""`/_sandbox/...`: the sandbox's own interface. JSON in, JSON out.

GET    /_sandbox/health
GET    /_sandbox/truth     the counts (`sandbox.truth`)
GET    /_sandbox/faults    the faults in force, with their hits
POST   /_sandbox/faults    one more, or a list of them (`sandbox.faults`); 400 with every problem
DELETE /_sandbox/faults    no more faults
GET    /_sandbox/faults/hits   which fault met which request
GET    /_sandbox/calls     what was called from outside, with the IAM action of each (`sandbox.permissions`)
POST   /_sandbox/reset     forget what happened; with {"resources": true} the resources, too
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from sandbox.assembly import Sandbox
from sandbox.faults import FaultsError, parse_faults

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
_Handler = Callable[[bytes], tuple[int, Any]]


class ControlApi:
    """Answers the sandbox's own calls."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._started_at = sandbox.scheduler.now()
        self._calls: dict[str, dict[str, _Handler]] = {
            "/_sandbox/health": {"GET": self._health},
            "/_sandbox/truth": {"GET": self._truth},
            "/_sandbox/faults": {"GET": self._faults, "POST": self._add_faults, "DELETE": self._clear_faults},
            "/_sandbox/faults/hits": {"GET": self._hits},
            "/_sandbox/calls": {"GET": self._called},
            "/_sandbox/reset": {"POST": self._reset},
        }

    def handle(self, method: str, path: str, body: bytes) -> Answer:
        methods = self._calls.get(path.rstrip("/"))
        if methods is None:
            status, document = 404, {"problems": [f"no {path}; there are {', '.join(self._calls)}"]}
        elif method not in methods:
            status, document = 405, {"problems": [f"{path} takes {', '.join(methods)}, not {method}"]}
        else:
            status, document = methods[method](body)
        return status, [(b"content-type", b"application/json")], orjson.dumps(document) + b"\n"

    def _health(self, body: bytes) -> tuple[int, Any]:
        now = self._sandbox.scheduler.now()
        return 200, {
            "status": "ok",
            "simulated": True,
            "seed": self._sandbox.seed,
            "started_at": self._started_at,
            "uptime_s": round(now - self._started_at, 3),
            "log_lag_s": self._sandbox.log_lag_s,
        }

    def _truth(self, body: bytes) -> tuple[int, Any]:
        return 200, self._sandbox.truth.as_dict()

    def _faults(self, body: bytes) -> tuple[int, Any]:
        return 200, {"faults": self._sandbox.faults.as_list()}

    def _hits(self, body: bytes) -> tuple[int, Any]:
        return 200, {"hits": list(self._sandbox.faults.hits)}

    def _called(self, body: bytes) -> tuple[int, Any]:
        return 200, {"calls": self._sandbox.permissions.calls()}

    def _add_faults(self, body: bytes) -> tuple[int, Any]:
        try:
            self._sandbox.faults.add(parse_faults(body))
        except FaultsError as error:
            return 400, {"problems": error.problems}
        return self._faults(body)

    def _clear_faults(self, body: bytes) -> tuple[int, Any]:
        self._sandbox.faults.clear()
        return self._faults(body)

    def _reset(self, body: bytes) -> tuple[int, Any]:
        try:
            options = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError as error:
            return 400, {"problems": [f"not JSON: {error}"]}
        if not isinstance(options, dict) or not set(options) <= {"resources"}:
            return 400, {"problems": ['takes nothing, or {"resources": true}']}
        self._sandbox.reset(resources=options.get("resources") is True)
        return 200, self._sandbox.truth.as_dict()
