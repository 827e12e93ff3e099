"""The columns of `requests-<worker>.csv`: one row per request, the one table that load generation and analysis share.

| column | unit / form |
|---|---|
| worker, seq | worker index; row number in that file, from 1, no gaps |
| scheduled_at | epoch seconds, 6 decimals; empty where nothing was scheduled |
| started_at | epoch seconds, 6 decimals; empty for an arrival that was dropped |
| response_ms | from start to the last byte, 3 decimals; empty where no response ended |
| flow, name, method | `vote`; Locust's request name; `POST`, `Invoke`, `SendMessage`, ...; of a dropped arrival: flow |
| status | HTTP status, empty where there was no response |
| ok | 1 or 0, as Locust counted it |
| error | one line, empty where ok; `dropped`, `unfinished` and what begins with `check failed: ` are reserved |
| function_error | X-Amz-Function-Error, empty where absent |
| request_id | x-amzn-RequestId of the answer (the client's own UUID where it was kept) |
| lambda_request_id | where known from the answer |
| trace_id, correlation_id | X-Ray Root; the payload's own id |
| executed_version | X-Amz-Executed-Version |
| bytes_sent, bytes_received | body bytes |
| phase | `warmup` or `measure` |
| init_ms | Init Duration of the invocation, 3 decimals, where the answer told it (LogType Tail); empty elsewhere |

Files of earlier versions lack what is in ADDED_COLUMNS. The last line of a file whose writer was killed may be cut off.
"""

from __future__ import annotations

REQUEST_COLUMNS: tuple[str, ...] = (
    "worker",
    "seq",
    "scheduled_at",
    "started_at",
    "response_ms",
    "flow",
    "name",
    "method",
    "status",
    "ok",
    "error",
    "function_error",
    "request_id",
    "lambda_request_id",
    "trace_id",
    "correlation_id",
    "executed_version",
    "bytes_sent",
    "bytes_received",
    "phase",
    "init_ms",
)

ADDED_COLUMNS: frozenset[str] = frozenset(("init_ms",))
"""Columns that files of earlier versions lack."""

HEADER = (",".join(REQUEST_COLUMNS) + "\n").encode()
"""First line of a file of rows."""

DROPPED = "dropped"
"""`error` of an arrival that found no free slot: it was never sent and fired no Locust event."""

UNFINISHED = "unfinished"
"""`error` of a request still open at the drain's deadline."""

CHECK_FAILED = "check failed: "
"""How `error` begins where an answer was taken for good by its status and refused by a check of the client: the rest
is the check's name."""
