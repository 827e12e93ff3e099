"""The whole dictionary of a run that can be checked by hand, and what makes a run incomplete."""

import pytest

from analysis.errors import DataFormatError
from analysis.pipeline import explain
from analysis.run_files import read_json
from analysis.verdict import judge
from runstore.rundir import RunDir
from tests.contract import breaches

T0 = 1795255200.0


@pytest.fixture
def tiny(explained_tiny_run):
    return explained_tiny_run[1]


def test_the_run(tiny):
    assert tiny["schema"] == 1
    assert tiny["run"] == {
        "id": "20261121T100000Z-tiny",
        "profile": "tiny",
        "flows": ["vote", "shop", "direct"],
        "target": "sandbox",
        "simulated": True,
        "region": "us-east-1",
        "started_at": 1795255200.0,
        "ended_at": 1795255213.0,
        "workers": [{"index": 0, "host": "here", "rows": 7}, {"index": 1, "host": "here", "rows": 7}],
        "complete": True,
        "aborted": None,
        "warnings": [],
    }


def test_the_contracts_keys(tiny):
    assert list(breaches(tiny)) == []


def test_a_run_of_nothing_has_them_too_and_measured_nothing(tmp_path):
    summary = explain(RunDir(tmp_path))
    assert list(breaches(summary)) == []
    client, run = summary["client"], summary["run"]
    assert (client["rps"], client["p95_ms"], run["simulated"], run["region"]) == (None, None, None, None)
    assert (client["requests"], client["failures"], run["complete"]) == (0, 0, False)


def test_the_client(tiny):
    client = tiny["client"]
    assert (client["requests"], client["failures"], client["dropped"]) == (13, 5, 1)
    # 12 measured requests from 6.0 s (the first start) to 12.9 s (the last moment known of one of them)
    assert client["rps"] == pytest.approx(12 / 6.9)
    assert {name: (block["requests"], block["status"]) for name, block in client["endpoints"].items()} == {
        "POST /vote": (7, {"200": 3, "500": 1, "502": 2, "none": 1}),
        "POST /shop": (3, {"200": 3}),
        "Invoke place-vote": (2, {"200": 2}),
        "GET /vote/{vote_id}": (1, {"200": 1}),
    }


def test_the_functions(tiny):
    found = tiny["functions"]
    assert {name: (one["invocations"], one["errors"], one["timeouts"], one["throttles"], one["cold_starts"])
            for name, one in found.items()} == {
        "place-vote": (7, 3, 1, 1, 1),
        "tally-votes": (1, 0, 0, 0, 0),
        "get-results": (1, 0, 0, 0, 0),
        "shop-accept": (3, 0, 0, 0, 0),
        "shop-decrypt": (3, 0, 0, 0, 0),
        "shop-update-db": (3, 0, 0, 0, 0),
    }  # fmt: skip
    assert found["place-vote"]["billed_ms"]["sum"] == 280 + 20 + 24 + 21 + 22 + 18 + 3000


def test_the_chain(tiny):
    shop = tiny["chains"]["shop"]
    counts = [shop[name] for name in ("sent", "accepted", "completed", "lost", "duplicated", "late", "pending")]
    assert counts == [3, 3, 2, 1, 1, 0, 0]
    assert (shop["end_to_end_ms"]["p50"], shop["end_to_end_ms"]["max"]) == (950.0, 1000.0)
    assert shop["table_reconciled"] is True


def test_the_causes(tiny):
    assert [(one["kind"], one["requests"], one["resource"]) for one in tiny["root_causes"]] == [
        ("downstream_throttle", 2, "stream votes"),
        ("lambda_throttled", 1, None),
        ("function_timeout", 1, None),
        ("dropped", 1, None),
        ("unfinished", 1, None),
    ]


def test_the_thresholds(tiny):
    assert [(one["verdict"], one["action"]) for one in tiny["thresholds"]] == [
        ("pass", "fail"),
        ("fail", "fail"),
        ("pass", "fail"),
        ("no data", "abort"),
    ]


def test_the_metrics(tiny):
    verdicts = {(one["name"], one["function"]): one["verdict"] for one in tiny["metrics"]}
    assert verdicts["Invocations", "place-vote"] == "ok"
    assert verdicts["Errors", "place-vote"] == "alert"  # 3 of 7
    assert verdicts["Throttles", "place-vote"] == "alert"
    assert verdicts["Throttles", "tally-votes"] == "ok"
    assert verdicts["Duration", "place-vote"] == "no data"
    assert tiny["custom_metrics"] == []


def test_the_cost(tiny):
    cost = tiny["cost"]
    quantities = {item["item"]: item["quantity"] for item in cost["items"]}
    assert quantities["lambda_requests"] == 18
    assert (quantities["kms_requests"], quantities["logs_ingested_gb"]) == (3, None)
    assert (quantities["logs_scanned_gb"], quantities["metrics_read"]) == (0.00002, 30)
    assert cost["run_usd"] == pytest.approx(sum(item["usd"] for item in cost["items"] if item["usd"] is not None))
    assert (cost["requests"], cost["simulated"], cost["complete"]) == (13, True, False)


def test_metrics_that_disagree_with_the_logs_are_a_warning(tiny_run):
    metrics = read_json(tiny_run, "metrics.json")
    metrics["functions"]["place-vote"]["Invocations"] = 9
    tiny_run.write_json("metrics.json", metrics)
    summary = explain(tiny_run)
    assert len(summary["run"]["warnings"]) == 1
    assert "CloudWatch counts 9 invocations of place-vote, its logs 7" in summary["run"]["warnings"][0]
    assert summary["run"]["complete"] is True


def test_the_summary_is_written_as_it_is_returned(tiny_run):
    summary = explain(tiny_run)
    assert explain(tiny_run) == summary
    from analysis.runs import load

    assert load(tiny_run.path).summary == summary


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"state": "interrupted"}, "interrupted"),
        ({"state": "running"}, "still going"),
        ({"workers": [{"index": 2, "lost_at": 1795255205.0, "missing_rows": 17}]}, "worker 2 was lost: 17 of its rows"),
        ({"workers": [{"index": 2, "lost_at": 1795255205.0}]}, "worker 2 was lost: its last second may be missing"),
        ({"workers": [{"index": 2, "failed": "Bearer token: gone"}]}, "worker 2 could not send: Bearer token: gone"),
        ({"workers": [{"index": 1, "missing_rows": 3}]}, "worker 1 did not hand over everything: 3 of its rows"),
    ],
)
def test_a_run_that_is_not_whole_says_why(tiny_run, changes, warning):
    tiny_run.update_manifest(**changes)
    run = explain(tiny_run)["run"]
    assert run["complete"] is False
    assert any(warning in text for text in run["warnings"])


def test_a_lost_worker_is_told_with_when_and_how_far_the_load_fell_short(tiny_run):
    short = {"unit": "arrivals", "planned": 435.6, "delivered": 290.4, "share": 0.3333}
    lost = {"index": 2, "lost_at": 1795255205.0, "shortfall": short | {"from": 1795255205.0, "until": 1795255209.8}}
    tiny_run.update_manifest(workers=[{"index": 1}, lost])
    run = explain(tiny_run)["run"]
    assert run["workers"] == [{"index": 1}, lost]
    assert (
        "worker 2 was lost: its last second may be missing, last heard at 2026-11-21 10:00:05 UTC; "
        "without it the load was 33.33 % below the plan for 4.8 s"
    ) in run["warnings"]


def test_a_worker_that_left_by_itself_makes_nothing_incomplete(tiny_run):
    tiny_run.update_manifest(workers=[{"index": 2, "left_at": 1795255205.0}])
    run = explain(tiny_run)["run"]
    assert run["complete"] is True
    assert "worker 2 left at 2026-11-21 10:00:05 UTC" in run["warnings"]


def test_a_truncated_last_line_makes_the_run_incomplete(tiny_run):
    with tiny_run.requests_file(1).open("a", encoding="utf-8") as file:
        file.write("1,8,,17952552")
    summary = explain(tiny_run)
    assert summary["run"]["complete"] is False
    assert "requests-1.csv: 1 line could not be read and stayed out" in summary["run"]["warnings"]
    assert summary["client"]["requests"] == 13


@pytest.mark.parametrize(
    ("settled_at", "watched_until", "lost", "pending"),
    [(None, 1795255213.0, 0, 1), (None, 1795255269.0, 1, 0), (None, 1795255268.9, 0, 1), (1795255214.0, None, 1, 0)],
)
def test_a_message_is_lost_once_nothing_more_can_come(tiny_run, settled_at, watched_until, lost, pending):
    """Sent at 10:00:09 with a limit of 60 s: lost when deliveries have settled or when 10:01:09 was watched."""
    tiny_run.update_manifest(settled_at=settled_at)
    tiny_run.write_json("pull.json", {"complete": True, "watched_until": watched_until})
    shop = explain(tiny_run)["chains"]["shop"]
    assert (shop["lost"], shop["pending"]) == (lost, pending)


def test_missing_rows_make_the_run_incomplete(tiny_run):
    file = tiny_run.requests_file(0)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2] + lines[4:]))
    assert "requests-0.csv: 2 rows missing in between" in explain(tiny_run)["run"]["warnings"]


def test_an_incomplete_pull_makes_the_run_incomplete(tiny_run):
    tiny_run.write_json("pull.json", {"complete": False, "warnings": ["place-vote: 3 REPORT lines missing"]})
    run = explain(tiny_run)["run"]
    assert run["complete"] is False
    assert "place-vote: 3 REPORT lines missing" in run["warnings"]


def test_logs_that_were_never_fetched_make_the_run_incomplete(tiny_run):
    for file in ("pull.json", "invocations.parquet", "log_errors.parquet", "correlations.parquet"):
        tiny_run.file(file).unlink()
    summary = explain(tiny_run)
    assert summary["run"]["complete"] is False
    assert summary["functions"] == {}
    assert summary["join"]["matched"] == 0
    assert summary["client"]["requests"] == 13


def test_a_run_without_functions_is_complete_with_the_clients_side_alone(build):
    """Plain `locust -f … -H …` with nothing configured: there is no log to fetch."""
    build.manifest["functions"] = {}
    build.pull = None
    build.request()
    run = explain(build.write())["run"]
    assert run["complete"] is True
    assert run["warnings"] == ["no function is known for this run: only the client's side was analysed"]


def test_poor_coverage_is_said(build):
    for number in range(100):
        build.request(lambda_request_id=f"l{number}")
        if number < 98:
            build.invocation(request_id=f"l{number}")
    run = explain(build.write())["run"]
    assert run["complete"] is True
    assert any(text.startswith("98 of 100 requests known to have reached a function") for text in run["warnings"])


@pytest.mark.parametrize(
    ("method", "status"), [("POST", None), ("POST", 403), ("POST", 429), ("Invoke", 204), ("Invoke", 404)]
)
def test_a_run_that_no_function_had_a_part_in_lacks_no_logs(build, method, status):
    build.request(method=method, status=status)
    run = explain(build.write())["run"]
    assert (run["complete"], run["warnings"]) == (True, [])


def test_a_run_that_was_answered_and_left_no_invocation_is_incomplete(build):
    build.request(status=None)
    build.request(status=200)
    run = explain(build.write())["run"]
    assert (run["complete"], run["warnings"]) == (False, ["the logs hold no invocation of this run"])


def test_a_directory_with_a_manifest_and_nothing_else(tmp_path):
    run = RunDir(tmp_path)
    run.write_json("manifest.json", {"run_id": "x", "state": "interrupted"})
    summary = explain(run)
    assert summary["run"]["complete"] is False
    assert any("no request was recorded" in text for text in summary["run"]["warnings"])
    assert summary["client"]["rps"] is None


def test_a_directory_with_locusts_csvs_alone(tmp_path):
    (tmp_path / "locust_stats.csv").write_text("Type,Name\n")
    summary = explain(RunDir(tmp_path))
    assert summary["run"]["complete"] is False
    assert summary["run"]["id"] == tmp_path.name


@pytest.mark.parametrize("name", ["manifest.json", "pull.json", "metrics.json", "tables_before.json"])
def test_a_broken_file_is_named(tiny_run, name):
    tiny_run.file(name).write_text('{"half": ')
    with pytest.raises(DataFormatError, match=f"{name} is not JSON"):
        explain(tiny_run)


def test_a_threshold_that_cannot_be_read_is_named(build):
    build.manifest["profile"]["thresholds"] = {"p42_ms < 1": "fail"}
    build.request()
    with pytest.raises(DataFormatError, match=r"manifest\.json: .*'p42_ms < 1': unknown metric"):
        explain(build.write())


def test_a_broken_parquet_file_is_named(tiny_run):
    tiny_run.file("invocations.parquet").write_text("not parquet")
    with pytest.raises(DataFormatError, match=r"invocations\.parquet"):
        explain(tiny_run)


def test_an_aborted_run_is_complete_and_its_threshold_broken(build):
    build.request(1.0)
    build.request(2.0)
    aborted = {"threshold": "error_rate < 5%", "value": 0.25, "window_s": 10.0, "broken_for_s": 30.0, "at": T0 + 2}
    build.manifest |= {"state": "aborted", "aborted": aborted}
    build.manifest["profile"]["thresholds"] = {"error_rate < 5%": "abort after 30s", "rps over 1h > 0": "fail"}
    summary = explain(build.write())
    assert summary["run"]["aborted"] == aborted
    assert not any("ended" in warning for warning in summary["run"]["warnings"])
    assert [(one["value"], one["verdict"]) for one in summary["thresholds"]] == [(0.25, "fail"), (2.0, "pass")]


@pytest.mark.parametrize(
    ("aborted", "said"),
    [
        (
            {"limit": "MAX_COST_USD", "value": 1.5, "allowed": 1.25},
            "MAX_COST_USD ended the run: its requests had cost about $1.50, $1.25 are allowed",
        ),
        ({"limit": "MAX_USERS", "value": 12, "allowed": 10}, "MAX_USERS ended the run: 12 users, 10 are allowed"),
    ],
)
def test_a_run_that_a_limit_ended_is_not_complete(build, aborted, said):
    build.request(1.0)
    build.manifest |= {"state": "aborted", "aborted": {**aborted, "at": T0 + 2}}
    build.manifest["profile"]["thresholds"] = {"error_rate < 5%": "fail"}
    summary = explain(build.write())
    assert (summary["run"]["complete"], said in summary["run"]["warnings"]) == (False, True)
    assert judge(summary).headline.endswith(
        f"aborted by {aborted['limit']} at 10:00:02.000 UTC; the one threshold holds"
    )


def test_another_run_on_the_same_functions_is_told_with_the_numbers(build):
    for number in range(50):
        build.request(1 + number / 100, lambda_request_id=f"own-{number}")
        build.invocation(1 + number / 100, request_id=f"own-{number}")
    build.invocation(2.0, request_id="of-the-other")
    build.pull = {"complete": True, "overlapping_runs": [{"run_id": "b", "started_at": T0 + 2, "ended_at": T0 + 9}]}
    build.directory.mkdir()
    (warning,) = explain(build.write())["run"]["warnings"]
    assert warning == (
        "run b used the same functions from 2026-11-21 10:00:02 UTC to 2026-11-21 10:00:09 UTC, at the same time as "
        "this one: 1 of 51 invocations answer no request of this run, and figures of functions, metrics and cost are "
        "those of both"
    )


@pytest.mark.parametrize(("strangers", "told"), [(1, False), (2, True)])
def test_invocations_of_unknown_origin_are_told_where_they_are_more_than_one_in_a_hundred(build, strangers, told):
    for number in range(100):
        build.request(1 + number / 100, lambda_request_id=f"own-{number}")
        build.invocation(1 + number / 100, request_id=f"own-{number}")
    for number in range(strangers):
        build.invocation(2.0, request_id=f"other-{number}")
    build.directory.mkdir()
    warnings = explain(build.write())["run"]["warnings"]
    assert [warning.startswith("2 of 102 invocations answer no request of this run") for warning in warnings] == [
        True
    ] * told


def test_a_worker_whose_clock_was_never_set_is_told(build):
    for at in (0, 1):
        build.request(at)
        build.request(at - T0, worker=1)
    (said,) = (warning for warning in explain(build.write())["run"]["warnings"] if "clock" in warning)
    assert said.startswith("worker 1: 2 requests began a week or more away from the others by its clock")


def test_a_log_time_that_is_no_date_is_absent(build):
    build.request()
    build.invocation(at=1e15)
    assert explain(build.write())["functions"]["place-vote"]["first_at"] is None


def test_a_copy_of_a_requests_file_is_told(build):
    build.request()
    run = build.write()
    run.file("requests-0-before.csv").write_bytes(run.requests_file(0).read_bytes())
    told = explain(run)["run"]
    assert not told["complete"]
    assert told["warnings"][0].startswith("requests-0.csv begins with the same row as requests-0-before.csv: a copy")
