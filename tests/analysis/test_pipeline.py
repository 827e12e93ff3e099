"""The analysis from end to end, with the pull and the target replaced."""

import io
import json

import pytest
from rich.console import Console

import analysis.pull
from analysis import evidence, pipeline
from analysis.errors import (
    INCOMPLETE,
    INTERRUPTED,
    OK,
    THRESHOLD_FAILED,
    USAGE,
    IncompleteError,
    PullError,
    TargetError,
)
from config import aws
from config.settings import settings_from

WRITTEN = ("joined.parquet", "summary.json", "report.html", "summary.md", "junit.xml")


@pytest.fixture
def analyze(monkeypatch):
    """Analyse with a pull that does what the test says; -> (exit code, what was printed, calls of the pull)."""

    def run(directory, pull=None, fetch=True, **options):
        calls = []

        def pulled(run, settings, console):
            calls.append(run.run_id)
            if pull is not None:
                pull(run)

        monkeypatch.setattr(analysis.pull, "pull_showing", pulled)
        out = io.StringIO()
        console = Console(file=out, width=100, highlight=False)
        exit_code = pipeline.analyze(directory, settings_from({}), console=console, pull=fetch, **options)
        return exit_code, out.getvalue(), calls

    return run


@pytest.fixture
def no_target(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the target was asked")

    monkeypatch.setattr(aws, "client", refuse)


def raises(error):
    def pull(run):
        raise error

    return pull


def set_thresholds(run, thresholds):
    profile = run.read_manifest()["profile"]
    run.update_manifest(profile=profile | {"thresholds": thresholds})


def test_what_is_already_pulled_needs_no_target(tiny_run, analyze, no_target):
    exit_code, printed, calls = analyze(tiny_run)
    assert calls == []
    assert exit_code == THRESHOLD_FAILED
    assert "ProvisionedThroughputExceededException" in printed
    assert all(tiny_run.file(name).is_file() for name in WRITTEN)


def test_an_incomplete_pull_is_taken_up_again(tiny_run, analyze):
    tiny_run.write_json("pull.json", {"complete": False})
    exit_code, _, calls = analyze(tiny_run, pull=lambda run: run.write_json("pull.json", {"complete": True}))
    assert calls == [tiny_run.run_id]
    assert exit_code == THRESHOLD_FAILED


def test_tables_that_are_gone_are_fetched_again(tiny_run, analyze):
    pulled = json.loads(tiny_run.file("pull.json").read_text())
    tiny_run.write_json("pull.json", pulled | {"complete": True, "tables": {"invocations": 7}})
    tiny_run.file("invocations.parquet").unlink()
    exit_code, printed, calls = analyze(tiny_run)
    assert calls == [tiny_run.run_id]
    assert exit_code == INCOMPLETE and "the logs were not fetched" in printed
    assert json.loads(tiny_run.file("summary.json").read_text())["functions"] == {}


def test_a_table_that_is_damaged_inside_is_named(tiny_run, analyze):
    file = tiny_run.file("invocations.parquet")
    inside = bytearray(file.read_bytes())
    inside[: len(inside) // 2] = b"PAR1".ljust(len(inside) // 2, b"\xff")
    file.write_bytes(inside)
    with pytest.raises(IncompleteError, match=r"invocations\.parquet"):
        analyze(tiny_run, fetch=False)


def test_a_directory_that_cannot_be_written_is_named(tiny_run, analyze):
    tiny_run.file(".joined.parquet.partial").mkdir()
    with pytest.raises(IncompleteError, match=r"joined\.parquet"):
        analyze(tiny_run, fetch=False)


def test_without_pulling_nothing_is_asked(tiny_run, analyze, no_target):
    tiny_run.write_json("pull.json", {"complete": False})
    exit_code, _, calls = analyze(tiny_run, fetch=False)
    assert (exit_code, calls) == (INCOMPLETE, [])


@pytest.mark.parametrize(
    ("thresholds", "exit_code"),
    [
        ({}, OK),
        ({"POST /shop: p95_ms < 200": "fail"}, OK),
        ({"POST /shop: p95_ms < 1": "fail"}, THRESHOLD_FAILED),
        ({"GET /nothing: requests > 0": "fail"}, THRESHOLD_FAILED),
    ],
)
def test_the_exit_code_is_the_thresholds(tiny_run, analyze, no_target, thresholds, exit_code):
    set_thresholds(tiny_run, thresholds)
    assert analyze(tiny_run)[0] == exit_code


def test_an_incomplete_run_is_incomplete_whatever_its_thresholds_say(tiny_run, analyze, no_target):
    set_thresholds(tiny_run, {})
    tiny_run.update_manifest(state="interrupted")
    assert analyze(tiny_run)[0] == INCOMPLETE


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (PullError("a query ended as Failed"), INCOMPLETE),
        (TargetError("no log group /aws/lambda/x in us-east-1", "check VOTE_FUNCTION"), USAGE),
    ],
)
def test_a_pull_that_fails_leaves_the_clients_side_analysed(tiny_run, analyze, error, exit_code):
    for file in ("pull.json", "invocations.parquet"):
        tiny_run.file(file).unlink()
    code, printed, _ = analyze(tiny_run, pull=raises(error))
    summary = json.loads(tiny_run.file("summary.json").read_text())
    assert code == exit_code
    assert summary["run"]["complete"] is False
    assert error.message in summary["run"]["warnings"][0]
    assert error.message in printed
    assert summary["client"]["requests"] == 13


def test_a_run_that_knows_no_function_is_analysed_without_a_target(build, analyze, no_target):
    build.manifest["functions"] = {}
    build.pull = None
    build.request()
    assert analyze(build.write())[::2] == (OK, [])


class Tables:
    """A DynamoDB client with one table of two pages."""

    PAGES = (
        {"Items": [{"shop_id": {"S": "1"}, "record_type": {"S": "s-90001"}, "gross_number": {"N": "20"}}]},
        {
            "Items": [
                {"shop_id": {"S": "1"}, "record_type": {"S": "s-90002"}, "stock": {"N": "-4.5"}, "tags": {"SS": ["a"]}}
            ]
        },
    )

    def __init__(self):
        self.asked = []

    def get_paginator(self, operation):
        assert operation == "scan"
        return self

    def paginate(self, **arguments):
        self.asked.append(arguments)
        return self.PAGES


def test_the_tables_are_looked_at_once_after_a_run_that_looked_before(tiny_run, analyze, monkeypatch):
    tiny_run.file("tables_after.json").unlink()
    client = Tables()
    monkeypatch.setattr(aws, "client", lambda settings, service: client)
    analyze(tiny_run, clock=lambda: 1795255300.0)
    analyze(tiny_run, clock=lambda: 1795255400.0)
    assert client.asked == [{"TableName": "swarmscope-shops", "ConsistentRead": True}]
    assert json.loads(tiny_run.file("tables_after.json").read_text()) == {
        "taken_at": 1795255300.0,
        "tables": {
            "shops": [
                {"shop_id": "1", "record_type": "s-90001", "gross_number": 20},
                {"shop_id": "1", "record_type": "s-90002", "stock": -4.5},
            ]
        },
    }


def test_a_table_that_cannot_be_read_leaves_the_comparison_open(tiny_run, analyze, monkeypatch):
    from botocore.exceptions import EndpointConnectionError

    tiny_run.file("tables_after.json").unlink()

    def refuse(settings, service):
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    monkeypatch.setattr(aws, "client", refuse)
    _, printed, _ = analyze(tiny_run)
    assert "tables were not compared" in printed
    assert json.loads(tiny_run.file("summary.json").read_text())["chains"]["shop"]["table_reconciled"] is None


def test_an_interrupted_pull_leaves_what_there_is_analysed(tiny_run, analyze):
    tiny_run.write_json("pull.json", {"complete": False})
    exit_code, printed, _ = analyze(tiny_run, pull=raises(KeyboardInterrupt()))
    summary = json.loads(tiny_run.file("summary.json").read_text())
    assert exit_code == INTERRUPTED
    assert "was interrupted" in printed
    assert summary["run"]["complete"] is False
    assert summary["client"]["requests"] == 13
    assert all(tiny_run.file(name).is_file() for name in WRITTEN)


def test_square_brackets_of_a_log_are_no_markup(tiny_run, analyze):
    tiny_run.file("pull.json").unlink()
    _, printed, _ = analyze(tiny_run, pull=raises(PullError("log group [red]x[/blue] is odd")))
    assert "[red]x[/blue]" in printed


def test_rows_that_do_not_fit_into_the_memory_are_an_error_and_no_defect(build, monkeypatch):
    monkeypatch.setattr(evidence, "MEMORY_LIMIT", "4MB")
    for second in range(2000):
        build.request(at=second, error="x" * 3000, ok=0)
    with pytest.raises(IncompleteError, match="do not fit"):
        pipeline.explain(build.write())
