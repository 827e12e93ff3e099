"""How environments began: which invocations were the first of theirs, and what kind of start that was.

| class | what the log shows |
|---|---|
| cold | REPORT has an Init Duration: its caller waited for the init |
| proactive | the same, but INIT_START lies longer before than the init took, or before all logs of the run: the |
|   | environment was made ahead of any request; or the first REPORT of a new log stream has none, and nothing |
|   | says provisioned |
| provisioned | the first REPORT of a new log stream of a published version, without Init Duration |
| snapstart | REPORT has a Restore Duration |

*Suppressed* is no class: an init that was broken off (over 10 s), that failed, or that follows a crash or a timeout is
repeated within the next invocation, whose Duration hides it. That may be the first one of an environment, too.

AWS Lambda developer guide, "Understanding the Lambda execution environment lifecycle": on demand a start writes
INIT_START and its REPORT an Init Duration; INIT_REPORT is written for inits that fail. A log stream is one environment.
"""

from __future__ import annotations

import duckdb

EMULATOR = "emulator"
"""The target, as the manifest has it, whose logs may lack what tells a start."""

PROACTIVE_GAP_S = 1.0
"""Between the end of an init and the start of its first invocation; milliseconds where that was waiting for it."""

MARSHAL_ERROR = "Runtime.MarshalError"
"""What a handler returned cannot be written as JSON: an exception like others, which leaves the environment whole."""

_BROKEN = (
    "coalesce(f.timed_out, false) OR coalesce(f.kind = 'runtime', false) OR r.inv IS NOT NULL "
    f"OR coalesce(f.error_type LIKE 'Runtime.%' AND f.error_type <> '{MARSHAL_ERROR}', false)"
)


def starts_told(db: duckdb.DuckDBPyConnection, target: str | None) -> bool:
    """Whether the logs tell how environments began, so that no cold start in them means that there was none.

    Lambda's and the sandbox's do. Somebody else's emulator may know neither INIT_START nor Init Duration: a run on one
    that has neither anywhere says nothing.
    """
    if target != EMULATOR:
        return True
    told = db.execute(
        """SELECT EXISTS (FROM inits) OR EXISTS (FROM invocations WHERE init_ms IS NOT NULL OR restore_ms IS NOT NULL)
                  OR NOT EXISTS (FROM invocations)"""
    ).fetchone()
    return bool(told and told[0])


def create_starts(db: duckdb.DuckDBPyConnection, logs_from: float | None = None) -> None:
    """Make the table `starts`: inv, class, suppressed, restored_ms, for each invocation that began with a start (else
    class is NULL) or with a suppressed init. Needs `invocation_failures`.

    `logs_from`: since when the logs are known, epoch seconds. An INIT_START that is not in them, and would be had the
    init only just been over, was before; of a function whose logs have any, which a log level may keep out.
    """
    db.execute(
        f"""CREATE TABLE starts AS
            WITH begun AS (
                SELECT function, log_stream, min(logged_at) FILTER (WHERE kind = 'init_start') AS init_at,
                       max(init_ms) FILTER (WHERE kind = 'init_report') AS told_init_ms,
                       bool_or(coalesce(status, 'success') <> 'success' AND coalesce(phase, 'init') = 'init')
                           AS init_failed,
                       any_value(initialization_type) AS initialization_type
                FROM inits GROUP BY function, log_stream
            ), repeated AS (
                -- told when it failed again, within the invocation that repeated it
                SELECT DISTINCT i.inv FROM (FROM inits WHERE kind = 'init_report' AND phase = 'invoke') r
                ASOF JOIN invocations i ON r.function = i.function AND r.log_stream = i.log_stream
                                        AND r.logged_at <= i.reported_at
            ), ordered AS (
                SELECT i.inv, r.inv IS NOT NULL AS repeats, i.init_ms, i.restore_ms, i.started_at, i.version,
                       b.* EXCLUDE (function, log_stream),
                       i.function IN (SELECT function FROM inits WHERE kind = 'init_start') AS inits_told,
                       row_number() OVER stream = 1 AS is_first,
                       coalesce(lag({_BROKEN}) OVER stream, false) AS after_break
                FROM invocations i LEFT JOIN invocation_failures f USING (inv) LEFT JOIN repeated r USING (inv)
                LEFT JOIN begun b USING (function, log_stream)
                WINDOW stream AS (PARTITION BY i.function, i.log_stream ORDER BY i.started_at, i.reported_at, i.ptr)
            )
            SELECT inv, CASE
                WHEN restore_ms IS NOT NULL THEN 'snapstart'
                WHEN init_ms IS NOT NULL AND started_at - init_ms / 1000 - init_at > {PROACTIVE_GAP_S} THEN 'proactive'
                WHEN init_ms IS NOT NULL AND init_at IS NULL AND inits_told
                     AND started_at - init_ms / 1000 - {PROACTIVE_GAP_S} > $logs_from THEN 'proactive'
                WHEN init_ms IS NOT NULL THEN 'cold'
                WHEN NOT is_first OR init_at IS NULL OR init_failed THEN NULL
                WHEN initialization_type = 'provisioned-concurrency'
                     OR initialization_type IS NULL AND version <> '$LATEST' THEN 'provisioned'
                ELSE 'proactive' END AS class,
                coalesce(repeats OR after_break OR is_first AND init_failed, false) AS suppressed,
                restore_ms AS restored_ms
            FROM ordered WHERE class IS NOT NULL OR suppressed""",
        {"logs_from": logs_from},
    )
