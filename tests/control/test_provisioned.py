"""`python -m control provisioned`: arms are made and taken back whatever happens, measured, priced, chosen among."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from config.aws import client
from config.errors import ConfigError
from config.prices import Prices, load_prices
from config.profile_files import load_profile
from config.settings import settings_from
from control.__main__ import main
from control.errors import ControlError
from control.provisioned import experiment as of_command
from control.provisioned.budget import Budget
from control.provisioned.experiment import Request, called_function, experiment
from control.provisioned.result import (
    ArmFigures,
    Result,
    choice,
    enough,
    environments_for,
    figures,
    headline,
    remarks,
    table,
)
from control.provisioned.versions import ArmVersions
from control.provisioned.warmer import EVENT, warming
from control.run_lock import run_lock
from control.temporary_versions.errors import LeftoversError, VersionsError
from control.temporary_versions.journal import FILE, Journal, open_journals
from control.temporary_versions.place import Place
from runstore.rundir import RunDir
from tests.control.preflight_facts import paced
from tests.control.test_tuning_interrupted import KilledError
from tests.sandbox.boto3_in_process import REGION
from tests.sandbox.deployed import Deployed

NAME = "swarmscope-place-vote"
PRICES = load_prices("us-east-1")
BURST = load_profile("burst", flows="direct")
PLACE = Place("sandbox", True, REGION, None, True, PRICES)
CHANGES = (
    *("update_function_configuration", "publish_version", "create_alias") * 2,
    "update_function_configuration",  # the description that it had
    "put_provisioned_concurrency_config",
    *["delete_provisioned_concurrency_config"] * 2,  # after the run, and to be sure
    *["delete_alias"] * 2,
    *["delete_function"] * 2,
)


class Client:
    """boto3's client; at one of its changes, after it was made, the process is gone."""

    def __init__(self, client: Any, step: int | None = None, what: type[BaseException] = KilledError) -> None:
        self.changes: list[str] = []
        self._client, self._step, self._what = client, step, what

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name not in CHANGES:
            return call

        def changing(**arguments: Any) -> Any:
            if self._what is KilledError and self._step is not None and len(self.changes) > self._step:
                raise KilledError
            self.changes.append(name)
            answer = call(**arguments)
            if len(self.changes) - 1 == self._step:
                raise self._what
            return answer

        return changing


class Lab:
    def __init__(self) -> None:
        self.deployed = Deployed()
        self.client = self.deployed.client("lambda")
        self.allowed_usd: list[float | None] = []
        """Of each arm so far."""
        self.left_after_load: list[Any] = []
        """Provisioned concurrency that was still there."""

    def versions(self, client: Any = None) -> ArmVersions:
        clock = self.deployed.clock
        return ArmVersions(
            client or self.client,
            NAME,
            clock=clock.now,
            sleep=lambda seconds: clock.run_until(clock.now() + seconds),
            poll_s=0.1,
        )

    def state(self) -> Any:
        latest = self.client.get_function_configuration(FunctionName=NAME)
        return (
            latest["Description"],
            self.client.list_aliases(FunctionName=NAME)["Aliases"],
            [one["Version"] for one in self.client.list_versions_by_function(FunctionName=NAME)["Versions"]],
            self.client.list_provisioned_concurrency_configs(FunctionName=NAME)["ProvisionedConcurrencyConfigs"],
        )

    def experiment(
        self,
        directory: Path,
        run_arm: Callable[[str], RunDir],
        client: Any = None,
        max_cost_usd: float | None = None,
    ) -> Result:
        directory.mkdir()
        versions = self.versions(client)
        before = versions.configuration()
        budget = Budget(max_cost_usd, PRICES, before, 2, BURST)

        def loaded_arm(alias: str, loaded: Callable[[], None], allowed_usd: float | None) -> RunDir:
            self.allowed_usd.append(allowed_usd)
            run = run_arm(alias)
            loaded()
            self.left_after_load.append(self.state()[-1])
            return run

        return experiment(
            Request("place-vote"), 2, PLACE, versions, before, loaded_arm, None, directory, budget, lambda line: None
        )


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab()


@pytest.fixture
def unchanged(lab: Lab) -> Iterator[None]:
    before = lab.state()
    yield
    assert lab.state() == before


def version_of(lab: Lab, alias: str) -> str:
    return str(lab.client.get_function_configuration(FunctionName=NAME, Qualifier=alias)["Version"])


def stored_run(path: Path, versions: Mapping[str, int], spilled: float | None = None) -> RunDir:
    """An analysed run: of each version so many invocations of 10 ms, the first of which (210 ms) waited for an init."""
    path.mkdir()
    endpoint = {"requests": 5, "failures": 1, "p50_ms": 10.0, "p95_ms": 20.0, "p99_ms": 30.0, "max_ms": 40.0}
    client = {"requests": 5, "failures": 1, "endpoints": {"Invoke place-vote": endpoint}}
    (path / "summary.json").write_text(json.dumps({"run": {"id": path.name}, "client": client}))
    metrics = {
        "ProvisionedConcurrencyInvocations": 3.0,
        "ProvisionedConcurrencySpilloverInvocations": spilled,
        "ConcurrentExecutions": 4.0,
    }
    (path / "metrics.json").write_text(json.dumps({"functions": {"place-vote": metrics}}))
    with duckdb.connect() as db:
        db.execute(
            """CREATE TABLE rows (function VARCHAR, version VARCHAR, executed_version VARCHAR, log_stream VARCHAR,
                                  billed_ms BIGINT, init_ms DOUBLE, inv_init_ms DOUBLE, memory_mb BIGINT,
                                  started_at DOUBLE, response_ms DOUBLE, phase VARCHAR)"""
        )
        for version, invocations in versions.items():
            for number in range(invocations):
                cold = number == 0
                stream = "cold" if number < 2 else "ahead"
                init_ms, billed_ms = (200.0, 210) if cold else (None, 10)
                row = ["place-vote", version, version, f"{version}/{stream}", billed_ms, init_ms, init_ms, 256]
                at = number // 3 + 0.5  # three in the first second, then the rest
                db.execute(f"INSERT INTO rows VALUES ({', '.join('?' * 11)})", [*row, at, float(billed_ms), "measure"])
        for file in ("invocations", "joined"):
            db.execute(f"COPY rows TO '{path / file}.parquet' (FORMAT parquet)")
    return RunDir(path)


def test_each_arm_has_a_version_of_its_own_and_nothing_is_left(lab, unchanged, tmp_path):
    client, seen = Client(lab.client), {}

    def run_arm(alias: str) -> RunDir:
        found = lab.client.get_function_configuration(FunctionName=NAME, Qualifier=alias)
        configs = lab.client.list_provisioned_concurrency_configs(FunctionName=NAME)["ProvisionedConcurrencyConfigs"]
        status = [(one["FunctionArn"].rpartition("-")[2], one["Status"]) for one in configs]
        seen[alias.rpartition("-")[2]] = found["Version"], found["CodeSha256"], found["MemorySize"], status
        assert lab.client.get_function_configuration(FunctionName=NAME)["Description"] == "Puts a vote on the stream."
        return stored_run(tmp_path / alias, {found["Version"]: 5})

    result = lab.experiment(tmp_path / "run", run_arm, client)
    plain, provisioned = seen["plain"], seen["provisioned"]
    assert plain[0] != provisioned[0] and plain[1:3] == provisioned[1:3]
    assert (plain[3], provisioned[3]) == ([], [("provisioned", "READY")])
    assert tuple(client.changes) == CHANGES
    assert open_journals(tmp_path) == []
    assert [arm.arm for arm in result.arms] == ["plain", "provisioned"]
    # Nothing is paid for while the analysis goes.
    assert lab.left_after_load[-2:] == [[], []]
    assert json.loads((tmp_path / "run" / "provisioned.json").read_text())["arms"][1]["on_demand"] == 2


@pytest.mark.parametrize("step", [*range(8), 9, 11, 13])
def test_what_a_killed_run_left_is_taken_back_by_its_journal(lab, unchanged, tmp_path, step):
    runs = iter(range(9))
    client = Client(lab.client, step)
    with pytest.raises(KilledError):
        lab.experiment(tmp_path / "run", lambda alias: stored_run(tmp_path / f"{next(runs)}", {}), client)
    journal = Journal.read(tmp_path / "run" / FILE)
    assert journal is not None
    lab.versions().take_back(journal)
    assert open_journals(tmp_path) == []


class ExpiringClient(Client):
    """After so many of its changes nothing is answered any more but that the credentials have expired."""

    def __init__(self, client: Any, changes: int) -> None:
        super().__init__(client)
        self._lasts = changes

    def __getattr__(self, name: str) -> Any:
        if len(self.changes) == self._lasts:
            raise ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "m"}}, "PublishVersion")
        return super().__getattr__(name)


@pytest.mark.parametrize("changes", [1, 2, 3, 8, 9, 11, 13])
def test_credentials_that_expire_on_the_way_are_told_and_what_is_left_is_taken_back(lab, unchanged, tmp_path, changes):
    client = ExpiringClient(lab.client, changes)
    with pytest.raises(LeftoversError, match=r"credentials have expired.+`python -m control provisioned --clean`"):
        lab.experiment(tmp_path / "run", lambda alias: stored_run(tmp_path / alias, {}), client)
    [journal] = open_journals(tmp_path)
    lab.versions().take_back(journal)
    assert open_journals(tmp_path) == []


def test_ctrl_c_during_the_load_takes_everything_back(lab, unchanged, tmp_path):
    def interrupted(alias: str) -> RunDir:
        if alias.endswith("-provisioned"):
            raise KeyboardInterrupt
        return stored_run(tmp_path / alias, {})

    with pytest.raises(KeyboardInterrupt):
        lab.experiment(tmp_path / "run", interrupted)
    assert open_journals(tmp_path) == []


def test_an_allocation_that_fails_is_told_by_its_reason(lab, unchanged, tmp_path):
    class Failing(Client):
        def get_provisioned_concurrency_config(self, **_: Any) -> dict[str, str]:
            return {"Status": "FAILED", "StatusReason": "FUNCTION_ERROR_INIT_FAILURE"}

    with pytest.raises(VersionsError, match="FUNCTION_ERROR_INIT_FAILURE"):
        lab.experiment(tmp_path / "run", lambda alias: stored_run(tmp_path / alias, {}), Failing(lab.client))


# -------------------------------------------------------------------- figures, cost, choice


def test_figures_are_those_of_the_arms_version(tmp_path):
    found = figures(stored_run(tmp_path / "r", {"3": 5, "2": 4}, spilled=2.0), "provisioned", "place-vote", "3")
    assert (found.requests, found.failures, found.p99_ms) == (5, 1, 30.0)
    assert (found.cold_starts, found.invocations, found.billed_ms) == (1, 5, 250)
    assert (found.on_demand, found.on_demand_billed_ms, found.memory_mb) == (2, 220, 256)
    assert (found.spillover, found.concurrency, found.peak_rate) == (2, 4, 3)
    assert found.p999_ms == pytest.approx(209.2)  # of 10, 10, 10, 10 and 210 ms, linearly between the last two


def test_without_a_value_of_the_spillover_metric_there_was_none(tmp_path):
    assert figures(stored_run(tmp_path / "r", {"3": 5}), "provisioned", "place-vote", "3").spillover == 0


PLAIN = ArmFigures(
    arm="plain",
    run_id="r",
    requests=100,
    failures=0,
    p50_ms=10.0,
    p95_ms=20.0,
    p99_ms=30.0,
    p999_ms=400.0,
    max_ms=450.0,
    peak_rate=100,
    cold_starts=10,
    invocations=100,
    billed_ms=2000,
    on_demand=100,
    on_demand_billed_ms=2000,
    memory_mb=1024,
    spillover=None,
    concurrency=12,
)
AHEAD = replace(
    PLAIN, arm="provisioned", p999_ms=30.0, cold_starts=0, on_demand=0, on_demand_billed_ms=0, provisioned_s=301.0
)
WARM = replace(PLAIN, arm="warmer", cold_starts=1, invocations=150, warmer_invocations=50, warmer_failures=0)


def result(*arms: ArmFigures, prices: Prices = PRICES) -> Result:
    return Result("e", NAME, "aws", False, "us-east-1", "x86_64", "burst", 10, 60.0, arms, prices)


def test_provisioned_concurrency_is_charged_in_whole_five_minutes_and_its_compute_apart():
    """10 environments of 1 GB, two periods; 2 s of compute; 100 requests."""
    cost = result(PLAIN, AHEAD).cost(AHEAD)
    assert cost.run_usd == pytest.approx(10 * 600 * 0.0000041667 + 2 * 0.0000097222 + 100 * 0.2e-6)
    assert cost.standing_usd_per_hour == pytest.approx(10 * 3600 * 0.0000041667)


def test_what_spilled_over_is_charged_as_on_demand():
    spilled = replace(AHEAD, on_demand=5, on_demand_billed_ms=500, provisioned_s=10.0)
    expected = 10 * 300 * 0.0000041667 + 1.5 * 0.0000097222 + 0.5 * 0.0000166667 + 100 * 0.2e-6
    assert result(PLAIN, spilled).cost(spilled).run_usd == pytest.approx(expected)


def test_a_warmer_costs_its_events():
    """600 an hour, 2,000 / 150 ms each at most."""
    cost = result(PLAIN, WARM, AHEAD).cost(WARM)
    assert cost.standing_usd_per_hour == pytest.approx(600 * (0.2e-6 + 2 / 150 * 0.0000166667))


def test_a_price_that_is_not_known_is_said_so():
    unknown = result(PLAIN, AHEAD, prices=load_prices("eu-west-1"))
    assert unknown.cost(AHEAD).run_usd is None
    assert any("lambda_provisioned_x86_64_gb_s" in line for line in remarks(unknown))
    assert table(unknown).rows[1].cells[-2:] == ("not known", "not known")
    assert any("UNVERIFIED" in line for line in remarks(result(PLAIN, AHEAD)))


@pytest.mark.parametrize(
    ("arms", "chosen", "because"),
    [
        ((PLAIN, AHEAD), "provisioned", "10 requests waited for a cold start without it, 0 with it"),
        ((replace(PLAIN, cold_starts=0), AHEAD), "plain", "nothing to gain"),
        ((PLAIN, replace(AHEAD, cold_starts=10)), "plain", "spared no cold start"),
        ((PLAIN, WARM, AHEAD), "warmer", "1 with it"),
        ((PLAIN, replace(WARM, cold_starts=3), AHEAD), "provisioned", "0 with it"),
        (
            (PLAIN, replace(AHEAD, cold_starts=12, on_demand=30)),
            None,
            "10 provisioned environments were too few, 30 invocations spilled over; CONCURRENCY=14 would do",
        ),
        ((PLAIN,), None, "nothing could be compared"),
    ],
)
def test_the_choice(arms, chosen, because):
    assert choice(result(*arms)) == chosen
    assert because in headline(result(*arms))


def test_spillover_is_told_with_what_would_have_been_enough():
    spilled = replace(AHEAD, on_demand=5, concurrency=20, spillover=5)
    (line,) = [line for line in remarks(result(spilled)) if "5 invocations of 100 spilled over" in line]
    assert "20 ran at a time and 100 began in a second" in line and "CONCURRENCY=22 would" in line


def test_short_invocations_are_bound_by_their_rate():
    """Three at a time would do for their durations; ten requests a second for each make it eleven, and a tenth."""
    assert enough(replace(AHEAD, concurrency=3, peak_rate=110)) == 13


@pytest.mark.parametrize(
    ("profile", "environments"),
    [(BURST, 20), (paced(100), 20), (paced(5, "0.01s"), 5), (paced(7, pacing=None), 7)],
    ids=["rate", "rate of users", "no more than users", "nobody knows"],
)
def test_without_a_number_so_many_are_provisioned_as_the_peak_takes(profile, environments):
    assert environments_for(profile) == environments


# -------------------------------------------------------------------- MAX_COST_USD


KEPT_USD = 2 * 300 * 0.5 * 0.0000041667
"""Two environments of 512 MB for as long as burst goes: five minutes."""
RUN_USD = 14_500 * (0.2e-6 + 0.1 * 0.0000166667)


@pytest.mark.parametrize(("limit", "refused"), [(2 * RUN_USD + KEPT_USD, False), (2 * RUN_USD, True)])
def test_what_is_provisioned_counts_before_the_start(limit, refused):
    budget = Budget(limit + 1e-4, PRICES, {"MemorySize": 512}, 2, BURST)
    if not refused:
        budget.check(("plain", "provisioned"))
        return
    with pytest.raises(ConfigError, match=r"2 provisioned environments \$0\.0013, and"):
        budget.check(("plain", "provisioned"))


def test_a_limit_without_a_price_is_refused():
    with pytest.raises(ConfigError, match="no price of lambda_provisioned_x86_64_gb_s in eu-west-1"):
        Budget(1.0, load_prices("eu-west-1"), {"MemorySize": 512}, 2, BURST).check(("plain",))


def test_an_arm_may_cost_what_the_others_and_what_is_provisioned_leave(lab, unchanged, tmp_path):
    """An arm of five invocations of 210, 10, 10, 10 and 10 ms with 256 MB."""
    lab.allowed_usd.clear()
    lab.experiment(
        tmp_path / "run",
        lambda alias: stored_run(tmp_path / alias, {version_of(lab, alias): 5}),
        max_cost_usd=0.01,
    )
    of_plain = 5 * 0.2e-6 + 0.25 * 0.25 * 0.0000166667
    kept_usd = 2 * 300 * lab.versions().configuration()["MemorySize"] / 1024 * 0.0000041667
    assert lab.allowed_usd == [0.01, pytest.approx(0.01 - of_plain - kept_usd)]


def test_where_nothing_is_left_the_next_arm_is_not_begun(lab, unchanged, tmp_path):
    with pytest.raises(ControlError, match="nothing is left for arm provisioned"):
        lab.experiment(
            tmp_path / "run",
            lambda alias: stored_run(tmp_path / alias, {version_of(lab, alias): 5}),
            max_cost_usd=0.0002,
        )
    assert open_journals(tmp_path) == []


# -------------------------------------------------------------------- warmer, command


def test_a_warmer_invokes_so_many_at_once_before_the_load_begins():
    calls: list[dict[str, Any]] = []

    class Invoked:
        def invoke(self, **call: Any) -> dict[str, Any]:
            calls.append(call)
            return {"Payload": io.BytesIO(b"{}")} | ({"FunctionError": "Unhandled"} if len(calls) == 1 else {})

    with warming(Invoked(), "f", "alias", 3, 3600.0) as warmed:
        assert (warmed.rounds, warmed.invocations, warmed.failed) == (1, 3, 1)
    assert calls == [{"FunctionName": "f", "Qualifier": "alias", "Payload": EVENT}] * 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "FUNCTION: which function?"),
        (["--function", "place-vote", "--target", "emulator"], "emulators have no provisioned concurrency"),
        (["--function", "place-vote", "--load-profile", "nope"], "nope"),
        (["--function", "place-vote", "--load-profile", "breakpoint"], "PROFILE: breakpoint searches for a rate"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_started(arguments, told, tmp_path):
    environment = {"RUNS_DIR": str(tmp_path), "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "TARGET": "sandbox"}
    done = CliRunner().invoke(main, ["provisioned", *arguments], env=environment)
    assert done.exit_code == 2
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_while_a_comparison_goes_nobody_takes_it_back(tmp_path):
    environment = {"RUNS_DIR": str(tmp_path), "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "TARGET": "sandbox"}
    with run_lock(tmp_path / "provisioned", "the-one-that-goes"):
        refused = CliRunner().invoke(main, ["provisioned", "--clean"], env=environment)
    assert (refused.exit_code, "the-one-that-goes" in refused.stderr) == (2, True)
    done = CliRunner().invoke(main, ["provisioned", "--clean"], env=environment)
    assert (done.exit_code, done.stdout) == (0, "nothing was left\n")


@pytest.mark.parametrize("function", ["place-vote", NAME, f"arn:aws:lambda:us-east-1:123456789012:function:{NAME}"])
def test_the_function_may_be_named_in_any_way(function):
    assert called_function(function, {"place-vote": NAME}) == NAME


@pytest.mark.parametrize(
    ("function", "known", "told"),
    [
        ("shop-accept", NAME, "invokes place-vote .swarmscope-place-vote"),
        (f"{NAME}:live", NAME, "names a version or an alias"),
        ("place-vote", f"{NAME}:live", "names a version or an alias"),
        ("place-vote", None, "set VOTE_FUNCTION"),
    ],
)
def test_another_function_or_a_version_is_refused(function, known, told):
    with pytest.raises(ConfigError, match=told):
        called_function(function, {"place-vote": known} if known else {})


def test_the_command_from_end_to_end_but_for_the_load(sandbox, tmp_path, monkeypatch):
    """On a sandbox process; runs of load as they would be stored."""
    loaded: list[str] = []

    def load(
        settings: Any, request: Request, alias: str, console: Any, give_back: Callable[[], None], max_cost_usd: Any
    ) -> RunDir:
        give_back()
        found = client(settings, "lambda").get_function_configuration(FunctionName=NAME, Qualifier=alias)
        loaded.append(alias.rpartition("-")[2])
        return stored_run(tmp_path / alias, {found["Version"]: 5})

    monkeypatch.setattr(of_command, "_load", load)
    command = ["provisioned", "--function", "place-vote", "--concurrency", "2", "--warmer"]
    environment = {"RUNS_DIR": str(tmp_path / "runs"), "AWS_ENDPOINT_URL": sandbox, "TARGET": "sandbox"}
    planned = CliRunner().invoke(main, [*command, "--dry-run"], env=environment)
    assert planned.exit_code == 0, planned.stderr
    assert loaded == [] and "for each of: plain, warmer, provisioned" in planned.stdout
    assert "cost: $0.0075 an hour" in planned.stdout  # half a GB
    done = CliRunner().invoke(main, [*command, "--format", "json"], env=environment)
    assert done.exit_code == 0, done.stderr
    plain, warmer, provisioned = json.loads(done.stdout)["arms"]
    assert loaded == [plain["arm"], warmer["arm"], provisioned["arm"]] == ["plain", "warmer", "provisioned"]
    assert (warmer["warmer_invocations"], warmer["warmer_failures"]) == (2, 0)
    assert provisioned["cost"]["run_usd"] > plain["cost"]["run_usd"]
    aliases = client(settings_from(environment), "lambda").list_aliases(FunctionName=NAME)["Aliases"]
    assert [alias for alias in aliases if alias["Name"].startswith("provisioned-")] == []
