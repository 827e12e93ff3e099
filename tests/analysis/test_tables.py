from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis import tables
from analysis.comparison import Difference

SUMMARY: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "summary.json").read_text())
ALL = (
    tables.thresholds,
    tables.endpoints,
    tables.schedule,
    tables.breakdown,
    tables.functions,
    tables.chains,
    tables.metrics,
    tables.cost,
    tables.join,
)


@pytest.mark.parametrize("build", ALL)
@pytest.mark.parametrize("empty", [{}, {"client": None, "functions": {}, "thresholds": None, "join": None}])
def test_a_summary_that_says_nothing_gives_no_rows(build: Any, empty: dict[str, Any]) -> None:
    assert build(empty).rows == ()


@pytest.mark.parametrize("build", ALL)
def test_every_row_has_a_cell_for_every_column(build: Any) -> None:
    for table in (build(SUMMARY), build(SUMMARY).narrow()):
        assert all(len(row.cells) == len(table.columns) for row in table.rows)


@pytest.mark.parametrize(
    ("expression", "value", "written"),
    [
        ("POST /vote: p95_ms < 1s", 812.34, "812.3 ms"),
        ("error_rate < 0.5%", 0.0402, "4.02 %"),
        ("shop: lost == 0", 7, "7"),
        ("rps > 100", 99.96, "99.96"),
        ("rps > 100", 100.0, "100"),
        ("rps > 101", 99.96, "100.0"),
        ("p95_ms < 1000", 999.96, "999.96 ms"),
        ("p95_ms < 1s", 1000.004, "1,000.004 ms"),
        ("error_rate < 1%", 0.009999999, "0.9999999 %"),
        ("error_rate < 1%", 0.01, "1.00 %"),
        ("cost: run_usd < 5", 4.9999, "$4.9999"),
        ("of another version >> 3", 3.5, "3.50"),
        ("error_rate < 0.5%", None, "no data"),
    ],
)
def test_a_measured_value_has_the_unit_of_its_metric(expression: str, value: float | None, written: str) -> None:
    assert tables.measured(expression, value) == written


def test_a_cost_that_something_is_left_out_of_is_measured_as_at_least():
    one = {"expression": "cost: run_usd < 5", "value": 0.26, "verdict": "no data", "lower_bound": True}
    assert tables.thresholds({"thresholds": [one]}).rows[0].cells == (
        "no data",
        "cost: run_usd < 5",
        "≥ $0.2600",
    )
    assert tables.measured_in_words(one) == "measured ≥ $0.2600"


@pytest.mark.parametrize(
    ("reference", "most", "verdict", "written"),
    [
        (10, 10, "target missed", "12 (not 10)"),
        (9, 11, "target missed", "12 (not 9 to 11)"),
        (12, 12, "ok", "12"),
        (None, None, "target missed", "12"),
    ],
)
def test_a_metric_that_does_not_match_is_shown_with_what_it_should_match(reference, most, verdict, written):
    one = {"name": "Count", "value": 12.0, "verdict": verdict, "reference": reference, "reference_most": most}
    assert tables.metrics({"metrics": [one]}).rows[0].cells[2] == written


def test_rates_are_those_of_measured_rows_beside_counts_of_all() -> None:
    endpoint = {"requests": 100, "failures": 5, "error_rate": 0.04}
    table = tables.endpoints({"client": {"endpoints": {"POST /vote": endpoint}}})
    assert [column.header for column in table.columns[1:4]] == ["requests", "failed", "error rate"]
    assert table.rows[0].cells[1:4] == ("100", "5", "4.00 %")
    function = {"invocations": 100, "cold_starts": 5, "cold_start_rate": 0.01}
    table = tables.functions({"functions": {"place-vote": function}})
    assert [column.header for column in table.columns[5:7]] == ["cold", "cold start rate"]
    assert table.rows[0].cells[5:7] == ("5", "1.00 %")


def test_throttles_without_metrics_are_not_zero() -> None:
    table = tables.functions({"functions": {"f": {"invocations": 3, "throttles": None}}})
    headers = [column.header for column in table.columns]
    assert table.rows[0].cells[headers.index("throttles")] == "–"


def test_a_chain_that_lost_messages_stands_out() -> None:
    rows = tables.chains({"chains": {"a": {"lost": 1}, "b": {"lost": 0, "late": 2}, "c": {"lost": 0}}}).rows
    assert [row.tone for row in rows] == ["bad", "warn", None]


def test_a_table_that_differs_from_the_chain_stands_out() -> None:
    (row,) = tables.chains({"chains": {"a": {"lost": 0, "table_reconciled": False}}}).rows
    assert (row.tone, row.cells[-1]) == ("bad", "DIFFERS")


def test_a_lost_worker_is_named_with_what_is_missing() -> None:
    table = tables.manifest({"workers": [{"index": 1, "rows": 10, "lost_at": 1.0, "missing_rows": 3}]})
    assert ("workers", "1: 10 rows, 3 missing LOST") in [row.cells for row in table.rows]


def test_workers_are_a_table_where_one_was_lost_or_left() -> None:
    short = {"unit": "user_seconds", "planned": 146.0, "delivered": 97.4, "share": 0.3333, "from": 10.0, "until": 14.8}
    lost = {"index": 1, "host": "b", "rows": 160, "lost_at": 10.0, "missing_rows": 3, "shortfall": short}
    left = {"index": 2, "host": "c", "rows": 170, "left_at": 70.0}
    table = tables.workers({"run": {"workers": [{"index": 0, "host": "a", "rows": 14601}, lost, left]}})
    assert [(row.cells, row.tone) for row in table.rows] == [
        (
            (
                *("1", "b", "lost, rows missing", "1970-01-01 00:00:10 UTC", "160", "3"),
                *("33.33 %", "4.8 s", "146", "97", "user-seconds"),
            ),
            "bad",
        ),
        (("2", "c", "left", "1970-01-01 00:01:10 UTC", "170", "–", "–", "–", "–", "–", "–"), "warn"),
    ]
    assert tables.workers({"run": {"workers": [{"index": 0, "rows": 5}]}}).rows == ()


def test_a_function_that_was_only_throttled_used_no_memory_that_is_known() -> None:
    one = {"invocations": 0, "throttles": 2, "memory_mb": {"configured": None, "max": None}}
    assert tables.functions({"functions": {"f": one}}).rows[0].cells[-1] == "–"


def test_a_function_that_was_not_called_is_named_below_the_table() -> None:
    table = tables.functions({"functions": {"f": {"invocations": 0, "throttles": None}}})
    assert (table.rows, table.note.endswith("Not called: f.")) == ((), True)


def test_the_join_is_told_in_a_sentence() -> None:
    assert tables.join_in_words(SUMMARY) == (
        "12,340 of 12,345 requests were joined to their invocation (11,848 by Lambda request id, 492 by access log); "
        "100 % of those known to have reached a function"
    )
    assert tables.join_in_words({"join": {"requests": 0}}) is None


def test_one_request_was_joined_and_several_were() -> None:
    assert (
        tables.join_in_words({"join": {"requests": 1, "matched": 1}}) == "1 of 1 request was joined to its invocation"
    )
    assert tables.join_in_words({"join": {"requests": 2}}) == "– of 2 requests were joined to their invocation"


def test_of_a_run_of_one_request_all_is_a_share_but_what_shares_are_of() -> None:
    told = {"requests": 1, "matched": 1, "reached": 1, "reached_matched": 1, "invocations": 1}
    assert [row.cells[1:] for row in tables.join({"join": told}).rows] == [
        ("1", "–"),
        ("1", "100 %"),
        ("1", "–"),
        ("1", "100 %"),
        ("1", "–"),
    ]


def test_latency_from_schedule_stands_beside_latency_from_send():
    one = {
        "p50_ms": 40.0,
        "p99_ms": 80.0,
        "from_schedule": {"p50_ms": 41.0, "p99_ms": 6000.0},
        "schedule_lag_ms": {"p50": 1.0, "p99": 5920.0},
    }
    table = tables.schedule({"client": {"endpoints": {"POST /vote": one, "GET /vote": {"p50_ms": 1.0}}}})
    assert [(row.cells[0], row.cells[1], row.cells[2], row.cells[4]) for row in table.rows] == [
        ("POST /vote", "from when it was due", "41.0", "6,000"),
        ("POST /vote", "from when it was sent", "40.0", "80.0"),
        ("POST /vote", "sent late by", "1.0", "5,920"),
    ]


def test_the_clock_that_differs_most_is_told_by_both_its_sources():
    clocks = [
        {"worker": "0", "requests": 9, "offset_ms": 0.2, "error_ms": 1.1, "corrected": False},
        {
            "worker": "1", "requests": 9, "offset_ms": -2500.0, "error_ms": 1.0, "corrected": True,
            "date_answers": 9, "date_offset_ms": -2490.0, "date_error_ms": 15.0,
        },
    ]  # fmt: skip
    assert tables.clocks_in_words({"clocks": clocks}) == (
        "The target's clock is behind worker 1's: -2,500 ± 1.0 ms by the logs; -2,490 ± 15.0 ms by the Date headers; "
        "times are corrected by that of the logs."
    )
    assert tables.clocks_in_words({"clocks": clocks[:1]}) == (
        "The target's clock agrees with worker 0's: 0.2 ± 1.1 ms by the logs."
    )
    assert tables.clocks_in_words({"clocks": []}) is None


def test_of_many_statuses_the_most_frequent_are_shown_and_the_others_counted() -> None:
    by_status = {"200": 100, "400": 1, "429": 9, "500": 8, "502": 7, "503": 2, "504": 5}
    assert tables.statuses(by_status) == "200: 100 · 429: 9 · 500: 8 · 502: 7 · 504: 5 · others: 3"


def test_of_a_table_that_is_cut_what_calls_for_attention_stays_in_its_order() -> None:
    tones = ["good", "bad", None, "warn", "bad"]
    table = tables.Table("t", (), tuple(tables.Row((str(i),), tone) for i, tone in enumerate(tones)), "Note.")
    cut = table.first(3)
    assert [row.cells for row in cut.rows] == [("1",), ("3",), ("4",)]
    assert cut.note == "Note. 2 more rows are in summary.json."
    assert table.first(5) is table


def test_what_differs_between_two_runs_is_said_in_words() -> None:
    stages = [{"duration_s": 30.0, "users": 200, "rate": None}, {"duration_s": 5.5, "users": 0, "rate": None}]
    said = tables.difference_in_words(Difference("profile.stages", stages, stages[:1]))
    one = "duration_s 30, users 200"
    assert said == f"profile.stages: {one}; duration_s 5.5, users 0 in A, {one} in B"
    flows = Difference("flows", ["vote", "shop"], ["vote"])
    assert tables.difference_in_words(flows) == "flows: vote, shop in A, vote in B"
