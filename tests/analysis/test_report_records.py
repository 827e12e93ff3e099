"""`platform.report` records as DuckDB reads them, against the parser."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import log_tables, report_records
from analysis.lambda_lines import parse_event

ID = "8c360c87-d4b7-4423-b5f3-af02be3c1763"
ROOT = "1-6ac7d63e-397ed61b1542f1a3653bcd46"
COLUMNS = tuple(log_tables.REPORT_TYPES)
SAMPLES = Path(__file__).parents[1] / "fixtures/lambda-lines/samples.jsonl"
DATABASE = duckdb.connect()


def json_report(**members: str) -> str:
    """A `platform.report` of text that is JSON in itself: `type`, `record` and what stands in it may be replaced."""
    metrics = '{"durationMs":17.493,"billedDurationMs":18,"memorySizeMB":128,"maxMemoryUsedMB":75,"initDurationMs":2.5}'
    tracing = f'{{"spanId":"b7d5257b6249ab8a","type":"X-Amzn-Trace-Id","value":"Root={ROOT};Parent=b7d5;Sampled=1"}}'
    inside = {"requestId": f'"{ID}"', "metrics": metrics, "tracing": tracing, "status": '"error"'}
    inside |= {key: members.pop(key) for key in list(members) if key in inside or key == "errorType"}
    record = "{" + ",".join(f'"{key}":{value}' for key, value in inside.items()) + "}"
    outside = {"time": '"2026-10-03T20:36:17.500Z"', "type": '"platform.report"', "record": record} | members
    return "{" + ",".join(f'"{key}":{value}' for key, value in outside.items()) + "}\n"


NUMBERS = ["0", "18", "18.0", "18.5", "19.5", "1e2", "1E-7", "0.1234567890123456789", "-1", "-0.0", "1e300", "99" * 12]
ODD = [
    "null",
    "true",
    '"18"',
    '""',
    '"a\\u0041"',
    '"\\ud83d"',
    '"é"',
    "NaN",
    "inf",
    "Infinity",
    "{}",
    "[]",
    "[[1]]",
    "018",
]
METRIC_KEYS = [
    "durationMs",
    "billedDurationMs",
    "memorySizeMB",
    "maxMemoryUsedMB",
    "initDurationMs",
    "restoreDurationMs",
]
OTHER_KEYS = ["billedRestoreDurationMs", "producedBytes", "x"]
TRACES = [f'"Root={ROOT};Parent=b7;Sampled={n}"' for n in (0, 1, 2)] + [f'"Root={ROOT}"', '"Root=1-a"']


def altered(random: Random) -> str:
    """A record in which one or two things are not as Lambda writes them, or are."""

    def metrics() -> str:
        keys = random.choices(METRIC_KEYS + OTHER_KEYS, k=random.randrange(4))
        values = (random.choice(NUMBERS + ODD) if random.random() < 0.3 else "18" for _ in keys)
        members = ",".join(f'"{key}":{value}' for key, value in zip(keys, values, strict=True))
        return "{" + members + random.choice(["}"] * 4 + [" }", ",}", "", "} x"])

    def tracing() -> str:
        more = random.choice(["", ',"spanId":"b7"', ',"type":7', ',"value":"Sampled=0"', ",", ',"y":{"value":1}'])
        return f'{{"value":{random.choice(TRACES + ODD)}{more}}}'

    members = {}
    for _ in range(random.randint(1, 2)):
        key = random.choice(["metrics", "tracing", "requestId", "status", "errorType", "time", "type", "more"])
        members[key] = {"metrics": metrics, "tracing": tracing}.get(key, lambda: random.choice(ODD))()
    cut = random.randrange(400) if random.random() < 0.1 else None
    return json_report(**members)[:cut].encode("utf-8", "replace").decode()


def ordinary(messages: list[str]) -> dict[str, dict[str, object]]:
    """Message -> what DuckDB says of it, of those that are ordinary."""
    read = report_records.read("(SELECT unnest(?) AS message)")
    found = DATABASE.execute(
        f"SELECT message, {', '.join(COLUMNS)} FROM ({read}) WHERE ordinary", [messages]
    ).fetchall()
    return {message: dict(zip(COLUMNS, values, strict=True)) for message, *values in found}


@settings(max_examples=8)
@given(st.integers(0))
def test_what_is_ordinary_says_what_the_parser_says(seed: int) -> None:
    random = Random(seed)
    found = ordinary([altered(random) for _ in range(3000)])
    assert len(found) > 30
    for message, said in found.items():
        event = parse_event(message)
        assert event["kind"] == "report"
        assert said == {key: event.get(key) for key in COLUMNS}


def test_records_as_lambda_writes_them_are_ordinary() -> None:
    samples = [json.loads(line)["text"] for line in SAMPLES.read_text().splitlines()]
    reports = {text for text in samples if parse_event(text)["kind"] == "report"}
    records = {text for text in reports if text.startswith("{")}
    spaced = json.dumps(json.loads(json_report()))
    written = [
        json_report(),
        json_report(errorType='"E"'),
        json_report(tracing="{}"),
        json_report(metrics="{}"),
        spaced,
    ]
    assert ordinary(samples).keys() == records != set()
    assert ordinary(written).keys() == set(written)
