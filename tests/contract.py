"""The keys of summary.json that others build on, with their types; more may be added, none may go."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType
from typing import Any

EACH = "*"
"""Stands for every key of a dictionary whose keys are names."""

COUNT, TEXT, TRUTH = (int,), (str,), (bool,)
FIGURE = (int, float, NoneType)
"""A number, or None where nothing was measured."""
UNKNOWN_COUNT, UNKNOWN_TEXT = (int, NoneType), (str, NoneType)


def _figures(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, FIGURE)


_ENDPOINT = {
    **dict.fromkeys(("requests", "failures"), COUNT),
    **_figures("rps", "mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"),
    "status": {EACH: COUNT},
}
_FUNCTION = {
    **dict.fromkeys(("invocations", "errors", "timeouts"), COUNT),
    **dict.fromkeys(("cold_starts", "throttles"), UNKNOWN_COUNT),
    "starts": dict.fromkeys(("cold", "proactive", "provisioned", "snapstart"), UNKNOWN_COUNT),
    "duration_ms": _figures("min", "mean", "p50", "p90", "p95", "p99", "max", "sum"),
    "billed_ms": _figures("sum", "mean"),
    "init_ms": _figures("p50", "p95", "max"),
    "memory_mb": _figures("configured", "min", "mean", "max"),
    **dict.fromkeys(
        ("under_limit_duration", "over_limit_duration", "under_limit_memory", "over_limit_memory"), UNKNOWN_COUNT
    ),
    **dict.fromkeys(("first_at", "last_at"), UNKNOWN_TEXT),
}
_CHAIN = {
    **dict.fromkeys(("sent", "accepted"), COUNT),
    **dict.fromkeys(("completed", "lost", "duplicated", "late", "pending"), UNKNOWN_COUNT),
    "end_to_end_ms": _figures("p50", "p95", "p99", "max"),
    "table_reconciled": (bool, NoneType),
}
SUMMARY: dict[str, Any] = {
    "schema": COUNT,
    "run": {
        "id": TEXT,
        **dict.fromkeys(("profile", "target", "region"), UNKNOWN_TEXT),
        "flows": [TEXT],
        "simulated": (bool, NoneType),
        **_figures("started_at", "ended_at"),
        "complete": TRUTH,
        "warnings": [TEXT],
    },
    "client": {
        **dict.fromkeys(("requests", "failures", "dropped"), COUNT),
        "rps": FIGURE,
        "endpoints": {EACH: _ENDPOINT},
    },
    "functions": {EACH: _FUNCTION},
    "join": {
        **dict.fromkeys(("requests", "matched", "unmatched_requests", "unmatched_invocations", "ambiguous"), COUNT),
        "by": dict.fromkeys(("lambda_request_id", "access_log", "correlation_line", "trace_id"), COUNT),
    },
    "breakdown": {
        EACH: {part: _figures("mean", "p50", "p95") for part in ("client_network_ms", "gateway_ms", "init_ms")}
        | {"handler_ms": _figures("mean", "p50", "p95")}
    },
    "chains": {EACH: _CHAIN},
    "root_causes": [
        {
            "status": UNKNOWN_COUNT,
            "requests": COUNT,
            "share": FIGURE,
            **dict.fromkeys(
                ("flow", "function", "error_type", "operation", "resource", "frame", "first_at", "last_at"),
                UNKNOWN_TEXT,
            ),
            "examples": [TEXT],
            "advice": UNKNOWN_TEXT,
        }
    ],
    "metrics": [
        {
            "name": TEXT,
            "value": FIGURE,
            **dict.fromkeys(("function", "target", "alert"), UNKNOWN_TEXT),
            "verdict": ("ok", "target missed", "alert", "no data"),
        }
    ],
    "thresholds": [{"expression": TEXT, "value": FIGURE, "verdict": ("pass", "fail", "no data")}],
    "cost": {
        **_figures("run_usd", "per_million_usd"),
        "items": [{"service": TEXT, "quantity": FIGURE, "unit": TEXT, "usd": FIGURE}],
        "prices": UNKNOWN_TEXT,
    },
}


def breaches(found: Any, wanted: Any = SUMMARY, path: str = "summary") -> Iterator[str]:
    """Where `found` is not what the contract says, one line each."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            yield f"{path} is {found!r}, no object"
        elif EACH in wanted:
            for name, value in found.items():
                yield from breaches(value, wanted[EACH], f"{path}[{name!r}]")
        else:
            for key, of_key in wanted.items():
                if key in found:
                    yield from breaches(found[key], of_key, f"{path}.{key}")
                else:
                    yield f"{path} has no {key}"
    elif isinstance(wanted, list):
        if not isinstance(found, list):
            yield f"{path} is {found!r}, no list"
        else:
            for number, value in enumerate(found):
                yield from breaches(value, wanted[0], f"{path}[{number}]")
    elif isinstance(wanted[0], str):
        if found not in wanted:
            yield f"{path} is {found!r}, none of {', '.join(wanted)}"
    elif type(found) not in wanted:  # not isinstance: true is no number
        yield f"{path} is {found!r}"
