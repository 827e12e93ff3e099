"""`platform.report` records of a log group in JSON format, read by DuckDB: a quarter of the time that the parser takes.

Only *ordinary* records, which hold nothing that is not known here. `lambda_lines.parse_event` decides what a record
says, and has to be asked about all others: text that was cut off, numbers in other forms, keys that stand there twice.
"""

from __future__ import annotations

from collections.abc import Mapping

_TEXTS = {"request_id": "requestId", "status": "status", "error_type": "errorType"}
_METRICS: Mapping[str, tuple[str, str]] = {
    "duration_ms": ("durationMs", "DOUBLE"),
    "billed_ms": ("billedDurationMs", "BIGINT"),
    "memory_mb": ("memorySizeMB", "BIGINT"),
    "max_memory_mb": ("maxMemoryUsedMB", "BIGINT"),
    "init_ms": ("initDurationMs", "DOUBLE"),
    "restore_ms": ("restoreDurationMs", "DOUBLE"),
    "billed_restore_ms": ("billedRestoreDurationMs", "BIGINT"),
}
_TRACING = {"trace": "value", "span": "spanId", "trace_type": "type"}
_PATHS: Mapping[str, str] = {
    "time": "$.time",
    "type": "$.type",
    **{name: f"$.record.{key}" for name, key in _TEXTS.items()},
    **{name: f"$.record.metrics.{key}" for name, (key, _) in _METRICS.items()},
    **{name: f"$.record.tracing.{key}" for name, key in _TRACING.items()},
}
_OBJECTS = ("$", "$.record", "$.record.metrics", "$.record.tracing")
_JSON = {name: f"v[{place}]" for place, name in enumerate(_PATHS, 1)}
"""Name -> SQL for the JSON text of a value; NULL where it is not there."""
_TOP, _RECORD, _OF_METRICS, _OF_TRACING = (f"keys[{place}]" for place in range(1, 5))

_ROOT = '^"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]+;Sampled=[01]"$'


def read(events: str) -> str:
    """SQL: the rows of `events` (a table with `message`), `ordinary`, and what an ordinary one says under the keys of
    `lambda_lines`."""
    trace = _JSON["trace"]
    columns = [
        *(f"{_JSON[name]}[2:-2] AS {name}" for name in _TEXTS),
        *(f"try_cast({_JSON[name]} AS {kind}) AS {name}" for name, (_, kind) in _METRICS.items()),
        f"{trace}[7:41] AS xray_trace_id, {trace}[-2:-2] = '1' AS sampled, NULL AS segment_id",
    ]
    return f"""
        SELECT * EXCLUDE (v, keys, record), coalesce({_ORDINARY}, false) AS ordinary, {", ".join(columns)}
        FROM (SELECT *, json_extract(record, {list(_PATHS.values())})::VARCHAR[] AS v,
                     json_keys(record, {list(_OBJECTS)}) AS keys
              -- reading what is no JSON is an error
              FROM (SELECT *, CASE WHEN starts_with(message, '{{') AND json_valid(message) THEN message END AS record
                    FROM {events}))"""


def _present(names: Mapping[str, object]) -> str:
    return " + ".join(f"({_JSON[name]} IS NOT NULL)::TINYINT" for name in names)


def _is_text(name: str) -> str:
    value = _JSON[name]
    return f"starts_with({value}, '\"') AND length({value}) > 2 AND NOT contains({value}, '\\')"


def _is_amount(name: str) -> str:
    """JSON has one kind of number: what should be a whole one and is not is for the parser."""
    value, kind = _JSON[name], _METRICS[name][1]
    whole = f" AND NOT contains({value}, '.') AND NOT contains({value}, 'e')" if kind == "BIGINT" else ""
    return f"try_cast({value} AS {kind}) BETWEEN 0 AND 1e14{whole}"


def _where_present(name: str, condition: str) -> str:
    return f"({_JSON[name]} IS NULL OR coalesce({condition}, false))"


_ORDINARY = " AND ".join(
    [
        f"{_JSON['type']} = '\"platform.report\"' AND {_is_text('time')} AND {_JSON['request_id']} IS NOT NULL",
        # as many keys as values were found: none is unknown, and none stands there twice
        f"len({_TOP}) = 3",
        f"len({_RECORD}) = {_present(_TEXTS)} + 1 + ({_OF_TRACING} IS NOT NULL)::TINYINT",
        f"len({_OF_METRICS}) = {_present(_METRICS)}",
        f"({_OF_TRACING} IS NULL OR len({_OF_TRACING}) = {_present(_TRACING)})",
        *(_where_present(name, _is_text(name)) for name in (*_TEXTS, "span", "trace_type")),
        *(_where_present(name, _is_amount(name)) for name in _METRICS),
        _where_present("trace", f"regexp_matches({_JSON['trace']}, '{_ROOT}')"),
        # DuckDB allows a comma behind the last member, and JSON does not
        r"NOT regexp_matches(message, ',\s*\}')",
    ]
)
