"""Queries and the rows they give, over twenty-odd literal events: the golden table of the query language.

Line formats as in AWS documentation ("Lambda runtime environment", "Logging and monitoring Python functions").
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from sandbox.insights.engine import Engine
from sandbox.log_events import Window
from sandbox.logs import LogStore

START = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC, a multiple of five minutes
A, B, C, D = (f"{n}aaaaaaa-0000-4000-8000-00000000000{n}" for n in (1, 2, 3, 4))
VOTE, SHOP = "/aws/lambda/vote", "/aws/lambda/shop"


def report(request_id: str, duration: str, billed: int, used: int, rest: str = "") -> str:
    return (
        f"REPORT RequestId: {request_id}\tDuration: {duration} ms\tBilled Duration: {billed} ms"
        f"\tMemory Size: 128 MB\tMax Memory Used: {used} MB\t{rest}\n"
    )


EVENTS = [  # group, stream, seconds after START, message
    (VOTE, "s1", 0.0, "INIT_START Runtime Version: python:3.12.v18\tRuntime Version ARN: arn:aws:lambda:x\n"),
    (VOTE, "s1", 1.0, f"START RequestId: {A} Version: $LATEST\n"),
    (VOTE, "s1", 1.1, '{"level": "INFO", "hop": "vote", "ok": true, "n": {"list": [7, {"x": 1.5}]}, "code": 200}\n'),
    (VOTE, "s1", 1.2, f"END RequestId: {A}\n"),
    (VOTE, "s1", 1.2, report(A, "100.50", 257, 70, "Init Duration: 156.08 ms\t")),
    (VOTE, "s1", 60.0, f"START RequestId: {B} Version: $LATEST\n"),
    (VOTE, "s1", 60.1, f'[INFO]\t2027-01-15T08:01:00.100Z\t{B}\tdone {{"level": "INFO", "code": 404}} {{}}\n'),
    (VOTE, "s1", 60.2, f"END RequestId: {B}\n"),
    (VOTE, "s1", 60.2, report(B, "20.00", 20, 71, "\nXRAY TraceId: 1-5f-ab\tSegmentId: 00ff\tSampled: true\t")),
    (VOTE, "s2", 301.0, f"START RequestId: {C} Version: $LATEST\n"),
    (VOTE, "s2", 301.1, "[ERROR] ValueError: 'it''s \"bad\"'\nTraceback (most recent call last):\n"),
    (VOTE, "s2", 301.2, f"END RequestId: {C}\n"),
    (VOTE, "s2", 301.2, report(C, "30.25", 31, 72)),
    (VOTE, "s2", 301.3, '{"level": "ERROR", "code": "500", "@odd": "é", "odd key": "-3", "null": null}\n'),
    (SHOP, "s3", 2.0, f"2027-01-15T08:00:02.000Z {D} Task timed out after 3.00 seconds\n"),
    (SHOP, "s3", 2.0, report(D, "3000.00", 3000, 79)),
    (SHOP, "s3", 3.0, "plain text with 5 words"),
]


@pytest.fixture(scope="module")
def store() -> Iterator[LogStore]:
    store = LogStore(chunk_rows=6)  # some of it on disk, some in memory
    for group, stream, after, message in EVENTS:
        store.append(group, stream, START + after, message)
    yield store
    store.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


def rows_of(engine: Engine, store: LogStore, query: str, groups: tuple[str, ...] = (VOTE,)) -> list[dict[str, str]]:
    """Rows as dictionaries, without @ptr."""
    compiled = engine.compile(query, now=START + 1000)
    start_ms, end_ms = int(START * 1000), int((START + 1000) * 1000)
    snapshot = store.snapshot(groups, start_ms, end_ms)
    result = engine.run(engine.cursor(), compiled, snapshot, Window(groups, start_ms, end_ms, end_ms))
    rows = [{cell["field"]: cell["value"] for cell in row} for row in orjson.loads(result.page(0, 1000))]
    return [{name: value for name, value in row.items() if name != "@ptr"} for row in rows]


def at(text: str) -> str:
    return f"2027-01-15 {text}"


STATISTICS_ROW = {
    "requestId": D,
    "duration": "3000.00",
    "billedDuration": "3000",
    "memorySize": "128",
    "maxMemoryUsed": "79",
}
STATISTICS_NAMES = "requestId, duration, billedDuration, memorySize, maxMemoryUsed"
STATISTICS_QUERY = (
    'parse @message "* *" as type, rest | filter type = "REPORT" | sort @timestamp asc, @message'
    ' | parse rest "RequestId: *<TAB>Duration: * ms<TAB>Billed Duration: * ms<TAB>Memory Size: * MB'
    f'<TAB>Max Memory Used: * MB" as {STATISTICS_NAMES} | display {STATISTICS_NAMES}'
)

AS_PEOPLE_WRITE_THEM = [
    pytest.param(
        'filter @type = "REPORT" and ispresent(@initDuration)'
        " | stats count(*), avg(@initDuration), max(@initDuration) by bin(5m)",
        [
            {
                "bin(5m)": at("08:00:00.000"),
                "count(*)": "1",
                "avg(@initDuration)": "156.08",
                "max(@initDuration)": "156.08",
            }
        ],
        id="cold starts",
    ),
    pytest.param(
        'filter @type = "REPORT" | stats avg(@maxMemoryUsed/@memorySize*100), max(@maxMemoryUsed) by bin(5m)',
        [
            {
                "bin(5m)": at("08:05:00.000"),
                "avg(@maxMemoryUsed/@memorySize*100)": "56.25",
                "max(@maxMemoryUsed)": "7.2E7",
            },
            {
                "bin(5m)": at("08:00:00.000"),
                "avg(@maxMemoryUsed/@memorySize*100)": "55.078125",
                "max(@maxMemoryUsed)": "7.1E7",
            },
        ],
        id="memory",
    ),
    pytest.param(
        'filter @type = "REPORT" or level = "ERROR"\n'
        '| stats count(*) as total, sum(@type = "ERROR") as errors by bin(5m)\n'
        "| fields errors / total * 100 as error_rate",
        [
            {"bin(5m)": at("08:05:00.000"), "total": "2", "errors": "0", "error_rate": "0"},
            {"bin(5m)": at("08:00:00.000"), "total": "2", "errors": "0", "error_rate": "0"},
        ],
        id="error rate: always 0 on Lambda's lines, as on AWS",
    ),
    pytest.param(
        'filter @type = "REPORT" | stats pct(@duration, 50) as p50, pct(@duration, 90) as p90,'
        " pct(@duration, 95) as p95, pct(@duration, 99) as p99 by bin(5m) | sort bin(5m) asc",
        [
            # linear between 20.00 and 100.50, in doubles
            {
                "bin(5m)": at("08:00:00.000"),
                "p50": "60.25",
                "p90": "92.45",
                "p95": "96.475",
                "p99": "99.69500000000001",
            },
            {"bin(5m)": at("08:05:00.000"), "p50": "30.25", "p90": "30.25", "p95": "30.25", "p99": "30.25"},
        ],
        id="percentiles",
    ),
    pytest.param(
        'filter @type = "REPORT" | stats max(@memorySize / 1000 / 1000) as provisonedMemoryMB,'
        " min(@maxMemoryUsed / 1000 / 1000) as smallestMemoryRequestMB,"
        " max(@maxMemoryUsed / 1000 / 1000) as maxMemoryUsedMB,"
        " provisonedMemoryMB - maxMemoryUsedMB as overProvisionedMB",
        [
            {
                "provisonedMemoryMB": "128",
                "smallestMemoryRequestMB": "70",
                "maxMemoryUsedMB": "72",
                "overProvisionedMB": "56",
            }
        ],
        id="over-provisioned memory, AWS's sample",
    ),
    pytest.param(
        'filter @type = "REPORT" | fields @requestId, @duration, @billedDuration, @initDuration,'
        " @maxMemoryUsed/1000000 as usedMB, @memorySize | limit 2",
        [
            {"@requestId": C, "@duration": "30.25", "@billedDuration": "31", "usedMB": "72", "@memorySize": "1.28E8"},
            {"@requestId": B, "@duration": "20", "@billedDuration": "20", "usedMB": "71", "@memorySize": "1.28E8"},
        ],
        id="row-level REPORT",
    ),
    pytest.param(
        "filter @message like /Task timed out/ | stats count() by bin(30m)",
        [],
        id="timeouts: none in this group, no row",
    ),
    pytest.param(
        "parse @message /(?<kind>[A-Z]+) RequestId: (?<id>[0-9a-f-]+)/ | filter ispresent(id)"
        " | stats count(*) as n by kind | sort n desc, kind",
        [{"kind": "END", "n": "3"}, {"kind": "REPORT", "n": "3"}, {"kind": "START", "n": "3"}],
        id="parse by regex",
    ),
]

LANGUAGE = [
    # shown fields
    ("filter @type = 'START' | limit 1", [{"@timestamp": at("08:05:01.000"), "@message": EVENTS[9][3]}]),
    ("fields @logStream, @log | limit 1", [{"@logStream": "s2", "@log": "123456789012:/aws/lambda/vote"}]),
    (
        "fields @logStream | fields @type | sort @timestamp asc | limit 2",
        [{"@logStream": "s1"}, {"@logStream": "s1", "@type": "START"}],
    ),
    ("fields @logStream, @type | display @type | filter @type = 'END' | limit 1", [{"@type": "END"}]),
    ("fields toupper(hop) as HOP, strlen(HOP) | filter ispresent(HOP)", [{"HOP": "VOTE", "strlen(HOP)": "4"}]),
    ("filter @type = 'REPORT' | parse @logStream 's*' as n | limit 1 | display n", [{"n": "2"}]),
    ("display nothing | limit 1", [{}]),
    # discovered fields
    (
        "filter ispresent(@xrayTraceId) | display @xrayTraceId, @xraySegmentId",
        [{"@xrayTraceId": "1-5f-ab", "@xraySegmentId": "00ff"}],
    ),
    (
        "filter @message like /done/ | display @requestId, level, code",
        [{"@requestId": B, "level": "INFO", "code": "404"}],
    ),
    (
        "filter hop = 'vote' | display ok, n.list.0, n.list.1.x, n, n.list",
        [{"ok": "1", "n.list.0": "7", "n.list.1.x": "1.5"}],
    ),
    ("filter ok | display hop", [{"hop": "vote"}]),
    ("filter level = 'ERROR' | display @@odd, `odd key`, null", [{"@@odd": "é", "odd key": "-3"}]),
    (
        "filter ispresent(@requestId) | stats count_distinct(@requestId) as ids, countDistinct(@type)",
        [{"ids": "3", "countDistinct(@type)": "3"}],
    ),
    ("filter ispresent(@nonsense) or ispresent(@entity)", []),
    # comparisons: as numbers where both look like numbers
    ("filter code = 200 | display code", [{"code": "200"}]),
    ("filter code = '200' | display code", [{"code": "200"}]),
    ("filter code > 99 and code < 1e3 | display code | sort code", [{"code": "200"}, {"code": "404"}, {"code": "500"}]),
    ("filter code in [200, '500'] | display code | sort code desc", [{"code": "500"}, {"code": "200"}]),
    ("filter code not in [200, '500'] and ispresent(code) | display code", [{"code": "404"}]),
    (
        "filter @duration >= 30.25 | display @duration | sort @duration",
        [{"@duration": "30.25"}, {"@duration": "100.5"}],
    ),
    ("filter `odd key` < -2.5 | display `odd key`", [{"odd key": "-3"}]),
    ("filter @timestamp = 1800000001100 | display hop", [{"hop": "vote"}]),
    ("filter level != 'INFO' and ispresent(level) | display level", [{"level": "ERROR"}]),
    ("filter level != 'INFO' | stats count(*)", [{"count(*)": "12"}]),  # an absent field is not 'INFO'
    ("filter not level = 'INFO' | stats count(*)", [{"count(*)": "12"}]),
    ("filter level < 'INFO' | stats count(*)", [{"count(*)": "1"}]),  # and is not less than it
    # text
    ("filter @message like 'it\\'\\'s \"bad\"' | display @logStream", [{"@logStream": "s2"}]),
    ('filter @message like "\\"bad\\"" | stats count(*)', [{"count(*)": "1"}]),
    ("filter @message =~ /(?i)VALUEERROR/ | stats count(*)", [{"count(*)": "1"}]),
    ("filter @message not like /RequestId/ and @message not like '{' | stats count(*)", [{"count(*)": "2"}]),
    ("filter hop like 'ot' | display concat(hop, '-', 2, '-', ok)", [{"concat(hop, '-', 2, '-', ok)": "vote-2-1"}]),
    (
        "filter hop = 'vote' | display substr(hop, 1, 2) as a, substr(hop, 2) as b, replace(hop, 'o', '0') as c",
        [{"a": "ot", "b": "te", "c": "v0te"}],
    ),
    (
        "filter hop = 'vote' | display trim('  x ') as t, ltrim('xyxa', 'xy') as l, rtrim('axy', 'xy') as r",
        [{"t": "x", "l": "a", "r": "a"}],
    ),
    (
        "filter hop = 'vote' | display tolower('AB') as a, strcontains(hop, 'vo') as b, strcontains(hop, 'z') as c",
        [{"a": "ab", "b": "1", "c": "0"}],
    ),
    (
        "filter hop = 'vote' | display isempty(none) as a, isempty(hop) as b, isblank(' \t') as c, ispresent(hop) as d",
        [{"a": "1", "b": "0", "c": "1", "d": "1"}],
    ),
    ("filter strcontains(hop, 'vo') | stats count(*)", [{"count(*)": "1"}]),
    (
        "filter hop = 'vote' | display coalesce(none, code) as a, coalesce(@duration, n.list.0) as b",
        [{"a": "200", "b": "7"}],
    ),
    # numbers
    (
        "filter hop = 'vote' | display 1 + 2 * 3 - 4 / 8 as a, 2 ^ 3 ^ 2 as b, 10 % 4 as c, -(1 - 3) as d",
        [{"a": "6.5", "b": "512", "c": "2", "d": "2"}],
    ),
    ("filter hop = 'vote' | display code / 0 as a, code % 0 as b, sqrt(-1) as c, log(0) as d, 1 as e", [{"e": "1"}]),
    (
        "filter hop = 'vote' | display abs(-1.5) as a, ceil(1.2) as b, floor(-1.2) as c, sqrt(16) as d, "
        "greatest(1, 3, 2) as e, least(1, '0.5') as f",
        [{"a": "1.5", "b": "2", "c": "-2", "d": "4", "e": "3", "f": "0.5"}],
    ),
    (
        "filter hop = 'vote' | display 12345678 as a, 10000000 as b, 9999999 as c, 12345678.5 as d, "
        "1e20 as e, 0.00001 as f, -2e7 as g, 0.1 + 0.2 as h",
        [
            {
                "a": "1.2345678E7",
                "b": "1.0E7",
                "c": "9999999",
                "d": "1.23456785E7",
                "e": "1E20",
                "f": "1E-5",
                "g": "-2.0E7",
                "h": "0.30000000000000004",
            }
        ],
    ),
    ("filter hop = 'vote' | display code = 200 and ok as a, (code > 200) + 1 as b", [{"a": "1", "b": "1"}]),
    # time
    (
        "filter hop = 'vote' | display datefloor(@timestamp, 1h) as a, dateceil(@timestamp, 1h) as b, "
        "toMillis(@timestamp) as c, fromMillis(0) as d, now() as e",
        [
            {
                "a": at("08:00:00.000"),
                "b": at("09:00:00.000"),
                "c": "1800000001100",
                "d": "1970-01-01 00:00:00.000",
                "e": "1800001000",
            }
        ],
    ),
    (
        "filter @type = 'REPORT' | stats count(*) by bin(300s)",
        [
            {"bin(300s)": at("08:05:00.000"), "count(*)": "1"},
            {"bin(300s)": at("08:01:00.000"), "count(*)": "1"},
            {"bin(300s)": at("08:00:00.000"), "count(*)": "1"},
        ],
    ),
    ("filter @type = 'REPORT' | stats count(*) by bin(1d)", [{"bin(1d)": at("00:00:00.000"), "count(*)": "3"}]),
    # stats
    (
        "stats count(*) as n by @type | sort n desc, @type",
        [{"n": "5"}, {"@type": "END", "n": "3"}, {"@type": "REPORT", "n": "3"}, {"@type": "START", "n": "3"}],
    ),
    ("stats count(*) by @type | sort count(*) desc | limit 1", [{"count(*)": "5"}]),
    (
        "stats count(@duration), count(*), sum(@duration), avg(@duration), min(@duration), max(@duration)",
        [
            {
                "count(@duration)": "3",
                "count(*)": "14",
                "sum(@duration)": "150.75",
                "avg(@duration)": "50.25",
                "min(@duration)": "20",
                "max(@duration)": "100.5",
            }
        ],
    ),
    (
        "filter @type = 'REPORT' | stats stddev(@billedDuration) as s, variance(@billedDuration) as v",
        [{"s": "133.76970259865772", "v": "17894.333333333332"}],
    ),
    (
        "stats earliest(level), latest(level), earliest(@timestamp), latest(@requestId), max(code), min(level)",
        [
            {
                "earliest(level)": "INFO",
                "latest(level)": "ERROR",
                "earliest(@timestamp)": at("08:00:00.000"),
                "latest(@requestId)": C,
                "max(code)": "500",
                "min(level)": "ERROR",
            }
        ],
    ),
    ("stats sum(level = 'INFO') as infos, sum(none), avg(level)", [{"infos": "2"}]),
    (
        "filter @type = 'REPORT' | stats count(*) as n by bin(1m) as minute"
        " | stats max(n) as most, count(*) as minutes by datefloor(minute, 5m)",
        [
            {"datefloor(minute, 5m)": at("08:05:00.000"), "most": "1", "minutes": "1"},
            {"datefloor(minute, 5m)": at("08:00:00.000"), "most": "1", "minutes": "2"},
        ],
    ),
    (
        "stats count(*) as n by @logStream | filter n > 5 | fields n * 2 as twice",
        [{"@logStream": "s1", "n": "9", "twice": "18"}],
    ),
    ("stats count(*) as n by @logStream | display @message, n | sort n", [{"n": "5"}, {"n": "9"}]),
    ("filter @type = 'NONE' | stats count(*)", []),
    ("filter @type = 'NONE' | stats count(*) by bin(5m)", []),
    # order, limit, dedup
    ("filter @type = 'END' | display @requestId", [{"@requestId": C}, {"@requestId": B}, {"@requestId": A}]),
    (
        "filter @type = 'REPORT' | sort @maxMemoryUsed desc, @requestId | display @requestId | limit any 1",
        [{"@requestId": C}],
    ),
    (
        "filter ispresent(level) | sort level desc, code asc | display level, code",
        [{"level": "INFO", "code": "200"}, {"level": "INFO", "code": "404"}, {"level": "ERROR", "code": "500"}],
    ),
    (
        "filter @type = 'END' | limit 2 | sort @timestamp asc | display @requestId",
        [{"@requestId": B}, {"@requestId": C}],
    ),
    (
        "filter ispresent(@type) | display @type, @logStream | dedup @logStream",
        [{"@type": "REPORT", "@logStream": "s2"}, {"@type": "REPORT", "@logStream": "s1"}],
    ),
    (
        "display hop, @type | filter @logStream = 's1' | sort @timestamp asc | dedup @type | limit 9",
        [{}, {"@type": "START"}, {"hop": "vote"}, {"@type": "END"}, {"@type": "REPORT"}, {}],
    ),
    # parse
    ("parse @message 'Duration: * ms' as d | filter @type = 'REPORT' | display d | limit 1", [{"d": "30.25"}]),
    ("parse @message 'RequestId: * *' as id, rest | filter rest like /^Version/ | display id | limit 1", [{"id": C}]),
    ("parse hop 'v*t*' as a, b | filter ispresent(a) | display a, b", [{"a": "o", "b": "e"}]),
    ("parse hop '*' as all | filter all = 'vote' | stats count(*)", [{"count(*)": "1"}]),
    (
        "parse @message /Duration: (?<d>[0-9.]+) (ms|s)\\tBilled [^:]+: (?P<b>\\d+)/ | filter b > 100 | display d, b",
        [{"d": "100.50", "b": "257"}],
    ),
    ("parse @message '[*] *' as level, text | filter level = 'ERROR' | display text", [{"text": EVENTS[10][3][8:]}]),
    # names, case, comments, white space
    (
        "FILTER hop = 'vote' # the | rest '\n# of \"it\"\n |\tFIELDS `hop` AS `a-b|c`, code as limit",
        [{"a-b|c": "vote", "limit": "200"}],
    ),
    (
        "filter hop = 'vote' | fields code as Code, 1 as code_2, Code + code_2 as `+`",
        [{"Code": "200", "code_2": "1", "+": "201"}],
    ),
    ("where hop = 'vote' | display hop", [{"hop": "vote"}]),
]


@pytest.mark.parametrize(("query", "rows"), AS_PEOPLE_WRITE_THEM)
def test_queries_as_people_write_them(engine: Engine, store: LogStore, query: str, rows: list[dict[str, str]]) -> None:
    assert rows_of(engine, store, query) == rows


@pytest.mark.parametrize("tab", ["\t", r"\t"], ids=["real tabs", "escaped tabs"])
@pytest.mark.parametrize("ending", ["", "*"], ids=["ends at the unit", "and the rest"])
def test_the_statistics_query(engine: Engine, store: LogStore, tab: str, ending: str) -> None:
    query = STATISTICS_QUERY.replace("<TAB>", tab)
    if ending:
        query = query.replace('* MB" as', '* MB*" as').replace("maxMemoryUsed |", "maxMemoryUsed, rest2 |")
    assert rows_of(engine, store, query, (SHOP,)) == [STATISTICS_ROW]
    durations = [row["duration"] for row in rows_of(engine, store, query)]
    assert durations == ["100.50", "20.00", "30.25"]  # by time


@pytest.mark.parametrize(("query", "rows"), LANGUAGE, ids=[query for query, _ in LANGUAGE])
def test_language(engine: Engine, store: LogStore, query: str, rows: list[dict[str, str]]) -> None:
    assert rows_of(engine, store, query) == rows


def test_several_groups_are_read_together(engine: Engine, store: LogStore) -> None:
    rows = rows_of(engine, store, "stats count(*) as n by @log | sort n", (VOTE, SHOP))
    assert rows == [{"@log": f"123456789012:{SHOP}", "n": "3"}, {"@log": f"123456789012:{VOTE}", "n": "14"}]


def test_pointers_are_unique_and_in_the_order_of_the_events(engine: Engine, store: LogStore) -> None:
    rows = rows_of(engine, store, "fields @ptr as pointer | sort @timestamp asc", (VOTE, SHOP))
    pointers = [row["pointer"] for row in rows]
    assert len(set(pointers)) == len(EVENTS)
    in_group = rows_of(engine, store, "fields @ptr as pointer | sort @timestamp asc")
    assert [row["pointer"] for row in in_group] == sorted(row["pointer"] for row in in_group)


def test_sort_is_natural(engine: Engine) -> None:
    """The example of AWS documentation, CWL_QuerySyntax-Sort."""
    ascending = [
        "!:",
        "#",
        "*%04",
        "0#",
        "5A",
        "111A",
        "2345_",
        "@",
        "@_",
        "A",
        "A9876fghj",
        "a12345hfh",
        "0",
        "01",
        "1",
        "2",
        "3",
    ]
    store = LogStore()
    for index, message in enumerate(sorted(ascending)):
        store.append(VOTE, "s", START + index, message)
    rows = [row["@message"] for row in rows_of(engine, store, "display @message | sort @message asc")]
    assert rows == ascending
    rows = [row["@message"] for row in rows_of(engine, store, "display @message | sort @message desc")]
    assert rows[::-1] == ascending
    store.close()


def test_an_empty_store_gives_no_rows(engine: Engine) -> None:
    store = LogStore()
    assert rows_of(engine, store, "fields @message") == []
    assert rows_of(engine, store, "stats count(*), avg(@duration) by bin(5m)") == []
    store.close()


HOSTILE = [
    "",
    "'",
    "''; DROP TABLE events; --",
    '"',
    "\\",
    "\\t",
    "\0",
    "a\0b",
    "%_*?",
    "${x}",
    "$1",
    "{{}}",
    "é😀",
    "\r\n",
    "/*",
    "*/",
    "--",
    "`",
    "NaN",
    "1e999",
    "-",
    "0x10",
    "1_000",
    " 12 ",
    "٣",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_found_as_it_is(engine: Engine, hostile: str) -> None:
    store = LogStore()
    store.append(VOTE, "s", START, f"<{hostile}>")
    store.append(VOTE, "s", START, "something else")
    quoted = hostile.replace("\\", "\\\\").replace('"', '\\"')
    rows = rows_of(engine, store, f'filter @message = "<{quoted}>" and @message like "<{quoted}>" | display @message')
    assert rows == [{"@message": f"<{hostile}>"}]
    if "*" not in hostile:
        rows = rows_of(engine, store, f'parse @message "<{quoted}*" as rest | filter rest = ">" | display rest')
        assert rows == [{"rest": ">"}]
    store.close()


@pytest.mark.parametrize("text", ["NaN", "1e999", "-", "0x10", "1_000", " 12 ", "٣", "inf", "1.2.3", "1e", "--1", ""])
def test_what_only_resembles_a_number_is_text(engine: Engine, text: str) -> None:
    store = LogStore()
    store.append(VOTE, "s", START, f"v={text}")
    assert rows_of(engine, store, 'parse @message "v=*" as v | filter v = 12 or v > -1000 and v < 1e300') == []
    assert rows_of(engine, store, 'parse @message "v=*" as v | stats max(v) as m') == (
        [{"m": text}] if text else [{"m": ""}]
    )
    store.close()


def test_long_numerals_are_told_apart(engine: Engine) -> None:
    """Kinesis sequence numbers have 56 digits: as doubles, neighbours would be one."""
    store = LogStore()
    first, second = "4" * 55 + "1", "4" * 55 + "2"
    store.append(VOTE, "s", START, f'{{"sequence": "{first}"}}')
    assert rows_of(engine, store, f'filter sequence = "{second}"') == []
    assert rows_of(engine, store, f'filter sequence = "{first}" | display sequence') == [{"sequence": first}]
    store.close()


def test_json_is_found_behind_other_braces(engine: Engine) -> None:
    store = LogStore()
    for message in ('{not json} {"a": 1} {"a": 2}', "{" * 100, '{"a": {"b": "}"}}', '[{"a": 5}]', '"{"'):
        store.append(VOTE, "s", START, message)
    rows = rows_of(engine, store, "display a, a.b | sort @timestamp asc")
    assert rows == [{"a": "1"}, {}, {"a.b": "}"}, {"a": "5"}, {}]
    store.close()
