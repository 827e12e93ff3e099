"""Every cause of a failed request, mixed, against what the sandbox knows that it did: the confusion matrix is diagonal.

In virtual time, through the real pull, join and explanation. A run of each style in which Lambda shows failures, and
one with logs in JSON: all three say the same.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import duckdb
import pytest

from analysis import throttles
from analysis.causes import root_causes
from analysis.evidence import open_evidence
from analysis.join import join
from analysis.run_files import read_json
from analysis.truth import compare
from sandbox import faults
from tests.end_to_end.virtual_run import MODEL, VirtualRun
from tests.sandbox.deployed import Deployed

ACCOUNT, RESERVED, SCALED = 50, 2, 40
"""Concurrency of the account and of get-results, and how many environments a function adds in 10 s."""
KIND_OF_FAULT = {
    "fail": "exception",
    "refuse_call": "downstream_throttle",
    "oom": "out_of_memory",
    "crash": "crash",
    "fail_init": "init_failure",
    "malform": "malformed_response",
    "throttle": "lambda_throttled",
    "throttle_api": "api_throttled",
    "cut": "connection_failed",
}
KINDS = get_args(get_args(faults.Fault)[0])
LAG_S = 100
"""Of a fifth of the log events: more than the time after which the pull begins."""
VOTE = {"vote_id": "poll", "token": "t", "vote_choice": "yes"}
SALE = {"shop_id": "s", "content_base64": base64.b64encode(b"0").decode()}
TO_DECRYPT = {"Records": [{"Sns": {"MessageId": "m", "Message": json.dumps(SALE)}}]}
FULL = "ProvisionedThroughputExceededException"


@dataclass
class Mixture:
    """A run, and what is known of each of its failed requests."""

    run: VirtualRun
    summary: dict[str, Any]
    expected: dict[str, str]
    """Request id -> kind."""
    limits: dict[str, str]
    """Request id -> the limit that refused its invocation."""
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Request id -> what the analysis says of it."""


def mix(deployed: Deployed, directory: Path) -> Mixture:
    """Each kind in a time of its own, so that faults meet whom they are meant for; good requests in between."""
    run = VirtualRun(deployed, directory)
    expected: dict[str, str] = {}
    limits: dict[str, str] = {}
    at = 0.0

    def vote(count: int = 1, apart_s: float = 0.1, **options: Any) -> list[dict[str, Any]]:
        return [run.request(at + n * apart_s, "vote", "POST", "/vote", VOTE, **options) for n in range(count)]

    def direct(count: int = 1) -> list[dict[str, Any]]:
        return [run.invoke(at + n * 0.1, "place-vote", VOTE) for n in range(count)]

    def known(rows: list[dict[str, Any]], kind: str, limit: str | None = None) -> None:
        expected.update(dict.fromkeys((row["request_id"] for row in rows), kind))
        if limit:
            limits.update(dict.fromkeys((row["request_id"] for row in rows), limit))

    def then(seconds: float = 10.0) -> None:
        nonlocal at
        at += seconds

    run.fault(0, kind="lag_logs", rate=0.2, lag_s=LAG_S)
    vote(5)
    run.request(at + 5, "vote", "GET", "/vote/poll", name="GET /vote/{vote_id}")
    for kind, more in (
        ("fail", {"error_type": "KeyError", "error_message": "'vote_id' of 7f3a9c2d11e04b55"}),
        ("oom", {}),
        ("crash", {}),
        ("fail_init", {}),
        ("refuse_call", {"operation": "PutRecord", "error_type": FULL, "error_message": _shard_of(deployed)}),
    ):
        then()
        run.fault(at, kind=kind, function="place-vote", count=5, **more)
        vote(3)
        direct(2)
    then()
    run.fault(at, kind="malform", function="place-vote", count=2)
    vote(2)
    then()
    run.fault(at, kind="refuse_call", function="get-results", operation="GetItem", error_type=FULL, count=2)
    for n in range(2):
        run.request(at + n, "vote", "GET", "/vote/poll", name="GET /vote/{vote_id}")
    then()
    run.fault(at, kind="refuse_call", function="shop-accept", operation="Publish", error_type="Throttled", count=2)
    for n in range(2):
        run.request(at + n, "shop", "POST", "/shop", SALE)
    then()
    run.fault(at, kind="refuse_call", function="shop-decrypt", operation="Decrypt", count=2)
    for n in range(2):
        run.invoke(at + n, "shop-decrypt", TO_DECRYPT)
    then()
    run.fault(at, kind="slow", function="place-vote", count=3, delay_ms=33_000)
    known(vote(2), "gateway_timeout")
    known(vote(1, limit_s=10), "client_timeout")
    then()
    run.fault(at, kind="slow", function="place-vote", count=2, delay_ms=60_000)
    known(direct(2), "function_timeout")
    then(100)
    run.fault(at, kind="slow_init", function="shop-update-db", count=1, init_ms=70_000)
    known([run.invoke(at, "shop-update-db", {"Records": []})], "function_timeout")
    then(100)
    run.fault(at, kind="throttle", function="place-vote", count=3, reason="FunctionInvocationRateLimitExceeded")
    known(direct(3), "lambda_throttled", "request rate")
    then()
    run.fault(at, kind="throttle_api", count=3)
    vote(3)
    then()
    run.fault(at, kind="cut", count=2)
    vote(2)
    then()
    rows = [run.request(at, "vote", "GET", "/vote/poll", name="GET /vote/{vote_id}") for _ in range(6)]
    known(rows[RESERVED:], "lambda_throttled", "reserved concurrency")
    then()
    burst = [run.request(at, "vote", "POST", "/vote", VOTE) for _ in range(SCALED + 10)]
    then(30)
    rows = [run.request(at, "vote", "POST", "/vote", VOTE) for _ in range(SCALED)]
    rows += [run.request(at + 0.001, "shop", "POST", "/shop", {}) for _ in range(15)]
    known(rows[SCALED : ACCOUNT - RESERVED], "answered_error")
    known(rows[ACCOUNT - RESERVED :], "lambda_throttled", "account concurrency")
    then(30)
    known([run.request(at, "shop", "POST", "/shop", {})], "answered_error")
    known([run.request(at, "vote", "POST", "/nowhere", VOTE)], "refused")
    known(vote(2, check=lambda answer: "" if b"receipt" in answer.body else "no receipt in the answer"), "check_failed")
    known([run.send(at, "sqs", "c", where="https://sqs.eu-west-1.amazonaws.com/123456789012/none")], "message_refused")
    known([run.never_answered(at, "vote", "cannot connect to h:443: connection refused")], "connection_failed")
    known([run.never_answered(at, "vote", "unfinished")], "unfinished")
    dropped = run.never_answered(at, "vote", "dropped")
    dropped.update(started_at="", scheduled_at=at)
    known([dropped], "dropped")
    lost = run.never_answered(at, "vote", "HTTP 503 Service Unavailable")
    lost.update(status=503, response_ms=5.0)
    known([lost], "unknown")

    summary = run.finish()
    # Some environments were there before the burst, each of which took one of its requests beside the new ones.
    known([row for row in burst if row["status"] == 500], "lambda_throttled", "scaling rate")
    mixture = Mixture(run, summary, expected, limits)
    for hit in deployed.sandbox.faults.hits:
        if hit["kind"] in KIND_OF_FAULT:
            known_id = hit.get("gateway_request_id", hit["request_id"])
            mixture.expected.setdefault(known_id, KIND_OF_FAULT[hit["kind"]])
    evidence = open_evidence(run.run)
    join(evidence, run.run.file("joined.parquet"))
    root_causes(evidence.db, read_json(run.run, "deployment.json"))
    found = evidence.db.execute("SELECT example, kind, resource, cause, function, error_type FROM failed_requests")
    names = [column[0] for column in found.description or ()]
    mixture.told = {row[0]: dict(zip(names, row, strict=True)) for row in found.fetchall()}
    evidence.db.close()
    return mixture


def _shard_of(deployed: Deployed) -> str:
    return (
        f"Rate exceeded for shard shardId-000000000000 in stream {deployed.outputs['VotesStreamName']} "
        "under account 123456789012."
    )


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Mixture]:
    @cache
    def of_style(style: str) -> Mixture:
        model = MODEL | {
            "lambda": {
                "failure_style": "old" if style == "old" else "new",
                "account_concurrency": ACCOUNT,
                "scaling_environments": SCALED,
            }
        }
        log_format = "JSON" if style == "JSON" else "Text"
        deployed = Deployed(3, model, ApiFunctionTimeout="40", LogFormat=log_format)
        deployed.client("lambda").put_function_concurrency(
            FunctionName=deployed.outputs["GetResultsFunction"], ReservedConcurrentExecutions=RESERVED
        )
        # AWS lets a function add 1,000 environments, and this sandbox SCALED: to see so many takes as many requests
        with patch.object(throttles, "SCALING_ENVIRONMENTS", SCALED):
            mixture = mix(deployed, tmp_path_factory.mktemp("mixture") / "run")
        deployed.sandbox.close()
        return mixture

    return of_style


@pytest.fixture(params=["new", "old", "JSON"])
def mixture(request: pytest.FixtureRequest, mixtures: Callable[[str], Mixture]) -> Mixture:
    return mixtures(request.param)


def test_the_confusion_matrix_is_diagonal(mixture):
    matrix = Counter((kind, mixture.told[known]["kind"]) for known, kind in mixture.expected.items())
    kinds = sorted({kind for pair in matrix for kind in pair})
    width = max(map(len, kinds))
    print("\ninjected, down; told, across")  # shown by pytest -s
    print(" " * width, *(f"{number:>3}" for number in range(len(kinds))))
    for number, kind in enumerate(kinds):
        print(f"{kind:>{width}}", *(f"{matrix[kind, told] or '·':>3}" for told in kinds), f" {number}")
    assert {pair for pair in matrix if pair[0] != pair[1]} == set()
    assert len(kinds) == 19


def test_every_count_equals_the_truth(mixture):
    """But for the rows that the client made up (three without an answer, one 503) and the 504 that it did not wait for.
    Chains: the sales here carry no correlation id; `test_chains_of_faults` has those that do."""
    truth = mixture.run.deployed.sandbox.truth.as_dict()
    compared = [one for one in compare(mixture.summary, truth) if not one.name.startswith("chains.")]
    assert truth["pending"] == 0 and len(compared) == 50
    assert {one.name: one.summary - one.truth for one in compared if not one.equal} == {
        "api.requests": 3,
        "api.by_status.503": 1,
        "api.by_status.504": -1,
        "api.by_status.none": 3,
    }
    assert mixture.summary["run"]["complete"] is True and mixture.summary["run"]["warnings"] == []


def test_no_part_of_a_requests_time_is_negative_beyond_the_whole_milliseconds_of_the_gateway(mixture):
    parts = [part for endpoint in mixture.summary["breakdown"].values() for part in endpoint.values()]
    measured = [part for part in parts if part["count"]]
    assert len(measured) > 20
    assert min(part[figure] for part in measured for figure in ("mean", "p50")) > -2


def test_every_kind_of_fault_is_injected_here_or_into_the_chains(mixture):
    """But for those of the caller's own permissions, which no request of a run meets."""
    injected = {fault["kind"] for fault in mixture.run.deployed.sandbox.faults.as_list() if fault["hits"]}
    injected |= {"deny", "expired_credentials"}
    assert injected | {"drop", "duplicate", "delay"} == {
        kind.model_fields["kind"].annotation.__args__[0] for kind in KINDS
    }


def test_nothing_else_failed(mixture):
    assert mixture.told.keys() == mixture.expected.keys()


def test_the_limit_that_refused_a_start_is_told(mixture):
    told = Counter((limit, mixture.told[known]["resource"]) for known, limit in mixture.limits.items())
    scaled = told["scaling rate", "scaling rate"]
    assert 1 < scaled < 10
    assert told == {
        ("request rate", "request rate"): 3,
        ("reserved concurrency", "reserved concurrency"): 4,
        ("scaling rate", "scaling rate"): scaled,
        ("account concurrency", "account concurrency"): 7,
    }
    truth = mixture.run.deployed.sandbox.truth.as_dict()["functions"]
    assert sum(function["throttles"] for function in truth.values()) == told.total()


def test_a_cause_of_two_flows_is_one_with_one_advice(mixture):
    rows = [row for row in mixture.summary["root_causes"] if row["kind"] == "exception"]
    assert {(row["flow"], row["status"], row["requests"]) for row in rows} == {("vote", 502, 3), ("direct", 200, 2)}
    assert len({row["cause"] for row in rows}) == 1
    assert len({row["advice"] for row in rows}) == 1
    (frame,) = {row["frame"] for row in rows}
    assert frame.startswith("handler.py:") and frame.endswith(" place_vote")


def test_an_invocation_that_went_on_after_its_504_is_found(mixture):
    (row,) = [row for row in mixture.summary["root_causes"] if row["kind"] == "gateway_timeout"]
    assert row["function"] == "place-vote"
    assert "place-vote went on in 2 of 2 cases, ran for up to 33" in row["advice"]


def test_each_downstream_service_is_told_by_its_call(mixture):
    rows = [row for row in mixture.summary["root_causes"] if row["kind"] == "downstream_throttle"]
    assert {(row["function"], row["operation"], row["error_type"]) for row in rows} == {
        ("place-vote", "PutRecord", FULL),
        ("get-results", "GetItem", FULL),
        ("shop-accept", "Publish", "ThrottledException"),
        ("shop-decrypt", "Decrypt", "ThrottlingException"),
    }
    assert {row["resource"] for row in rows if row["operation"] == "PutRecord"} == {"stream votes"}


def test_inits_repeated_within_an_invocation_are_as_many_as_there_were(mixture):
    truth = mixture.run.deployed.sandbox.truth.as_dict()["functions"]
    told = {name: one["suppressed_inits"] for name, one in mixture.summary["functions"].items()}
    assert {name: number for name, number in told.items() if number} == {
        name: one["suppressed_inits"] for name, one in truth.items() if one["suppressed_inits"]
    }
    assert told["place-vote"] > 10


def test_logs_in_json_give_the_same_tables_and_the_same_summary(mixtures):
    """Not compared: what a format does not say (see NOT_IN_BOTH), and the price of its bytes."""
    text, in_json = mixtures("new"), mixtures("JSON")
    for table in ("invocations", "log_errors", "inits", "correlations", "access_log"):
        assert rows_of(in_json, table) == rows_of(text, table), table
    summaries = [{**one.summary, "cost": sums_but_of_logs(one.summary["cost"])} for one in (text, in_json)]
    assert summaries[0] == summaries[1]


NOT_IN_BOTH = {
    "invocations": (
        "status",  # after an exception JSON says `error`, text nothing
        "error_type",  # in JSON it is platform.runtimeDone's, which becomes a row of log_errors
        "segment_id",
    ),
    "log_errors": ("request_id", "message"),
    "inits": ("phase", "initialization_type"),
}


def rows_of(mixture: Mixture, table: str) -> Counter[tuple[Any, ...]]:
    left_out = ("ptr", *NOT_IN_BOTH.get(table, ()))
    source = f"read_parquet('{mixture.run.run.file(f'{table}.parquet')}')"
    # of a process that ended by itself, JSON and the old style have a row, the new style of text a status of REPORT
    where = "WHERE kind <> 'runtime'" if table == "log_errors" else ""
    return Counter(duckdb.sql(f"SELECT * EXCLUDE ({', '.join(left_out)}) FROM {source} {where}").fetchall())


def sums_but_of_logs(cost: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in cost["items"] if item["unit"] != "GB"]


def test_old_and_new_failure_styles_give_the_same_failures(mixtures):
    new, old = mixtures("new"), mixtures("old")
    for part in ("client", "functions", "join", "breakdown", "cold_start_shares", "metrics", "clocks"):
        assert old.summary[part] == new.summary[part], part
    causes = [[{**row, "message": None} for row in one.summary["root_causes"]] for one in (new, old)]
    assert causes[0] == causes[1]  # the old style also says how a process exited
