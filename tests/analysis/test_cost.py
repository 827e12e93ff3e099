"""Quantities of runs that can be counted by hand, and what they cost."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from analysis.__main__ import main
from analysis.causes import root_causes
from analysis.cost import Quantities, measure, price, what_if
from analysis.run_facts import RunFacts
from config.prices import load_prices

VIRGINIA = load_prices("us-east-1")


def quantities(build, metrics=None, deployment=None) -> Quantities:
    db = build.joined()
    root_causes(db)
    return measure(db, RunFacts(build.manifest, build.pull or {}, metrics or {}, deployment or {}))


def test_lambda_is_billed_by_report_line_with_its_own_memory(build):
    build.invocation(ms=200.0, memory_mb=512)  # 0.1 GB-s
    build.invocation(ms=99.2, billed_ms=400, init_ms=300.0, memory_mb=512)  # the init is billed: 0.2 GB-s
    build.invocation(ms=1024.0, memory_mb=1000, function="shop-accept")  # 1 GB-s
    found = quantities(build).items
    assert found["lambda_requests"] == 3
    assert found["lambda_x86_64_gb_s"] == pytest.approx(1.3)


def test_each_architecture_is_an_item(build):
    build.invocation(ms=200.0, memory_mb=512)
    build.invocation(ms=400.0, memory_mb=512, function="shop-accept")
    found = quantities(
        build,
        deployment={"functions": {"place-vote": {"architecture": "x86_64"}, "shop-accept": {"architecture": "arm64"}}},
    )
    assert found.items["lambda_x86_64_gb_s"] == pytest.approx(0.1)
    assert found.items["lambda_arm64_gb_s"] == pytest.approx(0.2)
    assert found.assumptions == []


def test_an_unknown_architecture_is_an_assumption(build):
    build.invocation()
    assert quantities(build).assumptions == ["place-vote runs on x86_64: its architecture is not known"]


def test_a_report_line_without_memory_makes_the_sum_unknown(build):
    build.invocation()
    build.invocation(memory_mb=None)
    found = quantities(build)
    assert found.items["lambda_x86_64_gb_s"] is None
    assert "1 REPORT lines of place-vote" in found.notes[0]


def test_without_logs_lambda_is_unknown_and_not_free(build):
    build.pull = None
    found = quantities(build)
    assert (found.items["lambda_requests"], found.items["lambda_x86_64_gb_s"]) == (None, None)
    assert "the logs were not fetched" in found.notes[0]


@pytest.mark.parametrize(
    ("kind", "items"), [("rest", {"api_rest_requests": 3}), ("http", {"api_http_requests": 4}), (None, {})]
)
def test_answers_of_the_api_are_charged_by_its_kind(build, kind, items):
    build.request()
    build.request(status=500)
    build.request(bytes_sent=600 * 1024)  # two units of 512 KB
    build.request(status=None, ms=None)
    build.request(name="place-vote", method="Invoke")
    found = quantities(build, deployment={"api": None if kind is None else {"kind": kind}})
    assert {item: number for item, number in found.items.items() if item.startswith("api_")} == items
    assert any("3 requests" in note and "not priced" in note for note in found.notes) == (kind is None)


REST = {"api": {"kind": "rest"}}


@pytest.mark.parametrize("kind", ["rest", "http"])
def test_what_the_api_throttled_is_not_charged(build, kind):
    build.request()
    for _ in range(3):
        build.request(status=429)
    found = quantities(build, deployment={"api": {"kind": kind}})
    assert found.items[f"api_{kind}_requests"] == 1
    assert [one for one in found.assumptions if one.startswith("API Gateway: 3 requests that it refused itself")]


@pytest.mark.parametrize(
    ("status", "gateway_error", "charged"),
    [
        (429, "QUOTA_EXCEEDED", 0),
        (403, "INVALID_API_KEY", 0),
        (403, "ACCESS_DENIED", 0),
        (401, "UNAUTHORIZED", 0),
        (403, "WAF_FILTERED", 1),  # nobody says that it is free
        (403, "MISSING_AUTHENTICATION_TOKEN", 1),  # also a path that does not exist
        (400, "BAD_REQUEST_BODY", 1),
        (504, "INTEGRATION_TIMEOUT", 1),
    ],
)
def test_a_refusal_of_the_api_is_charged_by_its_kind(build, status, gateway_error, charged):
    build.request()
    build.request(status=status, request_id="g1")
    build.access(request_id="g1", status=status, error_type=gateway_error)
    assert quantities(build, deployment=REST).items["api_rest_requests"] == 1 + charged


def test_a_429_of_the_function_is_charged(build):
    build.request(status=429, lambda_request_id="l1")
    build.invocation(request_id="l1")
    found = quantities(build, deployment=REST)
    assert found.items["api_rest_requests"] == 1
    assert not any("refused itself" in one for one in found.assumptions)


def test_a_request_of_the_api_that_got_no_answer_is_charged_where_its_log_knows_it(build):
    build.request(request_id="answered")
    build.request(request_id="cut off", status=None, ms=None)
    build.request(request_id="never arrived", status=None, ms=None)
    build.access(request_id="answered")
    build.access(request_id="cut off")
    assert quantities(build, deployment={"api": {"kind": "rest"}}).items["api_rest_requests"] == 2


STREAM = {"streams": {"votes": {"shards": 2, "mode": "PROVISIONED"}, "events": {"shards": 9, "mode": "PROVISIONED"}}}


def test_streams_that_took_records_are_charged_for_the_length_of_the_run(build):
    build.manifest |= {"started_at": 0.0, "ended_at": 1800.0}
    metrics = {
        "streams": {
            "votes": {"IncomingRecords": 100.0, "IncomingBytes": 100 * 30 * 1024.0},
            "events": {"IncomingRecords": None, "IncomingBytes": None},
        }
    }
    found = quantities(build, metrics, STREAM)
    # two shards for half an hour; records of 30 KB are two units of 25 KB each
    assert (found.items["kinesis_shard_hours"], found.items["kinesis_put_units"]) == (1.0, 200.0)


def test_a_run_that_ended_before_it_began_costs_no_negative_hours(build):
    build.manifest |= {"started_at": 1800.0, "ended_at": 0.0}
    metrics = {"streams": {"votes": {"IncomingRecords": 1.0, "IncomingBytes": 1.0}}}
    assert quantities(build, metrics, STREAM).items["kinesis_shard_hours"] is None


def test_a_stream_on_demand_is_not_priced(build):
    metrics = {"streams": {"votes": {"IncomingRecords": 1.0, "IncomingBytes": 1.0}}}
    found = quantities(build, metrics, {"streams": {"votes": {"shards": 4, "mode": "ON_DEMAND"}}})
    assert (found.items["kinesis_shard_hours"], found.items["kinesis_put_units"]) == (None, None)
    assert "on demand" in found.notes[0]


def message(build, operation, **columns):
    build.request(name=f"{operation} to it", method=operation, flow="events", **columns)


def test_messages_of_the_client_are_charged_by_call_or_by_size(build):
    for ok in (1, 1, 0):
        message(build, "SendMessageBatch", request_id="one call", ok=ok, bytes_sent=30 * 1024)  # 90 KB: two units
    message(build, "SendMessage", request_id="another", bytes_sent=10)
    message(build, "SendMessage", status=400, ok=0)
    message(build, "PutEvents", request_id="a", bytes_sent=100 * 1024)
    message(build, "PutEvents", request_id="a", ok=0)
    message(build, "PublishBatch", request_id="b")
    message(build, "PublishBatch", request_id="b")
    message(build, "PutRecord", request_id="c", bytes_sent=30 * 1024)
    found = quantities(build)
    assert found.items["sqs_requests"] == 3
    assert found.items["eventbridge_events"] == 2
    assert found.items["sns_publishes"] == 2
    assert (found.items["kinesis_put_units"], found.items["kinesis_shard_hours"]) == (2, None)


def test_topics_count_what_functions_publish_too(build):
    message(build, "Publish", request_id="b")
    metrics = {"topics": {"sales": {"NumberOfMessagesPublished": 30.0}, "idle": {"NumberOfMessagesPublished": None}}}
    assert quantities(build, metrics).items["sns_publishes"] == 30.0


def test_topics_without_data_yet_are_unknown_where_the_flow_uses_them(build):
    build.manifest["flows"] = ["shop"]
    build.invocation(function="shop-accept")
    found = quantities(build, {"topics": {"sales": {"NumberOfMessagesPublished": None}}})
    assert found.items["sns_publishes"] is None
    assert any("CloudWatch had no metric of the topics" in note for note in found.notes)


def test_kms_is_an_estimate_from_the_invocations_that_decrypt(build):
    build.manifest["flows"] = ["shop"]
    build.invocation(function="shop-accept")
    assert "kms_requests" not in quantities(build).items
    for _ in range(3):
        build.invocation(function="shop-decrypt")
    found = quantities(build)
    assert found.items["kms_requests"] == 3
    assert any("an estimate, one request for each of the 3 invocations of shop-decrypt" in a for a in found.assumptions)
    assert VIRGINIA.usd("kms_requests", 10_000) == pytest.approx(0.03)


def test_streams_and_tables_without_data_yet_are_unknown_where_the_flow_uses_them(build):
    metrics = {
        "streams": {"votes": {"IncomingRecords": None, "IncomingBytes": None}},
        "tables": {"votes": {"ConsumedWriteCapacityUnits": None, "ConsumedReadCapacityUnits": None}},
    }
    names = ("kinesis_shard_hours", "kinesis_put_units", "dynamodb_write_units")
    assert not set(names) & set(quantities(build, metrics).items)  # nothing was invoked
    build.invocation()
    found = quantities(build, metrics)
    assert [found.items.get(name, "absent") for name in names] == [None, None, None]
    assert sum("had no metric" in note for note in found.notes) == 2
    build.manifest["flows"] = ["custom"]
    assert not set(names) & set(quantities(build, metrics).items)


def test_capacity_logs_and_the_analysis_itself(build):
    build.pull = {"complete": True, "bytes_scanned": 2_000_000_000}
    metrics = {
        "metrics_read": 151,
        "tables": {
            "votes": {"ConsumedWriteCapacityUnits": 10.0, "ConsumedReadCapacityUnits": None},
            "shops": {"ConsumedWriteCapacityUnits": 5.0, "ConsumedReadCapacityUnits": None},
        },
        "log_groups": {"/g": {"IncomingBytes": 1.5e9}, "/h": {"IncomingBytes": None}},
    }
    found = quantities(build, metrics).items
    assert found["dynamodb_write_units"] == 15.0
    assert "dynamodb_read_units" not in found
    assert (found["logs_ingested_gb"], found["logs_scanned_gb"], found["metrics_read"]) == (1.5, 2.0, 151)


def test_logs_without_a_metric_are_unknown(build):
    found = quantities(build)
    assert found.items["logs_ingested_gb"] is None
    assert "IncomingBytes" in found.notes[0]


@pytest.mark.parametrize("simulated", [True, False])
def test_a_trace_counts_once_and_only_where_it_was_sampled(build, simulated):
    build.manifest["simulated"] = simulated
    build.invocation(xray_trace_id="1-a", sampled=True)
    build.invocation(xray_trace_id="1-a", sampled=True, function="shop-accept")
    build.invocation(xray_trace_id="1-b", sampled=False)
    found = quantities(build)
    assert found.items["xray_traces"] == 1
    assert any("TRACE_SAMPLE" in one for one in found.assumptions) == simulated


def test_the_load_is_what_a_million_requests_cost_and_the_analysis_is_not():
    found = Quantities({"lambda_requests": 2_000_000, "logs_scanned_gb": 10.0, "kms_requests": None})
    cost = price(found, VIRGINIA, 4_000_000, simulated=False)
    assert cost["run_usd"] == pytest.approx(0.40 + 0.05)
    assert cost["per_million_usd"] == pytest.approx(0.10)
    assert [item["per_million_usd"] for item in cost["items"]] == [pytest.approx(0.10), None, None]
    assert cost["complete"] is False
    assert cost["prices"] == "us-east-1, 2026-10-01"


def test_a_cost_without_any_price_is_none():
    cost = price(Quantities({"kms_requests": 5}), load_prices("eu-west-1"), 1, simulated=True)
    assert (cost["run_usd"], cost["per_million_usd"]) == (None, None)
    assert cost["unpriced"] == ["no price of kms_requests in eu-west-1: add it to config/prices/eu-west-1.toml"]


def test_no_requests_have_no_cost_per_million():
    assert price(Quantities({"lambda_requests": 5}), VIRGINIA, 0, simulated=True)["per_million_usd"] is None


def test_what_if_bills_each_begun_millisecond():
    cost = what_if(
        VIRGINIA,
        invocations=10_000_000,
        duration_ms=199.2,
        memory_mb=512,
        architecture="x86_64",
        api=None,
        free_tier=False,
    )
    assert cost["per_million_usd"] == pytest.approx(1.86667)


def run(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["cost", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


WHAT_IF = ("--invocations", "10_000_000", "--duration-ms", "200", "--memory-mb", "512", "--region", "us-east-1")


def test_the_command_answers_what_if_in_a_table_and_in_json():
    assert "$18.67 for 10,000,000 invocations, $1.87 per million requests" in run(*WHAT_IF)
    cost = json.loads(run(*WHAT_IF, "--api", "rest", "--architecture", "arm64", "--format", "json"))
    assert cost["run_usd"] == pytest.approx(15.3334 + 35.0)
    assert cost["simulated"] is None


def test_the_free_tier_is_taken_off_on_request():
    # 9 M requests and 600,000 GB-s are left
    assert json.loads(run(*WHAT_IF, "--free-tier", "--format", "json"))["run_usd"] == pytest.approx(1.80 + 10.00002)


@pytest.mark.parametrize("option", [("--invocations", "5"), ("--architecture", "arm64"), ("--api", "http")])
def test_half_a_what_if_is_refused(option):
    """`cost RUN --architecture arm64` would show what the run cost, and not what it would have cost."""
    done = CliRunner().invoke(main, ["cost", *option])
    assert done.exit_code == 2
    assert "--duration-ms" in done.output


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--region", "/etc/passwd", "--region is one of "),
        ("--region", "../prices/us-east-1", "--region is one of "),
        ("--region", "", "--region is one of "),
        ("--invocations", "1" + 400 * "0", "--invocations"),
        ("--duration-ms", "1e308", "--duration-ms"),
        ("--duration-ms", "nan", "--duration-ms"),
        ("--memory-mb", "0", "--memory-mb"),
    ],
)
def test_what_is_no_price_option_is_named(option, value, said):
    done = CliRunner().invoke(main, ["cost", *WHAT_IF, option, value])
    assert (done.exit_code, said in done.output) == (2, True), done.output


def test_a_run_is_priced_again_elsewhere_from_its_summary(explained_tiny_run):
    explained, summary = explained_tiny_run
    cost = summary["cost"]
    at_home = json.loads(run(str(explained.path), "--format", "json"))
    assert at_home == cost
    abroad = json.loads(run(str(explained.path), "--region", "eu-west-1", "--format", "json"))
    assert abroad["prices"].startswith("eu-west-1")
    assert [item["quantity"] for item in abroad["items"]] == [item["quantity"] for item in cost["items"]]


def test_a_summary_from_before_costs_is_refused(tiny_run):
    tiny_run.write_json("summary.json", {"run": {"id": "old"}, "cost": {"items": []}})
    done = CliRunner().invoke(main, ["cost", str(tiny_run.path)])
    assert done.exit_code == 2
    assert "analyse it again" in done.output


def test_a_region_without_prices_is_said_once() -> None:
    quantities = Quantities({"lambda_requests": 10.0, "sqs_requests": 5.0, "kms_requests": None})
    cost = price(quantities, load_prices("mars-1"), 10, simulated=False)
    assert (cost["run_usd"], len(cost["unpriced"])) == (None, 1)
    assert cost["unpriced"][0].startswith("no price of region mars-1 is known: add config/prices/mars-1.toml")
