from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analysis import pull
from analysis.errors import NoRowsError
from analysis.insights import LogGroupNotFoundError, QueryFailedError
from analysis.puller import Patience
from config.settings import Settings, settings_from
from runstore.columns import REQUEST_COLUMNS
from runstore.rundir import RunDir
from tests.analysis.fake_logs import FakeLogs, FakeTime

START = 1_791_059_777
GROUP = "/aws/lambda/swarmscope-place-vote"
STREAM = "2026/10/03/[$LATEST]0123456789abcdef0123456789abcdef"
ID = "8c360c87-d4b7-4423-b5f3-af02be3c1763"
REPORT = (
    f"REPORT RequestId: {ID}\tDuration: 10.00 ms\tBilled Duration: 10 ms\tMemory Size: 128 MB\t"
    "Max Memory Used: 70 MB\t\n"
)
PATIENCE = Patience(lag_s=3.0, quiet_s=3.0, retry_s=3.0, poll_s=1.0, deadline_s=60.0, metrics_s=15.0)
HISTORY = Path(__file__).parents[1] / "fixtures/locust-csv/results_stats_history.csv"


class FakeCloudWatch:
    def get_metric_data(self, **arguments: Any) -> dict[str, Any]:
        return {"MetricDataResults": []}


class FakeLambda:
    def get_function_configuration(self, **arguments: Any) -> dict[str, Any]:
        return {"Timeout": 15, "MemorySize": 128, "Architectures": ["arm64"]}

    def get_function_concurrency(self, **arguments: Any) -> dict[str, Any]:
        return {}

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}}


class Target:
    """What the run's target holds, and the time there."""

    def __init__(self) -> None:
        self.time = FakeTime(START + 10)
        self.logs = FakeLogs(self.time)

    def client(self, settings: Settings, service: str, **config: Any) -> Any:
        return {"logs": self.logs, "cloudwatch": FakeCloudWatch(), "lambda": FakeLambda()}[service]


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    target = Target()
    monkeypatch.setattr(pull.aws, "client", target.client)
    return target


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of one request, that began at START and took ten seconds."""
    path = tmp_path / "runs" / "a"
    path.mkdir(parents=True)
    run = RunDir(path)
    run.update_manifest(
        started_at=float(START),
        ended_at=START + 10.0,
        state="complete",
        stack_name="swarmscope",
        functions={"place-vote": "swarmscope-place-vote"},
        log_groups={"place-vote": GROUP},
    )
    with run.requests_file(0).open("w", newline="") as file:
        writer = csv.DictWriter(file, REQUEST_COLUMNS, restval="")
        writer.writeheader()
        writer.writerow(
            {"worker": 0, "seq": 1, "started_at": START + 1, "response_ms": 12, "name": "POST /vote", "ok": 1}
            | {"lambda_request_id": ID, "status": 200, "phase": "measure"}
        )
    return run


def pull_run(run: RunDir, target: Target, settings: Settings | None = None, **options: Any) -> pull.Pulled:
    return pull.pull_run(
        run,
        settings or settings_from({}),
        patience=PATIENCE,
        clock=target.time.clock,
        sleep=target.time.sleep,
        **options,
    )


def rows(run: RunDir, table: str) -> list[tuple[Any, ...]]:
    return duckdb.execute("FROM read_parquet($1)", [str(run.file(f"{table}.parquet"))]).fetchall()


def described(run: RunDir) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.file("pull.json").read_text())
    return found


def test_a_pull_writes_every_table_and_says_how_it_went(run: RunDir, target: Target) -> None:
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM)
    pulled = pull_run(run, target)
    assert pulled.complete and pulled.tables["invocations"] == 1
    assert len(rows(run, "invocations")) == 1
    for table in ("log_errors", "correlations", "access_log"):
        assert rows(run, table) == []
    told = described(run)
    assert told["complete"] is True and told["rows"] == 1 and told["lag_s"] == 3.0
    assert told["watched_until"] == pytest.approx(START + 13, abs=1)
    assert {"groups", "query", "start", "end", "rows", "matched", "status"} <= set(told["slices"][0])
    assert json.loads(run.file("metrics.json").read_text())["functions"]["place-vote"]["Throttles"] is None


def test_queries_that_were_asked_too_early_are_told_apart(run: RunDir, target: Target) -> None:
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM, lag_s=15.0)
    pull_run(run, target)
    told = described(run)
    assert told["queries_started"] == len(target.logs.queries) > 2
    assert (told["queries_wasted"], told["queries_replaced"]) == (0, told["queries_started"] - len(told["slices"]))


def test_metrics_that_stay_behind_are_waited_for_and_leave_the_logs_complete(run: RunDir, target: Target) -> None:
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM)
    before = target.time.now
    assert pull_run(run, target).complete
    assert target.time.now - before >= PATIENCE.deadline_s / 4


def test_what_is_deployed_is_written_down(run: RunDir, target: Target) -> None:
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM)
    pull_run(run, target)
    deployed = json.loads(run.file("deployment.json").read_text())
    assert deployed["functions"]["place-vote"]["architecture"] == "arm64"


def test_what_is_absent_at_the_deadline_makes_it_incomplete_and_is_told(run: RunDir, target: Target) -> None:
    target.logs.add(GROUP, START + 1.5, REPORT.replace("8c36", "0000"), STREAM)
    pulled = pull_run(run, target)
    assert not pulled.complete and not described(run)["complete"]
    assert any("have no REPORT line" in warning for warning in pulled.warnings)


def test_logs_without_any_invocation_are_an_error_after_everything_is_written(run: RunDir, target: Target) -> None:
    target.logs.groups[GROUP] = []
    with pytest.raises(NoRowsError) as nothing:
        pull_run(run, target)
    assert GROUP in str(nothing.value) and "AWS_REGION" in str(nothing.value) and nothing.value.exit_code == 3
    assert described(run)["complete"] is False


@pytest.mark.parametrize(("method", "status"), [("Invoke", 204), ("Invoke", 404), ("POST", 429), ("POST", "")])
def test_a_run_that_invoked_nothing_lacks_nothing(run: RunDir, target: Target, method: str, status: int | str) -> None:
    target.logs.groups[GROUP] = []
    file = run.requests_file(0)
    row = {"worker": 0, "seq": 1, "started_at": START + 1, "response_ms": 12, "name": "f", "method": method}
    with file.open("w", newline="") as rewritten:
        writer = csv.DictWriter(rewritten, REQUEST_COLUMNS, restval="")
        writer.writeheader()
        writer.writerow(row | {"status": status, "ok": 0, "phase": "measure"})
    assert pull_run(run, target).complete


def test_a_group_that_does_not_exist_is_an_error(run: RunDir, target: Target) -> None:
    with pytest.raises(LogGroupNotFoundError, match=GROUP):
        pull_run(run, target)


def test_a_second_pull_asks_for_little_and_changes_nothing(run: RunDir, target: Target) -> None:
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM)
    target.time.now += 100
    pull_run(run, target)
    first, asked = rows(run, "invocations"), len(target.logs.queries)
    pull_run(run, target)
    assert rows(run, "invocations") == first
    assert len(target.logs.queries) - asked < asked
    before = len(target.logs.queries)
    pull_run(run, target, force=True)
    assert len(target.logs.queries) - before == asked


def test_a_run_of_nothing_but_locusts_csvs_is_pulled_by_their_times(tmp_path: Path, target: Target) -> None:
    run = RunDir(tmp_path)
    shutil.copy(HISTORY, tmp_path / "results_stats_history.csv")
    target.logs.add("/aws/lambda/f", 1791059790.5, REPORT, STREAM)
    target.logs.add("/aws/lambda/f", 1791059000.0, REPORT, STREAM)
    target.time.now = 1791059834.0
    pulled = pull_run(run, target, settings_from({"LOG_GROUPS": "/aws/lambda/f"}))
    assert pulled.complete
    assert [row[0] for row in rows(run, "invocations")] == ["f"]


def test_a_directory_that_says_nothing_of_a_time_is_an_error(tmp_path: Path, target: Target) -> None:
    with pytest.raises(NoRowsError, match="when the run was"):
        pull_run(RunDir(tmp_path), target, settings_from({"LOG_GROUPS": "/aws/lambda/f"}))


@pytest.mark.parametrize("end", [KeyboardInterrupt(), QueryFailedError("it ended as Failed", "Failed")])
def test_of_a_pull_that_ends_early_the_tables_are_written_and_the_rest_is_fetched_later(
    run: RunDir, target: Target, end: BaseException
) -> None:
    run.update_manifest(access_log_group="/api")
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM)
    target.logs.add("/api", START + 1.5, "{}", "0123")
    target.time.now += 100

    def fail(arguments: dict[str, Any]) -> None:
        if arguments["logGroupNames"] == ["/api"] and arguments["startTime"] > START:  # the tail: the body is there
            raise end

    target.logs.failing = fail
    with pytest.raises(type(end)):
        pull_run(run, target)
    assert len(rows(run, "invocations")) == 1
    assert described(run)["complete"] is False
    target.logs.failing = None
    assert pull_run(run, target).complete
    assert described(run)["complete"] is True


def killed(run: RunDir) -> None:
    manifest = run.read_manifest()
    del manifest["ended_at"]
    run.write_json("manifest.json", manifest | {"state": "running"})


def test_a_run_that_was_killed_ends_with_its_last_request(run: RunDir, target: Target) -> None:
    killed(run)
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM)
    pull_run(run, target)
    assert described(run)["ended_at"] == pytest.approx(START + 1.012)


def test_what_the_next_run_wrote_is_not_taken(run: RunDir, target: Target) -> None:
    other = RunDir(run.path.parent / "b")
    other.path.mkdir()
    other.update_manifest(started_at=START + 40.0, ended_at=START + 50.0, log_groups={"place-vote": GROUP})
    target.time.now += 200
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM)
    target.logs.add(GROUP, START + 30, REPORT, STREAM)  # still this run's
    target.logs.add(GROUP, START + 45, REPORT, STREAM)
    assert pull_run(run, target).tables["invocations"] == 2


@pytest.mark.parametrize(("settled", "waited_s"), [(None, 6.0), (START + 10.0, 3.0)])
def test_known_background_work_need_not_be_waited_for(
    run: RunDir, target: Target, settled: float | None, waited_s: float
) -> None:
    run.update_manifest(settled_at=settled)
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM)
    assert pull_run(run, target).complete
    told = described(run)
    assert max(one["read_at"] for one in told["slices"]) == pytest.approx(START + 10 + waited_s, abs=1)


@pytest.mark.parametrize(
    ("history", "expected"),
    [(HISTORY, {1791059779: 11, 1791059780: 32})],
)
def test_locusts_history_says_how_to_cut_a_run_without_requests(
    tmp_path: Path, history: Path, expected: dict[int, int]
) -> None:
    shutil.copy(history, tmp_path / "x_stats_history.csv")
    counts = pull.locust_requests_per_second(RunDir(tmp_path))
    assert expected.items() <= counts.items()
    assert sum(counts.values()) == 4807


def test_lines_of_an_access_log_that_are_no_json_are_warned_of(run: RunDir, target: Target) -> None:
    run.update_manifest(access_log_group="/api")
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM)
    target.logs.add("/api", START + 1.5, "127.0.0.1 GET /", "0123")
    assert any("no JSON objects" in warning for warning in pull_run(run, target).warnings)


def other_run(run: RunDir, name: str, started_at: float, ended_at: float | None, **manifest: Any) -> None:
    path = run.path.parent / name
    path.mkdir()
    told = {"run_id": name, "started_at": started_at, "log_groups": {"place-vote": GROUP}} | manifest
    RunDir(path).update_manifest(**told | ({} if ended_at is None else {"ended_at": ended_at}))


def test_runs_that_wrote_to_the_same_logs_at_the_same_time_are_told(run: RunDir, target: Target) -> None:
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM)
    other_run(run, "before", START - 20.0, START - 1.0)
    other_run(run, "within", START + 5.0, START + 70.0)
    other_run(run, "killed-before", START - 9.0, None)
    other_run(run, "after", START + 11.0, START + 20.0)
    other_run(run, "in-another-sandbox", START + 5.0, START + 70.0, endpoint_url="http://127.0.0.1:4566")
    other_run(run, "of-others", START + 5.0, START + 70.0, log_groups={"f": "/aws/lambda/f"})
    pull_run(run, target)
    assert described(run)["overlapping_runs"] == [
        {"run_id": "within", "started_at": START + 5.0, "ended_at": START + 70.0}
    ]


def test_a_broken_manifest_beside_it_is_another_runs_trouble(run: RunDir, target: Target) -> None:
    target.logs.add(GROUP, START + 1.5, REPORT, STREAM)
    other_run(run, "broken", START, START + 1.0)
    RunDir(run.path.parent / "broken").manifest_file.write_text('{"run_id": ')
    assert pull_run(run, target).complete
