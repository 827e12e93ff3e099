"""What Logs Insights discovers in an event, as SQL over the columns of `sandbox.logs.EVENT_SCHEMA`.

System fields, the fields of Lambda's lines, and the keys of the first JSON fragment of a message. Sources: AWS
documentation, "Supported logs and discovered fields"
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_AnalyzeLogData-discoverable-fields.html) and "Monitoring
for Lambda SnapStart" (@initDuration); that @memorySize and @maxMemoryUsed are MB times 10^6 is from real API output.
Whether the @ fields are also filled from JSON-format lines is not documented: here they are not, the keys
(`record.metrics.durationMs`) are there.
"""

from __future__ import annotations

from sandbox.definitions import ACCOUNT_ID
from sandbox.insights.values import ABSENT, Kind, Value, text_literal

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_REPORT = "starts_with(message, 'REPORT RequestId: ')"
_REQUEST_ID = (
    r"^(?:(?:(?:START|END|REPORT) )?RequestId: "  # platform lines, and the old style of a crash
    r"|\[[A-Z]+\]\t[^\t]*\t"  # Python's logging
    rf"|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9:.]+Z[\t ])({_UUID})"  # Node's console, and the old style of a timeout
)


def _in_report(pattern: str, scale: str = "") -> Value:
    found = f"TRY_CAST(nullif(regexp_extract(message, {text_literal(pattern)}, 1), '') AS DOUBLE)"
    return Value(f"(CASE WHEN {_REPORT} THEN {found}{scale} END)", Kind.NUMBER)


def _in_trace(pattern: str) -> Value:
    found = f"nullif(regexp_extract(message, {text_literal(pattern)}, 1), '')"
    return Value(f"(CASE WHEN {_REPORT} AND contains(message, 'XRAY TraceId: ') THEN {found} END)", Kind.TEXT)


DISCOVERED: dict[str, Value] = {
    "@message": Value("message", Kind.TEXT),
    "@timestamp": Value("at_ms", Kind.TIME),
    "@ingestionTime": Value("ingested_ms", Kind.TIME),
    "@logStream": Value("log_stream", Kind.TEXT),
    "@log": Value(f"('{ACCOUNT_ID}:' || log_group)", Kind.TEXT),
    # opaque on AWS; here the order of the events, in 16 hexadecimal digits
    "@ptr": Value("lpad(lower(to_hex(seq)), 16, '0')", Kind.TEXT),
    "@type": Value(
        f"(CASE WHEN {_REPORT} THEN 'REPORT' WHEN starts_with(message, 'START RequestId: ') THEN 'START'"
        " WHEN starts_with(message, 'END RequestId: ') THEN 'END' END)",
        Kind.TEXT,
    ),
    "@requestId": Value(f"nullif(regexp_extract(message, {text_literal(_REQUEST_ID)}, 1), '')", Kind.TEXT),
    "@duration": _in_report(r"^REPORT RequestId: \S+\s+Duration: ([0-9.]+) ms"),
    "@billedDuration": _in_report(r"Billed Duration: ([0-9.]+) ms"),
    "@initDuration": _in_report(r"Init Duration: ([0-9.]+) ms"),
    "@memorySize": _in_report(r"Memory Size: ([0-9]+) MB", " * 1e6"),
    "@maxMemoryUsed": _in_report(r"Max Memory Used: ([0-9]+) MB", " * 1e6"),
    "@xrayTraceId": _in_trace(r"XRAY TraceId: (\S+)"),
    "@xraySegmentId": _in_trace(r"SegmentId: (\S+)"),
}
"""The fields that begin with @."""

MACROS = (
    # The first JSON object in a message: the whole of it, what follows a prefix, or (rarely) what a parser finds.
    r"""CREATE OR REPLACE MACRO json_fragment(message) AS
        CASE WHEN NOT contains(message, '{') THEN NULL
             WHEN starts_with(message, '{') AND json_valid(message) THEN message
             WHEN json_valid(regexp_extract(message, '(?s)\{.*\}')) THEN regexp_extract(message, '(?s)\{.*\}')
             ELSE nullif(first_json_object(message), '') END""",
    # A leaf of it: strings unquoted, true and false as 1 and 0, null, objects and lists absent. (The list of one
    # makes sure that the leaf is looked up once.)
    r"""CREATE OR REPLACE MACRO json_leaf(leaf) AS
        list_transform([leaf], lambda found:
            CASE left(CAST(found AS VARCHAR), 1)
                 WHEN '"' THEN found->>'$'
                 WHEN '{' THEN NULL WHEN '[' THEN NULL WHEN 'n' THEN NULL
                 WHEN 't' THEN '1' WHEN 'f' THEN '0'
                 ELSE CAST(found AS VARCHAR) END)[1]""",
)
"""SQL macros that the expressions of this module call. `first_json_object` is a function of the engine's."""


def discovered(name: str) -> Value:
    """The value of a field of a log event by its name; ABSENT for a name that begins with @ and is not known.

    `a.b.0.c` means the key path in the JSON fragment (0: the first item of a list), or a key that is called so.
    """
    if name in DISCOVERED:
        return DISCOVERED[name]
    if name.startswith("@@"):
        name = name[1:]
    elif name.startswith("@"):
        return ABSENT
    fragment = "json_fragment(message)"
    leaf = f"json_extract({fragment}, {text_literal(_pointer(name.split('.')))})"
    if "." in name:
        leaf = f"coalesce({leaf}, json_extract({fragment}, {text_literal(_pointer([name]))}))"
    return Value(f"json_leaf({leaf})", Kind.TEXT)


def _pointer(keys: list[str]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
